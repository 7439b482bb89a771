"""What the hand sees of a photo, and in which units it draws.

A picture is planned at a moderate size (`PLAN_AREA`) and drawn at any: marks are laid out once, in units that are parts of the picture, and
rendered in bands of rows at the size of the result, so that memory stays bounded and no seam shows.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stylekit.hand.analysis import Floats
from stylekit.hand.sight import Sight

UNITS = 512  # a unit is the side of a square of the picture's area over this: 1 pixel of a 512 x 512 photo
PLAN_AREA = 768 * 768  # pixels; the most at which marks are planned


@dataclass(frozen=True, kw_only=True)
class View:
    """photo, colours: (h, w, 3) float32 sRGB in 0..1 at the plan's size: the photo, and what to paint with (the model's picture).

    amount: (h, w) in 0..1, how much of the hand is wanted at every place (weight times strength). size: (W, H) of the result in pixels.
    seed: of everything random. detail: factor on all lengths of marks, 0.5 (fine) to 2 (bold). sight: what is seen of `photo`, where
    another view of it is there already.
    """

    photo: Floats
    colours: Floats
    amount: Floats
    size: tuple[int, int]
    seed: int = 0
    detail: float = 1.0
    sight: Sight = dataclasses.field(default=None, repr=False, compare=False)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.sight is None:
            object.__setattr__(self, "sight", Sight(self.photo))

    @property
    def unit(self) -> float:
        """Pixels of the plan per unit."""
        h, w = self.photo.shape[:2]
        return float(np.sqrt(h * w)) / UNITS

    @property
    def scale(self) -> float:
        """Pixels of the result per pixel of the plan."""
        h, w = self.photo.shape[:2]
        return float(np.sqrt(self.size[0] * self.size[1] / (h * w)))


class Layer(Protocol):
    """One tool's marks, planned and ready to be drawn on any band of the result."""

    def apply(self, canvas: Floats, top: int) -> Floats:
        """`canvas` (rows, W, 3) float32 in 0..1, rows `top`.. of the result, with the marks drawn on it. The same pixels however banded."""
        ...


class Nothing:
    """A layer without marks."""

    def apply(self, canvas: Floats, top: int) -> Floats:
        return canvas
