"""Style targets made of brush strokes: the strokes of `stylekit.underpainting.brush`, turned into paint.

A stroke carries the colour it was dipped into a little way along and across, varies it in light and hue, and stands up from the canvas.
Strokes come from the photo's underpainting, which the adapter sees, so that a target is a function of what the network is given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from PIL import Image

from stylekit.images import to_tensor
from stylekit.pixels.filters import luminance
from stylekit.underpainting import brush
from stylekit.underpainting.settings import Brush
from training.targets.procedural import blur, flatten, outlines, to_lab, to_rgb


@dataclass(frozen=True, kw_only=True)
class Paint:
    """tone: the painter's palette, Lab to Lab. drift: how far a stroke carries colour, in pixels. light, hue: how far strokes vary it, in
    Lab units. relief: shine of thick paint, in L units. outline: 0..1, how dark contours are drawn."""

    brush: Brush
    tone: Callable[[np.ndarray], np.ndarray]
    drift: float
    light: float
    hue: float
    relief: float
    outline: float = 0.0


def paint(picture: np.ndarray, seed: int, manner: Paint) -> tuple[torch.Tensor, np.ndarray]:
    """Of `picture`, uint8 RGB (H, W, 3): its pixels (1, 3, H, W) with the underpainting, and the painting, uint8 RGB."""
    pixels = to_tensor(Image.fromarray(picture))
    light = (luminance(pixels) + 1) / 2
    field = brush.directions(light, manner.brush.flow, manner.brush.rest)
    heights = brush.strokes(pixels, manner.brush, seed)
    under = pixels + brush.colour(heights, manner.brush)
    s, fine = _array(heights), _array(brush.fineness(light))
    broad = to_lab(flatten(picture, 2, 4, 9))
    dipped = _along(broad, field, manner.brush.length / 2)
    dipped = dipped + (_along(to_lab(picture), field, 7) - dipped) * (0.85 * fine)
    across, down = _array(field)[..., 0], _array(field)[..., 1]
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]].astype(np.float32)
    reach = manner.drift * (1 - 0.6 * fine[..., 0])
    x = columns + reach * (s[..., 1] * across - s[..., 0] * down)
    y = rows + reach * (s[..., 1] * down + s[..., 0] * across)
    lab = manner.tone(cv2.remap(dipped, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT))
    lab += s * np.array([manner.light, manner.hue, manner.hue], np.float32)
    body = blur(s[..., 0], 0.7)
    shine = (cv2.Scharr(body, -1, 1, 0) + cv2.Scharr(body, -1, 0, 1)) / 32
    lab[..., 0] += manner.relief * manner.brush.width * shine
    if manner.outline:
        line = outlines(flatten(cv2.medianBlur(picture, 3), 2, 3, 10), 1.3, 0.07, 0.9)
        ink = np.clip(_along(line[..., None], field, 14) * 1.3, 0, 1) * manner.outline
        lab = lab * (1 - ink) + np.array([20, 2, -18], np.float32) * ink
    return under, to_rgb(lab).round().astype(np.uint8)


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor[0].permute(1, 2, 0).numpy()


def _along(array: np.ndarray, field: torch.Tensor, length: float) -> np.ndarray:
    tensor = torch.from_numpy(np.ascontiguousarray(array, np.float32)).permute(2, 0, 1)[None]
    return np.ascontiguousarray(_array(brush.along(tensor, field, length)))


def monet_tone(lab: np.ndarray) -> np.ndarray:
    """Daylight: no black, shade turned to blue violet, light to cream; colours fresher."""
    light = np.clip(lab[..., 0] / 100, 0, 1)
    shade = np.clip(1 - light * 1.5, 0, 1)
    chroma = np.hypot(lab[..., 1], lab[..., 2]) + 1e-3
    fresh = 40 * np.tanh(chroma / 30) / chroma
    warm = 10 * np.clip(light * 1.6 - 0.8, 0, 1)
    return np.stack([24 + 68 * light**0.85, lab[..., 1] * fresh + 4 * shade, lab[..., 2] * fresh - 18 * shade + warm], -1)


def vangogh_tone(lab: np.ndarray) -> np.ndarray:
    """Prussian blue shade, chrome yellow light, full colour that is not a photo's neon."""
    light = np.clip(lab[..., 0] / 100, 0, 1)
    shade, sun = np.clip(1 - light * 1.6, 0, 1), np.clip(light * 1.8 - 0.8, 0, 1)
    chroma = np.hypot(lab[..., 1], lab[..., 2]) + 1e-3
    strong = 50 * np.tanh(chroma / 34) / chroma
    return np.stack([18 + 70 * light**0.9, lab[..., 1] * strong + 2 * shade - 4 * sun, lab[..., 2] * strong - 26 * shade + 30 * sun], -1)


MONET = Paint(
    brush=Brush(width=5, length=16, flow=8, rest=8, amount=0.16, respect=0.6), tone=monet_tone, drift=4, light=6, hue=9, relief=1.5
)
VANGOGH = Paint(
    brush=Brush(width=7, length=40, flow=12, rest=28, amount=0.16, respect=0.45),
    tone=vangogh_tone,
    drift=5,
    light=7,
    hue=8,
    relief=2.5,
    outline=0.65,
)
PAINTERS = {"monet": MONET, "vangogh": VANGOGH}
