"""A hand measured from pictures: how large their marks are, how much they agree in direction, how flat they are, their line and palette.

Everything is read off small copies, so a painting and its photograph at any size give the same hand. Marks: the distance within which a
picture keeps its colour, over places without strong contours (a variogram); its square goes with the width of strokes, which a picture
of strokes of known width confirms. Flatness: how sharp edges are beside how far colours are from eight that stand for all. A print has hard
edges between few colours; in a painting edges are softer, and one thing has many colours. A rim is left out, for scans have borders.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stylekit.errors import SettingError
from stylekit.hand.analysis import Floats, agreement, blur, smoothstep, tensor, to_lab
from stylekit.hand.fields import Fields
from stylekit.hand.hand import MODEL, PHOTO, Hand
from stylekit.hand.hatching import Hatching
from stylekit.hand.linework.lines import Lines
from stylekit.hand.linework.outlines import Outlines
from stylekit.hand.linework.pattern import Pattern
from stylekit.hand.palettes import MOST_INKS, SKIN, hex_of
from stylekit.hand.strokes import Strokes
from stylekit.hand.tone import Tone
from stylekit.hand.view import UNITS
from stylekit.hand.woodblock import Woodblock

SIDE = 384  # pixels of the side of a square of a copy's area
LAGS = np.arange(1, 11)  # pixels
ANGLES = (0, 45, 90, 135)  # degrees
KEPT = 0.35  # of a place's variance: colour counts as kept below it
WIDTH = 0.9  # units of a stroke, for each squared unit within which colour is kept
MARKS = (5.5, 20.0)  # units; finer ones a small copy does not tell apart
COLOURS = 8  # that a picture is summed up in
PIGMENTS, PALE = 10, 20.0  # colours that several prints are summed up in; CIE chroma of one that counts twice as much as a grey
WARM = 5.0  # CIE b of the lightest colour from which flat pictures with key lines are prints on paper of plant fibres, and not panels
PRINT = Woodblock(count=200, things=0.4, rounding=1.7)  # as the shipped ukiyo-e
NEAR_SKIN = 16.0  # CIE Lab; an ink as near to that of skin will do for it
RIM = 0.06  # of a side, left out
SHARP = (0.012, 0.028)  # contrast of light at edges over how far colours are from the eight: of no print, of every one
FLAT = 0.5  # flatness from which a picture is drawn in fields
DRAWN = 10.0  # CIE Lab; hardly a colour of a drawing is farther from its paper's hue
PAPER = 65.0  # CIE L; of a drawing's ground
VIVID = np.array([1, 1.2, 1.2], np.float32)  # on CIE Lab: the mean of many colours is paler than they are
LEAST_LINES = 0.05  # share of thin dark marks from which lines are drawn
THINGS = 0.35  # how few the fields of a poster are, see `Fields.things`
HELD = 140  # fields at the most between key lines
BLACK = 14.0  # CIE L, of their ink at the most
GAPS = 9  # pixels; what is darker than its surroundings and thinner is a line
DARKER = 16.0  # CIE L by which a line is darker
CONTOURS = 0.01  # share of thin dark marks beyond that of light ones from which they are contours, and not dabs beside dabs
# of a hand on an adapter that has learned the palette: marks broad enough to be seen, which agree more; and little of the palette again
BROADER, BROAD, AGREEING, TINT, PULL = 1.5, (10.0, 17.0), 0.1, 0.08, 0.15
VARIED = (0.8, 0.8, 0.6, 0.25)  # of the variation in light and hue that its layers have: the finest, which draw faces, hardly any
BRIGHTER, LIGHTEST = 0.05, 0.92  # of light, 0..1: paintings have darkened with age
THIN = Strokes(
    where="thin", width=5, length=36, spacing=1.6, reach=2, spread=1, light=2, hue=5, relief=0.8, dry=0.1, finer=0, stop=30, taper=0.2
)  # what is thin, such as a mast, in one stroke
# of strokes, large ones first: width in parts of a mark, and `cover`, `detail` and `finer` of hand/marks/brush.py
LAYERS = ((1.0, 1.0, 0.0, 0.2), (0.6, 0.55, 1.0, 0.3), (0.34, 0.1, 0.85, 0.35), (0.2, 0.0, 0.7, 0.4))
TONES = ((0.0, 0.25), (0.35, 0.65), (0.8, 1.0))  # shares of a picture, from the darkest, that are its shade, midtone and light
SAMPLE = 20_000  # colours of a picture


@dataclass(frozen=True, kw_only=True)
class Measures:
    """mark: width of strokes in units, 1/512 of the side of a square of the picture's area. coherence: 0..1, how much strokes side by side
    agree in direction. texture: contrast of light, 0..1, where it is calm. flat: 0..1. drawn: 0..1, whether it is a drawing in one ink on
    paper. lines: share of the picture that thin dark marks cover; weight: their width in units. contours: the same less that of thin light
    marks. ink: their colour, CIE Lab.
    colours: (n, 3) CIE Lab and shares: (n,) of all, from dark to light."""

    mark: float
    coherence: float
    texture: float
    flat: float
    drawn: float
    lines: float
    weight: float
    contours: float
    ink: tuple[float, float, float]
    colours: Floats
    shares: Floats

    def __post_init__(self) -> None:
        numbers = (self.mark, self.coherence, self.texture, self.flat, self.drawn, self.lines, self.weight, self.contours, *self.ink)
        if not all(math.isfinite(number) for number in numbers) or not len(self.colours):
            raise SettingError("A style picture's marks cannot be measured: give a picture that is not all of one colour.")


def described(hand: Hand) -> str:
    """What a card says of a hand that was measured."""
    tools = ", ".join(name for name, _ in hand.tools if name != "tone")
    where = "on what the model painted" if hand.colours == MODEL else "from the photo"
    found = "their size, direction, line and colours were measured from the pictures"
    return f"Drawn by procedure {where}, at the size of the photo, with {tools}: {found}."


def reason(found: Sequence[Measures], hand: Hand) -> str:
    """Which hand was made of `found`, a picture each, and why; for people."""
    names = {name for name, _ in hand.tools}
    kind, what = "strokes", "flat"
    if "hatching" in names:
        kind, what = "hatching and lines", "drawn in one ink on paper"
    elif "fields" in names:
        kind = "flat fields and key lines" if "lines" in names else "flat fields"
    elif "woodblock" in names:
        kind = "a woodblock print with key lines"
    elif "lines" in names:
        kind = "strokes and contours"
    count = sum(one.drawn > 0.5 if "hatching" in names else one.flat > FLAT for one in found)
    some = f"{count or 'none'} of {len(found)} pictures" if len(found) > 1 else "the picture"
    verb = "is" if count == 1 or len(found) == 1 or not count else "are"
    return f"hand: {kind}, for {some} {verb} {'' if count or len(found) > 1 else 'not '}{what}"


def hand_of(pictures: Sequence[Image.Image]) -> Hand:
    """The hand that draws as `pictures` are drawn."""
    return hand_from(pooled([measure(picture) for picture in pictures]))


def bold_hand_of(pictures: Sequence[Image.Image]) -> Hand:
    """The same for pictures whose palette a model has learned: its marks are broader, larger still where the eye does not go and quieter in
    faces, and it recolours less."""
    return bold_hand_from(pooled([measure(picture) for picture in pictures]))


def bold_hand_from(found: Measures) -> Hand:
    """As `bold_hand_of`, from what was measured."""
    mark = float(np.clip(BROADER * found.mark, *BROAD))
    hand = hand_from(dataclasses.replace(found, mark=mark, coherence=min(1.0, found.coherence + AGREEING)), learned=True)
    tools = [(name, tuple(_bolder(one, i) for i, one in enumerate(some))) for name, some in hand.tools]
    tools = [(name, (*some, THIN) if name == "strokes" else some) for name, some in tools]
    return dataclasses.replace(hand, tools=tuple(tools))


def measure(picture: Image.Image) -> Measures:
    """Of one picture (RGB), whatever its size."""
    factor = SIDE / math.sqrt(picture.width * picture.height)
    size = max(16, round(picture.width * factor)), max(16, round(picture.height * factor))
    small = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    across, down = (round(RIM * side) for side in size)
    inside = small.crop((across, down, size[0] - across, size[1] - down))
    lab = to_lab(np.asarray(np.asarray(inside, np.float32) / 255, np.float32))
    light = np.asarray(lab[..., 0] / 100, np.float32)
    colours, shares, error = _summed_up(lab)
    even = _contrast(light, 1.9)
    flat = _ramp(float(np.quantile(even, 0.95)) / max(error, 1.0), *SHARP)
    hue = np.median(lab[..., 1:].reshape(-1, 2), 0)
    colourful = float(np.quantile(np.hypot(*np.moveaxis(lab[..., 1:] - hue, -1, 0)), 0.98))
    ground = float(colours[shares.argmax(), 0])
    share, weight, contours, ink = _lines(lab)
    coherence = float(np.median(agreement(tensor(np.asarray(blur(light, 1.0) - blur(light, 5.0), np.float32), 10.0))))
    unit = SIDE / UNITS
    return Measures(
        mark=float(np.clip(WIDTH * (_kept(lab) / unit) ** 2, *MARKS)),
        coherence=coherence,
        texture=float(np.median(even)),
        flat=float(flat),
        drawn=float(colourful < DRAWN and ground > PAPER),
        lines=share,
        weight=weight / unit,
        contours=contours,
        ink=ink,
        colours=colours,
        shares=shares,
    )


def pooled(found: Sequence[Measures]) -> Measures:
    """What pictures have in common: the middle of every measure, and the colours of all of them together."""
    if not found:
        raise SettingError("There is no picture to measure a hand from: give at least one.")
    if len(found) == 1:
        return found[0]
    names = [f.name for f in dataclasses.fields(Measures) if f.name not in ("ink", "colours", "shares")]
    middle = {name: float(np.median([getattr(one, name) for one in found])) for name in names}
    every = np.concatenate([one.colours for one in found])
    weights = np.concatenate([one.shares for one in found])
    count = COLOURS
    if middle["flat"] > FLAT:
        # of prints every pigment counts, however little of it there is beside the paper; a painting is summed up
        weights, count = weights * (1 + np.hypot(*every[:, 1:].T) / PALE), PIGMENTS
    repeats = np.maximum(1, np.round(weights / weights.sum() * SAMPLE)).astype(int)
    colours, shares, _ = _clustered(np.repeat(every, repeats, 0), count)
    ink = np.median([one.ink for one in found], 0)
    return Measures(**middle, ink=(float(ink[0]), float(ink[1]), float(ink[2])), colours=colours, shares=shares)


def hand_from(found: Measures, learned: bool = False) -> Hand:
    """The tools that draw so: hatching and lines for a drawing in one ink, fields in its own inks for what is flat, else strokes.

    learned: whether a model has learned its palette: then a print with key lines on warm paper is drawn as one (see `Woodblock`)."""
    if found.drawn > 0.5:
        return _pencil(found)
    return _poster(found, learned) if found.flat > FLAT and len(found.colours) > 1 else _brush(found)


def _pencil(found: Measures) -> Hand:
    ink, paper = found.colours[0], found.colours[-1]
    dark = float(np.clip((found.shares * (found.colours[:, 0] < paper[0] - 15)).sum(), 0, 1))
    width = float(np.clip(0.62 * found.weight, 0.8, 3))
    hatching = Hatching(
        spacing=round(float(np.clip(2.4 * width, 2, 6)), 2),
        length=round(14 * width, 1),
        weight=round(0.9 * width, 2),
        blacks=round(float(np.clip(1.1 - dark, 0.45, 0.95)), 2),
        paper_from=round(float(np.clip(0.5 + 0.5 * dark, 0.5, 0.85)), 2),
        ink=hex_of(ink),
        paper=hex_of(paper),
    )
    lines = Lines(
        weight=round(width, 2), density=0.55, taper=14.0, shortest=11.0, ink=hex_of(ink), again=0.2, waver=0.4, fine=0.5, focus=0.4
    )
    return Hand(tools=(("hatching", (hatching,)), ("lines", (lines,))), colours=PHOTO)


def _poster(found: Measures, learned: bool) -> Hand:
    keyed, lightest = found.lines > 0.4 * LEAST_LINES, found.colours[-1]
    if learned and keyed and lightest[0] > PAPER and lightest[2] > WARM:
        return Hand(tools=(("woodblock", (PRINT,)), *_key_lines(found)), colours=MODEL)
    count = int(np.clip(100 + 2000 * found.texture, 100, 200))
    colours = [np.asarray(colour * VIVID, np.float32) for colour in found.colours]
    skin = np.array([min(SKIN[0] + 3, float(lightest[0])), *(0.75 * SKIN[1:])], np.float32)
    if min(float(np.linalg.norm(colour - skin)) for colour in colours) > NEAR_SKIN and len(colours) < MOST_INKS:
        colours.append(skin)  # a face in the ink of a wall is no face
    inks = " ".join(map(hex_of, colours))
    fields = Fields(palettes=(inks,), count=count, things=THINGS, texture=2.0, rounding=1.3, details=0.5, apart=0.6, vivid=1.7, lift=4.0)
    if not keyed:
        return Hand(tools=(("fields", (fields,)),), colours=MODEL)
    # where lines hold the things together, fields may be few and calm
    fields = dataclasses.replace(fields, count=min(count, HELD), texture=3.0, rounding=1.8, figure=0.5, crumbs=6.0)
    return Hand(tools=(("fields", (fields,)), *_key_lines(found)), colours=MODEL)


def _brush(found: Measures) -> Hand:
    agree = _ramp(found.coherence, 0.18, 0.5)
    thick = _ramp(found.texture, 0.012, 0.06)
    spread = round(24 - 20 * agree, 1)
    layers = []
    for i, (size, cover, detail, finer) in enumerate(LAYERS):
        width = max(found.mark * size, 2.0)
        layers.append(
            Strokes(
                width=round(width, 2),
                length=round(width * (2.2 + 4 * agree) * (1 - 0.1 * i), 1),
                reach=round(max(2.5, 0.9 * width), 1),
                rest=8.0,
                wander=round(0.25 + 0.6 * agree, 2) if i < 3 else 0.0,
                eddy=90.0,
                spread=spread,
                cover=cover,
                detail=detail,
                finer=finer,
                stop=26.0 - 2 * i,
                light=round((3 + 6 * thick) * (1 - 0.2 * i), 1),
                hue=round((8 + 12 * thick) * (1 - 0.2 * i), 1),
                broken=round(0.15 * thick, 2),
                calm=round(0.6 - 0.4 * agree * thick, 2),
                relief=round(0.3 + 0.9 * thick, 2),
                dry=0.35,
                taper=round(0.4 + 0.2 * agree, 2),
            )
        )
    tools: list[tuple[str, tuple[object, ...]]] = [("tone", (_tone(found),)), ("strokes", tuple(layers))]
    if found.lines > 1.6 * LEAST_LINES and found.contours > CONTOURS and agree > 0.2:
        tools.append(("lines", (_contours(found, density=0.22),)))
    return Hand(tools=tuple(tools), colours=MODEL)


def _key_lines(found: Measures) -> tuple[tuple[str, tuple[object, ...]], ...]:
    """The lines of a print, in its darkest ink: round the fields, inside them, and where there is texture."""
    weight = float(np.clip(0.55 * found.weight, 1.2, 6))
    ink = hex_of(np.array([min(found.ink[0], BLACK), *(0.4 * value for value in found.ink[1:])], np.float32))
    common: dict[str, Any] = {"ink": ink, "opacity": 0.95}
    return (
        ("outlines", (Outlines(weight=round(1.15 * weight, 2), figure=0.5, taper=20.0, **common),)),
        (
            "lines",
            (Lines(weight=round(weight, 2), density=0.55, variation=0.9, taper=20.0, shortest=16.0, calm=0.7, things=1.0, **common),),
        ),
        ("pattern", (Pattern(spacing=10.0, length=34.0, weight=round(0.9 * weight, 2), **common),)),
    )


def _contours(found: Measures, density: float) -> Lines:
    weight = round(float(np.clip(0.55 * found.weight, 1.2, 6)), 2)
    colour = np.array([min(found.ink[0], 30.0), *found.ink[1:]], np.float32)
    return Lines(weight=weight, density=density, taper=16.0, shortest=18.0 if density > 0.3 else 36.0, ink=hex_of(colour), opacity=0.9)


def _tone(found: Measures) -> Tone:
    """Light and palette of the picture, as rules for another."""
    order, cumulated = found.colours, np.cumsum(found.shares)
    dark, bright = float(order[0, 0]) / 100, float(order[-1, 0]) / 100
    thirds = [_mean(order, found.shares, (cumulated > low) & (cumulated - found.shares < high)) for low, high in TONES]
    chroma = np.hypot(order[:, 1], order[:, 2])
    pigments = tuple(hex_of(colour) for colour, c in zip(order, chroma, strict=True) if c > 10)
    middle = float(order[np.searchsorted(cumulated, 0.5).clip(0, len(order) - 1), 0]) / 100
    return Tone(
        median=round(float(np.clip(middle, 0.35, 0.62)), 2),
        low=round(float(np.clip(dark, 0.05, 0.3)), 2),
        high=round(float(np.clip(bright, 0.8, 1.0)), 2),
        contrast=1.12,
        chroma=round(float(np.clip(0.8 + float((chroma * found.shares).sum()) / 45, 0.8, 1.5)), 2),
        shade=hex_of(thirds[0]),
        midtone=hex_of(thirds[1]),
        light=hex_of(thirds[2]),
        tint=0.25,
        pigments=pigments,
        pull=0.4 if pigments else 0.0,
    )


def _bolder(tool: object, layer: int) -> object:
    if isinstance(tool, Tone):
        median = round(min(0.62, tool.median + BRIGHTER), 2)
        return dataclasses.replace(tool, tint=TINT, pull=min(tool.pull, PULL), median=median, high=max(tool.high, LIGHTEST))
    if isinstance(tool, Strokes):
        light, hue = (round(VARIED[layer] * value, 1) for value in (tool.light, 0.8 * tool.hue))
        spread, broken = round(0.5 * tool.spread, 1), round(0.5 * tool.broken, 2)
        return dataclasses.replace(
            tool, light=light, hue=hue, spread=spread, broken=broken, loose=0.5, level=1.0, stop=30.0 - 3 * layer, dry=0.25
        )
    if isinstance(tool, Lines) and tool.density < 0.3:  # contours of a painting, not lines of a print
        return dataclasses.replace(tool, shortest=50.0, borders=0.45, opacity=0.8, waver=0.4)
    return tool


def _mean(colours: Floats, shares: Floats, where: NDArray[np.bool_]) -> Floats:
    weights = shares * where
    return np.asarray((colours * weights[:, None]).sum(0) / max(float(weights.sum()), 1e-6), np.float32)


def _kept(lab: Floats) -> float:
    """Pixels within which a colour is kept, over places without strong contours."""
    fine = np.asarray(lab - blur(lab, 16.0), np.float32)
    deviation = np.sqrt(blur(np.asarray((fine**2).sum(-1), np.float32), 8.0))
    low, high = np.quantile(deviation, [0.1, 0.6])
    calm = (deviation > low) & (deviation <= high)
    if not calm.any():
        return float(LAGS[-1])
    variance = 2 * deviation[calm] ** 2 + 1e-3
    h, w = lab.shape[:2]
    lost = []
    for lag in LAGS:
        means = []
        for angle in ANGLES:
            move = np.array([[1, 0, lag * math.cos(math.radians(angle))], [0, 1, lag * math.sin(math.radians(angle))]], np.float32)
            other = cv2.warpAffine(fine, move, (w, h), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT)
            apart = ((other - fine) ** 2).sum(-1)[calm] / variance
            means.append(float(np.minimum(apart, 4).mean()))
        lost.append(float(np.mean(means)))
        if lost[-1] > KEPT:
            break
    else:
        return float(LAGS[-1])
    before = lost[-2] if len(lost) > 1 else 0.0
    return float(LAGS[len(lost) - 1] - 1 + (KEPT - before) / (lost[-1] - before))


def _contrast(light: Floats, size: float) -> Floats:
    """(h, w) local contrast of details finer than `size` pixels."""
    return np.asarray(np.sqrt(blur(np.asarray((light - blur(light, size)) ** 2, np.float32), 3.0)), np.float32)


def _lines(lab: Floats) -> tuple[float, float, float, tuple[float, float, float]]:
    """(share of thin dark marks, their width in pixels, the share less that of light ones, their colour in CIE Lab)."""
    light = blur(np.ascontiguousarray(lab[..., 0]), 0.6)
    near = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (GAPS, GAPS))
    thin, pale = (cv2.morphologyEx(light, kind, near) > DARKER for kind in (cv2.MORPH_BLACKHAT, cv2.MORPH_TOPHAT))
    if not thin.any():
        return 0.0, 2.0, 0.0, (15.0, 0.0, 0.0)
    depth = cv2.distanceTransform(thin.astype(np.uint8), cv2.DIST_L2, 3)
    ridge = thin & (depth >= cv2.dilate(depth, np.ones((3, 3), np.uint8)) - 1e-6)
    ink = np.median(lab[ridge], 0)
    more = float(thin.mean()) - float(pale.mean())
    return float(thin.mean()), float(2 * depth[ridge].mean()), more, (float(ink[0]), float(ink[1]), float(ink[2]))


def _summed_up(lab: Floats) -> tuple[Floats, Floats, float]:
    pixels = lab.reshape(-1, 3)
    return _clustered(pixels[:: max(1, len(pixels) // SAMPLE)])


def _clustered(colours: Floats, count: int = COLOURS) -> tuple[Floats, Floats, float]:
    """(n, 3) colours that stand for all, from dark to light, their shares, and how far a colour is from its own in the middle."""
    colours = np.ascontiguousarray(colours, np.float32)
    start = colours[np.lexsort(colours.T[::-1])][np.linspace(0, len(colours) - 1, count).astype(int)]
    nearest = ((colours[:, None] - start[None]) ** 2).sum(-1).argmin(1).astype(np.int32)[:, None]
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 30, 0.5)
    _, labels, centres = cv2.kmeans(colours, count, nearest, criteria, 1, cv2.KMEANS_USE_INITIAL_LABELS)
    shares = np.bincount(labels[:, 0], minlength=count) / len(colours)
    error = float(np.median(np.sqrt(((colours - centres[labels[:, 0]]) ** 2).sum(1))))
    there = np.flatnonzero(shares > 0.004)
    order = there[np.argsort(centres[there, 0])]
    return np.asarray(centres[order], np.float32), np.asarray(shares[order] / shares[order].sum(), np.float32), error


def _ramp(value: float, low: float, high: float) -> float:
    return float(smoothstep(np.array([value]), low, high)[0])
