"""Places of a picture: shares of sky, foliage and everything else, and of skin, by colour and evenness alone.

Arrays are floats (H, W) or (H, W, 3); colours are CIE Lab, L in 0..100. Shares are 0..1.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from training.targets.procedural import blur

Floats = NDArray[np.floating]
PLACES = ("sky", "foliage", "elsewhere")


def places(lab: Floats) -> tuple[Floats, Floats, Floats]:
    """Shares 0..1 of `PLACES` at every pixel of a photo; they sum to 1. Sky is light and even, bluish or grey, and hangs at the top."""
    light, a, b = (lab[..., i] for i in range(3))
    h, w = light.shape
    wide = max(1.0, 0.006 * max(h, w))
    busy = blur(cv2.morphologyEx(light, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)), wide)
    chroma = np.hypot(a, b)
    bluish = ramp(-b - 0.7 * np.abs(a), -2, 6)
    pale = ramp(-chroma, -16, -8) * ramp(light, 62, 76)
    like = np.maximum(bluish * ramp(light, 30, 45), pale)
    seen = (like * ramp(-busy, -5, -2.5) > 0.35).astype(np.uint8)
    _, labels = cv2.connectedComponents(seen)
    top = labels[: max(1, h // 25)]
    kept = [i for i in np.unique(top) if i and (top == i).sum() > 0.08 * top.size and (labels == i).mean() > 0.02]
    sure = np.isin(labels, kept).astype(np.uint8)
    near = cv2.dilate(sure, np.ones((2 * round(0.03 * max(h, w)) + 1,) * 2, np.uint8))  # up to the edges, which are busy
    sky = np.clip(blur(np.maximum(sure, near * (like > 0.2)).astype(np.float32), max(1.0, 0.003 * max(h, w))), 0, 1)
    green = blur(_green(lab), max(1.0, 0.003 * max(h, w))) * (1 - sky)
    return sky, green, np.clip(1 - sky - green, 0, 1)


def painted_places(lab: Floats) -> tuple[Floats, Floats, Floats]:
    """Shares 0..1 of `PLACES` at every pixel of a painting. Its sky is taken to be what is light and not green in the uppermost third."""
    height = np.linspace(0, 1, len(lab), endpoint=False, dtype=np.float32)[:, None]
    green = _green(lab)
    sky = ramp(lab[..., 0], 38, 50) * (height < 0.3) * (1 - green)
    green = green * (1 - sky)
    return sky, green, np.clip(1 - sky - green, 0, 1)


def skin(lab: Floats) -> Floats:
    """0..1, how much a colour looks like skin in daylight or lamplight."""
    light, a, b = (lab[..., i] for i in range(3))
    hue, chroma = np.degrees(np.arctan2(b, a)), np.hypot(a, b)
    likely = np.exp(-(((hue - 50) / 20) ** 2)) * ramp(chroma, 5, 11) * ramp(-chroma, -48, -34) * ramp(light, 6, 16)
    return blur(likely.astype(np.float32), max(1.0, 0.006 * max(light.shape)))


def _green(lab: Floats) -> Floats:
    """0..1, how green a colour is."""
    hue, chroma = np.degrees(np.arctan2(lab[..., 2], lab[..., 1])), np.hypot(lab[..., 1], lab[..., 2])
    return (ramp(hue, 96, 108) * ramp(-hue, -178, -165) * ramp(chroma, 5, 12)).astype(np.float32)


def ramp(x: Floats, low: float, high: float) -> Floats:
    """0 up to `low`, 1 from `high`, a straight line between."""
    return np.clip((x - low) / (high - low), 0, 1).astype(np.float32)
