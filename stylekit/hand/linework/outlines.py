"""Outlines: a pen along the borders of the flat areas below, and round what the photo is of, so that colour and line coincide."""

from __future__ import annotations

from dataclasses import dataclass

from stylekit.hand.linework import lines
from stylekit.hand.linework.flat_borders import SHORTEST, STEP, flat_borders
from stylekit.hand.marks import pen
from stylekit.hand.palettes import colour_of
from stylekit.hand.view import Floats, View
from stylekit.ranges import check, ranged


@dataclass(frozen=True, kw_only=True)
class Outlines:
    """weight, variation, taper, shortest, ink, opacity: as of the key lines. step: slope of light per unit below which a border at
    which no thing ends is drawn as colour only. figure: how much broader the outline of what the photo is of is."""

    weight: float = ranged(2.0, 0.1, 12)
    variation: float = ranged(0.5, 0, 1)
    taper: float = ranged(14.0, 0, 60)
    shortest: float = ranged(SHORTEST, 1, 200)
    step: float = ranged(STEP, 0, 0.2)
    figure: float = ranged(0.35, 0, 3)
    ink: str = "#14141a"
    opacity: float = ranged(1.0, 0, 1)

    def __post_init__(self) -> None:
        check(self, "The outlines' ")
        colour_of(self.ink, "The outlines' ink")


def plan_outlines(view: View, settings: Outlines, colours: Floats) -> lines.InkLayer:
    """Lines along the borders of the flat `colours` (h, w, 3) that lie below."""
    pens = lines.Lines(
        weight=settings.weight,
        variation=settings.variation,
        taper=settings.taper,
        ink=settings.ink,
        opacity=settings.opacity,
        reach=1.4,
        spots=0,
    )
    strokes = pen.no_strokes()
    if view.amount.any() and min(colours.shape[:2]) > 8:
        strokes = lines.drawn(view, pens, flat_borders(view, colours, settings.step, settings.shortest, settings.figure))
    return lines.InkLayer(view, pen.Sheet(strokes, view.photo.shape[:2], view.size, bent=True), settings.ink, settings.opacity)
