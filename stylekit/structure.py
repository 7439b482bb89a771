"""Structure: the photo's own detail, brought back into the styled picture.

Lightness is parted into a smooth base and the detail over it. The style keeps its base and its colours; of the detail a part is the
photo's. Measured on held-out photos (docs/maps.md) this keeps more structure for the same loss of style than turning the strength down.
"""

from __future__ import annotations

import torch

from stylekit.filters import blur, luminance

WIDTH = 0.06  # of the long side; what is finer is detail
MOST = 0.75  # of the detail; beyond that the photo's grain takes the place of the style's own marks, and nothing is gained


def keep_structure(styled: torch.Tensor, photo: torch.Tensor, amount: float) -> torch.Tensor:
    """`styled` with `amount` (0..1) of the detail of `photo`; both (1, 3, H, W) in [-1, 1]."""
    return styled + MOST * amount * (_detail(photo) - _detail(styled))


def _detail(pixels: torch.Tensor) -> torch.Tensor:
    light = luminance(pixels)
    return light - blur(light, WIDTH * max(pixels.shape[-2:]) / 2)
