"""What a photo is of: figure and ground.

Told by U2-Net's small version (Qin et al. 2020, https://arxiv.org/abs/2005.09007; Apache License 2.0, assets/subject), which looks at the
whole photo at once. People before all: what another network is sure of is part of it too (subject/foreground.py).
"""

from __future__ import annotations

import cv2
import numpy as np

from stylekit.hand.analysis import Floats, resized
from stylekit.hand.subject import networks
from stylekit.hand.subject.foreground import SMALLEST, fitted

FILE, SIDE = "subject/u2netp.onnx", 320  # in assets, and the side of the square it looks at
MEAN, SPREAD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)  # of the photos it was trained on
OPENED = 0.55  # median light of the photo that is looked at
LOW, SURE = 0.3, 0.7  # of what the network says
WAVERING = 0.4  # of what it is sure of, that may be in doubt
SCRAP = 0.05  # of the largest piece; a smaller one is none
LEAST, MOST = 0.004, 0.85  # share of the picture


def figure(photo: Floats, opened: Floats, known: Floats) -> Floats:
    """(h, w) in 0..1: how likely each place of (h, w, 3) sRGB is part of what the photo is of; 0 everywhere where nothing stands out.

    opened: the same with its dark tones opened, in which its borders are looked for. known: (h, w) in 0..1, see `foreground.foreground`."""
    h, w = photo.shape[:2]
    if min(h, w) < SMALLEST:
        return known
    small = np.clip(resized(photo, (SIDE, SIDE)), 0, 1)
    told = networks.run(FILE, np.asarray((small / max(float(small.max()), 0.05) - MEAN) / SPREAD, np.float32))[0].reshape(SIDE, SIDE)
    sure = told > SURE
    if not np.isfinite(told).all() or not LEAST < sure.mean() < MOST:
        return known
    if ((told > LOW) & ~sure).mean() > WAVERING * sure.mean():
        return known
    return np.maximum(known, fitted(_whole(told), LOW, SURE, opened))


def _whole(told: Floats) -> Floats:
    """(h, w) without pieces that are small beside the largest."""
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(np.asarray(told > LOW, np.uint8), connectivity=8)
    area = stats[:, cv2.CC_STAT_AREA]
    return np.where((area < SCRAP * area[1:].max())[pieces], 0, told).astype(np.float32)
