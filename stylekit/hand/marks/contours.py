"""Contours of a photo as curves: found, thinned, traced, joined across gaps, and chosen.

Found as a difference of Gaussians smoothed along the contours (Kang, Lee & Chui 2009, https://doi.org/10.1109/TVCG.2008.81) after the local
contrast is evened out. Chosen by length and contrast: on texture a line has to be longer and stronger, on a face it may be fainter and
shorter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from skimage.morphology import skeletonize

from stylekit.hand import analysis
from stylekit.hand.analysis import Floats
from stylekit.hand.marks import pen, runs
from stylekit.hand.marks.runs import Starts

AGREED = 0.4  # coherence of the contours around a line
FAINT = 0.012  # light per unit of reach: a slope below it is noise, or the weave of a cloth
FINEST = 0.7  # pixels; details below it are the grid of the pixels
SIGHT, ALONG = 4, 0.87  # points along which a curve's direction is seen; cosine between two that run along each other
ROWS = 64  # of pixels looked at together: as much as stays in the processor's cache


@dataclass(frozen=True, kw_only=True)
class Curves:
    """points: (n, 2) in pixels of the plan, of m curves that begin at `starts` (m + 1,). strengths, spots: (n,) contrast, about 0..1, and
    how wide a dark spot the curve runs through, in pixels. contrast: (m,) mean of the strengths. size: (m,) how small lengths and widths
    are to be, 1 for as the settings say. held: (m, 2) whether it runs into another curve where it begins and where it ends."""

    points: Floats
    starts: Starts
    strengths: Floats
    spots: Floats
    contrast: Floats
    size: Floats
    held: NDArray[np.bool_]

    @classmethod
    def of(cls, points: Floats, starts: Starts, strengths: Floats) -> Curves:
        """Curves through no dark spots, with lengths and widths as the settings say."""
        return cls(
            points=points,
            starts=starts,
            strengths=strengths,
            spots=np.zeros(len(points), np.float32),
            contrast=runs.means(strengths, starts),
            size=np.ones(len(starts) - 1, np.float32),
            held=np.zeros((len(starts) - 1, 2), bool),
        )

    def __len__(self) -> int:
        return len(self.starts) - 1

    def where(self, place: Floats, level: float, *, inside: bool, gap: float = 0.0) -> Curves:
        """The parts that lie where (h, w) place is at least `level`, or where it is not; gaps of at most `gap` points are part of them."""
        return self.parts((pen.sampled(place, self.points) >= level) == inside, gap)

    def parts(self, good: NDArray[np.bool_], gap: float = 0.0) -> Curves:
        """The parts along which (n,) good holds, with gaps of at most `gap` points between them."""
        if gap:
            first, counts, _ = runs.stretches(~good, self.starts, 0)
            ends = np.isin(first, self.starts) | np.isin(first + counts, self.starts)
            short = np.flatnonzero((counts <= gap) & ~ends)
            good = good.copy()
            good[runs.ranges(first[short], counts[short])] = True
        first, counts, path = runs.stretches(good, self.starts, 3)
        return self._taken(runs.ranges(first, counts), runs.counted(counts), path)

    def beside(self, others: Curves, reach: float) -> NDArray[np.bool_]:
        """(n,) which points run along one of the others, within `reach` pixels of it."""
        if not len(self) or not len(others):
            return np.zeros(len(self.points), bool)
        far, nearest = cKDTree(others.points).query(self.points, distance_upper_bound=reach)
        near = np.isfinite(far)
        turn = (self.directions()[near] * others.directions()[nearest[near]]).sum(1)
        near[near] = np.abs(turn) > ALONG
        return np.asarray(near)

    def directions(self) -> Floats:
        """(n, 2) of length 1: which way the curves run at their points."""
        place = np.arange(len(self.points))
        owner = runs.owners(self.starts)
        before, after = np.maximum(place - SIGHT, self.starts[owner]), np.minimum(place + SIGHT, self.starts[owner + 1] - 1)
        way = self.points[after] - self.points[before]
        return np.asarray(way / np.maximum(np.hypot(*way.T), 1e-6)[:, None], np.float32)

    def longer(self, least: float) -> Curves:
        """Those of more than `least` points."""
        return self.chosen(np.flatnonzero(np.diff(self.starts) > least))

    def chosen(self, kept: NDArray[np.intp]) -> Curves:
        """Those of the numbers (k,) `kept`."""
        counts = np.diff(self.starts)[kept]
        return replace(self._taken(runs.ranges(self.starts[kept], counts), runs.counted(counts), kept), held=self.held[kept])

    def meeting(self, gap: float) -> Curves:
        """The same curves, those that end within `gap` pixels of another going on to it."""
        if len(self) < 2:
            return self
        points, held = self.points.copy(), self.held.copy()
        owner, tree = runs.owners(self.starts), cKDTree(self.points)
        for side, ends in enumerate((self.starts[:-1], self.starts[1:] - 1)):
            for number, (end, near) in enumerate(zip(ends.tolist(), tree.query_ball_point(self.points[ends], gap), strict=True)):
                others = [i for i in near if owner[i] != number]
                if others:
                    nearest = min(others, key=lambda i: (float(((self.points[i] - self.points[end]) ** 2).sum()), i))
                    points[end], held[number, side] = self.points[nearest], True
        return replace(self, points=points, held=held)

    def placed(self, factor: float, corner: tuple[int, int], size: float) -> Curves:
        """Those of a part of the picture enlarged by `factor`, at their place in the picture; corner: x, y of the part."""
        points = np.asarray(self.points / factor + np.array(corner, np.float32), np.float32)
        spots, sizes = np.asarray(self.spots / factor, np.float32), np.full(len(self), size, np.float32)
        return replace(self, points=points, spots=spots, size=sizes)

    def _taken(self, index: Starts, starts: Starts, path: Starts) -> Curves:
        return Curves(
            points=self.points[index],
            starts=starts,
            strengths=self.strengths[index],
            spots=self.spots[index],
            contrast=self.contrast[path],
            size=self.size[path],
            held=np.zeros((len(path), 2), bool),
        )


def together(parts: Sequence[Curves]) -> Curves:
    """The curves of all parts."""
    return Curves(
        points=np.concatenate([p.points for p in parts]),
        starts=runs.counted(np.concatenate([np.diff(p.starts) for p in parts])),
        strengths=np.concatenate([p.strengths for p in parts]),
        spots=np.concatenate([p.spots for p in parts]),
        contrast=np.concatenate([p.contrast for p in parts]),
        size=np.concatenate([p.size for p in parts]),
        held=np.concatenate([p.held for p in parts]),
    )


def silhouette(figure: Floats, unit: float) -> Curves:
    """The outline of (h, w) figure in 0..1, but for the picture's own frame."""
    rim = cv2.morphologyEx(np.asarray(analysis.blur(figure, unit) > 0.5, np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    rim[[0, 1, -2, -1]] = 0
    rim[:, [0, 1, -2, -1]] = 0
    points, starts = joined(*traced(skeletonize(rim > 0)), 4 * unit)
    return Curves.of(np.asarray(points, np.float32), starts, np.ones(len(points), np.float32))


def evened(light: Floats, reach: float) -> Floats:
    """(h, w) light with the contrast within `reach` pixels evened out, around 0; noise in calm places is not raised."""
    mean = analysis.blur(light, reach)
    spread = np.sqrt(np.maximum(analysis.blur(light * light, reach) - mean * mean, 0))
    return np.asarray((light - mean) / (spread + 0.07), np.float32)


def ridges(light: Floats, angle: Floats, sigma: float, length: float) -> Floats:
    """(h, w), positive on the dark side of contours: a difference of Gaussians of sigma pixels averaged along angle over length pixels."""
    sharp = cv2.GaussianBlur(light, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    difference = cv2.GaussianBlur(light, (0, 0), 1.6 * sigma, borderType=cv2.BORDER_REFLECT) - sharp
    stride = max(1.0, 1.5 * sigma)
    field = cv2.merge([np.cos(angle) * np.float32(stride), np.sin(angle) * np.float32(stride)])
    steps = max(1, round(length / 2 / stride))
    h, w = light.shape
    columns, result = np.arange(w, dtype=np.float32)[None], np.empty((h, w), np.float32)
    for top in range(0, h, ROWS):
        here = slice(top, min(h, top + ROWS))
        lines = np.arange(here.start, here.stop, dtype=np.float32)[:, None]
        total, weights = difference[here].copy(), 1.0
        for sign in (1, -1):
            across, down = (np.float32(sign) * part for part in cv2.split(field[here]))
            x, y = columns + across, lines + down
            for number in range(steps):
                weight = 1 - number / (steps + 1)
                total += np.float32(weight) * cv2.remap(difference, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
                weights += weight
                if number + 1 < steps:
                    # directions have no sign of their own: each goes on from the one before
                    new_across, new_down = cv2.split(cv2.remap(field, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT))
                    turn = np.copysign(np.float32(1), new_across * across + new_down * down)
                    across, down = new_across * turn, new_down * turn
                    x += across
                    y += down
        result[here] = total / np.float32(weights)
    return result


def curves(light: Floats, unit: float, reach: float, density: float, shortest: float, face: Floats) -> Curves:
    """Contours of (h, w) light in 0..1. unit: in pixels; lengths are in units. reach: of the details that make a contour. density: 0..1,
    how faint it may be. shortest: length of the shortest on calm ground. face: (h, w) in 0..1."""
    unit = max(unit, FINEST / reach)
    sigma = reach * unit
    angle = analysis.flow(light, max(2.0, 2.5 * sigma), 0)
    even = evened(light, 14 * unit)
    # the noise of a sensor is no contour
    even = np.asarray(cv2.bilateralFilter(even, -1, 0.35, max(1.0, 1.5 * sigma)), np.float32)
    # per contrast: a step of evened light of height 1 answers with about 0.12
    strength = np.maximum(ridges(even, angle, sigma, 11 * sigma), 0) * np.float32(1 / 0.12)
    high, low = 0.72 - 0.62 * density, 0.32 - 0.26 * density
    ease = 1 - 0.3 * face
    mask = strength > low * ease
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    strong = np.zeros(count, bool)
    strong[labels[strength > high * ease]] = True
    strong[0] = False
    blots = strong[labels]
    thin = skeletonize(blots)
    points, starts = joined(*traced(thin), 7 * unit)
    # no path of so few pixels is long enough even on a face
    counts = np.diff(starts)
    kept = (counts > 2) & (1.42 * counts >= 0.5 * shortest * unit)
    points, starts = points[np.repeat(kept, counts)], runs.counted(counts[kept])
    depth = cv2.distanceTransform(blots.astype(np.uint8), cv2.DIST_L2, 3)
    step = analysis.blur(analysis.edges(light, 0.8 * sigma), sigma) * sigma
    agreed = analysis.coherence(even, 3.5 * sigma)
    busy = analysis.blur(mask.astype(np.float32), 9 * unit)  # share of ground that is line: a third where it is all texture
    strengths, spots = pen.sampled(strength, points), np.maximum(pen.sampled(depth, points) - 2.1 * sigma, 0) * 2
    contrast, on_face = runs.means(strengths, starts), runs.means(pen.sampled(face, points), starts)
    crowd = np.clip((runs.means(pen.sampled(busy, points), starts) - 0.16) / 0.22, 0, 1) * (1 - 0.8 * on_face)
    _, length = runs.walked(points, starts)
    good = length >= shortest * unit * (1 + 1.8 * crowd) * (1 - 0.5 * on_face)
    clear = 0.75 * high * (1 + 0.8 * crowd) * (1 - 0.2 * on_face) * (1.25 - 0.25 * np.minimum(1.0, length / (40 * unit)))
    good &= contrast >= clear
    # on grain, contours a little further on run every way
    good &= runs.means(pen.sampled(agreed, points), starts) >= AGREED * (1 - 0.5 * on_face)
    good &= runs.means(pen.sampled(step, points), starts) >= FAINT * (1.4 - 0.8 * density) * (1 - 0.4 * on_face)
    every = np.repeat(good, np.diff(starts))
    # what is wider than a contour is a dark spot, such as a pupil: the line fills it
    return Curves(
        points=points[every],
        starts=runs.counted(np.diff(starts)[good]),
        strengths=strengths[every],
        spots=np.asarray(spots[every], np.float32),
        contrast=contrast[good],
        size=np.ones(int(good.sum()), np.float32),
        held=np.zeros((int(good.sum()), 2), bool),
    )


def of_things(edge: Floats, unit: float, density: float, shortest: float) -> Curves:
    """Contours along the ridges of (h, w) edge, how surely the border of a thing runs through each place, 0..1. unit: in pixels. density:
    0..1, how unsure they may be. shortest: length in units."""
    soft = analysis.blur(edge, max(0.8, 0.8 * unit))
    yy, xx = (cv2.Sobel(soft, cv2.CV_32F, *d, ksize=5) for d in ((0, 2), (2, 0)))
    xy = cv2.Sobel(soft, cv2.CV_32F, 1, 1, ksize=5)
    # across a ridge it curves the most
    angle = 0.5 * np.arctan2(2 * xy, xx - yy) + np.float32(np.pi / 2)
    h, w = edge.shape
    xs, ys = np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32))
    dx, dy = np.cos(angle), np.sin(angle)
    sides = [cv2.remap(soft, xs + s * dx, ys + s * dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT) for s in (-1, 1)]
    high, low = 0.9 - 0.8 * density, 0.45 - 0.4 * density
    ridge = np.asarray((soft >= sides[0]) & (soft >= sides[1]) & (soft > low), np.uint8)
    count, labels = cv2.connectedComponents(cv2.morphologyEx(ridge, cv2.MORPH_CLOSE, np.ones((2, 2), np.uint8)), connectivity=8)
    strong = np.zeros(count, bool)
    strong[labels[soft > high]] = True
    strong[0] = False
    points, starts = joined(*traced(skeletonize(strong[labels])), 5 * unit)
    strengths = np.asarray(pen.sampled(soft, points), np.float32)
    found = Curves.of(points, starts, strengths)
    _, length = runs.walked(points, starts)
    return found.chosen(np.flatnonzero((length > shortest * unit) & (found.contrast > 0.5 * (low + high))))


def traced(thin: NDArray[np.bool_]) -> tuple[Floats, Starts]:
    """Skeleton pixels as paths of x, y between ends and junctions."""
    padded = np.pad(thin, 1).astype(np.uint8)
    around = cv2.filter2D(padded, cv2.CV_8U, np.ones((3, 3), np.uint8)) - padded
    cut = (padded & (around <= 2)).astype(np.uint8)
    contours, tree = cv2.findContours(cut, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    # the inside of a ring is traced from outside already
    rings = [contour for contour, node in zip(contours, tree[0] if tree is not None else (), strict=True) if node[3] == -1]
    if not rings:
        return np.zeros((0, 2), np.float32), np.zeros(1, np.int64)
    every = np.concatenate(rings)[:, 0]
    counts = np.array([len(ring) for ring in rings], np.int64)
    starts = runs.counted(counts)
    first, last = starts[:-1], starts[1:] - 1
    before, after = np.arange(len(every)) - 1, np.arange(len(every)) + 1
    before[first], after[last] = last, first
    # a contour runs along an open path and back: it turns at the ends, where the neighbours on both sides are the same pixel
    turns = np.flatnonzero((every[before] == every[after]).all(1))
    place = np.searchsorted(turns, starts)
    many = np.diff(place)
    padded_turns = np.concatenate([turns, [0, 0]])
    one, other = padded_turns[place[:-1]], padded_turns[place[:-1] + 1]
    begin = np.where((counts > 2) & (many > 0), one, first)
    length = np.where(many >= 2, other - one + 1, np.where(many == 1, counts // 2 + 1, counts + 1))
    length = np.where(counts <= 2, counts, length)
    owner = np.repeat(np.arange(len(rings)), length)
    along = runs.ranges(begin - first, length)
    return every[first[owner] + along % counts[owner]].astype(np.float32) - 1, runs.counted(length)


def joined(points: Floats, starts: Starts, gap: float) -> tuple[Floats, Starts]:
    """Paths whose ends face each other across at most gap pixels become one, the best matches first."""
    many = len(starts) - 1
    if many < 2:
        return points, starts
    size = np.diff(starts)
    first, last = starts[:-1], starts[1:] - 1
    ends = np.stack([points[first], points[last]], 1).reshape(-1, 2)
    # direction outwards, over the last pixels of the path
    inner = np.minimum(6, size - 1)
    outward = np.stack([points[first] - points[first + inner], points[last] - points[last - inner]], 1).reshape(-1, 2)
    outward /= np.maximum(np.hypot(outward[:, 0], outward[:, 1]), 1e-6)[:, None]
    pairs = cKDTree(ends).query_pairs(gap, output_type="ndarray")
    if len(pairs) == 0:
        return points, starts
    a, b = pairs[:, 0], pairs[:, 1]
    across = ends[b] - ends[a]
    distance = np.hypot(across[:, 0], across[:, 1])
    facing = -(outward[a] * outward[b]).sum(1)
    unit = across / np.maximum(distance, 1e-6)[:, None]
    aligned = np.minimum((outward[a] * unit).sum(1), -(outward[b] * unit).sum(1))
    stub = (size[a // 2] < 4) | (size[b // 2] < 4)  # too short to have a direction
    near = distance <= 3
    good = (a // 2 != b // 2) & np.where(near, (facing > 0.3) | stub, (facing > 0.75) & (aligned > 0.75))
    cost = distance / gap - facing
    order = np.flatnonzero(good)[np.argsort(cost[good], kind="stable")]
    mate = [-1] * (2 * many)
    for p, q in zip(a[order].tolist(), b[order].tolist(), strict=True):
        if mate[p] < 0 and mate[q] < 0:
            mate[p], mate[q] = q, p
    chain: list[int] = []  # ends at which paths are entered, in order
    chains: list[int] = []  # how many of them make one
    used = [False] * many
    # open chains first: they start at an end without a mate; what is left are rings
    for end in [e for e in range(2 * many) if mate[e] < 0] + list(range(2 * many)):
        at, before = end, len(chain)
        while at >= 0 and not used[at // 2]:
            used[at // 2] = True
            chain.append(at)
            at = mate[at ^ 1]
        if len(chain) > before:
            chains.append(len(chain) - before)
    entered = np.array(chain)
    path, back = entered // 2, entered % 2 == 1
    counts = size[path]
    ahead = runs.ranges(np.zeros(len(path), np.int64), counts)
    backwards = np.repeat(back, counts)
    index = np.repeat(first[path], counts) + np.where(backwards, np.repeat(counts - 1, counts) - ahead, ahead)
    return points[index], runs.counted(np.add.reduceat(counts, runs.counted(np.array(chains))[:-1]))
