"""Which way brush strokes lie on a thing: parallel on each surface, as its borders and its shape have it; free only where things move, as
air, leaves and water do."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from stylekit.hand.analysis import Floats, blur, edges, resized, smoothstep, to_lab
from stylekit.hand.areas.merging import merged
from stylekit.hand.areas.regions import Labels, calmed, flooded, measured
from stylekit.hand.sight import Sight

AREA = 176 * 176  # pixels of the copy that is looked at
OPENED = 0.5  # median light of the photo that is looked at
SURFACES = 26  # into which a photo is parted, about
LARGE = 0.03  # share of the picture; what is smaller is no sky
LEANS = (18.0, 68.0, -24.0, -62.0)  # degrees; surfaces without a direction of their own, from dark to light in turn


@dataclass(frozen=True)
class Form:
    """way: (h, w, 2) doubled-angle unit vectors along which strokes lie on the surfaces. moves: (h, w) in 0..1, sky, leaves and water. sky:
    the same for the sky alone. All are small."""

    way: Floats
    moves: Floats
    sky: Floats

    @classmethod
    def of(cls, sight: Sight, unit: float) -> Form:
        """unit: pixels of sight's photo."""
        h, w = sight.photo.shape[:2]
        smaller = min(1.0, math.sqrt(AREA / (h * w)))
        size = max(1, round(w * smaller)), max(1, round(h * smaller))
        if min(size) < 24:
            none = np.zeros((1, 1), np.float32)
            return cls(np.dstack([none + 1, none]), none, none)
        small = resized(sight.opened(OPENED), size)
        lab = to_lab(small)
        calm = calmed(lab, max(1.0, 2.5 * unit * smaller))
        fine = flooded(calm, 6.0)
        labels = merged(measured(fine, calm, np.ones(fine.shape, np.float32)), SURFACES)
        soft = 3.0 * unit * smaller
        way = blur(_ways(sight, labels, lab, unit)[labels], soft)
        way /= np.hypot(way[..., 0], way[..., 1])[..., None] + np.float32(1e-6)
        moves, sky = _moving(labels, lab)
        return cls(way, blur(moves[labels], soft), blur(sky[labels], soft))


def _ways(sight: Sight, labels: Labels, lab: Floats, unit: float) -> Floats:
    """(n, 2) doubled-angle vectors along which strokes lie on each of the surfaces."""
    h, w = labels.shape
    flat, n = labels.ravel(), int(labels.max()) + 1

    def summed(plane: Floats) -> Floats:
        return np.asarray(np.bincount(flat, plane.ravel(), n), np.float32)

    mass = np.maximum(np.bincount(flat, minlength=n), 1)
    xx, xy, yy = (summed(resized(part, (w, h))) for part in sight.tensor(4 * unit, OPENED))
    power = xx + yy + np.float32(1e-9)
    borders = np.stack([yy - xx, -2 * xy], 1) / power[:, None]
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    cx, cy = summed(x) / mass, summed(y) / mass
    dx, dy = x - cx[labels], y - cy[labels]
    across, down, skew = summed(dx * dx), summed(dy * dy), summed(dx * dy)
    shape = np.stack([across - down, 2 * skew], 1) / (across + down + 1e-9)[:, None]
    light = summed(lab[..., 0]) / mass
    turn = np.radians(2 * np.array(LEANS))[np.argsort(np.argsort(light, kind="stable"), kind="stable") % len(LEANS)]
    lean = np.stack([np.cos(turn), np.sin(turn)], 1)
    total = 1.3 * borders + 0.5 * shape + 0.22 * lean
    return np.asarray(total / (np.linalg.norm(total, axis=1, keepdims=True) + 1e-6), np.float32)


def _moving(labels: Labels, lab: Floats) -> tuple[Floats, Floats]:
    """(n,) in 0..1 twice: how far each of the surfaces is sky, leaves or water, by colour, texture and place, and how far it is sky."""
    h, w = labels.shape
    n = int(labels.max()) + 1
    mass = np.maximum(np.bincount(labels.ravel(), minlength=n), 1)
    light, a, b = (np.bincount(labels.ravel(), lab[..., i].ravel(), n) / mass for i in range(3))
    slope = edges(np.asarray(lab[..., 0] / 100, np.float32), 0.8)
    # within a surface: its border is no texture
    inner = cv2.erode(
        np.asarray(cv2.morphologyEx(labels.astype(np.float32), cv2.MORPH_GRADIENT, np.ones((3, 3))) == 0, np.uint8), np.ones((3, 3))
    )
    rough = np.bincount(labels.ravel(), (slope * inner).ravel(), n) / np.maximum(np.bincount(labels.ravel(), inner.ravel(), n), 1)
    top = np.bincount(labels[0], minlength=n) / w
    wide = np.array([len(np.unique(np.nonzero(labels == i)[1])) for i in range(n)]) / w
    low = np.bincount(labels.ravel(), np.repeat(np.arange(h), w), n) / mass / h
    large = smoothstep(mass / (h * w), 0.3 * LARGE, LARGE)
    # a pale or a deep blue: a grey wall is bluish too
    blue = smoothstep(a, 12, 4) * np.maximum(smoothstep(b, -1, -7) * smoothstep(light, 54, 63), smoothstep(b, -11, -17))
    pale = smoothstep(light, 66, 78) * smoothstep(a, 6, 3) * smoothstep(b, 9, 4)
    night = smoothstep(light, 22, 12) * smoothstep(b, 3, 0)
    even = smoothstep(rough, 0.028, 0.014)
    hangs = np.maximum(smoothstep(top, 0.05, 0.2), smoothstep(wide, 0.75, 0.95)) * smoothstep(low, 0.6, 0.45)
    sky = np.maximum(np.maximum(blue, 0.8 * pale), 0.6 * night) * even * hangs * large
    leaves = smoothstep(a, -3, -9) * smoothstep(b, 4, 12) * smoothstep(rough, 0.012, 0.03) * large
    water = smoothstep(b, 1, -5) * smoothstep(a, 4, -2) * smoothstep(wide, 0.55, 0.8) * smoothstep(low, 0.3, 0.5) * large
    moves = np.clip(np.maximum(np.maximum(sky, leaves), 0.7 * water), 0, 1)
    return np.asarray(moves, np.float32), np.asarray(sky, np.float32)
