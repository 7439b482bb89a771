"""Settings of `training.train_lora`, and the defaults that suit each base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stylekit.base import POCKET
from stylekit.errors import SettingError
from training import style_settings
from training.config import setting
from training.style_settings import StyleTraining

LAYERS = ("all", "attention")
POCKET_DEFAULTS: dict[str, Any] = {"layers": "all", "rank": 10, "fine_rank": 40}


@dataclass(frozen=True, kw_only=True)
class LoraTraining(StyleTraining):
    """Settings of one run; every field is a flag and a key of the YAML file."""

    layers: str = setting("attention", "which layers get an adapter: all, or attention")
    rank: int = setting(4, "rank of the adapter")
    fine_rank: int = setting(24, "rank at the outermost level, where strokes are made, if layers is all")
    init: Path | None = setting(None, "adapter file to start from; its ranks may be smaller")

    def __post_init__(self) -> None:
        for name in ("rank", "fine_rank"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} is {getattr(self, name)}: it must be at least 1.")
        if self.layers not in LAYERS:
            raise SettingError(f"layers is {self.layers!r}: choose {' or '.join(LAYERS)}.")
        super().__post_init__()


def defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    """What suits the base and the mode that are `given`, where that differs from the fields' own defaults."""
    own = POCKET_DEFAULTS if given.get("base", POCKET) == POCKET else {}
    return style_settings.defaults(given) | own
