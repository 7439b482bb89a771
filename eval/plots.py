"""Plots of a report, and sheets of the best and the worst pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from eval.methods import PLAIN
from eval.output import INK, PALE, bare, new_figure
from eval.scores import Score
from eval.table import EvalReport
from stylekit.pixels.contact_sheet import captioned, contact_sheet, within

HUES = {
    "identity": "#6c757d",
    "base": "#8c6d1f",
    "prompt": "#c2588f",
    "hand": "#00875a",
    "lora": "#b23a22",
    "dreambooth": "#6f4fae",
    "classical": "#0072b2",
}
MARKERS = {"identity": "X", "base": "D", "prompt": "v", "hand": "P", "lora": "o", "dreambooth": "s", "classical": "^"}
TITLES = {
    "identity": "the photo itself",
    "base": "base alone",
    "prompt": "style's words alone",
    "hand": "drawn by hand",
    "lora": "LoRA alone",
    "dreambooth": "DreamBooth alone",
    "classical": "classical network",
}
BARS = (
    ("lpips", "LPIPS to content, lower is better"),
    ("ssim", "SSIM, higher is better"),
    ("reached", "style reached, higher is better"),
    ("seconds", "seconds a picture, median"),
)
CELL, GAP, MARGIN = 190, 12, 110  # pixels of a picture's long side on a sheet, between pairs, and for the names at the left


def trade_off(report: EvalReport) -> Any:
    """Content kept against style reached."""
    figure = new_figure(8, 6)
    axis = figure.subplots()
    bare(axis)
    axis.grid(axis="both", color="#eeeeee", zorder=0)
    axis.axhline(0, color=PALE, linewidth=1, zorder=1)
    drawn = set()
    for row in sorted(report.rows, key=lambda row: list(HUES).index(row["method"])):
        method = row["method"]
        if row.get("reached") is None:
            continue
        x, y = 1 - row["lpips"], row["reached"]
        axis.scatter(x, y, s=70, marker=MARKERS[method], color=HUES[method], zorder=3, label=None if method in drawn else TITLES[method])
        drawn.add(method)
        if method not in PLAIN:
            place = (7, -10) if method == "dreambooth" else (7, 3)  # beside its LoRA, which it is often close to
            axis.annotate(row["style"], (x, y), place, textcoords="offset points", fontsize=8.5, color=HUES[method], zorder=4)
    axis.set_xlabel("content kept: 1 − LPIPS to the photo", fontsize=10, color=INK)
    axis.set_ylabel("style reached: 0 is a photo, 1 is the style", fontsize=10, color=INK)
    axis.margins(0.1)
    if drawn:
        axis.legend(frameon=False, fontsize=9, loc="best")
    figure.supxlabel(f"{len(report.photos)} photos; {report.backbone_label}", fontsize=8, color="#666666")
    return figure


def bars(report: EvalReport) -> Any:
    """Each style by the measures of `BARS`; a bar is a method."""
    measures = [(key, title) for key, title in BARS if any(row.get(key) is not None for row in report.rows)]
    methods = [name for name in HUES if any(row["method"] == name for row in report.rows)]
    figure = new_figure(9, 1.2 + (0.8 + (0.12 + 0.1 * len(methods)) * len(report.styles)) * ((len(measures) + 1) // 2))
    grid = figure.subplots(-(-len(measures) // 2), 2, squeeze=False)
    for axis in grid.ravel()[len(measures) :]:
        axis.set_visible(False)
    height = 0.84 / len(methods)
    for axis, (key, title) in zip(grid.ravel(), measures, strict=False):
        bare(axis)
        axis.axvline(0, color=PALE, linewidth=1)
        for i, method in enumerate(methods):
            found = {row["style"]: row.get(key) for row in report.rows if row["method"] == method}
            places = [(j, found[style]) for j, style in enumerate(report.styles) if found.get(style) is not None]
            if places:
                at = np.array([j for j, _ in places]) + (i - (len(methods) - 1) / 2) * height
                axis.barh(at, [value for _, value in places], height * 0.9, color=HUES[method], label=TITLES[method], zorder=2)
        axis.set_yticks(range(len(report.styles)), report.styles, fontsize=9.5, color=INK)
        axis.set_ylim(len(report.styles) - 0.5, -0.5)  # also where the last ones have no number
        axis.set_title(title, loc="left", fontsize=10.5, color=INK)
    handles = {label: handle for axis in grid.ravel() for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=min(3, len(handles)), frameon=False, fontsize=9)
    return figure


def sheet(picks: Mapping[str, Sequence[Score]], photos: Mapping[str, Score], cache: Path) -> Image.Image:
    """A row per style: each of `picks` beside its photo, from the thumbnails in `cache`, with what was measured below."""
    rows = [[_pair(score, photos, cache) for score in scores] for scores in picks.values()]
    return contact_sheet(rows, names=list(picks), gap=GAP, margin=MARGIN)


def _pair(score: Score, photos: Mapping[str, Score], cache: Path) -> Image.Image:
    thumbs = [cache / photos[score.photo].thumb] if score.photo in photos else []
    pictures = [within(Image.open(path).convert("RGB"), CELL) for path in [*thumbs, cache / score.thumb]]
    reached = score.to_style.get(score.style, {}).get("reached")
    text = f"LPIPS {score.lpips:.2f}   SSIM {score.ssim:.2f}" + (f"   style {reached:.2f}" if reached is not None else "")
    return captioned(contact_sheet([pictures], gap=2), text)
