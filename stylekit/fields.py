"""Flat fields: a photo put together from few calm areas with sharp borders, for an adapter that paints flat to work on.

Where exactly a border between two flat areas runs is a matter of a hair's breadth, so a denoiser trained with a squared error paints the
average: an airbrushed edge. Here the borders come with the picture. Every pixel looks at its neighbourhood in eight directions and takes
the colour of the calm ones, over and over (Kuwahara et al. 1976, with soft sectors as in Papari, Petkov & Campisi 2007,
https://doi.org/10.1109/TIP.2007.903912; each sector here is one Gaussian, moved).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from stylekit.errors import SettingError
from stylekit.filters import blur
from stylekit.ink import lay_ink

SECTORS = 8
REACH = 1.6  # distance of a sector's centre in units of its width
DECISION = 6  # power of a sector's variance: how clearly the calmest one wins
RANGES = {"width": (0.5, 16), "passes": (1, 32), "contrast": (0.001, 1), "ink": (0, 1)}


@dataclass(frozen=True, kw_only=True)
class Fields:
    """width: of a sector in pixels, which goes with the smallest thing that stays. passes: how often. contrast: differences below it, in
    units of [-1, 1], are no border. ink: how black key lines lie on the borders, 0 for none."""

    width: float
    passes: int
    contrast: float = 0.1
    ink: float = 0.0

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not low <= value <= high:
                raise SettingError(f"The flat fields' {name} is {value!r}: choose a number from {low} to {high}.")


def flatten(pixels: torch.Tensor, fields: Fields) -> torch.Tensor:
    """(1, 3, H, W) in [-1, 1] as flat fields, with key lines if there is ink."""
    for _ in range(round(fields.passes)):
        pixels = _calmest(pixels, fields)
    return lay_ink(pixels, fields.ink) if fields.ink else pixels


def _calmest(pixels: torch.Tensor, fields: Fields) -> torch.Tensor:
    mean, square = blur(torch.cat([pixels, pixels.square()], 1), fields.width).chunk(2, 1)
    variance = (square - mean.square()).clamp_min(0).sum(1, keepdim=True)
    weight = (variance + fields.contrast**2).pow(-DECISION)
    both = torch.cat([weight * mean, weight], 1)
    distance, (h, w) = REACH * fields.width, pixels.shape[-2:]
    reach = math.ceil(distance)
    both, total = F.pad(both, (reach,) * 4, mode="replicate"), torch.zeros_like(both)
    for sector in range(SECTORS):
        angle = 2 * math.pi * sector / SECTORS
        top, left = reach + round(distance * math.sin(angle)), reach + round(distance * math.cos(angle))
        total += both[..., top : top + h, left : left + w]
    return total[:, :-1] / total[:, -1:]
