"""What brush strokes look at: where the eye goes, where it is calm, where borders are, and what there is to paint as seen by a brush of a
certain width."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from stylekit.hand.analysis import Floats, agreement, blur, face_map, resized, smoothstep, to_lab
from stylekit.hand.focus import attention
from stylekit.hand.marks.form import Form
from stylekit.hand.sight import Sight
from stylekit.hand.view import View

OPENED = 0.5  # median light of the photo in which thin and upright things are looked for
UPRIGHT = 48.0  # units around a place in which level contours have to outweigh upright ones
PATCH = 42.0  # units across of places where borders are lost, and kept
THIN = 7.0  # units; what is wider is not thin
SMALL_FACE = 100.0  # units across
BLOCKED = 13.0  # units; what is smaller is left out where the eye does not go
OFFSET = np.array([0, 128, 128], np.float32)  # Lab in bytes
FACTOR = np.array([2.55, 1, 1], np.float32)


@dataclass(frozen=True)
class Scene:
    """What all layers of strokes look at, at the plan's size."""

    wanted: Floats  # (h, w, 3) Lab of what is to be painted
    blocked: Floats  # the same in large patches, of half the size
    edge: Floats
    near_edge: Floats  # the same, blurred
    busy: Floats
    face: Floats  # small faces, and large ones by half: what is large needs no finer brush
    room: Floats  # pixels to the next strong border
    quiet: Floats  # 0 where the eye is drawn to, 1 where it rests
    ground: Floats  # 0..1: floor, meadow, water
    thin: Floats  # 0..1: a mast, a wire, a twig: far longer than wide, and of another tone than both its sides
    breadth: Floats  # pixels from the middle of such a thing to its border
    lost: Floats  # 0..1: where a border need not be seen, here and there
    unit: float
    sight: Sight

    @classmethod
    def of(cls, view: View, colours: Floats) -> Scene:
        edge = view.sight.edges(1.2)
        thick = cv2.dilate(edge, np.ones((3, 3), np.uint8))
        border = (edge > 0.045) & (edge > 0.75 * thick)
        # no stroke belongs to the figure and to the ground
        figure = np.asarray(view.sight.figure() > 0.5, np.uint8)
        border |= cv2.erode(figure, np.ones((3, 3), np.uint8)) < figure
        room = cv2.distanceTransform(np.asarray(~border, np.uint8), cv2.DIST_L2, 3)
        busy = smoothstep(blur(view.sight.edges(0.8), 5 * view.unit), 0.010, 0.075)
        quiet = 1 - attention(view.sight, view.unit)
        wanted = to_lab(colours)
        ground = _ground(view, quiet)
        blocked = in_patches(wanted, BLOCKED * view.unit)
        boxes = view.sight.faces()
        small = face_map(view.photo, [box for box in boxes if box[2] < SMALL_FACE * view.unit])
        face = np.asarray(0.65 * small + 0.35 * view.sight.face_map(), np.float32)
        thin, breadth = _thin(view)
        near = blur(edge, 1.5 * view.unit)
        lost = _lost(view, near, quiet, face)
        return cls(
            wanted, blocked, edge, near, busy, face, np.minimum(room, 1e4), quiet, ground, thin, breadth, lost, view.unit, view.sight
        )

    @functools.cached_property
    def headings(self) -> dict[tuple[float, ...], Floats]:
        """Directions of strokes by the settings that they come of."""
        return {}

    @functools.cached_property
    def form(self) -> Form:
        return Form.of(self.sight, self.unit)

    @functools.cached_property
    def lights(self) -> Floats:
        """(h, w) in 0..1: the lights of a picture, where paint is thickest: lighter than what is around them, first where the eye goes."""
        light = self.wanted[..., 0]
        above = light - blur(light, 9 * self.unit)
        bright = smoothstep(light, float(np.quantile(light[::4, ::4], 0.45)), float(np.quantile(light[::4, ::4], 0.8)) + 1)
        return np.asarray(smoothstep(above, 4, 12) * bright * (1 - 0.7 * self.quiet) * (1 - 0.6 * self.face), np.float32)

    def seen_by(self, width: float, loose: float) -> Floats:
        """(h, w, 3) Lab, at the plan's size or half of it, as a brush `width` pixels wide sees it: smaller things are gone, but nothing is
        averaged across a border (a median). loose: 0..1, how far all is left out but large patches where the eye does not go."""
        seen = median(self.wanted, width * 0.7)
        if loose <= 0:
            return seen
        size = seen.shape[1], seen.shape[0]
        share = resized(self.quiet, size)[..., None] * np.float32(loose)
        return np.asarray(seen + share * (resized(self.blocked, size, cv2.INTER_LINEAR) - seen), np.float32)


def _lost(view: View, near_edge: Floats, quiet: Floats, face: Floats) -> Floats:
    """(h, w) in 0..1: how far a border may be painted over: faint ones, away from the focus, and others in patches."""
    h, w = quiet.shape
    rng = np.random.default_rng([view.seed & 0xFFFFFFFF, 7703])
    size = PATCH * view.unit
    knots = rng.random((math.ceil(h / size) + 2, math.ceil(w / size) + 2)).astype(np.float32)
    patches = smoothstep(np.asarray(cv2.resize(knots, (w, h), interpolation=cv2.INTER_CUBIC), np.float32), 0.35, 0.7)
    faint = smoothstep(near_edge, 0.06, 0.02)
    return np.asarray(np.clip(0.55 * faint + 0.3 * quiet + 0.55 * patches, 0, 1) * (1 - face) * (0.4 + 0.6 * quiet), np.float32)


def _ground(view: View, quiet: Floats) -> Floats:
    """(h, w) in 0..1: the quiet lower part of a picture, but for what stands upright in it, such as somebody's shoulders."""
    xx, _, yy = view.sight.tensor(UPRIGHT * view.unit, OPENED)
    upright = xx / (xx + yy + np.float32(1e-6))
    result = smoothstep(np.linspace(0, 1, len(quiet), dtype=np.float32)[:, None], 0.45, 0.75) * quiet * smoothstep(upright, 0.5, 0.3)
    for x, y, width, _ in view.sight.faces():
        result[y:, max(0, x - 2 * width) : x + 3 * width] = 0
    return blur(np.asarray(result, np.float32), 12 * view.unit)


def _thin(view: View) -> tuple[Floats, Floats]:
    """(h, w) where long thin things are, and how far their borders are from there."""
    light = view.sight.lightness(OPENED)
    side = max(3, round(THIN * view.unit) | 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    stands = np.maximum(cv2.morphologyEx(light, cv2.MORPH_BLACKHAT, kernel), cv2.morphologyEx(light, cv2.MORPH_TOPHAT, kernel))
    # of one direction, and alone: no texture
    alone = smoothstep(blur(np.asarray(stands > 0.08, np.float32), 12 * view.unit), 0.4, 0.2)
    lone = agreement(view.sight.tensor(3.5 * view.unit))
    thin = smoothstep(stands, 0.08, 0.16) * alone * smoothstep(lone, 0.6, 0.85) * (1 - view.sight.face_map())
    breadth = cv2.distanceTransform(np.asarray(stands > 0.06, np.uint8), cv2.DIST_L2, 3)
    return np.asarray(thin, np.float32), np.asarray(breadth, np.float32)


def median(lab: Floats, size: float) -> Floats:
    """(h, w, 3) Lab, of the same or half the size, each channel the median over `size` pixels across."""
    odd = min(31, int(size) | 1)
    if odd < 3:
        return lab
    packed = _packed(lab)
    h, w = packed.shape[:2]
    if odd >= 7 and min(h, w) >= 64:
        packed, odd = np.asarray(cv2.resize(packed, (w // 2, h // 2), interpolation=cv2.INTER_AREA), np.uint8), odd // 2 | 1
    return _unpacked(np.asarray(cv2.medianBlur(packed, odd), np.uint8))


def in_patches(lab: Floats, size: float) -> Floats:
    """(h, w, 3) Lab, of half the size, in patches no finer than `size` pixels."""
    h, w = lab.shape[:2]
    part = 4 if min(h, w) >= 128 else 1
    small = _packed(np.asarray(cv2.resize(lab, (w // part, h // part), interpolation=cv2.INTER_AREA), np.float32))
    odd = int(np.clip(int(size / part) | 1, 3, 31))
    for _ in range(2):
        small = np.asarray(cv2.medianBlur(small, odd), np.uint8)
    return resized(_unpacked(small), (max(1, w // 2), max(1, h // 2)), cv2.INTER_CUBIC)


def _packed(lab: Floats) -> NDArray[np.uint8]:
    return np.asarray(np.clip(lab * FACTOR + OFFSET, 0, 255), np.uint8)


def _unpacked(packed: NDArray[np.uint8]) -> Floats:
    return np.asarray((packed.astype(np.float32) - OFFSET) / FACTOR, np.float32)
