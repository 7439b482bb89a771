"""Merging areas, the cheapest pair of neighbours first: by what the step between two is worth against the length of the border it takes to
draw it (Koepfler, Lopez & Morel 1994, https://doi.org/10.1137/0731016)."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stylekit.hand.areas.regions import Areas, Labels, renumbered

SHADE = np.array([0.55, 1, 1], np.float32)  # of CIE Lab, where things are told apart: what is lit and what is in shade are one
PAIRED = 320  # areas; with more of them, neighbours are merged in pairs
# masses of two neighbours, how far apart their colours are, the step across their border and its length, as numbers or arrays
Worth = Callable[[Any, Any, Any, Any, Any], Any]


def by_step(one: Any, other: Any, apart: Any, step: Any, length: Any) -> Any:
    """What a border is worth: (m n / (m + n)) d s / sqrt(length), with masses m and n, d the difference of mean Lab and s the step across
    the border; s keeps a slow gradient in one piece."""
    return one * other / (one + other) * apart * (step + 0.15 * apart) / length**0.5


def by_thing(least: float) -> Worth:
    """What a border is worth whose step is how surely a thing ends there, 0..1: the more the further the colours are apart, and the less
    the smaller the areas are against a mass of `least` (cf. the regions of Arbelaez, Maire, Fowlkes & Malik 2011,
    https://doi.org/10.1109/TPAMI.2010.161). From 0 to about 3; nearly nothing within a thing."""

    def worth(one: Any, other: Any, apart: Any, step: Any, length: Any) -> Any:
        small = one * other / (one + other)
        small = small / (small + least)
        return step * (0.35 + 2.6 * apart / (apart + 40)) * small**0.5 + 0.002 * apart * small

    return worth


def merged(areas: Areas, count: int, least: float = 0.0, worth: Worth = by_step, until: float = -math.inf) -> Labels:
    """(h, w) labels 0..k-1 after neighbours were merged, the least worth first, until at most `count` are left, none of a mass below
    `least`, and no border is worth `until` or less. While there are many, all pairs of which each is the other's cheapest neighbour merge
    at once."""
    table = np.arange(len(areas.mass))
    while len(areas.mass) > max(PAIRED, 2 * count) and len(areas.pairs):
        one, other = areas.pairs.T
        apart = np.sqrt(((areas.lab[one] - areas.lab[other]) ** 2).sum(1))
        value = worth(areas.mass[one], areas.mass[other], apart, areas.step, areas.length)
        rank = np.empty(len(value), np.int64)
        rank[np.argsort(value, kind="stable")] = np.arange(len(value))
        cheapest = np.full(len(areas.mass), len(value))
        np.minimum.at(cheapest, one, rank)
        np.minimum.at(cheapest, other, rank)
        mutual = (cheapest[one] == rank) & (cheapest[other] == rank) & (rank < 0.7 * len(rank))
        target = np.arange(len(areas.mass))
        target[other[mutual]] = one[mutual]
        used = np.zeros(len(target), np.int64)
        used[target] = 1
        target = (np.cumsum(used) - 1)[target]
        table = target[table]
        areas = joined(areas, target)
    return renumbered(np.asarray(_merged_singly(areas, count, least, worth, until)[table][areas.labels], np.int32))


def joined(areas: Areas, target: NDArray[np.int64]) -> Areas:
    """Areas whose (n,) numbers became `target`, 0..k-1; the map of labels is left as it is."""
    k = int(target.max()) + 1
    mass = np.bincount(target, areas.mass, k)
    lab = np.stack([np.bincount(target, areas.lab[:, c] * areas.mass, k) for c in range(3)], 1) / mass[:, None]
    ends = np.sort(target[areas.pairs], 1)
    apart = ends[:, 0] != ends[:, 1]
    unique, inverse = np.unique(ends[apart, 0] * k + ends[apart, 1], return_inverse=True)
    length = np.bincount(inverse, areas.length[apart], len(unique))
    step = np.bincount(inverse, (areas.length * areas.step)[apart], len(unique)) / np.maximum(length, 1e-9)
    return Areas(
        labels=areas.labels,
        lab=lab.astype(np.float32),
        mass=mass.astype(np.float32),
        pairs=np.stack([unique // k, unique % k], 1),
        length=length.astype(np.float32),
        step=step.astype(np.float32),
    )


def _merged_singly(areas: Areas, count: int, least: float, worth: Worth, until: float) -> NDArray[np.int64]:
    """(n,) the number of the area each area became part of, merged one pair after the other."""
    n = len(areas.mass)
    mass, lab = areas.mass.astype(float).tolist(), [tuple(c) for c in areas.lab.astype(float).tolist()]
    near: list[dict[int, tuple[float, float]]] = [{} for _ in range(n)]  # length of the border, and the sum of its steps

    def value(i: int, j: int) -> float:
        length, total = near[i][j]
        return float(worth(mass[i], mass[j], math.dist(lab[i], lab[j]), total / length, length))

    for (i, j), length, step in zip(areas.pairs.tolist(), areas.length.tolist(), areas.step.tolist(), strict=True):
        near[i][j] = near[j][i] = length, length * step
    version = [0] * n
    parent = list(range(n))
    heap = [(value(i, j), i, j, 0, 0) for i in range(n) for j in near[i] if i < j]
    heapq.heapify(heap)
    left = n
    while heap and left > 1:
        cost, i, j, vi, vj = heapq.heappop(heap)
        if vi != version[i] or vj != version[j]:
            continue
        if left <= count and cost > until and min(mass[i], mass[j]) >= least:
            if least == 0:
                break
            continue  # a small one may be left elsewhere
        m, k = mass[i], mass[j]
        (a, b, c), (d, e, f) = lab[i], lab[j]
        lab[i] = ((m * a + k * d) / (m + k), (m * b + k * e) / (m + k), (m * c + k * f) / (m + k))
        mass[i] = m + k
        parent[j] = i
        version[i] += 1
        version[j] = -1
        left -= 1
        mine, theirs = near[i], near[j]
        del mine[j]
        for other, (length, total) in theirs.items():
            if other == i:
                continue
            del near[other][j]
            before = mine.get(other, (0.0, 0.0))
            mine[other] = near[other][i] = before[0] + length, before[1] + total
        near[j] = {}
        for other in mine:
            heapq.heappush(heap, (value(i, other), i, other, version[i], version[other]))
    roots = np.arange(n)
    for i in range(n):
        r = i
        while parent[r] != r:
            r = parent[r]
        roots[i] = r
    return roots
