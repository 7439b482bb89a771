"""Figures of the report, drawn from committed numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from build import load, number, row, table

from eval.output import INK, PALE, bare, new_figure
from eval.plots import HUES, TITLES

STYLES = {"vangogh": "Van Gogh", "monet": "Monet", "sketch": "sketch", "popart": "pop art", "minimalism": "minimalism", "ukiyoe": "ukiyo-e"}
VIEWED = {
    "old": "finished, older hand",
    "hand": "finished, newer hand",
    "lora": "model alone",
    "classical": "classical network",
    "gmic": "G'MIC",
    "real work": "real works",
}
VIEWED_HUES = {**HUES, "old": "#7fc3ad", "gmic": "#c77f00", "real work": "#bbbbbb"}


def all_figures() -> Iterator[tuple[str, Any]]:
    """(name of the file, figure)."""
    yield "way", way()
    yield "blind", blind()
    yield "cost", cost()
    yield "learning", learning()
    yield "speed", speed()
    yield "similarity", similarity()


def way() -> Any:
    """How a photo becomes a picture."""
    figure = new_figure(9, 2.5)
    axis = figure.subplots()
    axis.axis("off")
    axis.set(xlim=(0, 100), ylim=(0, 25))
    boxes = [
        (0, "photo", "any size"),
        (17, "lay-in", "strokes, flat\nfields, or\na ground"),
        (34, "the model", "base + adapters:\nencode, denoise,\ndecode, at 768 px"),
        (51, "the hand", "draws marks\nat the photo's\nown size"),
        (68, "finish", "structure,\ncolours, mask,\nborder"),
        (85, "picture", "with its recipe"),
    ]
    for x, title, text in boxes:
        edge = HUES["lora"] if "model" in title else HUES["hand"] if "hand" in title else PALE
        axis.add_patch(_box(x, edge))
        axis.text(x + 7, 21, title, ha="center", va="center", fontsize=11, color=INK, weight="bold")
        axis.text(x + 7, 14, text, ha="center", va="center", fontsize=8.8, color=INK)
    for x, _, _ in boxes[:-1]:
        axis.annotate("", (x + 17, 16), (x + 14, 16), arrowprops={"arrowstyle": "->", "color": INK})
    axis.plot([7, 7, 58], [8, 5, 5], color=INK, linewidth=1)
    axis.annotate("", (58, 8), (58, 4.9), arrowprops={"arrowstyle": "->", "color": INK})
    told = "directions, edges, faces, what is large and what is small: from the photo itself"
    axis.text(32.5, 1.6, told, ha="center", fontsize=8.8, color=INK)
    return figure


def _box(x: float, edge: str) -> Any:
    from matplotlib.patches import FancyBboxPatch

    return FancyBboxPatch((x + 0.4, 8.5), 13.2, 15.5, boxstyle="round,pad=0.3", facecolor="white", edgecolor=edge, linewidth=1.8)


def blind() -> Any:
    """What viewers gave pictures whose makers they did not know."""
    ratings = [one for one in load("assets/reports/blind/scores.json")["ratings"] if one["rater"] == "all" and one["style"] != "all"]
    figure = new_figure(9, 3.6)
    axis = figure.subplots()
    methods = [name for name in VIEWED if any(one["method"] == name for one in ratings)]
    width = 0.8 / len(methods)
    for i, method in enumerate(methods):
        for j, style in enumerate(STYLES):
            for one in ratings:
                if (one["method"], one["style"]) == (method, style):
                    x = j + (i - (len(methods) - 1) / 2) * width
                    label = VIEWED[method] if j == 0 else None
                    axis.bar(x, one["mean"] - 1, width * 0.9, 1, color=VIEWED_HUES[method], label=label, zorder=2)
                    axis.text(x, one["mean"] + 0.1, f"{one['mean']:.1f}", ha="center", fontsize=7, color=INK)
    bare(axis)
    axis.grid(axis="x", visible=False)
    axis.set_xticks(range(len(STYLES)), list(STYLES.values()))
    axis.set(ylim=(1, 10.4), ylabel="mean score, 1 to 10")
    axis.axhline(5, color=PALE, linewidth=0.8, linestyle=":", zorder=1)
    axis.legend(ncols=len(methods), loc="upper center", bbox_to_anchor=(0.5, 1.16), frameon=False, fontsize=8)
    return figure


def cost() -> Any:
    """LoRA and DreamBooth on the pocket base: file, CPU seconds of a step."""
    rows = [one for one in table("docs/dreambooth.md", "What it costs") if "GB" in one["peak memory"]][:4]
    names = ["LoRA, rank 10", "DreamBooth, attention", "DreamBooth, attention\nand outermost level", "DreamBooth, whole UNet"]
    hues = [HUES["lora"], *[HUES["dreambooth"]] * 3]
    seconds = [number(one["seconds a step (CPU seconds)"].split("(")[1]) for one in rows]
    figure = new_figure(9, 2.4)
    left, right = figure.subplots(1, 2, sharey=True)
    for axis, values, title in ((left, [number(one["file"]) for one in rows], "file, MB"), (right, seconds, "CPU seconds a step")):
        bars = axis.barh(range(len(rows)), values, color=hues, height=0.6, zorder=2)
        axis.bar_label(bars, [f"{value:g}" for value in values], padding=3, fontsize=8)
        bare(axis)
        axis.set_title(title, fontsize=9, loc="left")
    left.set_yticks(range(len(rows)), names)
    left.invert_yaxis()
    return figure


def learning() -> Any:
    """Held-out loss of a LoRA and of DreamBooth, same pairs."""
    rows = table("docs/dreambooth.md", "What it costs", 1)
    figure = new_figure(6.5, 3)
    axis = figure.subplots()
    for one, method in zip(rows, ("lora", "dreambooth"), strict=True):
        points = [(number(step), number(value)) for step, value in one.items() if step != "step" and value]
        axis.plot(*zip(*points, strict=True), marker="o", markersize=4, color=HUES[method], label=one["step"])
    bare(axis)
    axis.grid(axis="y", color="#eeeeee")
    axis.set(ylim=(0, None), xlabel="step", ylabel="held-out squared error of latents")
    axis.legend(frameon=False, fontsize=9)
    return figure


def speed() -> Any:
    """Seconds of a 512 x 512 picture: the model's part and the hand's."""
    rows = [
        one
        for one in table("docs/results.md", "Speed and size", 1)
        if one["style"] not in ("all together", "the networks, once a photo", "classical network")
    ]
    figure = new_figure(9, 3)
    axis = figure.subplots()
    whole = [number(one["512x512"]) for one in rows]
    model = [0.0 if one["of it the model"] == "-" else number(one["of it the model"]) for one in rows]
    axis.barh(range(len(rows)), model, color=HUES["lora"], height=0.65, label="the model", zorder=2)
    drawn = [total - part for total, part in zip(whole, model, strict=True)]
    bars = axis.barh(range(len(rows)), drawn, left=model, color=HUES["hand"], height=0.65, label="the hand", zorder=2)
    axis.bar_label(bars, [f"{total:.2f} s" for total in whole], padding=4, fontsize=8)
    bare(axis)
    axis.set_yticks(range(len(rows)), [STYLES.get(one["style"], one["style"]) for one in rows])
    axis.invert_yaxis()
    axis.set_xlabel("seconds, warm, two CPU cores")
    axis.legend(frameon=False, fontsize=9)
    return figure


def similarity() -> Any:
    """SSIM by method and style, beside the target."""
    rows = load("assets/reports/coco100/report.json")["rows"]
    figure = new_figure(9, 2.8)
    axis = figure.subplots()
    methods = [name for name in ("hand", "lora", "dreambooth", "classical") if any(one["method"] == name for one in rows)]
    width = 0.8 / len(methods)
    for i, method in enumerate(methods):
        for j, style in enumerate(STYLES):
            if any((one["method"], one["style"]) == (method, style) for one in rows):
                value = row(rows, method=method, style=style)["ssim"]
                x = j + (i - (len(methods) - 1) / 2) * width
                axis.bar(x, value, width * 0.9, color=HUES[method], label=TITLES[method] if style == "sketch" else None, zorder=2)
    axis.axhline(0.7, color=INK, linewidth=0.9, linestyle="--", zorder=3)
    axis.text(len(STYLES) - 0.45, 0.71, "the brief's target", fontsize=8, ha="right", va="bottom", color=INK)
    bare(axis)
    axis.grid(axis="x", visible=False)
    axis.set_xticks(range(len(STYLES)), list(STYLES.values()))
    axis.set(ylim=(0, 0.95), ylabel="SSIM to the photo")
    axis.legend(ncols=len(methods), loc="upper center", bbox_to_anchor=(0.5, 1.18), frameon=False, fontsize=8)
    return figure
