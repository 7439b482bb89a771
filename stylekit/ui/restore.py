"""From a PNG that stylekit wrote back to the controls of the page."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stylekit.errors import SettingError, UnknownStyleError
from stylekit.maps import WeightMap
from stylekit.mix import StyleMix
from stylekit.recipe import PNG_KEY, Recipe
from stylekit.ui.paint import Painting

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


def read_recipe(path: Path, styles: Container[str], base: str) -> Recipe | None:
    """The recipe in a picture file, None if it carries none. Raises StyleError if it is damaged or asks for what is not here."""
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            carries = PNG_KEY in picture.info
    except Exception:  # whatever is wrong with it is told where photos are opened
        return None
    if not carries:
        return None
    recipe = Recipe.from_png(path)
    from stylekit.base import ALIASES  # brings diffusers along; the page came up without waiting for it

    if ALIASES.get(recipe.base, recipe.base) != ALIASES.get(base, base):
        raise SettingError(f"{path.name} was made with the base {recipe.base}, but {base} is loaded here: nothing was changed.")
    for name in recipe.mix.names:
        if name not in styles and recipe.picture(name) is None:
            raise UnknownStyleError(f"{path.name} was made with the style {name}, which is not here: add it to the styles folder.")
    if recipe.seed > SAFE_SEED:
        raise SettingError(f"{path.name} has the seed {recipe.seed}, too large for a browser: use --recipe on the command line.")
    return recipe


def _folded(recipe: Recipe) -> tuple[StyleMix, float]:
    """The mix, with a map of strength folded into its weights, and the strength as a number: the page paints one kind of map."""
    if not isinstance(recipe.strength, WeightMap):
        return recipe.mix, recipe.strength
    strength, size = recipe.strength.extremes[1], recipe.strength.size
    share = recipe.strength.at(size) / np.float32(strength or 1)
    weights = recipe.mix.at(size)
    return StyleMix(weights=tuple((name, WeightMap.of(np.minimum(weight * share, 1))) for name, weight in weights.items())), strength
