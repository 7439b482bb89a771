"""Outlines: a pen along the borders of the flat areas below, and round what the photo is of, so that colour and line coincide."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from skimage.morphology import skeletonize

from stylekit.hand import analysis
from stylekit.hand.linework import lines
from stylekit.hand.marks import pen
from stylekit.hand.marks.contours import Curves, joined, traced
from stylekit.hand.palettes import colour_of
from stylekit.hand.view import Floats, View
from stylekit.ranges import check, ranged

BESIDE = 10.0  # units; a border this near to the figure's outline stands for it
OPENED = 0.55  # median light of the photo whose edges are looked at


@dataclass(frozen=True, kw_only=True)
class Outlines:
    """weight, variation, taper, shortest, ink, opacity: as of the key lines. step: slope of light per unit below which a border is drawn
    as colour only. figure: how much broader the outline of what the photo is of is."""

    weight: float = ranged(2.0, 0.1, 12)
    variation: float = ranged(0.5, 0, 1)
    taper: float = ranged(14.0, 0, 60)
    shortest: float = ranged(22.0, 1, 200)
    step: float = ranged(0.012, 0, 0.2)
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
        strokes = lines.drawn(view, pens, borders(view, settings, colours))
    return lines.InkLayer(view, pen.Sheet(strokes, view.photo.shape[:2], view.size, bent=True), settings.ink, settings.opacity)


def borders(view: View, settings: Outlines, colours: Floats) -> Curves:
    """The borders that are drawn: those with an edge of the photo under them, and those of the figure."""
    unit = view.unit * view.detail
    figure, face = view.sight.figure(), view.sight.face_map()
    shape = colours.shape[:2]
    inside = np.asarray(figure > 0.5, np.uint8)
    inked = np.zeros(shape, np.uint8)
    packed = (colours * 255).astype(np.int32) @ np.array([65536, 256, 1], np.int32)
    across, down = packed[:, 1:] != packed[:, :-1], packed[1:] != packed[:-1]
    inked[:, 1:] |= across
    inked[:, :-1] |= across
    inked[1:] |= down
    inked[:-1] |= down
    rim = np.asarray(cv2.morphologyEx(inside, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)), np.uint8)
    side = 2 * max(1, round(BESIDE * unit)) + 1
    near = np.asarray(cv2.dilate(inked, np.ones((side, side), np.uint8)), np.uint8)
    inked |= rim & (1 - near)
    width = max(3, 2 * round(1.5 * unit) + 1)
    inked = np.asarray(cv2.morphologyEx(inked, cv2.MORPH_CLOSE, np.ones((width, width), np.uint8)), np.uint8)
    # the picture's own frame is no border
    inked[[0, -1]] = 0
    inked[:, [0, -1]] = 0
    points, starts = joined(*traced(skeletonize(inked > 0)), 4 * unit)
    # a border lies between pixels
    points = points + np.float32(0.75)
    edge = analysis.blur(view.sight.edges(1.2, OPENED), 1.0 * unit) * np.float32(view.unit)
    reach = 2 * max(1, round(3 * unit)) + 1
    edge = np.asarray(cv2.dilate(edge, np.ones((reach, reach), np.uint8)), np.float32)
    round_it = np.asarray(cv2.dilate(rim, np.ones((side, side), np.uint8)), np.float32)
    agreed = analysis.smoothstep(analysis.agreement(view.sight.tensor(4 * unit, OPENED)), 0.25, 0.5)
    # on a face only its outline: features are the key lines' affair
    worth = np.maximum(edge * agreed / max(settings.step, 1e-6) * (1 - 0.6 * face * (1 - round_it)), round_it)
    worth = analysis.blur(np.asarray(np.minimum(worth, 2), np.float32), 3 * unit)
    strengths = np.asarray(pen.sampled(np.minimum(edge * 14, 1) + settings.figure * round_it, points), np.float32)
    found = Curves.of(points, starts, strengths)
    return found.where(worth, 0.8, inside=True).longer(settings.shortest * unit / math.sqrt(2))
