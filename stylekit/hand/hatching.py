"""Hatching: a photo drawn in pencil or pen strokes by darkness, on paper.

Every layer of strokes is laid out by itself: patches of parallel strokes that follow the form (or a slant of their own where there is
none), the closer and the broader the darker it is, and none where it is light. Layers of other directions cross the first in the darks,
until black. Highlights stay paper. What the eye is drawn to is drawn fully, what is around it more lightly, up to the margins.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from stylekit.errors import SettingError
from stylekit.hand import analysis, focus
from stylekit.hand.areas.regions import measured
from stylekit.hand.fields import pieces
from stylekit.hand.marks import grain, pen
from stylekit.hand.palettes import colour_of
from stylekit.hand.sight import Sight
from stylekit.hand.view import Floats, View
from stylekit.ranges import check, ranged

SALT = 7002  # added to the seed: randomness of this tool alone
DIRECTIONS = 10  # of patches of strokes, over half a turn
POINTS = 7  # of a stroke
SKIN = 0.34  # darkness about which skin is modelled
LIGHTEST = 0.06  # darkness at which the first strokes are set
VALUES = {3: (0.3, 0.95), 4: (0.24, 0.55, 1.0), 5: (0.22, 0.46, 0.74, 1.0)}  # darknesses of a plan of values, beside paper
SHARES = (0.5, 0.26, 0.11, 0.045)  # of a picture that are at least so dark, about
ACCENTED = 0.03  # share of a picture that is accents
SPOT = 5.0  # units across; what is smaller is a spot
SMALL, BROAD = 8.0, 22.0  # units across of what an accent is darker than


@dataclass(frozen=True, kw_only=True)
class Hatching:
    """layers: of strokes, each darker than the one before. spacing: in units, between strokes where a layer is fullest. length, weight: of
    a stroke in units. turn: degrees from one layer to the next. slant: direction in degrees from the horizontal where there is no form.
    form: 0..1, how much strokes follow the form. paper_from: light, 0..1, from which the paper stays empty. contrast: power on the
    darkness. blacks: darkness, 0..1, from which strokes close into black. focus: 0..1, how much quieter all is that the eye is not drawn
    to. margin: 0..1, how much the drawing runs out towards its edges. grain: 0..1, of the paper in the strokes. opacity: of a stroke.
    smudge: 0..1, how much soft tone lies under the strokes. pressures: 0..1, how much lighter the first layers are pressed than the last,
    and how far that stays short of black. open: 0..1, how far the shadows of skin and of deep darks are opened. quiet: 0..1, how far the
    ground is left to few pale strokes. regions: 0..1, how far each area of the photo has a direction of its own. values: few even tones
    that the drawing keeps to, paper among them, 3 to 5; 0 for no such plan. accents: 0..1, how black the few decisive darks are: eyes,
    creases, contact shadows, the darkest part of what the eye is drawn to. ink, paper: as #rrggbb."""

    layers: int = ranged(4, 1, 6)
    spacing: float = ranged(2.6, 0.8, 20)
    length: float = ranged(22.0, 3, 120)
    weight: float = ranged(0.9, 0.1, 8)
    turn: float = ranged(32.0, -90, 90)
    slant: float = ranged(-52.0, -180, 180)
    form: float = ranged(0.8, 0, 1)
    paper_from: float = ranged(0.72, 0.1, 1)
    contrast: float = ranged(1.0, 0.3, 3)
    blacks: float = ranged(0.62, 0.2, 1)
    focus: float = ranged(0.6, 0, 1)
    margin: float = ranged(0.5, 0, 1)
    grain: float = ranged(0.5, 0, 1)
    opacity: float = ranged(0.85, 0, 1)
    smudge: float = ranged(0.0, 0, 1)
    pressures: float = ranged(0.0, 0, 1)
    open: float = ranged(0.0, 0, 1)
    quiet: float = ranged(0.0, 0, 1)
    regions: float = ranged(0.0, 0, 1)
    values: int = ranged(0, 0, 5)
    accents: float = ranged(0.0, 0, 1)
    ink: str = "#17171a"
    paper: str = "#faf7f1"

    def __post_init__(self) -> None:
        check(self, "The hatching's ")
        if self.layers != int(self.layers):
            raise SettingError(f"The hatching's layers are {self.layers!r}: choose a whole number from 1 to 6.")
        if self.values and self.values not in VALUES:
            raise SettingError(f"The hatching's values are {self.values!r}: choose 3, 4 or 5, or 0 for no plan of values.")
        colour_of(self.ink, "The hatching's ink")
        colour_of(self.paper, "The hatching's paper")


def tones(view: View, settings: Hatching) -> tuple[Floats, Floats]:
    """(h, w) darkness in 0..1 that strokes have to reach, 0 for empty paper, and prominence."""
    light = view.sight.lightness(focus.OPENED)
    unit = view.unit
    low, high = np.percentile(light, [1, 99])
    light = np.clip((light - low) / max(high - low, 0.25), 0, 1)
    # a little local contrast, so that forms separate
    light = np.clip(light + 0.55 * (light - analysis.blur(light, 16 * unit)), 0, 1)
    light = analysis.guided(np.asarray(light, np.float32), np.asarray(light, np.float32), max(1, round(2 * unit)), 0.003)
    dark = np.clip((settings.paper_from - light) / settings.paper_from, 0, 1) ** np.float32(settings.contrast)
    if settings.open:
        dark = _opened(dark, view.sight, settings.open)
    prominent = focus.prominence(view.sight, settings.focus, settings.margin, unit)
    if settings.quiet:
        figure = view.sight.figure()
        if figure.any():
            # on the ground only large tones, and few of them
            broad = analysis.blur(dark, 9 * unit)
            share = settings.quiet * focus.figured(figure, *focus.SPECK) * (1 - analysis.smoothstep(figure, 0.2, 0.8))
            dark = dark + share * (broad * (1 - 0.35 * settings.quiet) - dark)
            prominent = prominent * (1 - 0.35 * share)
    return np.asarray(dark, np.float32), prominent


def _opened(dark: Floats, sight: Sight, much: float) -> Floats:
    """(h, w) darkness with that of skin brought to a middle grey, its features left, and the deepest darks lightened."""
    skin = np.maximum(sight.skin(), 0.7 * sight.face_map())
    mass = float(skin.sum())
    if mass > 1:
        level = float((dark * skin).sum()) / mass
        # a face in shade keeps its modelling around a light grey
        eased = np.clip(min(level, SKIN) + 0.85 * (dark - level), 0, 1)
        dark = dark + much * skin * (eased - dark)
    knee = 0.5
    return np.asarray(np.where(dark > knee, knee + (dark - knee) * (1 - 0.45 * much), dark), np.float32)


def directions(sight: Sight, unit: float, settings: Hatching, prominent: Floats) -> Floats:
    """(h, w) angle of the first layer: along the form where there is any and the eye rests on it, else the slant."""
    reach = 6 * unit
    tensor = sight.tensor(reach, focus.OPENED)
    along = analysis.along(tensor, settings.slant)
    clear = analysis.agreement(tensor) * analysis.smoothstep(analysis.blur(sight.edges(1.2, focus.OPENED), reach), 0.003, 0.012)
    rest: Floats = np.full_like(along, 2 * math.radians(settings.slant))
    if settings.regions:
        rest = rest + np.float32(settings.regions) * analysis.resized(
            _leaning(sight, unit), (rest.shape[1], rest.shape[0]), cv2.INTER_NEAREST
        )
    share = settings.form * analysis.smoothstep(clear, 0.1, 0.45) * (0.3 + 0.7 * prominent)
    # angles mix as double angles
    cosine = (1 - share) * np.cos(rest) + share * np.cos(2 * along)
    sine = (1 - share) * np.sin(rest) + share * np.sin(2 * along)
    return np.asarray(0.5 * np.arctan2(analysis.blur(sine, 3 * unit), analysis.blur(cosine, 3 * unit)), np.float32)


def _leaning(sight: Sight, unit: float) -> Floats:
    """Twice the angle by which each area of the photo leans off the slant, in a smaller map: neighbours lean differently."""
    h, w = sight.photo.shape[:2]
    smaller = min(1.0, 200 / math.sqrt(h * w))
    size = max(1, round(w * smaller)), max(1, round(h * smaller))
    if min(size) < 24:
        return np.zeros((1, 1), np.float32)
    small = analysis.resized(sight.opened(focus.OPENED), size)
    labels, _ = pieces(small, np.zeros((size[1], size[0]), np.float32), 16, max(1.0, 3 * unit * smaller))
    many = int(labels.max()) + 1
    lab = measured(labels, analysis.to_lab(small), np.ones((size[1], size[0]), np.float32)).lab
    # by lightness, so that what is alike leans alike
    order = np.argsort(np.argsort(lab[:, 0], kind="stable"), kind="stable")
    lean = np.array([0, 34, -30, 62], np.float32)[(order * 5 // max(many, 1)) % 4]
    return np.asarray(np.radians(2 * lean)[labels], np.float32)


def plan_hatching(view: View, settings: Hatching, colours: Floats) -> HatchLayer:
    """The photo of view drawn on paper; colours is not looked at."""
    dark, prominent = tones(view, settings)
    angle = directions(view.sight, view.unit, settings, prominent)
    tone = np.asarray(dark * prominent, np.float32)
    if settings.values:
        tone = valued(tone, int(settings.values), view.unit)
    layers = list(_layers(view, settings, tone, angle))
    pressed = None
    if settings.accents:
        pressed = _accents(view, settings, _decisive(view.sight, tone, prominent, view.unit), angle)
    return HatchLayer(view, settings, layers, tone, pressed)


def valued(tone: Floats, values: int, unit: float) -> Floats:
    """(h, w) tone in few even values with clear borders, as a draughtsman plans them: by absolute darkness and by rank, so that every
    drawing has its white paper and its darks. The small forms within them stay."""
    mass = analysis.guided(tone, tone, max(1, round(4 * unit)), 0.008)
    steps = VALUES[values]
    ranks = np.quantile(mass[::2, ::2], [1 - share for share in SHARES[: len(steps)]])
    result = np.zeros_like(mass)
    for i, (value, rank) in enumerate(zip(steps, ranks, strict=True)):
        below = steps[i - 1] if i else 0.0
        border = 0.5 * float(rank) + 0.5 * (0.5 * (below + value))
        result += np.float32(value - below) * analysis.smoothstep(mass, border - 0.035, border + 0.035)
    return np.asarray(np.clip(result + 0.38 * (tone - mass), 0, 1), np.float32)


def _decisive(sight: Sight, tone: Floats, prominent: Floats, unit: float) -> Floats:
    """(h, w) in 0..1: the few places that are pressed to black. Small things darker than what is around them, and the darkest of the large
    darks, first where the eye is drawn to; by rank, so that every drawing has some."""
    light = sight.lightness(focus.OPENED)
    h, w = light.shape
    size = max(1, w // 2), max(1, h // 2)
    half = analysis.resized(light, size)
    hats = []
    for plane, reach in ((light, SMALL * unit), (half, BROAD * unit / 2)):
        side = max(3, round(reach) | 1)
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        hat: Floats = np.asarray(cv2.morphologyEx(plane, cv2.MORPH_BLACKHAT, kernel), np.float32)
        hats.append(analysis.resized(hat, (w, h), cv2.INTER_LINEAR))
    deep = np.maximum(hats[0] * (1 + sight.face_map()), hats[1]) * np.clip(1.4 - 1.4 * light, 0, 1)
    score = (deep + 0.28 * tone * np.clip(1.2 - 1.6 * light, 0, 1)) * np.sqrt(prominent)
    score = analysis.blur(np.asarray(score, np.float32), 0.6 * unit)
    least = max(float(np.quantile(score[::2, ::2], 1 - ACCENTED)), 0.1)
    face = sight.face_map()
    # small spots are texture, and many beside one another are too: they stay hatching
    chosen = np.asarray(score > 0.85 * least, np.uint8)
    side = max(3, round(SPOT * unit) | 1)
    spots = chosen - cv2.morphologyEx(chosen, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    crowd = analysis.smoothstep(analysis.blur(spots.astype(np.float32), 13 * unit), 0.03, 0.09) * (1 - face)
    chosen[crowd > 0.5] = 0
    count, parts, stats, _ = cv2.connectedComponentsWithStats(chosen, connectivity=8)
    stays = stats[:, cv2.CC_STAT_AREA] >= (SPOT * unit) ** 2
    on_face = np.bincount(parts.ravel(), face.ravel(), count) / np.maximum(stats[:, cv2.CC_STAT_AREA], 1)
    stays |= (on_face > 0.5) & (stats[:, cv2.CC_STAT_AREA] >= 0.2 * (SPOT * unit) ** 2)
    stays[0] = False
    return np.asarray(analysis.smoothstep(score, 0.85 * least, 1.25 * least) * stays[parts], np.float32)


def _accents(view: View, settings: Hatching, decisive: Floats, angle: Floats) -> pen.Strokes:
    """Strokes that close into black where `decisive` is high."""
    rng = np.random.default_rng(view.seed + SALT + 1)
    return _layer(view, settings, rng, angle, 0.0, (0.15, 0.75), decisive, closing=True)


def _layers(view: View, settings: Hatching, tone: Floats, angle: Floats) -> Iterator[pen.Strokes]:
    rng = np.random.default_rng(view.seed + SALT)
    count = int(settings.layers)
    for number in range(count):
        # each layer begins at a greater darkness, the first in the lightest halftone; the last one is to close into black
        begin = LIGHTEST + (settings.blacks - LIGHTEST) * number / max(count - 1, 1)
        end = min(1.0, begin + 0.42) if begin < 0.99 else 1.01
        turn = settings.turn * ((number + 1) // 2) * (-1 if number % 2 else 1)
        last = number == count - 1 and count > 1
        yield _layer(view, settings, rng, angle, turn, (begin, end), tone, last=last, closing=last and not settings.pressures)


def _layer(
    view: View,
    settings: Hatching,
    rng: np.random.Generator,
    angle: Floats,
    turn: float,
    span: tuple[float, float],
    tone: Floats,
    *,
    last: bool = False,
    closing: bool = False,
) -> pen.Strokes:
    """Strokes where tone is above span[0], as close as can be from span[1] on: a patch of parallel strokes for every direction of angle.
    closing: so broad there that they close into black."""
    unit = view.unit * view.detail
    spacing, length = settings.spacing * unit, settings.length * unit
    step = max(1.0, 1.5 * unit)
    bins = np.mod(np.rint(angle / (math.pi / DIRECTIONS)), DIRECTIONS).astype(np.uint8)
    place = np.clip((tone - np.float32(span[0])) * np.float32(1 / (span[1] - span[0])), -1, 1)
    dark = place > 0
    # patches overlap a little
    soft = max(1, round(1.5 * unit))
    kernel = np.ones((2 * soft + 1, 2 * soft + 1), np.uint8)
    points_of, widths_of = [], []
    for number in range(DIRECTIONS):
        members = ((bins == number) & dark).astype(np.uint8)
        if not members.any():
            continue
        members = cv2.dilate(members, kernel)
        field = np.where(members > 0, place, np.float32(-1))
        heading = number * math.pi / DIRECTIONS
        theta = heading + math.radians(turn)
        cosine, sine = math.cos(theta), math.sin(theta)
        factor = 4 if members[::4, ::4].any() else 1
        ys, xs = np.nonzero(members[::factor, ::factor])
        u, v = (xs * cosine + ys * sine) * factor, (-xs * sine + ys * cosine) * factor
        first, final = math.floor((v.min() - 4) / spacing), math.ceil((v.max() + 4) / spacing)
        lines = np.arange(first, final + 1)
        along = np.arange(u.min() - 6, u.max() + 6 + step, step)
        offset = lines * spacing + rng.normal(0, 0.16 * spacing, len(lines))
        # no line is quite straight, and neighbours stray together
        phase = np.cumsum(rng.normal(0, 0.35, len(lines)))[:, None]
        ahead = along[None].astype(np.float32)
        strayed = np.sin(ahead * np.float32(1 / (21 * unit)) + phase.astype(np.float32)) * np.float32(0.35 * spacing)
        strayed += offset[:, None].astype(np.float32)
        # pixels are meant by their corners, cv2.remap means them by their middles
        x = ahead * np.float32(cosine) - strayed * np.float32(sine) - np.float32(0.5)
        y = ahead * np.float32(sine) + strayed * np.float32(cosine) - np.float32(0.5)
        value = cv2.remap(field, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=-1)
        # every other line begins later, every fourth first: the darker, the closer
        rank = np.array([0.0, 0.45, 0.2, 0.6], np.float32)[lines % 4] * (0.6 if last or closing else 1)
        on = value > (rank + rng.normal(0, 0.05, len(lines)))[:, None]
        # the hand lifts after about a stroke's length, at much the same place as for the stroke before
        reach = length * 1.25
        lift = np.floor((along[None] + phase * 0.6 * reach + rng.uniform(-0.22, 0.22, (len(lines), 1)) * reach) / reach)
        on[:, 1:] &= lift[:, 1:] == lift[:, :-1]
        line, begin, end = _runs(on, max(2, round(2.2 * unit / step)))
        if len(line) == 0:
            continue
        n = len(line)
        a = along[begin] - rng.uniform(0, 1.6, n) * unit
        b = along[end] + rng.uniform(0, 1.6, n) * unit
        t = np.linspace(0, 1, POINTS, dtype=np.float32)
        run = a[:, None] + (b - a)[:, None] * t
        aside = offset[line][:, None] + 0.35 * spacing * np.sin(run / (21 * unit) + phase[line])
        # a stroke turns with the form within its patch, and bows a little
        middle = np.stack(
            [run[:, POINTS // 2] * cosine - aside[:, POINTS // 2] * sine, run[:, POINTS // 2] * sine + aside[:, POINTS // 2] * cosine], -1
        )
        off = pen.sampled(angle, middle) - heading
        off = np.mod(off + math.pi / 2, math.pi) - math.pi / 2
        off = np.clip(off, -0.5 * math.pi / DIRECTIONS, 0.5 * math.pi / DIRECTIONS)
        bow = rng.normal(0.035, 0.03, n)
        centred = run - run.mean(1, keepdims=True)
        aside = aside + np.tan(off)[:, None] * centred + (bow * (b - a))[:, None] * (1 - (2 * t - 1) ** 2)
        strokes = np.stack([run * cosine - aside * sine, run * sine + aside * cosine], -1).astype(np.float32)
        level = np.clip(pen.sampled(place, strokes), 0, 1)
        shade = pen.sampled(tone, strokes)
        pressure = rng.uniform(0.8, 1.2, (n, 1))
        # set down firmly, lifted slowly
        body = np.minimum(np.minimum(t / 0.1 + 0.3, 1), np.sqrt(np.clip((1 - t) / 0.5, 0.03, 1)))
        thick = settings.weight * unit * (0.4 + 0.75 * shade + 0.35 * level) * pressure
        if closing:
            thick = np.maximum(thick, spacing * 1.35 * np.sqrt(level))
        width = np.maximum(thick * (1 - 0.35 * pen.sampled(view.sight.face_map(), strokes)), 0) * body
        amount = pen.sampled(view.amount, strokes)
        fate = rng.uniform(0, 0.9, (n, 1))
        width = width * np.sqrt(amount) * analysis.smoothstep(amount[:, POINTS // 2 : POINTS // 2 + 1] - fate, -0.02, 0.1)
        alive = width.max(1) > 0
        points_of.append(strokes[alive])
        widths_of.append(width[alive].astype(np.float32))
    if not points_of:
        return pen.no_strokes()
    points, widths = np.concatenate(points_of), np.concatenate(widths_of)
    return pen.Strokes(points=points.reshape(-1, 2), widths=widths.ravel(), starts=np.arange(len(points) + 1) * POINTS)


def _runs(on: NDArray[np.bool_], shortest: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Runs of true values along the rows of (n, m): row, first and last of each that has at least `shortest`."""
    edge = np.diff(np.pad(on, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    row, first = np.nonzero(edge == 1)
    last = np.nonzero(edge == -1)[1] - 1
    keep = last - first + 1 >= shortest
    return row[keep], first[keep], last[keep]


class HatchLayer:
    """Paper, and layers of strokes on it."""

    def __init__(self, view: View, settings: Hatching, layers: list[pen.Strokes], tone: Floats, pressed: pen.Strokes | None = None) -> None:
        """pressed: strokes that are set firmly, on top of the layers."""
        shape = view.photo.shape[:2]
        self.settings, self.size = settings, view.size
        self.sheets = [pen.Sheet(strokes, shape, view.size, bent=False) for strokes in layers if len(strokes)]
        self.firm = pen.Sheet(pressed, shape, view.size, bent=False) if pressed is not None and len(pressed) else None
        self.amount = view.amount
        self.ink, self.paper = colour_of(settings.ink, "The ink"), colour_of(settings.paper, "The paper")
        unit = view.unit * view.scale
        self.tooth = grain.tooth(view.seed, unit)
        self.tone = analysis.blur(tone, 2 * view.unit) if settings.smudge else None

    def apply(self, canvas: Floats, top: int) -> Floats:
        rows, settings = len(canvas), self.settings
        amount = analysis.enlarged(self.amount, self.size, top, rows)
        light = np.ones((rows, self.size[0]), np.float32)
        for number, sheet in enumerate(self.sheets):
            # pressed lightly at first, firmly in the darks
            pressed = settings.opacity * (1 - settings.pressures * (0.6 - 0.45 * number / max(len(self.sheets) - 1, 1)))
            light *= 1 - np.float32(pressed) * sheet.cover(top, rows)
        if self.tone is not None:
            light *= 1 - np.float32(settings.smudge) * analysis.enlarged(self.tone, self.size, top, rows)
        cover = 1 - light
        if settings.grain:
            cover = grain.caught(cover, self.tooth, settings.grain, top)
        if self.firm is not None:
            # what is pressed fills the hollows of the paper too
            firm = grain.caught(self.firm.cover(top, rows), self.tooth, 0.3 * settings.grain, top)
            cover = cover + np.float32(settings.accents) * firm * (1 - cover)
        drawn = self.paper + (self.ink - self.paper) * (cover * np.minimum(amount * 4, 1))[..., None]
        ground = canvas + (drawn - canvas) * amount[..., None]
        return np.asarray(ground, np.float32)
