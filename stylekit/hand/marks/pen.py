"""A pen: strokes whose width changes along them, drawn at the size of the result.

A stroke is a polyline in pixels of the plan with a width at every point. It is drawn larger than the result and averaged down, in tiles of
rows that are the same however the result is banded, so that every band has the pixels of the whole.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stylekit.hand.analysis import Floats

TILE = 256  # rows of the result drawn at a time
SHIFT = 4  # bits of the fraction of a coordinate
FINEST = 0.35  # pixels as drawn; thinner parts are left out


@dataclass(frozen=True, kw_only=True)
class Strokes:
    """points: (n, 2) x and y in pixels of the plan. widths: (n,) in the same. starts: (m + 1,) where each of the m strokes begins."""

    points: Floats
    widths: Floats
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def and_more(self, others: Strokes) -> Strokes:
        """These and the others."""
        return Strokes(
            points=np.concatenate([self.points, others.points]),
            widths=np.concatenate([self.widths, others.widths]),
            starts=np.concatenate([self.starts, others.starts[1:] + self.starts[-1]]),
        )


def no_strokes() -> Strokes:
    return Strokes(points=np.zeros((0, 2), np.float32), widths=np.zeros(0, np.float32), starts=np.zeros(1, np.int64))


def sampled(plane: NDArray[Any], points: NDArray[Any]) -> NDArray[Any]:
    """Values of (h, w, ...) at (..., 2) points x, y, from the nearest pixel."""
    h, w = plane.shape[:2]
    x = np.clip(points[..., 0], 0, w - 1).astype(np.intp)
    y = np.clip(points[..., 1], 0, h - 1).astype(np.intp)
    return np.asarray(plane[y, x])


def fineness(size: tuple[int, int]) -> int:
    """How many times larger than the result strokes are drawn."""
    area = size[0] * size[1]
    return 4 if area <= 2_000_000 else 3 if area <= 5_000_000 else 2


def tiles(top: int, rows: int) -> Iterator[tuple[int, slice, slice]]:
    """The tiles that rows top .. top + rows of a result touch: first row of the tile, rows within it, rows within the band."""
    for start in range(top // TILE * TILE, top + rows, TILE):
        first, last = max(top, start), min(top + rows, start + TILE)
        yield start, slice(first - start, last - start), slice(first - top, last - top)


class Sheet:
    """Strokes laid out for a result of one size, (W, H), from a plan of shape (h, w). bent: whether strokes may turn sharply.

    Bent strokes are drawn piece by piece with round joints, straight ones, which have all the same number of points, as an outline each."""

    def __init__(self, strokes: Strokes, shape: tuple[int, int], size: tuple[int, int], *, bent: bool) -> None:
        self.size, self.bent = size, bent
        self.factor = fineness(size)
        scale = np.array([size[0] / shape[1], size[1] / shape[0]], np.float64) * self.factor
        self.points = strokes.points.astype(np.float64) * scale
        self.widths = strokes.widths.astype(np.float64) * math.sqrt(scale[0] * scale[1])
        self.starts = strokes.starts
        if len(strokes):
            begin, half = self.starts[:-1], self.widths / 2 + 1
            self.first = np.minimum.reduceat(self.points[:, 1] - half, begin)
            self.last = np.maximum.reduceat(self.points[:, 1] + half, begin)
        else:
            self.first = self.last = np.zeros(0)
        self.outlines: NDArray[np.int32] | None = None
        if not bent and len(strokes):
            many = len(strokes)
            self.outlines = outlines(self.points.reshape(many, -1, 2), self.widths.reshape(many, -1))
        self._tile: tuple[int, Floats] | None = None

    def cover(self, top: int, rows: int) -> Floats:
        """(rows, W) in 0..1: how much of every pixel of the rows from top on lies under a stroke."""
        result = np.empty((rows, self.size[0]), np.float32)
        for start, inside, band in tiles(top, rows):
            if self._tile is None or self._tile[0] != start:
                self._tile = start, self._draw(start)
            result[band] = self._tile[1][inside]
        return result

    def _draw(self, start: int) -> Floats:
        k = self.factor
        mask = np.zeros((TILE * k, self.size[0] * k), np.uint8)
        chosen = np.flatnonzero((self.last >= start * k) & (self.first < (start + TILE) * k))
        if self.bent:
            shifted = self.points - np.array([0.5, start * k + 0.5])
            for number in chosen:
                a, b = self.starts[number], self.starts[number + 1]
                _bent(mask, shifted[a:b], self.widths[a:b])
        elif self.outlines is not None:
            moved = self.outlines[chosen] - np.array([0, (start * k) << SHIFT], np.int32)
            for outline in moved:
                cv2.fillPoly(mask, [outline], 255, cv2.LINE_8, SHIFT)
        small = cv2.resize(mask, (self.size[0], TILE), interpolation=cv2.INTER_AREA)
        return np.asarray(small / np.float32(255), np.float32)


def outlines(points: NDArray[np.float64], widths: NDArray[np.float64]) -> NDArray[np.int32]:
    """(n, 2 m, 2) outlines, in fixed point, of n strokes of m points (n, m, 2) and widths (n, m) in pixels as drawn."""
    along = np.empty_like(points)
    along[:, 1:-1] = points[:, 2:] - points[:, :-2]
    along[:, 0], along[:, -1] = points[:, 1] - points[:, 0], points[:, -1] - points[:, -2]
    along /= np.maximum(np.hypot(along[..., 0], along[..., 1]), 1e-6)[..., None]
    # a filled outline covers half a pixel more than its shape
    half = np.maximum(widths / 2 - 0.5, 0)[..., None]
    aside = np.stack([-along[..., 1], along[..., 0]], -1) * half
    both = np.concatenate([points + aside, (points - aside)[:, ::-1]], 1) - 0.5
    return np.asarray(np.rint(both * (1 << SHIFT)), np.int32)


def _bent(mask: NDArray[np.uint8], points: NDArray[np.float64], widths: NDArray[np.float64]) -> None:
    if len(points) < 2:
        return
    between = (widths[1:] + widths[:-1]) / 2
    thick = np.where(between < FINEST, 0, np.maximum(1, np.rint(between))).astype(int)
    fixed = np.rint(points * (1 << SHIFT)).astype(np.int32)
    # runs of the same thickness are one call
    cuts = [0, *(np.flatnonzero(np.diff(thick)) + 1).tolist(), len(thick)]
    for a, b in itertools.pairwise(cuts):
        if thick[a]:
            cv2.polylines(mask, [fixed[a : b + 1]], False, 255, int(thick[a]), cv2.LINE_8, SHIFT)
