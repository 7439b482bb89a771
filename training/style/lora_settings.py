"""Settings of `training.train_lora`, and the defaults that suit each base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stylekit.base_card import POCKET
from training.loop.config import FROM_ONE, setting
from training.style import settings
from training.style.settings import StyleTraining

POCKET_DEFAULTS: dict[str, Any] = {"layers": "all", "rank": 10, "fine_rank": 40}


@dataclass(frozen=True, kw_only=True)
class LoraTraining(StyleTraining):
    """Settings of one run; every field is a flag and a key of the YAML file."""

    layers: str = setting("attention", "which layers get an adapter: all, or attention", choices=("all", "attention"))
    rank: int = setting(4, "rank of the adapter", allowed=FROM_ONE)
    fine_rank: int = setting(24, "rank at the outermost level, where strokes are made, if layers is all", allowed=FROM_ONE)
    init: Path | None = setting(None, "adapter file to start from; its ranks may be smaller")


def defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    """What suits the base and the mode that are `given`, where that differs from the fields' own defaults."""
    own = POCKET_DEFAULTS if given.get("base", POCKET) == POCKET else {}
    return settings.defaults(given) | own
