"""What is painted on, as far as it shows through: the weave of a canvas or the grain of a paper, lit from above on the left."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from stylekit.hand.analysis import Floats, enlarged
from stylekit.hand.view import Layer, View
from stylekit.ranges import check, choice, ranged

THREADS = 24  # of the canvas in one tile, which then repeats


@dataclass(frozen=True, kw_only=True)
class Surface:
    """kind: canvas or paper. strength: 0..1, how strongly it shows. size: of a thread or a grain in units."""

    kind: str = choice("canvas", ("canvas", "paper"))
    strength: float = ranged(0.3, 0, 1)
    size: float = ranged(2.0, 0.5, 12)

    def __post_init__(self) -> None:
        check(self, "The surface's ")


def plan_surface(view: View, settings: Surface, colours: Floats) -> Layer:
    """The surface under a picture of `view`'s size; `colours` play no part."""
    return _Ground(view, settings)


class _Ground:
    def __init__(self, view: View, settings: Surface) -> None:
        self.size, self.amount, self.strength = view.size, view.amount, settings.strength
        grain = max(1.6, settings.size * view.unit * view.detail * view.scale)  # pixels of the result
        rng = np.random.default_rng([view.seed & 0xFFFFFFFF, 5309])
        self.tile = _canvas(grain, rng) if settings.kind == "canvas" else _paper(grain, rng)

    def apply(self, canvas: Floats, top: int) -> Floats:
        rows, w = canvas.shape[:2]
        side = self.tile.shape[0]
        y, x = np.arange(top, top + rows) % side, np.arange(w) % side
        amount = enlarged(self.amount, self.size, top, rows)
        shade = (self.strength * amount * self.tile[y[:, None], x[None]])[..., None]
        dark, bright = np.minimum(shade, 0), np.maximum(shade, 0)
        return np.asarray(np.clip(canvas * (1 + dark) + bright * (1 - canvas) * 0.7, 0, 1), np.float32)


def _lit(height: Floats) -> Floats:
    """-1..1: slopes of a periodic height towards the lamp, of standard deviation about 0.3."""
    slope = (np.roll(height, -1, 1) - np.roll(height, 1, 1)) + (np.roll(height, -1, 0) - np.roll(height, 1, 0))
    return np.asarray(np.clip(0.3 * slope / (slope.std() + 1e-6), -1, 1), np.float32)


def _canvas(grain: float, rng: np.random.Generator) -> Floats:
    """A periodic square of plain weave, threads `grain` pixels wide, of uneven thickness."""
    side = max(16, round(THREADS * grain))
    at = (np.arange(side) + 0.5) / side * THREADS

    def uneven() -> Floats:
        waves = np.zeros((side, side), np.float32)
        for _ in range(4):
            fx, fy = rng.integers(1, 6, 2)
            waves += np.sin(2 * math.pi * (fx * at[None] / THREADS + fy * at[:, None] / THREADS + rng.random())).astype(np.float32)
        return waves * 0.1

    x, y = at[None] + uneven(), at[:, None] + uneven()
    over = np.sin(math.pi * x) * np.sin(math.pi * y)
    warp, weft = np.abs(np.sin(math.pi * x)), np.abs(np.sin(math.pi * y))
    height = np.where(over > 0, warp, weft) + 0.25 * over + 0.12 * rng.standard_normal((side, side))
    soft = max(0.5, 0.12 * grain)
    return _lit(_wrapped(height.astype(np.float32), soft))


def _paper(grain: float, rng: np.random.Generator) -> Floats:
    """A periodic square of cold-pressed paper, grains `grain` pixels wide."""
    side = int(np.clip(round(48 * grain), 256, 1024))
    noise = rng.standard_normal((side, side)).astype(np.float32)
    height = sum(share * _unit(_wrapped(noise, sigma * grain)) for sigma, share in ((0.35, 1.0), (0.8, 0.8), (0.15, 0.35)))
    return _lit(np.asarray(height, np.float32))


def _unit(array: Floats) -> Floats:
    return np.asarray(array / (array.std() + 1e-6), np.float32)


def _wrapped(array: Floats, sigma: float) -> Floats:
    """Gaussian blur of a square that repeats."""
    edge = min(array.shape[0], math.ceil(3 * sigma) + 1)
    soft = cv2.GaussianBlur(np.pad(array, edge, mode="wrap"), (0, 0), max(0.3, sigma))
    return np.asarray(soft[edge:-edge, edge:-edge], np.float32)
