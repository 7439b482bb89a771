"""The report of an evaluation: made of its scores, and written with plots and sheets."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eval import plots
from eval.limits import Limit
from eval.metrics.fid import FeatureStats, frechet_distance, kernel_distance
from eval.metrics.style import art_fid
from eval.output import save_figure
from eval.references import Reference
from eval.scores import Fault, Plan, Score
from eval.table import (
    CSV_FILE,
    LIMITS_FILE,
    MARKDOWN_FILE,
    NOTES_FILE,
    REPORT_FILE,
    EvalReport,
    markdown,
    write_csv,
    write_limits,
)
from stylekit.errors import StyleError
from stylekit.storage.files import write_whole

FEWEST = 8  # pictures on either side for FID and KID
SHOWN = 3  # pictures of a style on a sheet


def make_report(
    scores: Sequence[Score], faults: Sequence[Fault], plan: Plan, *, title: str, base: str, machine: str, limits: Sequence[Limit] = ()
) -> EvalReport:
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
        limits=[limit.values() for limit in limits],
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
    write_whole(out / CSV_FILE, partial(write_csv, report))
    if report.limits:
        write_whole(out / LIMITS_FILE, partial(write_limits, report))
    else:
        (out / LIMITS_FILE).unlink(missing_ok=True)  # of the report that was here before
    write_whole(out / MARKDOWN_FILE, lambda part: part.write_text(markdown(report)))
    write_whole(out / REPORT_FILE, lambda part: part.write_text(json.dumps(asdict(report), indent=1, ensure_ascii=False) + "\n"))
    return report


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
    """Pictures of a method that knows styles, by content lost times style lacking, as ArtFID weighs them; by content lost alone where
    there is nothing to measure the style against."""
    found = [score for score in scores if score.method == method and score.style == style]

    def cost(score: Score) -> float:
        return (1 + score.lpips) * (1 + max(0.0, 1 - score.to_style.get(style, {}).get("reached", 1.0)))

    return sorted(found, key=cost, reverse=worst)
