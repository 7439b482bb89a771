"""stylekit: a photograph and a style go in; the same scene, restyled, comes out.

    from stylekit import Recipe, StyleMix, Stylizer

These three are all that most programs need. They are imported when first asked for, since they bring torch and diffusers along.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stylekit.mix import StyleMix
    from stylekit.recipe import Recipe
    from stylekit.stylizer import Stylizer

__version__ = "0.4.0"
__all__ = ["Recipe", "StyleMix", "Stylizer", "__version__"]

MODULES = {"Recipe": "stylekit.recipe", "StyleMix": "stylekit.mix", "Stylizer": "stylekit.stylizer"}

if not TYPE_CHECKING:  # a type checker would take every other name for granted

    def __getattr__(name: str) -> type:
        if name not in MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(MODULES[name]), name)
        globals()[name] = value  # the next time it is found at once
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
