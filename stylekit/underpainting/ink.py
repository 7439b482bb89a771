"""Key lines: thin dark lines along the borders of a picture, as the key block of a woodblock print lays them.

Like a flat field's border (see `kuwahara`), a line is a matter of a hair's breadth, which a denoiser trained with a squared error
averages away. So the lines come with the picture, and the adapter prints them. They lie where a picture is darker than its surroundings: a
difference of Gaussians, smoothed along the contours, of the luminance in units of the local contrast, so that dim parts get theirs too
(Kang, Lee & Chui 2007, https://doi.org/10.1145/1274871.1274878).
"""

from __future__ import annotations

import torch

from stylekit.pixels.filters import blur, luminance
from stylekit.underpainting.brush import along, directions

WIDTH = 0.8  # pixels; standard deviation of the inner Gaussian
OUTER = 1.6  # the outer one in units of the inner
LENGTH = 10  # pixels along the contour over which a line is drawn in one go
FLOW = 4  # pixels; reach of the direction field
AROUND = 20  # pixels; reach of what counts as local
LEAST_CONTRAST = 0.05  # of luminance in 0..1; in a plain sky noise is no border
THRESHOLD, SHARPNESS = 0.03, 12.0  # in units of the local contrast
INK = (-0.75, -0.72, -0.6)  # RGB in [-1, 1]: soot with a little indigo


def lay_ink(pixels: torch.Tensor, amount: float, drawn: torch.Tensor | None = None) -> torch.Tensor:
    """(1, 3, H, W) in [-1, 1] with the key lines of `drawn` on it, its own if there is none. amount: 0..1, how black they are."""
    covered = amount * key_lines(pixels if drawn is None else drawn)
    return pixels * (1 - covered) + torch.tensor(INK).to(pixels)[:, None, None] * covered


def key_lines(pixels: torch.Tensor) -> torch.Tensor:
    """(1, 1, H, W) in 0..1: 1 where a line lies on `pixels` (1, 3, H, W) in [-1, 1]."""
    light = (luminance(pixels) + 1) / 2
    light = light - blur(light, AROUND)
    light = light / (blur(light.square(), AROUND) + LEAST_CONTRAST**2).sqrt()
    darker = blur(light, OUTER * WIDTH) - blur(light, WIDTH)
    darker = along(darker, directions(light, flow=FLOW), LENGTH)
    return torch.tanh(SHARPNESS * (darker - THRESHOLD)).clamp_min(0)
