"""Selection: one thing of a photo as a mask, from a point on it or by what it is (the subject, the sky); a brush stroke that ends at edges.

Seeds by superpixels (SLIC: Achanta et al. 2012) whose ways to the border of the picture tell foreground from background (Zhu et al.,
"Saliency Optimization from Robust Background Detection", 2014), refined by graph cuts (GrabCut: Rother et al. 2004). What a network is
sure of comes first (hand/subject/foreground.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra
from skimage.color import rgb2lab
from skimage.segmentation import slic, watershed

from stylekit.errors import PictureError, SettingError
from stylekit.hand.sight import Sight
from stylekit.pixels.cutting import cut_out

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

SIDE = 400  # pixels of the long side at which things are found
FINE = 800  # at which a stroke's edge is moved
SNAP = 0.4  # of the brush's width, by which a stroke's edge may move
RIDGE = 9.0  # CIE Lab a pixel: an edge of the photo that is weaker does not move a stroke's
PIECES = 350  # superpixels
ROUNDS = 4  # of GrabCut
LEAST = 0.002  # part of the picture; less is no thing
WEAK, STRONG = 0.75, 25.0  # of a thing's edge: contrast under which it may be a part of another one; CIE Lab that is contrast enough
REACH = 0.1  # a part of the long side: the most that an edge moves or is softened by
SUBJECT, BACKGROUND, SKY = THINGS = ("subject", "background", "sky")
NOTHING = {
    SUBJECT: "No subject stands out in this photo: click on the thing itself.",
    BACKGROUND: "No subject stands out in this photo: click on the thing itself.",
    SKY: "No sky was found in this photo: click on it, if there is one.",
}


@dataclass(frozen=True, kw_only=True)
class Edge:
    """What becomes of a selection's edge. grow: a part of the long side by which it moves outwards, or inwards under 0. soften: the part
    of the long side over which it fades. invert: whether all else is selected instead.
    """

    grow: float = 0.0
    soften: float = 0.0
    invert: bool = False

    def __post_init__(self) -> None:
        for name, value, low in (("grow", self.grow, -REACH), ("soften", self.soften, 0.0)):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= REACH:
                raise SettingError(f"{name} is {value!r}: choose a number from {low:g} to {REACH:g}.")

    def of(self, mask: Image.Image) -> Image.Image:
        """`mask` (mode L, white is selected) with its edge changed."""
        array, side = np.asarray(mask.convert("L")), max(mask.size)
        if self.grow:
            radius = max(1, round(abs(self.grow) * side))
            disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
            array = (cv2.dilate if self.grow > 0 else cv2.erode)(array, disc)
        if self.soften:
            array = cv2.GaussianBlur(array, (0, 0), self.soften * side / 2)
        return Image.fromarray(255 - array if self.invert else array)


class Things:
    """The things of one photo; what is worked out of it is kept. photo: of any size; masks are in mode L, at most `SIDE` pixels long."""

    def __init__(self, photo: Image.Image) -> None:
        whole = photo.convert("RGB")
        self._rgb, self._fine = (_small(whole, side) for side in (SIDE, FINE))

    def at(self, x: float, y: float) -> Image.Image:
        """The thing at a point, in parts of the width and the height. Raises SettingError for a point outside."""
        if not (0 <= x <= 1 and 0 <= y <= 1):
            raise SettingError(f"The point {x:g}, {y:g} is outside of the photo: click on the photo.")
        height, width = self._pieces.shape
        column, row = min(width - 1, int(x * width)), min(height - 1, int(y * height))
        piece = int(self._pieces[row, column])
        far = self._ways([piece])[0]  # least sum of colour steps on a way from there
        border = np.unique(_rim(self._pieces))
        order = np.sort(far)
        near = far <= max(6.0, float(order[min(len(order) - 1, len(order) // 60)]))
        # what is surely outside: the border's pieces that are far by colour, and the farthest of all
        limit = float(np.quantile(far, 0.6))
        away = np.zeros(len(far), bool)
        away[border] = far[border] > max(18.0, 0.5 * limit)
        away |= far >= np.quantile(far, 0.9)
        near &= ~away
        near[piece] = True
        away[piece] = False
        trimap = np.full(self._pieces.shape, cv2.GC_PR_BGD, np.uint8)
        likely = far <= max(14.0, 0.45 * limit)
        trimap[likely[self._pieces]] = cv2.GC_PR_FGD
        trimap[away[self._pieces]] = cv2.GC_BGD
        trimap[near[self._pieces]] = cv2.GC_FGD
        mask = self._cut(trimap)
        return _picture(_holding(mask, row, column) if mask[row, column] else near[self._pieces])

    def thing(self, name: str) -> Image.Image:
        """One of `THINGS`. Raises PictureError where the photo has none, SettingError for another name."""
        if name not in THINGS:
            raise SettingError(f"{name!r} is not a thing that is found by name: choose one of {', '.join(THINGS)}.")
        mask = self._sky if name == SKY else self._subject if name == SUBJECT else ~self._subject
        subject = mask if name == SKY else self._subject
        if not LEAST < subject.mean() < 1 - LEAST:
            raise PictureError(NOTHING[name])
        return _picture(mask)

    def snapped(self, stroke: Image.Image, width: float) -> Image.Image:
        """`stroke` (mode L, white is painted, of the photo's shape) with its edge moved to an edge of the photo, where one is near, by a
        watershed from its middle and from beyond it; at most `FINE` pixels long. width: of the brush, a part of the long side, 0 to 1.

        Raises SettingError for another width.
        """
        if isinstance(width, bool) or not isinstance(width, (int, float)) or not 0 < width <= 1:
            raise SettingError(f"The brush is {width!r} wide: choose a number over 0, up to 1.")
        rows, columns = self._fine.shape[:2]
        drawn = cv2.resize(np.asarray(stroke.convert("L")), (columns, rows), interpolation=cv2.INTER_AREA) > 127
        reach = max(2.0, SNAP * width * max(rows, columns))
        found = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
        if not len(found[0]):
            return _picture(drawn)
        margin = int(reach) + 3
        part = tuple(slice(max(0, int(lines[0]) - margin), int(lines[-1]) + margin + 1) for lines in found)
        inner, outer = (cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, 5) for side in (drawn[part], ~drawn[part]))
        markers = np.zeros(inner.shape, np.int32)
        markers[outer > reach] = 2
        markers[inner > min(reach, 0.8 * float(inner.max()))] = 1
        # without an edge the stroke's own is the highest between the two
        height = self._steps[part] + RIDGE * np.clip(1 - np.maximum(inner, outer) / reach, 0, 1)
        result = np.zeros(drawn.shape, np.uint8)
        result[part] = 255 * (watershed(height, markers) == 1)
        return Image.fromarray(cv2.GaussianBlur(result, (0, 0), 0.8))

    @cached_property
    def _steps(self) -> Floats:
        """How much the colour changes at every pixel of the fine photo, in CIE Lab a pixel."""
        lab = cv2.GaussianBlur(rgb2lab(self._fine).astype(np.float32), (0, 0), 1.0)
        across, down = (cv2.Sobel(lab, cv2.CV_32F, x, 1 - x, ksize=3, scale=0.125) for x in (1, 0))
        return np.asarray(np.sqrt((across**2 + down**2).sum(-1)), np.float32)

    # ---- superpixels

    @cached_property
    def _pieces(self) -> npt.NDArray[np.int64]:
        return np.asarray(slic(self._rgb, n_segments=PIECES, compactness=12, start_label=0, enforce_connectivity=True))

    @cached_property
    def _colours(self) -> Floats:
        """(pieces, 3), in L*a*b*."""
        lab = rgb2lab(self._rgb)
        return np.stack([self._mean(lab[..., channel]) for channel in range(3)], axis=-1)

    @cached_property
    def _places(self) -> Floats:
        """(pieces, 2): x and y, 0 to 1."""
        height, width = self._pieces.shape
        rows, columns = np.mgrid[0:height, 0:width]
        return np.stack([self._mean(columns / width), self._mean(rows / height)], axis=-1)

    def _mean(self, values: Any) -> Floats:
        counts = np.bincount(self._pieces.ravel())
        return (np.bincount(self._pieces.ravel(), values.ravel()) / np.maximum(counts, 1)).astype(np.float32)

    @cached_property
    def _graph(self) -> csr_matrix:
        """Neighbouring pieces, with the difference of their colours."""
        pieces = self._pieces
        pairs = np.concatenate(
            [
                np.stack([pieces[:, :-1].ravel(), pieces[:, 1:].ravel()], 1),
                np.stack([pieces[:-1].ravel(), pieces[1:].ravel()], 1),
            ]
        )
        pairs = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)
        steps = np.linalg.norm(self._colours[pairs[:, 0]] - self._colours[pairs[:, 1]], axis=1)
        count = len(self._colours)
        return csr_matrix((np.maximum(steps - 3.0, 0.0) + 1e-3, (pairs[:, 0], pairs[:, 1])), (count, count))

    def _ways(self, pieces: Sequence[int]) -> Floats:
        """(len(pieces), all pieces): the least sum of colour differences between them."""
        return np.atleast_2d(dijkstra(self._graph, directed=False, indices=list(pieces))).astype(np.float32)

    # ---- what is found by name

    @cached_property
    def _subject(self) -> Bools:
        """What stands out; or more, where that is only a part of a thing that fills the frame: its edge is weak then, or it is a face."""
        # what a network is sure of is better cut than by colour
        known = Sight(np.asarray(self._rgb / 255, np.float32)).figure() > 0.5
        if known.any():
            return known
        found = self._standing_out
        sure = self._contrast(found)
        if sure < WEAK and _widens(self._in_focus, found) and self._contrast(self._in_focus) > 0.85 * sure:
            return self._in_focus
        return found

    @cached_property
    def _in_focus(self) -> Bools:
        """What is sharp and near the middle, cut out of what is blurred behind it."""
        grey = cv2.cvtColor(self._rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
        sharp = np.sqrt(cv2.GaussianBlur(np.abs(grey - cv2.GaussianBlur(grey, (0, 0), 1.5)), (0, 0), 9))
        sharp = np.clip(sharp / max(float(np.percentile(sharp, 95)), 1e-3), 0, 1)
        rows, columns = np.mgrid[0 : grey.shape[0], 0 : grey.shape[1]]
        middle = np.exp(-(((columns / grey.shape[1] - 0.5) / 0.45) ** 2 + ((rows / grey.shape[0] - 0.5) / 0.45) ** 2) / 2)
        guess = sharp * (0.25 + 0.25 * middle) / max(_otsu(sharp), 1e-3)
        trimap = np.full(grey.shape, cv2.GC_BGD, np.uint8)
        for level, mark in ((0.25, cv2.GC_PR_BGD), (0.45, cv2.GC_PR_FGD), (0.62, cv2.GC_FGD)):
            trimap[guess > level] = mark
        return _main(self._cut(trimap))

    def _contrast(self, mask: Bools) -> float:
        """How unlike the two sides of a mask's edge are, 0 to 1, in colour."""
        inside, kernel = mask.astype(np.float32), np.ones((3, 3), np.uint8)
        edge = cv2.dilate(inside, kernel) != cv2.erode(inside, kernel)
        if not edge.any():
            return 0.0
        lab = rgb2lab(self._rgb).astype(np.float32)
        one, other = (
            cv2.blur(lab * side[..., None], (9, 9)) / np.maximum(cv2.blur(side, (9, 9)), 1e-3)[..., None] for side in (inside, 1 - inside)
        )
        return float(np.clip(np.linalg.norm(one - other, axis=-1)[edge] / STRONG, 0, 1).mean())

    @cached_property
    def _standing_out(self) -> Bools:
        """Pieces that contrast with others near them and are little connected to the border, then cut out."""
        ways = self._ways(range(len(self._colours)))
        border = np.zeros(len(ways), bool)
        border[np.unique(_rim(self._pieces))] = True
        similar = np.exp(-((ways / 10.0) ** 2) / 2)
        connected = similar[:, border].sum(1) / np.sqrt(similar.sum(1))
        background = 1 - np.exp(-(connected**2) / 2)
        places = np.linalg.norm(self._places[:, None] - self._places[None], axis=-1)
        colours = np.linalg.norm(self._colours[:, None] - self._colours[None], axis=-1)
        contrast = (colours * np.exp(-(places**2) / (2 * 0.25**2)) * background[None]).sum(1)
        middle = np.exp(-(((self._places - 0.5) / 0.45) ** 2).sum(1) / 2)
        score = contrast * (1 - background) ** 0.5 * middle
        score = 0.65 * score / max(float(score.max()), 1e-6) + 0.35 * middle
        level = _otsu(score)
        trimap = np.full(self._pieces.shape, cv2.GC_PR_BGD, np.uint8)
        trimap[(score > level)[self._pieces]] = cv2.GC_PR_FGD
        trimap[(score > (1 + level) / 2)[self._pieces]] = cv2.GC_FGD
        trimap[((score < 0.3 * level) & border)[self._pieces]] = cv2.GC_BGD
        return _main(self._cut(trimap))

    @cached_property
    def _sky(self) -> Bools:
        """What hangs on the upper border, light or blue, and smooth."""
        pieces, colours = self._pieces, self._colours
        grey = cv2.cvtColor(self._rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
        rough = self._mean(np.abs(grey - cv2.GaussianBlur(grey, (0, 0), 2)))
        lightness, red, yellow = colours[:, 0], colours[:, 1], colours[:, 2]
        blue = (yellow < -6) & (red > -10)
        bright = (lightness > 62) & (np.hypot(red, yellow) < 30)
        smooth = rough < 5
        able = smooth & (blue | bright) & (self._places[:, 1] < 0.8)
        seeds = [piece for piece in np.unique(pieces[0]) if able[piece]]
        if len(seeds) < 0.3 * len(np.unique(pieces[0])):
            return np.zeros(pieces.shape, bool)
        near = self._ways(seeds).min(0)
        trimap = np.full(pieces.shape, cv2.GC_PR_BGD, np.uint8)
        trimap[(near > 30)[pieces]] = cv2.GC_BGD
        trimap[(able & (near < 16))[pieces]] = cv2.GC_PR_FGD
        trimap[np.isin(pieces, seeds)] = cv2.GC_FGD
        cut = self._cut(trimap)
        _, labels = cv2.connectedComponents(cut.astype(np.uint8))
        return np.asarray(np.isin(labels, np.unique(labels[0][cut[0]]))) & cut

    def _cut(self, trimap: npt.NDArray[np.uint8]) -> Bools:
        return cut_out(self._rgb, trimap, ROUNDS)


def _small(photo: Image.Image, side: int) -> npt.NDArray[np.uint8]:
    copy = photo.copy()
    copy.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return np.ascontiguousarray(np.asarray(copy))


def _rim(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])


def _holding(mask: Bools, row: int, column: int) -> Bools:
    """The connected part of `mask` at a pixel of it, its small holes closed."""
    _, labels = cv2.connectedComponents(mask.astype(np.uint8))
    return _filled(np.asarray(labels == labels[row, column]))


def _widens(mask: Bools, found: Bools) -> bool:
    """Whether it holds nearly all that was found and a good deal more, and not the whole picture."""
    return bool((mask & found).sum() > 0.85 * found.sum() and mask.sum() > 1.25 * found.sum() and mask.mean() < 0.95)


def _main(mask: Bools) -> Bools:
    """`mask` without its small parts and holes."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count < 2:
        return mask
    areas = stats[1:, cv2.CC_STAT_AREA]
    large = 1 + np.flatnonzero(areas >= 0.15 * areas.max())
    return _filled(np.asarray(np.isin(labels, large)))


def _filled(mask: Bools) -> Bools:
    """With holes closed that are under a hundredth of it."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8))
    small = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] < 0.01 * mask.sum()]
    return np.asarray(mask | np.isin(labels, small))


def _otsu(values: Floats) -> float:
    level, _ = cv2.threshold((values * 255).astype(np.uint8), 0, 255, cv2.THRESH_OTSU)
    return float(level) / 255


def _picture(mask: Bools) -> Image.Image:
    return Image.fromarray(mask.astype(np.uint8) * 255)
