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
from stylekit.hand.areas.accents import Portrait, features, painted
from stylekit.hand.areas.borders import curved
from stylekit.hand.areas.flat import Flat
from stylekit.hand.areas.merging import SHADE, by_thing, merged
from stylekit.hand.areas.regions import (
    Areas,
    Labels,
    flooded,
    flooded_between,
    measured,
    renumbered,
    without_crumbs,
    without_rims,
)
from stylekit.hand.fields import SMALL, shares, work_size
from stylekit.hand.marks import grain
from stylekit.hand.palettes import colour_of
from stylekit.hand.subject.skin import hair_map, tone_of
from stylekit.hand.view import Floats, Layer, Nothing, View
from stylekit.ranges import check, ranged

SALT = 7003  # added to the seed: randomness of this tool alone
WORK_AREA = 360 * 360  # pixels of the copy in which areas are found
FINE = 3  # the map of pigments is this many times as fine as that copy
SOFT = 1.2  # standard deviation of a border in pixels of the fine map, before it is cut sharp
FEATURES = 0.64  # how much of a face is drawn in black
PAPER = "#efe2c3"
# from light to dark, for every hue; angles in CIE Lab degrees
CHART: dict[str, tuple[float, tuple[str, ...]]] = {
    "red": (28, ("#f2d3b8", "#e39a80", "#cc4a34", "#a23a30", "#5c2a2c", "#24222b")),
    "orange": (58, ("#f3ddb9", "#e6b98a", "#d58a52", "#a8633c", "#66443a", "#24222b")),
    "yellow": (88, ("#f1e2b4", "#e6cd85", "#d3a743", "#9c8142", "#5c553f", "#24242b")),
    "green": (115, ("#dfe0b8", "#b9c28c", "#869a5c", "#54794f", "#2f5146", "#1d2c33")),
    "teal": (200, ("#dbe3cd", "#a9c9c0", "#6ba3a5", "#3a7480", "#23505f", "#172a3c")),
    "blue": (282, ("#dfe3d0", "#a9c4cc", "#5f95b3", "#2f618f", "#213f6b", "#17264a")),
    "violet": (328, ("#ecd6cb", "#cfa9b0", "#a2778f", "#74526f", "#473a5c", "#252342")),
    "pink": (358, ("#f2d6c6", "#e6aca0", "#d3736f", "#a8434a", "#5e2a36", "#24222b")),
    "grey": (0, ("#efe2c3", "#d6cfb9", "#a9b0a6", "#6d8089", "#3d5066", "#1f2738")),
}
LEVELS = (85.0, 67.0, 52.0, 39.0, 26.0, 14.0)  # CIE L of the photo for the columns of the chart
ALIKE = 15.0  # CIE Lab; neighbours nearer than this are one thing
SUMI = len(CHART) * len(LEVELS) - 1  # the number of black among all pigments
HUE = 0.8  # share of the photo in the hue of what is colourful
BLACK, BLACKS = 24.0, 0.2  # CIE L of the photo below which a thing is black, and the most of a picture that black may cover
LIPS = 2  # the number of vermilion
DARK_SKY = 38.0  # CIE L below which a sky is one of night or shade
WIPED = 0.4  # of the pigment at the top of a picture without a sky
INDIGO = np.array([0.12, 0.29, 0.5], np.float32)  # what is wiped over other pigments there
CALM = 0.16  # busyness below which ground is calm enough to be printed as sky
ENDS = 0.5  # how surely a thing ends at a border behind which the sky does not go on
TURN = 26.0  # degrees of hue; neighbours nearer than this are lights and shades of one thing
GREY = 9.0  # CIE chroma below which a colour has no hue


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


def chart() -> tuple[list[str], Floats]:
    """Names of the hues, and (hues, tones, 3) sRGB of their pigments from light to dark."""
    return list(CHART), np.stack([np.stack([colour_of(ink, "A pigment") for ink in inks]) for _, inks in CHART.values()])


def plan_woodblock(view: View, settings: Woodblock, colours: Floats) -> Layer:
    """A print of `colours` (h, w, 3), sRGB in 0..1, with borders from the view's photo."""
    if not view.amount.any():
        return Nothing()
    smaller, size = work_size(view, WORK_AREA)
    unit = view.unit * view.detail * smaller
    face = analysis.resized(view.sight.face_map(), size)
    shown = analysis.resized(view.sight.opened(settings.median), size)
    lab = analysis.to_lab(shown)
    lab = lab + (calmed(lab, settings.texture * unit) - lab) * (1 - 0.7 * face[..., None])
    edge = analysis.resized(view.sight.contours(), size) if settings.things else None
    if edge is not None:
        small = flooded_between(edge, lab, max(4.0, 3 * settings.texture * unit))
        labels = merged(
            measured(small, lab * SHADE, 1 + 3 * face, edge=edge), int(settings.count), 0, by_thing(SMALL * face.size), settings.things
        )
    else:
        labels = cut(lab, max(3.0, 3.2 * settings.texture * unit), int(settings.count), 1 + 3 * face, (5 * unit) ** 2)
    figure = analysis.resized(view.sight.figure(), size)
    hair = hair_map(view.sight.found(), size, smaller, view.sight.foreground())
    if figure.any():
        # what is seen for certain keeps its outline, and hair is none of the clothes
        thing = blur(figure, unit) > 0.5
        crown = thing & (hair > 0.5)
        labels = renumbered(np.asarray(3 * labels + thing + crown, np.int32))
    taken = analysis.resized(colours, size)
    own, taken = analysis.to_lab(analysis.opened(taken, settings.median)), analysis.to_lab(taken)
    # a model's palette leans, a clear hue of the photo is to be known again
    plain = HUE * analysis.smoothstep(np.hypot(lab[..., 1], lab[..., 2]), 12, 30)[..., None]
    own[..., 1:] += plain * (lab[..., 1:] - own[..., 1:])
    ones = np.ones_like(face)
    pieces, before = measured(labels, own, ones), measured(labels, taken, ones)
    sure = None if edge is None else measured(labels, own, ones, edge=edge).step
    sky = ground(pieces, shown, face, unit, sure)
    boxes = [(x * smaller, y * smaller, a * smaller, b * smaller) for x, y, a, b in view.sight.faces()]
    skin = skin_share(pieces, own, boxes)
    person = blur(analysis.resized(view.sight.skin(), size), 1.6 * unit) > 0.5
    skin = np.where(shares(labels, person.astype(np.float32)) > 0.5, 1, skin * (0.4 if person.any() else 1)).astype(np.float32)
    # a dark sky is printed dark, however far the photo was opened, and so is what lies before it
    seen = 0.2 * pieces.lab + 0.8 * before.lab
    if sky.any() and np.average(seen[sky, 0], weights=pieces.mass[sky]) < DARK_SKY:
        pieces = replace(pieces, lab=0.5 * pieces.lab + 0.5 * before.lab)
    hue, tone = charted(pieces.lab, pieces.mass, skin, settings.vivid)
    side = np.maximum(skin, shares(labels, figure) > 0.5).astype(np.float32)
    hue = one_hue(hue, pieces, np.maximum(side, 2 * skin))
    names, table = chart()
    tones = table.shape[1]
    hair = shares(labels, hair) * (skin < 0.5)
    thing = (np.maximum(shares(labels, figure), hair) > 0.5) & (skin < 0.5) & ~sky
    ink = black(measured(labels, analysis.to_lab(analysis.resized(view.photo, size)), ones).lab, pieces.mass, thing, hair)
    # a model paints hair in the shade blue, whatever the photo has
    warm = (hair > 0.5) & (measured(labels, lab, ones).lab[:, 2] > 2) & (hue >= list(CHART).index("teal"))
    hue, tone = np.where(warm, list(CHART).index("orange"), hue), np.where(warm, np.maximum(tone, 3), tone)
    hue, tone = np.where(ink, len(names) - 1, hue), np.where(ink, tones - 1, tone)
    chosen = fewer(hue * tones + tone, pieces.mass * ~sky, table.reshape(-1, 3), int(settings.pigments))
    chosen = settled(chosen, pieces, np.maximum(side, 2 * skin))
    if boxes:
        # hair is no skin, however fair: the middle pigments of its hue at least
        chosen = np.where((hair > 0.5) & (chosen // tones <= 1) & (chosen % tones < 2), 2 * tones + 2, chosen)
    if sky.any():
        # the sky is a field of its own, whatever its pigment: number it after all others
        chosen = np.where(sky, len(names) * tones, chosen)
    numbers = np.asarray(chosen, np.int32)[labels]
    if not settings.things:
        numbers = refined(numbers, own, (2.6 * unit,), face)
    numbers = without_crumbs(numbers, (settings.crumbs * unit) ** 2 * (1 - 0.7 * face))
    numbers = without_rims(numbers, 0.02)
    if person.any():
        # one tone for face, arms and hands; eyes, brows and mouths are drawn in line
        column = complexion(0.5 * (lab + analysis.to_lab(analysis.resized(view.photo, size))), boxes)
        numbers[person] = list(CHART).index("orange") * len(LEVELS) + column
    fine = curved(numbers, settings.rounding * unit, face, FINE)
    fine[features(view.sight, fine.shape, FEATURES)] = SUMI
    painted(fine, view.sight, Portrait(dark=SUMI, light=list(CHART).index("grey") * len(LEVELS), lips=LIPS))
    top, bottom, dark = wiped(seen, pieces.mass, sky, settings.bokashi)
    dusk = np.zeros((1, 1, 3), np.float32)
    if not sky.any():
        # a picture without a sky is wiped at its top too, behind what it is of
        down = np.linspace(0, 1, size[1], dtype=np.float32)[:, None]
        behind = 1 - np.maximum(shares(labels, figure)[labels] > 0.5, person)
        amount = WIPED * settings.bokashi * blur(behind.astype(np.float32), unit) * analysis.smoothstep(down, 0.3, 0.0)
        # over ochre it would be olive
        cool = analysis.smoothstep(analysis.to_lab(table.reshape(1, -1, 3))[0, :, 2], 36, 20)[numbers]
        dusk = np.asarray((amount * cool)[..., None] * np.float32(0.75) * (1 - INDIGO), np.float32)
    return PrintLayer(view, settings, fine, table.reshape(-1, 3), (top, bottom, dark), depth(numbers == len(names) * tones), dusk)


def black(lab: Floats, mass: Floats, thing: NDArray[np.bool_], hair: Floats) -> NDArray[np.bool_]:
    """(n,) which areas are printed black, in (n, 3) Lab of the photo as it is: of the dark things, first hair, then the smaller ones, until
    there is enough."""
    order = np.argsort(lab[:, 0])
    middle = float(lab[order, 0][np.searchsorted(np.cumsum(mass[order]), 0.5 * mass.sum()).clip(0, len(mass) - 1)])
    result = thing & (lab[:, 0] < min(BLACK, 0.5 * middle)) & (np.hypot(lab[:, 1], lab[:, 2]) < 16)
    dark = np.flatnonzero(result)
    dark = dark[np.argsort(mass[dark] * (1 - 0.95 * hair[dark]), kind="stable")]
    result[dark[np.cumsum(mass[dark]) > BLACKS * mass.sum()]] = False
    return result


def complexion(lab: Floats, boxes: list[tuple[float, float, float, float]]) -> int:
    """Column of the chart for the skin of the largest face (x, y, width, height) in (h, w, 3) Lab."""
    tone = tone_of(lab, boxes[0]) if boxes else None
    return 0 if tone is None or tone[0] > 52 else 1 if tone[0] > 44 else 2 if tone[0] > 37 else 3


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


def charted(lab: Floats, mass: Floats, skin: Floats, vivid: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """(n,) row and column of the chart for each of (n, 3) Lab of areas with mass and share of skin."""
    light = lab[:, 0]
    order = np.argsort(light)
    share = np.cumsum(mass[order]) / max(float(mass.sum()), 1e-9)
    dark = min(float(light[order][np.searchsorted(share, 0.03).clip(0, len(light) - 1)]), 22.0)
    bright = max(float(light[order][np.searchsorted(share, 0.97).clip(0, len(light) - 1)]), 78.0)
    light = 8 + (np.clip(light, dark, bright) - dark) * (90 - 8) / (bright - dark)
    light = light + skin * np.maximum(0, 84 - light) * 0.8
    chroma = np.hypot(lab[:, 1], lab[:, 2]) * vivid
    angle = np.degrees(np.arctan2(lab[:, 2], lab[:, 1])) % 360
    hues = np.array([a for name, (a, _) in CHART.items() if name != "grey"])
    away = np.abs((angle[:, None] - hues + 180) % 360 - 180)
    row = away.argmin(1)
    # what is dark has less chroma to show its hue with
    row = np.where(chroma < GREY * (0.55 + 0.45 * np.clip(light / 60, 0, 1)) * vivid, len(hues), row)
    # violet was rare: only what is clearly violet is printed so
    row = np.where((row == list(CHART).index("violet")) & (chroma < 30 * vivid), len(hues), row)
    row = np.where(skin > 0.5, 1, row)
    column = np.abs(light[:, None] - np.array(LEVELS)).argmin(1)
    # clear, bold colours are printed bold: in the column where the pigment is purest
    bold = (chroma > 52) & (row < len(hues)) & (skin < 0.3)
    column = np.where(bold, np.clip(column, 2, 3), column)
    column = np.where(skin > 0.5, np.minimum(column, 1), column)
    # near black, only a strong hue tells
    row = np.where((column >= 4) & (chroma < 22 * vivid), len(hues), row)
    return row, column


def one_hue(row: NDArray[np.intp], pieces: Areas, kind: Floats) -> NDArray[np.intp]:
    """(n,) the same rows of the chart, but neighbours of one kind and nearly one hue, such as the lit and the shaded side of a fruit, share
    the row of the largest."""
    root = np.arange(len(row))
    chroma = np.hypot(pieces.lab[:, 1], pieces.lab[:, 2])
    angle = np.degrees(np.arctan2(pieces.lab[:, 2], pieces.lab[:, 1]))
    one, other = pieces.pairs.T
    near = np.abs((angle[one] - angle[other] + 180) % 360 - 180) < TURN
    near &= (np.minimum(chroma[one], chroma[other]) > GREY) & (np.abs(kind[one] - kind[other]) < 0.5)
    around = np.bincount(pieces.pairs.ravel(), np.repeat(pieces.length, 2), len(pieces.mass))
    for i in sorted(np.flatnonzero(near).tolist(), key=lambda i: -float(pieces.mass[one[i]] + pieces.mass[other[i]])):
        a, b = int(one[i]), int(other[i])
        small, large = (a, b) if pieces.mass[a] < pieces.mass[b] else (b, a)
        if pieces.length[i] > 0.15 * around[small]:
            a, b = int(root[small]), int(root[large])
            if abs((angle[a] - angle[b] + 180) % 360 - 180) < 1.5 * TURN:
                root[root == (a if pieces.mass[a] < pieces.mass[b] else b)] = b if pieces.mass[a] < pieces.mass[b] else a
    return row[root]


def settled(chosen: NDArray[np.intp], pieces: Areas, kind: Floats) -> NDArray[np.intp]:
    """(n,) the same choice, but an area hardly unlike a larger neighbour of its kind has the neighbour's pigment."""
    result = chosen.copy()
    apart = np.sqrt(((pieces.lab[pieces.pairs[:, 0]] - pieces.lab[pieces.pairs[:, 1]]) ** 2).sum(1))
    around = np.bincount(pieces.pairs.ravel(), np.repeat(pieces.length, 2), len(pieces.mass))
    near = [
        (a, b, d, length)
        for (a, b), d, length in zip(pieces.pairs.tolist(), apart.tolist(), pieces.length.tolist(), strict=True)
        if d < ALIKE
    ]
    for a, b, _, length in sorted(near, key=lambda pair: -pieces.mass[pair[0]] - pieces.mass[pair[1]]):
        small, large = (a, b) if pieces.mass[a] < pieces.mass[b] else (b, a)
        if length > 0.12 * around[small] and abs(float(kind[small]) - float(kind[large])) < 0.5:
            result[small] = result[large]
    return result


def fewer(chosen: NDArray[np.intp], mass: Floats, table: Floats, most: int) -> NDArray[np.intp]:
    """(n,) the same choice from (k, 3) sRGB with at most `most` pigments: the least used give way to the nearest that stays."""
    used = np.bincount(chosen, mass, len(table))
    lab = analysis.to_lab(table[None])[0]
    # a small bold accent counts for more than a small grey
    worth = used * (1 + np.hypot(lab[:, 1], lab[:, 2]) / 12)
    kept = np.argsort(-worth, kind="stable")[:most]
    kept = kept[used[kept] > 0]
    if len(kept) == 0:
        return chosen
    away = ((lab[:, None] - lab[kept][None]) ** 2 * np.array([1.4, 1, 1], np.float32)).sum(-1)
    return np.asarray(kept[away.argmin(1)][chosen])


def ground(pieces: Areas, shown: Floats, face: Floats, unit: float, sure: Floats | None = None) -> NDArray[np.bool_]:
    """(n,) which areas are sky, or a wall that is printed like one: calm, joined to the top, and not what the eye is drawn to.

    sure: (m,) in 0..1, how surely a thing ends between each two neighbours; the sky does not go on behind that."""
    labels, lab = pieces.labels, pieces.lab
    h, w = labels.shape
    n = len(lab)
    count = np.maximum(np.bincount(labels.ravel(), minlength=n), 1)

    def share(plane: Floats) -> Floats:
        return np.asarray(np.bincount(labels.ravel(), plane.ravel(), n) / count, np.float32)

    light = analysis.lightness(shown)
    busy, faces = share(analysis.busyness(light, max(1.0, 3 * unit))), share(face)
    strip = labels[: max(1, h // 60)]
    top = np.bincount(strip.ravel(), minlength=n) / strip.size
    calm = (busy < 2 * CALM) & (faces < 0.1)
    # wood, fur and skin are warm and not quite smooth; a warm sky is smooth
    angle = np.degrees(np.arctan2(lab[:, 2], lab[:, 1])) % 360
    warm = (np.hypot(lab[:, 1], lab[:, 2]) > 13) & ((angle < 95) | (angle > 345))
    slope = share(analysis.blur(analysis.edges(light, 0.8), max(1.0, 3 * unit)))
    seeds = (busy < CALM) & calm & (top > 0.04) & ~(warm & (slope > 0.007))
    none = np.zeros(n, bool)
    if top[seeds].sum() < 0.25:
        return none
    # grown into calm neighbours of much the same colour
    member = seeds.copy()
    pairs = pieces.pairs if sure is None else pieces.pairs[sure < ENDS]
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    weight = (count * top)[seeds]
    mean = (lab[seeds] * weight[:, None]).sum(0) / weight.sum()
    alike = np.sqrt(((lab - mean) ** 2 * np.array([0.35, 1, 1])).sum(1)) < 26
    height = share(np.repeat(np.arange(h, dtype=np.float32)[:, None], w, 1)) / h
    for _ in range(12):
        near = none.copy()
        near[pairs[member[pairs[:, 0]], 1]] = True
        grown = member | (near & calm & alike & (height < 0.85))
        if (grown == member).all():
            break
        member = grown
    return np.asarray(member) if count[member].sum() > 0.04 * h * w else none


def wiped(lab: Floats, mass: Floats, sky: NDArray[np.bool_], bokashi: float) -> tuple[Floats, Floats, float]:
    """sRGB of the sky's top and of its foot, and how far down the top reaches, 0..1."""
    paper = colour_of(PAPER, "The paper")
    if not sky.any():
        return paper, paper, 0.0
    weight = mass[sky] / max(float(mass[sky].sum()), 1e-9)
    light, a, b = (lab[sky] * weight[:, None]).sum(0)
    chroma, angle = math.hypot(a, b), math.degrees(math.atan2(b, a)) % 360
    indigo, names, table = colour_of("#1f4a80", "A pigment"), *chart()
    hue = min((n for n in names if n != "grey"), key=lambda n: abs((angle - CHART[n][0] + 180) % 360 - 180)) if chroma > 10 else "grey"
    row = table[names.index(hue)]
    if light > 62:
        # a light ground stays paper, or has a breath of its hue
        foot = row[1] * 0.6 + row[0] * 0.4 if hue in ("blue", "teal") else row[0]
        top, reach = indigo, 0.5
    elif light > DARK_SKY:
        foot = row[1] if hue in ("blue", "teal", "grey") else row[2] * 0.5 + row[1] * 0.5
        top, reach = (indigo if hue in ("blue", "teal", "grey", "violet") else row[3]), 0.6
    else:
        cool = hue in ("blue", "teal", "grey", "violet")
        foot, top, reach = (row[3], colour_of("#172747", "A pigment"), 0.95) if cool else (row[4], row[5], 0.7)
    return np.asarray(foot + np.float32(bokashi) * (top - foot), np.float32), np.asarray(foot, np.float32), reach


def depth(sky: NDArray[np.bool_]) -> tuple[float, float]:
    """Where the sky begins and ends, in parts of the height."""
    rows = np.flatnonzero(sky.any(1))
    return (float(rows[0]) / len(sky), float(rows[-1] + 1) / len(sky)) if len(rows) else (0.0, 1.0)


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
        inks, load = np.concatenate([inks, np.zeros((1, 3), np.float32)]), np.append(load, 0)
        flag = (np.arange(len(inks)) == len(inks) - 1).astype(np.float32)
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
