"""Pigments of woodblock prints: a chart of hues in steps from light to dark, and which of it an area of a photo gets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stylekit.hand import analysis
from stylekit.hand.analysis import Floats
from stylekit.hand.areas.regions import Areas
from stylekit.hand.palettes import colour_of
from stylekit.hand.subject.skin import tone_of

PAPER = "#efe2c3"
# from light to dark, for every hue; angles in CIE Lab degrees
CHART: dict[str, tuple[float, tuple[str, ...]]] = {
    "red": (28, ("#f0cba8", "#e39a80", "#cc4a34", "#a23a30", "#5c2a2c", "#24222b")),
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
BLACK, BLACKS = 24.0, 0.2  # CIE L of the photo below which a thing is black, and the most of a picture that black may cover
DARK_HAIR = 38.0  # CIE L of the photo below which hair is black
LIPS = 2  # the number of vermilion
TURN = 26.0  # degrees of hue; neighbours nearer than this are lights and shades of one thing
BROAD = 0.05  # share of the picture from which ground is broad
GREY = 9.0  # CIE chroma below which a colour has no hue


def chart() -> tuple[list[str], Floats]:
    """Names of the hues, and (hues, tones, 3) sRGB of their pigments from light to dark."""
    return list(CHART), np.stack([np.stack([colour_of(ink, "A pigment") for ink in inks]) for _, inks in CHART.values()])


def black(lab: Floats, mass: Floats, thing: NDArray[np.bool_], hair: Floats) -> NDArray[np.bool_]:
    """(n,) which areas are printed black, in (n, 3) Lab of the photo as it is: of the dark things, first hair, then the smaller ones, until
    there is enough."""
    order = np.argsort(lab[:, 0])
    middle = float(lab[order, 0][np.searchsorted(np.cumsum(mass[order]), 0.5 * mass.sum()).clip(0, len(mass) - 1)])
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    result = thing & (lab[:, 0] < min(BLACK, 0.5 * middle)) & (chroma < 16)
    result |= thing & (hair > 0.5) & (lab[:, 0] < DARK_HAIR) & (chroma < 24)
    dark = np.flatnonzero(result)
    dark = dark[np.argsort(mass[dark] * (1 - 0.95 * hair[dark]), kind="stable")]
    result[dark[np.cumsum(mass[dark]) > BLACKS * mass.sum()]] = False
    return result


def complexion(lab: Floats, boxes: list[tuple[float, float, float, float]]) -> int:
    """Column of the chart for the skin of the largest face (x, y, width, height) in (h, w, 3) Lab."""
    tone = tone_of(lab, boxes[0]) if boxes else None
    return 0 if tone is None or tone[0] > 52 else 1 if tone[0] > 44 else 2 if tone[0] > 37 else 3


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
    row = np.where(skin > 0.5, 0, row)
    column = np.abs(light[:, None] - np.array(LEVELS)).argmin(1)
    # clear, bold colours are printed bold: in the column where the pigment is purest
    bold = (chroma > 52) & (row < len(hues)) & (skin < 0.3)
    column = np.where(bold, np.clip(column, 2, 3), column)
    column = np.where(skin > 0.5, 0, column)
    # near black, only a strong hue tells
    row = np.where((column >= 4) & (chroma < 22 * vivid), len(hues), row)
    return row, column


def washed(hue: NDArray[np.intp], tone: NDArray[np.intp], mass: Floats, side: Floats) -> NDArray[np.bool_]:
    """(n,) which areas are printed a step paler: broad ochre and brown ground, which weighs a print down."""
    ochre = np.isin(hue, [list(CHART).index(name) for name in ("orange", "yellow")])
    return ochre & (tone >= 2) & (tone <= 3) & (side < 0.5) & (mass > BROAD * mass.sum())


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
