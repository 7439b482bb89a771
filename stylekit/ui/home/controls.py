"""The controls of the Stylize tab as a recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stylekit.base_card import POCKET
from stylekit.errors import SettingError
from stylekit.maps import WeightMap
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.ui.painter.paint import Painting

if TYPE_CHECKING:
    from stylekit.ui.stylize_layout import StylizeTab

LOOKS = ("strength", "detail", "hand", "structure", "keep_colours", "feather", "match_border")
DIALS = (*LOOKS, "seed", "steps", "size", "guidance", "sampler", "quick")


def dials(tab: StylizeTab) -> dict[str, Any]:
    """The settings beside style and paint, by their names in a recipe."""
    return {name: getattr(tab, name) for name in DIALS}


def recipe_inputs(tab: StylizeTab) -> set[Any]:
    """What `recipe_of` wants the values of."""
    return {tab.style, tab.visitor_styles, tab.painting, tab.painter, *dials(tab).values(), tab.restored}


def recipe_of(tab: StylizeTab, values: dict[Any, Any], base: str) -> Recipe:
    """values: of `recipe_inputs`, by component. Raises StyleError."""
    style, painted, restored = values[tab.style], values[tab.painter], values[tab.restored]
    strength: float | WeightMap = values[tab.strength]
    if not values[tab.painting]:
        if not style:
            raise SettingError("There is no style yet: choose one by its picture.")
        mix = StyleMix.of({style: 1.0})
    elif restored and restored.repeats(painted, values[tab.strength]):
        mix, strength = restored.recipe.mix, restored.recipe.strength
    else:
        mix = Painting.from_value(painted).mix
    if values[tab.seed] is None:
        raise SettingError("The seed is empty: give a whole number, or roll the dice.")
    return Recipe(
        mix=mix,
        strength=strength,
        num_inference_steps=values[tab.steps] or None,
        guidance_scale=values[tab.guidance] or None,
        sampler=(values[tab.sampler] or None) if base != POCKET else None,
        tiny_decoder=values[tab.quick],
        seed=values[tab.seed],
        size=values[tab.size],
        base=base,
        detail=float(values[tab.detail]),
        hand=values[tab.hand],
        structure=values[tab.structure],
        keep_colours=float(values[tab.keep_colours]),
        match_border=values[tab.match_border],
        feather=values[tab.feather] / 100,
        pictures=values[tab.visitor_styles].pictures(mix.names),
    )
