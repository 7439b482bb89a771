"""Borders of areas as curves: maps of labels finer than the labels themselves."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from stylekit.hand.analysis import Floats, blur, resized
from stylekit.hand.areas.regions import Labels, filled, windows

SHARP = 0.35  # cosine; a corner that turns the border by more than about 110 degrees less than this stays sharp


def curved(labels: Labels, tolerance: float, face: Floats, fine: int) -> NDArray[np.uint16]:
    """(fine h, fine w) map of (h, w) labels below 65535 whose borders are long curves with few corners.

    tolerance: pixels of the plan by which a border may be moved; half as much in faces. Every connected piece is drawn as a polygon
    (Douglas & Peucker 1973) whose blunt corners are cut three times (Chaikin 1974), the large first, so that the small keep their shape."""
    h, w = labels.shape
    if min(h, w) < 6:  # too narrow for a curve
        return np.asarray(labels.repeat(fine, 0).repeat(fine, 1), np.uint16)
    shapes = []
    for label, (rows, columns) in windows(labels, 0):
        mask = np.asarray(labels[rows, columns] == label, np.uint8)
        outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=(columns.start, rows.start))
        for outline in outlines:
            shapes.append((cv2.contourArea(outline), label, outline))
    shapes.sort(key=lambda shape: -shape[0])
    unknown = 65535
    result = np.full((h * fine, w * fine), unknown, np.uint16)
    for _, label, outline in shapes:
        at = outline[:, 0]
        loose = tolerance * (1 - 0.5 * float(face[at[:, 1], at[:, 0]].mean()))
        corners = cv2.approxPolyDP(outline, loose, True)[:, 0].astype(np.float64) if len(outline) > 8 else at.astype(np.float64)
        # the outline runs through the middle of pixels: half a pixel is given back, and at the frame the piece goes on beyond it
        centre = corners.mean(0)
        corners = corners + 0.35 * np.sign(corners - centre)
        for axis, size in ((0, w), (1, h)):
            corners[:, axis] = np.where(corners[:, axis] <= 1, -4, np.where(corners[:, axis] >= size - 2, size + 3, corners[:, axis]))
        points = _rounded(_rounded(_rounded(corners))) if len(corners) > 3 else corners
        points = np.round(((points + 0.5) * fine - 0.5) * 16).astype(np.int32)
        cv2.fillPoly(result, [points], int(label), cv2.LINE_8, 4)
    gaps = result == unknown
    return filled(result, gaps)


def _rounded(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Closed polygon (n, 2) with each blunt corner cut at a quarter of its sides; sharp ones stay."""
    before, after = np.empty_like(corners), np.empty_like(corners)
    after[:-1] = corners[1:] - corners[:-1]
    after[-1] = corners[0] - corners[-1]
    before[1:], before[0] = -after[:-1], -after[-1]
    length = np.sqrt((before * before).sum(1) * (after * after).sum(1))
    blunt = (before * after).sum(1) < -SHARP * length
    both = np.stack([np.where(blunt[:, None], corners + 0.25 * before, corners), corners + 0.25 * after], 1)
    keep = np.stack([np.ones_like(blunt), blunt], 1)
    return both.reshape(-1, 2)[keep.ravel()]


def smooth(labels: Labels, sigma: float, fine: int) -> NDArray[np.uint16]:
    """(fine h, fine w) map of (h, w) labels whose borders are curves without wriggles below sigma pixels."""
    h, w = labels.shape
    best, result = np.full((h * fine, w * fine), -1, np.float32), np.zeros((h * fine, w * fine), np.uint16)
    margin = math.ceil(3.5 * sigma) + 2
    for label, (rows, columns) in windows(labels, margin):
        soft = blur(np.asarray(labels[rows, columns] == label, np.float32), sigma)
        soft = resized(soft, (soft.shape[1] * fine, soft.shape[0] * fine), cv2.INTER_CUBIC)
        here = slice(rows.start * fine, rows.stop * fine), slice(columns.start * fine, columns.stop * fine)
        wins = soft > best[here]
        best[here][wins] = soft[wins]
        result[here][wins] = label
    return result


def away(fine: NDArray[np.uint16]) -> Floats:
    """(h, w) pixels to the nearest border between two numbers."""
    calm = np.ones(fine.shape, np.uint8)
    across, down = fine[:, :-1] == fine[:, 1:], fine[:-1] == fine[1:]
    calm[:, :-1] &= across
    calm[:, 1:] &= across
    calm[:-1] &= down
    calm[1:] &= down
    if calm.all():
        return np.full(fine.shape, 1e4, np.float32)
    return blur(np.asarray(cv2.distanceTransform(calm, cv2.DIST_L2, 5), np.float32), 1.2)
