"""Flat fields: a photo put together from few calm areas with sharp borders, for an adapter that paints flat to work on.

Where exactly a border between two flat areas runs is a matter of a hair's breadth, so a denoiser trained with a squared error paints the
average: an airbrushed edge. Here the borders come with the picture. Every pixel looks at its neighbourhood in eight directions and takes
the colour of the calm ones, over and over (Kuwahara et al. 1976, with soft sectors as in Papari, Petkov & Campisi 2007,
https://doi.org/10.1109/TIP.2007.903912; each sector here is one Gaussian, moved).
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from stylekit.pixels.filters import blur
from stylekit.underpainting.ink import lay_ink
from stylekit.underpainting.settings import Kuwahara

SECTORS = 8
REACH = 1.6  # distance of a sector's centre in units of its width
DECISION = 6  # power of a sector's variance: how clearly the calmest one wins


def flatten(pixels: torch.Tensor, settings: Kuwahara) -> torch.Tensor:
    """(1, 3, H, W) in [-1, 1] as flat fields, with key lines if there is ink."""
    for _ in range(round(settings.passes)):
        pixels = _calmest(pixels, settings)
    return lay_ink(pixels, settings.ink) if settings.ink else pixels


def _calmest(pixels: torch.Tensor, settings: Kuwahara) -> torch.Tensor:
    mean, square = blur(torch.cat([pixels, pixels.square()], 1), settings.width).chunk(2, 1)
    variance = (square - mean.square()).clamp_min(0).sum(1, keepdim=True)
    weight = (variance + settings.contrast**2).pow(-DECISION)
    both = torch.cat([weight * mean, weight], 1)
    distance, (h, w) = REACH * settings.width, pixels.shape[-2:]
    reach = math.ceil(distance)
    both, total = F.pad(both, (reach,) * 4, mode="replicate"), torch.zeros_like(both)
    for sector in range(SECTORS):
        angle = 2 * math.pi * sector / SECTORS
        top, left = reach + round(distance * math.sin(angle)), reach + round(distance * math.cos(angle))
        total += both[..., top : top + h, left : left + w]
    return total[:, :-1] / total[:, -1:]
