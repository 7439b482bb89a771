"""Lines as a painter puts them: strokes of a loaded brush one after another, each of a colour between the ink and what lies there."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import cv2
import numpy as np

from stylekit.hand.analysis import Floats, to_lab, to_rgb
from stylekit.hand.marks import pen, runs
from stylekit.hand.marks.painted import Painted, Pieces, pieces_of
from stylekit.hand.marks.prints import PRINTS
from stylekit.hand.palettes import colour_of
from stylekit.hand.view import View

LENGTH, OVERLAP = 28.0, 0.45  # units of one stroke, and the share of it at either end that the next one covers
BROADER = 1.5  # times as broad as the line of a pen: a brush's edge is ragged
POINTS = 9  # along each stroke
ASIDE = 0.12  # half widths by which a stroke lies beside the line
INKED, TINGED, UNEVEN = 0.84, 0.55, 0.07  # how far a stroke has the ink's colour, the same in a face, and how unequal strokes are in that
LIGHT, HUE = 2.5, 4.0  # CIE L, and a and b, by which they differ beside
DRY, TAPER = 0.15, 0.2
SALT = 7009  # added to the seed: randomness of this tool alone


def brushed(view: View, lines: Sequence[tuple[pen.Strokes, float]], ink: str, opacity: float, relief: float, colours: Floats) -> Painted:
    """The lines, each with how far it has the colour of the ink, in strokes as thick as `relief` units on `colours` (h, w, 3), what is to
    be painted."""
    layers = (_layers(view, one, much, ink, opacity, relief, colours) for one, much in lines)
    return Painted(view, list(itertools.chain.from_iterable(layers)), None)


def _layers(view: View, lines: pen.Strokes, inked: float, ink: str, opacity: float, relief: float, colours: Floats) -> list[Pieces]:
    """Every other stroke of a line lies in a layer of its own: of one layer only the topmost stroke is seen at a place, thin as its end may
    be."""
    if not len(lines):
        return []
    unit = view.unit * view.detail
    rng = np.random.default_rng([view.seed & 0xFFFFFFFF, SALT])
    run, total = runs.walked(lines.points, lines.starts)
    paths, halves, turns = [], [], []
    for i, (a, b) in enumerate(zip(lines.starts[:-1].tolist(), lines.starts[1:].tolist(), strict=True)):
        many = max(1, round(float(total[i]) / (LENGTH * unit)))
        share = float(total[i]) / many
        begin = np.maximum(np.arange(many) - OVERLAP, 0) * share
        end = np.minimum(np.arange(many) + 1 + OVERLAP, many) * share
        at = begin[:, None] + np.linspace(0, 1, POINTS) * (end - begin)[:, None]
        x, y, width = (np.interp(at, run[a:b], values) for values in (*lines.points[a:b].T, lines.widths[a:b]))
        paths.append(np.stack([x, y], -1))
        turns.append(np.arange(many) % 2)
        halves.append(0.5 * BROADER * np.percentile(width, 70, axis=1))
    path, half = np.concatenate(paths).astype(np.float32), np.concatenate(halves).astype(np.float32)
    # a brush is broader than the line: none reaches to where nothing is wanted
    side = 2 * math.ceil((1 + 3 * ASIDE) * float(half.max())) + 3
    wanted = pen.sampled(cv2.erode(view.amount, np.ones((side, side), np.uint8)), path).min(1)
    seen = (half > 0.25 * unit) & (wanted > 0)
    if not seen.any():
        return []
    path, half, turn = path[seen], half[seen], np.concatenate(turns)[seen]
    path += ASIDE * half[:, None, None] * np.clip(rng.standard_normal((len(path), 1, 2)), -2, 2).astype(np.float32)
    # what lies there, seen as a whole
    own = np.median(to_lab(pen.sampled(colours, path)), 1)
    vary = rng.standard_normal((len(path), 4)).astype(np.float32)
    much = np.clip(inked + UNEVEN * vary[:, :1], 0, 1)
    lab = own + much * (to_lab(colour_of(ink, "The ink")[None, None])[0, 0] - own)
    lab += vary[:, 1:] * np.array([LIGHT, HUE, HUE], np.float32)
    body = np.stack([np.full(len(path), opacity), relief * (1 + 0.2 * vary[:, 0])], 1)
    number = rng.integers(0, PRINTS, len(path))
    colour, body = to_rgb(lab[None])[0], np.asarray(body, np.float32)
    layers = [np.flatnonzero(turn == i) for i in (0, 1)]
    return [pieces_of(path[i], half[i], colour[i], body[i], number[i], DRY, TAPER) for i in layers if len(i)]
