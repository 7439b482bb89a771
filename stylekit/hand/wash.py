"""Watercolour: thin washes over white paper, each with a wet edge, pigment settling in the grain of the paper, light left as paper.

A picture is a few washes laid over one another, each where the picture is darker than a limit of its own; where light changes
little the wash was laid wet in wet and ends softly, elsewhere it dries with a crisp, darker edge (Curtis and others 1997,
https://doi.org/10.1145/258734.258896). Washes multiply, as glazes do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from stylekit.errors import SettingError
from stylekit.hand.analysis import Floats, blur, edges, enlarged, guided, lightness, smoothstep, to_lab, to_rgb
from stylekit.hand.view import Layer, View
from stylekit.ranges import check, ranged

TILE = 512  # pixels of a square of paper, which then repeats


@dataclass(frozen=True, kw_only=True)
class Wash:
    """washes: how many are laid over one another. simple: in units, what is finer is left out. bleed: units over which colour runs into
    colour. edge: 0..1, how dark a wash dries at its border. waver: units by which borders stray. grain: 0..1, how much pigment settles in
    the paper. bloom: 0..1, how unevenly water spreads it. white: lightness 0.5..1 above which the paper stays white. paper: #rrggbb."""

    washes: int = ranged(4, 2, 8)
    simple: float = ranged(3.0, 0, 20)
    bleed: float = ranged(5.0, 0, 30)
    edge: float = ranged(0.5, 0, 1)
    waver: float = ranged(1.2, 0, 6)
    grain: float = ranged(0.5, 0, 1)
    bloom: float = ranged(0.5, 0, 1)
    white: float = ranged(0.9, 0.5, 1)
    paper: str = "#fdfaf1"

    def __post_init__(self) -> None:
        check(self, "The wash's ")
        if self.washes != int(self.washes):
            raise SettingError(f"The wash's washes is {self.washes!r}: choose a whole number.")
        text = self.paper[1:] if isinstance(self.paper, str) and self.paper.startswith("#") and len(self.paper) == 7 else ""
        if not text or any(c not in "0123456789abcdefABCDEF" for c in text):
            raise SettingError(f"The wash's paper is {self.paper!r}: give a colour such as #fdfaf1.")


def plan_wash(view: View, settings: Wash, colours: Floats) -> Layer:
    """Washes that together make `colours` (h, w, 3) in 0..1."""
    return _Washed(view, settings, colours)


class _Washed:
    def __init__(self, view: View, settings: Wash, colours: Floats) -> None:
        self.settings, self.size = settings, view.size
        unit = view.unit * view.detail
        face = view.sight.face_map()
        light = lightness(colours)
        radius = max(1, round(settings.simple * unit))
        simple = guided(guided(light, light, radius, 0.002), light, radius, 0.004) if settings.simple > 0 else light
        # faces need their features
        simple = simple + (0.75 * face) * (light - simple)
        lab = to_lab(colours)
        # colour runs further than light does, and is not kept in by borders
        run = [blur(lab[..., i], settings.bleed * unit) for i in (1, 2)]
        near = [guided(lab[..., i], np.asarray(lab[..., 0] / 100, np.float32), radius, 0.01) for i in (1, 2)]
        ab = [np.asarray(0.4 * a + 0.6 * b, np.float32) for a, b in zip(run, near, strict=True)]
        # pigment of full strength everywhere; how much of it there is is the washes' doing
        pure = to_rgb(np.dstack([np.full_like(light, 60), ab[0] * 0.85, ab[1] * 0.85]))
        absorbs = np.asarray(-np.log(np.clip(pure, 0.04, 0.98)), np.float32)
        absorbs /= np.maximum(absorbs.mean(-1, keepdims=True), 0.05)
        # wet in wet where light changes slowly
        change = blur(edges(light, 1.5 * view.unit), 3 * unit)
        soft = np.asarray(0.012 + 0.16 * smoothstep(change, 0.012, 0.002), np.float32)
        rng = np.random.default_rng([view.seed & 0xFFFFFFFF, 6007])
        cloudy = _clouds(light.shape, unit, rng)
        # pigment is carried to the border of a wash as it dries, where that border is crisp
        crisp = smoothstep(soft, 0.10, 0.015)
        lie = [smoothstep((limit - simple) / soft, -0.5, 0.5) for limit in self._limits()]
        rims = [np.clip(2.2 * (a - blur(a, 1.6 * unit)), 0, 1) * crisp for a in lie]
        self.plane = np.dstack([absorbs, simple.astype(np.float32), soft, cloudy, view.amount, *rims])
        scale = view.unit * view.scale  # pixels of the result per unit
        self.paper = np.array([int(settings.paper[i : i + 2], 16) / 255 for i in (1, 3, 5)], np.float32)
        self.tooth = _periodic(max(1.0, 1.1 * scale * view.detail), rng, 0.45)
        self.stray = _periodic(max(2.0, 5.0 * scale * view.detail), rng, 0.12)
        self.slope = 0.02 * settings.waver

    def _limits(self) -> list[float]:
        """Lightness below which each wash lies, the first the lightest."""
        count = int(self.settings.washes)
        return [self.settings.white * (1 - i / count) ** 1.15 for i in range(count)]

    def apply(self, canvas: Floats, top: int) -> Floats:
        s, (rows, w) = self.settings, canvas.shape[:2]
        plane = enlarged(self.plane, self.size, top, rows)
        light, soft, cloudy, amount = plane[..., 3], plane[..., 4], plane[..., 5], plane[..., 6]
        tooth, stray = _tiled(self.tooth, top, rows, w), _tiled(self.stray, top, rows, w)
        light = light + self.slope * stray * (0.25 + 0.75 * smoothstep(soft, 0.12, 0.02))
        density = np.zeros((rows, w), np.float32)
        count = int(s.washes)
        for i, limit in enumerate(self._limits()):
            lies = smoothstep((limit - light) / soft, -0.5, 0.5)
            rim = plane[..., 7 + i]
            # the deeper washes are stronger, as light is the logarithm of how much there is
            strength = (0.16 + 0.30 * (i / max(1, count - 1)) ** 1.3) * 4 / count
            density += strength * lies * (1 + 1.6 * s.edge * rim + s.bloom * 0.55 * cloudy)
        # what the washes cannot say, a thin tint does
        density += 0.30 * np.clip(s.white - light, 0, 1) ** 1.2
        density *= np.clip(1 + s.grain * 0.30 * tooth, 0.2, 2)
        drawn = self.paper * np.exp(-density[..., None] * plane[..., :3])
        return np.asarray(canvas + amount[..., None] * (np.clip(drawn, 0, 1) - canvas), np.float32)


def _clouds(shape: tuple[int, ...], unit: float, rng: np.random.Generator) -> Floats:
    """(h, w) about -1..1: how unevenly water carries pigment, at several sizes."""
    h, w = shape
    total = np.zeros((h, w), np.float32)
    for size, share in ((70.0, 1.0), (28.0, 0.7), (11.0, 0.4)):
        step = max(2.0, size * unit)
        knots = rng.standard_normal((math.ceil(h / step) + 3, math.ceil(w / step) + 3)).astype(np.float32)
        x, y = np.meshgrid(np.arange(w, dtype=np.float32) / step + 1, np.arange(h, dtype=np.float32) / step + 1)
        total += share * cv2.remap(knots, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT).astype(np.float32)
    return np.asarray(np.tanh(total * 0.7), np.float32)


def _periodic(size: float, rng: np.random.Generator, finer: float) -> Floats:
    """A square of noise of unit variance that repeats without a seam, grains about `size` pixels wide; finer: share of smaller ones."""
    side = int(np.clip(round(40 * size), TILE, 1600))
    noise = rng.standard_normal((side, side)).astype(np.float32)
    total = np.zeros((side, side), np.float32)
    for sigma, share in ((0.5 * size, 1.0), (0.2 * size, finer)):
        edge = min(side, math.ceil(4 * sigma) + 1)
        soft = cv2.GaussianBlur(np.pad(noise, edge, mode="wrap"), (0, 0), max(0.4, sigma))[edge:-edge, edge:-edge]
        total += np.asarray(share * soft / (soft.std() + 1e-6), np.float32)
    return np.asarray(total / total.std(), np.float32)


def _tiled(square: Floats, top: int, rows: int, columns: int) -> Floats:
    side = len(square)
    return square[(np.arange(top, top + rows) % side)[:, None], (np.arange(columns) % side)[None]]
