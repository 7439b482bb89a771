"""Words in a photo: where they are, and the shapes of their letters.

Told by the network that finds lines of text in PP-OCR (Du et al. 2020, https://arxiv.org/abs/2009.09941; Apache License 2.0,
assets/letters), after Liao et al. 2020 (https://arxiv.org/abs/1911.08947). What is written is not read: within a line, what differs most
from what lies around it is letters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from stylekit.hand.analysis import Floats, resized, to_lab
from stylekit.hand.subject import networks
from stylekit.hand.subject.foreground import SMALLEST

FILE, SIDE, STEP = "letters/letters.onnx", 640, 32  # in assets; long side of what it looks at, whose sides are multiples of this
SEEN, SURE = 0.3, 0.55  # what it says of a place that may be part of a line, and on the mean of one
GROWN = 1.6  # how far a line reaches beyond what it says, in its area over its outline (Liao et al.)
LOW = 9.0  # pixels of the photo; a lower line cannot be read
PARTED = 0.72  # share of the variance of colour within a line by which letters and their ground differ
THIN, BOLD = 0.08, 0.62  # share of a line that its letters are
CLEAR = 16.0  # CIE Lab between the two at least
CRUMBS, PIECE = (4, 14), 0.15  # pieces for each letter, and besides, that are texture; share of the largest piece that a letter has
ALONE = 0.03  # share of the picture of a line of a single letter that is none


@dataclass(frozen=True, kw_only=True)
class Letters:
    """lines: (h, w) the number of the line of text at each place, from 1; 0 for none. ink: (h, w) in 0..1, how much of a place a letter
    covers. light: (n,) by line, whether its letters are lighter than their ground; high: (n,) pixels from its foot to its top."""

    lines: NDArray[np.int32]
    ink: Floats
    light: tuple[bool, ...]
    high: tuple[float, ...]

    def place(self) -> Floats:
        """(h, w) 1 within lines, 0 elsewhere."""
        return np.asarray(self.lines > 0, np.float32)


def letters(photo: Floats) -> Letters:
    """Of (h, w, 3) sRGB, those that are high enough to be read and plain to see."""
    h, w = photo.shape[:2]
    lines, ink = np.zeros((h, w), np.int32), np.zeros((h, w), np.float32)
    light: list[bool] = []
    high: list[float] = []
    if min(h, w) >= SMALLEST:
        lab = to_lab(photo)
        for outline, height in _found(photo):
            inside = np.zeros((h, w), np.uint8)
            cv2.fillPoly(inside, [outline], 1)
            shape = _shape(lab, inside > 0, outline)
            if shape is not None and not (lines[inside > 0] > 0).any():
                covered, lighter = shape
                light.append(lighter)
                high.append(height)
                lines[inside > 0] = len(light)
                ink[inside > 0] = covered
    return Letters(lines=lines, ink=ink, light=tuple(light), high=tuple(high))


def _found(photo: Floats) -> list[tuple[NDArray[np.int32], float]]:
    """Outlines (4, 2) in pixels of lines of text in (h, w, 3) sRGB, the largest first, and how high each is."""
    h, w = photo.shape[:2]
    size = tuple(max(STEP, STEP * round(n * SIDE / max(h, w) / STEP)) for n in (w, h))
    square = np.clip(resized(photo, (size[0], size[1])), 0, 1)[..., ::-1]
    told = networks.run(FILE, np.asarray(square / 0.5 - 1, np.float32))[0].reshape(size[1], size[0])
    per = np.array([w / size[0], h / size[1]], np.float32)
    outlines, _ = cv2.findContours(np.asarray(told > SEEN, np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    result = []
    for outline in outlines:
        middle, (wide, low), turn = cv2.minAreaRect(outline)
        mask = np.zeros(told.shape, np.uint8)
        cv2.fillPoly(mask, [outline], 1)
        if min(wide, low) < 2 or float(told[mask > 0].mean()) < SURE:
            continue
        room = GROWN * wide * low / (2 * (wide + low))
        corners = cv2.boxPoints((middle, (wide + 2 * room, low + 2 * room), turn)) * per
        height = (min(wide, low) + 2 * room) * math.sqrt(float(per[0] * per[1]))
        if height >= LOW:
            result.append((np.round(corners).astype(np.int32), height))
    return sorted(result, key=lambda found: -found[1])


def _shape(lab: Floats, inside: NDArray[np.bool_], outline: NDArray[np.int32]) -> tuple[Floats, bool] | None:
    """How much of each pixel inside a line of text in (h, w, 3) Lab a letter covers, in 0..1, and whether letters are lighter than their
    ground; None where two colours are not told apart."""
    colours = lab[inside]
    if len(colours) < 40:
        return None
    away = colours - colours.mean(0)
    # the direction in which they differ most
    _, vectors = np.linalg.eigh(away.T @ away)
    along = np.asarray(away @ vectors[:, -1], np.float64)
    level = float(threshold_otsu(along))
    one = along > level
    means = along[one].mean() if one.any() else 0, along[~one].mean() if (~one).any() else 0
    share = float(one.mean())
    spread = share * (1 - share) * (means[0] - means[1]) ** 2 / max(float(along.var()), 1e-9)
    rim = np.zeros(inside.shape, np.uint8)
    cv2.polylines(rim, [outline], True, 1, 2)
    # what lies along the rim of a line is its ground
    if one[rim[inside] > 0].mean() > 0.5:
        one, share, means = ~one, 1 - share, (means[1], means[0])
    if spread < PARTED or not THIN < share < BOLD:
        return None
    lighter, ground = colours[one].mean(0), colours[~one].mean(0)
    if float(np.linalg.norm(lighter - ground)) < CLEAR:
        return None
    if _crumbled(inside, one):
        return None
    covered = np.clip(0.5 + (along - level) / (means[0] - means[1]), 0, 1)
    return covered.astype(np.float32), bool(lighter[0] > ground[0])


def _crumbled(inside: NDArray[np.bool_], one: NDArray[np.bool_]) -> bool:
    """Whether what is `one` of the pixels inside a line is too crumbled to be letters, as fur and grass are, or one large thing."""
    mask = np.zeros(inside.shape, np.uint8)
    mask[inside] = one
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    many = int((areas > PIECE * areas.max()).sum())
    return len(areas) > CRUMBS[0] * many + CRUMBS[1] or (many == 1 and inside.mean() > ALONE)
