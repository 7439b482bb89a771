"""Areas of a photo: flooded from a grid of seeds (cv2.watershed), measured, cleaned of crumbs, and given borders that follow edges."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from skimage.segmentation import watershed

from stylekit.hand.analysis import Floats, blur

Labels = NDArray[np.int32]
Pairs = NDArray[np.int64]
Number = TypeVar("Number", np.int32, np.uint16)
CALM = 12.0  # squared Lab; a step of a lower variance is texture
SLOPE, STEEP = 0.0015, 100.0  # height of a step of Lab where it is between things, and the step from which on it is no higher
NEAR = 60.0  # squared Lab; a colour this near to an area's own is as good as the same


@dataclass(frozen=True, kw_only=True)
class Areas:
    """labels: (h, w), 0..n-1. lab: (n, 3) mean CIE Lab. mass: (n,) pixels, each by its weight. pairs: (m, 2) neighbours, the smaller
    number first; length, step: (m,) pixels of their border, and mean difference of Lab across it."""

    labels: Labels
    lab: Floats
    mass: Floats
    pairs: Pairs
    length: Floats
    step: Floats


def flooded(lab: Floats, spacing: float) -> Labels:
    """(h, w) small areas of even colour, about `spacing` pixels wide, whose borders follow the edges of (h, w, 3) Lab."""
    image = np.asarray(np.clip(lab * (2.55, 1.6, 1.6) + (0, 128, 128), 0, 255), np.uint8)
    slope = np.asarray(cv2.morphologyEx(image, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)), np.float32).sum(-1)
    markers = _seeds(slope, spacing, 4, 0.1)
    cv2.watershed(image, markers)
    return renumbered(_closed(markers) - 1)


def flooded_between(edge: Floats, lab: Floats, spacing: float) -> Labels:
    """(h, w) small areas, about `spacing` pixels wide where nothing parts them, whose borders run along the ridges of (h, w) edge in 0..1
    and, where there are none, along the edges of (h, w, 3) Lab."""
    slope = np.asarray(cv2.morphologyEx(lab, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)), np.float32).sum(-1)
    height = edge + SLOPE * np.minimum(slope, STEEP)
    return renumbered(np.asarray(watershed(height, _seeds(height, spacing, 3, 0)), np.int32) - 1)


def _seeds(slope: Floats, spacing: float, part: int, near: float) -> Labels:
    """(h, w) the numbers from 1 at the places of a grid `spacing` pixels wide, 0 elsewhere. Each moves by at most a `part`-th of that to
    where (h, w) slope is least, so that none lies on an edge; near: what a pixel of the way, squared, costs."""
    h, w = slope.shape
    step = max(2, round(spacing))
    rows, columns = np.arange(min(step // 2, h - 1), h, step), np.arange(min(step // 2, w - 1), w, step)
    reach = max(1, step // part)
    shifts = [(y, x) for y in range(-reach, reach + 1) for x in range(-reach, reach + 1)]
    ys = np.stack([np.clip(rows[:, None] + y + 0 * columns, 0, h - 1) for y, _ in shifts])
    xs = np.stack([np.clip(columns[None] + x + 0 * rows[:, None], 0, w - 1) for _, x in shifts])
    cost = slope[ys, xs] + np.array([near * (y * y + x * x) for y, x in shifts], np.float32)[:, None, None]
    best = cost.argmin(0)[None]
    y, x = np.take_along_axis(ys, best, 0).ravel(), np.take_along_axis(xs, best, 0).ravel()
    markers = np.zeros((h, w), np.int32)
    markers[y, x] = np.arange(1, len(y) + 1)
    return markers


def _closed(markers: Labels) -> Labels:
    """Borders (-1 or 0) given to the largest number beside them, until none is left."""
    markers = np.maximum(markers, 0)
    while not markers.all():
        grown = cv2.dilate(markers.astype(np.float32), np.ones((3, 3), np.uint8)).astype(np.int32)
        if not grown.any():
            return np.ones_like(markers)
        markers = np.where(markers == 0, grown, markers)
    return markers


def renumbered(labels: Labels) -> Labels:
    """The same areas, numbered 0..n-1 without gaps."""
    used = np.zeros(int(labels.max()) + 1, np.int32)
    used[labels.ravel()] = 1
    return np.asarray((np.cumsum(used) - 1)[labels], np.int32)


def measured(labels: Labels, lab: Floats, weight: Floats, across: int = 2, edge: Floats | None = None) -> Areas:
    """Areas of (h, w) labels 0..n-1 with colour from (h, w, 3) Lab and mass from (h, w) weight.

    across: pixels on each side of a border at which its step is measured, past the blur of the edge. edge: (h, w) in 0..1; the mean of it
    along a border is its step then, in place of what the colours say."""
    n = int(labels.max()) + 1
    flat = labels.ravel()
    mass = np.bincount(flat, weight.ravel(), n)
    mean = np.stack([np.bincount(flat, (lab[..., c] * weight).ravel(), n) for c in range(3)], 1) / np.maximum(mass, 1e-9)[:, None]
    keys, lengths, steps = [], [], []
    h, w = labels.shape
    for axis in (0, 1):
        size = (h, w)[axis]
        if size < 2:
            continue
        a, b = np.take(labels, np.arange(size - 1), axis), np.take(labels, np.arange(1, size), axis)
        border = np.nonzero(a != b)
        here = border[axis]
        near, far = (np.maximum(here - across + 1, 0), np.minimum(here + across, size - 1)) if edge is None else (here, here + 1)
        one = (near, border[1]) if axis == 0 else (border[0], near)
        other = (far, border[1]) if axis == 0 else (border[0], far)
        steps.append(np.sqrt(((lab[one] - lab[other]) ** 2).sum(-1)) if edge is None else np.maximum(edge[one], edge[other]))
        first, second = a[border].astype(np.int64), b[border].astype(np.int64)
        keys.append(np.minimum(first, second) * n + np.maximum(first, second))
        lengths.append(np.ones(len(first)))
    key = np.concatenate(keys) if keys else np.zeros(0, np.int64)
    unique, inverse = np.unique(key, return_inverse=True)
    length = np.bincount(inverse, minlength=len(unique)).astype(np.float32)
    step = np.bincount(inverse, np.concatenate(steps) if steps else None, len(unique)) / np.maximum(length, 1) if len(unique) else length
    return Areas(
        labels=labels,
        lab=mean.astype(np.float32),
        mass=mass.astype(np.float32),
        pairs=np.stack([unique // n, unique % n], 1),
        length=length,
        step=np.asarray(step, np.float32),
    )


def filled(labels: NDArray[Number], gaps: NDArray[np.bool_]) -> NDArray[Number]:
    """(h, w) labels with the gaps given to the nearest label beside them."""
    if gaps.all() or not gaps.any():
        return labels
    _, index = cv2.distanceTransformWithLabels(gaps.view(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    # what is nearest to a gap lies beside one
    beside = (cv2.dilate(gaps.view(np.uint8), np.ones((3, 3), np.uint8)) > 0) & ~gaps
    table = np.zeros(int(index.max()) + 1, labels.dtype)
    table[index[beside]] = labels[beside]
    result = labels.copy()
    result[gaps] = table[index[gaps]]
    return result


def without_crumbs(labels: Labels, least: Floats) -> Labels:
    """(h, w) labels whose connected pieces of fewer pixels than (h, w) `least` says there have gone to their neighbours."""
    gaps = np.zeros(labels.shape, bool)
    for label, box in windows(labels, 0):
        mask = np.asarray(labels[box] == label, np.uint8)
        count, parts, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
        area = np.maximum(stats[:, cv2.CC_STAT_AREA], 1)
        small = area < np.bincount(parts.ravel(), least[box].ravel(), count) / area
        small[0] = False
        if small.any():
            gaps[box] |= small[parts]
    return filled(labels, gaps)


def interior(labels: NDArray[np.integer]) -> NDArray[np.uint8]:
    """(h, w) 1 where a pixel has the number of all four beside it, 0 along borders."""
    calm = np.ones(labels.shape, np.uint8)
    across, down = labels[:, :-1] == labels[:, 1:], labels[:-1] == labels[1:]
    calm[:, :-1] &= across
    calm[:, 1:] &= across
    calm[:-1] &= down
    calm[1:] &= down
    return calm


def without_slivers(labels: Labels, width: float) -> Labels:
    """(h, w) labels whose connected pieces that are nowhere `width` pixels wide, such as the rims of things, have gone to their
    neighbours."""
    if width <= 1:
        return labels
    # pixels from the middle of one to the border of its piece
    inside = cv2.distanceTransform(interior(labels), cv2.DIST_L2, 5) + 0.5
    gaps = np.zeros(labels.shape, bool)
    for label, box in windows(labels, 0):
        count, parts = cv2.connectedComponents(np.asarray(labels[box] == label, np.uint8), connectivity=4)
        widest = np.zeros(count)
        np.maximum.at(widest, parts.astype(np.int64).ravel(), inside[box].ravel())
        narrow = 2 * widest < width
        narrow[0] = False
        gaps[box] |= narrow[parts]
    return filled(labels, gaps)


def without_rims(labels: Labels, share: float) -> Labels:
    """(h, w) labels whose pieces that lie wholly within `share` of the sides along the frame, such as a frame of the photo's own, have gone
    to their neighbours."""
    h, w = labels.shape
    band = max(2, round(share * math.sqrt(h * w)))
    if min(h, w) <= 4 * band:
        return labels
    inner = np.zeros(labels.shape, bool)
    inner[band:-band, band:-band] = True
    gaps = np.zeros(labels.shape, bool)
    for label, box in windows(labels, 0):
        mask = np.asarray(labels[box] == label, np.uint8)
        count, parts = cv2.connectedComponents(mask, connectivity=4)
        reaches = np.bincount(parts.ravel(), inner[box].ravel(), count) > 0
        reaches[0] = True
        if not reaches.all():
            gaps[box] |= ~reaches[parts]
    return filled(labels, gaps)


def windows(labels: Labels, margin: int) -> Iterator[tuple[int, tuple[slice, slice]]]:
    """Each label of (h, w) with the rows and columns of a box around it, `margin` pixels wider."""
    h, w = labels.shape
    for label, box in enumerate(find_objects(labels + 1)):
        if box is not None:
            rows, columns = box
            yield (
                label,
                (
                    slice(max(0, rows.start - margin), min(h, rows.stop + margin)),
                    slice(max(0, columns.start - margin), min(w, columns.stop + margin)),
                ),
            )


def refined(labels: Labels, lab: Floats, mean: Floats, sigma: float) -> Labels:
    """(h, w) labels whose borders follow the edges of (h, w, 3) Lab where there are any and run smoothly where there are none.

    mean: (n, 3) Lab of the labels. sigma: pixels over which a border is straightened; first twice that. A pixel goes to the label that
    is most around it, weighed by how near its colour is."""
    h, w = labels.shape
    for reach in (2 * sigma, sigma):
        best = np.full((h, w), -1, np.float32)
        result = labels.copy()
        for label, (rows, columns) in windows(labels, math.ceil(2.5 * reach) + 1):
            around = blur(np.asarray(labels[rows, columns] == label, np.float32), reach)
            far = ((lab[rows, columns] - mean[label]) ** 2).sum(-1)
            score = around / (NEAR + far)
            wins = (score > best[rows, columns]) & (around > 0.02)
            best[rows, columns][wins] = score[wins]
            result[rows, columns][wins] = label
        labels = result
    return labels


def calmed(lab: Floats, scale: float, passes: int = 3) -> Floats:
    """(h, w, 3) Lab without texture finer than `scale` pixels, edges of larger things kept: a guided filter whose guide is its own last
    result, begun at a blur (rolling guidance, Zhang, Shen, Xu & Jia 2014, https://doi.org/10.1007/978-3-319-10578-9_53)."""
    guide = blur(lab, scale)
    side = 2 * max(2, round(2.2 * scale)) + 1

    def mean(a: Floats) -> Floats:
        return np.asarray(cv2.blur(a, (side, side), borderType=cv2.BORDER_REFLECT), np.float32)

    def together(a: Floats) -> Floats:
        return np.asarray(cv2.transform(a, np.ones((1, a.shape[2]), np.float32)), np.float32).reshape(a.shape[:2])

    p = mean(lab)
    for _ in range(passes):
        g = mean(guide)
        # one variance for all three channels, so that an edge in any of them holds back the others
        spread = mean(together(guide * guide)) - together(g * g)
        common = mean(together(guide * lab)) - together(g * p)
        slope = np.clip(common / (spread + np.float32(CALM)), 0, 1)[..., None]
        guide = mean(np.ascontiguousarray(slope[..., 0]))[..., None] * guide + mean(np.asarray(p - slope * g, np.float32))
    return guide
