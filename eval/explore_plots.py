"""Plots of a data analysis."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from eval.measures import FEATURES, MEASURES, PROBLEMS, Folder, lab, palette, percent, principal_map
from eval.output import INK, PALE, bare, new_figure

HUES = ("#0072b2", "#d98200", "#009e73", "#c2588f", "#d1495b", "#6f4fae", "#6c757d", "#8c6d1f", "#2a9fb8", "#3f7d20")  # of folders, by row


def _strips(axis: Any, folders: Sequence[Folder], name: str, names: bool) -> None:
    """One row per folder: every picture a dot, the middle half a bar, the median a number."""
    rng = np.random.default_rng(0)  # of the jitter
    for row, folder in enumerate(folders):
        values, colour = folder.values(name), HUES[row % len(HUES)]
        if not len(values):
            continue
        low, median, high = np.percentile(values, [25, 50, 75])
        alpha = float(np.clip(60 / len(values), 0.25, 0.8))
        axis.scatter(values, row + rng.uniform(-0.22, 0.22, len(values)), s=7, color=colour, alpha=alpha, linewidths=0, zorder=2)
        axis.plot([low, high], [row, row], color=colour, linewidth=4, solid_capstyle="butt", zorder=3)
        axis.plot(median, row, "o", color="white", markeredgecolor=colour, markeredgewidth=2, markersize=7, zorder=4)
        text = f"{median:.2f}" if name == "aspect" else f"{median:.0f}"
        axis.annotate(text, (median, row), (0, 9), textcoords="offset points", ha="center", fontsize=9, color=INK, zorder=5, bbox=_halo())
    axis.set_ylim(len(folders) - 0.4, -0.65)
    axis.set_yticks(range(len(folders)), [f.name for f in folders] if names else [""] * len(folders), fontsize=10)
    for row, label in enumerate(axis.get_yticklabels()):
        label.set_color(HUES[row % len(HUES)])
    axis.set_title(MEASURES[name][0].upper() + MEASURES[name][1:], loc="left", fontsize=10.5, color=INK)


def _halo() -> dict[str, Any]:
    return {"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}


def plot_sizes(folders: Sequence[Folder], size: int) -> Any:
    from matplotlib.ticker import NullFormatter

    figure = new_figure(10, 1 + 0.55 * len(folders))
    left, right = figure.subplots(1, 2)
    for axis, name in ((left, "short_side"), (right, "aspect")):
        bare(axis)
        axis.set_xscale("log")
        _strips(axis, folders, name, names=axis is left)
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.tick_params(which="minor", length=0)
    values = np.concatenate([f.values("short_side") for f in folders])
    ticks = [t for t in (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192) if values.min() / 2 < t < values.max() * 2]
    left.set_xticks(ticks, [str(t) for t in ticks])
    left.axvline(size, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    left.annotate(f"training size {size}", (size, len(folders) - 0.45), (4, 2), textcoords="offset points", fontsize=8.5, color=INK)
    right.set_xticks([0.25, 0.5, 2 / 3, 1, 1.5, 2, 4], ["1:4", "1:2", "2:3", "1:1", "3:2", "2:1", "4:1"])
    right.axvline(1, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    return figure


def plot_tone(folders: Sequence[Folder]) -> Any:
    figure = new_figure(10, 1.2 + 1.05 * len(folders))
    for axis, name in zip(figure.subplots(2, 2).ravel(), ("lightness", "contrast", "chroma", "sharpness"), strict=True):
        bare(axis)
        _strips(axis, folders, name, names=name in ("lightness", "chroma"))
        high = 100.0 if name == "lightness" else axis.get_xlim()[1]
        axis.set_xlim(-0.02 * high, 1.02 * high)
    return figure


def plot_colours(folders: Sequence[Folder]) -> Any:
    columns = min(4, len(folders))
    rows = -(-len(folders) // columns)
    figure = new_figure(10, 10 / columns * rows)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    rng = np.random.default_rng(0)  # of the pixels shown
    for axis, folder in zip(axes, folders, strict=False):
        pixels = np.concatenate([m.sample for m in folder.measures] or [np.zeros((0, 3), np.uint8)])
        pixels = rng.permutation(pixels)[:4000]
        colours = lab(pixels)
        axis.axhline(0, color=PALE, linewidth=0.8, zorder=0)
        axis.axvline(0, color=PALE, linewidth=0.8, zorder=0)
        angle = np.linspace(0, 2 * np.pi, 100)
        for radius in (30, 60):
            axis.plot(radius * np.cos(angle), radius * np.sin(angle), color="#dddddd", linewidth=0.8, zorder=0)
        axis.scatter(colours[:, 1], colours[:, 2], c=pixels / 255, s=6, linewidths=0)
        axis.set_title(folder.name, loc="left", fontsize=10.5, color=INK)
        axis.set(xlim=(-95, 95), ylim=(-95, 95), aspect="equal", xticks=(-60, -30, 0, 30, 60), yticks=(-60, -30, 0, 30, 60))
        axis.tick_params(length=0, colors=INK, labelsize=8)
        for spine in axis.spines.values():
            spine.set_visible(False)
    for axis in axes[len(folders) :]:
        axis.set_visible(False)
    figure.supxlabel("a*: green to red", fontsize=10, color=INK)
    figure.supylabel("b*: blue to yellow", fontsize=10, color=INK)
    return figure


def plot_palettes(folders: Sequence[Folder]) -> Any:
    figure = new_figure(10, 0.4 + 0.55 * len(folders))
    axis = figure.subplots()
    for row, folder in enumerate(folders):
        axis.barh(row, 1, height=0.8, color="none", edgecolor=PALE, linewidth=1.5)
        left = 0.0
        colours = palette(folder) if folder.measures else []
        for colour, share in sorted(colours, key=lambda c: -lab(np.array([[int(c[0][i : i + 2], 16) for i in (1, 3, 5)]]))[0, 0]):
            axis.barh(row, share, left=left, height=0.8, color=colour)
            left += share
    axis.set_yticks(range(len(folders)), [f.name for f in folders], fontsize=10, color=INK)
    axis.set(xlim=(-0.002, 1.002), ylim=(len(folders) - 0.5, -0.5), xticks=(0, 0.25, 0.5, 0.75, 1))
    axis.set_xticklabels(["0", "25", "50", "75", "100 % of the pixels"], fontsize=9)
    axis.get_xticklabels()[-1].set_ha("right")
    axis.tick_params(length=0, colors=INK)
    for spine in axis.spines.values():
        spine.set_visible(False)
    return figure


def plot_map(folders: Sequence[Folder]) -> Any:
    positions = principal_map(folders)
    points, offset = positions["points"], 0
    figure = new_figure(10, 7)
    axis = figure.subplots()
    labels = []
    for row, folder in enumerate(folders):
        own = points[offset : offset + len(folder.measures)]
        offset += len(own)
        if len(own):
            axis.scatter(*own.T, s=16, color=HUES[row % len(HUES)], alpha=0.4, linewidths=0)
            labels.append((np.median(own, axis=0), folder.name, HUES[row % len(HUES)]))
    low, high = np.percentile(points, [0.5, 99.5], axis=0)
    pad = 0.08 * (high - low) + 1e-3
    axis.set(xlim=(low[0] - pad[0], high[0] + pad[0]), ylim=(low[1] - pad[1], high[1] + pad[1]))
    for (x, y), name, colour in labels:
        others = [other for (other, height), label, _ in labels if label != name and abs(height - y) < 0.06 * (high[1] - low[1])]
        left = any(x < other for other in others) and not any(other < x for other in others)  # of two at one height, one reads leftwards
        axis.plot(x, y, "o", color=colour, markeredgecolor="white", markersize=10, zorder=4)
        place = {"xytext": (-9 if left else 9, -4), "textcoords": "offset points", "ha": "right" if left else "left"}
        axis.annotate(name, (x, y), fontsize=12, fontweight="bold", color=colour, zorder=5, bbox=_halo(), **place)
    names = list(FEATURES.values())
    for component, label in enumerate((axis.set_xlabel, axis.set_ylabel)):
        weights = positions["loadings"][component]
        strongest = [i for i in np.argsort(-np.abs(weights))[:4] if abs(weights[i]) > 0.2]
        terms = ", ".join(f"{'+' if weights[i] > 0 else '−'} {names[i]}" for i in strongest)
        label(f"component {component + 1}, {100 * positions['shares'][component]:.0f} % of the variance:\n{terms}", fontsize=10, color=INK)
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_color(PALE)
    return figure


def plot_problems(summary: dict[str, Any]) -> Any:
    entries = summary["folders"]
    names = [name for name in PROBLEMS if any(entry["problems"][name] for entry in entries)] or ["small"]
    counts = np.array([[len(entry["problems"][name]) for name in names] for entry in entries], dtype=float)
    totals = np.array([max(1, entry["pictures"] + len(entry["unreadable"])) for entry in entries])[:, None]
    figure = new_figure(10, 1.6 + 0.45 * len(entries))
    axis = figure.subplots()
    axis.imshow(np.ma.masked_equal(counts / totals, 0), cmap="Oranges", vmin=-0.1, vmax=1.3, aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        text = f"{int(count)}  ({percent(count / totals[row, 0])})" if count else "·"
        axis.text(column, row, text, ha="center", va="center", fontsize=9, color=INK if count else PALE)
    titles = [PROBLEMS[name].format(size=summary["size"]) for name in names]
    axis.set_xticks(range(len(names)), [textwrap.fill(title, 15) for title in titles], fontsize=8.5, color=INK)
    axis.set_yticks(range(len(entries)), [f"{e['name']}, {e['pictures']}" for e in entries], fontsize=10, color=INK)
    axis.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    for spine in axis.spines.values():
        spine.set_visible(False)
    return figure
