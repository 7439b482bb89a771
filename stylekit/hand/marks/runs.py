"""Many paths at once: their points lie end to end in one array, and `starts` (m + 1,) says where each of the m paths begins.

Thousands of short paths are worked on with a few calls on long arrays, not one by one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from stylekit.hand.analysis import Floats

Starts = NDArray[np.int64]
CLOSED = 1.5  # pixels; a path whose ends are no further apart is a ring


def counted(counts: NDArray[Any]) -> Starts:
    """Starts of paths with `counts` (m,) points."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def owners(starts: Starts) -> Starts:
    """(n,) number of the path of every point."""
    return np.repeat(np.arange(len(starts) - 1), np.diff(starts))


def ranges(begin: NDArray[Any], counts: NDArray[Any]) -> Starts:
    """begin[0], begin[0] + 1, ... begin[0] + counts[0] - 1, begin[1], ... in one array."""
    starts = counted(counts)
    return np.arange(starts[-1]) + np.repeat(np.asarray(begin, np.int64) - starts[:-1], counts)


def means(values: NDArray[Any], starts: Starts) -> Floats:
    """(m,) mean of (n,) values over every path; none may be empty."""
    if len(starts) < 2:
        return np.zeros(0, np.float32)
    return np.asarray(np.add.reduceat(values, starts[:-1], dtype=np.float64) / np.diff(starts), np.float32)


def walked(points: NDArray[Any], starts: Starts) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n,) length of the path up to every point, and (m,) its whole length."""
    gaps = np.zeros(len(points))
    gaps[1:] = np.hypot(*np.diff(points.astype(np.float64), axis=0).T)
    gaps[starts[:-1]] = 0
    total = np.cumsum(gaps)
    first, last = total[starts[:-1]], total[starts[1:] - 1]
    return total - np.repeat(first, np.diff(starts)), last - first


def are_rings(points: NDArray[Any], starts: Starts, least: int = 0) -> NDArray[np.bool_]:
    """(m,) whether the ends of a path of more than `least` points meet."""
    apart = np.hypot(*(points[starts[:-1]] - points[starts[1:] - 1]).T)
    return np.asarray((apart <= CLOSED) & (np.diff(starts) > least))


def stretches(good: NDArray[np.bool_], starts: Starts, least: int) -> tuple[Starts, Starts, Starts]:
    """Parts of paths along which (n,) good holds: first point, number of points, path. What is not a whole path has more than `least`."""
    cuts = np.zeros(len(good), bool)
    cuts[1:] = good[1:] != good[:-1]
    cuts[starts[:-1]] = True
    first = np.flatnonzero(cuts)
    counts = np.diff(np.append(first, len(good)))
    path = owners(starts)[first]
    keep = good[first] & ((counts > least) | (counts == np.diff(starts)[path]))
    return first[keep], counts[keep], path[keep]


def smoothed(points: Floats, starts: Starts, sigma: float, step: float) -> tuple[Floats, Starts]:
    """Paths of pixels (n, 2) as smooth curves with a point about every `step` pixels; rings stay closed, ends stay where they are."""
    if len(starts) < 2:
        return np.zeros((0, 2), np.float32), starts
    room = int(4 * sigma + 0.5)
    counts = np.diff(starts)
    rings = are_rings(points, starts, 8)
    first, last = points[starts[:-1]], points[starts[1:] - 1]
    # a ring ends with the pixel it begins with
    bodies = counts - (rings & (first == last).all(1))
    wide = counts + 2 * room
    index = ranges(np.full(len(counts), -room), wide)
    ring, body, many = np.repeat(rings, wide), np.repeat(bodies, wide), np.repeat(counts, wide)
    inner = np.where(ring, np.mod(index, body), np.clip(np.where(index < 0, -index, np.minimum(index, 2 * many - 2 - index)), 0, many - 1))
    long = points[np.repeat(starts[:-1], wide) + inner]
    # an open path goes on straight at its ends
    before, after = ~ring & (index < 0), ~ring & (index >= many)
    long[before] = 2 * np.repeat(first, wide, 0)[before] - long[before]
    long[after] = 2 * np.repeat(last, wide, 0)[after] - long[after]
    soft = gaussian_filter1d(long.astype(np.float64), sigma, axis=0, mode="nearest")[ranges(counted(wide)[:-1] + room, counts)]
    # rings of whose ends none is the other's copy are closed anyway
    soft[(starts[1:] - 1)[rings]] = soft[starts[:-1][rings]]
    run, total = walked(soft, starts)
    new = np.maximum(3, (total / step).astype(np.int64) + 1)
    share = ranges(np.zeros(len(new), np.int64), new) / np.repeat(new - 1, new)
    # one scale for all paths, with a gap between two
    offset = np.concatenate([[0], np.cumsum(total + 1)[:-1]])
    where, scale = np.repeat(offset, new) + share * np.repeat(total, new), run + np.repeat(offset, counts)
    even = np.stack([np.interp(where, scale, soft[:, i]) for i in (0, 1)], 1)
    return even.astype(np.float32), counted(new)


def followed(values: Floats, starts: Starts, new: Starts) -> NDArray[np.float64]:
    """(n,) values along paths taken evenly at the points of `new` starts and smoothed."""
    counts, many = np.diff(starts), np.diff(new)
    share = ranges(np.zeros(len(many), np.int64), many) / np.repeat(np.maximum(many - 1, 1), many)
    even = np.interp(np.repeat(starts[:-1], many) + share * np.repeat(counts - 1, many), np.arange(len(values)), values)
    sigmas = np.minimum(4.0, many / 6)
    result = np.empty(len(even))
    for sigma in np.unique(sigmas):
        chosen = np.flatnonzero(sigmas == sigma)
        room = int(4 * sigma + 0.5)
        own, begin = many[chosen], new[:-1][chosen]
        wide = own + 2 * room
        index = np.clip(ranges(np.full(len(own), -room), wide), 0, np.repeat(own - 1, wide)) + np.repeat(begin, wide)
        soft = gaussian_filter1d(even[index], sigma, mode="nearest")
        result[ranges(begin, own)] = soft[ranges(counted(wide)[:-1] + room, own)]
    return result
