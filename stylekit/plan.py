"""Plan: what will be done for one picture, worked out from the recipe and the cards alone.

Nothing here loads a model or touches a tensor: a plan is numbers and maps (H, W), the same for the app and for the samples of a training.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from stylekit.base_card import DISTILLED, DISTILLED_SPACING, BaseCard, Curve, interpolate
from stylekit.maps import Floats, Size, WeightMap
from stylekit.recipe import Recipe
from stylekit.sampling import timesteps_from
from stylekit.styles import DREAMBOOTH, Adapter

SHARE = 0.25  # of the weights at a pixel; a style with less has no say in how many steps it takes
LEVELS = 1000  # timesteps of the whole schedule
KNEE = 0.2  # of the dial, below which a style with a range of noise comes from the photo to the beginning of its range
DELTA_DIAL = 0.5  # exponent: a DreamBooth style listens for its prompt with weights of its own, so it grows faster than they do


@dataclass(frozen=True, kw_only=True)
class Plan:
    """size: (W, H) at which the model works.

    weights: style -> factor on its adapter, a number or a map (H, W). timesteps: where the model is asked, falling. takes: style -> in how
    many of the steps it takes part, the last ones. phases: placements on the grid of latents. starts: (H, W), the timestep at which each
    pixel joins; None where all start together. amounts: style -> how much of its hand is wanted, 0..1, a number or a map (H, W).
    """

    size: Size
    weights: Mapping[str, float | Floats]
    timesteps: tuple[int, ...]
    takes: Mapping[str, int]
    phases: int
    starts: Floats | None = None
    amounts: Mapping[str, float | Floats] = field(default_factory=dict)

    def joined(self, timestep: int) -> frozenset[str]:
        """The styles that take part at `timestep`. One that asks for fewer steps joins for the last ones: more would lay it on twice."""
        left = len(self.timesteps) - self.timesteps.index(timestep)
        return frozenset(name for name, steps in self.takes.items() if steps >= left)


def make_plan(
    recipe: Recipe, base: BaseCard, cards: Mapping[str, Adapter], size: Size, noise_levels: int = 1000, drawn: Collection[str] = ()
) -> Plan:
    """cards: style -> its adapter's card, for every style of the mix that the model paints. drawn: styles that a hand draws. noise_levels:
    timesteps that the base's schedule has."""
    start = min(entry_timestep(recipe, base, cards), noise_levels - 1)
    timesteps = tuple(timesteps_from(start, recipe.num_inference_steps or default_steps(recipe, base, cards)))
    if (recipe.sampler or base.sampler) in DISTILLED:
        timesteps = as_distilled(timesteps, noise_levels)
    weights = adapter_weights(recipe, base, cards, size, drawn)
    takes = steps_of_styles(recipe, base, cards, len(timesteps))
    starts = starting_timesteps(recipe, base, cards, weights, timesteps, takes, size)
    return Plan(
        size=size,
        weights=weights,
        timesteps=timesteps,
        takes=takes,
        phases=placements(recipe, base, cards),
        starts=starts,
        amounts=amounts_of_hands(recipe, size, drawn),
    )


def adapter_weights(
    recipe: Recipe, base: BaseCard, cards: Mapping[str, Adapter], size: Size, drawn: Collection[str] = ()
) -> dict[str, float | Floats]:
    """Style -> factor on its adapter: the mix within its budget, times the dial; a map (H, W) where either is one.

    Styles of `drawn` are painted wholly where they are at all, each by its share of them: their hand takes as much of it as is wanted.
    """
    if isinstance(recipe.strength, WeightMap) and not base.dial_is_noise:
        scale: float | Floats = along(base.dial_scale, recipe.strength.at(size))
    else:
        scale = base.adapter_scale(greatest(recipe.strength))
    weights = recipe.mix.at(size, recipe.feather * max(size))
    ours = [np.float32(weights[name]) for name in cards if name in drawn]
    total = np.maximum(np.sum(np.broadcast_arrays(*ours), 0), np.float32(1e-6)) if ours else np.float32(1)
    factors: dict[str, float | Floats] = {}
    for name, card in cards.items():
        if name in drawn and not base.dial_is_noise:
            share = np.asarray(np.float32(weights[name]) / total * np.float32(base.adapter_scale(1) * card.scale))
            factors[name] = share if share.ndim else float(share)
        else:
            factors[name] = weights[name] * scale * card.scale
    return {name: factor**DELTA_DIAL if cards[name].kind == DREAMBOOTH else factor for name, factor in factors.items()}


def amounts_of_hands(recipe: Recipe, size: Size, drawn: Collection[str]) -> dict[str, float | Floats]:
    """Style of `drawn` -> how much of its hand is wanted, 0..1: its weight times the strength; a map (H, W) where either is one."""
    strength = recipe.strength.at(size) if isinstance(recipe.strength, WeightMap) else recipe.strength
    weights = recipe.mix.at(size, recipe.feather * max(size))
    amounts = {name: weights[name] * strength for name in recipe.mix.names if name in drawn}
    return {name: np.minimum(amount, 1) if isinstance(amount, np.ndarray) else min(1.0, amount) for name, amount in amounts.items()}


def as_distilled(timesteps: Collection[int], noise_levels: int = 1000) -> tuple[int, ...]:
    """The nearest of the timesteps that lcm and tcd were distilled on, each once: 19, 39, ... 999."""
    last = noise_levels // DISTILLED_SPACING
    numbers = dict.fromkeys(min(last, max(1, round((timestep + 1) / DISTILLED_SPACING))) for timestep in timesteps)
    return tuple(number * DISTILLED_SPACING - 1 for number in numbers)


def default_steps(recipe: Recipe, base: BaseCard, cards: Mapping[str, Adapter]) -> int:
    """Steps where the recipe names none: the most that a style of the mix asks for, else the base's own, as on a base of few steps."""
    if base.few_steps:
        return base.num_inference_steps
    asked = [cards[name].num_inference_steps for name in recipe.mix.present if name in cards]
    return max([steps for steps in asked if steps], default=base.num_inference_steps)


def steps_of_styles(recipe: Recipe, base: BaseCard, cards: Mapping[str, Adapter], total: int) -> dict[str, int]:
    """Style -> in how many of `total` steps it takes part: as many as it asks for, unless the recipe says."""
    if recipe.num_inference_steps or base.few_steps:
        return dict.fromkeys(cards, total)
    return {name: min(total, card.num_inference_steps or base.num_inference_steps) for name, card in cards.items()}


def entry_timestep(recipe: Recipe, base: BaseCard, cards: Mapping[str, Adapter]) -> int:
    """Where the photo enters: the dials of the styles of the mix on average (see `noise_dial`), or the base's own."""
    dial, strength = noise_dial(recipe, base, cards), greatest(recipe.strength)
    if any(card.strength for card in cards.values()):
        return max(1, round(interpolate(dial, strength)))
    return max(1, round(base.timestep(strength) * (dial[-1][1] / base.timestep(1))))  # whole timesteps, stretched


def noise_dial(recipe: Recipe, base: BaseCard, cards: Mapping[str, Adapter]) -> Curve:
    """Strength -> timestep, as the styles of the mix ask for on average: the base's dial, stretched to a full timestep of the style's own
    or, where its card names a range of noise, led through that range.

    One UNet pass has one timestep, so styles on different parts of the picture meet in the middle too, each counted by its mean weight.
    """
    means = {name: weight for name, weight in recipe.mix.means.items() if name in cards}
    total = sum(means.values())
    if not total:
        return base.dial_timestep
    dials = {name: _own_dial(base, cards[name]) for name in means}
    if len(set(dials.values())) == 1:  # an average would be the same but for its last bits
        return next(iter(dials.values()))
    ends = sorted({strength for dial in dials.values() for strength, _ in dial})
    return tuple((end, sum(weight * interpolate(dials[name], end) for name, weight in means.items()) / total) for end in ends)


def _own_dial(base: BaseCard, card: Adapter) -> Curve:
    if card.strength is not None:
        low, high = (LEVELS * part for part in card.strength)
        return (0.0, 1.0), (KNEE, max(1.0, low)), (1.0, high)
    stretch = (card.timestep or base.timestep(1)) / base.timestep(1)
    return tuple((strength, timestep * stretch) for strength, timestep in base.dial_timestep)


def placements(recipe: Recipe, base: BaseCard, cards: Mapping[str, Adapter]) -> int:
    """The fewest placements that a style of the mix asks for: a pattern that belongs to the grid must not be averaged away."""
    asked = [cards[name].phases for name in recipe.mix.present if name in cards]
    return min([phases for phases in asked if phases], default=base.phases)


def starting_timesteps(
    recipe: Recipe,
    base: BaseCard,
    cards: Mapping[str, Adapter],
    weights: Mapping[str, float | Floats],
    timesteps: tuple[int, ...],
    takes: Mapping[str, int],
    size: Size,
) -> Floats | None:
    """The timestep (H, W) at which each pixel starts; None where all start together.

    Where the dial is the noise, a map of strength says so. The pocket base's is the adapters' scale: there the map is a factor on the
    weights. A pixel whose styles take fewer steps than others waits for theirs.
    """
    starts: Floats | None = None
    if isinstance(recipe.strength, WeightMap) and base.dial_is_noise:
        starts = along(noise_dial(recipe, base, cards), recipe.strength.at(size))
    if any(isinstance(weight, np.ndarray) for weight in weights.values()):
        width, height = size
        layers = {name: np.broadcast_to(np.float32(weight), (height, width)) for name, weight in weights.items()}
        total = np.sum(list(layers.values()), 0)
        steps = np.ones((height, width), np.int64)
        for name, layer in layers.items():
            steps = np.where((layer > 0) & (layer >= SHARE * total), np.maximum(steps, takes[name]), steps)
        joins = np.array(timesteps, np.float32)[len(timesteps) - steps]
        starts = joins if starts is None else np.minimum(starts, joins)
    return None if starts is None or starts.min() >= timesteps[0] else starts


def along(curve: Curve, values: Floats) -> Floats:
    """`base_card.interpolate` for every one of `values`."""
    xs, ys = np.array(curve, np.float32).T
    return np.interp(values, xs, ys).astype(np.float32)


def greatest(strength: float | WeightMap) -> float:
    return strength.extremes[1] if isinstance(strength, WeightMap) else strength
