"""Straight stretches of paths of pixels: where a path wavers about a line, the line; where it bends, as many short ones as it takes.

A path is cut into shortest pieces, and neighbours are joined, the straightest first (cf. the polygons of Selinger 2003, "Potrace: a
polygon-based tracing algorithm"). The line is fitted to all pixels of its stretch, so that no single one moves it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stylekit.hand.analysis import Floats
from stylekit.hand.marks import runs
from stylekit.hand.marks.runs import Starts

Wide = NDArray[np.float64]
LEAST = 3  # points of the shortest stretch
BENT = 1.5  # how much more a steady bend counts than wavering does
SIDES, FEW = 3, 30  # of a ring at least, and so many that they go one by one
SPANS = (2, 3, 4, 6)  # stretches joined at a time: what wavers is bent in parts and straight as a whole


@dataclass(frozen=True, kw_only=True)
class Stretches:
    """s stretches of m paths, one after the other along them. first: (s,) number of the first point; a ring's last stretch may go on at
    the ring's beginning. counts: (s,) points. path: (s,) number of the path. middle, along: (s, 2) of the line through the points, and its
    direction, of length 1."""

    first: Starts
    counts: Starts
    path: Starts
    middle: Wide
    along: Wide

    def __len__(self) -> int:
        return len(self.first)

    def part(self, which: slice) -> Stretches:
        """Those of `which` numbers."""
        return Stretches(
            first=self.first[which],
            counts=self.counts[which],
            path=self.path[which],
            middle=self.middle[which],
            along=self.along[which],
        )


def stretches(
    points: Floats, starts: Starts, tolerance: Floats, rings: NDArray[np.bool_], apart: NDArray[np.integer] | None = None
) -> Stretches:
    """The straight stretches of paths (n, 2) that begin at `starts` (m + 1,).

    tolerance: (m,) pixels by which a path may waver about a line. rings: (m,) paths that are closed; their first point does not come
    again. apart: (n,) a number of each point; no stretch has points of two numbers."""
    sums = _sums(points, starts)
    first, counts, path = _begun(starts, apart)
    kind = np.zeros(len(first), np.int64) if apart is None else apart[first]
    span = 0
    while span < len(SPANS):
        together = _neighbours(path, rings, SPANS[span])
        one = together[:, 0]
        joint = counts[together].sum(1)
        cost = _wavering(sums, first[one], joint, starts[path[one]])
        good = (kind[together] == kind[one, None]).all(1) & (cost <= tolerance[path[one]])
        chosen = np.flatnonzero(good)[_cheapest(together[good], cost[good], path, rings)]
        span = 0 if len(chosen) else span + 1
        counts[one[chosen]] = joint[chosen]
        kept = np.ones(len(first), bool)
        kept[together[chosen, 1:].ravel()] = False
        first, counts, path, kind = first[kept], counts[kept], path[kept], kind[kept]
    middle, along = _lines(sums, first, counts, starts[path])
    return Stretches(first=first, counts=counts, path=path, middle=middle + points[starts[path]], along=along)


def straightened(points: Floats, starts: Starts, tolerance: Floats, shortest: Floats) -> Floats:
    """(n, 2) the same paths with the points of every straight stretch moved onto its line; ends and rings as they were.

    tolerance: (m,) as of `stretches`. shortest: (m,) pixels; stretches are straight from twice that on, and none below it."""
    if len(starts) < 2:
        return points
    found = stretches(points, starts, tolerance, np.zeros(len(starts) - 1, bool))
    owner = np.repeat(np.arange(len(found.first)), found.counts)
    off = points - found.middle[owner]
    on_line = found.middle[owner] + (off * found.along[owner]).sum(1)[:, None] * found.along[owner]
    long = np.clip(found.counts / np.maximum(shortest[found.path], 1) - 1, 0, 1)[owner, None]
    return np.asarray(points + long * (on_line - points), np.float32)


def _begun(starts: Starts, apart: NDArray[np.integer] | None) -> tuple[Starts, Starts, Starts]:
    """Shortest stretches of all paths: first points, numbers of points, paths."""
    n = int(starts[-1])
    cuts = np.zeros(n, bool)
    cuts[starts[:-1]] = True
    if apart is not None:
        cuts[1:] |= apart[1:] != apart[:-1]
    begin = np.flatnonzero(cuts)
    cuts |= (np.arange(n) - np.repeat(begin, np.diff(np.append(begin, n)))) % LEAST == 0
    first = np.flatnonzero(cuts)
    return first, np.diff(np.append(first, n)), runs.owners(starts)[first]


def _neighbours(path: Starts, rings: NDArray[np.bool_], many: int) -> Starts:
    """(k, many) numbers of stretches that follow each other; in rings the first comes after the last, as long as three sides are left."""
    total = np.bincount(path, minlength=len(rings))[path]
    begin = np.searchsorted(path, path)
    place = np.arange(len(path)) - begin
    one = np.flatnonzero(np.where(rings[path], total - many + 1 >= SIDES, place + many <= total))
    return np.asarray(begin[one, None] + (place[one, None] + np.arange(many)) % total[one, None], np.int64)


def _cheapest(together: Starts, cost: Wide, path: Starts, rings: NDArray[np.bool_]) -> Starts:
    """Which of the groups (k, many) of stretches are joined: those that share none with a cheaper one. A ring of few sides loses some once
    at a time, so that it stays a ring."""
    rank = np.empty(len(cost), np.int64)
    rank[np.argsort(cost, kind="stable")] = np.arange(len(cost))
    least = np.full(len(path), len(cost))
    for column in together.T:
        np.minimum.at(least, column, rank)
    own = path[together[:, 0]]
    first = np.full(len(rings), len(cost))
    np.minimum.at(first, own, rank)
    few = (rings & (np.bincount(path, minlength=len(rings)) <= FEW))[own]
    return np.flatnonzero((least[together] == rank[:, None]).all(1) & (~few | (first[own] == rank)))


def _sums(points: Floats, starts: Starts) -> Wide:
    """(2 n + 1, 9) running sums of products of x, y, counted from the path's first point, and the place along it; each path twice in a
    row, so that a ring's stretches may go on past its end."""
    counts = np.diff(starts)
    index = runs.ranges(np.repeat(starts[:-1], 2), np.repeat(counts, 2))
    x, y = (points[index] - np.repeat(points[starts[:-1]], 2 * counts, 0)).astype(np.float64).T
    t = runs.ranges(np.zeros(len(counts)), 2 * counts).astype(np.float64)
    sums = np.zeros((len(index) + 1, 9))
    np.cumsum(np.stack([x, y, x * x, x * y, y * y, x * t, y * t, x * t * t, y * t * t], 1), 0, out=sums[1:])
    return sums


def _spread(sums: Wide, first: Starts, counts: Starts, begin: Starts) -> tuple[Wide, Wide, Wide, Wide]:
    """Of `counts` points from `first` on, of paths that begin at `begin`: sums of products, mean, and the ellipse they fill, as half the
    difference of its axes, squared, along x and between x and y."""
    total = sums[begin + first + counts] - sums[begin + first]
    n = counts.astype(np.float64)[:, None]
    mean = total[:, :2] / n
    square = total[:, 2:5] / n - np.stack([mean[:, 0] ** 2, mean[:, 0] * mean[:, 1], mean[:, 1] ** 2], 1)
    return total, mean, 0.5 * (square[:, 0] - square[:, 2]), square[:, 1]


def _lines(sums: Wide, first: Starts, counts: Starts, begin: Starts) -> tuple[Wide, Wide]:
    """The lines through those points: their middle, from the first point of the path, and their direction the way the path goes."""
    total, mean, apart, mixed = _spread(sums, first, counts, begin)
    turn = 0.5 * np.arctan2(mixed, apart)
    along = np.stack([np.cos(turn), np.sin(turn)], 1)
    middle = (first - begin + 0.5 * (counts - 1))[:, None]
    forward = total[:, 5:7] - middle * total[:, :2]
    return mean, along * np.where((forward * along).sum(1) < 0, -1, 1)[:, None]


def _wavering(sums: Wide, first: Starts, counts: Starts, begin: Starts) -> Wide:
    """How far those points are from their line, in pixels: root of the mean square, and the sagitta of the parabola through them."""
    total, mean, apart, mixed = _spread(sums, first, counts, begin)
    n = counts.astype(np.float64)
    whole = (total[:, 2] + total[:, 4]) / n - (mean**2).sum(1)
    off = np.maximum(0.5 * whole - np.hypot(apart, mixed), 0)
    m = (first - begin + 0.5 * (n - 1))[:, None]
    square = total[:, 7:9] - 2 * m * total[:, 5:7] + (m * m - ((n * n - 1) / 12)[:, None]) * total[:, :2]
    turn = 0.5 * np.arctan2(mixed, apart)
    bend = np.abs(square[:, 1] * np.cos(turn) - square[:, 0] * np.sin(turn)) * n * n / 4
    bend /= np.maximum(n * (n * n - 1) * (n * n - 4) / 180, 1e-9)
    return np.asarray(np.sqrt(off + (BENT * bend) ** 2), np.float64)
