"""Flat fields: a photo as few calm areas with crisp borders, each in an ink of one palette."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from stylekit.hand.analysis import Box, Floats, blur, enlarged, numbered, opened, resized, smoothstep, to_lab
from stylekit.hand.areas.accents import Portrait, details, features, lettered, painted, structures
from stylekit.hand.areas.borders import curved
from stylekit.hand.areas.flat import Flat
from stylekit.hand.areas.merging import SHADE, by_thing, merged
from stylekit.hand.areas.regions import (
    Areas,
    Labels,
    calmed,
    filled,
    flooded,
    flooded_between,
    measured,
    refined,
    renumbered,
    without_crumbs,
    without_rims,
    without_slivers,
)
from stylekit.hand.focus import figured
from stylekit.hand.palettes import POSTER, Sort, best_palette, checked, colour_of
from stylekit.hand.subject.skin import HAIR, HAIR_BROWN, hair_map, hair_of, lit, nearest
from stylekit.hand.subject.things import FURRED, SOLID
from stylekit.hand.view import Layer, Nothing, View
from stylekit.ranges import check, ranged

WORK_AREA = 400 * 400  # pixels of the copy in which shapes are found
CALMER = 0.3  # share by which borders off the figure count less
PRINT = 7.0  # units around a place in which a garment may be of many colours
PRINTED = (7.0, 14.0)  # deviation of CIE a and b there, up to which it is of one, and from which on of many
LARGER_THAN_HANDS = (0.01, 0.03)  # share of the picture that no arm has, and that none can have
DRESSED_SKIN = 0.6  # how far what a person wears may have the ink of skin
HIDE = 0.45  # the same within an animal whose eyes are told apart
ONE_COLOUR = 0.7  # share by which borders within a thing of one colour count less
FINE = 4  # the map of fields is this many times as fine as that copy, so that borders are curves and not pixels
SOFT = 2.4  # standard deviation of a field's border in pixels of the fine map, before it is cut sharp
SMALL = 0.0012  # share of the picture; the borders of smaller areas count for less
OPENED = 0.55  # median light of the photo in which skin is judged, whatever a card asks for
# kinds of pieces, and beyond these each thing that is found; no two of them are merged, and the borders from SKIN on stay
GROUND, FIGURE, SKIN, THING, CROWN = range(5)
BRUNETTE = 0.001  # share of the picture that is brown hair from which that has an ink of its own
BROWN = 52.0  # CIE lightness of the lit side of skin below which it gets an ink of its own


@dataclass(frozen=True, kw_only=True)
class Fields:
    """palettes: names of the palettes (hand/palettes.py) of which the best suited is taken, or lists of inks in their place ("#rrggbb
    #rrggbb"). count: fields before neighbours of one ink run together; the most there are where things say when it is enough. things: 0
    for fields of even colour; above, those of things as a network sees where they end, the fewer the higher it is. texture, rounding: in
    units, what is finer vanishes, and how far a border may be moved to run as a long curve. vivid: factor on the photo's chroma when inks
    are chosen. lift: CIE lightness added to its midtones then. apart: how much it weighs that neighbours keep their differences. figure:
    0..1, how far what the photo is of is kept apart from the ground, in lightness, and the ground simplified. whites: 0..1, how far light
    things without a hue are left white. blacks: the most of the picture that the darkest ink may cover. crumbs: width in units of the
    smallest piece of ground; those of the figure may be half as wide. slivers: width in units of the narrowest piece. features: 0 or 1,
    whether eyes, mouths and letters are drawn. details: 0..1, how many small dark and light things that stand alone are drawn.
    structures: 0..1, whether long thin dark things, such as masts, are drawn whole. median: lightness to which a dark photo is opened.
    accents: inks ("#rrggbb"), of which up to three are added to the palette that things need which would else be of another colour.
    garments: 0..1, how much less borders count within what people wear, but for prints."""

    palettes: tuple[str, ...] = tuple(POSTER)
    count: int = ranged(40, 2, 250)
    things: float = ranged(0.0, 0, 3)
    texture: float = ranged(3.0, 0.5, 12)
    rounding: float = ranged(1.6, 0.3, 8)
    vivid: float = ranged(1.4, 0.5, 3)
    lift: float = ranged(0.0, 0, 40)
    apart: float = ranged(1.0, 0, 4)
    figure: float = ranged(0.0, 0, 1)
    whites: float = ranged(0.0, 0, 1)
    blacks: float = ranged(1.0, 0, 1)
    crumbs: float = ranged(4.5, 0, 80)
    slivers: float = ranged(0.0, 0, 20)
    features: float = ranged(1.0, 0, 1)
    details: float = ranged(0.0, 0, 1)
    structures: float = ranged(0.0, 0, 1)
    median: float = ranged(0.55, 0.2, 0.8)
    accents: tuple[str, ...] = ()
    garments: float = ranged(0.2, 0, 1)

    def __post_init__(self) -> None:
        check(self, "The fields's ")
        checked(self.palettes)
        for ink in self.accents:
            colour_of(ink, "An accent")


def plan_fields(view: View, settings: Fields, colours: Floats) -> Layer:
    """Fields of `colours` (h, w, 3), sRGB in 0..1, with borders from the view's photo, in the inks of one palette."""
    if not view.amount.any():
        return Nothing()
    smaller, size = work_size(view, WORK_AREA)
    face = resized(view.sight.face_map(), size)
    unit = view.unit * view.detail * smaller
    shown = resized(view.sight.opened(settings.median), size)
    figure, skin = resized(view.sight.figure(), size), resized(view.sight.skin(), size)
    outline = figure if settings.figure else resized(view.sight.foreground(), size)
    hair = hair_map(view.sight.haired(), size, smaller, view.sight.foreground(), to_lab(shown))
    edge = resized(view.sight.contours(), size) if settings.things else None
    if edge is not None:
        # what lies around a figure is told in fewer areas
        edge = np.asarray(edge * (1 - CALMER * settings.figure * figured(figure) * (1 - figure)), np.float32)
        if skin.any():
            # a garment is one thing, whatever its folds, but for what is printed on it
            plain = 1 - smoothstep(medley(to_lab(shown), PRINT * unit), *PRINTED)
            edge = np.asarray(edge * (1 - settings.garments * settings.figure * figure * plain), np.float32)
    if edge is not None and settings.figure:
        edge = solid(edge, resized(view.sight.things().of(SOLID), size), unit)
        edge = solid(edge, resized(view.sight.animals().told, size), unit, HIDE)
    each = numbered(view.sight.things().labels, size) if settings.figure else np.zeros(face.shape, np.int32)
    fur = settings.figure * resized(view.sight.things().of(FURRED), size)
    labels, person = pieces(
        shown,
        face,
        settings.count,
        settings.texture * unit,
        settings.figure * figure,
        skin,
        outline,
        hair,
        edge,
        settings.things,
        nearest(view.sight.found(), size, smaller),
        each,
    )
    own = shown if colours is view.photo else opened(resized(colours, size), settings.median)
    lab = to_lab(own)
    areas = measured(labels, lab, np.ones_like(face), 3)
    unopened = to_lab(resized(view.photo, size))
    plain = measured(labels, unopened, np.ones_like(face)).lab
    heads = [(round(x * smaller), round(y * smaller), round(w * smaller), round(h * smaller)) for x, y, w, h in view.sight.faces()]
    topped = shares(labels, hair) if heads else None
    brown = person >= 0 and (lit(to_lab(resized(view.sight.opened(OPENED), size)), view.sight.found(), smaller) or 100) < BROWN
    brunette = False
    if topped is not None:
        theirs = hair_of(plain, unopened, view.sight.found(), smaller, places(labels))
        topped = np.where(np.isnan(theirs[:, 0]), 0, topped).astype(np.float32)
        told = (theirs == HAIR_BROWN).all(1)
        if brown:
            # hair is darker than dark skin
            theirs = np.where(np.isnan(theirs), theirs, np.column_stack([0.4 * plain[:, 0], HAIR * areas.lab[:, 1:]]))
        else:
            # dark hair is as dark as the photo has it, however far that was opened
            dark = (theirs[:, 0] < plain[:, 0]) & ~told
            theirs[:, 0] = np.where(dark, np.minimum(plain[:, 0], areas.lab[:, 0]), theirs[:, 0])
        share = smoothstep(topped, 0.3, 0.7)[:, None]
        areas = replace(areas, lab=np.asarray(np.where(share > 0, areas.lab + share * (theirs - areas.lab), areas.lab), np.float32))
        brunette = bool(not brown and areas.mass[told & (topped > 0.5)].sum() > BRUNETTE * areas.mass.sum())
    before = shares(labels, figure)
    may, limbs = flesh(areas, person, before)
    sort = Sort(
        sure=None if edge is None else measured(labels, lab, np.ones_like(face), edge=edge).step,
        skin=skin_share(areas, lab, heads, person),
        figure=np.asarray(settings.figure * (before > 0.5), np.float32),
        vivid=settings.vivid,
        lift=settings.lift,
        apart=settings.apart,
        white=settings.whites * whites(plain),
        blacks=settings.blacks,
        hair=topped,
        flesh=may,
        limbs=limbs,
        brown=brown,
        brunette=brunette,
        fur=shares(labels, fur),
        thing=np.asarray(settings.figure * shares(labels, np.asarray(each > 0, np.float32)) * colourful(areas.lab), np.float32),
    )
    palette, chosen = best_palette(areas, settings.palettes, sort, settings.accents)
    # a small thing may stay if its colour is nowhere near
    accent = smoothstep(blur(lab - blur(lab, 40 * unit), 3 * unit)[..., 1:].max(-1), 16, 30)
    least = settings.crumbs * unit * (1 - 0.5 * figure * settings.figure) * (1 - 0.7 * settings.figure * accent)
    tiny = settings.figure * resized(view.sight.things().tiny(), size)
    inked = without_rims(np.asarray(chosen, np.int32)[labels], 0.02)
    inked = without_crumbs(inked, (least * (1 - 0.5 * tiny)) ** 2 * (1 - 0.75 * face))
    inked = without_slivers(inked, settings.slivers * unit)
    fine = curved(inked, settings.rounding * unit, np.maximum(face, tiny), FINE)
    if settings.structures > 0.5:
        # a mast is one, a lock of hair is none
        fine[structures(to_lab(shown)[..., 0], np.maximum(face, hair), unit, FINE)] = 0
    if settings.details:
        dark, light = details(to_lab(shown)[..., 0], face, unit, FINE, settings.details)
        if figure.any():
            # what is small tells of the figure, on the ground it is litter
            inside = resized(figure, (fine.shape[1], fine.shape[0]), cv2.INTER_LINEAR) > 0.5
            inside &= resized(skin, (fine.shape[1], fine.shape[0]), cv2.INTER_LINEAR) < 0.5
            dark, light = dark & inside, light & inside
        # a detail shows only on a ground that is not of its ink
        grounds = palette.lab[:, 0]
        fine[dark & (grounds[fine] > grounds[0] + 18)] = 0
        fine[light & (grounds[fine] < grounds[-1] - 30)] = len(grounds) - 1
    if settings.features:
        lettered(fine, view.sight, palette.lab[:, 0], 0, len(palette.inks) - 1)
        fine[features(view.sight, fine.shape)] = 0
        skin_ink = int(chosen[person]) if person >= 0 else len(palette.inks) - 1
        painted(fine, view.sight, Portrait(dark=0, light=len(palette.inks) - 1, lips=palette.lips(skin_ink)))
    return FlatLayer(Flat(fine, palette.rgb, view.size, SOFT), view.amount)


def shares(labels: Labels, plane: Floats) -> Floats:
    """(n,) mean of (h, w) over each label."""
    return np.asarray(np.bincount(labels.ravel(), plane.ravel()) / np.maximum(np.bincount(labels.ravel()), 1), np.float32)


def places(labels: Labels) -> Floats:
    """(n, 2) x and y of the middle of each label of (h, w)."""
    h, w = labels.shape
    ys, xs = np.mgrid[0:h, 0:w].astype(np.float32)
    return np.column_stack([shares(labels, xs), shares(labels, ys)])


def work_size(view: View, area: int) -> tuple[float, tuple[int, int]]:
    """How many times smaller than the plan a copy of at most `area` pixels is, and its size (W, H)."""
    h, w = view.photo.shape[:2]
    smaller = min(1.0, math.sqrt(area / (h * w)))
    return smaller, (max(1, round(w * smaller)), max(1, round(h * smaller)))


def pieces(
    shown: Floats,
    face: Floats,
    count: int,
    texture: float,
    figure: Floats | None = None,
    skin: Floats | None = None,
    outline: Floats | None = None,
    hair: Floats | None = None,
    edge: Floats | None = None,
    things: float = 0.0,
    heads: Labels | None = None,
    apart: Labels | None = None,
) -> tuple[Labels, int]:
    """(h, w) labels of about `count` pieces of (h, w, 3) sRGB, and which of them is the skin of people, -1 for none.

    texture in pixels. face: (h, w) 0..1, where the pieces may be small. figure, skin: (h, w) 0..1; no piece is part of the one and part of
    the ground, and all skin is one piece. outline: (h, w) 0..1, a thing that keeps its outline. hair: (h, w) 0..1, where it may be; what
    is of the thing there and not skin is a piece of its own. edge: (h, w) 0..1, where things end; then pieces are merged as long as their
    border is worth no more than `things`, see `merging.by_thing`. heads: (h, w) the face whose hair hair is. apart: (h, w) the number of
    the thing at each place, 0 for none; no piece is part of two, or of one and the rest."""
    lab = to_lab(shown)
    calm = calmed(lab, texture)
    calm += smoothstep(face, 0.3, 1)[..., None] * (lab - calm)
    small = flooded(calm, max(6.0, 3.6 * texture)) if edge is None else flooded_between(edge, calm, max(5.0, 3 * texture))
    # the middle of a picture is what it is about
    h, w = face.shape
    far = np.hypot(np.linspace(-1, 1, w, dtype=np.float32)[None], np.linspace(-1, 1, h, dtype=np.float32)[:, None])
    weight = 0.6 + 0.8 * smoothstep(far, 1.2, 0.2) + 2 * face
    if figure is not None:
        weight = weight + 3 * smoothstep(blur(lab - blur(lab, 0.08 * math.sqrt(h * w)), texture)[..., 1:].max(-1), 16, 30)
    kind = np.full(int(small.max()) + 1, GROUND)
    if any(plane is not None and plane.any() for plane in (outline, hair, apart)):
        # what is seen for certain is cut out before anything is merged
        around = np.zeros_like(face) if outline is None else outline
        small, kind = cut_apart(small, blur(around, 0.5 * texture) > 0.5, hair, heads, apart)
    if figure is not None and figure.any():
        # what is small in a wide scene counts more, what lies around a large figure less
        much, share = figured(figure), figure / float(figure.max())
        weight = weight * (1 - 0.5 * much * (1 - share) + (1 - much) * share)
        kind = np.where(kind == GROUND, kinds(small, figure), kind)
    # the finer map decides about skin: it has more edges than colours tell
    person = -1
    if skin is not None and skin.any():
        own = without_crumbs(np.asarray(blur(skin, 0.7 * texture) > 0.5, np.int32), np.full(skin.shape, (3 * texture) ** 2, np.float32)) > 0
        if own.any():
            small = np.where(own, len(kind), small)
            kind = np.append(kind, SKIN)[np.unique(small)]
            small = renumbered(np.asarray(small, np.int32))
            person = int(small.max())
    if apart is not None and apart.any():
        # a scrap between two that are cut out could be merged with nothing
        sorts = np.asarray(kind[small], np.int32)
        small = filled(small, sorts != without_crumbs(sorts, np.full(sorts.shape, (2 * texture) ** 2, np.float32)))
        kind = kind[np.unique(small)]
        small = renumbered(small)
        person = -1 if person < 0 else int(np.flatnonzero(kind == SKIN)[0])
    areas = measured(small, calm if edge is None else calm * SHADE, weight, edge=edge)
    within = kind[areas.pairs[:, 0]] == kind[areas.pairs[:, 1]]
    areas = replace(areas, pairs=areas.pairs[within], length=areas.length[within], step=areas.step[within])
    labels = merged(areas, count) if edge is None else merged(areas, count, 0, by_thing(SMALL * face.size), things)
    if person >= 0:
        person = int(labels[small == person][0])
    before = labels
    sort = np.empty(int(labels.max()) + 1, np.int64)
    sort[labels.ravel()] = kind[small.ravel()]
    # borders of things are where they should be, and only rough
    labels = refined(labels, calm, measured(labels, calm, np.ones_like(face)).lab, (1.2 if edge is None else 0.6) * texture)
    # skin, hair and outlines stay where they are: a face has no border within it
    labels = np.where((sort[labels] != sort[before]) & (np.maximum(sort[labels], sort[before]) > FIGURE), before, labels)
    return np.asarray(labels, np.int32), person


def solid(edge: Floats, things: Floats, unit: float, share: float = ONE_COLOUR) -> Floats:
    """(h, w) how surely things end, by `share` less within those of one colour, (h, w) in 0..1."""
    return np.asarray(edge * (1 - share * smoothstep(blur(things, 2 * unit), 0.7, 1.0)), np.float32)


def medley(lab: Floats, reach: float) -> Floats:
    """(h, w) standard deviation of the hues of (h, w, 3) Lab within `reach` pixels."""
    mean, square = blur(lab[..., 1:], reach), blur(lab[..., 1:] ** 2, reach)
    return np.asarray(np.sqrt(np.maximum(square - mean**2, 0).sum(-1)), np.float32)


def colourful(lab: Floats) -> Floats:
    """(n,) 0..1: how far (n, 3) Lab is a colour by which a thing is known."""
    return np.asarray(smoothstep(np.hypot(lab[:, 1], lab[:, 2]), 18, 40), np.float32)


def cut_apart(
    labels: Labels, thing: NDArray[np.bool_], hair: Floats | None, heads: Labels | None = None, apart: Labels | None = None
) -> tuple[Labels, NDArray[np.int64]]:
    """(h, w) labels of which none is part of the thing and part of the rest, or of two that `apart` numbers, the hair of each head being
    one, and (n,) the kind of each."""
    crown = hair > 0.5 if hair is not None else np.zeros_like(thing)
    own = np.asarray(thing, np.int32)
    if apart is not None:
        own = np.where(apart > 0, 1 + apart, own)
    labels = (int(own.max()) + 1) * labels + own
    _, parts = cv2.connectedComponents(np.asarray(crown, np.uint8), connectivity=4)
    if heads is not None:
        # heads may touch
        parts = parts + (int(parts.max()) + 1) * heads
    labels = renumbered(np.asarray(np.where(crown, int(labels.max()) + 1 + parts, labels), np.int32))
    kind = np.empty(int(labels.max()) + 1, np.int64)
    kind[labels.ravel()] = np.where(crown, CROWN, np.where(own > 1, CROWN + own, np.where(thing, THING, GROUND))).ravel()
    return labels, kind


def flesh(areas: Areas, person: int, figure: Floats) -> tuple[Floats, Floats]:
    """(n,) 0..1 twice: how far each field may have the ink of the skin that is field `person`: part of the figure, (n,) in 0..1, above all
    if it is of its hue, or no larger than an arm; and how far it is all three."""
    if person < 0:
        return np.ones(len(areas.mass), np.float32), np.zeros(len(areas.mass), np.float32)
    own = areas.lab[person]
    shade = np.clip((areas.lab[:, 0] + 8) / (own[0] + 8), 0.3, 1.25)[:, None]
    off = np.hypot(*(areas.lab[:, 1:] - own[1:] * shade).T)
    alike = smoothstep(off, 28, 14) * smoothstep(np.abs(areas.lab[:, 0] - own[0]), 50, 35)
    small = smoothstep(areas.mass / float(areas.mass.sum()), *LARGER_THAN_HANDS)
    may = np.maximum(figure * (DRESSED_SKIN + (1 - DRESSED_SKIN) * alike), 1 - small)
    return np.asarray(may, np.float32), np.asarray(figure * alike * (1 - small), np.float32)


def whites(lab: Floats) -> Floats:
    """(n,) 0..1: how far (n, 3) Lab of an unopened photo is white."""
    return np.asarray(smoothstep(np.hypot(lab[:, 1], lab[:, 2]), 13, 7) * smoothstep(lab[:, 0], 60, 74), np.float32)


def kinds(labels: Labels, figure: Floats) -> NDArray[np.int64]:
    """(n,) `FIGURE` for labels that lie in the figure, (h, w) in 0..1, for more than half; `GROUND` for the others."""
    share = np.bincount(labels.ravel(), figure.ravel()) / np.maximum(np.bincount(labels.ravel()), 1)
    return np.where(share > 0.5 * float(figure.max()), FIGURE, GROUND)


def skin_share(areas: Areas, lab: Floats, heads: Sequence[Box], person: int = -1) -> Floats:
    """(n,) 0..1: how far each field is skin: of the colour in the middle of a face, in one of the `heads` (x, y, width, height) or, less
    surely, elsewhere; or, less surely still, of any colour that skin may have. person: the field that is known to be skin."""
    if person >= 0:
        return np.asarray(np.arange(len(areas.mass)) == person, np.float32)
    light, a, b = areas.lab.T
    chroma, turn = np.hypot(a, b), np.degrees(np.arctan2(b, a))
    result = (
        0.3 * smoothstep(chroma, 9, 15) * smoothstep(chroma, 42, 32) * smoothstep(light, 42, 55) * smoothstep(np.abs(turn - 50), 28, 18)
    )
    for x, y, width, height in heads:
        middle = lab[y + int(0.35 * height) : y + int(0.8 * height), x + width // 4 : x + width - width // 4]
        if not middle.size:
            continue
        own = np.median(middle.reshape(-1, 3), 0)
        apart = np.abs(areas.lab - own)
        hue = np.hypot(apart[:, 1], apart[:, 2])
        part = areas.labels[max(0, y - height // 8) : y + height + height // 5, max(0, x - width // 8) : x + width + width // 8]
        share = np.bincount(part.ravel(), minlength=len(areas.mass)) / np.maximum(areas.mass, 1)
        within = smoothstep(share, 0.1, 0.45) * smoothstep(hue, 42, 26) * smoothstep(apart[:, 0], 38, 22)
        alike = 0.8 * smoothstep(hue, 15, 8) * smoothstep(apart[:, 0], 32, 18)
        result = np.maximum(result, np.maximum(within, alike))
    return np.asarray(result, np.float32)


@dataclass(frozen=True)
class FlatLayer:
    """flat: sRGB of the inks. amount: (h, w) opacity."""

    flat: Flat
    amount: Floats

    def apply(self, canvas: Floats, top: int) -> Floats:
        result = np.array(canvas, np.float32)
        opacity = enlarged(self.amount, self.flat.size, top, len(canvas))[..., None]
        full = bool(opacity.min() == 1)
        for rows, columns, colour in self.flat.tiles(top, len(canvas)):
            under = result[rows, columns]
            result[rows, columns] = colour if full else under + opacity[rows, columns] * (colour - under)
        return result

    def colours(self, size: tuple[int, int]) -> Floats:
        """(h, w, 3) the inks at size (W, H), for tools that lay marks on them."""
        return self.flat.at(size)
