"""A recipe as a few characters for a link: what differs from the defaults, as JSON in base64's letters for addresses."""

from __future__ import annotations

import base64
import binascii
import json

from stylekit.errors import SettingError
from stylekit.recipe import FORMAT, Recipe

MOST = 1500  # characters; longer addresses are cut by programs that pass them on
BROKEN = "The link's settings did not arrive whole: copy the link again."


def link_text(recipe: Recipe) -> str:
    """Raises SettingError for a recipe that no link holds."""
    if recipe.has_maps or recipe.pictures:
        what = "Painted areas do" if recipe.has_maps else "A picture of your own does"
        raise SettingError(f"{what} not fit into a link: save the settings as a file.")
    usual, values = json.loads(Recipe().to_json()), json.loads(recipe.to_json())
    told = {name: value for name, value in values.items() if value != usual[name]} | {"format": FORMAT}
    text = base64.urlsafe_b64encode(json.dumps(told, separators=(",", ":")).encode()).decode().rstrip("=")
    if len(text) > MOST:
        raise SettingError("These settings are too long for a link: save them as a file.")
    return text


def read_link(text: str) -> Recipe:
    """Undo `link_text`. Raises SettingError."""
    if not text or len(text) > MOST:
        raise SettingError(BROKEN)
    try:
        told = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)).decode()
    except (binascii.Error, ValueError):
        raise SettingError(BROKEN) from None
    return Recipe.from_json(told)
