"""Pieces as polygons: their straight sides, cornered or rounded as an outline cut by hand would be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stylekit.hand.analysis import Floats, smoothstep
from stylekit.hand.marks.fairing import Stretches

Wide = NDArray[np.float64]
WORN = 8.0  # times the tolerance; a side shorter than this that cuts off a corner is left out
LONGER = 2.5  # times as long both sides beside it are
BEND, FOLD = 0.6, 2.2  # angles that they make; a curve turns less, a tip more
FAR, NEAR = 3.0, 2.0  # times the tolerance, and pixels, that a corner may lie from where the outline turns
STRAIGHT_ON = 0.08  # sine of the turn below which two sides do not meet in a corner
CORNER, CURVE = 0.45, 0.8  # cosines of the turn at which a corner is one, and at which it is part of a curve
STEPS = 7  # points of a rounded corner


def polygon(points: Floats, sides: Stretches, beyond: Wide, tolerance: float) -> Wide:
    """(n, 2) outline of a ring of at least three straight `sides` of (m, 2) points, each moved by `beyond` (k,) pixels, to the left of its
    direction where y goes down.

    tolerance: pixels by which an outline may be moved. Corners lie where the lines of two sides meet; what wore off is sharp again."""
    along = sides.along
    middle = sides.middle + beyond[:, None] * np.stack([along[:, 1], -along[:, 0]], 1)
    length = sides.counts.astype(np.float64)
    worn = _worn(length, _turns(along), tolerance) & (np.abs(beyond) < 1)
    if len(length) - int(worn.sum()) < 3:
        worn[:] = False
    # a corner cut off is further from where the outline turns
    reach = FAR * tolerance + NEAR + np.roll(np.where(worn, length, 0), -1)
    along, middle, reach = along[~worn], middle[~worn], reach[~worn]
    split = points[np.roll(sides.first[~worn], -1)].astype(np.float64)
    after, next_along = np.roll(middle, -1, 0), np.roll(along, -1, 0)
    cross = _crossed(along, next_along)
    parallel = np.abs(cross) < STRAIGHT_ON
    corners = middle + (_crossed(after - middle, next_along) / np.where(parallel, 1, cross))[:, None] * along
    turned = 0.5 * (_onto(split, middle, along) + _onto(split, after, next_along))
    parallel |= np.hypot(*(corners - turned).T) > reach
    return _rounded(np.where(parallel[:, None], turned, corners), tolerance)


def _worn(length: Wide, turn: Wide, tolerance: float) -> NDArray[np.bool_]:
    """(k,) whether a side is short, between two long ones, and turns on the way the one before it turned."""
    before = np.roll(turn, 1)
    both = np.abs(before + turn)
    short = (length < WORN * tolerance) & (np.minimum(np.roll(length, 1), np.roll(length, -1)) > LONGER * length)
    return np.asarray(short & (before * turn > 0) & (both > BEND) & (both < FOLD))


def _crossed(one: Wide, other: Wide) -> Wide:
    """(k,) cross products of (k, 2) vectors."""
    return np.asarray(one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0])


def _onto(point: Wide, middle: Wide, along: Wide) -> Wide:
    """(k, 2) points moved onto lines."""
    return np.asarray(middle + ((point - middle) * along).sum(1)[:, None] * along)


def _turns(along: Wide) -> Wide:
    """(k,) angles from the direction of each side of a ring to the next."""
    after = np.roll(along, -1, 0)
    return np.asarray(np.arctan2(_crossed(along, after), (along * after).sum(1)))


def _rounded(corners: Wide, radius: float) -> Wide:
    """Closed polygon with its corners (n, 2) rounded: slight ones over half of the shorter side, so that a curve is one, others over no
    more than `radius` pixels."""
    before, after = np.roll(corners, 1, 0) - corners, np.roll(corners, -1, 0) - corners
    one, other = (np.maximum(np.hypot(*side.T), 1e-9)[:, None] for side in (before, after))
    straight = -(before * after).sum(1)[:, None] / (one * other)
    half = 0.5 * np.minimum(one, other)
    slight = smoothstep(straight, CORNER, CURVE)
    cut = slight * half + (1 - slight) * np.minimum(radius, half)
    begin, end = corners + before * cut / one, corners + after * cut / other
    t = np.linspace(0, 1, STEPS)[:, None, None]
    bent = (1 - t) ** 2 * begin + 2 * t * (1 - t) * corners + t**2 * end
    return np.asarray(bent.transpose(1, 0, 2).reshape(-1, 2), np.float64)
