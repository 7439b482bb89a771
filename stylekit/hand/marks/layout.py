"""Where brush strokes lie: seeds, directions, paths and colours of one layer over those below.

The layout is that of Hertzmann 1998 (https://doi.org/10.1145/280814.280951): every layer has its own brush, and a finer brush goes where
the layers below still differ from what is to be painted. Strokes follow the smoothed structure tensor of the photo and end where the colour
of what they run over is no longer theirs (Litwinowicz 1997, https://doi.org/10.1145/258734.258893).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from stylekit.hand.analysis import Floats, agreement, blur, resized, smoothstep, to_lab, to_rgb
from stylekit.hand.marks.brush import Strokes
from stylekit.hand.marks.painted import Pieces, no_pieces, pieces_of, roughly
from stylekit.hand.marks.prints import PRINTS
from stylekit.hand.marks.scene import Scene
from stylekit.hand.view import View

INK = np.array([18.0, 8.0, -24.0], np.float32)  # Lab of what darkened strokes go to: a deep Prussian blue, never black
THICK = 2.8  # strokes that lie on every place where all are laid
LARGER = 1.5  # how much larger strokes get where the eye does not go, at most, beside their size elsewhere
LONG_STROKE = 3.5  # widths; longer strokes are made of two parabolas
HALF_STEPS = 6  # steps from the middle of a stroke to either end
BRIEF_STEPS = 3  # the same for strokes of at most BRIEF pixels
BRIEF = 14.0
THINNEST = 1.2  # pixels of the plan; a thinner brush is made that thick, and all its lengths grow with it
BLOCKED_IN = 0.75  # of its width that a stroke of the first layer has beside a border
UNEVEN = 0.5  # standard deviation of the logarithm of size, at most
FORMED = 0.55  # how much louder surfaces speak of their direction than a calm place does
WARM = np.array([[14.0, 1.0], [-1.0, 19.0]], np.float32)  # Lab a, b that warm strokes have more: in shade, in light
COOL = np.array([[-3.0, -12.0], [6.0, -15.0]], np.float32)  # the same of cool ones
COARSE = 4.0  # pixels; what is smooth over as many is worked out at half the size


@dataclass(frozen=True)
class _Field:
    """(h, w, ...) array of the whole picture, of any size; scale: its pixels per pixel of the plan, across and down."""

    array: NDArray
    scale: tuple[float, float]

    @classmethod
    def of(cls, array: NDArray, shape: tuple[int, ...]) -> _Field:
        """shape: of the plan."""
        return cls(array, (array.shape[1] / shape[1], array.shape[0] / shape[0]))

    def at(self, points: Floats) -> NDArray:
        """Values at the nearest pixels to (n, 2) points x, y of the plan; beyond the border those of the border."""
        h, w = self.array.shape[:2]
        # clipped before the conversion: far points would overflow
        x = np.clip(points[:, 0] * np.float32(self.scale[0]), 0, w - 1).astype(np.intp)
        y = np.clip(points[:, 1] * np.float32(self.scale[1]), 0, h - 1).astype(np.intp)
        return self.array.reshape(h * w, -1).take(y * w + x, 0).reshape(len(points), *self.array.shape[2:])


def lay(view: View, scene: Scene, brush: Strokes, painted: Floats, rng: np.random.Generator, *, first: bool = False) -> Pieces:
    """Pieces of one layer's strokes. painted: (h, w, 3) sRGB of the layers below, of any size, -1 where it is bare. first: there are none,
    so that strokes cover all, a little over borders too, which the next layers set right."""
    shape = scene.edge.shape
    unit = view.unit * view.detail
    unit *= max(1.0, THINNEST / (brush.width * unit))
    width = brush.width * unit
    spacing = brush.spacing or math.sqrt(brush.width * brush.length / THICK)
    points = _seeds(view, max(0.7, spacing * unit), rng)
    n = len(points)
    chance, order = rng.random(n), rng.random(n)
    vary, long = rng.standard_normal((n, 6)).astype(np.float32), rng.uniform(0.55, 1.35, n).astype(np.float32)
    wide = rng.uniform(0.7, 1.25, n).astype(np.float32)
    prints = rng.integers(0, PRINTS, n)
    if brush.sizes:
        uneven = np.exp(np.float32(UNEVEN * brush.sizes) * np.clip(rng.standard_normal(n), -1.6, 1.6)).astype(np.float32)
        wide *= uneven
        # the large ones first: they would hide the small ones
        order = 0.35 * order - brush.sizes * np.log(uneven)

    def at(array: NDArray, places: Floats) -> NDArray:
        return _Field.of(array, shape).at(places)

    amount = at(view.amount, points)
    wanted = _Field.of(scene.seen_by(width, brush.loose), shape)
    share = np.full(n, brush.cover, np.float32)
    if brush.detail > 0:
        bare = painted[..., 0] < 0
        gap = np.abs(to_lab(painted) - resized(wanted.array, bare.shape[::-1])).sum(-1)
        gap[bare] = 60
        gap = blur(gap, max(0.6, width * bare.shape[1] / shape[1] / 3))
        # a face needs to be closer to be a face
        wished = at(gap, points) * (1 + at(scene.face, points)) * (1 - 0.4 * brush.loose * at(scene.quiet, points))
        most = np.minimum(brush.detail * (1 + 0.8 * at(scene.face, points)), np.float32(1))
        share = np.maximum(share, most * smoothstep(wished, 12, 36))
        # nothing stays bare
        share = np.where(at(bare, points), np.float32(1), share)
    if brush.where == "contours":
        ridge = blur(scene.edge, 0.8 * view.unit)
        # on the crest of the slope of light only
        crest = smoothstep(ridge - blur(ridge, max(1.0, 2.5 * width)), 0.0, 0.012)
        # and where it is one contour, not texture
        whole = smoothstep(agreement(view.sight.tensor(3.5 * unit)), 0.35, 0.8)
        share = share * at(crest * whole * smoothstep(ridge, 0.02, 0.06), points)
    if brush.where == "thin":
        share = share * at(scene.thin, points)
    elif brush.where == "lights":
        share = share * at(scene.lights, points)
    if brush.focus:
        share = share * (1 - brush.focus * (1 - np.maximum(1 - at(scene.quiet, points), at(scene.face, points)) ** 1.5))
    # large strokes need fewer to cover the same ground
    larger = 1 + LARGER * brush.loose * at(scene.quiet, points)
    kept = np.flatnonzero(chance < share * amount**0.7 / larger**2)
    kept = kept[np.argsort(order[kept])]
    if not len(kept):
        return no_pieces()
    points, amount, vary, prints, larger = points[kept], amount[kept], vary[kept], prints[kept], larger[kept]
    # a loaded brush makes several strokes: neighbours share much of their variation
    vary[:, 1:4] = 0.7 * vary[:, 1:4] + 0.75 * at(_patches(shape, 2.2 * width + 0.3 * brush.length * unit, rng), points)
    face, busy = at(scene.face, points), at(scene.busy, points)
    quiet = brush.loose * at(scene.quiet, points)
    small = 1 - brush.finer * np.clip(np.maximum(face * 1.2, 0.8 * busy * (1 - quiet)), 0, 1)
    thin = small * larger * (0.55 + 0.45 * amount)
    half = 0.5 * np.maximum(width * wide[kept] * thin, 0.8 * view.unit)
    stop: float | Floats = brush.stop
    if brush.where in ("all", "lights"):
        room = at(scene.room, points) + 0.3 * view.unit
        if brush.lost:
            # some borders are lost: strokes run over them
            lost = np.asarray(brush.lost * at(scene.lost, points), np.float32)
            room, stop = room + lost * half, np.asarray(brush.stop * (1 + lost), np.float32)
        # paint is not laid over a strong border beside it, as far as the brush can be turned on its edge
        half = np.clip(room, (BLOCKED_IN if first else 0.35 + 0.3 * quiet) * half, half)
    elif brush.where == "thin":
        half = np.clip(at(scene.breadth, points), 0.3 * half, half)
    length = np.maximum(brush.length * unit * long[kept] * thin, 2 * half)
    heading = _Field.of(_heading(view, scene, brush, unit), shape)
    # at a strong contour strokes follow it; away from it they may go where they like
    free = (1 - 0.8 * smoothstep(at(scene.near_edge, points), 0.015, 0.05)) * (1 - 0.7 * brush.level * at(scene.ground, points))
    turn = np.radians(brush.spread) * vary[:, 0] * free
    colour = wanted.at(points)
    parts = 2 if brush.length > LONG_STROKE * brush.width else 1
    path = _trace(points, heading, length, turn.astype(np.float32), colour, wanted, stop, parts)
    lab = _mixed(brush, colour, vary, busy, face)
    opacity = brush.opacity * (0.4 + 0.6 * amount)
    body = np.stack([opacity, brush.relief * np.clip(1 + 0.3 * vary[:, 5], 0.3, 1.7) * half / (0.5 * width) * amount], 1)
    return pieces_of(path, half.astype(np.float32), to_rgb(lab[None])[0], body, prints, brush.dry, brush.taper)


def lay_all(view: View, brushes: list[Strokes], colours: Floats, salt: int) -> list[Pieces]:
    """Pieces of all layers, the lowest first, for `colours` (h, w, 3) in 0..1, what is to be painted."""
    scene = Scene.of(view, colours)
    h, w = colours.shape[:2]
    # what the layers below have painted is looked at from a little further away
    part = 2 if min(h, w) >= 128 else 1
    painted = np.full((h // part, w // part, 3), -1, np.float32)
    layers = []
    for i, brush in enumerate(brushes):
        pieces = lay(view, scene, brush, painted, np.random.default_rng([view.seed & 0xFFFFFFFF, salt, i]), first=i == 0 < len(brushes) - 1)
        if i + 1 < len(brushes):
            painted = roughly(painted, pieces, 1 / part)
        layers.append(pieces)
    return layers


def _heading(view: View, scene: Scene, brush: Strokes, unit: float) -> Floats:
    """(h, w, 2) unit vectors along which strokes run, of either sign, at the plan's size or half of it. Layers with the same settings run
    alike, and share them."""
    key = brush.reach * unit, brush.rest, brush.wander, brush.eddy * unit, brush.form, brush.level
    if key not in scene.headings:
        scene.headings[key] = _headings(view, scene, brush, unit)
    return scene.headings[key]


def _headings(view: View, scene: Scene, brush: Strokes, unit: float) -> Floats:
    part = 2 if brush.reach * unit >= COARSE and min(view.photo.shape[:2]) >= 16 else 1
    xx, xy, yy = view.sight.tensor(brush.reach * unit, part=part)
    cos2, sin2 = yy - xx, -2 * xy
    power = np.hypot(cos2, sin2) + np.float32(1e-12)
    # strong contours speak with one voice, however strong; further out they echo more faintly
    near = smoothstep(np.sqrt(power), 0.004, 0.03) / power
    cos2, sin2 = cos2 * near, sin2 * near
    fx, fxy, fy = view.sight.tensor(3.5 * brush.reach * unit, part=part)
    c, s = fy - fx, -2 * fxy
    power = np.hypot(c, s) + np.float32(1e-12)
    far = np.float32(0.35) * smoothstep(np.sqrt(power), 0.004, 0.02) / power
    cos2, sin2 = cos2 + c * far, sin2 + s * far
    # floor and water lie level: there contours are heard less, and nothing swirls
    level = np.float32(brush.level) * resized(scene.ground, (cos2.shape[1], cos2.shape[0]))
    rest = np.array([math.cos(2 * math.radians(brush.rest)), math.sin(2 * math.radians(brush.rest))], np.float32)
    pull = np.broadcast_to(rest, (*cos2.shape, 2))
    strong, heard, free = np.float32(0.3) + np.float32(0.6) * level, 1 - np.float32(0.2) * level, 1 - level
    if brush.form > 0:
        # on a surface strokes lie beside one another, and only what moves swirls
        form, size = scene.form, (cos2.shape[1], cos2.shape[0])
        still = np.float32(brush.form) * (1 - resized(form.moves, size, cv2.INTER_LINEAR))
        pull = rest + (np.float32(brush.form) * (1 - level))[..., None] * (resized(form.way, size, cv2.INTER_LINEAR) - rest)
        strong, free = strong + FORMED * still * (1 - level), free * (1 - still)
    if brush.wander > 0:
        # along the level lines of a smooth hilly field: closed eddies, evenly nested
        rng = np.random.default_rng([view.seed & 0xFFFFFFFF, 7702])
        swirl = (np.float32(brush.wander) * free)[..., None]
        pull = pull + swirl * (_eddies(cos2.shape, brush.eddy * unit / part, 4.0 / part, rng) - pull)
    angle = np.arctan2(sin2 * heard + strong * pull[..., 1], cos2 * heard + strong * pull[..., 0]) * np.float32(0.5)
    return np.stack([np.cos(angle), np.sin(angle)], -1).astype(np.float32)


def _eddies(shape: tuple[int, int], size: float, step: float, rng: np.random.Generator) -> Floats:
    """(h, w, 2) doubled-angle vectors along the level lines of smooth noise whose hills are `size` pixels apart.

    step: pixels between the places where it is worked out."""
    h, w = shape
    cells = max(2, math.ceil(h / size) + 3), max(2, math.ceil(w / size) + 3)
    hills = rng.standard_normal(cells).astype(np.float32)
    rows = np.arange(0, h + step, step, dtype=np.float32) / size + 1
    columns = np.arange(0, w + step, step, dtype=np.float32) / size + 1
    x, y = np.meshgrid(columns, rows)
    field = cv2.remap(hills, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    field = cv2.GaussianBlur(field, (0, 0), max(0.5, size / step / 5), borderType=cv2.BORDER_REFLECT)
    across = cv2.Scharr(field, cv2.CV_32F, 1, 0, borderType=cv2.BORDER_REFLECT)
    down = cv2.Scharr(field, cv2.CV_32F, 0, 1, borderType=cv2.BORDER_REFLECT)
    power = across * across + down * down + 1e-12
    double = np.stack([(down * down - across * across) / power, -2 * across * down / power], -1)
    return np.asarray(cv2.resize(double, (w, h), interpolation=cv2.INTER_LINEAR), np.float32).reshape(h, w, 2)


def _patches(shape: tuple[int, ...], size: float, rng: np.random.Generator) -> Floats:
    """(h, w, 3) smooth noise of unit variance, its patches about `size` pixels wide."""
    h, w = shape
    knots = rng.standard_normal((math.ceil(h / size) + 3, math.ceil(w / size) + 3, 3)).astype(np.float32)
    x, y = np.meshgrid(np.arange(0, w, 2, dtype=np.float32) / size + 1, np.arange(0, h, 2, dtype=np.float32) / size + 1)
    soft = cv2.remap(knots, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(1.25 * cv2.resize(soft, (w, h), interpolation=cv2.INTER_NEAREST), np.float32).reshape(h, w, 3)


def _seeds(view: View, spacing: float, rng: np.random.Generator) -> Floats:
    """(n, 2) points x, y, one in every cell of a grid; some just outside, so that borders are covered."""
    h, w = view.photo.shape[:2]
    x, y = np.meshgrid(np.arange(-0.5, w / spacing + 0.5), np.arange(-0.5, h / spacing + 0.5))
    points = np.stack([x.ravel(), y.ravel()], 1) + rng.uniform(0, 1, (x.size, 2))
    return np.asarray(points * spacing, np.float32)


def _trace(
    points: Floats, heading: _Field, length: Floats, turn: Floats, colour: Floats, wanted: _Field, stop: float | Floats, parts: int
) -> Floats:
    """(n, 4 * parts + 1, 2) points along each stroke, evenly spaced."""
    steps = BRIEF_STEPS if float(np.median(length)) <= BRIEF else HALF_STEPS
    step = (length / (2 * steps))[:, None]
    cos, sin = np.cos(turn), np.sin(turn)

    def turned(v: Floats) -> Floats:
        x, y = v[:, 0], v[:, 1]
        return np.stack([x * cos - y * sin, x * sin + y * cos], 1)

    halves = []
    first = turned(heading.at(points))
    for sign in (-1.0, 1.0):
        here, going, running = points, np.float32(sign) * first, np.ones((len(points), 1), np.float32)
        places = []
        for i in range(steps):
            ahead = turned(heading.at(here)) if i > 0 else first
            same = ahead[:, 0] * going[:, 0] + ahead[:, 1] * going[:, 1]
            # a brush does not turn on the spot
            going = ahead * np.copysign(np.float32(1), same)[:, None] + np.float32(0.6) * going
            going /= (np.hypot(going[:, 0], going[:, 1]) + np.float32(1e-6))[:, None]
            there = here + going * step
            if i > 0:
                off = np.abs(wanted.at(there) - colour)
                running *= (off[:, 0] + off[:, 1] + off[:, 2] < stop)[:, None]
            here = here + (there - here) * running
            places.append(here)
        halves.append(places)
    path = np.stack([*halves[0][::-1], points, *halves[1]], 1)
    return _evenly(path, 4 * parts + 1)


def _evenly(path: Floats, count: int) -> Floats:
    """(n, m, 2) as (n, count, 2) with points at even distances."""
    steps = np.diff(path, axis=1)
    gaps = np.hypot(steps[..., 0], steps[..., 1])
    along = np.concatenate([np.zeros((len(path), 1), np.float32), np.cumsum(gaps, 1)], 1)
    total = np.maximum(along[:, -1:], 1e-6)
    result = np.empty((len(path), count, 2), np.float32)
    rows = np.arange(len(path))
    for j in range(count):
        want = total[:, 0] * (j / (count - 1))
        k = np.clip(np.count_nonzero(along < want[:, None], 1), 1, path.shape[1] - 1)
        before, after = along[rows, k - 1], along[rows, k]
        f = np.clip((want - before) / np.maximum(after - before, 1e-6), 0, 1)[:, None]
        result[:, j] = path[rows, k - 1] * (1 - f) + path[rows, k] * f
    return result


def _mixed(brush: Strokes, lab: Floats, vary: Floats, busy: Floats, face: Floats) -> Floats:
    """(n, 3) Lab of paint: varied in light and hue per stroke, some strokes in another hue, never averaged."""
    calm = ((1 - brush.calm * (1 - busy)) * (1 - 0.7 * face))[:, None]
    light = lab[:, :1] + brush.light * calm * vary[:, 1:2]
    # in the darks a stroke of another hue is a fleck
    calm = calm * (0.35 + 0.65 * smoothstep(lab[:, :1], 18, 50))
    angle = np.radians(brush.hue) * calm * vary[:, 2:3]
    # the broken ones: a neighbour on the colour circle or the one after, at nearly the same lightness, so that the eye mixes them
    other = (np.abs(vary[:, 3:4]) < 1.2533 * brush.broken * calm).astype(np.float32)
    angle = angle + other * np.sign(vary[:, 4:5]) * calm * np.radians(50)
    ab = lab[:, 1:] * brush.chroma * (1 - 0.2 * other)
    grey = np.clip(1 - np.linalg.norm(ab, axis=1, keepdims=True) / 30, 0, 1)
    cos, sin = np.cos(angle), np.sin(angle)
    ab = np.concatenate([ab[:, :1] * cos - ab[:, 1:] * sin, ab[:, :1] * sin + ab[:, 1:] * cos], 1)
    # what has little hue cannot vary it: mix it of several colours instead
    ab = ab + grey * calm * vary[:, 2:4] * (brush.hue * 0.6)
    if brush.shimmer:
        lit, lean = smoothstep(lab[:, :1], 35, 75), vary[:, 4:5]
        warm, cool = (shade + lit * (light_ab - shade) for shade, light_ab in (WARM, COOL))
        # each stroke by itself, so that neighbours differ; the eye sees the mean
        ab = ab + brush.shimmer * (1 - 0.75 * face[:, None]) * np.minimum(np.abs(lean), 1.5) * np.where(lean > 0, warm, cool)
    out = np.concatenate([np.clip(light, 2, 99), ab], 1)
    return np.asarray(out + brush.darken * (INK - out), np.float32)
