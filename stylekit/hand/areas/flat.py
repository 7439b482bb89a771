"""A fine map of numbers drawn at any size, with borders that are smooth and sharp."""

from __future__ import annotations

import math
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from stylekit.hand.analysis import Floats

TILE = 100  # pixels of the map drawn at once; such a tile of a large result stays in the processor's cache
AVERAGED = 1.9  # pixels of the map per pixel of the result, from which on they are simply averaged


class Flat:
    """Ready to be drawn on any band of a result."""

    def __init__(self, numbers: NDArray[np.uint16], values: Floats, size: tuple[int, int], soft: float) -> None:
        """numbers: (h, w) at least as fine as the plan. values: (k, n) colours, or anything else that goes with a number. size: (W, H) of
        the result. soft: standard deviation of the blur of a border, in pixels of the map, before it is cut sharp."""
        self.numbers, self.values, self.size = numbers, values, size
        h, w = numbers.shape
        self.per = math.sqrt(h * w / (size[0] * size[1]))  # pixels of the map per pixel of the result
        self.soft = max(soft, 0.5 * self.per)
        self.whole = self._averaged() if self.per >= AVERAGED else None

    def at(self, size: tuple[int, int]) -> Floats:
        """(h, w, n) values at size (W, H), from the nearest pixels."""
        rows, columns = ((np.arange(n) + 0.5) * f / n for n, f in zip((size[1], size[0]), self.numbers.shape, strict=True))
        return self.values[self.numbers[np.ix_(rows.astype(int), columns.astype(int))]]

    def tiles(self, top: int, count: int) -> Iterator[tuple[slice, slice, Floats]]:
        """Rows and columns within a band of `count` rows from `top`, and the (rows, columns, n) or (1, 1, n) values there."""
        width, height = self.size
        if self.whole is not None:
            yield slice(0, count), slice(0, width), self.whole[top : top + count]
            return
        h, w = self.numbers.shape
        step = round(TILE * max(1.0, self.per))
        for t in range(0, h, step):
            r0, r1 = max(top, math.ceil(t * height / h - 0.5)), min(top + count, math.ceil((t + step) * height / h - 0.5))
            if r0 >= r1:
                continue
            for left in range(0, w, step):
                c0, c1 = max(0, math.ceil(left * width / w - 0.5)), min(width, math.ceil((left + step) * width / w - 0.5))
                if c0 < c1:
                    yield slice(r0 - top, r1 - top), slice(c0, c1), self._tile((t, left, step), (r0, r1), (c0, c1))

    def _tile(self, place: tuple[int, int, int], rows: tuple[int, int], columns: tuple[int, int]) -> Floats:
        """(rows, columns, n) or (1, 1, n) values. place: top, left and side of the tile in the map. rows, columns: of the result."""
        (t, left, step), (r0, r1), (c0, c1) = place, rows, columns
        h, w = self.numbers.shape
        margin = math.ceil(4 * self.soft) + 2
        # what lies in the tile decides how it is drawn, however few of its rows are
        tile = self.numbers[max(0, t - margin) : t + step + margin, max(0, left - margin) : left + step + margin]
        present = np.flatnonzero(np.bincount(tile.ravel(), minlength=len(self.values))).tolist()
        if len(present) == 1:
            return self.values[present[0]][None, None]
        down, across = (np.arange(r0, r1) + 0.5) * h / self.size[1] - 0.5, (np.arange(c0, c1) + 0.5) * w / self.size[0] - 0.5
        y, x = max(0, math.floor(down[0]) - margin), max(0, left - margin)
        crop = self.numbers[y : math.floor(down[-1]) + margin + 2, x : left + step + margin]
        # in the steps of cv2.remap, so that a place is the same from whichever row the crop begins
        at_x, at_y = np.meshgrid(
            np.asarray(np.round(across * 32) / 32 - x, np.float32), np.asarray(np.round(down * 32) / 32 - y, np.float32)
        )

        def cover(number: int) -> Floats:
            mask = cv2.GaussianBlur(np.asarray(crop == number, np.float32), (0, 0), self.soft, borderType=cv2.BORDER_REPLICATE)
            return np.asarray(cv2.remap(mask, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)

        # how far the border is, in pixels of the result, from how far one number is behind the other
        steep = np.float32(self.soft / 0.798 / self.per)
        if len(present) == 2:
            one, two = self.values[present[1]], self.values[present[0]]
            ahead = 2 * cover(present[1]) - 1
        else:
            first = np.full(at_x.shape, -1, np.float32)
            second, best, after = first.copy(), np.zeros(at_x.shape, np.uint16), np.zeros(at_x.shape, np.uint16)
            for number in present:
                here = cover(number)
                wins, follows = here > first, here > second
                second, after = (
                    np.where(wins, first, np.where(follows, here, second)),
                    np.where(wins, best, np.where(follows, number, after)),
                )
                first, best = np.where(wins, here, first), np.where(wins, number, best)
            one, two = self.values[best], self.values[after]
            ahead = first - second
        share = np.clip(ahead * steep + np.float32(0.5), 0, 1)[..., None]
        return np.asarray(two + share * (one - two), np.float32)

    def _averaged(self) -> Floats:
        """(H, W, n) of the whole result."""
        planes = [
            cv2.resize(column[self.numbers], self.size, interpolation=cv2.INTER_AREA) for column in np.ascontiguousarray(self.values.T)
        ]
        return np.dstack(planes)
