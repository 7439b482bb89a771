"""Underpainting: brush strokes laid on a photo before it is encoded, for a painterly adapter to turn into paint.

Where a stroke falls is chance, and a denoiser trained with a squared error paints the average of all chances: a blur. Here chance comes
with the picture instead: white noise is smeared along the contours of the photo (line integral convolution, Cabral & Leedom 1993,
https://doi.org/10.1145/166117.166151) and laid on it thinly. What becomes of the strokes, their colour, their body and what they cover, is
the adapter's doing. Directions are those of the smoothed structure tensor, as in Kang, Lee & Chui 2009
(https://doi.org/10.1109/TVCG.2008.81). Another seed lays other strokes.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from stylekit.pixels.filters import blur, luminance
from stylekit.underpainting.settings import Brush

STEP = 1.0  # pixels between samples along a stroke
SPREAD = 0.5  # standard deviation of strokes before they are bent into -1..1
# light, red against green, yellow against blue, as directions in RGB
OPPONENT = ((1.0, 1.0, 1.0), (0.9, -0.5, 0.3), (0.4, 0.3, -1.0))


def underpaint(pixels: torch.Tensor, brush: Brush, seed: int) -> torch.Tensor:
    """What to add to pixels (1, 3, H, W) in [-1, 1] at full strength: strokes in light and hue."""
    return colour(strokes(pixels, brush, seed), brush)


def colour(drawn: torch.Tensor, brush: Brush) -> torch.Tensor:
    """Three layers of strokes (1, 3, H, W) as RGB: the first in light, the others in hue."""
    return brush.amount * torch.einsum("nshw,sc->nchw", drawn, torch.tensor(OPPONENT).to(drawn))


def strokes(pixels: torch.Tensor, brush: Brush, seed: int) -> torch.Tensor:
    """(1, 3, H, W) in -1..1: three independent layers of strokes along the contours of `pixels`."""
    light = (luminance(pixels) + 1) / 2
    h, w = light.shape[-2:]
    # drawn at half size, where following a contour costs a quarter, and strokes are wide enough not to miss the rest
    half = F.interpolate(light, size=((h + 1) // 2, (w + 1) // 2), mode="area")
    noise = torch.randn((1, 3, *half.shape[-2:]), generator=torch.Generator().manual_seed(seed)).to(pixels)
    band = blur(noise, brush.width / 8) - blur(noise, brush.width / 2)
    drawn = along(band / band.std().clamp_min(1e-6), directions(half, brush.flow, brush.rest, 0.5), brush.length / 2)
    drawn = F.interpolate(drawn, size=(h, w), mode="bicubic", align_corners=False)
    return torch.tanh(drawn / SPREAD) * (1 - brush.respect * fineness(light))


def directions(light: torch.Tensor, flow: float, rest: float = 0.0, scale: float = 1.0) -> torch.Tensor:
    """(1, 2, H, W) unit vectors (across, down) along the edges of `light`; towards `rest` where there are none.

    flow, rest: as a Brush's. scale: size of `light` over that of the picture; all lengths are the picture's."""
    across, down = (scale * g for g in gradients(blur(light, 1.2 * scale)))
    xx, xy, yy = (blur(a, flow * scale) for a in (across * across, across * down, down * down))
    # the tensor in double-angle form, in which opposite directions agree, with a faint pull towards rest
    pull = 2 * math.radians(rest)
    angle = 0.5 * torch.atan2(-2 * xy + 2e-5 * math.sin(pull), yy - xx + 2e-5 * math.cos(pull))
    return torch.cat([angle.cos(), angle.sin()], 1)


def fineness(light: torch.Tensor) -> torch.Tensor:
    """(1, 1, H, W) in 0..1: how much the picture is small detail, such as a face, where a painter takes a finer brush."""
    across, down = gradients(light)
    busy = blur(torch.hypot(across, down), 5.0)
    return ((busy - 0.012) / 0.05).clamp(0, 1)


def along(array: torch.Tensor, field: torch.Tensor, length: float) -> torch.Tensor:
    """Mean of `array` (1, C, H, W) along `field` over `length` pixels, under a Hann window."""
    h, w = array.shape[-2:]
    rows, columns = torch.meshgrid(torch.arange(h).to(array), torch.arange(w).to(array), indexing="ij")
    size = torch.tensor([w, h]).to(array)
    both = torch.cat([array, field], 1)
    count = max(1, round(length / 2 / STEP))
    total, weights = array.clone(), 1.0
    for sign in (1.0, -1.0):
        place = torch.stack([columns, rows], -1)[None]
        heading = sign * field.permute(0, 2, 3, 1)
        for i in range(1, count + 1):
            place = place + STEP * heading
            seen = F.grid_sample(both, (2 * place + 1) / size - 1, mode="bilinear", padding_mode="reflection", align_corners=False)
            here = seen[:, -2:].permute(0, 2, 3, 1)
            heading = torch.where((here * heading).sum(-1, keepdim=True) < 0, -here, here)
            weight = 0.5 + 0.5 * math.cos(math.pi * i / (count + 1))
            total = total + weight * seen[:, :-2]
            weights += weight
    return total / weights


def gradients(light: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Scharr derivatives (across, down) of (1, 1, H, W), per pixel."""
    kernel = torch.tensor([[-3.0, 0, 3], [-10, 0, 10], [-3, 0, 3]]).to(light) / 32
    padded = F.pad(light, (1, 1, 1, 1), mode="replicate")
    return F.conv2d(padded, kernel[None, None]), F.conv2d(padded, kernel.T[None, None])
