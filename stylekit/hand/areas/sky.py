"""The calm ground that touches a picture's top, and how a block is wiped there (bokashi)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stylekit.hand import analysis
from stylekit.hand.analysis import Floats
from stylekit.hand.areas.pigments import CHART, PAPER, chart
from stylekit.hand.areas.regions import Areas
from stylekit.hand.palettes import colour_of

DARK_SKY = 38.0  # CIE L below which a sky is one of night or shade
CALM = 0.16  # busyness below which ground is calm enough to be printed as sky
ENDS = 0.5  # how surely a thing ends at a border behind which the sky does not go on


def ground(pieces: Areas, shown: Floats, face: Floats, unit: float, sure: Floats | None = None) -> NDArray[np.bool_]:
    """(n,) which areas are sky, or a wall that is printed like one: calm, joined to the top, and not what the eye is drawn to.

    sure: (m,) in 0..1, how surely a thing ends between each two neighbours; the sky does not go on behind that."""
    labels, lab = pieces.labels, pieces.lab
    h, w = labels.shape
    n = len(lab)
    count = np.maximum(np.bincount(labels.ravel(), minlength=n), 1)

    def share(plane: Floats) -> Floats:
        return np.asarray(np.bincount(labels.ravel(), plane.ravel(), n) / count, np.float32)

    light = analysis.lightness(shown)
    busy, faces = share(analysis.busyness(light, max(1.0, 3 * unit))), share(face)
    strip = labels[: max(1, h // 60)]
    top = np.bincount(strip.ravel(), minlength=n) / strip.size
    calm = (busy < 2 * CALM) & (faces < 0.1)
    # wood, fur and skin are warm and not quite smooth; a warm sky is smooth
    angle = np.degrees(np.arctan2(lab[:, 2], lab[:, 1])) % 360
    warm = (np.hypot(lab[:, 1], lab[:, 2]) > 13) & ((angle < 95) | (angle > 345))
    slope = share(analysis.blur(analysis.edges(light, 0.8), max(1.0, 3 * unit)))
    seeds = (busy < CALM) & calm & (top > 0.04) & ~(warm & (slope > 0.007))
    none = np.zeros(n, bool)
    if top[seeds].sum() < 0.25:
        return none
    # grown into calm neighbours of much the same colour
    member = seeds.copy()
    pairs = pieces.pairs if sure is None else pieces.pairs[sure < ENDS]
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    weight = (count * top)[seeds]
    mean = (lab[seeds] * weight[:, None]).sum(0) / weight.sum()
    alike = np.sqrt(((lab - mean) ** 2 * np.array([0.35, 1, 1])).sum(1)) < 26
    height = share(np.repeat(np.arange(h, dtype=np.float32)[:, None], w, 1)) / h
    for _ in range(12):
        near = none.copy()
        near[pairs[member[pairs[:, 0]], 1]] = True
        grown = member | (near & calm & alike & (height < 0.85))
        if (grown == member).all():
            break
        member = grown
    return np.asarray(member) if count[member].sum() > 0.04 * h * w else none


def wiped(lab: Floats, mass: Floats, sky: NDArray[np.bool_], bokashi: float) -> tuple[Floats, Floats, float]:
    """sRGB of the sky's top and of its foot, and how far down the top reaches, 0..1."""
    paper = colour_of(PAPER, "The paper")
    if not sky.any():
        return paper, paper, 0.0
    weight = mass[sky] / max(float(mass[sky].sum()), 1e-9)
    light, a, b = (lab[sky] * weight[:, None]).sum(0)
    chroma, angle = math.hypot(a, b), math.degrees(math.atan2(b, a)) % 360
    indigo, names, table = colour_of("#1f4a80", "A pigment"), *chart()
    hue = min((n for n in names if n != "grey"), key=lambda n: abs((angle - CHART[n][0] + 180) % 360 - 180)) if chroma > 10 else "grey"
    row = table[names.index(hue)]
    if light > 62:
        # a light ground stays paper, or has a breath of its hue
        foot = row[1] * 0.6 + row[0] * 0.4 if hue in ("blue", "teal") else row[0]
        top, reach = indigo, 0.5
    elif light > DARK_SKY:
        foot = row[1] if hue in ("blue", "teal", "grey") else row[2] * 0.5 + row[1] * 0.5
        top, reach = (indigo if hue in ("blue", "teal", "grey", "violet") else row[3]), 0.6
    else:
        cool = hue in ("blue", "teal", "grey", "violet")
        foot, top, reach = (row[3], colour_of("#172747", "A pigment"), 0.95) if cool else (row[4], row[5], 0.7)
    return np.asarray(foot + np.float32(bokashi) * (top - foot), np.float32), np.asarray(foot, np.float32), reach


def depth(sky: NDArray[np.bool_]) -> tuple[float, float]:
    """Where the sky begins and ends, in parts of the height."""
    rows = np.flatnonzero(sky.any(1))
    return (float(rows[0]) / len(sky), float(rows[-1] + 1) / len(sky)) if len(rows) else (0.0, 1.0)
