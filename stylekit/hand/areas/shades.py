"""Light and shade within flat areas: parts of an area in a step darker or lighter of its own ink, where the photo is so."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from stylekit.hand.analysis import Floats, blur, smoothstep, to_lab, to_rgb
from stylekit.hand.areas.regions import Labels, interior, windows
from stylekit.hand.palettes import YELLOW

Mask = NDArray[np.bool_]
STEP = 12.0, 20.0, 11.0  # CIE lightness from which two sides are told apart: of the figure, of the ground, of skin
GROUND = 3.0  # how many times as wide as one of the figure a part of the ground has to be
WIDE = 3.0  # times the smallest part: an area has to be as wide to have parts
SOFTER = 1, 2, 3  # times the usual blur that are tried until borders are calm
SOFT = 0.05  # blur in parts of an area's side
SOFTEST, SHARPEST, SKIN = 3.0, 0.9, 1.4  # units: the most and the least of it, and that of skin
RAGGED = 4.4  # length of the borders within an area, in parts of its side, above which its light is a texture
CORE = 0.3  # share of an area off its own border, below which it is all border
THIN = 0.6  # times the smallest part: what is nowhere as wide is none
NEUTRAL = 60.0, 16.0  # CIE lightness and chroma of black and grey
DARKER, LIGHTER = 11.0, 11.0  # CIE lightness by which an ink's shade and its light differ from it
TURN = 10.0  # degrees of hue in CIE Lab by which shade turns away from yellow, and light half as far towards it
BLUSH = np.array([-9, 6, 3], np.float32)  # CIE Lab from skin to its shade


@dataclass(frozen=True, kw_only=True)
class Shading:
    """least: pixels, the width of the smallest part. unit: pixels of a unit. skin: the number of the ink of skin, -1 for none. plain:
    numbers of inks without light and shade."""

    least: float
    unit: float
    skin: int = -1
    plain: frozenset[int] = frozenset()


def shaded(inked: Labels, light: Floats, figure: Floats, count: int, how: Shading) -> Labels:
    """(h, w) numbers k of `count` inks with k + count where an area is in shade, k + 2 count where it is lit.

    light: (h, w) CIE lightness. figure: (h, w) in 0..1, what the photo is of, where smaller differences count. Two levels or three within
    each connected area, cut where they part its light best (Otsu 1979, https://doi.org/10.1109/TSMC.1979.4310076); the middle one, or the
    larger of two, keeps the ink."""
    result = inked.copy()
    pure = cv2.erode(interior(inked), np.ones((3, 3), np.uint8)) > 0
    margin = math.ceil(2 * SOFTEST * how.unit)
    for ink, box in windows(inked, margin):
        if ink in how.plain:
            continue
        mask = np.asarray(inked[box] == ink, np.uint8)
        parts, stats = cv2.connectedComponentsWithStats(mask, connectivity=4)[1:3]
        for part, (x, y, w, h, area) in enumerate(stats.tolist()):
            if part == 0 or area < (WIDE * how.least) ** 2:
                continue
            near = slice(max(0, y - margin), y + h + margin), slice(max(0, x - margin), x + w + margin)
            inside = parts[near] == part
            level = _levels(light[box][near], inside, inside & pure[box][near], float(figure[box][near][inside].mean()), ink, how)
            if level is None:
                continue
            sizes = np.bincount(level[inside])
            base = 1 if len(sizes) == 3 else int(sizes.argmax())
            own = result[box][near]
            own[inside & (level < base)] = ink + count
            own[inside & (level > base)] = ink + 2 * count
    return result


def _levels(light: Floats, inside: Mask, core: Mask, figure: float, ink: int, how: Shading) -> NDArray[np.int32] | None:
    """(h, w) 0, 1 or 0, 1, 2 from dark to light inside an area; None where its light is even, or a texture."""
    area = int(inside.sum())
    if core.sum() < CORE * area:
        return None
    skin = ink == how.skin
    gap = STEP[2] if skin else STEP[1] + figure * (STEP[0] - STEP[1])
    least = how.least * (0.8 if skin else GROUND + figure * (1 - GROUND))
    sigma = how.unit * (SKIN if skin else min(max(SOFT * math.sqrt(area) / how.unit, SHARPEST), SOFTEST))
    for softer in SOFTER:
        tone = _within(light, inside, core, softer * sigma)
        cuts = _cuts(tone[inside], gap, least**2, 1 if skin else 2)
        if not cuts:
            return None
        level = np.zeros(inside.shape, np.int32)
        for cut in cuts:
            above = _within(np.asarray(tone >= cut, np.float32), inside, inside, 1.2 * softer * sigma) > 0.5
            level += _cleaned(above & inside, inside, least)
        if skin or _border(level, inside) <= RAGGED * math.sqrt(area):
            return level if len(np.unique(level[inside])) > 1 else None
    return None


def _cuts(values: Floats, gap: float, least: float, most: int) -> list[float]:
    """At most 1 or 2 values that part all of them into levels `gap` apart, none of fewer than `least`."""
    cut = _parted(values, gap, least)
    if cut is None:
        return []
    if most == 1:
        return [cut]
    finer = [_parted(part, gap, least) for part in (values[values < cut], values[values >= cut])]
    cuts = sorted([cut, *(c for c in finer if c is not None)])
    return [cuts[0], cuts[-1]] if len(cuts) > 1 else cuts


def _parted(values: Floats, gap: float, least: float) -> float | None:
    """The value that parts all of them best; None where the two sides are less than `gap` apart, or one has fewer than `least`."""
    if values.size < 2 or float(np.ptp(values)) < gap:
        return None
    counts, edges = np.histogram(values, 64)
    middles = 0.5 * (edges[:-1] + edges[1:])
    below, total = np.cumsum(counts)[:-1], int(counts.sum())
    sums = np.cumsum(counts * middles)
    both = (below > 0) & (below < total)
    if not both.any():
        return None
    low, high = sums[:-1] / np.maximum(below, 1), (sums[-1] - sums[:-1]) / np.maximum(total - below, 1)
    best = int((below * (total - below) * (high - low) ** 2 * both).argmax())
    if high[best] - low[best] < gap or min(int(below[best]), total - int(below[best])) < least:
        return None
    return float(edges[best + 1])


def _within(plane: Floats, inside: Mask, core: Mask, sigma: float) -> Floats:
    """(h, w) blurred by what lies in the core alone, inside: nothing of the neighbours bleeds in."""
    part = np.asarray(core, np.float32)
    result = np.full_like(plane, plane[inside].mean())
    left = inside.copy()
    for wide in (sigma, 2 * sigma, 6 * sigma):
        weight = blur(part, wide)
        near = left & (weight > 0.15)
        result[near] = blur(plane * part, wide)[near] / weight[near]
        left &= ~near
    return result


def _cleaned(lit: Mask, inside: Mask, least: float) -> Mask:
    """(h, w) without the parts, first of the lit and then of the other, that are smaller than `least` squared or nowhere wide enough."""
    for value in (True, False):
        mask = np.asarray(inside & (lit == value), np.uint8)
        count, parts, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
        deep = cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
        widest = np.zeros(count)
        np.maximum.at(widest, parts.ravel().astype(np.int64), deep.ravel())
        gone = (stats[:, cv2.CC_STAT_AREA] < least**2) | (2 * widest < THIN * least)
        gone[0] = False
        lit = np.where(gone[parts], not value, lit) & inside
    return lit


def _border(level: NDArray[np.int32], inside: Mask) -> int:
    """Pixels of border between levels inside."""
    down = (level[1:] != level[:-1]) & inside[1:] & inside[:-1]
    across = (level[:, 1:] != level[:, :-1]) & inside[:, 1:] & inside[:, :-1]
    return int(down.sum() + across.sum())


def steps(inks: Floats, skin: int = -1) -> Floats:
    """(3 n, 3) sRGB in 0..1 of (n, 3) inks, then their shades, then their lights. skin: the number of the ink of skin, -1 for none."""
    lab = to_lab(inks[None])[0]
    light, chroma = lab[:, 0], np.hypot(lab[:, 1], lab[:, 2])
    hue = np.degrees(np.arctan2(lab[:, 2], lab[:, 1]))
    beyond = (hue - YELLOW + 180) % 360 - 180
    away = np.sign(beyond) * np.minimum(TURN, 180 - np.abs(beyond))

    def turned(light: Floats, chroma: Floats, hue: Floats) -> Floats:
        angle = np.radians(hue)
        return np.asarray(np.stack([light, chroma * np.cos(angle), chroma * np.sin(angle)], 1), np.float32)

    shade = turned(light - np.minimum(DARKER, 0.4 * light), chroma, hue + away)
    lit = turned(light + np.minimum(LIGHTER, 0.6 * (97 - light)), 0.92 * chroma, hue - 0.5 * away)
    # the shade of what has no hue is cool, and pale on paper
    cool = np.column_stack([light - np.where(light < 80, DARKER, 7), np.full_like(light, -1), np.full_like(light, -5)])
    shade = np.asarray(shade + smoothstep(chroma, 14, 7)[:, None] * (cool - shade), np.float32)
    if skin >= 0:
        shade[skin] = lab[skin] + BLUSH
    return np.concatenate([inks, to_rgb(shade[None])[0], to_rgb(lit[None])[0]]).astype(np.float32)


def unshaded(inks: Floats) -> frozenset[int]:
    """The numbers of those of (n, 3) Lab that are black or grey: on them light and shade are dirt."""
    return frozenset(np.flatnonzero((inks[:, 0] < NEUTRAL[0]) & (np.hypot(inks[:, 1], inks[:, 2]) < NEUTRAL[1])).tolist())
