"""Woodblock: flat fields in few mineral and plant pigments on paper, with one graded sky.

A photo is cut into areas (hand/areas/); every area gets the pigment of a chart by its hue and its lightness among the others. The calm
ground that touches the top is printed as one field whose block is wiped from the top down (bokashi), as in nineteenth-century prints.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stylekit.errors import SettingError
from stylekit.hand import analysis
from stylekit.hand.analysis import blur
from stylekit.hand.areas.accents import Portrait, features, lettered, painted
from stylekit.hand.areas.borders import curved
from stylekit.hand.areas.flat import Flat
from stylekit.hand.areas.merging import SHADE, by_thing, merged
from stylekit.hand.areas.pigments import (
    CHART,
    GREY,
    LEVELS,
    LIPS,
    PAPER,
    SUMI,
    black,
    chart,
    charted,
    complexion,
    fewer,
    one_hue,
    settled,
    washed,
)
from stylekit.hand.areas.regions import (
    Areas,
    Labels,
    flooded,
    flooded_between,
    measured,
    without_crumbs,
    without_rims,
)
from stylekit.hand.areas.sky import DARK_SKY, depth, ground, wiped
from stylekit.hand.fields import BROWN, HIDE, SMALL, cut_apart, places, shares, solid, whites, work_size
from stylekit.hand.marks import grain
from stylekit.hand.palettes import colour_of
from stylekit.hand.subject.skin import FAIR, HAIR_BROWN, hair_map, hair_of, lit, nearest
from stylekit.hand.subject.things import FURRED, SOLID
from stylekit.hand.view import Floats, Layer, Nothing, View
from stylekit.ranges import check, ranged

SALT = 7003  # added to the seed: randomness of this tool alone
WORK_AREA = 360 * 360  # pixels of the copy in which areas are found
FINE = 3  # the map of pigments is this many times as fine as that copy
SOFT = 1.2  # standard deviation of a border in pixels of the fine map, before it is cut sharp
HUE = 0.8  # share of the photo in the hue of what is colourful
WARM_HIDE, PALE_HIDE, GREY_HIDE = 9.0, 66.0, 9.0  # CIE b from which a hide is brown, lightness from which it is fair, chroma of a grey one
EYE = 0.012  # share of the picture of the largest eye of an animal
DULL = 7.0  # CIE chroma in the photo below which what it is of is printed grey
WIPED = 0.4  # of the pigment at the top of a picture without a sky
INDIGO = np.array([0.12, 0.29, 0.5], np.float32)  # what is wiped over other pigments there


@dataclass(frozen=True, kw_only=True)
class Woodblock:
    """count: areas into which the photo is cut at first, the most of them where things say when it is enough. things: 0 for areas of even
    colour; above, those of things as a network sees where they end, the fewer the higher it is. texture, rounding: in units, what is finer
    vanishes, and how round borders become. vivid: factor on the photo's chroma. pigments: at most so many, the paper among them. bokashi:
    0..1, how dark the top of the sky is wiped. grain: 0..1, of the wood in the pigment. wear: 0..1, how much the paper shows through.
    crumbs: width in units of the smallest piece of colour, a third of that in faces. median: lightness to which a dark photo is opened."""

    count: int = ranged(130, 8, 250)
    things: float = ranged(0.0, 0, 3)
    texture: float = ranged(2.2, 0.5, 12)
    rounding: float = ranged(1.5, 0.3, 8)
    vivid: float = ranged(1.35, 0.5, 3)
    pigments: int = ranged(12, 3, 24)
    bokashi: float = ranged(0.9, 0, 1)
    grain: float = ranged(0.5, 0, 1)
    wear: float = ranged(0.35, 0, 1)
    crumbs: float = ranged(12.0, 0, 80)
    median: float = ranged(0.56, 0.2, 0.8)

    def __post_init__(self) -> None:
        check(self, "The woodblock's ")
        for name in ("count", "pigments"):
            if getattr(self, name) != int(getattr(self, name)):
                raise SettingError(f"The woodblock's {name} is {getattr(self, name)!r}: choose a whole number.")


def plan_woodblock(view: View, settings: Woodblock, colours: Floats) -> Layer:
    """A print of `colours` (h, w, 3), sRGB in 0..1, with borders from the view's photo."""
    if not view.amount.any():
        return Nothing()
    smaller, size = work_size(view, WORK_AREA)
    unit = view.unit * view.detail * smaller
    face = analysis.resized(view.sight.face_map(), size)
    shown = analysis.resized(view.sight.opened(settings.median), size)
    bare, unopened = analysis.to_lab(shown), analysis.to_lab(analysis.resized(view.photo, size))
    lab = bare + (calmed(bare, settings.texture * unit) - bare) * (1 - 0.7 * face[..., None])
    edge = analysis.resized(view.sight.contours(), size) if settings.things else None
    if edge is not None:
        edge = solid(edge, analysis.resized(view.sight.things().of(SOLID), size), unit)
        edge = solid(edge, analysis.resized(view.sight.animals().told, size), unit, HIDE)
        small = flooded_between(edge, lab, max(4.0, 3 * settings.texture * unit))
        labels = merged(
            measured(small, lab * SHADE, 1 + 3 * face, edge=edge), int(settings.count), 0, by_thing(SMALL * face.size), settings.things
        )
    else:
        labels = cut(lab, max(3.0, 3.2 * settings.texture * unit), int(settings.count), 1 + 3 * face, (5 * unit) ** 2)
    figure = analysis.resized(view.sight.figure(), size)
    hair = hair_map(view.sight.haired(), size, smaller, view.sight.foreground(), bare)
    person = blur(analysis.resized(view.sight.skin(), size), 1.6 * unit) > 0.5
    hair[person] = 0
    if figure.any() or hair.any():
        # what is seen for certain keeps its outline, and hair is none of the clothes
        each = analysis.numbered(view.sight.things().labels, size)
        labels, _ = cut_apart(labels, blur(figure, unit) > 0.5, hair, nearest(view.sight.found(), size, smaller), each)
    taken = analysis.resized(colours, size)
    own, taken = analysis.to_lab(analysis.opened(taken, settings.median)), analysis.to_lab(taken)
    # a model's palette leans, a clear hue of the photo is to be known again
    plain = HUE * analysis.smoothstep(np.hypot(lab[..., 1], lab[..., 2]), 5, 16)[..., None]
    own[..., 1:] += plain * (lab[..., 1:] - own[..., 1:])
    ones = np.ones_like(face)
    pieces, before = measured(labels, own, ones), measured(labels, taken, ones)
    sure = None if edge is None else measured(labels, own, ones, edge=edge).step
    sky = ground(pieces, shown, face, unit, sure)
    boxes = [(x * smaller, y * smaller, a * smaller, b * smaller) for x, y, a, b in view.sight.faces()]
    skin = skin_share(pieces, own, boxes)
    skin = np.where(shares(labels, person.astype(np.float32)) > 0.5, 1, skin * (0.4 if person.any() else 1)).astype(np.float32)
    # a dark sky is printed dark, however far the photo was opened, and so is what lies before it
    seen = 0.2 * pieces.lab + 0.8 * before.lab
    if sky.any() and np.average(seen[sky, 0], weights=pieces.mass[sky]) < DARK_SKY:
        pieces = replace(pieces, lab=0.5 * pieces.lab + 0.5 * before.lab)
    hue, tone = charted(pieces.lab, pieces.mass, skin, settings.vivid)
    side = np.maximum(skin, shares(labels, figure) > 0.5).astype(np.float32)
    hue = one_hue(hue, pieces, np.maximum(side, 2 * skin))
    names, table = chart()
    # a model's palette leans: a grey thing is grey
    shown_as = measured(labels, bare, ones).lab
    hue = np.where((side > 0.5) & (skin < 0.5) & (np.hypot(*shown_as[:, 1:].T) < DULL), len(names) - 1, hue)
    tone = np.where(washed(hue, tone, pieces.mass, side), tone - 1, tone)
    tones = table.shape[1]
    graded = len(names) * tones  # the number of the sky
    hair = shares(labels, hair) * (skin < 0.5)
    as_it_is = measured(labels, unopened, ones).lab
    theirs = hair_of(as_it_is, unopened, view.sight.found(), smaller, places(labels))
    hair[np.isnan(theirs[:, 0])] = 0
    thing = (np.maximum(shares(labels, figure), hair) > 0.5) & (skin < 0.5) & ~sky
    ink = black(as_it_is, pieces.mass, thing, hair)
    brown = person.any() and (lit(bare, view.sight.found(), smaller) or 100) < BROWN
    if brown:
        # hair is darker than dark skin
        ink |= thing & (hair > 0.5)
    white = thing & (hair < 0.5) & (whites(as_it_is) > 0.5)
    hue, tone = np.where(white, len(names) - 1, hue), np.where(white, 0, tone)
    # a model paints hair in the shade blue, whatever the photo has
    grey = (hair > 0.5) & thing
    hue, tone = np.where(grey, len(names) - 1, hue), np.where(grey, np.clip(tone, 2, 4), tone)
    for told, name, column in ((FAIR, "yellow", 2), (HAIR_BROWN, "orange", 4)):
        mine = (hair > 0.5) & thing & (theirs == told).all(1) & (not brown)
        hue, tone = np.where(mine, names.index(name), hue), np.where(mine, column, tone)
        ink &= ~mine
    # hides are brown, grey or as dark as they are
    hide = (shares(labels, analysis.resized(view.sight.things().of(FURRED), size)) > 0.5) & (skin < 0.5) & ~sky
    # an eye is no part of one
    hide &= pieces.mass > EYE * pieces.mass.sum()
    warm = hide & (shown_as[:, 2] > WARM_HIDE)
    tawny = warm & (as_it_is[:, 0] < PALE_HIDE)
    dull = hide & ~warm & (np.hypot(*shown_as[:, 1:].T) < GREY_HIDE)
    hue = np.where(warm, names.index("orange"), np.where(dull, len(names) - 1, hue))
    tone = np.where(tawny, np.clip(tone, 3, 4), np.where(warm, np.clip(tone, 1, 2), tone))
    ink |= (hair > 0.5) & thing & (theirs[:, 0] < 0.8 * as_it_is[:, 0])
    hue, tone = np.where(ink, len(names) - 1, hue), np.where(ink, tones - 1, tone)
    chosen = fewer(hue * tones + tone, pieces.mass * ~sky, table.reshape(-1, 3), int(settings.pigments))
    chosen = settled(chosen, pieces, np.maximum(side, 2 * skin))
    if boxes:
        # hair is no skin, however fair: the middle pigments of its hue at least
        pale = (hair > 0.5) & (chosen // tones <= 1) & (chosen % tones < 2)
        grey = np.hypot(as_it_is[:, 1], as_it_is[:, 2]) < GREY
        chosen = np.where(pale, np.where(grey, len(names) - 1, 2) * tones + 2, chosen)
    if sky.any():
        # the sky is a field of its own, whatever its pigment: number it after all others
        chosen = np.where(sky, graded, chosen)
    numbers = np.asarray(chosen, np.int32)[labels]
    if not settings.things:
        numbers = refined(numbers, own, (2.6 * unit,), face)
    tiny = analysis.resized(view.sight.things().tiny(), size)
    numbers = without_crumbs(numbers, (settings.crumbs * unit * (1 - 0.6 * tiny)) ** 2 * (1 - 0.7 * face))
    numbers = without_rims(numbers, 0.02)
    if person.any():
        # one tone for face, arms and hands; eyes, brows and mouths are drawn in line
        column = complexion(0.5 * (lab + unopened), boxes)
        column = max(column, 2) if brown else column
        skin_ink = column + (list(CHART).index("orange") * tones if column else 0)
        numbers[person | ((skin > 0.5)[labels] & (numbers < graded))] = skin_ink
    # the sky comes after the pigments, and has none of its own
    inks = np.concatenate([table.reshape(-1, 3), np.zeros((1, 3), np.float32)])
    fine = curved(numbers, settings.rounding * unit, np.maximum(face, tiny), FINE)
    paper = list(CHART).index("grey") * len(LEVELS)
    lettered(fine, view.sight, analysis.to_lab(inks[None])[0, :, 0], SUMI, paper)
    fine[features(view.sight, fine.shape)] = SUMI
    painted(fine, view.sight, Portrait(dark=SUMI, light=paper, lips=LIPS))
    top, bottom, dark = wiped(seen, pieces.mass, sky, settings.bokashi)
    dusk = np.zeros((1, 1, 3), np.float32)
    if not sky.any():
        # a picture without a sky is wiped at its top too, behind what it is of
        down = np.linspace(0, 1, size[1], dtype=np.float32)[:, None]
        behind = 1 - np.maximum(shares(labels, figure)[labels] > 0.5, person)
        amount = WIPED * settings.bokashi * blur(behind.astype(np.float32), unit) * analysis.smoothstep(down, 0.3, 0.0)
        # over ochre it would be olive
        cool = analysis.smoothstep(analysis.to_lab(inks[None])[0, :, 2], 36, 20)[numbers]
        dusk = np.asarray((amount * cool)[..., None] * np.float32(0.75) * (1 - INDIGO), np.float32)
    return PrintLayer(view, settings, fine, inks, (top, bottom, dark), depth(numbers == graded), dusk)


def cut(lab: Floats, spacing: float, count: int, weight: Floats, least: float) -> Labels:
    """(h, w) labels of about `count` areas of (h, w, 3) CIE Lab, begun from seeds `spacing` pixels apart.

    weight: (h, w), how much each pixel counts. least: mass below which an area has to go to a neighbour."""

    def worth(one: Any, other: Any, apart: Any, step: Any, length: Any) -> Any:
        # half by the areas' colours, half by how sharp the border between them is
        value = one * other / (one + other) * (0.6 * apart + 0.8 * step) ** 2 / length
        return value * (1 - 0.95 * ((one < least) | (other < least)))

    return merged(measured(flooded(lab, spacing), lab, weight, 1), count, least, worth)


def calmed(lab: Floats, scale: float) -> Floats:
    """(h, w, 3) Lab without texture below about `scale` pixels, edges kept."""
    sigma = max(1.0, scale)
    calm = cv2.medianBlur(lab, 3) if min(lab.shape[:2]) > 3 else lab
    for _ in range(2):
        calm = cv2.bilateralFilter(calm, 2 * math.ceil(1.6 * sigma) + 1, 16.0, sigma)
    return np.asarray(calm, np.float32)


def refined(labels: NDArray[np.int32], lab: Floats, reaches: tuple[float, ...], face: Floats) -> NDArray[np.int32]:
    """(h, w) labels whose borders follow the edges of (h, w, 3) Lab where there are any and run smoothly where there are none.

    A pixel goes to the label that is most around it, weighed by how near the label's colour around there is; in faces it stays."""
    h, w = labels.shape
    half = max(1, w // 2), max(1, h // 2)
    for reach in reaches:
        best = np.full(labels.shape, -1, np.float32)
        result = labels.copy()
        for label in np.unique(labels):
            mask = np.asarray(labels == label, np.float32)
            # everything but the colours themselves is smooth: half the size does
            part = analysis.resized(np.asarray(np.dstack([mask, mask[..., None] * lab]), np.float32), half)
            around = analysis.resized(analysis.blur(np.ascontiguousarray(part[..., 0]), reach / 2), (w, h), cv2.INTER_LINEAR)
            wide = analysis.blur(part, reach)
            mean = analysis.resized(np.asarray(wide[..., 1:] / np.maximum(wide[..., :1], 1e-3), np.float32), (w, h), cv2.INTER_LINEAR)
            off = lab - mean
            score = around / (90 + np.einsum("hwc,hwc->hw", off, off))
            wins = (score > best) & (around > 0.02)
            best[wins] = score[wins]
            result[wins] = label
        labels = np.where(face > 0.5, labels, result)
    return labels


def skin_share(pieces: Areas, lab: Floats, boxes: list[tuple[float, float, float, float]]) -> Floats:
    """(n,) in 0..1: how far each area is the skin of a face (x, y, width, height) in (h, w, 3) Lab: near it, and of its middle's colour."""
    n = len(pieces.mass)
    h, w = pieces.labels.shape
    result = np.zeros(n, np.float32)
    count = np.maximum(np.bincount(pieces.labels.ravel(), minlength=n), 1)
    ys, xs = np.mgrid[0:h, 0:w].astype(np.float32)
    for x, y, width, height in boxes:
        middle = lab[
            max(0, round(y + 0.45 * height)) : max(1, round(y + 0.75 * height)),
            max(0, round(x + 0.3 * width)) : max(1, round(x + 0.7 * width)),
        ]
        if middle.size == 0:
            continue
        own = np.median(middle.reshape(-1, 3), 0)
        # the face, the neck under it
        head = np.hypot((xs - x - width / 2) / (0.62 * width), (ys - y - height * 0.5) / (0.75 * height)) < 1
        neck = (np.abs(xs - x - width / 2) < 0.4 * width) & (ys > y + 0.5 * height) & (ys < y + 1.5 * height)
        share = np.bincount(pieces.labels.ravel(), (head | neck).ravel().astype(np.float32), n) / count
        apart = np.sqrt((((pieces.lab - own) * np.array([0.55, 1, 1], np.float32)) ** 2).sum(1))
        inner = np.hypot((xs - x - width / 2) / (0.4 * width), (ys - y - height * 0.55) / (0.5 * height)) < 1
        within = np.bincount(pieces.labels.ravel(), inner.ravel().astype(np.float32), n) / count
        # light and shade on a cheek are skin, whatever their hue
        cheek = analysis.smoothstep(within, 0.5, 0.7) * analysis.smoothstep(own[0] - pieces.lab[:, 0], 30, 22)
        result = np.maximum(result, np.maximum(analysis.smoothstep(share, 0.15, 0.5) * analysis.smoothstep(apart, 24, 14), cheek))
    return result


class PrintLayer:
    """Fields of pigment with a wiped sky, the grain of the block, and the paper under it."""

    def __init__(
        self,
        view: View,
        settings: Woodblock,
        fine: NDArray[np.uint16],
        inks: Floats,
        sky: tuple[Floats, Floats, float],
        extent: tuple[float, float],
        dusk: Floats,
    ) -> None:
        # two more channels go with the colours: whether it is sky, and how much pigment lies there
        paper = colour_of(PAPER, "The paper")
        lab, ground = analysis.to_lab(inks[None])[0], analysis.to_lab(paper[None, None])[0, 0]
        load = np.clip(np.sqrt(((lab - ground) ** 2).sum(-1)) / 45, 0.1, 1)
        # the sky comes last: no colour of its own, all of it graded
        flag = (np.arange(len(inks)) == len(inks) - 1).astype(np.float32)
        load[-1] = 0
        self.flat = Flat(fine, np.column_stack([inks, flag, load]).astype(np.float32), view.size, SOFT)
        self.amount, self.dusk = view.amount, dusk
        self.sky, self.extent, self.view, self.settings = sky, extent, view, settings
        self.paper = paper
        unit = view.unit * view.scale
        self.wood = grain.grain(
            view.seed + SALT,
            ((70 * unit, max(0.4, 0.5 * unit), 0.8), (90 * unit, 1.6 * unit, 0.7), (0.9 * unit, max(0.4, 0.7 * unit), 0.7)),
        )

    def colours(self, size: tuple[int, int]) -> Floats:
        """(h, w, 3) the pigments at size (W, H), the sky in one colour, for tools that lay marks on them."""
        plane = self.flat.at(size)
        return np.ascontiguousarray(plane[..., :3] + plane[..., 3:4] * self.sky[1])

    def apply(self, canvas: Floats, top: int) -> Floats:
        result = np.array(canvas, np.float32)
        high, foot, reach = self.sky
        height = self.view.size[1]
        begin, end = self.extent
        amount = analysis.enlarged(self.amount, self.view.size, top, len(canvas))
        dusk = analysis.enlarged(self.dusk, self.view.size, top, len(canvas))
        for rows, columns, colour in self.flat.tiles(top, len(canvas)):
            shape = rows.stop - rows.start, columns.stop - columns.start
            colour = np.broadcast_to(colour, (*shape, colour.shape[-1]))
            rgb, sky, load = colour[..., :3], colour[..., 3:4], colour[..., 4]
            down = ((np.arange(top + rows.start, top + rows.stop, dtype=np.float32) + 0.5) / height - begin) / max(end - begin, 1e-6)
            fade = analysis.smoothstep(down / max(reach, 1e-6), 1.0, 0.0)[:, None]
            graded = foot + fade * (high - foot)
            rgb = rgb + sky * graded[:, None]
            rgb = np.asarray(rgb * (1 - dusk[rows, columns]), np.float32)
            load = load + sky[..., 0] * (0.35 + 0.5 * fade)
            streaks = np.clip(grain.rows(self.wood, top + rows.start, shape[0], (columns.start, columns.stop)) / 2.5, -1, 1)
            thin = np.clip(load * (self.settings.wear * 0.12 + self.settings.grain * 0.11 * streaks), 0, 1)
            printed = rgb + thin[..., None] * (self.paper - rgb)
            opacity = amount[rows, columns, None]
            under = result[rows, columns]
            result[rows, columns] = under + opacity * (printed - under)
        return result
