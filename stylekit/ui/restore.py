"""From a file that stylekit wrote back to the controls of the page."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stylekit.base_card import ALIASES
from stylekit.errors import SettingError, UnknownStyleError
from stylekit.maps import WeightMap
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.results.carriers import Named, carries_recipe, read_named
from stylekit.storage.untrusted import cut
from stylekit.ui.painter.paint import Painting

SAFE_SEED = 2**53  # the greatest whole number that a browser keeps


@dataclass(frozen=True, kw_only=True)
class Restored:
    """A recipe, and what the page was set to for it: as long as that is untouched, the recipe's own maps make the same pixels again."""

    recipe: Recipe
    painting: dict[str, Any]
    strength: float

    @classmethod
    def of(cls, recipe: Recipe) -> Restored:
        """Raises SettingError if the page cannot hold the recipe's mix."""
        mix, strength = _folded(recipe)
        return cls(recipe=recipe, painting=Painting.of(mix).value, strength=strength)

    @property
    def is_simple(self) -> bool:
        """Whether the page says it without its painter: one style, whole and everywhere."""
        return not self.recipe.has_maps and [weight for _, weight in self.recipe.mix.weights] == [1.0]

    def repeats(self, painting: dict[str, Any], strength: float) -> bool:
        """Whether the painter and the strength dial still say what they were set to."""
        keys = ("slots", "paint")
        return strength == self.strength and all(painting.get(key) == self.painting[key] for key in keys)


def read_file(path: Path, styles: Container[str], base: str) -> Named | None:
    """The recipe in a picture or a file of settings, None if there is none. Raises StyleError if it is bad or asks for what is not here."""
    if not carries_recipe(path):
        return None
    named = read_named(path)
    check_here(named.recipe, path.name, styles, base)
    return named


def check_here(recipe: Recipe, what: str, styles: Container[str], base: str) -> None:
    """what: that carried the recipe. Raises StyleError if the page cannot do what it asks for."""
    if ALIASES.get(recipe.base, recipe.base) != ALIASES.get(base, base):
        raise SettingError(f"{what} was made with the base {cut(recipe.base)}, but {base} is loaded here: nothing was changed.")
    for name in recipe.mix.names:
        if name not in styles and recipe.picture(name) is None:
            raise UnknownStyleError(f"{what} was made with the style {cut(name)}, which is not here: add it to the styles folder.")
    if recipe.seed > SAFE_SEED:
        raise SettingError(f"{what} has the seed {recipe.seed}, too large for a browser: use --recipe on the command line.")


def _folded(recipe: Recipe) -> tuple[StyleMix, float]:
    """The mix, with a map of strength folded into its weights, and the strength as a number: the page paints one kind of map."""
    if not isinstance(recipe.strength, WeightMap):
        return recipe.mix, recipe.strength
    strength, size = recipe.strength.extremes[1], recipe.strength.size
    share = recipe.strength.at(size) / np.float32(strength or 1)
    weights = recipe.mix.at(size)
    return StyleMix(weights=tuple((name, WeightMap.of(np.minimum(weight * share, 1))) for name, weight in weights.items())), strength
