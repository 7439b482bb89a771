"""Data analysis: what is in folders of pictures, and what is likely to be wrong with them.

    python -m eval.explore photos/ styles/* --out report/ --no-samples

writes report.md with plots (PNG) and explore.json with every number and the files behind each likely problem. Only folder names are shown,
never paths; ``NAME=DIR`` gives a folder another name. All measures but the sizes are taken in CIE L*a*b* (D65) on the picture reduced to
at most 512 pixels, about the size at which a style is learned.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps
from tqdm import tqdm

from eval.output import INK, PALE, bare, new_figure, save_figure, write_whole
from stylekit.errors import SettingError, StyleError
from stylekit.images import FORMATS, SUFFIXES, open_picture

LONG_SIDE = 512  # pixels at which pictures are measured
SAMPLES = 400  # pixels a picture gives to its folder's colours
COLOURS = 10  # in a folder's palette
THUMB = 128  # pixels, on the sample sheet
PER_FOLDER = 8  # pictures on the sample sheet
NEAR = 6  # bits of 64 in which the perceptual hashes of near duplicates may differ, as in training.prepare
FLAT = 2.0  # grey levels of 255; a picture that varies less has no perceptual hash

FEW = 30  # pictures; the thresholds below were set by looking at what they find
LONG = 2.0  # long side over short side
DULL = 10.0  # standard deviation of L*
COLOURLESS = 3.0  # spread of a* and b*
BORDER = 0.01  # of the picture's side, at two opposite edges
PROBLEMS = {
    "small": "short side under {size} px",
    "long": "one side over twice the other",
    "duplicate": "same file as an earlier one",
    "near_duplicate": "looks like an earlier one",
    "dull": "low contrast",
    "border": "plain border or background",
    "transparent": "transparent parts",
    "caption": "line of print at the bottom",
    "colourless": "no colour in a coloured set",
    "unreadable": "cannot be read",
}
MEASURES = {
    "short_side": "short side, px",
    "aspect": "width / height",
    "lightness": "lightness, mean L*",
    "contrast": "contrast, standard deviation of L*",
    "chroma": "colourfulness, mean chroma C*",
    "sharpness": "sharpness, deviation of the Laplacian of L*",
}
FEATURES = {  # of the map
    "lightness": "lightness",
    "contrast": "contrast",
    "a": "red (a*)",
    "b": "yellow (b*)",
    "chroma": "colourfulness",
    "colour_spread": "variety of colour",
    "sharpness": "sharpness",
    "coarseness": "coarseness",
    "flatness": "flat areas",
}
HUES = ("#0072b2", "#d98200", "#009e73", "#c2588f", "#d1495b", "#6f4fae", "#6c757d", "#8c6d1f", "#2a9fb8", "#3f7d20")  # of folders, by row


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One picture. Lightness, contrast, a, b, chroma and colour_spread in L*a*b* units; shares in [0, 1].

    sharpness: standard deviation of the 4-neighbour Laplacian of L*; coarseness: the same at a quarter of the size over it; flatness:
    share of pixels where that Laplacian is under 1; border: depth of plain opposite edges as a share of the side.
    """

    file: str
    sha256: str
    width: int
    height: int
    lightness: float
    contrast: float
    a: float
    b: float
    chroma: float
    colour_spread: float
    sharpness: float
    coarseness: float
    flatness: float
    border: float
    caption: bool
    transparent: bool
    bits: np.ndarray | None = field(repr=False)  # (64,) of -1 and 1: the perceptual hash; None for a flat picture
    sample: np.ndarray = field(repr=False)  # (SAMPLES, 3) uint8 RGB

    @property
    def short_side(self) -> int:
        return min(self.width, self.height)

    @property
    def aspect(self) -> float:
        return self.width / self.height


@dataclass(frozen=True, kw_only=True)
class Folder:
    """Measured pictures of one folder; unreadable: file -> what is wrong with it."""

    name: str
    path: Path
    measures: list[Measure]
    unreadable: dict[str, str]

    def values(self, name: str) -> np.ndarray:
        return np.array([getattr(m, name) for m in self.measures], dtype=np.float64)


def lab(rgb: np.ndarray) -> np.ndarray:
    """uint8 sRGB (..., 3) -> float32 CIE L*a*b* (..., 3), D65 white (IEC 61966-2-1 and CIE 15)."""
    encoded = np.asarray(rgb, dtype=np.float32) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]], np.float32)
    xyz = linear @ (to_xyz / to_xyz.sum(axis=1, keepdims=True)).T  # so that white is exactly 1, 1, 1
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def measure(picture: Image.Image, file: str = "", sha256: str = "", transparent: bool = False) -> Measure:
    """Every number about an RGB picture."""
    small = picture.copy()
    small.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.BOX)
    pixels = np.asarray(small)
    colours = lab(pixels).astype(np.float64)
    lightness, a, b = np.moveaxis(colours, -1, 0)
    fine = laplacian(lightness)
    coarse = laplacian(lab(np.asarray(small.reduce(4)))[..., 0].astype(np.float64)) if min(small.size) >= 12 else fine
    every = np.linspace(0, pixels[..., 0].size - 1, SAMPLES).round().astype(int)
    grey = np.asarray(picture.convert("L").resize((32, 32), Image.Resampling.BOX), dtype=np.float32)
    return Measure(
        file=file,
        sha256=sha256,
        width=picture.width,
        height=picture.height,
        lightness=float(lightness.mean()),
        contrast=float(lightness.std()),
        a=float(a.mean()),
        b=float(b.mean()),
        chroma=float(np.hypot(a, b).mean()),
        colour_spread=float(np.sqrt(a.var() + b.var())),
        sharpness=float(fine.std()),
        coarseness=float(coarse.std() / fine.std()) if fine.std() > 1e-3 else 1.0,
        flatness=float((np.abs(fine) < 1).mean()),
        border=border(lightness),
        caption=has_caption(lightness),
        transparent=transparent,
        bits=imagehash.phash(picture).hash.ravel() * np.float32(2) - 1 if grey.std() >= FLAT else None,
        sample=pixels.reshape(-1, 3)[every],
    )


def laplacian(plane: np.ndarray) -> np.ndarray:
    """4-neighbour Laplacian of (H, W), (H - 2, W - 2)."""
    return 4 * plane[1:-1, 1:-1] - plane[:-2, 1:-1] - plane[2:, 1:-1] - plane[1:-1, :-2] - plane[1:-1, 2:]


def border(lightness: np.ndarray) -> float:
    """Depth of the plain band along two opposite edges of (H, W), as a share of the side; 0 for a flat picture.

    One plain edge alone may be a sky.
    """
    top, right, bottom, left = (_plain_rows(np.rot90(lightness, turns)) for turns in range(4))
    return max(min(top, bottom), min(left, right))


def _plain_rows(lightness: np.ndarray) -> float:
    """Share of rows from the first on in which under 1 % of the pixels are over 8 L* from the first row's median; 0 if that is all."""
    busy = (np.abs(lightness - np.median(lightness[0])) > 8).mean(axis=1) >= 0.01
    return float(busy.argmax()) / len(busy)


def has_caption(lightness: np.ndarray) -> bool:
    """Whether the lowest dark rows on light paper look like printed lines: low, centred, wide, and apart from what is above."""
    height, width = lightness.shape
    low = lightness[int(0.7 * height) :]
    paper = np.percentile(low, 90)
    ink = low < paper - 20
    rows = np.flatnonzero(ink.mean(axis=1) >= 0.01)
    gaps = np.flatnonzero(np.diff(rows) > max(2, 0.005 * height))
    if paper < 85 or not len(gaps):
        return False
    block = ink[rows[gaps[-1] + 1] : rows[-1] + 1]
    columns = np.flatnonzero(block.any(axis=0))
    centre, span = (columns[0] + columns[-1]) / 2 / width - 0.5, (columns[-1] - columns[0]) / width
    return bool(0.008 <= len(block) / height <= 0.08 and 0.08 <= block.mean() <= 0.4 and abs(centre) < 0.015 and span > 0.25)


def measure_folder(name: str, path: Path, limit: int | None = None) -> Folder:
    """Measure the pictures below `path`, or `limit` of them evenly spread over the sorted names."""
    files = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file() and not p.name.startswith("."))
    if not files:
        raise StyleError(f"{path} holds no picture: put files ending in {', '.join(SUFFIXES)} there.")
    if limit and limit < len(files):
        files = [files[i] for i in np.linspace(0, len(files) - 1, limit).round().astype(int)]
    measures, unreadable = [], {}
    for file in tqdm(files, desc=name, unit="picture", mininterval=0.5):
        relative = file.relative_to(path).as_posix()
        try:
            content = file.read_bytes()
            picture = open_picture(content)
            measures.append(measure(picture, relative, hashlib.sha256(content).hexdigest(), _is_transparent(content)))
        except OSError as error:
            unreadable[relative] = f"It cannot be read ({error.strerror or error})."
        except StyleError as error:
            unreadable[relative] = str(error)
    return Folder(name=name, path=path, measures=measures, unreadable=unreadable)


def _is_transparent(content: bytes) -> bool:
    """Whether any pixel of a readable picture lets the ground through."""
    with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
        if "A" not in picture.getbands() and "transparency" not in picture.info:
            return False
        return int(np.asarray(picture.convert("RGBA"))[..., 3].min()) < 255


def alike(measures: Sequence[Measure]) -> Iterator[tuple[int, int]]:
    """Index pairs i < j of pictures whose perceptual hashes differ in at most NEAR bits, the same files among them."""
    index = [i for i, m in enumerate(measures) if m.bits is not None]
    if not index:
        return
    bits = np.stack([m.bits for m in (measures[i] for i in index) if m.bits is not None])
    for start in range(0, len(bits), 1024):
        distances = (64 - bits[start : start + 1024] @ bits.T) / 2
        for i, j in np.argwhere(distances <= NEAR):
            first, second = index[start + i], index[j]
            if first < second:
                yield first, second


def find_problems(folder: Folder, size: int) -> dict[str, list[str]]:
    """Problem -> files, in the order of PROBLEMS; problems that nobody has are empty lists."""
    pictures = folder.measures
    coloured = np.median(folder.values("colour_spread")) >= COLOURLESS if pictures else False
    tests: dict[str, Callable[[Measure], bool]] = {
        "small": lambda m: m.short_side < size,
        "long": lambda m: max(m.aspect, 1 / m.aspect) > LONG,
        "dull": lambda m: m.contrast < DULL,
        "border": lambda m: m.border >= BORDER,
        "transparent": lambda m: m.transparent,
        "caption": lambda m: m.caption,
        "colourless": lambda m: bool(coloured) and m.colour_spread < COLOURLESS,
    }
    found = {name: [m.file for m in pictures if test(m)] for name, test in tests.items()}
    seen: set[str] = set()
    found["duplicate"] = [m.file for m in pictures if m.sha256 in seen or seen.add(m.sha256)]  # type: ignore[func-returns-value]
    near = {j for i, j in alike(pictures) if pictures[i].sha256 != pictures[j].sha256}
    found["near_duplicate"] = [pictures[j].file for j in sorted(near)]
    found["unreadable"] = list(folder.unreadable)
    return {name: found[name] for name in PROBLEMS}


def palette(folder: Folder) -> list[tuple[str, float]]:
    """(hexadecimal colour, share of the sampled pixels) of the folder's main colours, most frequent first."""
    pixels = np.concatenate([m.sample for m in folder.measures])
    strip = Image.fromarray(pixels[None]).quantize(COLOURS, method=Image.Quantize.MEDIANCUT, kmeans=8)
    table = np.reshape(strip.getpalette() or [], (-1, 3))
    counts = Counter(np.asarray(strip).ravel().tolist())
    return [("#" + bytes(table[index].tolist()).hex(), count / len(pixels)) for index, count in counts.most_common()]


def principal_map(folders: Sequence[Folder]) -> dict[str, Any]:
    """PCA of the standardised FEATURES of all pictures: points (n, 2) in the folders' order, loadings (2, features), variance shares."""
    table = np.concatenate([np.stack([f.values(name) for name in FEATURES], axis=1) for f in folders if f.measures])
    columns = list(FEATURES)
    for name in ("sharpness", "coarseness"):  # ratios and gradients spread over decades
        table[:, columns.index(name)] = np.log(table[:, columns.index(name)] + 0.1)
    spread = table.std(axis=0)
    table = (table - table.mean(axis=0)) / np.where(spread > 1e-9, spread, 1)
    _, singular, axes = np.linalg.svd(table, full_matrices=False)
    axes = np.vstack([axes, np.zeros((2, len(FEATURES)))])[:2]  # fewer pictures than components
    axes *= np.where(axes.sum(axis=1) < 0, -1, 1)[:, None]  # the sign of a component is arbitrary: fix it
    shares = (np.append(singular, [0, 0]) ** 2 / max(float((singular**2).sum()), 1e-12))[:2]
    return {"points": table @ axes.T, "loadings": axes, "shares": shares}


def summarise(folders: Sequence[Folder], size: int) -> dict[str, Any]:
    """Everything the report says, as plain values."""
    entries = []
    for folder in folders:
        sizes = Counter((m.width, m.height) for m in folder.measures)
        common, count = sizes.most_common(1)[0] if sizes else ((0, 0), 0)
        entries.append(
            {
                "name": folder.name,
                "pictures": len(folder.measures),
                "most_common_size": {"width": common[0], "height": common[1], "pictures": count},
                "measures": {name: _quantiles(folder.values(name)) for name in MEASURES} if folder.measures else {},
                "palette": [{"colour": colour, "share": round(share, 4)} for colour, share in palette(folder)] if folder.measures else [],
                "problems": find_problems(folder, size),
                "unreadable": folder.unreadable,
            }
        )
    owner = [(folder.name, m.file) for folder in folders for m in folder.measures]
    every = [m for folder in folders for m in folder.measures]
    across = [(owner[i], owner[j]) for i, j in alike(every) if owner[i][0] != owner[j][0]]
    positions = principal_map(folders)
    return {
        "size": size,
        "folders": entries,
        "alike_across_folders": [["/".join(first), "/".join(second)] for first, second in across],
        "map": {
            "features": list(FEATURES),
            "loadings": positions["loadings"].round(3).tolist(),
            "shares": positions["shares"].round(4).tolist(),
        },
    }


def findings(entry: dict[str, Any], size: int) -> list[str]:
    """Sentences about one folder of the summary."""
    count, problems = entry["pictures"], entry["problems"]
    if not count:
        return ["no picture can be read"]
    lines = []
    if count < FEW:
        lines.append(f"only {_pictures(count)}: too few to learn a style from without repeating them")
    common = entry["most_common_size"]
    if common["pictures"] > count / 2:
        lines.append(f"{_of(common['pictures'], count)} of exactly {common['width']} x {common['height']} px")
    if problems["small"]:
        median = entry["measures"]["short_side"]["median"]
        lines.append(f"{_of(len(problems['small']), count)} with a short side under {size} px; the median of all is {median:.0f} px")
    texts = {
        "long": "with one side over twice the other, of which a square crop keeps less than half",
        "duplicate": "that repeat another file",
        "near_duplicate": "that look like an earlier picture, another scan or copy: they must not lie on both sides of a split",
        "dull": "of little contrast: mist and night, or faded scans",
        "border": "with a plain border, paper margin or background at opposite edges",
        "transparent": "with transparent parts, which are laid on white",
        "caption": "with what looks like a line of print at the bottom",
        "colourless": "practically without colour, in a set that has colour",
        "unreadable": "that cannot be read",
    }
    lines += [f"{_of(len(problems[name]), count)} {text}" for name, text in texts.items() if problems[name]]
    if entry["measures"]["chroma"]["max"] < COLOURLESS:
        lines.append("all without colour")
    return lines or ["nothing found"]


def _of(part: int, whole: int) -> str:
    return f"{part} ({_percent(part / whole)})"


def _pictures(count: int) -> str:
    return f"{count} picture{'' if count == 1 else 's'}"


def _percent(share: float) -> str:
    return "<1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def _quantiles(values: np.ndarray) -> dict[str, float]:
    names = {"min": 0, "p5": 5, "p25": 25, "median": 50, "p75": 75, "p95": 95, "max": 100}
    return {name: round(float(np.percentile(values, at)), 3) for name, at in names.items()} | {"mean": round(float(values.mean()), 3)}


def markdown(summary: dict[str, Any], plots: dict[str, str], samples: bool) -> str:
    """report.md; plots: file -> what it shows."""
    size, entries = summary["size"], summary["folders"]
    lines = [
        "# Data report",
        "",
        f"{sum(e['pictures'] for e in entries)} pictures in {len(entries)} folders, measured by `eval/explore.py`.",
        "",
    ]
    lines += ["| folder | pictures | short side, px | lightness L* | contrast | chroma C* | sharpness |", "|---|---|---|---|---|---|---|"]
    for entry in (e for e in entries if e["pictures"]):
        cells = [entry["measures"][name] for name in ("short_side", "lightness", "contrast", "chroma", "sharpness")]
        texts = " | ".join(f"**{c['median']:.0f}** ({c['p5']:.0f} to {c['p95']:.0f})" for c in cells)
        lines.append(f"| {entry['name']} | {entry['pictures']} | {texts} |")
    lines += ["", "Median, and in brackets the range of the middle 90 %.", "", "## Likely problems", ""]
    for entry in entries:
        lines += [f"**{entry['name']}**", "", *(f"- {line}" for line in findings(entry, size)), ""]
    if across := summary["alike_across_folders"]:
        pairs = Counter(tuple(sorted(name.split("/")[0] for name in pair)) for pair in across)
        lines += ["Pictures that look alike in two folders: " + ", ".join(f"{a} and {b} {n}" for (a, b), n in pairs.items()) + ".", ""]
    lines += ["The files behind every count are in `explore.json`.", ""]
    for file, text in plots.items():
        lines += [f"## {text.partition('. ')[0].rstrip('.')}", "", f"![{text.partition('. ')[0].rstrip('.')}]({file})", ""]
        lines += [text.partition(". ")[2], ""] if ". " in text else []
    if not samples:
        lines += ["No picture is shown here, because not all of them may be.", ""]
    lines += [
        "## How it was measured",
        "",
        f"Pictures as shown (upright, sRGB, transparency on white), reduced to at most {LONG_SIDE} px, in CIE L\\*a\\*b\\* (D65).",
        "Contrast is the standard deviation of L\\*; chroma C\\* is the distance from grey; sharpness is the standard deviation of the",
        f"4-neighbour Laplacian of L\\*. Near duplicates differ in at most {NEAR} of the 64 bits of a DCT perceptual hash",
        f"(`imagehash.phash`). A border is a plain band of at least {100 * BORDER:.0f} % of the side at two opposite edges.",
        f"Low contrast is under {DULL:.0f}; without colour is a joint deviation of a\\* and b\\* under {COLOURLESS:.0f}.",
        "These are hints for looking, not verdicts: a mist is not a faded scan.",
        "",
    ]
    return "\n".join(lines)


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
        label(f"component {component + 1}, {100 * positions['shares'][component]:.0f} % of the variance:  {terms}", fontsize=10, color=INK)
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
        text = f"{int(count)}  ({_percent(count / totals[row, 0])})" if count else "·"
        axis.text(column, row, text, ha="center", va="center", fontsize=9, color=INK if count else PALE)
    titles = [PROBLEMS[name].format(size=summary["size"]) for name in names]
    axis.set_xticks(range(len(names)), [textwrap.fill(title, 15) for title in titles], fontsize=8.5, color=INK)
    axis.set_yticks(range(len(entries)), [f"{e['name']}, {e['pictures']}" for e in entries], fontsize=10, color=INK)
    axis.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    for spine in axis.spines.values():
        spine.set_visible(False)
    return figure


def sample_sheet(folders: Sequence[Folder]) -> Image.Image:
    """A row of small squares per folder, chosen by checksum."""
    sheet = Image.new("RGB", (110 + PER_FOLDER * (THUMB + 6), len(folders) * (THUMB + 6)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for row, folder in enumerate(folders):
        draw.text((4, row * (THUMB + 6) + THUMB // 2), folder.name, fill=INK, font=font)
        for column, m in enumerate(sorted(folder.measures, key=lambda m: m.sha256)[:PER_FOLDER]):
            square = ImageOps.fit(open_picture(folder.path / m.file), (THUMB, THUMB), Image.Resampling.LANCZOS)
            sheet.paste(square, (110 + column * (THUMB + 6), row * (THUMB + 6)))
    return sheet


def write_report(folders: Sequence[Folder], out: Path, size: int, samples: bool) -> dict[str, Any]:
    """Write report.md, explore.json, plots and, if `samples`, samples.jpg below `out`; returns the summary."""
    summary = summarise(folders, size)
    plots: dict[str, tuple[str, Callable[[], Any]]] = {
        "problems.png": ("Likely problems by folder. Pictures, and their share of the folder.", partial(plot_problems, summary)),
        "sizes.png": (
            "Sizes. A dot is a picture, the bar the middle half, the ring and the number the median; logarithmic scales.",
            partial(plot_sizes, folders, size),
        ),
        "tone.png": ("Light, contrast, colour and sharpness. As above, in units of L\\*a\\*b\\*.", partial(plot_tone, folders)),
        "colours.png": (
            "Colours. Pixels of the folder in the plane of a\\* and b\\*; grey is the centre, the rings are chroma 30 and 60.",
            partial(plot_colours, folders),
        ),
        "palettes.png": (
            "Palettes. Ten main colours of each folder, by lightness; width is the share of pixels.",
            partial(plot_palettes, folders),
        ),
        "map.png": (
            "Map. Principal components of nine measures of colour and texture; a dot is a picture, the large ones medians of folders. "
            "Folders that overlap are alike in these measures, not necessarily in style.",
            partial(plot_map, folders),
        ),
    }
    for file, (_, draw) in plots.items():
        write_whole(out / file, partial(save_figure, draw()))
    texts = {file: text for file, (text, _) in plots.items()}
    if samples:
        write_whole(out / "samples.jpg", lambda part: sample_sheet(folders).save(part, format="JPEG", quality=85))
        texts["samples.jpg"] = "Samples"
    else:  # of an earlier run that showed some
        (out / "samples.jpg").unlink(missing_ok=True)
    write_whole(out / "explore.json", lambda part: part.write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n"))
    write_whole(out / "report.md", lambda part: part.write_text(markdown(summary, texts, samples)))
    return summary


def named_folders(arguments: Sequence[str]) -> dict[str, Path]:
    """Name -> folder from ``DIR`` or ``NAME=DIR``; equal names are numbered."""
    named: dict[str, Path] = {}
    for argument in arguments:
        name, equals, path = argument.partition("=")
        folder = Path(path) if equals and not Path(argument).exists() else Path(argument)
        if not folder.is_dir():
            raise StyleError(f"{folder} is not a folder: name a folder of pictures.")
        name = name if equals and folder == Path(path) else folder.resolve().name or "root"
        named[next(label for label in (name, *(f"{name}-{i}" for i in range(2, len(named) + 3))) if label not in named)] = folder
    return named


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eval.explore", description="What is in folders of pictures, as a report with plots.")
    parser.add_argument("folders", nargs="+", metavar="DIR", help="folder of pictures, or NAME=DIR")
    parser.add_argument("--out", type=Path, required=True, help="folder for the report")
    parser.add_argument("--size", type=int, default=512, help="short side in pixels below which a picture is small (default: 512)")
    parser.add_argument("--limit", type=int, help="measure only so many pictures of each folder")
    parser.add_argument("--no-samples", action="store_true", help="show no picture, for sets whose licences forbid it")
    args = parser.parse_args(argv)
    try:
        for name in ("size", "limit"):
            if getattr(args, name) is not None and getattr(args, name) < 1:
                raise SettingError(f"{name} is {getattr(args, name)}: it must be at least 1.")
        if args.out.exists() and not args.out.is_dir():
            raise StyleError(f"{args.out} is a file: choose a folder for --out.")
        if (args.out / "report.md").exists() and not (args.out / "explore.json").exists():
            raise StyleError(f"{args.out} holds another report.md: choose another folder for --out.")
        named = named_folders(args.folders)
        folders = [measure_folder(name, path, args.limit) for name, path in named.items()]
        if not any(folder.measures for folder in folders):
            raise StyleError("No picture can be read: look at the files, or name other folders.")
        summary = write_report(folders, args.out, args.size, samples=not args.no_samples)
    except StyleError as error:
        print(f"explore: {error}", file=sys.stderr)
        return 2
    for entry in summary["folders"]:
        print(f"{entry['name']}: {_pictures(entry['pictures'])}; " + "; ".join(findings(entry, args.size)))
    print(args.out / "report.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
