"""StyleMix: which styles, and how much of each, everywhere or at every point of the picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stylekit.errors import SettingError
from stylekit.maps import Floats, Size, WeightMap, soften_borders

WEIGHT_LIMIT = 2.0  # beyond this an adapter only burns
BUDGET = 1.0  # weights adding up to more are scaled down to this: stacked adapters at full weight burn

Weight = float | WeightMap


@dataclass(frozen=True, kw_only=True)
class StyleMix:
    """Style name -> weight, in the order given: a number from 0 to 2, or a map over the picture. An empty mix is the base alone."""

    weights: tuple[tuple[str, Weight], ...] = ()

    def __post_init__(self) -> None:
        names = [name for name, _ in self.weights]
        for name, weight in self.weights:
            if not name or not all(c.isalnum() or c in "-_./@" for c in name):
                raise SettingError(f"{name!r} is not a style name: use letters, digits, - and _.")
            if not isinstance(weight, WeightMap) and (not math.isfinite(weight) or not 0 <= weight <= WEIGHT_LIMIT):
                raise SettingError(f"The weight of {name} is {weight}: choose a number from 0 to {WEIGHT_LIMIT:g}, or a map.")
            if names.count(name) > 1:
                raise SettingError(f"The style {name} appears twice in the mix: give each style once.")

    @classmethod
    def of(cls, value: str | Mapping[str, Weight] | StyleMix) -> StyleMix:
        """From a name, from ``"monet:0.6,ukiyoe:0.4"``, or from a mapping."""
        if isinstance(value, StyleMix):
            return value
        if isinstance(value, Mapping):
            return cls(weights=tuple((str(name), _weight(name, weight)) for name, weight in value.items()))
        parts = [part.strip() for part in value.split(",")]
        pairs = []
        for part in parts:
            name, colon, number = part.partition(":")
            try:
                pairs.append((name.strip(), float(number) if colon else 1.0))
            except ValueError:
                raise SettingError(f"The weight in {part!r} is not a number: write for example {name.strip()}:0.6.") from None
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


def _weight(name: str, weight: object) -> Weight:
    if isinstance(weight, WeightMap):
        return weight
    try:
        return float(weight)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise SettingError(f"The weight of {name} is {weight!r}: choose a number from 0 to {WEIGHT_LIMIT:g}, or a WeightMap.") from None
