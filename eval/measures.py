"""What is measured of a picture and of a folder of them: light, colour, detail, near duplicates, and likely problems.

All measures but the sizes are taken in CIE L*a*b* (D65) on the picture reduced to at most 512 pixels, about the size at which a style is
learned.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
from PIL import Image
from skimage.color import rgb2lab
from tqdm import tqdm

from stylekit.errors import StyleError, first_line
from stylekit.formats import SUFFIXES, identify, list_pictures
from stylekit.images import open_picture
from stylekit.storage import digests

LONG_SIDE = 512  # pixels at which pictures are measured
PIXEL_SAMPLES = 400  # pixels a picture gives to its folder's colours
COLOURS = 10  # in a folder's palette
NEAR = 6  # bits of 64 in which the perceptual hashes of near duplicates may differ, as in training.prepare
FLAT = 2.0  # grey levels of 255; a picture that varies less has no perceptual hash

FEW_PICTURES = 30  # pictures; the thresholds below were set by looking at what they find
LONG_ASPECT = 2.0  # long side over short side
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
    sample: np.ndarray = field(repr=False)  # (PIXEL_SAMPLES, 3) uint8 RGB

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
    """uint8 sRGB (..., 3) -> float32 CIE L*a*b* (..., 3), D65 white."""
    return rgb2lab(np.asarray(rgb, np.float32) / 255).astype(np.float32)


def measure(picture: Image.Image, file: str = "", sha256: str = "", transparent: bool = False) -> Measure:
    """Every number about an RGB picture."""
    small = picture.copy()
    small.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.BOX)
    pixels = np.asarray(small)
    colours = lab(pixels).astype(np.float64)
    lightness, a, b = np.moveaxis(colours, -1, 0)
    fine = laplacian(lightness)
    coarse = laplacian(lab(np.asarray(small.reduce(4)))[..., 0].astype(np.float64)) if min(small.size) >= 12 else fine
    every = np.linspace(0, pixels[..., 0].size - 1, PIXEL_SAMPLES).round().astype(int)
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
    files = list_pictures(path)
    if not files:
        raise StyleError(f"{path} holds no picture: put files ending in {', '.join(SUFFIXES)} there.")
    if limit and limit < len(files):
        files = [files[i] for i in np.linspace(0, len(files) - 1, limit).round().astype(int)]
    measures, unreadable = [], {}
    for file in tqdm(files, desc=name, unit="picture", mininterval=0.5):
        relative = file.relative_to(path).as_posix()
        try:
            content = file.read_bytes()
            picture = open_picture(content, name=file.name)
            measures.append(measure(picture, relative, digests.of_bytes(content, digests.WHOLE), _is_transparent(content)))
        except OSError as error:
            unreadable[relative] = f"It cannot be read ({first_line(error)})."
        except StyleError as error:
            unreadable[relative] = str(error)
    return Folder(name=name, path=path, measures=measures, unreadable=unreadable)


def _is_transparent(content: bytes) -> bool:
    """Whether any pixel of a readable picture lets the ground through."""
    with identify(io.BytesIO(content), "") as picture:
        if not picture.has_transparency_data:
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
        "long": lambda m: max(m.aspect, 1 / m.aspect) > LONG_ASPECT,
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


def percent(share: float) -> str:
    return "<1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"
