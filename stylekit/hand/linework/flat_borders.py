"""Borders of flat areas as curves: those that stand for the end of a thing, an edge of the photo, or the outline of what it is of."""

from __future__ import annotations

import math

import cv2
import numpy as np
from skimage.morphology import skeletonize

from stylekit.hand import analysis
from stylekit.hand.areas.regions import interior
from stylekit.hand.linework.portrait import zones
from stylekit.hand.marks import pen
from stylekit.hand.marks.contours import Curves, joined, traced
from stylekit.hand.view import Floats, View

STEP = 0.012  # slope of light per unit
SHORTEST = 22.0  # units
BESIDE = 10.0  # units; a border this near to the figure's outline stands for it
OPENED = 0.55  # median light of the photo whose edges are looked at
GAP = 24.0  # units; a border that is none in between goes on
MEET = 3.0  # pixels; a junction of borders is no pixel of any
DOUBTED, SURE = 0.1, 0.3  # how surely a thing ends at a border that is drawn there by half, and wholly


def flat_borders(view: View, colours: Floats, step: float = STEP, shortest: float = SHORTEST, figure: float = 0.0) -> Curves:
    """Of the borders of the flat `colours` (h, w, 3) those at which a thing ends, those with an edge of the photo under them, steeper than
    `step`, and those of the figure, `figure` stronger, of more than `shortest` units."""
    unit = view.unit * view.detail
    subject, face = view.sight.figure(), view.sight.face_map()
    inside = np.asarray(subject > 0.5, np.uint8)
    inked = 1 - interior((colours * 255).astype(np.int32) @ np.array([65536, 256, 1], np.int32))
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
    worth = np.maximum(edge * agreed / max(step, 1e-6) * (1 - 0.6 * face * (1 - round_it)), round_it)
    ends = np.asarray(cv2.dilate(view.sight.contours(), np.ones((side, side), np.uint8)), np.float32)
    worth = np.maximum(worth, analysis.smoothstep(ends, DOUBTED, SURE) * (1 - face))
    worth = analysis.blur(np.asarray(np.minimum(worth, 2), np.float32), 3 * unit)
    strengths = np.asarray(pen.sampled(np.minimum(np.maximum(14 * edge, ends), 1) + figure * round_it, points), np.float32)
    # letters are their own outlines, and features have a pen of their own
    drawn = np.maximum(view.sight.letters().place(), zones(view.sight, jaws=False)[1])
    found = Curves.of(points, starts, strengths).where(drawn, 0.5, inside=False)
    return found.where(worth, 0.8, inside=True, gap=GAP * unit).longer(shortest * unit / math.sqrt(2)).meeting(MEET)
