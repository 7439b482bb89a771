"""Structure: the photo's own detail, brought back into the styled picture.

Lightness is parted into a smooth base and the detail over it. The style keeps its base and its colours; of the detail a part is the
photo's. Measured on held-out photos (docs/maps.md) this keeps more structure for the same loss of style than turning the strength down.
"""

from __future__ import annotations

import torch

from stylekit.pixels.filters import blur, luminance

WIDTH = 0.06  # of the long side; what is finer is detail
MOST_DETAIL = 0.75  # of the detail; beyond that the photo's grain takes the place of the style's own marks, and nothing is gained


def keep_structure(styled: torch.Tensor, photo: torch.Tensor, amount: float, soft: torch.Tensor | None = None) -> torch.Tensor:
    """`styled` with `amount` (0..1) of the detail of `photo`; both (1, 3, H, W) in [-1, 1].

    soft: (1, 1, H, W), the `soft_difference` of the whole pictures, where these are a part of them.
    """
    soft = soft_difference(styled, photo) if soft is None else soft
    return styled + MOST_DETAIL * amount * (luminance(photo) - luminance(styled) + soft)


def soft_difference(styled: torch.Tensor, photo: torch.Tensor) -> torch.Tensor:
    """(1, 1, H, W): by how much the smooth base of the light of `styled` is above that of `photo`."""
    return blur(luminance(styled) - luminance(photo), WIDTH * max(styled.shape[-2:]) / 2)
