"""Borders of areas as curves: maps of labels finer than the labels themselves."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from stylekit.hand.analysis import Floats, blur
from stylekit.hand.areas.polygons import polygon
from stylekit.hand.areas.regions import Labels, filled, interior, windows
from stylekit.hand.marks import runs
from stylekit.hand.marks.fairing import stretches

SHARE = 0.2  # of a piece's area to its border, by which that may be moved at most
BEYOND = 4.0  # pixels that a piece goes on beyond the picture's frame


def curved(labels: Labels, tolerance: float, face: Floats, fine: int) -> NDArray[np.uint16]:
    """(fine h, fine w) map of (h, w) labels below 65535 whose borders are long curves and straight lines with few corners.

    tolerance: pixels of the plan by which a border may be moved; half as much in faces, less where a piece is small or thin. Every
    connected piece is drawn as a polygon of its straight stretches, the large first, so that the small keep their shape."""
    h, w = labels.shape
    if min(h, w) < 6:  # too narrow for a curve
        return np.asarray(labels.repeat(fine, 0).repeat(fine, 1), np.uint16)
    shapes = []
    for label, (rows, columns) in windows(labels, 0):
        mask = np.asarray(labels[rows, columns] == label, np.uint8)
        outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=(columns.start, rows.start))
        shapes += [(cv2.contourArea(outline), label, outline[:, 0]) for outline in outlines]
    shapes.sort(key=lambda shape: -shape[0])
    points = np.concatenate([outline for *_, outline in shapes])
    starts = runs.counted(np.array([len(outline) for *_, outline in shapes]))
    x, y = points.T
    thick = np.array([area for area, *_ in shapes]) / np.diff(starts)
    loose = np.asarray(np.minimum(tolerance, SHARE * thick) * (1 - 0.5 * runs.means(face[y, x], starts)), np.float32)
    # what ends at the picture's frame goes on beyond it
    frame = (x == 0) + 2 * (x == w - 1) + 4 * (y == 0) + 8 * (y == h - 1)
    points = points.astype(np.float32)
    sides = stretches(points, starts, loose, np.ones(len(shapes), bool), frame)
    begin = np.searchsorted(sides.path, np.arange(len(shapes) + 1))
    unknown = 65535
    result = np.full((h * fine, w * fine), unknown, np.uint16)
    for number, (_, label, outline) in enumerate(shapes):
        own = sides.part(slice(begin[number], begin[number + 1]))
        if len(own) < 3 or len(outline) <= 8:
            # an outline runs through the middle of its pixels
            shape = outline + 0.35 * np.sign(outline - outline.mean(0))
        else:
            out = np.where(frame[own.first] > 0, BEYOND, 0.5) * np.sign(cv2.contourArea(outline, True))
            shape = polygon(points, own, out, float(loose[number]))
        cv2.fillPoly(result, [np.round(((shape + 0.5) * fine - 0.5) * 16).astype(np.int32)], int(label), cv2.LINE_8, 4)
    return filled(result, result == unknown)


def away(fine: NDArray[np.uint16]) -> Floats:
    """(h, w) pixels to the nearest border between two numbers."""
    calm = interior(fine)
    if calm.all():
        return np.full(fine.shape, 1e4, np.float32)
    return blur(np.asarray(cv2.distanceTransform(calm, cv2.DIST_L2, 5), np.float32), 1.2)
