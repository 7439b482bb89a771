"""Style targets of colour alone: a photo in the palette and light of a set of paintings, simplified, without any stroke.

A photo is smoothed along its edges, its dark tones are opened, and its greys are tinted: shade as the paintings paint cool shade, light as
they paint warm light. Then every colour becomes the paintings' one by a table (`training.targets.table`), one for sky, one for foliage and
one for everything else (`training.targets.places`). Skin stays near its hue. All is a function of the photo's own neighbourhood and of its
tones as a whole, which a small network can learn without averaging.

Arrays are floats (H, W, 3) or (H, W); colours are CIE Lab, L in 0..100.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stylekit.errors import StyleError
from stylekit.ranges import check, ranged
from stylekit.style_picture.measured import FLAT, measure, pooled
from training.pictures import data
from training.pictures.pictures import usable
from training.targets.places import PLACES, painted_places, places, ramp, skin
from training.targets.procedural import blur, to_lab, to_rgb
from training.targets.table import colour_table, looked_up, polar, turn

Floats = NDArray[np.floating]
Picture = NDArray[np.uint8]
COLOUR_SIDE = 160  # pixels; long side at which colours are gathered
EACH = 600  # colours that a picture gives
COLOUR_SAMPLES = 12000  # colours of a place that are compared
FEWEST_COLOURS = 64  # colours of a place in paintings without which it takes those of the whole
FEWEST_SEEN = 1000  # the same in photos: the skies of two photos would be stretched to all skies that were painted
COOL, WARM = (4.0, -14.0), (3.0, 16.0)  # (a, b) of shade and light where paintings have none that are cool and warm
SKY_TURN = 0.92  # light above which a grey of the sky is made warm
CAST = 0.5  # of a cast of light, or of old varnish, that is taken away
OPENED = 6.0  # CIE L; paintings have darkened with age
LIGHT_FROM, GROUND_FROM = 0.6, 0.92  # ranks of tone from which paintings' light, and their lightest parts, are measured
MOST_WARM = 0.8  # of the paintings' warm light that greys get
PRIMED, PAPER = 4.0, 15.0  # CIE b, the most that the ground of a painting and of a flat picture shows in the lightest parts
EVEN = 6  # tones of flat pictures
STEPPED = 0.6  # how far tones go to even ones, where a manner has steps


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How a set of paintings is followed.

    colourful: share of the paintings that count, those whose hues are furthest apart. light: median light to which a photo is opened, and
    low, high: L of the result's darkest and lightest colour. cool, warm: how far greys are tinted in shade and in light, as parts of the
    paintings' own shade and light; turn: the light 0..1 between them. pigments, purity, chroma: see `training.targets.table.colour_table`.
    ground: Lab units of yellow in the lightest parts, as of paper or primed canvas. skin: 0..1, how far skin follows. steps: even tones,
    0 for none. rounds, reach, tolerance: of the smoothing along edges; pixels at a long side of 512, and Lab units.
    """

    colourful: float = ranged(0.6, 0.01, 1)
    light: float = ranged(56.0, 20, 80)
    low: float = ranged(14.0, 0, 60)
    high: float = ranged(94.0, 61, 100)
    cool: float = ranged(1.1, 0, 2)
    warm: float = ranged(0.6, 0, 2)
    turn: float = ranged(0.55, 0, 1)
    pigments: float = ranged(0.5, 0, 1)
    purity: float = ranged(1.0, 0, 4)
    chroma: float = ranged(1.0, 0, 3)
    ground: float = ranged(0.0, 0, 40)
    skin: float = ranged(0.5, 0, 1)
    steps: int = ranged(0, 0, 16)
    rounds: int = ranged(3, 0, 20)
    reach: float = ranged(4.0, 1, 40)
    tolerance: float = ranged(9.0, 1, 60)

    def __post_init__(self) -> None:
        check(self)


MANNERS = {  # beside these there is "measured", which `measured_manner` reads off the pictures
    "monet": Manner(light=61, low=22, high=96, cool=1.2, warm=0.45, turn=0.66, pigments=0.4, chroma=1.2, ground=4),
    "vangogh": Manner(colourful=0.5, light=54, low=12, high=91, warm=0.8, pigments=0.8, chroma=1.15, ground=4, skin=0.6),
    "ukiyoe": Manner(
        colourful=0.4, light=60, low=15, high=91, warm=0.35, turn=0.56, pigments=0.9, purity=0.8, chroma=1.15, ground=15, skin=0.4, steps=6
    ),
    "watercolour": Manner(light=68, low=30, high=98, cool=0.9, warm=0.3, turn=0.62, pigments=0.4, ground=2, rounds=4),  # after Monet's
}


@dataclass(frozen=True, kw_only=True)
class Palette:
    """What a set of paintings does to colours.

    tables: (L, a, b, 3), what is added to a colour, for each of `PLACES`. shade, glow: (a, b) of the paintings' cool shade and warm light.
    """

    tables: tuple[Floats, ...]
    shade: Floats
    glow: Floats
    manner: Manner

    def recolour(self, picture: Picture) -> Picture:
        """uint8 RGB (H, W, 3), any size -> the same in the paintings' colours."""
        lab = simplified(picture, self.manner)
        shares = places(lab)
        ready = prepared(lab, shares[0], self.shade, self.glow, self.manner)
        result = ready.copy()
        for share, table in zip(shares, self.tables, strict=True):
            if share.any():
                result += share[..., None] * looked_up(table, ready)
        return to_rgb(finished(result, lab, self.manner)).round().astype(np.uint8)


def measured_manner(paintings: Sequence[Picture]) -> Manner:
    """How `paintings` want to be followed: their light, darkest and lightest tones, even tones where they are flat, how warm their light is
    and from which tone on, how yellow their ground, and how few their hues.

    From the shipped sets it reads about what was chosen for them by eye: `warm` 0.4 and `turn` 0.66 of Monet, 0.75 and 0.55 of Van Gogh.
    """
    if not paintings:
        raise StyleError("A palette needs pictures of the style: name a folder that holds some.")
    found = pooled([measure(Image.fromarray(painting)) for painting in paintings])
    cumulated = np.cumsum(found.shares)
    middle = float(found.colours[np.searchsorted(cumulated, 0.5).clip(0, len(cumulated) - 1), 0])
    rng = np.random.default_rng(0)
    colours = np.concatenate([rng.permutation(to_lab(painting).reshape(-1, 3))[:EACH] for painting in paintings])
    rank, _, chroma = polar(colours)
    _, glow = poles(colours)
    light = colours[rank > LIGHT_FROM, 1:].mean(0)
    warm = float(np.clip(light @ glow / max(float(glow @ glow), 1), 0, MOST_WARM))
    alike = float(np.hypot(*colours[:, 1:].mean(0)) / max(float(chroma.mean()), 1))
    flat = found.flat > FLAT
    return Manner(
        light=float(np.clip(middle + OPENED, 50, 66)),
        low=float(np.clip(found.colours[0, 0], 12, 24)),
        high=float(np.clip(found.colours[-1, 0] + OPENED, 93, 97)),
        cool=1.0,
        warm=warm,
        turn=float(np.clip(0.79 - 0.32 * warm, 0.54, 0.76)),
        pigments=float(np.clip(alike, 0.4, 0.9)),
        chroma=1.15,
        ground=float(np.clip(colours[rank > GROUND_FROM, 2].mean(), 0, PAPER if flat else PRIMED)),
        skin=0.6,
        steps=EVEN if flat else 0,
    )


def learn(photos: Sequence[Picture], paintings: Sequence[Picture], manner: Manner, seed: int = 0) -> Palette:
    """The palette of `paintings`, for photos like `photos`; both small, as `small_photos` and `small_paintings` read them."""
    if not photos or not paintings:
        raise StyleError("A palette needs pictures of the style and photos: name folders that hold some.")
    rng = np.random.default_rng(seed)
    arts = sorted((to_lab(art) for art in paintings), key=_variety, reverse=True)[: max(1, round(manner.colourful * len(paintings)))]
    theirs = _pooled([_painting_colours(art) for art in arts], rng)
    every_art = np.concatenate(list(theirs.values()))
    shade, glow = poles(every_art)
    ours = _pooled([_photo_colours(photo, shade, glow, manner) for photo in photos], rng)
    everything = np.concatenate(list(ours.values()))
    tables = []
    for place in PLACES:
        a = ours[place] if len(ours[place]) >= FEWEST_SEEN else everything
        b = theirs[place] if len(theirs[place]) >= FEWEST_COLOURS else every_art
        tables.append(
            colour_table(a[:COLOUR_SAMPLES], b[:COLOUR_SAMPLES], pigments=manner.pigments, purity=manner.purity, chroma=manner.chroma),
        )
    return Palette(tables=tuple(tables), shade=shade, glow=glow, manner=manner)


def poles(colours: Floats) -> tuple[Floats, Floats]:
    """(a, b) of the cool shade and of the warm light among paintings' `colours` (N, 3): what they have for a photo's greys."""
    rank, hue, _ = polar(colours)
    cool = (rank < 0.4) & (np.abs(turn(hue + np.radians(75))) < np.radians(50))
    warm = (rank > 0.65) & (np.abs(turn(hue - np.radians(80))) < np.radians(40))
    shade, glow = (
        colours[some, 1:].mean(0) if some.sum() >= FEWEST_COLOURS else np.array(other) for some, other in ((cool, COOL), (warm, WARM))
    )
    return shade.astype(np.float32), glow.astype(np.float32)


def small_photos(paths: Sequence[Path]) -> list[Picture]:
    """Copies of a long side of `COLOUR_SIDE` pixels; what cannot be read is left out."""
    return [_small(picture) for picture in usable(paths, len(paths))]


def small_paintings(paths: Sequence[Path]) -> list[Picture]:
    """The same without the borders of scans."""
    return [_small(data.without_border(picture)) for picture in usable(paths, len(paths))]


def simplified(picture: Picture, manner: Manner) -> Floats:
    """Lab of `picture` without its fine texture; edges stay."""
    unit = max(picture.shape[:2]) / 512
    lab = to_lab(picture)
    for _ in range(manner.rounds):
        reach = max(1.0, manner.reach * unit)
        lab = cv2.bilateralFilter(lab, int(2 * reach) | 1, manner.tolerance, reach, borderType=cv2.BORDER_REFLECT)
    return lab


def prepared(lab: Floats, sky: Floats, shade: Floats, glow: Floats, manner: Manner) -> Floats:
    """`lab` opened, half of a cast of light taken away, and its greys tinted by their tone. sky: (H, W), where light turns warm later."""
    light = opened(lab[..., 0], manner.light)
    wide = blur(light, max(1.0, 0.04 * max(light.shape)))
    colour = lab[..., 1:] - CAST * _cast(lab)
    warmth = np.tanh(3.5 * (light - manner.turn - (SKY_TURN - manner.turn) * sky) + 0.5 * (light - wide))[..., None]
    body = np.minimum(1, 2.5 * blur(skin(lab), max(1.0, 0.025 * max(light.shape))))  # the shade of a face is part of it
    pale = (np.exp(-((np.hypot(colour[..., 0], colour[..., 1]) / 14) ** 2)) * (1 - 0.8 * body))[..., None]
    tint = pale * (manner.warm * np.maximum(warmth, 0) * glow + manner.cool * np.maximum(-warmth, 0) * shade)
    return np.dstack([100 * light, colour + tint]).astype(np.float32)


def opened(light: Floats, median: float) -> Floats:
    """L (H, W) in 0..100 -> light 0..1: tones spread, and by where they are brought towards a `median`, their detail kept."""
    light = np.clip(light / 100, 0, 1)
    low, high = np.percentile(light, [0.5, 99.5])
    spread = np.clip((light - low) / max(float(high - low), 0.5), 0, 1).astype(np.float32)
    around = np.clip(guided(spread, 0.04 * max(light.shape), 0.002), 0.02, 1)
    middle = float(np.clip(np.median(around), 0.04, 0.96))
    power = float(np.clip(np.log(median / 100) / np.log(middle), 0.55, 1.3))
    lifted = np.clip(spread * np.minimum(around ** (power - 1), 2.6), 0, 1.15)
    return np.where(lifted > 0.85, 0.85 + 0.15 * np.tanh((lifted - 0.85) / 0.15), lifted).astype(np.float32)


def guided(array: Floats, radius: float, tolerance: float) -> Floats:
    """`array` (H, W) smoothed within `radius` pixels, but not across its edges, where its variance is over `tolerance`.

    The guided filter of He et al. 2010, https://doi.org/10.1007/978-3-642-15549-9_1, guided by the array itself.
    """
    size = (2 * max(1, round(radius)) + 1,) * 2

    def mean(x: Floats) -> Floats:
        return np.asarray(cv2.blur(x, size, borderType=cv2.BORDER_REFLECT), np.float32)

    variance = mean(array * array) - mean(array) ** 2
    slope = variance / (variance + tolerance)
    return mean(slope) * array + mean(mean(array) * (1 - slope))


def finished(result: Floats, photo: Floats, manner: Manner) -> Floats:
    """`result` with skin held near the hue of `photo`, light parts on the paintings' ground, and its tones from `low` to `high`."""
    light, colour = result[..., 0], result[..., 1:]
    own = photo[..., 1:] * (1.25 * np.clip(light / np.maximum(photo[..., 0], 20), 0.8, 1.4))[..., None]
    colour = colour + ((1 - manner.skin) * skin(photo))[..., None] * (own - colour)
    ground = manner.ground * ramp(light, 55, 100) * np.exp(-((np.hypot(colour[..., 0], colour[..., 1]) / 30) ** 2))
    colour = colour + ground[..., None] * np.array([0.15, 1], np.float32)
    tone = np.clip(light / 100, 0, 1)
    if manner.steps:
        tone = (1 - STEPPED) * tone + STEPPED * stepped(tone, manner.steps)
    return np.dstack([manner.low + (manner.high - manner.low) * tone, colour]).astype(np.float32)


def stepped(tone: Floats, steps: int) -> Floats:
    """`tone` 0..1 in `steps` even tones, with soft borders between them."""
    at = tone * steps
    level = np.floor(at)
    soft = 0.5 * np.tanh(7 * (at - level - 1)) + 0.5 * np.tanh(7 * (at - level))
    return np.clip((level + 0.5 + soft) / steps, 0, 1).astype(np.float32)


def _cast(lab: Floats) -> Floats:
    """(2,): the mean a and b of what is nearly grey; 0 where hardly anything is."""
    grey = np.hypot(lab[..., 1], lab[..., 2]) < 20
    return lab[grey][:, 1:].mean(0) if grey.mean() > 0.02 else np.zeros(2, np.float32)


def _variety(lab: Floats) -> float:
    """How far the hues of a painting are apart: the area its colours take up in the plane of a and b."""
    return float(np.linalg.det(np.cov(blur(lab, 1.0)[..., 1:].reshape(-1, 2).T)))


def _photo_colours(picture: Picture, shade: Floats, glow: Floats, manner: Manner) -> dict[str, Floats]:
    lab = to_lab(picture)
    shares = places(lab)
    return _by_place(prepared(lab, shares[0], shade, glow, manner), shares)


def _painting_colours(lab: Floats) -> dict[str, Floats]:
    lab = blur(lab, 1.0)
    lab[..., 1:] -= CAST * _cast(lab)
    return _by_place(lab, painted_places(lab))


def _by_place(lab: Floats, shares: Sequence[Floats]) -> dict[str, Floats]:
    best = np.argmax(np.stack(shares), 0)
    return {place: lab[best == i] for i, place in enumerate(PLACES)}


def _pooled(found: Sequence[dict[str, Floats]], rng: np.random.Generator) -> dict[str, Floats]:
    """The colours of all pictures by place, at most `EACH` of a picture, in no order."""
    pools: dict[str, list[Floats]] = {place: [np.zeros((0, 3), np.float32)] for place in PLACES}
    for one in found:
        total = sum(map(len, one.values()))
        for place, colours in one.items():
            pools[place].append(rng.permutation(colours)[: max(1, round(EACH * len(colours) / total))])
    return {place: rng.permutation(np.concatenate(pool)) for place, pool in pools.items()}


def _small(picture: Image.Image) -> Picture:
    picture.thumbnail((COLOUR_SIDE, COLOUR_SIDE), Image.Resampling.BOX)
    return np.asarray(picture)
