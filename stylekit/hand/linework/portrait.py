"""Faces in line: lids, irises, brows, nose and mouth by a pen, from their features (subject/features.py), whatever contrast is there."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from stylekit.hand.marks import pen, runs
from stylekit.hand.sight import Sight
from stylekit.hand.subject.features import Eye, Features
from stylekit.hand.view import UNITS, Floats, View

BROAD = 0.021  # of a face's width: the pen at its broadest
FINE = 0.4  # of a unit: no pen is finer
LARGE = 72.0  # units across a face whose nose is drawn whole
INNER = 0.85  # of the outline of a face: what lies within it is no border of the face
LEAST = 9.0  # units across a face with lids and brows; a smaller one has marks for eyes
BROW = 1.1  # times the breadth of the pen: a brow of a few lines at its broadest
ROOM = 11.0  # and so many times the breadth of the pen, for a broad one would make a mask of it
Line = tuple[Floats, NDArray[np.float64]]  # (n, 2) points and (n,) widths


def portraits(view: View, weight: float, few: bool = False) -> pen.Strokes:
    """Strokes of all faces with features; weight: of the pen on other things, in units. few: only lids, brows and what parts the lips,
    of faces that are painted already."""
    unit = view.unit * view.detail
    lines: list[Line] = []
    for one in view.sight.features():
        if one is not None:
            broad = float(np.clip(BROAD * one.width, FINE * unit, weight * unit))
            lids = one.width > max(LEAST, ROOM * weight) * view.unit
            lines += _few(one, broad, lids) if few else _face(one, broad, lids, LARGE * unit, view.sight.skin())
    lines = [line for line in lines if len(line[0]) > 1]
    if not lines:
        return pen.no_strokes()
    points = np.asarray(np.concatenate([p for p, _ in lines]), np.float32)
    amount = pen.sampled(view.amount, points)
    widths = np.concatenate([w for _, w in lines]) * np.sqrt(amount)
    return pen.Strokes(points=points, widths=np.asarray(widths, np.float32), starts=runs.counted(np.array([len(p) for p, _ in lines])))


def zones(sight: Sight, jaws: bool = True) -> tuple[Floats, Floats]:
    """(h, w) in 0..1 twice: within the outlines of faces that have features, and close to what is drawn of them, with their jaws or
    without, or anywhere within a smaller face."""
    skin = sight.skin()
    large = LARGE / UNITS * math.sqrt(skin.size)
    inside, near = np.zeros(skin.shape, np.uint8), np.zeros(skin.shape, np.uint8)
    for one in sight.features():
        if one is None:
            continue
        cv2.fillPoly(inside, [_fixed(one.outline)], 1, cv2.LINE_8, 4)
        if one.width < large:
            middle = one.outline.mean(0)
            cv2.fillPoly(near, [_fixed(middle + INNER * (one.outline - middle))], 1, cv2.LINE_8, 4)
        room = max(1, round(0.07 * one.width))
        for shape in (*(eye.outline for eye in one.eyes), *one.brows, *one.shades, one.lips):
            cv2.fillPoly(near, [_fixed(shape)], 1, cv2.LINE_8, 4)
            cv2.polylines(near, [_fixed(shape)], True, 1, room, cv2.LINE_8, 4)
        cv2.polylines(near, [_fixed(line) for line in one.nose], False, 1, 2 * room, cv2.LINE_8, 4)
        if jaws:
            cv2.polylines(near, [_fixed(line) for line, _ in _jaw(one, 1.0, skin)], False, 1, 3 * room, cv2.LINE_8, 4)
    return inside.astype(np.float32), near.astype(np.float32)


def _few(one: Features, broad: float, lids: bool) -> list[Line]:
    result = _eyes(one, broad, lids, irises=False)
    if lids:
        result += [(points, np.minimum(width, BROW * broad)) for points, width in (_brow(brow, broad) for brow in one.brows)]
    parting = one.seam if one.opening is None else one.opening[: len(one.opening) // 2]
    return [*result, _swelling(parting, 0.7 * broad, 0.3, 0.3)]


def _eyes(one: Features, broad: float, lids: bool, irises: bool = True) -> list[Line]:
    result: list[Line] = []
    for eye in one.eyes:
        if not lids:
            result.append(_swelling(0.5 * (eye.upper + eye.lower), broad, 0.3, 0.3))
            continue
        result.append(_swelling(eye.upper, 1.15 * broad, 0.75, 0.3))
        if eye.open:
            result.append(_swelling(eye.lower[3:-4], 0.45 * broad, 0.3, 0.2))
        if eye.open and irises:
            result.append(_iris(eye))
    return result


def _face(one: Features, broad: float, lids: bool, large: float, skin: Floats) -> list[Line]:
    result = _eyes(one, broad, lids)
    if lids:
        result += [_brow(brow, broad) for brow in one.brows]
    # what is between the eyes makes a small face old
    for number, line in enumerate(one.nose if one.width > large else one.nose[-1:]):
        result.append(_swelling(line, (0.75 if number == 0 else 0.6) * broad, 0.25, 0.6 if number == 0 else 0.3))
    if one.opening is None:
        result.append(_swelling(one.seam, 0.85 * broad, 0.35, 0.35))
        lower = one.lips[len(one.lips) // 2 :]
        third = len(lower) // 3
        result.append(_swelling(lower[third:-third], 0.45 * broad, 0.2, 0.2))
    else:
        result += [_swelling(np.concatenate([one.opening, one.opening[:1]]), 0.6 * broad, 0.8, 0.8)]
        half = len(one.lips) // 2
        result += [_swelling(part[2:-2], 0.5 * broad, 0.3, 0.3) for part in (one.lips[: half + 1], one.lips[half:])]
    if one.jaw is not None:
        result += _jaw(one, 0.7 * broad, skin)
    return result


def _swelling(points: Floats, width: float, begin: float, end: float) -> Line:
    """A stroke that is broadest in its middle; begin, end: how broad its ends are, in parts of that."""
    t = np.linspace(0, 1, len(points))
    body = np.sin(math.pi * t) ** 0.7
    ends = begin + (end - begin) * t
    return np.asarray(points, np.float32), width * (ends + (1 - ends) * body)


def _iris(eye: Eye) -> Line:
    """A disc between the lids, as one broad stroke across it."""
    edge = eye.seen_iris()
    above, below = edge[: len(edge) // 2], edge[len(edge) // 2 :][::-1]
    return np.asarray(0.5 * (above + below), np.float32), np.linalg.norm(below - above, axis=1)


def _brow(brow: Floats, broad: float) -> Line:
    half = len(brow) // 2
    above, below = brow[:half], brow[half:][::-1]
    many = min(len(above), len(below))
    above, below = above[:many], below[:many]
    thick = np.linalg.norm(above - below, axis=1)
    return np.asarray(0.5 * (above + below), np.float32), np.clip(thick, 0.5 * broad, 1.9 * broad)


def _jaw(one: Features, width: float, skin: Floats) -> list[Line]:
    """The parts of the jaw with skin on both sides: against anything else a face has a border already."""
    if one.jaw is None:
        return []
    middle = one.outline.mean(0)
    away = one.jaw - middle
    away = away / np.maximum(np.linalg.norm(away, axis=1), 1e-6)[:, None]
    both = np.minimum(*(pen.sampled(skin, one.jaw + k * 0.07 * one.width * away) for k in (-1, 1))) > 0.5
    first, counts, _ = runs.stretches(both, np.array([0, len(both)], np.int64), 8)
    return [_swelling(one.jaw[a : a + n], width, 0.2, 0.2) for a, n in zip(first.tolist(), counts.tolist(), strict=True)]


def _fixed(points: Floats) -> NDArray[np.int32]:
    return np.asarray(np.round(points * 16), np.int32)
