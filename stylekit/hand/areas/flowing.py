"""A photo drawn out along its own contours: fur into locks, waves into bands, edges clean and unbroken.

Smoothing along the contours and sharpening across them take turns (coherence-enhancing filtering, Kyprianidis & Kang 2011,
https://doi.org/10.1111/j.1467-8659.2011.01882.x).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from stylekit.hand.analysis import Floats, along, blur

PASSES = 4  # turns of smoothing and sharpening
ACROSS = 1.2  # pixels by which an edge is sharpened in one turn
KERNEL = (5 / 16, 15 / 64, 7 / 64)  # of a step: the place itself, and those one and two steps away on each side
TURNS = 2  # of steps, after which colour is gathered over the length
FLAT = 0.15  # CIE lightness per pixel squared; what bends less is no edge


def flowing(lab: Floats, reach: float, length: float, passes: int = PASSES) -> Floats:
    """(h, w, 3) CIE Lab drawn out along its contours.

    reach: pixels over which contours agree in direction. length: pixels over which colour is gathered to each side along a contour."""
    if min(lab.shape[:2]) < 8 or length < 1:
        return lab
    result = np.ascontiguousarray(lab, np.float32)
    across, down = _directions(result, reach)
    for _ in range(passes):
        result = _gathered(result, across, down, length)
        result = _sharpened(result, across, down)
        across, down = _directions(result, reach)
    return _gathered(result, across, down, 0.4 * length)


def _directions(lab: Floats, reach: float) -> tuple[Floats, Floats]:
    """Of the contours of all three channels: (h, w) steps of length 1 to the right and down."""
    xs = cv2.Scharr(lab, cv2.CV_32F, 1, 0, scale=1 / 32, borderType=cv2.BORDER_REFLECT) / 100
    ys = cv2.Scharr(lab, cv2.CV_32F, 0, 1, scale=1 / 32, borderType=cv2.BORDER_REFLECT) / 100
    every = np.ones((1, 3), np.float32)
    xx, xy, yy = (blur(np.asarray(cv2.transform(cv2.multiply(a, b), every), np.float32), reach) for a, b in ((xs, xs), (xs, ys), (ys, ys)))
    angle = along((xx, xy, yy), 0)
    return np.cos(angle), np.sin(angle)


def _grid(lab: Floats) -> tuple[Floats, Floats]:
    h, w = lab.shape[:2]
    x, y = np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32))
    return x, y


def _at(array: Floats, x: Any, y: Any) -> Floats:
    return np.asarray(cv2.remap(array, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _gathered(lab: Floats, across: Floats, down: Floats, length: float) -> Floats:
    """The mean along the contour through each pixel: a Gaussian of `length` / 2, in short straight steps that follow a curve."""
    step = np.float32(length / 3.3)
    x, y = _grid(lab)
    maps = [
        cv2.convertMaps(x + far * step * across, y + far * step * down, cv2.CV_16SC2) for far in (np.float32(f) for f in (-2, -1, 1, 2))
    ]
    for _ in range(TURNS):
        around = [_at(lab, *pair) for pair in maps]
        near, far = cv2.add(around[1], around[2]), cv2.add(around[0], around[3])
        lab = np.asarray(cv2.scaleAdd(far, KERNEL[2], cv2.addWeighted(lab, KERNEL[0], near, KERNEL[1], 0)), np.float32)
    return lab


def _sharpened(lab: Floats, across: Floats, down: Floats) -> Floats:
    """Every pixel takes the colour of the side of the nearest edge on which it lies."""
    light = blur(np.ascontiguousarray(lab[..., 0]), ACROSS)
    xx, yy, xy = (
        cv2.Sobel(light, cv2.CV_32F, a, b, ksize=5, scale=s, borderType=cv2.BORDER_REFLECT)
        for a, b, s in ((2, 0, 1.0), (0, 2, 1.0), (1, 1, 1.0))
    )
    # along the slope, that is across the contour
    bend = down * down * xx - 2 * across * down * xy + across * across * yy
    x, y = _grid(lab)
    one, other = (_at(lab, *cv2.convertMaps(x - s * down, y + s * across, cv2.CV_16SC2)) for s in (np.float32(ACROSS), np.float32(-ACROSS)))
    lighter = one[..., 0] > other[..., 0]
    own = lab[..., 0]
    # on the light side the lighter of the two neighbours, if it is lighter than the place itself; on the dark side the darker
    rise, fall = np.maximum(one[..., 0], other[..., 0]) > own, np.minimum(one[..., 0], other[..., 0]) < own
    up, away = (bend < -FLAT) & rise, (bend > FLAT) & fall
    first = (up & lighter) | (away & ~lighter)
    second = (up & ~lighter) | (away & lighter)
    result = lab.copy()
    np.copyto(result, one, where=first[..., None])
    np.copyto(result, other, where=second[..., None])
    return result
