"""Key lines: contours found in the photo (hand/marks/contours.py), smoothed, and drawn with a pen that swells and tapers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from stylekit.hand import analysis, focus
from stylekit.hand.linework.brushed import INKED, TINGED, brushed
from stylekit.hand.linework.flat_borders import flat_borders
from stylekit.hand.linework.portrait import portraits, zones
from stylekit.hand.marks import grain, pen, runs
from stylekit.hand.marks.contours import Curves, curves, of_things, silhouette, together
from stylekit.hand.marks.fairing import straightened
from stylekit.hand.marks.runs import Starts
from stylekit.hand.palettes import colour_of
from stylekit.hand.view import Floats, Layer, View
from stylekit.ranges import check, ranged

Wide = NDArray[np.float64]
OPENED = 0.55  # median light of the photo in which contours are looked for
FAR = 3.5  # units over which the two sides of a border are compared
STEP = 10.0  # Lab; how much they differ at least
STRONG = 0.05  # line per unit of ground that strong lines may crowd more than others
CLEAR = 1.0  # contrast of a line in a face that is none of its features
BESIDE = 9.0  # units across; a line this near to the figure's outline stands for it
ENDS = 0.2  # how sure it is that a thing ends, for the outline of a figure to be drawn there
FEATURE = 0.0085  # of a face's width: the size of the details that make a line in it
SHADED = 5.0  # units around a line in which it is looked for shade
LONGER, SURER = 2.0, 0.45  # of the shortest line, how much longer, and how sure a thing's border is, to be drawn on calm ground
LIT = 0.3  # of the weight of a line; what light leaves less of is not drawn
STRAIGHT = 1.1  # units by which a line may waver about a straight one that it is drawn as
LONG = 14.0  # units; no shorter part of a line is straightened, and all of one twice as long
IN_FACES = 0.6  # of the weight of a brush
ALONE = 0.75  # the same of a line of no figure, by a pen that draws more than things
HIDES, WITHIN, BLANK = 14.0, 4.5, 0.7  # CIE L by which the ink does not show; units to the border of what is blank; its weight
STRANDS = 0.8  # how far faint lines in hair count as those in a face do
SALT = 7001  # added to the seed: randomness of this tool alone


@dataclass(frozen=True, kw_only=True)
class Lines:
    """weight: width of a strong line in units. variation: 0..1, how much thinner a weak line is. reach: in units, of the details that make
    a line. density: 0..1, how faint a contour may be to be drawn. shortest: length in units of the shortest line on calm ground. taper:
    length in units over which the ends run out. fine: weight of lines of half the reach between the others, in parts of theirs, 0 for
    none. borders: 0..1, how different both sides of a line have to be. faces: 0..1, how much finer and denser lines are on faces. spots:
    0..1, how far dark spots are filled. focus: 0..1, how much thinner lines are where the eye is not drawn to. margin: 0..1, how much they
    run out towards the edges of the picture. waver: in units, of an unsteady hand. again: 0..1, share of the lines drawn a second time,
    beside the first. calm: 0..1, how far lines are left out where they crowd, as on texture, and on the ground. things: 0..1, whether only
    the borders of things are drawn, as a network sees them, the surer the broader. figure: 0..1, how strongly the outline of what the photo
    is of is drawn where no other line runs along it. beside: in units, how near no line runs along a border of flat areas below, which
    outlines draw. shade: 0..1, how much heavier lines are in shade than in light, where they thin out and break. grain: 0..1, of the
    paper in the lines. ink: as #rrggbb. opacity: of the ink."""

    weight: float = ranged(1.6, 0.1, 12)
    variation: float = ranged(0.6, 0, 1)
    reach: float = ranged(1.0, 0.4, 6)
    density: float = ranged(0.5, 0, 1)
    shortest: float = ranged(14.0, 1, 200)
    taper: float = ranged(12.0, 0, 60)
    fine: float = ranged(0.0, 0, 1)
    borders: float = ranged(0.0, 0, 1)
    faces: float = ranged(0.7, 0, 1)
    spots: float = ranged(0.8, 0, 1)
    focus: float = ranged(0.0, 0, 1)
    margin: float = ranged(0.0, 0, 1)
    waver: float = ranged(0.0, 0, 4)
    again: float = ranged(0.0, 0, 1)
    calm: float = ranged(0.0, 0, 1)
    things: float = ranged(0.0, 0, 1)
    figure: float = ranged(0.0, 0, 1)
    beside: float = ranged(0.0, 0, 30)
    shade: float = ranged(0.0, 0, 1)
    ink: str = "#14141a"
    grain: float = ranged(0.0, 0, 1)
    relief: float = ranged(0.0, 0, 2)
    reserve: str = ""
    opacity: float = ranged(1.0, 0, 1)

    def __post_init__(self) -> None:
        check(self, "The key lines' ")
        colour_of(self.ink, "The key lines' ink")
        if self.reserve != "":
            colour_of(self.reserve, "The key lines' reserve")


class InkLayer:
    """Strokes of one ink on whatever lies below."""

    def __init__(self, view: View, sheet: pen.Sheet, ink: str, opacity: float, rough: float = 0.0) -> None:
        self.sheet, self.ink, self.opacity = sheet, colour_of(ink, "The ink"), opacity
        self.rough, self.tooth = rough, grain.tooth(view.seed, view.unit * view.scale) if rough else None
        self.amount, self.size = view.amount, view.size

    def apply(self, canvas: Floats, top: int) -> Floats:
        cover = self.sheet.cover(top, len(canvas)) * np.float32(self.opacity)
        if self.tooth is not None:
            cover = grain.caught(cover, self.tooth, self.rough, top)
        cover *= np.minimum(analysis.enlarged(self.amount, self.size, top, len(canvas)) * 4, 1)
        return np.asarray(canvas + cover[..., None] * (self.ink - canvas), np.float32)


def plan_lines(view: View, settings: Lines, colours: Floats) -> Layer:
    """Key lines of view's photo on the `colours` (h, w, 3) that lie below."""
    if settings.relief:
        # what a brush has painted of a face is its features already: a few lines are enough
        faces = portraits(view, IN_FACES * settings.weight, few=True) if settings.faces else pen.no_strokes()
        marks = [(borders(view, settings, colours), INKED), (faces, TINGED)]
        return brushed(view, marks, settings.ink, settings.opacity, settings.relief, colours)
    lines = strokes(view, settings, colours)
    layers = [(lines, settings.ink)]
    if settings.reserve:
        layers.append((reserved(view, settings, colours), settings.reserve))
    shape = view.photo.shape[:2]
    return InkLayers(
        [InkLayer(view, pen.Sheet(one, shape, view.size, bent=True), ink, settings.opacity, settings.grain) for one, ink in layers]
    )


class InkLayers:
    """Lines of several inks, one after another."""

    def __init__(self, layers: list[InkLayer]) -> None:
        self.layers = layers

    def apply(self, canvas: Floats, top: int) -> Floats:
        for layer in self.layers:
            canvas = layer.apply(canvas, top)
        return canvas


def reserved(view: View, settings: Lines, colours: Floats) -> pen.Strokes:
    """What is left blank in areas of the (h, w, 3) colours as dark as the ink: the lines of what is seen there."""
    unit = view.unit * view.detail
    ink = analysis.to_lab(colour_of(settings.ink, "The ink")[None, None])[0, 0, 0]
    hidden = np.asarray(analysis.to_lab(colours)[..., 0] < ink + HIDES, np.float32)
    side = 2 * max(1, round(WITHIN * unit)) + 1
    dark = np.asarray(cv2.erode(hidden, np.ones((side, side), np.uint8)) * (1 - view.sight.face_map()), np.float32)
    if not dark.any():
        return pen.no_strokes()
    # of dark things the shades are told apart
    light = np.asarray(np.sqrt(view.sight.lightness(OPENED)), np.float32)
    # strands of hair as well as the features of a face
    found = curves(
        light, unit, 1.4 * settings.reach, settings.density, settings.shortest, np.asarray(STRANDS * view.sight.hair(), np.float32)
    )
    found = found.where(dark * (1 - view.sight.letters().place()), 0.5, inside=True).longer(1.2 * settings.shortest * unit)
    if len(found):
        found = _calmed(found, view, replace(settings, calm=1.0), unit)
    return drawn(view, replace(settings, weight=BLANK * settings.weight, spots=0.0), found)


def strokes(view: View, settings: Lines, flat: Floats | None = None) -> pen.Strokes:
    """The lines that a pen draws on the flat areas (h, w, 3) below, if any. What view's amount leaves of them: the weak ones go first, the
    others grow thin."""
    result = borders(view, settings, flat)
    return result.and_more(portraits(view, settings.weight)) if settings.faces else result


def borders(view: View, settings: Lines, flat: Floats | None = None) -> pen.Strokes:
    """Of these, those that are no features of faces."""
    unit = view.unit * view.detail
    found = _found(view, settings, unit)
    if settings.borders and len(found):
        found = _borders(view, settings, unit, found)
    if settings.figure:
        found = together([found, _outline(view, settings, unit, found)])
    if settings.beside and flat is not None and len(found):
        alike = found.beside(flat_borders(view, flat), settings.beside * unit)
        found = found.parts(~alike, settings.beside * unit).longer(0.5 * settings.shortest * unit)
    if flat is not None and len(found):
        # letters are drawn below
        found = found.where(view.sight.letters().place(), 0.5, inside=False)
    return drawn(view, settings, found)


def drawn(view: View, settings: Lines, found: Curves) -> pen.Strokes:
    """Those curves as a pen draws them."""
    unit = view.unit * view.detail
    if not len(found):
        return pen.no_strokes()
    rng = np.random.default_rng(view.seed + SALT)
    # the strongest and longest come first, in equal steps of amount
    weight = found.contrast * np.minimum(80 * unit, np.diff(found.starts))
    importance = np.argsort(np.argsort(weight, kind="stable"), kind="stable") / max(len(found) - 1, 1) if len(found) > 1 else np.ones(1)
    points, starts = _smooth(found, unit, settings.reach)
    run, total = runs.walked(points, starts)
    many, owner = np.diff(starts), runs.owners(starts)
    own = unit * found.size.astype(np.float64)
    force = np.clip((runs.followed(found.strengths, found.starts, starts) - 0.25) / 0.9, 0, 1)
    # the pressure of a hand: a slow wave along the line
    slow, phase = rng.uniform(9, 17, len(many)) * own, rng.uniform(0, 2 * math.pi, len(many))
    wave = 1 + 0.22 * np.sin(run / slow[owner] + phase[owner])
    whole = settings.weight * unit * (0.25 + 0.75 * found.size) * (0.55 + 0.45 * np.minimum(1.0, total / (60 * own)))
    width = whole[owner] * (1 - settings.variation * (1 - force) * 0.85) * wave
    width = width + settings.spots * runs.followed(found.spots, found.starts, starts)
    if settings.taper:
        over = np.maximum(1e-6, np.minimum(settings.taper * own, total * 0.45))[owner]
        # a line that runs into another does not thin out there
        at_begin, at_end = (np.where(one, math.inf, 0.0)[owner] for one in found.held.T)
        from_end = np.minimum(run + at_begin, total[owner] - run + at_end) / over
        tapered = 0.12 + 0.88 * np.sqrt(np.clip(from_end, 0, 1))
        width = np.where(runs.are_rings(points, starts)[owner], width, width * tapered)
    if settings.focus or settings.margin:
        loud = focus.prominence(view.sight, settings.focus, settings.margin, view.unit)
        width = width * np.sqrt(pen.sampled(loud, points))
    if settings.shade:
        width = width * _shaded(view, settings.shade, points, slow, phase, run, owner)
    amount = pen.sampled(view.amount, points)
    left = analysis.smoothstep(amount - 0.75 * (1 - importance[owner]), 0, 0.25) * (0.4 + 0.6 * amount)
    width = width * np.sqrt(left) * (amount > 0)
    if settings.waver:
        points = np.asarray(points + _waver(rng, run, settings.waver * own, owner), np.float32)
    first = pen.Strokes(points=points, widths=np.asarray(width, np.float32), starts=starts)
    return first.and_more(_again(rng, first, run, own, unit, (total > 20 * own) & (rng.random(len(many)) < settings.again)))


def _shaded(view: View, shade: float, points: Floats, slow: Wide, phase: Wide, run: Wide, owner: Starts) -> Wide:
    """(n,) factor on the width of lines: heavy in shade and at hard borders, thin in light, where they are lost in places."""
    light = view.sight.lightness(OPENED)
    reach = SHADED * view.unit
    soft = analysis.blur(light, reach)
    low, high = (float(v) for v in np.quantile(soft[::2, ::2], [0.03, 0.9]))
    dark = 1 - np.clip((pen.sampled(soft, points) - low) / max(high - low, 0.2), 0, 1)
    # how hard the border is that the line stands for
    slope = np.clip(pen.sampled(view.sight.edges(1.2, OPENED), points) / 0.09, 0, 1)
    force = 0.62 * dark + 0.38 * slope
    force = force + 0.16 * np.sin(run / (2.3 * slow[owner]) + 1.7 * phase[owner])
    factor = 1 - shade * (1 - (0.2 + 1.65 * np.clip(force, 0, 1) ** 1.5))
    return np.asarray(np.where(factor < LIT, 0, factor), np.float64)


def _found(view: View, settings: Lines, unit: float) -> Curves:
    """The curves that are drawn, in the photo and, finer, in its faces."""
    face = view.sight.face_map() * np.float32(settings.faces)
    light = view.sight.lightness(OPENED)
    things = settings.things > 0.5
    if things:
        found = of_things(view.sight.contours(), unit, settings.density, settings.shortest)
        if settings.calm:
            found = _quieter(found, view, settings, unit)
    else:
        found = curves(light, unit, settings.reach, settings.density, settings.shortest, face)
    if settings.fine:
        found = together([found, _between(found, light, unit, settings, face)])
    if settings.calm and not things:
        found = _sure(_calmed(found, view, settings, unit), view, settings.calm, unit)
    if not settings.faces or float(face.max()) == 0:
        return found
    outside = found.where(face, 0.5 * settings.faces, inside=False)
    faces = [_features(light, face, box, unit, settings) for box in view.sight.faces()]
    found = together([outside, *(c.where(face, 0.5 * settings.faces, inside=True) for c in faces if c is not None)])
    if not any(view.sight.features()):
        return found
    # features are drawn as such; of what else there is in a face, only what is clear, such as glasses, hair, a beard
    inside, near = zones(view.sight)
    apart = found.where(near, 0.5, inside=False)
    within = apart.where(inside, 0.5, inside=True)
    clear = within.contrast > CLEAR * (0.6 + 0.4 * settings.calm)
    return together([apart.where(inside, 0.5, inside=False), within.chosen(np.flatnonzero(clear)).longer(0.5 * settings.shortest * unit)])


def _borders(view: View, settings: Lines, unit: float, found: Curves) -> Curves:
    """The parts of the curves that part two surfaces: tone or colour is another on either side, seen from some way off."""
    soft = analysis.blur(analysis.to_lab(view.sight.opened(OPENED)), FAR * unit)
    across = cv2.Scharr(soft, cv2.CV_32F, 1, 0, scale=1 / 32, borderType=cv2.BORDER_REFLECT)
    down = cv2.Scharr(soft, cv2.CV_32F, 0, 1, scale=1 / 32, borderType=cv2.BORDER_REFLECT)
    step = np.sqrt((across * across + down * down).sum(-1)) * np.float32(FAR * unit)
    least = settings.shortest * unit * 0.6
    # a gap is bridged where the line goes on behind it
    level = analysis.blur(np.asarray(step, np.float32), 2 * unit)
    return found.where(level, STEP * settings.borders, inside=True).longer(least)


def _calmed(found: Curves, view: View, settings: Lines, unit: float) -> Curves:
    """Without lines that crowd, as they do on texture, and with few on the ground."""
    density = analysis.blur(_taken(found, view.photo.shape[:2], 1), 11 * unit) * np.float32(unit)
    figure = view.sight.figure()
    # three lines across the reach are a form, more are texture
    allowed = 0.075 - 0.035 * settings.calm - (0.03 * settings.calm * (1 - figure) if figure.any() else 0)
    long = np.minimum(1.0, np.diff(found.starts) / (150 * unit))
    # the shade between petals is a line, between hairs it is none
    strong = analysis.smoothstep(found.contrast, 0.9, 1.4)
    over = runs.means(pen.sampled(density - allowed, found.points), found.starts) - 0.05 * long - STRONG * strong
    kept = np.flatnonzero(over < 0)
    return found.chosen(kept)


def _quieter(found: Curves, view: View, settings: Lines, unit: float) -> Curves:
    """Without what is short or unsure on the ground, where there is a figure before it."""
    figure = view.sight.figure()
    if not figure.any():
        return found
    ground = settings.calm * _on_ground(found, figure, unit)
    _, length = runs.walked(found.points, found.starts)
    return found.chosen(np.flatnonzero((length > settings.shortest * unit * (1 + LONGER * ground)) & (found.contrast > SURER * ground)))


def _sure(found: Curves, view: View, calm: float, unit: float) -> Curves:
    """Without what runs where no thing ends on the ground, where there is a figure before it."""
    figure = view.sight.figure()
    if not figure.any() or not len(found):
        return found
    side = 2 * max(1, round(0.5 * FAR * unit)) + 1
    ends = cv2.dilate(view.sight.contours(), np.ones((side, side), np.uint8))
    ground = calm * _on_ground(found, figure, unit)
    return found.chosen(np.flatnonzero(runs.means(pen.sampled(ends, found.points), found.starts) > ALONE * ground))


def _on_ground(found: Curves, figure: Floats, unit: float) -> Wide:
    """(n,) 0..1: how far each curve lies on the ground; what runs along the figure is its outline."""
    near = analysis.blur(np.asarray(figure > 0.3, np.float32), 4 * unit)
    return np.asarray(1 - runs.means(pen.sampled(np.minimum(2 * near, 1), found.points), found.starts))


def _outline(view: View, settings: Lines, unit: float, found: Curves) -> Curves:
    """The parts of the figure's outline that no line is near, and where a thing ends."""
    reach = 2 * round(0.5 * BESIDE * unit) + 1
    ends = cv2.dilate(view.sight.contours(), np.ones((reach, reach), np.uint8))
    outline = silhouette(view.sight.figure(), unit).where(np.asarray(ends, np.float32), ENDS, inside=True)
    # none runs across a face, however that was cut out
    faces = cv2.erode(zones(view.sight)[0], np.ones((reach, reach), np.uint8))
    free = outline.where((1 - _taken(found, view.photo.shape[:2], BESIDE * unit)) * (1 - faces), 0.5, inside=True)
    return replace(free, strengths=np.float32(settings.figure) * free.strengths).longer(settings.shortest * unit)


def _taken(found: Curves, shape: tuple[int, int], width: float) -> Floats:
    """(h, w) 1 within half of `width` pixels of a line, 0 elsewhere."""
    taken = np.zeros(shape, np.uint8)
    ends = zip(found.starts[:-1].tolist(), found.starts[1:].tolist(), strict=True)
    cv2.polylines(taken, [found.points[a:b].astype(np.int32) for a, b in ends], False, 1, max(1, round(width)))
    return taken.astype(np.float32)


def _between(found: Curves, light: Floats, unit: float, settings: Lines, face: Floats) -> Curves:
    """Finer lines where none of those found is near."""
    taken, own = _taken(found, light.shape, 5 * settings.reach * unit), 0.5 * unit
    fine = curves(light, own, settings.reach, max(0.0, settings.density - 0.12), 1.5 * settings.shortest, face)
    free = fine.where(1 - taken, 0.5, inside=True).longer(1.2 * settings.shortest * own)
    return replace(free, size=np.full(len(free), max(0.3, settings.fine), np.float32))


def _features(light: Floats, face: Floats, box: analysis.Box, unit: float, settings: Lines) -> Curves | None:
    """Lines of one face, found at a size that goes with the face, enlarged where it is small; None where it is too small."""
    x, y, width, height = box
    h, w = light.shape
    left, top = max(0, x - width // 3), max(0, y - height // 3)
    right, bottom = min(w, x + width + width // 3), min(h, y + height + height // 3)
    if min(right - left, bottom - top) < 12:
        return None
    sigma = float(np.clip(FEATURE * width, 0.3, settings.reach * unit))
    factor = max(1, math.ceil(1 / sigma))
    size = (right - left) * factor, (bottom - top) * factor
    part = analysis.resized(light[top:bottom, left:right], size, cv2.INTER_CUBIC)
    on_face = analysis.resized(face[top:bottom, left:right], size, cv2.INTER_LINEAR)
    # lengths shrink with the face
    own = sigma * factor / settings.reach
    found = curves(part, own, settings.reach, min(1.0, settings.density + 0.1), settings.shortest * 0.8, on_face)
    return found.placed(factor, (left, top), sigma / (settings.reach * unit))


def _smooth(found: Curves, unit: float, reach: float) -> tuple[Floats, Starts]:
    """Points of the curves, each smoothed and spaced as its size asks."""
    parts, counts = [], np.zeros(len(found), np.int64)
    for size in np.unique(found.size):
        chosen = np.flatnonzero(found.size == size)
        many = np.diff(found.starts)[chosen]
        own = unit * float(size)
        points = found.points[runs.ranges(found.starts[chosen], many)]
        level = np.full(len(many), own * reach, np.float32)
        points = straightened(points, runs.counted(many), STRAIGHT * level, LONG * level)
        points, starts = runs.smoothed(points, runs.counted(many), 2.2 * own * reach, max(0.7, 1.3 * own))
        counts[chosen] = np.diff(starts)
        parts.append((chosen, points))
    starts = runs.counted(counts)
    result = np.empty((int(starts[-1]), 2), np.float32)
    for chosen, points in parts:
        result[runs.ranges(starts[chosen], counts[chosen])] = points
    return result, starts


def _waver(rng: np.random.Generator, run: Wide, size: Wide, owner: Starts) -> Wide:
    """(n, 2) how far a hand strays at points of lines whose length so far is `run`; size: (m,) of the lines."""
    many = len(size)
    slow, phase = rng.uniform(0.02, 0.07, (2, 2, many)), rng.uniform(0, 2 * math.pi, (2, 2, many))
    stray = [
        np.sin(run * slow[0, i][owner] + phase[0, i][owner]) * 0.6 + np.sin(run * 2.7 * slow[1, i][owner] + phase[1, i][owner]) * 0.3
        for i in (0, 1)
    ]
    return np.asarray(size[owner][:, None] * np.stack(stray, 1))


def _again(rng: np.random.Generator, first: pen.Strokes, run: Wide, own: Wide, unit: float, chosen: NDArray[np.bool_]) -> pen.Strokes:
    """Parts of the chosen strokes a second time, thinner and beside the first."""
    number = np.flatnonzero(chosen & (np.diff(first.starts) > 6))
    many = np.diff(first.starts)[number]
    one, other = rng.integers(0, many), rng.integers(0, many - 1)
    other += other >= one
    begin, end = np.minimum(one, other), np.maximum(one, other)
    long = end - begin > 4
    number, begin, count = number[long], begin[long], (end - begin)[long]
    index = runs.ranges(first.starts[number] + begin, count)
    starts = runs.counted(count)
    owner = runs.owners(starts)
    aside = _waver(rng, run[index], 0.9 * own[number], owner) + rng.normal(0, 0.7 * unit, (len(number), 2))[owner]
    place = np.arange(len(index)) - starts[owner]
    from_end = np.minimum(place, count[owner] - 1 - place)
    thin = first.widths[index] * 0.6 * np.sqrt(np.clip(from_end / 4, 0.1, 1))
    return pen.Strokes(points=np.asarray(first.points[index] + aside, np.float32), widths=np.asarray(thin, np.float32), starts=starts)
