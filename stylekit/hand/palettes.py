"""Chosen palettes of few inks, and which ink a field of a photo gets.

The inks of a palette go well together and run from dark to light. A field is given an ink so that light stays light and dark stays dark,
hues stay recognisable, skin stays light and warm, and what stood apart in the photo still stands apart; the palette for which that costs
least is taken.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stylekit.errors import SettingError
from stylekit.hand.analysis import Floats, smoothstep, to_lab, to_rgb
from stylekit.hand.areas.regions import Areas
from stylekit.hand.subject.skin import HAIR_BROWN

Indices = NDArray[np.int64]
MOST_ACCENTS = 3  # inks that a palette may take in
GREY = 8.0  # CIE chroma of fields that need no accent
OWN_COLOUR = 0.3  # of what an accent suits its fields better, how much all may be worse for it
GAIN, LEAST = 180.0, 0.004  # squared Lab by which an accent has to suit its fields better, and their least share of the picture
TRIED = 4  # palettes; the others are out as soon as every field is looked at alone
MOST_INKS = 12  # of a palette that a card lists
SWEEPS = 6  # over all fields; the choice settles after three or four
COOL, WARM = np.array([[-2.0, -12.0], [4.0, 26.0]], np.float32)  # CIE Lab a, b of what has no hue
SKIN = np.array([80.0, 12.0, 24.0], np.float32)  # CIE Lab of skin in a poster
LIPS = np.array([50.0, 48.0, 26.0], np.float32)  # CIE Lab of lips in a poster
BROWN = np.array([46.0, 20.0, 26.0], np.float32)  # CIE Lab of dark skin in a poster
GREYS = 10.0  # CIE chroma below which hair is grey
SKINS_OWN = 1500.0  # squared Lab; what it costs to give the ink of light skin to other things
YELLOW = 95.0  # degrees of its hue in CIE Lab
VALUE = 20.0  # CIE lightness by which figure and ground differ where they meet
TOLD_APART = 15.0  # CIE Lab; as far apart are at least two inks where a thing surely ends
GREENS = 105, 225  # degrees of hue in CIE Lab
KNOWN = 1.5  # how much more the colour of a thing counts
DARK = (22.0, 36.0)  # CIE lightness up to which, and from which on, that holds
ENDS = (0.2, 0.6)  # how surely a thing ends at a border that need not be seen, and at one that has to be
CLEAR_DIFFERENCE = 25.0  # CIE Lab; two neighbours this far apart are clearly two things


@dataclass(frozen=True, kw_only=True)
class Palette:
    """inks: five to eight colours as "#rrggbb", from dark to light."""

    name: str
    inks: tuple[str, ...]

    @property
    def rgb(self) -> Floats:
        """(n, 3) sRGB in 0..1."""
        return np.stack([colour_of(ink, "An ink") for ink in self.inks])

    @property
    def lab(self) -> Floats:
        """(n, 3) CIE Lab."""
        return to_lab(self.rgb[None])[0]

    def lips(self, skin: int) -> int | None:
        """The ink that is nearest to red, and darker than the ink of skin; None if no ink is near."""
        lab = self.lab
        off = np.sqrt((((lab - LIPS) * np.array([0.7, 1, 1], np.float32)) ** 2).sum(1))
        off[(lab[:, 0] > lab[skin, 0] - 8) | (lab[:, 1] < 14)] = 1e3
        return int(off.argmin()) if off.min() < 48 else None

    def with_ink(self, lab: Floats) -> Palette:
        """The palette and, at its place between dark and light, an ink of that CIE Lab."""
        return _from_dark_to_light(self.name, (*self.inks, hex_of(lab)))


def _palettes(*rows: tuple[str, str]) -> dict[str, Palette]:
    return {name: Palette(name=name, inks=tuple("#" + ink for ink in inks.split())) for name, inks in rows}


# for flat fields without lines: a restrained accord, one or two accents, a warm light ink for skin, a paper
POSTER = _palettes(
    ("riviera", "16243f 1f6f8b e4572e 5fb0b7 f2a65a f7d6b0 fdf4e3"),
    ("alpine", "1d2b36 2f5d62 c9623f 6a9c89 e6b17e bfd3c1 f7f1e1"),
    ("dusk", "2b1b3d 5b3a6b b5446e f0715f f9a66c fcd9b0 fff3e0"),
    ("desert", "33241f 7a3b2e 4a6670 c8623d e39e5c f2d1a0 f8efdd"),
    ("harbour", "101b2d 1f3f66 c65b3b 4d82a6 e8b04a a9cbd6 f3d0a8 f7f2e4"),
    ("garden", "16302b 2e6b4f e8634a 79a86b f0b48a c9d892 fbf5e6"),
    ("atelier", "22262e 46607a d9573f 8ca3b3 e9b48c c9d4d6 f6f2ea"),
    ("mustard", "2a2a3c 3e5c76 b8503a 7f97b2 dba63a f0d2a8 faf3e3"),
    ("orchard", "3a1d24 8c2f39 4c7a5a d9653b 9fbf8f f4b183 fbf0dc"),
    ("woodland", "1c262b 4b5d70 c4603a 5f8f4e a7b4b4 f0c7a0 f8f2e2"),
    ("coast", "12263a 2a6f97 3f8f6b e76f51 8fc1d4 f4c095 fbf3e0"),
    ("lagoon", "0f2a3a 0f6674 ef6f53 38a3a5 f5b27f 9bd8cf fdf3df"),
)
# for inked panels: bright printer's colours
COMIC = _palettes(
    ("panel", "14141c 1d4fb4 d8232f 3f9a52 58b4ea ffd22e fbc9a4 fffdf4"),
    ("dawn", "1a1630 5a3fa0 e02f6b 2aa6b8 ff7a45 ffc93c ffd0b0 fffaf0"),
    ("sea", "101a33 1554a8 e63a2e 2aa6a0 7cc8f0 ffcf40 fcd2b0 fffdf5"),
    ("jungle", "14201c 1f7a4d c92f2f 2f6fb5 6cc06a ffd83c fbcba0 fffdf2"),
)
PALETTES = POSTER | COMIC


def toned(light: Floats, weight: Floats, low: float, high: float) -> Floats:
    """(n,) lightness 0..100 spread over low..high, so that a dull photo uses the whole palette too."""
    order = np.argsort(light)
    share = np.cumsum(weight[order]) / max(float(weight.sum()), 1e-9)
    dark, bright = float(light[order][np.searchsorted(share, 0.02).clip(0, len(light) - 1)]), float(light.max())
    dark, bright = min(dark, 25.0), max(bright, 80.0)
    return np.asarray(low + (np.clip(light, dark, bright) - dark) * (high - low) / (bright - dark), np.float32)


@dataclass(frozen=True, kw_only=True)
class Sort:
    """How inks are chosen for n fields. skin, hair, figure, white, flesh, limbs: (n,) in 0..1, how far each is skin, lies where hair is, is
    part of what the photo is of, is to be left white, may have the ink of skin without being told to be some, and has the hue of it as
    well. vivid: factor on the photo's chroma. lift: CIE lightness added in the midtones. apart: how much it weighs that neighbours which
    differ stay so. blacks: the most of the picture that the darkest ink may cover. brown: skin is dark, and gets an ink of its own.
    brunette: so does brown hair. fur, thing: (n,) in 0..1, how far each is an animal's, which is not green, and part of a thing that is
    told from all others. sure: (m,) in 0..1, how surely a thing ends between each two neighbours."""

    skin: Floats
    figure: Floats
    white: Floats
    flesh: Floats
    limbs: Floats
    vivid: float = 1.4
    lift: float = 0.0
    apart: float = 1.0
    blacks: float = 1.0
    brown: bool = False
    brunette: bool = False
    hair: Floats | None = None
    sure: Floats | None = None
    thing: Floats | None = None
    fur: Floats | None = None


def costs(lab: Floats, mass: Floats, palette: Palette, sort: Sort) -> Floats:
    """(n, k) how ill each ink suits each field of (n, 3) Lab, in squared Lab."""
    skin, vivid, lift = sort.skin, sort.vivid, sort.lift
    inks = palette.lab
    light = toned(lab[:, 0], mass, float(inks[:, 0].min()), float(inks[:, 0].max()))
    light = light + np.float32(lift * 4e-4) * light * (100 - light)
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    grow = np.minimum(vivid, 58 / np.maximum(chroma, 1))
    plane = lab[:, 1:] * grow[:, None]
    # what has no hue of its own is seen as cool, so that it gets one run of inks and not a medley; if nothing has any, lights are warm
    colourful = smoothstep((mass * chroma).sum(keepdims=True) / max(float(mass.sum()), 1e-9), 1, 3)
    warm = (1 - colourful) * smoothstep(light, 45, 85)
    plane = plane + smoothstep(chroma, 9, 2)[:, None] * vivid * (COOL + warm[:, None] * (WARM - COOL))
    if sort.hair is not None:
        # hair is no bluer than it is
        plane = plane + sort.hair[:, None] * (lab[:, 1:] - plane)
    # what is white in the photo is paper, and if anything cool
    light, plane = light + sort.white * (99 - light), plane + sort.white[:, None] * (0.4 * COOL - plane)
    # skin is light and warm; its own light and shade stay, but closer together
    light = light + skin * ((BROWN[0] if sort.brown else np.minimum(SKIN[0] + 0.5 * (lab[:, 0] - 60), 87)) - light)
    plane = plane + skin[:, None] * ((BROWN if sort.brown else SKIN)[1:] - plane)
    apart = ((plane[:, None] - inks[None, :, 1:]) ** 2).sum(-1)
    # a bold ink on what is grey, or a warm one on what is cool, makes another thing of it
    drawn = np.hypot(plane[:, 0], plane[:, 1])
    bold = np.maximum(np.hypot(inks[:, 1], inks[:, 2])[None] - 1.6 * drawn[:, None] - 14, 0)
    against = np.maximum(-(plane[:, None] * inks[None, :, 1:]).sum(-1), 0)
    apart = apart + (1 - skin[:, None]) * (0.5 * bold**2 + 2.5 * against)
    # no green, blue or grey face
    pale = 3000.0 * ((inks[:, 1] < -1) | (inks[:, 2] < 10))
    apart = apart + skin[:, None] * pale[None]
    if sort.hair is not None:
        # hair is black, grey, brown or fair: none is green, blue or pink, and none much lighter than it is
        paler = np.maximum(inks[None, :, 0] - light[:, None] - 12, 0)
        turn = np.degrees(np.arctan2(inks[:, 2], inks[:, 1]))
        bright, odd = np.hypot(inks[:, 1], inks[:, 2]), (turn < 40) | (turn > 105)
        dyed = (bright > 26) & (odd[None] | (chroma < GREYS)[:, None]) | (odd & (turn < 0) & (bright > 9) & (inks[:, 0] > 30))[None]
        apart = apart + (sort.hair * (1 - skin))[:, None] * (5000.0 * dyed + 6 * paler**2)
    # the ink of skin is nothing else's, so that a person stays apart from wood and walls
    if sort.brown:
        own = ((inks - BROWN) ** 2).sum(-1) < 9
        apart = apart + (1 - skin[:, None]) * 4000.0 * own[None]
    else:
        own = np.arange(len(inks)) == (1.3 * (inks[:, 0] - SKIN[0]) ** 2 + 0.7 * ((inks[:, 1:] - SKIN[1:]) ** 2).sum(-1) + pale).argmin()
        seen = smoothstep((mass * skin).sum(keepdims=True) / max(float(mass.sum()), 1e-9), 0.002, 0.01)
        apart = apart + ((1 - skin) * (1 - sort.flesh))[:, None] * seen * SKINS_OWN * own[None]
    if sort.brunette and sort.hair is not None:
        own = ((inks - HAIR_BROWN) ** 2).sum(-1) < 9
        apart = apart + (1 - sort.hair[:, None]) * 20000.0 * own[None]
    if sort.fur is not None:
        turn = np.degrees(np.arctan2(inks[:, 2], inks[:, 1])) % 360
        apart = apart + sort.fur[:, None] * 3000.0 * ((turn > GREENS[0]) & (turn < GREENS[1]) & (np.hypot(*inks[:, 1:].T) > 12))[None]
    # a dark yellow is yellow all the same, and no ink of that is dark
    yellow = smoothstep(np.abs(np.degrees(np.arctan2(lab[:, 2], lab[:, 1])) - YELLOW), 45, 25) * smoothstep(chroma, 20, 45)
    weight = 1.3 + 1.2 * skin - 0.6 * (1 - skin) * yellow
    return np.asarray(weight[:, None] * (light[:, None] - inks[None, :, 0]) ** 2 + 0.7 * apart, np.float32)


def assigned(areas: Areas, palette: Palette, sort: Sort) -> tuple[Indices, float]:
    """(n,) index of the ink of each field, and what that costs per pixel."""
    mass, pairs = areas.mass, areas.pairs
    own = np.asarray(costs(areas.lab, mass, palette, sort) * (mass * weights(sort))[:, None] / max(float(mass.sum()), 1e-9), np.float32)
    _spared(own, mass, sort)
    chosen = own.argmin(1)
    if not len(pairs):
        return chosen, float(own.min(1).sum())
    pair = sort.apart * _pair_costs(areas, palette, sort)
    # every pair from both sides, those of one field beside one another
    both = np.concatenate([pairs, pairs[:, ::-1]])
    by_field = np.argsort(both[:, 0], kind="stable")
    beside, table = both[by_field, 1], np.concatenate([pair, pair.transpose(0, 2, 1)])[by_field]
    bounds = np.searchsorted(both[by_field, 0], np.arange(len(mass) + 1)).tolist()
    order = np.argsort(-mass).tolist()
    waiting = np.ones(len(mass), bool)  # fields of which a neighbour has changed
    for _ in range(SWEEPS):
        for i in order:
            if not waiting[i]:
                continue
            waiting[i] = False
            a, b = bounds[i], bounds[i + 1]
            near = beside[a:b]
            best = int((own[i] + table[np.arange(a, b), :, chosen[near]].sum(0)).argmin())
            if best != chosen[i]:
                chosen[i] = best
                waiting[near] = True
        if not waiting.any():
            break
    between = pair[np.arange(len(pairs)), chosen[pairs[:, 0]], chosen[pairs[:, 1]]]
    return chosen, float(own[np.arange(len(mass)), chosen].sum() + between.sum())


def weights(sort: Sort) -> Floats:
    """(n,) how much more it counts that a field has an ink that suits it: skin, and a thing that is known by its colour."""
    return np.asarray(1 + 3 * sort.skin + (0 if sort.thing is None else KNOWN * sort.thing * (1 - sort.skin)), np.float32)


def _spared(own: Floats, mass: Floats, sort: Sort) -> None:
    """Makes the darkest ink dear, in (n, k) costs, for the largest fields that would have it, until the rest is little enough."""
    black = np.flatnonzero(own.argmin(1) == 0)
    room = sort.blacks * float(mass.sum())
    for i in black[np.argsort(mass[black], kind="stable")]:
        room -= float(mass[i])
        if room < 0:
            own[i, 0] += own[i].max()
            own[i, 1] *= 0.6


def _pair_costs(areas: Areas, palette: Palette, sort: Sort) -> Floats:
    """(m, k, k) how ill two inks suit two neighbours: a clear step that vanishes, a border where there was hardly a step, dark made
    lighter than its light neighbour, light and shade of one hue made two hues, and figure and ground of one lightness."""
    lab, inks, skin = areas.lab, palette.lab, sort.skin
    one, other = areas.pairs.T
    gap = np.sqrt(((inks[:, None] - inks[None]) ** 2).sum(-1))[None]
    hues = np.sqrt(((inks[:, None, 1:] - inks[None, :, 1:]) ** 2).sum(-1))[None]
    step = areas.step
    if sort.sure is not None:
        # in the dark nothing is told apart
        lit = smoothstep(np.maximum(lab[one, 0], lab[other, 0]), *DARK)
        step = np.maximum(step, TOLD_APART * lit * smoothstep(sort.sure, *ENDS))
    # light and shade of one skin may run together
    body = np.maximum(skin, sort.limbs)
    seen = (np.minimum(step, CLEAR_DIFFERENCE) * (1 - body[one] * body[other]))[:, None, None]
    tint = (1.3 * sort.vivid * np.sqrt(((lab[one, 1:] - lab[other, 1:]) ** 2).sum(-1)) + 12)[:, None, None]
    rise = (lab[other, 0] - lab[one, 0])[:, None, None]
    inked = (inks[None, :, 0] - inks[:, None, 0])[None]
    lost = 7 * np.maximum(seen - gap, 0)
    made = 6 * np.maximum(CLEAR_DIFFERENCE / 2 - seen, 0) * (gap > 0)
    turned = 8 * np.maximum(-np.sign(rise) * inked - 4, 0) * np.minimum(np.abs(rise) / 12, 1)
    # a thing has one run of hues, a ground may be of several
    split = 5 * (1 + 2 * sort.figure[one] * sort.figure[other])[:, None, None] * np.maximum(hues - tint, 0)
    cross = np.abs(sort.figure[one] - sort.figure[other])[:, None, None]
    # above all skin, which has few inks to choose from
    fused = (30 + 60 * np.maximum(skin[one], skin[other]))[:, None, None] * np.maximum(VALUE - np.abs(inked), 0)
    if sort.hair is not None:
        # hair is no skin, however fair
        beside = np.maximum(skin[one] * sort.hair[other], sort.hair[one] * skin[other])[:, None, None]
        lost = lost + 25 * beside * np.maximum(CLEAR_DIFFERENCE - gap, 0)
    along = (areas.length / math.sqrt(max(float(areas.mass.sum()), 1e-9)))[:, None, None]
    return np.asarray(along * ((1 - cross) * (lost + made + turned + split) + cross * fused), np.float32)


def best_palette(areas: Areas, names: tuple[str, ...], sort: Sort, accents: tuple[str, ...] = ()) -> tuple[Palette, Indices]:
    """The palette that suits the fields best, with the accents ("#rrggbb") that things in it need, and (n,) the ink of each."""
    palettes = [palette_of(name) for name in names]
    for own in (*([BROWN] if sort.brown else []), *([HAIR_BROWN] if sort.brunette else [])):
        palettes = [palette.with_ink(own) for palette in palettes]
    suits = []
    for palette in palettes:
        own = costs(areas.lab, areas.mass, palette, sort)
        suits.append(float((own.min(1) * areas.mass * weights(sort)).sum()))
    tried = []
    for i in sorted(range(len(palettes)), key=lambda i: (suits[i], palettes[i].name))[:TRIED]:
        palette = palettes[i]
        chosen, cost = assigned(areas, palette, sort)
        tried.append((cost, palette.name, palette, chosen))
    cost, _, palette, chosen = min(tried, key=lambda t: t[:2])
    for _ in range(MOST_ACCENTS):
        wider = _with_accent(areas, palette, chosen, cost, accents, sort)
        if wider is None:
            break
        cost, palette, chosen = wider
    return palette, chosen


def _with_accent(
    areas: Areas, palette: Palette, chosen: Indices, cost: float, accents: tuple[str, ...], sort: Sort
) -> tuple[float, Palette, Indices] | None:
    """The cost, the palette with that one of the accents which helps most, and the ink of each field; None if none helps a thing."""
    if not accents:
        return None
    own = costs(areas.lab, areas.mass, palette, sort)[np.arange(len(chosen)), chosen]
    saved = np.maximum(own[:, None] - costs(areas.lab, areas.mass, Palette(name="accents", inks=accents), sort), 0)
    # a thing is worth a colour of its own sooner than a wall
    worth = (np.sqrt(areas.mass)[:, None] * (0.4 + sort.figure)[:, None] * (1 - sort.skin)[:, None] * saved).sum(0)
    found = []
    for i in np.argsort(-worth, kind="stable")[:TRIED].tolist():
        wider = _from_dark_to_light(palette.name, (*palette.inks, accents[i]))
        taken, price = assigned(areas, wider, sort)
        mine = taken == wider.inks.index(accents[i])
        mass = float(areas.mass[mine].sum())
        gain = float((saved[mine, i] * areas.mass[mine]).sum()) / max(mass, 1e-9)
        share = mass / float(areas.mass.sum())
        # that a thing has its colour is worth some borders that are not where they might be
        worthy = price - OWN_COLOUR * gain * share
        coloured = float((np.hypot(*areas.lab[mine, 1:].T) * areas.mass[mine]).sum()) > GREY * mass
        if coloured and worthy < cost and gain > GAIN and share > LEAST:
            found.append((worthy, accents[i], price, wider, taken))
    if not found:
        return None
    _, _, price, wider, taken = min(found, key=lambda one: one[:2])
    return price, wider, taken


def checked(names: tuple[str, ...]) -> None:
    """SettingError unless all names are palettes and there is one."""
    if not names:
        raise SettingError("No palette is named: name at least one of " + ", ".join(PALETTES) + ".")
    for name in names:
        palette_of(name)


def palette_of(name: str) -> Palette:
    """A palette by its name, or of the inks that are listed in its place, "#rrggbb #rrggbb ...", sorted from dark to light."""
    if name in PALETTES:
        return PALETTES[name]
    inks = name.split() if isinstance(name, str) else []
    if not 2 <= len(inks) <= MOST_INKS or not all(ink.startswith("#") for ink in inks):
        known = ", ".join(PALETTES)
        raise SettingError(f"There is no palette {name!r}: choose from {known}, or list 2 to {MOST_INKS} inks: '#16243f #f7d6b0'.")
    return _from_dark_to_light(name, inks)


def _from_dark_to_light(name: str, inks: Sequence[str]) -> Palette:
    light = to_lab(np.stack([colour_of(ink, "An ink") for ink in inks])[None])[0, :, 0]
    return Palette(name=name, inks=tuple(inks[i] for i in np.argsort(light, kind="stable")))


def hex_of(lab: Floats) -> str:
    """(3,) CIE Lab as "#rrggbb"."""
    rgb = to_rgb(np.asarray(lab, np.float32)[None, None])[0, 0]
    return "#" + "".join(f"{round(float(value) * 255):02x}" for value in rgb)


def colour_of(ink: str, what: str) -> Floats:
    """(3,) sRGB in 0..1 of "#rrggbb"; SettingError that begins with `what` for anything else."""
    if not isinstance(ink, str) or not re.fullmatch("#[0-9a-fA-F]{6}", ink):
        raise SettingError(f"{what} is {ink!r}: write a colour as #rrggbb, such as #e0303a.")
    return np.array([int(ink[i : i + 2], 16) for i in (1, 3, 5)], np.float32) / np.float32(255)
