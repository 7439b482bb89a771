"""What a photo is of: figure and ground.

Guessed from what a photographer does: the subject is sharp, near the middle, a person, and of colours that the frame of the picture has
not (boundary connectivity, Zhu, Liang, Wei & Sun 2014, https://doi.org/10.1109/CVPR.2014.360); then cut out along edges. What a network
is sure of needs no guess (subject/foreground.py).
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from stylekit.hand.analysis import Box, Floats, blur, edges, lightness, resized, smoothstep, to_lab
from stylekit.hand.areas.regions import Labels, flooded, measured
from stylekit.pixels.cutting import cut_out

AREA = 132 * 132  # pixels of the copy that is looked at
OPENED = 0.55  # median light of the photo that is looked at
ROUNDS = 3  # of GrabCut
FOOT = 0.3  # what the lower side of the frame counts, against the others
FRAME = 7.0  # CIE Lab; steps below it are within one thing
LEAST, COMPACT = 0.04, 0.25  # share of the picture, and of the box around it, that a figure has at least
STEP = 12.0  # CIE Lab; a figure stands out from the ground by so much along half of its border
MUCH = 0.06  # share of the picture from which what is known is all that it is of
BESIDE = 0.8  # what a guess counts beside what is known
SURE, LIKELY, UNLIKELY = 0.72, 0.42, 0.12  # guesses that are taken for certain, for more and for less than even


def figure(photo: Floats, boxes: list[Box], known: Floats) -> Floats:
    """(h, w) in 0..1: how likely each place of (h, w, 3) sRGB is part of what the photo is of; 0 everywhere where nothing stands out.

    photo: with its dark tones opened. boxes: faces (x, y, width, height) in it. known: (h, w) in 0..1, see
    `foreground.foreground`."""
    h, w = photo.shape[:2]
    smaller = min(1.0, math.sqrt(AREA / (h * w)))
    size = max(1, round(w * smaller)), max(1, round(h * smaller))
    if min(size) < 24 or known.mean() > MUCH:
        return known
    small, sure = resized(photo, size), resized(known, size)
    # whose body is seen needs no guess
    alone = [(x, y, a, b) for x, y, a, b in boxes if known[max(0, y) : y + b, max(0, x) : x + a].mean() < 0.5]
    guess = guessed(small, [(x * smaller, y * smaller, a * smaller, b * smaller) for x, y, a, b in alone])
    if sure.any():
        guess = np.maximum(BESIDE * guess, sure)
    mask = np.full(guess.shape, cv2.GC_BGD, np.uint8)
    mask[guess > UNLIKELY] = cv2.GC_PR_BGD
    mask[guess > LIKELY] = cv2.GC_PR_FGD
    mask[guess > SURE] = cv2.GC_FGD
    inside = float(((mask == cv2.GC_PR_FGD) | (mask == cv2.GC_FGD)).mean())
    if not 0.01 < inside < 0.9 or (mask == cv2.GC_BGD).mean() < 0.02:
        return known
    cut = without_scraps(cut_out(np.asarray(np.clip(small * 255, 0, 255), np.uint8), mask, ROUNDS, seed=1))
    rows, columns = np.flatnonzero(cut.any(1)), np.flatnonzero(cut.any(0))
    # slivers and spots are parts of something else
    if cut.mean() < LEAST or cut.sum() < COMPACT * len(rows) * len(columns) or step_across(cut, to_lab(small)) < STEP:
        return known
    return np.maximum(known, np.clip(resized(blur(cut.astype(np.float32), 0.8), (w, h), cv2.INTER_CUBIC), 0, 1))


def guessed(photo: Floats, boxes: list[tuple[float, float, float, float]]) -> Floats:
    """(h, w) in 0..1: how likely each place is part of the subject, before it is cut out."""
    h, w = photo.shape[:2]
    lab = to_lab(photo)
    labels = flooded(blur(lab, 0.7), max(5.0, math.sqrt(h * w) / 18))
    away = framed(labels, lab)[labels]
    sharp = blur(edges(lightness(photo), 0.8), 3.0)
    sharp = np.clip(sharp / max(float(np.percentile(sharp, 95)), 0.02), 0, 1)
    ys, xs = np.mgrid[0:h, 0:w].astype(np.float32)
    across, down = (xs + 0.5) / w * 2 - 1, (ys + 0.5) / h * 2 - 1
    middle = np.exp(-(across**2 + (down - 0.1) ** 2) / 0.55)
    result = blur((0.62 * away + 0.38 * sharp) * (0.25 + 0.75 * middle), 1.5)
    result = result / max(float(np.percentile(result, 96)), 1e-6) * 0.7
    if boxes:
        result = result * 0.75
    for x, y, width, height in boxes:
        head = smoothstep(np.hypot((xs - x - width / 2) / (0.62 * width), (ys - y - 0.42 * height) / (0.82 * height)), 1.15, 0.8)
        # shoulders, and what is below them
        spread = (0.55 + 0.5 * smoothstep(ys, y + 1.15 * height, y + 1.9 * height)) * width
        body = smoothstep(np.abs(xs - x - width / 2) / spread, 1.3, 0.7) * (ys > y + 0.9 * height)
        core = smoothstep(np.abs(xs - x - width / 2) / width, 0.5, 0.3) * (ys > y + 0.9 * height) * (ys < y + 2.6 * height) * (body > 0.5)
        result = np.maximum(result, np.maximum(0.95 * head, 0.62 * body + 0.2 * core))
    return np.asarray(np.clip(result, 0, 1), np.float32)


def framed(labels: Labels, lab: Floats) -> Floats:
    """(n,) in 0..1: how far each of (h, w) labels is, by way of colours, from what belongs to the frame of the picture."""
    areas = measured(labels, lab, np.ones(labels.shape, np.float32))
    n = len(areas.mass)
    if n < 3:
        return np.zeros(n, np.float32)
    one, other = areas.pairs.T
    apart = np.maximum(np.sqrt(((areas.lab[one] - areas.lab[other]) ** 2).sum(-1)) - FRAME, 0.01)
    graph = coo_matrix((apart, (one, other)), (n, n)).tocsr()
    far = dijkstra(graph, directed=False)
    near = np.exp(-((far / 14) ** 2))  # how much of the same thing two areas are
    rim = np.concatenate([labels[0], labels[:, 0], labels[:, -1], labels[-1]])
    # people and animals stand on the lower side of the frame
    weight = np.ones(len(rim))
    weight[-labels.shape[1] :] = FOOT
    border = np.bincount(rim, weight, n)
    length = near @ border
    extent = near @ areas.mass
    # a thing that is cut by the frame here and there is not yet ground
    connected = length / np.sqrt(extent)
    ground = smoothstep(connected, 0.8, 2.2)
    seeds = np.flatnonzero((border > 0) & (ground > 0.5))
    if not len(seeds):
        return np.asarray(1 - ground, np.float32)
    reach = far[seeds].min(0)
    return np.asarray((1 - ground) * smoothstep(reach, 2, 30), np.float32)


def step_across(mask: NDArray[np.bool_], lab: Floats) -> float:
    """Median difference of (h, w, 3) Lab between both sides of the border of (h, w) mask, a few pixels off; 0 without a border."""
    inside = mask.astype(np.float32)
    rim = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    if not rim.any():
        return 0.0
    one, other = (blur(part[..., None] * lab, 2)[rim] / np.maximum(blur(part, 2)[rim], 1e-3)[:, None] for part in (inside, 1 - inside))
    return float(np.median(np.sqrt(((one - other) ** 2).sum(-1))))


def without_scraps(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(h, w) mask without pieces and holes that are small beside the whole."""
    for wanted in (True, False):
        plane = np.asarray(mask == wanted, np.uint8)
        count, parts, stats, _ = cv2.connectedComponentsWithStats(plane, connectivity=4)
        if count < 2:
            continue
        area = stats[:, cv2.CC_STAT_AREA].copy()
        area[0] = 0
        small = area < (0.12 * area.max() if wanted else 0.015 * mask.size)
        small[0] = False
        mask = np.where(small[parts], not wanted, mask)
    return mask
