"""What stands before the ground, cut out cleanly: people first of all, and a thing or an animal where it is as plain to see.

Told by MediaPipe's selfie segmentation (Apache License 2.0, assets/faces), a small network after MobileNetV3 (Howard et al. 2019,
https://arxiv.org/abs/1905.02244) that looks at the whole photo at once. It was made for people, and is sure of much else that is
near, sharp and in one piece; what it wavers about is left to the network of subject/figure.py.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from stylekit.hand.analysis import Box, Floats, guided, lightness, resized, smoothstep
from stylekit.hand.subject import networks

FILE, SIDE = "faces/selfie_segmentation.tflite", 256  # in assets, and the side of the square it looks at
AREA = 400 * 400  # pixels of the copy in which the border is fitted to the photo's edges
SMALLEST = 32  # pixels; in a smaller photo nothing is looked for
DOUBT, LOW, SURE = 0.15, 0.45, 0.8  # of what the network says
WAVERING = 0.45  # of what it is sure of, that may be in doubt where no face is seen
LEAST, MOST = 0.01, 0.75  # share of the picture


def foreground(photo: Floats, boxes: list[Box]) -> Floats:
    """(h, w) in 0..1: how surely each place of (h, w, 3) sRGB is part of what stands before the ground; 0 where that is in doubt.

    photo: with its dark tones opened. boxes: faces (x, y, width, height) in it."""
    h, w = photo.shape[:2]
    nothing = np.zeros((h, w), np.float32)
    if min(h, w) < SMALLEST:
        return nothing
    told = networks.run(FILE, np.clip(resized(photo, (SIDE, SIDE)), 0, 1))[0].reshape(SIDE, SIDE)
    sure = told > SURE
    if not np.isfinite(told).all() or not LEAST < sure.mean() < MOST:
        return nothing
    middles = [(min(SIDE - 1, int((y + b / 2) * SIDE / h)), min(SIDE - 1, int((x + a / 2) * SIDE / w))) for x, y, a, b in boxes]
    known = any(told[max(0, row), max(0, column)] > LOW for row, column in middles)
    if not known and ((told > DOUBT) & ~sure).mean() > WAVERING * sure.mean():
        return nothing
    return fitted(told, LOW, SURE, photo)


def fitted(told: Floats, low: float, sure: float, photo: Floats) -> Floats:
    """(h, w) in 0..1: what a network told of (h, w, 3) `photo`, in any size: 0 at `low`, 1 at `sure`, its border at the photo's edges."""
    h, w = photo.shape[:2]
    smaller = min(1.0, math.sqrt(AREA / (h * w)))
    size = max(1, round(w * smaller)), max(1, round(h * smaller))
    close = guided(
        resized(smoothstep(told, low, sure), size, cv2.INTER_LINEAR),
        np.asarray(np.clip(lightness(resized(photo, size)), 0, 1), np.float32),
        max(1, round(0.008 * math.sqrt(size[0] * size[1]))),
        1e-3,
    )
    return resized(np.clip(close, 0, 1), (w, h), cv2.INTER_LINEAR)
