"""One recipe in many ways: styles down, values of one setting across, as a contact sheet shows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from stylekit.errors import SettingError
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.storage.untrusted import shown
from stylekit.style_picture.picture import StylePicture

SETTINGS: Mapping[str, Callable[[str], float]] = {"strength": float, "seed": int, "detail": float}  # and what their values are
EXAMPLES: Mapping[str, str] = {"strength": "0.4, 0.7, 1", "seed": "0, 1, 2, 3", "detail": "0.5, 1, 2"}


def read_values(setting: str, text: str, most: int) -> list[float]:
    """Values of one of `SETTINGS` from "0.4, 0.7, 1", each once, in their order. Raises SettingError."""
    if setting not in SETTINGS:
        raise SettingError(f"A sheet has no {shown(setting)} across: choose one of {', '.join(SETTINGS)}.")
    values: dict[float, None] = {}
    for part in text.replace(";", ",").split(","):
        if not part.strip():
            continue
        try:
            value = SETTINGS[setting](part.strip())
        except ValueError:
            kind = "a whole number" if SETTINGS[setting] is int else "a number"
            raise SettingError(f"{shown(part.strip())} is not {kind}: write for example {EXAMPLES[setting]}.") from None
        Recipe().with_(**{setting: value})  # says what is out of its range
        values[value] = None
        if len(values) > most:
            raise SettingError(f"There are over {most} values: write fewer.")
    if not values:
        raise SettingError(f"There is no value yet: write for example {EXAMPLES[setting]}.")
    return list(values)


def variants(
    recipe: Recipe, styles: Sequence[str], setting: str, values: Sequence[float], pictures: Sequence[StylePicture] = ()
) -> list[list[Recipe]]:
    """Rows of recipes: each style of `styles` by itself, everywhere, with each of the values. pictures: those that `styles` name."""
    rows = []
    for style in styles:
        alone = recipe.with_(mix=StyleMix.of({style: 1.0}), pictures=tuple(picture for picture in pictures if picture.name == style))
        rows.append([alone.with_(**{setting: value}) for value in values])
    return rows
