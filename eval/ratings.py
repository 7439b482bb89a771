"""What people answered in a blind comparison (`eval.blind`), and what it says of each method."""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from stylekit.errors import StyleError
from stylekit.storage.untrusted import Source, as_table, parse_json, read_text, shown

FORMAT = 1
ANSWERS_FILE = "answers.csv"
FIELDS = ("page", "label", "score", "words")
RATER = "rater"  # a column that a sheet may have too; else its file's name says who it is
LOWEST, HIGHEST = 1, 10
CONTROL = "real work"  # what has a score and takes no part in which is the best of a page
ALL = "all"  # styles, or raters


@dataclass(frozen=True, kw_only=True)
class Page:
    """labels: letter on the page -> who made the picture."""

    page: int
    file: str
    photo: str
    style: str
    labels: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Key:
    """Who made what."""

    seed: int
    pages: tuple[Page, ...]

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, "seed": self.seed, "pages": [asdict(page) for page in self.pages]}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One score of one picture, 1 to 10."""

    rater: str
    page: int
    label: str
    score: float
    words: str = ""


@dataclass(frozen=True, kw_only=True)
class Rating:
    """A method in a style. rater: `ALL` for everybody together. answers: how many scores. pictures: of how many pictures. mean: of the
    scores. error: standard error of the mean over pictures, each by its raters' mean; None for a single one. best: share of pages of which
    its score is the highest, ties shared equally; None for the control, and where no page can say. pages: those that count for `best`."""

    rater: str
    style: str
    method: str
    answers: int
    pictures: int
    mean: float
    error: float | None
    best: float | None
    pages: int


def read_key(path: Path) -> Key:
    """The file that ``eval.blind make`` wrote."""
    source = Source(what=f"The key {path}", remedy="name the file that `eval.blind make` wrote", bytes=2**24)
    try:
        values = as_table(parse_json(read_text(path, source), source), source)
        if values["format"] != FORMAT:
            raise StyleError(f"The key {path} has format {shown(values['format'])}, this version reads {FORMAT}: make the pages again.")
        return Key(seed=values["seed"], pages=tuple(Page(**page) for page in values["pages"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StyleError(f"The key {path} cannot be read ({error}): name the file that `eval.blind make` wrote.") from None


def read_answers(paths: Sequence[Path], key: Key) -> list[Answer]:
    """The answers in `paths`. A line without a score is none. StyleError for what is not on the pages or no score from 1 to 10."""
    stems = [path.stem for path in paths]
    names = stems if len(set(stems)) == len(stems) else [f"{path.resolve().parent.name}/{path.stem}" for path in paths]
    found: dict[tuple[str, int, str], Answer] = {}
    labels = {page.page: page.labels for page in key.pages}
    for path, name in zip(paths, names, strict=True):
        for line, row in _rows(path):
            if not (row.get("score") or "").strip():
                continue
            answer = _answer(row, name, labels, f"{path.name}, line {line}")
            if found.setdefault((answer.rater, answer.page, answer.label), answer) is not answer:
                raise StyleError(f"{path.name}, line {line}: {answer.rater} has scored {answer.label} of page {answer.page} twice.")
    if not found:
        raise StyleError("There is no score in the answers: fill in the column score, from 1 to 10.")
    return list(found.values())


def rate(answers: Sequence[Answer], key: Key) -> list[Rating]:
    """Everybody together, then each rater: all styles, then each style; methods from the highest mean down."""
    pages = {page.page: page for page in key.pages}
    styles = sorted({page.style for page in key.pages})
    raters = sorted({answer.rater for answer in answers})
    rows: list[Rating] = []
    for rater in [ALL, *(raters if len(raters) > 1 else [])]:
        of_rater = [answer for answer in answers if rater in (ALL, answer.rater)]
        for style in [ALL, *(styles if len(styles) > 1 else [])]:
            chosen = [answer for answer in of_rater if style in (ALL, pages[answer.page].style)]
            rows += sorted(_ratings(chosen, pages, rater, style), key=lambda row: (-row.mean, row.method))
    return rows


def markdown(rows: Sequence[Rating], answers: Sequence[Answer], key: Key) -> str:
    """Tables of `rows`, and the words that were said of each method in each style."""
    raters = sorted({answer.rater for answer in answers})
    lines = ["# A blind comparison", "", f"{len(answers)} scores of {len(key.pages)} pages by {len(raters)} viewers.", ""]
    for rater in dict.fromkeys(row.rater for row in rows):
        lines += [f"## {'Everybody' if rater == ALL else rater}", ""]
        lines += ["| style | method | score of 10 | ± | best of the page | pictures | scores |", "|---|---|---|---|---|---|---|"]
        for row in rows:
            if row.rater == rater:
                error, best = ("" if row.error is None else f"{row.error:.2f}"), ("" if row.best is None else f"{row.best:.0%}")
                lines.append(f"| {row.style} | {row.method} | {row.mean:.2f} | {error} | {best} | {row.pictures} | {row.answers} |")
        lines.append("")
    said = words(answers, key)
    if said:
        lines += ["## What was said", ""]
        lines += [f"- **{style}, {method}**: {'; '.join(texts)}" for (style, method), texts in said.items()]
        lines.append("")
    lines += [
        "±: standard error over pictures. Best of the page: share of the pages on which its score was the highest, a tie shared; real "
        "works have a score and take no part in it.",
        "",
    ]
    return "\n".join(lines)


def to_json(rows: Sequence[Rating], answers: Sequence[Answer], key: Key) -> dict[str, Any]:
    said = [{"style": style, "method": method, "words": texts} for (style, method), texts in words(answers, key).items()]
    return {"format": FORMAT, "ratings": [asdict(row) for row in rows], "words": said}


def words(answers: Sequence[Answer], key: Key) -> dict[tuple[str, str], list[str]]:
    """(style, method) -> what was said of it."""
    pages = {page.page: page for page in key.pages}
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for answer in answers:
        if answer.words:
            page = pages[answer.page]
            found[page.style, page.labels[answer.label]].append(answer.words)
    return dict(sorted(found.items()))


def _ratings(answers: Sequence[Answer], pages: Mapping[int, Page], rater: str, style: str) -> list[Rating]:
    by_picture: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    by_sheet: dict[tuple[str, int], dict[str, float]] = defaultdict(dict)
    for answer in answers:
        method = pages[answer.page].labels[answer.label]
        by_picture[method][answer.page].append(answer.score)
        by_sheet[answer.rater, answer.page][method] = answer.score
    wins: dict[str, list[float]] = defaultdict(list)
    for (_, number), scores in by_sheet.items():
        rivals = set(pages[number].labels.values()) - {CONTROL}
        if len(rivals) < 2 or not rivals <= scores.keys():
            continue  # nothing to be better than, or not all were scored
        highest = max(scores[method] for method in rivals)
        winners = [method for method in rivals if scores[method] == highest]
        for method in rivals:
            wins[method].append(1 / len(winners) if method in winners else 0.0)
    rows = []
    for method, pictures in by_picture.items():
        means = [fmean(of_picture) for of_picture in pictures.values()]
        every = [score for of_picture in pictures.values() for score in of_picture]
        rows.append(
            Rating(
                rater=rater,
                style=style,
                method=method,
                answers=len(every),
                pictures=len(means),
                mean=fmean(every),
                error=stdev(means) / math.sqrt(len(means)) if len(means) > 1 else None,
                best=fmean(wins[method]) if wins.get(method) else None,
                pages=len(wins.get(method, ())),
            )
        )
    return rows


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """(number of the line, column -> text) of a sheet, separated by commas or, as some spreadsheets save it, semicolons."""
    source = Source(what=f"The sheet {path}", remedy=f"save it as CSV with the columns {', '.join(FIELDS)}", bytes=2**24)
    text = read_text(path, source)
    head = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=";" if ";" in head and "," not in head else ",", restval="")
    try:
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise StyleError(f"The sheet {path} cannot be read ({error}): save it as CSV with the columns {', '.join(FIELDS)}.") from None
    missing = [name for name in FIELDS[:3] if name not in (reader.fieldnames or ())]
    if missing:
        raise StyleError(f"The sheet {path} has no column {missing[0]}: its first line must be {','.join(FIELDS)}.")
    return rows


def _answer(row: Mapping[str, str], name: str, labels: Mapping[int, Mapping[str, str]], where: str) -> Answer:
    page, label, score = ((row.get(field) or "").strip() for field in FIELDS[:3])
    number = int(page) if page.isdecimal() and len(page) < 9 else -1
    letter = label.upper()
    if number not in labels or letter not in labels[number]:
        raise StyleError(f"{where}: the key knows no picture {shown(label)} on a page {shown(page)}: is it the key of these pages?")
    try:
        value = float(score.replace(",", "."))
    except ValueError:
        value = math.nan
    if not LOWEST <= value <= HIGHEST:
        raise StyleError(f"{where}: the score is {shown(score)}: give a number from {LOWEST} to {HIGHEST}.")
    rater = (row.get(RATER) or "").strip() or name
    return Answer(rater=rater, page=number, label=letter, score=value, words=(row.get("words") or "").strip())
