"""A table from colour to colour, found by comparing many colours of photos with many colours of paintings.

It is taken apart by tone and hue: at a tone and a hue the palest colours of photos become as pale as the palest of the paintings, the
strongest as strong as the strongest (optimal transport along one axis, see Peyré & Cuturi 2019, https://arxiv.org/abs/1803.00567, section
2.6). So the result has the paintings' full range, where a mean over paintings would be mud, and neighbours stay neighbours. A transport in
all three dimensions was tried and looked at: either it changes little, or the ochre that paintings have most of covers everything.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

Floats = NDArray[np.floating]
LIGHTS, TINTS = np.linspace(0, 100, 21), np.linspace(-96, 96, 33)  # nodes of a table, in Lab units
HUES = 36  # of the full turn, at which paintings are looked into
QUANTILES = np.array([0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.96, 0.99])
TONE, HUE = 0.15, 0.32  # widths of what is near, in ranks of tone and in radians
PULL_TONE, PULL_HUE = 0.2, 0.35  # the same for what pulls a hue
ELSEWHERE = 0.02  # weight of other hues, which tell where one is missing


def colour_table(ours: Floats, theirs: Floats, *, pigments: float, purity: float, chroma: float) -> Floats:
    """(L, a, b, 3): what is added to a Lab colour, found from colours (N, 3) of photos and (M, 3) of paintings.

    pigments: 0..1, how far a hue moves to the mean of those near it that the paintings have at that tone, so that there are few of them.
    purity: paintings' colours count by their chroma to this power. chroma: factor on the result's. Tones are compared by rank, for
    paintings have other ones than photos; they are not changed.
    """
    nodes = np.stack(np.meshgrid(LIGHTS, TINTS, TINTS, indexing="ij"), -1)
    hues = np.linspace(-np.pi, np.pi, HUES, endpoint=False)
    ranks = np.searchsorted(np.sort(ours[:, 0]), LIGHTS) / len(ours)
    h, c = np.arctan2(nodes[..., 2], nodes[..., 1]), np.hypot(nodes[..., 1], nodes[..., 2])
    turned, strong = np.empty_like(h), np.empty_like(c)
    mine, other = (polar(colours) for colours in (ours, theirs))
    for i, rank in enumerate(ranks):
        pull = _pulled(hues, other, rank)
        levels = [_levels(colours, rank, hues, power) for colours, power in ((mine, 0.0), (other, purity))]
        at = (h[i] + np.pi) / (2 * np.pi) * HUES
        low = np.floor(at).astype(int) % HUES
        share = at - np.floor(at)
        turned[i] = h[i] + pigments * ((1 - share) * pull[low] + share * pull[(low + 1) % HUES])
        known, wanted = ((1 - share)[..., None] * q[low] + share[..., None] * q[(low + 1) % HUES] for q in levels)
        strong[i] = _matched(c[i], known, wanted)
    goal = np.stack([nodes[..., 0], chroma * strong * np.cos(turned), chroma * strong * np.sin(turned)], -1)
    return (goal - nodes).astype(np.float32)


def looked_up(table: Floats, lab: Floats) -> Floats:
    """(H, W, 3) of `table` at the colours `lab`, between nodes by straight lines, beyond them the last."""
    at = np.stack([lab[..., 0] / (LIGHTS[1] - LIGHTS[0]), *((lab[..., i] - TINTS[0]) / (TINTS[1] - TINTS[0]) for i in (1, 2))])
    return np.stack([map_coordinates(table[..., i], at, order=1, mode="nearest") for i in range(3)], -1).astype(np.float32)


def polar(colours: Floats) -> tuple[Floats, Floats, Floats]:
    """Rank of the tone 0..1, hue, chroma of colours (N, 3)."""
    rank = np.argsort(np.argsort(colours[:, 0])) / max(1, len(colours) - 1)
    return rank, np.arctan2(colours[:, 2], colours[:, 1]), np.hypot(colours[:, 1], colours[:, 2])


def turn(angle: Floats) -> Floats:
    """`angle` in -pi..pi."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def _levels(colours: tuple[Floats, Floats, Floats], rank: float, hues: Floats, power: float) -> Floats:
    """(hues, levels): chroma at `QUANTILES` of what is near the tone `rank` and each of `hues`; colours count by chroma to the `power`."""
    tone, hue, chroma = colours
    near = np.exp(-0.5 * ((tone - rank) / TONE) ** 2) * (chroma + 1e-3) ** power
    order = np.argsort(chroma)
    found = []
    for h in hues:
        weight = near * (ELSEWHERE + np.exp(-0.5 * (turn(hue - h) / HUE) ** 2))
        whole = np.cumsum(weight[order])
        found.append(np.interp(QUANTILES, whole / whole[-1], chroma[order]))
    return np.array(found)


def _pulled(hues: Floats, colours: tuple[Floats, Floats, Floats], rank: float) -> Floats:
    """How far each of `hues` is from the mean of those near it that paintings have at the tone `rank`; radians."""
    tone, hue, chroma = colours
    weight = np.exp(-0.5 * ((tone - rank) / PULL_TONE) ** 2) * chroma
    apart = turn(hue[None] - hues[:, None])
    near = weight * np.exp(-0.5 * (apart / PULL_HUE) ** 2) + 1e-9
    return (near * apart).sum(1) / near.sum(1)


def _matched(chroma: Floats, known: Floats, wanted: Floats) -> Floats:
    """`chroma` (h, w) taken from levels `known` (h, w, levels) to `wanted`; none stays none, beyond the last level in its proportion."""
    zero = np.zeros((*chroma.shape, 1))
    known, wanted = np.concatenate([zero, known], -1), np.concatenate([zero, wanted], -1)
    result = np.zeros_like(chroma)
    for j in range(1, known.shape[-1]):
        low, high = known[..., j - 1], known[..., j]
        inside = np.clip((chroma - low) / np.maximum(high - low, 1e-3), 0, 1)
        result += inside * (wanted[..., j] - wanted[..., j - 1])
    top = np.clip(wanted[..., -1] / np.maximum(known[..., -1], 1), 0.3, 1)
    return result + np.maximum(chroma - known[..., -1], 0) * top
