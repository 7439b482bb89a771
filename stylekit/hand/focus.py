"""What the eye is drawn to in a photo, so that a drawing can be loud there and quiet around it."""

from __future__ import annotations

import math

import cv2
import numpy as np

from stylekit.hand import analysis
from stylekit.hand.analysis import Floats
from stylekit.hand.sight import Sight

OPENED = 0.5  # median light of the photo that is looked at
AREA = 256 * 256  # pixels of the copy that is looked at: nothing of it is fine
AROUND, LOUDEST = 0.6, 0.6  # how much less counts what is around a figure; what is looked at there, whatever its rank
FEW, MANY = 0.03, 0.15  # share of the picture of a figure that is part of a scene, and of one that the picture is of
SPECK = (0.008, 0.02)  # the same of a speck, for which nothing around it need be quiet, and of more than that
QUIET, LOUD = 0.35, 0.85  # shares of a picture: what stands out less than the one is quiet, more than the other is looked at


def prominence(sight: Sight, focus: float, margin: float, unit: float) -> Floats:
    """(h, w) in 0..1: what the eye is drawn to in a photo: sharp, contrasting things, faces and what is around them, the middle.

    focus: 0..1, how much quieter the rest is. margin: 0..1, how much it runs out towards the edges. unit: pixels of the photo."""
    h, w = sight.photo.shape[:2]
    salience, across, down = _salience(sight, unit)
    result = 1 - focus * (1 - analysis.smoothstep(salience, 0.08, 0.6))
    if margin:
        # an uneven edge, some of it far in, none of it straight
        far = np.maximum(np.abs(across), np.abs(down)) ** 2 * 0.5 + 0.5 * np.hypot(across, down) / math.sqrt(2)
        edge = analysis.smoothstep(far - 0.25 * (salience - 0.3), 1.02 - 0.1 * margin, 0.98 - 0.5 * margin)
        result = result * (1 - margin + margin * edge)
    return analysis.resized(np.asarray(np.clip(result, 0, 1), np.float32), (w, h), cv2.INTER_LINEAR)


def attention(sight: Sight, unit: float) -> Floats:
    """(h, w) in 0..1: how much a painter looks at a place. By rank, so that every picture has its quiet and its worked part: a third of it
    is 0; a seventh, and faces, are 1. unit: pixels of the photo."""
    h, w = sight.photo.shape[:2]
    salience, _, _ = _salience(sight, unit)
    low, high = (float(v) for v in np.quantile(salience, [QUIET, LOUD]))
    result = analysis.smoothstep(salience, low, max(high, low + 0.05, LOUDEST if sight.figure().any() else 0))
    result = np.maximum(result, analysis.resized(sight.face_map(), (result.shape[1], result.shape[0])))
    return analysis.resized(result, (w, h), cv2.INTER_LINEAR)


def figured(figure: Floats, few: float = FEW, many: float = MANY) -> float:
    """0..1: how far a picture is one of its (h, w) figure in 0..1, and not of the scene in which that is. few, many: shares of the picture
    of a figure up to which it is 0, and from which on 1."""
    return float(analysis.smoothstep(np.asarray([figure.mean()], np.float32), few, many)[0])


def _salience(sight: Sight, unit: float) -> tuple[Floats, Floats, Floats]:
    """How much places stand out, about 0..1, on a small copy of the photo; how far they are from the middle across and down, -1..1."""
    h, w = sight.photo.shape[:2]
    smaller = min(1.0, math.sqrt(AREA / (h * w)))
    size = max(1, round(w * smaller)), max(1, round(h * smaller))
    unit *= smaller
    face = analysis.resized(sight.face_map(), size)
    ys, xs = np.mgrid[0 : size[1], 0 : size[0]].astype(np.float32)
    across, down = (xs + 0.5) / size[0] * 2 - 1, (ys + 0.5) / size[1] * 2 - 1
    middle = np.exp(-(across**2 + down**2) / 0.75)
    # how a place stands out from the picture's mean colour, and how sharp it is
    soft = analysis.blur(analysis.to_lab(analysis.resized(sight.opened(OPENED), size)), 6 * unit)
    away = np.sqrt((((soft - soft.reshape(-1, 3).mean(0)) * np.array([0.6, 1, 1], np.float32)) ** 2).sum(-1))
    sharp = analysis.blur(analysis.resized(sight.edges(0.9, OPENED), size), 9 * unit)

    def norm(a: Floats) -> Floats:
        return np.asarray(np.clip(a / max(float(np.percentile(a, 97)), 1e-6), 0, 1), np.float32)

    salience = norm((0.45 * norm(away) + 0.65 * norm(sharp)) * (0.35 + 0.65 * middle))
    figure = analysis.resized(sight.figure(), size)
    soften = 10 * unit
    if figure.any():
        soften = 5 * unit
        # where it is plain what a photo is of, the rest is what lies around it
        salience = np.maximum((1 - AROUND * figured(figure)) * salience, figure * (0.85 + 0.15 * salience))
    return analysis.blur(np.maximum(salience, analysis.blur(face, 12 * unit) * 1.2), soften), across, down
