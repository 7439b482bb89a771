"""The report of an evaluation: a row of numbers for each method and style, as JSON, CSV and Markdown, with plots and sheets.

Numbers of different backbones are never put in one table: a report has one backbone and names it.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eval import plots
from eval.fid import FeatureStats, frechet_distance, kernel_distance
from eval.output import save_figure, write_whole
from eval.references import Reference
from eval.scores import PAINT_SIDE, Fault, Plan, Score
from eval.style import art_fid
from stylekit.errors import StyleError

FORMAT = 1
FEWEST = 8  # pictures on either side for FID and KID
SHOWN = 3  # pictures of a style on a sheet
REPORT_FILE, CSV_FILE, MARKDOWN_FILE, NOTES_FILE = "report.json", "report.csv", "report.md", "notes.md"


@dataclass(frozen=True, kw_only=True)
class Column:
    """A number of every row. better: "low", "high", or "" where it is not the question. target: the brief's; on `networks` it holds only
    for the standard backbone."""

    key: str
    title: str
    better: str = ""
    digits: int = 3
    target: float | None = None
    networks: bool = True

    def passes(self, value: float) -> bool | None:
        if self.target is None:
            return None
        return value < self.target if self.better == "low" else value > self.target


COLUMNS = (
    Column(key="lpips", title="LPIPS to content", better="low", target=0.3),
    Column(key="ssim", title="SSIM", better="high", target=0.7, networks=False),
    Column(key="content_loss", title="content loss", better="low"),
    Column(key="cfsd", title="CFSD", better="low"),
    Column(key="reached", title="style reached", better="high", digits=2),
    Column(key="kid", title="KID", better="low"),
    Column(key="kid_std", title="KID ±"),
    Column(key="fid", title="FID@N", better="low", digits=1, target=60),
    Column(key="art_fid", title="ArtFID", better="low", digits=1),
    Column(key="style_loss", title="style loss", better="low"),
    Column(key="lpips_style", title="LPIPS to style", better="low"),
    Column(key="colour_distance", title="colour distance", better="low", digits=1, networks=False),
    Column(key="seconds", title="seconds", better="low", digits=2, target=5, networks=False),
    Column(key="seconds_p95", title="seconds p95", better="low", digits=2, networks=False),
    Column(key="memory_mb", title="MB", better="low", digits=0, networks=False),
)


@dataclass(frozen=True, kw_only=True)
class EvalReport:
    """rows: {"method", "style", "pictures", "references", and a number by Column.key, where there is one}. missing: (method, style, why).
    notes: Markdown, what was seen in the pictures. machine: where the seconds were measured."""

    title: str
    backbone: str
    backbone_label: str
    standard: bool
    base: str
    machine: str
    photos: Sequence[str]
    styles: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    missing: Sequence[Sequence[str]] = ()
    faults: Sequence[Mapping[str, str]] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    plots: Sequence[Mapping[str, str]] = ()
    sheets: Sequence[Mapping[str, str]] = ()
    notes: str = ""
    columns: Sequence[Mapping[str, Any]] = tuple(asdict(column) for column in COLUMNS)
    format: int = FORMAT


def make_report(scores: Sequence[Score], faults: Sequence[Fault], plan: Plan, *, title: str, base: str, machine: str) -> EvalReport:
    """Means of `scores` and the distances between sets of pictures. Raises StyleError if there is no score."""
    if not scores:
        raise StyleError("No picture could be scored: look at the reasons above, or name other photos.")
    rows = []
    for style in plan.styles:
        reference = plan.references.get(style)
        for method in plan.methods:
            of_method = _of(scores, method.name, style)
            if of_method:
                rows.append(_row(method.name, style, of_method, reference))
    return EvalReport(
        title=title,
        backbone=plan.backbone.name,
        backbone_label=plan.backbone.label,
        standard=plan.backbone.standard,
        base=base,
        machine=machine,
        photos=sorted({score.photo for score in scores}),
        styles=list(plan.styles),
        rows=rows,
        missing=plan.missing,
        faults=[asdict(fault) for fault in faults],
        sources={style: reference.source for style, reference in plan.references.items()},
    )


def write_report(report: EvalReport, scores: Sequence[Score], cache: Path, out: Path, *, sheets: bool) -> EvalReport:
    """Write everything below `out`, `notes.md` there going into it; returns the report with its plots and sheets. sheets: whether
    photos and pictures made of them may be shown."""
    drawn: dict[str, tuple[str, Callable[[], Any]]] = {
        "content_and_style.png": (
            "Content kept against style reached: a point is one method on one style, up and right is better. The photo itself is at the "
            "lower right.",
            partial(plots.trade_off, report),
        ),
        "bars.png": ("Every style by the measures that matter most.", partial(plots.bars, report)),
    }
    for file, (_, draw) in drawn.items():
        write_whole(out / file, partial(save_figure, draw()))
    shown = []
    for method in dict.fromkeys(row["method"] for row in report.rows) if sheets else ():
        for worst in (False, True):
            picks = {style: _ranked(scores, method, style, worst)[:SHOWN] for style in report.styles}
            picks = {style: ranked for style, ranked in picks.items() if ranked}
            if picks:
                file = f"{'worst' if worst else 'best'}_{method}.jpg"
                sheet = plots.sheet(picks, {s.photo: s for s in scores if s.method == "identity"}, cache)
                write_whole(out / file, partial(sheet.save, format="JPEG", quality=80))
                shown.append({"file": file, "text": f"The {'worst' if worst else 'best'} of {method}, each beside its photo."})
    notes = (out / NOTES_FILE).read_text().strip() if (out / NOTES_FILE).exists() else ""
    values = asdict(report) | {"plots": [{"file": f, "text": text} for f, (text, _) in drawn.items()], "sheets": shown, "notes": notes}
    report = EvalReport(**values)
    write_whole(out / CSV_FILE, partial(_write_csv, report))
    write_whole(out / MARKDOWN_FILE, lambda part: part.write_text(markdown(report)))
    write_whole(out / REPORT_FILE, lambda part: part.write_text(json.dumps(asdict(report), indent=1, ensure_ascii=False) + "\n"))
    return report


def read_report(folder: Path) -> EvalReport:
    """The report in `folder`."""
    try:
        values = json.loads((folder / REPORT_FILE).read_text())
        if values.get("format") != FORMAT:
            raise StyleError(f"The report in {folder} has format {values.get('format')!r}, this version reads {FORMAT}: make it again.")
        return EvalReport(**values)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise StyleError(f"There is no report in {folder} that can be read ({error}): make one with python -m eval.run.") from None


def markdown(report: EvalReport) -> str:
    """The report as text: what was measured with what, a table for each style, what is missing, and what was seen."""
    lines = [f"# {report.title}", "", *_preamble(report), ""]
    columns = [column for column in COLUMNS if any(row.get(column.key) is not None for row in report.rows)]
    for style in report.styles:
        rows = [row for row in report.rows if row["style"] == style]
        if not rows:
            continue
        count = rows[0]["references"]
        lines += [f"## {style}", "", f"{rows[0]['pictures']} photos, {count or 'no'} style pictures.", ""]
        lines += ["| method | " + " | ".join(column.title for column in columns) + " |", "|---" * (1 + len(columns)) + "|"]
        lines += [f"| {row['method']} | " + " | ".join(_cell(row, column, report) for column in columns) + " |" for row in rows]
        lines.append("")
    for figure in report.plots:
        lines += [f"![{figure['text']}]({figure['file']})", "", figure["text"], ""]
    for figure in report.sheets:
        lines += [f"![{figure['text']}]({figure['file']})", "", figure["text"], ""]
    if report.notes:
        lines += ["## What the pictures show", "", report.notes, ""]
    if report.missing:
        lines += ["## Not there", "", *(f"- {method} of {style}: {why}" for method, style, why in report.missing), ""]
    if report.faults:
        lines += ["## Failed", ""]
        lines += [f"- {f['photo']}{' by ' + f['method'] if f['method'] else ''} {f['style']}: {f['reason']}" for f in report.faults]
        lines.append("")
    return "\n".join(lines)


def _preamble(report: EvalReport) -> list[str]:
    targets = [c for c in COLUMNS if c.target is not None and (report.standard or not c.networks)]
    marks = ", ".join(f"{c.title} {'under' if c.better == 'low' else 'over'} {c.target:g}" for c in targets)
    lines = [
        f"{len(report.photos)} photos at {PAINT_SIDE} pixels, base `{report.base}`; seconds on {report.machine}.",
        "",
        f"**Networks: {report.backbone_label}.** Numbers of other networks must not be compared with these"
        + ("." if report.standard else ", published ones neither: only rows of this report with one another."),
        "",
        f"✓ and ✗: whether the target is met ({marks}). What each number means and cannot say: `docs/evaluation_metrics.md`.",
    ]
    if not report.standard:
        held = ", ".join(c.title for c in COLUMNS if c.target is not None and c.networks)
        lines[-1] += f" The targets for {held} are for the standard networks, so they are not judged here."
    return lines


def _cell(row: Mapping[str, Any], column: Column, report: EvalReport) -> str:
    value = row.get(column.key)
    if value is None:
        return ""
    text = f"{value:.{column.digits}f}"
    passed = column.passes(value) if report.standard or not column.networks else None
    return text if passed is None or row["method"] == "identity" else f"{text} {'✓' if passed else '✗'}"


def _write_csv(report: EvalReport, path: Path) -> None:
    keys = ["method", "style", "pictures", "references", *(column.key for column in COLUMNS)]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*keys, "backbone"])
        for row in report.rows:
            writer.writerow([*(row.get(key) for key in keys), report.backbone])


def _of(scores: Sequence[Score], method: str, style: str) -> list[Score]:
    return [score for score in scores if score.method == method and score.style in ("", style)]


def _row(method: str, style: str, scores: Sequence[Score], reference: Reference | None) -> dict[str, Any]:
    """One line of the report."""
    row: dict[str, Any] = {"method": method, "style": style, "pictures": len(scores), "references": reference.count if reference else 0}
    for key in ("lpips", "ssim", "content_loss", "cfsd"):
        row[key] = float(np.mean([getattr(score, key) for score in scores]))
    seconds = [score.seconds for score in scores]
    row["seconds"], row["seconds_p95"] = float(np.median(seconds)), float(np.percentile(seconds, 95))
    memory = [score.memory_mb for score in scores if score.memory_mb is not None]
    row["memory_mb"] = max(memory, default=None)
    for key in ("reached", "style_loss", "colour_distance", "lpips_style"):
        values = [score.to_style[style][key] for score in scores if key in score.to_style.get(style, {})]
        row[key] = float(np.mean(values)) if values else None
    kid = _kid(scores, reference)
    if reference is None or kid is None:
        return row
    row["kid"], row["kid_std"] = kid
    row["fid"] = frechet_distance(FeatureStats.of(_vectors(scores)), FeatureStats.of(reference.vectors))
    row["art_fid"] = art_fid(row["lpips"], row["fid"])
    return row


def _kid(scores: Sequence[Score], reference: Reference | None) -> tuple[float, float] | None:
    """KID (mean, deviation) between pictures and references; None where either are too few."""
    if reference is None or min(len(scores), reference.count) < FEWEST:
        return None
    return kernel_distance(_vectors(scores), reference.vectors)


def _vectors(scores: Sequence[Score]) -> torch.Tensor:
    return torch.tensor([list(score.vector) for score in scores])


def _ranked(scores: Sequence[Score], method: str, style: str, worst: bool) -> list[Score]:
    """Pictures of a method that knows styles, by content lost times style lacking, as ArtFID weighs them."""
    found = [score for score in scores if score.method == method and score.style == style and style in score.to_style]

    def cost(score: Score) -> float:
        return (1 + score.lpips) * (1 + max(0.0, 1 - score.to_style[style].get("reached", 1.0)))

    return sorted(found, key=cost, reverse=worst)
