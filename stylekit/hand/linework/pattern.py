"""A designed pattern in place of texture: evenly spaced, parallel, tapering strokes that follow fur, grass, water and foam."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from stylekit.hand import analysis
from stylekit.hand.linework.lines import InkLayer
from stylekit.hand.marks import pen
from stylekit.hand.palettes import colour_of
from stylekit.hand.subject.things import SMOOTH
from stylekit.hand.view import Floats, View
from stylekit.ranges import check, ranged

SALT = 7006  # added to the seed: randomness of this tool alone
OPENED = 0.55  # median light of the photo that is looked at
LOOSE = 0.35  # how far texture counts that has no direction
POINTS = 9  # of a stroke


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """spacing, length, weight: of strokes, in units. busy: how much texture a place needs to get any, 0..1. shade: 0..1, how far they stay
    out of the lights. ink: as #rrggbb. opacity: of the ink."""

    spacing: float = ranged(9.0, 2, 60)
    length: float = ranged(30.0, 4, 160)
    weight: float = ranged(1.6, 0.1, 8)
    busy: float = ranged(0.3, 0.02, 1)
    shade: float = ranged(0.5, 0, 1)
    ink: str = "#14141a"
    opacity: float = ranged(1.0, 0, 1)

    def __post_init__(self) -> None:
        check(self, "The pattern's ")
        colour_of(self.ink, "The pattern's ink")


def plan_pattern(view: View, settings: Pattern, colours: Floats) -> InkLayer:
    """Strokes where the view's photo has texture; colours is not looked at."""
    return InkLayer(view, pen.Sheet(strokes(view, settings), view.photo.shape[:2], view.size, bent=False), settings.ink, settings.opacity)


def strokes(view: View, settings: Pattern) -> pen.Strokes:
    """Strokes along the flow of the texture, each at least a spacing away from the others."""
    h, w = view.photo.shape[:2]
    unit = view.unit * view.detail
    if not view.amount.any() or min(h, w) < 24:
        return pen.no_strokes()
    rng = np.random.default_rng(view.seed + SALT)
    light = view.sight.lightness(OPENED)
    fine = np.abs(light - analysis.blur(light, 2.2 * unit))
    # texture is detail all around, not an edge with calm on both sides
    rough = analysis.blur(fine, 7 * unit)
    calmest = cv2.erode(analysis.blur(fine, 3 * unit), np.ones((2 * max(1, round(4 * unit)) + 1,) * 2, np.uint8))
    texture = analysis.smoothstep(np.sqrt(rough * calmest), 0.05 * settings.busy, 0.16 * settings.busy)
    texture = texture * (1 - view.sight.face_map()) * (1 - view.sight.skin()) * (1 - view.sight.letters().place())
    texture = texture * (1 - view.sight.things().of(SMOOTH))
    if view.sight.skin().any():
        # nor do clothes have any that strokes of one direction tell
        texture = texture * (1 - view.sight.foreground())
    tensor = view.sight.tensor(9 * unit, OPENED)
    angle = analysis.along(tensor, -70)
    agreed = analysis.smoothstep(analysis.agreement(tensor), 0.12, 0.35)
    lit = analysis.smoothstep(analysis.blur(light, 4 * unit), 0.95, 0.5)
    # what runs every way on the ground is litter
    figure = view.sight.figure()
    loose = LOOSE * (figure if figure.any() else 1)
    place = np.asarray(texture * (loose + (1 - loose) * agreed) * (1 - settings.shade * (1 - lit)), np.float32)
    step = settings.spacing * unit
    rows, columns = np.mgrid[0 : h / step, 0 : w / (0.7 * step)].astype(np.float32)
    seeds = np.stack([columns.ravel() * 0.7 * step, rows.ravel() * step], -1)
    seeds += rng.uniform(-0.45, 0.45, seeds.shape).astype(np.float32) * step
    keep = pen.sampled(place, seeds) > 0.35
    seeds = seeds[keep]
    if not len(seeds):
        return pen.no_strokes()
    # traced both ways from the middle
    length = settings.length * unit * rng.uniform(0.7, 1.2, (len(seeds), 1)).astype(np.float32)
    half = POINTS // 2
    paths = np.empty((len(seeds), POINTS, 2), np.float32)
    paths[:, half] = seeds
    for sign in (-1, 1):
        at = seeds.copy()
        theta = pen.sampled(angle, at)
        ahead = np.stack([np.cos(theta), np.sin(theta)], -1) * sign
        for number in range(1, half + 1):
            at = at + ahead * length / (POINTS - 1)
            paths[:, half + sign * number] = at
            theta = pen.sampled(angle, at)
            new = np.stack([np.cos(theta), np.sin(theta)], -1)
            new *= np.sign((new * ahead).sum(-1, keepdims=True) + 1e-9)
            # a stroke bends, it does not turn
            ahead = 0.5 * ahead + 0.5 * new
            ahead /= np.maximum(np.hypot(ahead[:, 0], ahead[:, 1]), 1e-6)[:, None]
    # the best placed first; what comes too near to one that is there is left out
    order = np.argsort(-pen.sampled(place, seeds) + rng.uniform(0, 0.3, len(seeds)), kind="stable")
    taken = np.zeros((h, w), np.uint8)
    wide = max(1, round(1.25 * step))
    chosen = []
    for i in order.tolist():
        path = paths[i]
        if pen.sampled(taken, path[1:-1]).any():
            continue
        cv2.polylines(taken, [path.astype(np.int32)], False, 1, wide)
        chosen.append(i)
    paths = paths[chosen]
    t = np.linspace(0, 1, POINTS, dtype=np.float32)
    # set down firmly at one end, run out at the other
    body = np.minimum(t / 0.18, 1) ** 0.5 * (1 - t) ** 0.7
    widths = settings.weight * unit * body[None] * (0.55 + 0.45 * pen.sampled(place, paths[:, half]))[:, None]
    widths = widths * analysis.smoothstep(pen.sampled(place, paths), 0.0, 0.3)
    amount = pen.sampled(view.amount, paths)
    fate = rng.uniform(0, 0.9, (len(paths), 1))
    widths = widths * np.sqrt(amount) * analysis.smoothstep(amount[:, half : half + 1] - fate, -0.02, 0.1)
    points = np.asarray(paths.reshape(-1, 2), np.float32)
    return pen.Strokes(points=points, widths=np.asarray(widths.ravel(), np.float32), starts=np.arange(len(paths) + 1) * POINTS)
