"""StyleMix: which styles, and how much of each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from stylekit.errors import SettingError

WEIGHT_LIMIT = 2.0  # beyond this an adapter only burns
BUDGET = 1.0  # weights adding up to more are scaled down to this: stacked adapters at full weight burn


@dataclass(frozen=True, kw_only=True)
class StyleMix:
    """Style name -> weight, in the order given. Weights are 0..2; an empty mix is the base alone."""

    weights: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        names = [name for name, _ in self.weights]
        for name, weight in self.weights:
            if not name or not all(c.isalnum() or c in "-_./@" for c in name):
                raise SettingError(f"{name!r} is not a style name: use letters, digits, - and _.")
            if not math.isfinite(weight) or not 0 <= weight <= WEIGHT_LIMIT:
                raise SettingError(f"The weight of {name} is {weight}: choose a number from 0 to {WEIGHT_LIMIT:g}.")
            if names.count(name) > 1:
                raise SettingError(f"The style {name} appears twice in the mix: give each style once.")

    @classmethod
    def of(cls, value: str | Mapping[str, float] | StyleMix) -> StyleMix:
        """From a name, from ``"monet:0.6,ukiyoe:0.4"``, or from a mapping."""
        if isinstance(value, StyleMix):
            return value
        if isinstance(value, Mapping):
            return cls(weights=tuple((str(name), float(weight)) for name, weight in value.items()))
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

    def within_budget(self) -> StyleMix:
        """The same mix, scaled down if its weights add up to more than `BUDGET` and it has more than one style."""
        total = sum(weight for _, weight in self.weights)
        if len(self.weights) < 2 or total <= BUDGET:
            return self
        return StyleMix(weights=tuple((name, weight * BUDGET / total) for name, weight in self.weights))

    def __str__(self) -> str:
        if len(self.weights) == 1 and self.weights[0][1] == 1:
            return self.weights[0][0]
        return ",".join(f"{name}:{weight:g}" for name, weight in self.weights)
