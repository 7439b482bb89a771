"""Underpainting: what the engine lays on a photo before it is encoded, because the adapter of a style was trained to work on it."""

from __future__ import annotations

import torch

from stylekit.underpainting import brush
from stylekit.underpainting.ground import lay
from stylekit.underpainting.kuwahara import flatten
from stylekit.underpainting.settings import Ground, Kuwahara, Underpainting


def underpaint(pixels: torch.Tensor, underpainting: Underpainting, seed: int) -> torch.Tensor:
    """What to add to pixels (1, 3, H, W) in [-1, 1] at full strength. seed: of the strokes, if there are any."""
    if isinstance(underpainting, Kuwahara):
        return flatten(pixels, underpainting) - pixels
    if isinstance(underpainting, Ground):
        return lay(pixels, underpainting, seed) - pixels
    return brush.underpaint(pixels, underpainting, seed)
