"""StyleMix: which styles, and how much of each, everywhere or at every point of the picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import regex

from stylekit.errors import SettingError
from stylekit.maps import Floats, Size, WeightMap, soften_borders
from stylekit.storage.untrusted import cut, shown

WEIGHT_LIMIT = 2.0  # beyond this an adapter only burns
MOST_STYLES = 64  # in one mix; each is a map of the picture's size while it is painted, and an adapter inside the UNet
MOST_LETTERS = 200  # of a style's name; a Hub id with its revision has fewer
BUDGET = 1.0  # weights adding up to more are scaled down to this: stacked adapters at full weight burn

Weight = float | WeightMap


@dataclass(frozen=True, kw_only=True)
class StyleMix:
    """Style name -> weight, in the order given: a number from 0 to 2, or a map over the picture. An empty mix is the base alone."""

    weights: tuple[tuple[str, Weight], ...] = ()

    def __post_init__(self) -> None:
        check_count(len(self.weights))
        seen: set[str] = set()
        for name, weight in self.weights:
            if not is_name(name):
                raise SettingError(f"{shown(name)} is not a style name: use letters, digits, - and _, at most {MOST_LETTERS} of them.")
            if not isinstance(weight, WeightMap) and (not math.isfinite(weight) or not 0 <= weight <= WEIGHT_LIMIT):
                raise SettingError(f"The weight of {name} is {weight}: choose a number from 0 to {WEIGHT_LIMIT:g}, or a map.")
            if name in seen:
                raise SettingError(f"The style {name} appears twice in the mix: give each style once.")
            seen.add(name)

    @classmethod
    def of(cls, value: str | Mapping[str, Weight] | StyleMix) -> StyleMix:
        """From a name, from ``"monet:0.6,ukiyoe:0.4"``, or from a mapping."""
        if isinstance(value, StyleMix):
            return value
        if isinstance(value, (str, Mapping)):
            check_count(len(value) if isinstance(value, Mapping) else value.count(",") + 1)  # before anything is made of it
        if isinstance(value, Mapping):
            return cls(weights=tuple((str(name), _weight(str(name), weight)) for name, weight in value.items()))
        if not isinstance(value, str):
            raise SettingError(f"The mix is {shown(value)}: write for example monet:0.6,ukiyoe:0.4.")
        parts = [part.strip() for part in value.split(",")]
        pairs = []
        for part in parts:
            name, colon, number = part.partition(":")
            try:
                pairs.append((name.strip(), float(number) if colon else 1.0))
            except ValueError:
                raise SettingError(f"The weight in {shown(part)} is not a number: write for example {name.strip()[:40]}:0.6.") from None
        return cls(weights=tuple(pairs))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.weights)

    @property
    def present(self) -> tuple[str, ...]:
        """Names of the styles whose weight is over 0 anywhere."""
        return tuple(name for name, weight in self.weights if (weight.extremes[1] if isinstance(weight, WeightMap) else weight) > 0)

    @property
    def means(self) -> dict[str, float]:
        """Style -> its weight, on average over the picture."""
        return {name: weight.mean if isinstance(weight, WeightMap) else weight for name, weight in self.weights}

    @property
    def has_maps(self) -> bool:
        return any(isinstance(weight, WeightMap) for _, weight in self.weights)

    def within_budget(self) -> StyleMix:
        """The same mix of numbers, scaled down if they add up to more than `BUDGET` and there is more than one style."""
        numbers = [(name, weight) for name, weight in self.weights if not isinstance(weight, WeightMap)]
        total = sum(weight for _, weight in numbers)
        if len(self.weights) < 2 or len(numbers) < len(self.weights) or total <= BUDGET:
            return self
        return StyleMix(weights=tuple((name, weight * BUDGET / total) for name, weight in numbers))

    def at(self, size: Size, feather: float = 0.0) -> dict[str, float | Floats]:
        """Weights for a picture of `size` (W, H), within the budget at every pixel: arrays (H, W), but numbers where all pixels agree.

        feather: the radius in pixels within which neighbouring styles pass into each other.
        """
        if not self.has_maps:
            return {name: weight for name, weight in self.within_budget().weights if not isinstance(weight, WeightMap)}
        width, height = size
        weights = np.stack([w.at(size) if isinstance(w, WeightMap) else np.full((height, width), w, np.float32) for _, w in self.weights])
        if len(weights) > 1:
            weights = soften_borders(weights, feather)
            weights *= BUDGET / np.maximum(weights.sum(0), BUDGET)
        return {name: float(w.flat[0]) if w.min() == w.max() else w for name, w in zip(self.names, weights, strict=True)}

    def with_regions(self, regions: Mapping[str, WeightMap]) -> StyleMix:
        """The regions painted over this mix, which keeps what they leave of the picture; its weights count up to 1."""
        if not regions:
            return self
        check_count(len(set(self.names).union(regions)))
        size = max((region.size for region in regions.values()), key=lambda size: size[0] * size[1])
        weights = {name: region.at(size) for name, region in regions.items()}
        left = 1 - np.minimum(sum(weights.values()), 1)
        for name, weight in self.at(size).items():
            weights[name] = np.minimum(weights.get(name, 0) + weight * left, 1)
        return StyleMix(weights=tuple((name, WeightMap.of(weight)) for name, weight in weights.items()))

    def __str__(self) -> str:
        if len(self.weights) == 1 and self.weights[0][1] == 1:
            return self.weights[0][0]
        return ",".join(f"{name}:{'map' if isinstance(weight, WeightMap) else format(weight, 'g')}" for name, weight in self.weights)


def check_count(styles: int) -> None:
    """Raises SettingError for more styles than a mix may have."""
    if styles > MOST_STYLES:
        raise SettingError(f"The mix has {styles} styles: give at most {MOST_STYLES}.")


def is_name(name: str) -> bool:
    """Whether a mix takes `name` for a style's: letters, digits and marks of any script, and ``-_./@``."""
    return len(name) <= MOST_LETTERS and regex.fullmatch(r"[\p{L}\p{N}\p{M}_./@-]+", name) is not None


def _weight(name: str, weight: object) -> Weight:
    if isinstance(weight, WeightMap):
        return weight
    try:
        return float(weight)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise SettingError(
            f"The weight of {cut(name)} is {shown(weight)}: choose a number from 0 to {WEIGHT_LIMIT:g}, or a WeightMap."
        ) from None
