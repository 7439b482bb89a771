"""The table of an evaluation: a row of numbers for each method and style, and how it is read, as JSON, CSV and Markdown.

Numbers of different backbones are never put in one table: a report has one backbone and names it.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from eval.scores import PAINT_SIDE
from stylekit.errors import StyleError
from stylekit.storage.untrusted import Source, as_table, parse_json, read_text

FORMAT = 1
REPORT_FILE, CSV_FILE, MARKDOWN_FILE, NOTES_FILE = "report.json", "report.csv", "report.md", "notes.md"
LIMITS_FILE = "limits.csv"


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

LIMIT_COLUMNS = (  # key of a limit, title, format
    ("style", "style", ""),
    ("strength", "strength", ".2f"),
    ("ssim", "SSIM", ".3f"),
    ("lpips", "LPIPS to content", ".3f"),
    ("reached", "style reached", ".2f"),
    ("share", "share", ".0%"),
    ("beyond", "stops at", ""),
    ("ssim_full", "SSIM at 1", ".3f"),
    ("lpips_full", "LPIPS at 1", ".3f"),
    ("reached_full", "style reached at 1", ".2f"),
)


@dataclass(frozen=True, kw_only=True)
class EvalReport:
    """rows: {"method", "style", "pictures", "references", and a number by Column.key, where there is one}. missing: (method, style, why).
    notes: Markdown, what was seen in the pictures. machine: where the seconds were measured. limits: for each style how far its dial goes
    while the brief's targets hold (`eval.limits.Limit.values`)."""

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
    limits: Sequence[Mapping[str, Any]] = ()
    columns: Sequence[Mapping[str, Any]] = tuple(asdict(column) for column in COLUMNS)
    format: int = FORMAT


def read_report(folder: Path) -> EvalReport:
    """The report in `folder`."""
    source = Source(what=f"The report in {folder}", remedy="make one with python -m eval.run", bytes=2**24)
    try:
        values = as_table(parse_json(read_text(folder / REPORT_FILE, source), source), source)
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
    lines += _limits(report)
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


def _limits(report: EvalReport) -> list[str]:
    """The table of limits, if they were asked for."""
    if not report.limits:
        return []
    ssim, lpips = (next(column for column in COLUMNS if column.key == key) for key in ("ssim", "lpips"))
    lines = [
        "## How far the dial goes while the targets hold",
        "",
        f"The strongest setting of each style at which SSIM is over {ssim.target:g} and LPIPS to the content under {lpips.target:g}, both "
        f"as means over {max(row['photos'] for row in report.limits)} photos, and what is reached there. *Share*: how much of the way from "
        "the photo to the full setting that is. *Stops at*: the target that a hundredth more would miss.",
    ]
    if not report.standard:
        lines[-1] += " LPIPS is of the networks named above, not of those that the target is for."
    lines += ["", "| " + " | ".join(title for _, title, _ in LIMIT_COLUMNS) + " |", "|---" * len(LIMIT_COLUMNS) + "|"]
    for row in report.limits:
        cells = ("" if row[key] is None else f"{row[key]:{form}}" for key, _, form in LIMIT_COLUMNS)
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


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


def write_limits(report: EvalReport, path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*report.limits[0], "backbone"])
        writer.writeheader()
        writer.writerows(dict(row) | {"backbone": report.backbone} for row in report.limits)


def write_csv(report: EvalReport, path: Path) -> None:
    keys = ["method", "style", "pictures", "references", *(column.key for column in COLUMNS)]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*keys, "backbone"])
        for row in report.rows:
            writer.writerow([*(row.get(key) for key in keys), report.backbone])
