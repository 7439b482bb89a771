"""Panes of coloured glass in lead: glowing fields, each a little graded, between dark bars of even width.

Panes are fields (hand/fields.py) that are divided where they are larger than glass is cut; the bars run along their borders.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from stylekit.hand.analysis import Floats, blur, enlarged, opened, resized, smoothstep, to_lab, to_rgb
from stylekit.hand.areas.accents import features
from stylekit.hand.areas.borders import away, curved
from stylekit.hand.areas.regions import Labels, measured, renumbered, windows, without_crumbs
from stylekit.hand.fields import FINE, WORK_AREA, pieces, work_size
from stylekit.hand.view import Layer, Nothing, View
from stylekit.ranges import check, ranged

SALT = 7301  # added to the seed: randomness of this tool alone
OPENED = 0.55  # median light of the photo in which panes are found
BLOCK = 128  # rows of the result drawn at once


@dataclass(frozen=True, kw_only=True)
class Glass:
    """count, things: of the fields that follow what is in the photo, as theirs. pane: width in units of the largest piece of glass.
    texture, rounding: as of the fields. lead: width of a bar in units. vivid: factor on chroma. glow: 0..1, how much lighter a pane is in
    its middle. streaks: 0..1, how uneven the glass is. features: 0..1, how dark eyes and mouths are painted on it."""

    count: int = ranged(80, 2, 400)
    things: float = ranged(0.0, 0, 3)
    pane: float = ranged(72.0, 12, 400)
    texture: float = ranged(2.4, 0.5, 12)
    rounding: float = ranged(1.6, 0.3, 8)
    lead: float = ranged(3.0, 0.3, 12)
    vivid: float = ranged(1.7, 0.5, 3)
    glow: float = ranged(0.5, 0, 1)
    streaks: float = ranged(0.5, 0, 1)
    features: float = ranged(1.0, 0, 1)

    def __post_init__(self) -> None:
        check(self, "The glass's ")


def plan_glass(view: View, settings: Glass, colours: Floats) -> Layer:
    """Panes of `colours` (h, w, 3), sRGB in 0..1, cut along the shapes of the view's photo."""
    if not view.amount.any():
        return Nothing()
    rng = np.random.default_rng(view.seed + SALT)
    smaller, size = work_size(view, WORK_AREA)
    unit = view.unit * view.detail * smaller
    face = resized(view.sight.face_map(), size)
    shown = resized(view.sight.opened(OPENED), size)
    edge = resized(view.sight.contours(), size) if settings.things else None
    figure, skin = resized(view.sight.figure(), size), resized(view.sight.skin(), size)
    labels, _ = pieces(shown, face, settings.count, settings.texture * unit, skin=skin, outline=figure, edge=edge, things=settings.things)
    labels = without_crumbs(labels, (5 * unit) ** 2 * (1 - 0.75 * face))
    labels = cut(labels, face, settings.pane * unit, rng)
    labels = without_crumbs(labels, (9 * unit) ** 2 * (1 - 0.75 * face))
    labels = parted(labels)
    lab = measured(labels, to_lab(opened(resized(colours, size), 0.6)), np.ones_like(face)).lab
    fine = curved(labels, settings.rounding * unit, face, FINE)
    # thinner lead in faces: there the lines are features
    far = away(fine) / np.float32(FINE * unit) * (1 + 0.9 * resized(face, (fine.shape[1], fine.shape[0]), cv2.INTER_LINEAR))
    return GlassLayer(
        fine=fine,
        panes=glowing(lab, settings.vivid, rng),
        away=far,
        ripple=ripple(size, unit, rng) * np.float32(settings.streaks),
        painted=np.asarray(blur(np.float32(settings.features) * features(view.sight, fine.shape), 1.2), np.float32),
        lead=settings.lead,
        glow=settings.glow,
        unit=view.unit * view.detail * view.scale,
        amount=view.amount,
        size=view.size,
    )


def cut(labels: Labels, face: Floats, width: float, rng: np.random.Generator) -> Labels:
    """(h, w) labels with those larger than a pane of `width` pixels divided by straight cuts; faces stay whole."""
    h, w = labels.shape
    rows, columns = max(1, round(h / width)), max(1, round(w / width))
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float64)
    # every second row is shifted, as bricks are, and all places waver
    places = np.stack([(y + 0.5) * h / rows, (x + 0.5 + 0.25 * (-1) ** y) * w / columns], -1).reshape(-1, 2)
    places += rng.uniform(-0.22, 0.22, places.shape) * (h / rows, w / columns)
    # every second pixel does: borders become curves afterwards
    at = np.mgrid[0:h:2, 0:w:2].reshape(2, -1).T
    cell = cKDTree(places).query(at)[1].reshape(-(-h // 2), -1).repeat(2, 0).repeat(2, 1)[:h, :w]
    area = np.bincount(labels.ravel())
    share = np.bincount(labels.ravel(), face.ravel()) / np.maximum(area, 1)
    large = (area > 1.3 * width * width) & (share < 0.3)
    return renumbered(np.asarray(labels * (len(places) + 1) + np.where(large[labels], cell + 1, 0), np.int32))


def parted(labels: Labels) -> Labels:
    """(h, w) labels, a number for every connected piece."""
    result = np.zeros_like(labels)
    total = 0
    for label, box in windows(labels, 0):
        count, parts = cv2.connectedComponents(np.asarray(labels[box] == label, np.uint8), connectivity=4)
        result[box] += np.where(parts > 0, parts + np.int32(total - 1), 0).astype(np.int32)
        total += count - 1
    return result


def glowing(lab: Floats, vivid: float, rng: np.random.Generator) -> Floats:
    """(n, 3) sRGB of panes of (n, 3) Lab: light behind them, deep colours, no two quite the same."""
    light, chroma = lab[:, 0].astype(np.float64), np.hypot(lab[:, 1], lab[:, 2])
    hue = np.arctan2(lab[:, 2], lab[:, 1])
    # what has no colour is blue in the dark and amber in the light, as old windows are
    plain = smoothstep(chroma, 9, 2)
    plain_hue = np.where(light < 62, math.radians(-75), math.radians(80))
    hue = np.where(plain > 0.5, plain_hue, hue) + rng.normal(0, 0.08, len(lab))
    # faint colours gain most; the skin of a face is not made orange
    skin = (
        smoothstep(light, 45, 62)
        * smoothstep(chroma, 36, 26)
        * smoothstep(chroma, 7, 12)
        * smoothstep(np.abs(np.degrees(hue) - 52), 32, 20)
    )
    deep = 9 + chroma * (vivid - (vivid - 1) * 0.7 * skin)
    deep = np.minimum(deep * (1 - plain) + plain * np.where(light < 62, 34, 19), 84) * rng.uniform(0.9, 1.14, len(lab))
    light = 16 + 0.75 * light + 4 * skin + rng.normal(0, 3.5, len(lab))
    return to_rgb(np.stack([np.clip(light, 8, 93), deep * np.cos(hue), deep * np.sin(hue)], -1)[None].astype(np.float32))[0]


def ripple(size: tuple[int, int], unit: float, rng: np.random.Generator) -> Floats:
    """(h, w) about -1..1: how much lighter or darker uneven glass is, in long faint streaks."""
    w, h = size
    noise = rng.standard_normal((h, w)).astype(np.float32)
    streak = cv2.GaussianBlur(noise, (0, 0), sigmaX=1.2 * unit, sigmaY=9 * unit, borderType=cv2.BORDER_REFLECT)
    cloud = blur(noise, 14 * unit)
    return np.asarray(
        np.clip(0.45 * streak / max(float(streak.std()), 1e-6) + 0.6 * cloud / max(float(cloud.std()), 1e-6), -2, 2) / 2, np.float32
    )


@dataclass(frozen=True, kw_only=True)
class GlassLayer:
    """fine: (f h, f w) number of the pane. panes: (n, 3) sRGB. away: (f h, f w) units to the middle of the nearest bar. ripple: in -1..1.
    painted: (f h, f w) 0..1. lead: width in units. unit: pixels of the result in a unit. amount: (h, w). size: (W, H) of the result."""

    fine: NDArray[np.uint16]
    panes: Floats
    away: Floats
    ripple: Floats
    painted: Floats
    lead: float
    glow: float
    unit: float
    amount: Floats
    size: tuple[int, int]

    def colours(self, size: tuple[int, int]) -> Floats:
        """(h, w, 3) the panes at size (W, H), for tools that lay marks on them."""
        rows, columns = ((np.arange(n) + 0.5) * f / n for n, f in zip((size[1], size[0]), self.fine.shape, strict=True))
        return self.panes[self.fine[np.ix_(rows.astype(int), columns.astype(int))]]

    def apply(self, canvas: Floats, top: int) -> Floats:
        result = np.array(canvas, np.float32)
        width, height = self.size
        h, w = self.fine.shape
        columns = np.clip(((np.arange(width) + 0.5) * w / width).astype(int), 0, w - 1)
        for start in range(0, len(canvas), BLOCK):
            stop = min(start + BLOCK, len(canvas))
            first, count = top + start, stop - start
            line = np.clip(((np.arange(first, first + count) + 0.5) * h / height).astype(int), 0, h - 1)
            amount = enlarged(self.amount, self.size, first, count)
            away = enlarged(self.away, self.size, first, count)
            pane = self.panes[self.fine[np.ix_(line, columns)]]
            # lighter in the middle, darker beside the lead, where dirt gathers
            inner = np.clip((away - 0.5 * self.lead) / 11, 0, 1)
            shade = 1 + self.glow * (0.42 * inner * (2 - inner) - 0.26) + 0.13 * enlarged(self.ripple, self.size, first, count)
            drawn = enlarged(self.painted, self.size, first, count)
            if drawn.any():
                shade *= 1 - np.float32(0.86) * drawn
            glass = pane * shade[..., None]
            # more light than a colour can show turns it white
            over = np.maximum(glass.max(-1, keepdims=True) - 1, 0)
            glass = np.minimum(glass + 0.7 * over, 1)
            half = 0.5 * self.lead * np.sqrt(amount)
            bar = np.clip(0.5 + (half - away) * self.unit, 0, 1) * (half * self.unit > 0.1)
            metal = 0.055 + 0.10 * np.clip(1 - away / np.maximum(0.6 * half, 1e-6), 0, 1) ** 2
            under = result[start:stop]
            painted = under + smoothstep(amount, 0, 1)[..., None] * (glass - under)
            result[start:stop] = painted + bar[..., None] * (metal[..., None] * np.array([0.95, 0.97, 1.05], np.float32) - painted)
        return result
