"""Ink: a brush and black ink laid on what is below, line and shadow in one.

Where a contour of the photo is, ink runs along it, as broad as the contour is strong; where the photo is dark, it closes to solid black.
The lines are a difference of Gaussians gathered along the contours and cut sharp (Kang, Lee & Chui 2009,
https://doi.org/10.1109/TVCG.2008.81; Winnemoeller, Kyprianidis & Olsen 2012, https://doi.org/10.1016/j.cag.2012.03.004).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from stylekit.hand import analysis
from stylekit.hand.analysis import Floats, blur, enlarged, resized, smoothstep
from stylekit.hand.palettes import colour_of
from stylekit.hand.sight import Sight
from stylekit.hand.subject.things import PEOPLE
from stylekit.hand.view import Layer, Nothing, View
from stylekit.ranges import check, ranged

OPENED = 0.55  # median light of the photo that is looked at
WIDER = 1.6  # the outer Gaussian in parts of the inner
STEP = 1.0  # pixels of one step along a contour
FINE = 3  # the plan is drawn so many times as large before it is cut
FACES = 1.15  # how much stronger the finer lines of faces count
LEAST_SIDE, MOST_SIDE = 6, 32_000  # pixels of a plan that has contours to follow
FIRM = 0.35  # how far over its beginning a line has to be somewhere, in parts of that
SOFT = 1.7  # pixels of the enlarged plan by which a border is softened before it is cut
THINNED = 0.4  # how much further into a line its border lies where almost nothing of the hand is wanted
NEAR, WIDE, LIGHT = 6.0, 45.0, 1.2  # units around a place of which it is the lit side, or not; how much stronger a contour has to be there
NIGHT = (0.025, 0.09)  # light of the unopened photo: what is darker has no details, what is lighter has all
ENDS = 0.5  # how sure it is that a thing ends, for a line to be there
LEVEL = 0.02  # of the difference of Gaussians at which a line of density 1 begins


@dataclass(frozen=True, kw_only=True)
class Ink:
    """weight: breadth of the lines in units. density: 0..1, how faint a contour may be to be drawn. length: in units, over which a line is
    gathered along its contour; longer is calmer. crumbs: in units, side of a square as large as the smallest blot on calm ground. texture:
    0..1, how far lines are left out where they crowd. black: CIE lightness of the photo, opened, below which all is ink, 0 for none.
    faces: 0..1, how much finer lines are on faces. figure: 0..1, how far ink is only on what the photo is of, on no one and on no words.
    beside: in units, how near to where a thing ends no ink is, which lines draw. lit: 0..1, how far the lit
    sides of things are left blank. ink: as #rrggbb. opacity: of the ink."""

    weight: float = ranged(1.2, 0.3, 8)
    density: float = ranged(0.5, 0, 1)
    length: float = ranged(14.0, 1, 80)
    crumbs: float = ranged(4.0, 0, 60)
    texture: float = ranged(0.5, 0, 1)
    black: float = ranged(0.0, 0, 60)
    faces: float = ranged(0.6, 0, 1)
    figure: float = ranged(0.0, 0, 1)
    beside: float = ranged(0.0, 0, 30)
    lit: float = ranged(0.0, 0, 1)
    ink: str = "#14141a"
    opacity: float = ranged(1.0, 0, 1)

    def __post_init__(self) -> None:
        check(self, "The ink's ")
        colour_of(self.ink, "The ink")


def plan_ink(view: View, settings: Ink, colours: Floats) -> Layer:
    """Ink by the view's photo; `colours` play no part."""
    shape = view.photo.shape[:2]
    if not view.amount.any() or settings.opacity == 0 or not LEAST_SIDE <= min(shape) <= max(shape) <= MOST_SIDE:
        return Nothing()
    return _Sheet(view, settings, cover(view, settings))


def cover(view: View, settings: Ink) -> Floats:
    """(FINE h, FINE w) in 0..1: above 0.5 there is ink."""
    unit = view.unit * view.detail
    light = np.asarray(np.clip(view.sight.lightness(OPENED), 0, 1), np.float32)
    even = cv2.createCLAHE(2.0, (6, 6)).apply(np.asarray(light * 255, np.uint8)).astype(np.float32) / 255
    seen = np.asarray(cv2.bilateralFilter(even, -1, 0.10, max(0.8, 2.2 * unit)), np.float32)
    face = np.asarray(view.sight.face_map() * np.float32(settings.faces), np.float32)
    angle = analysis.along(view.sight.tensor(max(1.5, 3.0 * unit), OPENED), 0)
    sigma, length = settings.weight * unit, settings.length * unit
    found = gathered(difference(seen, sigma), angle, length)
    if float(face.max()) > 0:
        fine = gathered(difference(seen, max(0.6, 0.55 * sigma)), angle, 0.6 * length)
        found = found + face * (FACES * fine - found)
    # what is everywhere is texture and no contour
    least = LEVEL * (1.6 - 1.5 * settings.density)
    busy = blur(np.asarray(np.abs(found) > 0.35 * least, np.float32), 9 * unit)
    needed = least * (1 + 3 * settings.texture * smoothstep(busy, 0.35, 0.9) * (1 - face))
    if settings.lit:
        # the lit side of a thing is left blank, the shaded one is worked out
        round_it = blur(light, WIDE * unit)
        needed = needed * (1 + LIGHT * settings.lit * smoothstep(blur(light, NEAR * unit) - round_it, -0.04, 0.10))
    if settings.figure:
        # what opening brings out of the dark is noise
        found = found * smoothstep(blur(view.sight.lightness(), 3 * unit), *NIGHT)
    ink = np.asarray(-found / needed - 1, np.float32)
    if settings.black:
        dark = analysis.guided(light, light, max(1, round(3 * unit)), 0.004) * 100
        ink = np.asarray(np.maximum(ink, (settings.black - dark) / 6), np.float32)
    if settings.figure:
        ink = np.asarray(np.minimum(ink, 2) - 4 * settings.figure * (1 - _told_by_ink(view.sight, unit)), np.float32)
    h, w = ink.shape
    size = w * FINE, h * FINE
    up = blur(resized(np.clip(ink, -2, 2), size, cv2.INTER_CUBIC), 0.4 * FINE)
    drawn = without_blots(up, settings.crumbs * unit * FINE, resized(face, size, cv2.INTER_LINEAR))
    if settings.beside:
        side = 2 * max(1, round(settings.beside * unit)) + 1
        ends = np.asarray(cv2.dilate(view.sight.contours(), np.ones((side, side), np.uint8)) > ENDS, np.uint8)
        drawn &= ~_mostly(drawn, cv2.resize(ends, size, interpolation=cv2.INTER_NEAREST) > 0)
    return blur(np.asarray(drawn, np.float32), SOFT)


def _told_by_ink(sight: Sight, unit: float) -> Floats:
    """(h, w) in 0..1: what a photo is of, but for people, skin, faces and words."""
    people = np.maximum(sight.things().of(PEOPLE), sight.foreground() if sight.skin().any() else 0)
    bare = np.maximum.reduce([sight.skin(), sight.face_map(), people, sight.letters().place()])
    return np.asarray(smoothstep(sight.figure(), 0.3, 0.7) * (1 - smoothstep(blur(bare, unit), 0.2, 0.5)), np.float32)


def _mostly(drawn: NDArray[np.bool_], place: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pieces of `drawn` that lie in `place` for more than half."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats(np.asarray(drawn, np.uint8), connectivity=8)
    inside = np.bincount(parts.ravel(), place.ravel(), count) > 0.5 * stats[:, cv2.CC_STAT_AREA]
    inside[0] = False
    return np.asarray(inside[parts], bool)


def difference(light: Floats, sigma: float) -> Floats:
    """(h, w) difference of Gaussians: below 0 on the dark side of a contour and on dark lines."""
    return blur(light, sigma) - blur(light, WIDER * sigma)


def gathered(plane: Floats, angle: Floats, length: float) -> Floats:
    """(h, w) averaged along the contours of `angle`, over `length` pixels both ways together."""
    h, w = plane.shape
    ys, xs = np.mgrid[0:h, 0:w].astype(np.float32)
    across, down = np.cos(angle), np.sin(angle)
    total: Floats = plane.copy()
    weight = 1.0
    steps = max(1, round(length / 2 / STEP))
    for sign in (1.0, -1.0):
        x, y = xs.copy(), ys.copy()
        dx, dy = np.float32(sign) * across, np.float32(sign) * down
        for i in range(1, steps + 1):
            x += STEP * dx
            y += STEP * dy
            ax = cv2.remap(across, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT)
            ay = cv2.remap(down, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT)
            turn = np.where(ax * dx + ay * dy < 0, np.float32(-1), np.float32(1))
            dx, dy = np.asarray(ax * turn, np.float32), np.asarray(ay * turn, np.float32)
            share = math.exp(-2 * (i / steps) ** 2)
            seen = cv2.remap(plane, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
            total += np.asarray(np.float32(share) * seen, np.float32)
            weight += share
    return np.asarray(total / np.float32(weight), np.float32)


def without_blots(plane: Floats, side: float, face: Floats) -> NDArray[np.bool_]:
    """Where `plane` is over 0, but for pieces smaller than a square of `side` pixels, or faint throughout, and with holes as small filled.

    On faces, (h, w) in 0..1, small pieces stay."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats(np.asarray(plane > 0, np.uint8), connectivity=8)
    area = stats[:, cv2.CC_STAT_AREA]
    on_face = np.bincount(parts.ravel(), (face > 0.4).ravel(), count) > 0.5 * area
    firm = np.bincount(parts.ravel(), (plane > FIRM).ravel(), count) > 0.03 * area
    keep = (firm & (area >= side**2)) | (on_face & (area >= 0.1 * side**2))
    keep[0] = False
    result = keep[parts]
    count, parts, stats, _ = cv2.connectedComponentsWithStats(np.asarray(~result, np.uint8), connectivity=4)
    holes = stats[:, cv2.CC_STAT_AREA] < 0.15 * side**2
    holes[0] = False
    return np.asarray(result | holes[parts], bool)


class _Sheet:
    """Where ink is, ready to be cut at any size."""

    def __init__(self, view: View, settings: Ink, cover: Floats) -> None:
        self.size, self.amount, self.cover = view.size, view.amount, cover
        self.ink, self.opacity = colour_of(settings.ink, "The ink"), settings.opacity
        # a border is as sharp as a pixel of the result
        self.steep = np.float32(math.sqrt(2 * math.pi) * SOFT * max(view.scale, 0.5) / FINE)

    def apply(self, canvas: Floats, top: int) -> Floats:
        rows = len(canvas)
        amount = enlarged(self.amount, self.size, top, rows)
        # where less is wanted the lines are thinner, and the thin ones gone
        level = 0.5 + THINNED * (1 - amount)
        ink = np.clip((enlarged(self.cover, self.size, top, rows) - level) * self.steep + 0.5, 0, 1)
        ink = ink * np.float32(self.opacity) * np.minimum(4 * amount, 1)
        return np.asarray(canvas + ink[..., None] * (self.ink - canvas), np.float32)
