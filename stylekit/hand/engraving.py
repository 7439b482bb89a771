"""Engraving: rows of parallel lines that swell with the tone and bend over the form, crossed by others in the darks, as in old plates.

No line is drawn by itself: every pixel knows how far it is from the middle of its line and how wide the line is there, so that the plate is
crisp at any size. Bending lines by lightness as if it were height is an old trick of engravers and of their machines.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stylekit.hand import analysis, focus
from stylekit.hand.marks import grain
from stylekit.hand.palettes import colour_of
from stylekit.hand.view import Floats, View
from stylekit.ranges import check, ranged

SALT = 7004  # added to the seed: randomness of this tool alone


@dataclass(frozen=True, kw_only=True)
class Engraving:
    """spacing: between lines, in units. slant: of the first rows of lines, in degrees from the horizontal. relief: how far lines bend over
    light and shade, in spacings. crossing: darkness, 0..1, from which a second row of lines crosses the first; a third comes halfway to
    black. paper_from: light, 0..1, from which the paper stays empty. contrast: power on the darkness. focus: 0..1, how much quieter all is
    that the eye is not drawn to. waver: 0..1, of an unsteady hand, in spacings. thinnest: part of the spacing that a line is wide where it
    begins. ink, paper: as #rrggbb."""

    spacing: float = ranged(3.4, 1.5, 30)
    slant: float = ranged(12.0, -180, 180)
    relief: float = ranged(2.6, 0, 6)
    crossing: float = ranged(0.5, 0, 1)
    paper_from: float = ranged(0.86, 0.1, 1)
    contrast: float = ranged(1.0, 0.3, 3)
    focus: float = ranged(0.35, 0, 1)
    waver: float = ranged(0.12, 0, 1)
    thinnest: float = ranged(0.14, 0, 0.5)
    ink: str = "#1d1a18"
    paper: str = "#f6efdf"

    def __post_init__(self) -> None:
        check(self, "The engraving's ")
        colour_of(self.ink, "The engraving's ink")
        colour_of(self.paper, "The engraving's paper")


def plan_engraving(view: View, settings: Engraving, colours: Floats) -> PlateLayer:
    """A plate of view's photo; colours is not looked at."""
    light = view.sight.lightness(focus.OPENED)
    unit = view.unit
    low, high = np.percentile(light, [1, 99])
    light = np.clip((light - low) / max(float(high - low), 0.25), 0, 1)
    clear = np.clip(light + 0.6 * (light - analysis.blur(np.asarray(light, np.float32), 14 * unit)), 0, 1)
    dark = np.clip((settings.paper_from - clear) / settings.paper_from, 0, 1) ** np.float32(settings.contrast)
    loud = focus.prominence(view.sight, settings.focus, 0.0, unit)
    height = analysis.blur(np.asarray(light, np.float32), 5 * unit)
    return PlateLayer(view, settings, np.asarray(dark * loud, np.float32), height)


class PlateLayer:
    """Rows of lines printed on paper."""

    def __init__(self, view: View, settings: Engraving, tone: Floats, height: Floats) -> None:
        self.settings, self.size = settings, view.size
        self.amount, self.tone, self.height = view.amount, tone, height
        self.spacing = settings.spacing * view.unit * view.detail * view.scale
        unit = view.unit * view.scale
        self.waver = grain.grain(view.seed + SALT, ((14 * unit, 14 * unit, 1.0),))
        self.ink, self.paper = colour_of(settings.ink, "The ink"), colour_of(settings.paper, "The paper")

    def apply(self, canvas: Floats, top: int) -> Floats:
        rows, settings = len(canvas), self.settings
        amount, tone, height = (analysis.enlarged(plane, self.size, top, rows) for plane in (self.amount, self.tone, self.height))
        x = np.arange(self.size[0], dtype=np.float32)[None] + np.float32(0.5)
        y = np.arange(top, top + rows, dtype=np.float32)[:, None] + np.float32(0.5)
        bend = settings.relief * height + settings.waver * grain.rows(self.waver, top, rows, (0, self.size[0]))
        white = np.ones((rows, self.size[0]), np.float32)
        for turn, begin, share in ((0.0, 0.0, 0.86), (58.0, settings.crossing, 0.75), (-47.0, 0.5 + settings.crossing / 2, 0.6)):
            white *= 1 - self._lines(x, y, bend, tone, math.radians(settings.slant + turn), begin, share) * np.minimum(amount * 2, 1)
        ground = canvas + (self.paper - canvas) * amount[..., None]
        return np.asarray(ground + (self.ink - ground) * (1 - white)[..., None], np.float32)

    def _lines(self, x: Floats, y: Floats, bend: Floats, tone: Floats, angle: float, begin: float, share: float) -> Floats:
        """(rows, W) in 0..1: cover of one row of lines."""
        across = (y * np.float32(math.cos(angle)) - x * np.float32(math.sin(angle))) / np.float32(self.spacing) + bend
        away = np.abs(across - np.rint(across)) * np.float32(2)  # 0 in the middle of a line, 1 between two
        level = np.clip((tone - np.float32(begin)) / np.float32(max(1 - begin, 1e-6)), 0, 1)
        # a line ends in a point: its width grows from nothing to the thinnest quickly, then with the tone
        width = np.minimum(level * 6, 1) * np.float32(self.settings.thinnest) + level * np.float32(share)
        edge = np.float32(max(self.spacing / 2, 0.5))  # pixels for which `away` goes from 0 to 1
        return np.asarray(np.clip((width - away) * edge + 0.5, 0, 1) * np.minimum(width * edge * 2, 1), np.float32)
