"""What a folder says of its pictures: tables, and texts beside the pictures.

Tables are ``metadata.jsonl``, ``metadata.csv`` (the `datasets` library's) and ``captions.jsonl`` anywhere in the folder, and any ``*.csv``
at its top; their file names are relative to where they lie. The text beside ``picture.jpg`` is ``picture.txt`` or ``picture.caption``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from stylekit.errors import EMPTY, StyleError
from stylekit.formats import Say, count_and_name
from stylekit.storage.untrusted import Source, as_table, parse_json

TABLES = ("metadata.csv", "metadata.jsonl", "captions.jsonl")
SIDECARS = (".txt", ".caption")
FILE_COLUMNS = ("file_name", "filename", "file", "path", "image")
COLUMNS = {  # what we call it: what tables call it
    "caption": ("text", "caption", "prompt"),
    "artist": ("artist",),
    "title": ("title", "description"),
    "year": ("year", "date"),
    "license": ("license", "licence"),
    "url": ("url", "source_url"),
}

Facts = dict[str, str]  # keys of COLUMNS


def read_facts(folder: Path, pictures: Sequence[Path], say: Say, *, captioned: bool = False) -> dict[Path, Facts]:
    """Picture -> what is said of it. Tables count more than texts beside it, and near tables more than far ones.

    Lines for pictures that are not there are counted and named to `say`. captioned: every line of a table in JSON must have a caption.
    Raises StyleError for a table or a text that cannot be read.
    """
    tables: dict[Path, dict[str, Facts]] = {}
    for path in find_tables(folder):
        if not path.stat().st_size:
            say(EMPTY.format(name=path))
            continue
        rows = dict(read_table(path, captioned=captioned))
        _say_unmatched(path, rows, {picture.name for picture in pictures}, say)
        tables.setdefault(path.parent, {}).update(rows)
    found: dict[Path, Facts] = {}
    for picture in pictures:
        facts = read_sidecar(picture)
        for place in reversed([parent for parent in picture.parents if parent in tables]):
            rows = tables[place]
            facts = facts | (rows.get(picture.relative_to(place).as_posix()) or rows.get(picture.name) or {})
        found[picture] = facts
    return found


def find_tables(folder: Path) -> list[Path]:
    """Tables of `folder`; of equal rank the later in this order counts."""
    deep = {path for name in TABLES for path in folder.rglob(name)}
    seen = [path for path in deep if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    return sorted({*folder.glob("*.csv"), *seen}, key=lambda path: (path.suffix != ".csv", path))


def read_table(path: Path, *, captioned: bool = False) -> Iterator[tuple[str, Facts]]:
    """(file name as the table has it, what it says) for every line. Of CSV tables those without a column of file names say nothing."""
    for place, row in _rows(path):
        try:
            cells = {str(key).strip().lower(): value for key, value in row.items() if value is not None}
            file = next((cells[name] for name in FILE_COLUMNS if name in cells), None)
            if path.suffix == ".csv" and not file:
                continue
            if not isinstance(file, str):
                raise ValueError(f"it names no file: give {FILE_COLUMNS[0]}")
            if captioned and path.suffix != ".csv" and not any(name in cells for name in COLUMNS["caption"]):
                raise ValueError(f"it has no caption: give {' or '.join(COLUMNS['caption'])}")
            facts = {ours: next((_text(cells[name]) for name in names if name in cells), "") for ours, names in COLUMNS.items()}
            yield PurePosixPath(file.strip().replace("\\", "/")).as_posix(), {key: value for key, value in facts.items() if value}
        except ValueError as error:
            raise StyleError(f"{path}, {place}, cannot be read as a table ({error}): mend or remove it.") from None


def read_sidecar(picture: Path) -> Facts:
    """The caption in the text beside a picture."""
    for suffix in SIDECARS:
        path = picture.with_suffix(suffix)
        try:
            if path.is_file():
                return {"caption": one_line(path.read_text(encoding="utf-8-sig"))}
        except (OSError, UnicodeDecodeError):
            raise StyleError(f"{path} is not UTF-8 text: mend or remove it.") from None
    return {}


def one_line(text: str) -> str:
    return " ".join(text.split())


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(which line, its cells by their names). Lines end in line feeds alone: in JSON's texts other separators are letters like others."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".csv":
            for number, row in enumerate(csv.DictReader(io.StringIO(text, newline="")), start=2):
                yield f"line {number}", row
            return
    except (OSError, ValueError, csv.Error) as error:
        raise StyleError(f"{path} cannot be read as a table ({error}): mend or remove it.") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            source = Source(what=f"{path}, line {number},", remedy="mend or remove it")
            yield f"line {number}", as_table(parse_json(line, source), source)


def _text(value: Any) -> str:
    if isinstance(value, (dict, list)):
        raise ValueError(f"it holds a {'list' if isinstance(value, list) else 'mapping'} where a text should be")
    return one_line(str(value))


def _say_unmatched(path: Path, rows: Mapping[str, Facts], names: set[str], say: Say) -> None:
    missing = [name for name in rows if not (path.parent / name).is_file() and name not in names]
    if missing:
        say(f"{path}: what it says of {count_and_name(missing)} is left out, since they are not there.")
