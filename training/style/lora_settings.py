"""Settings of `training.train_lora`, and the defaults that suit each base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stylekit.adapters.lora_settings import WEIGHTS_FILE
from stylekit.base_card import POCKET
from stylekit.storage.paths import STYLES_FOLDER
from training.loop.config import FROM_ONE, setting
from training.style import settings
from training.style.settings import StyleTraining
from training.targets.names import MEASURED

POCKET_DEFAULTS: dict[str, Any] = {"layers": "all", "rank": 10, "fine_rank": 40}
BEGUN = "monet"  # the shipped style whose adapter recolours and simplifies already, at these ranks: palettes start from it
BEGUN_FILE = STYLES_FOLDER / BEGUN / POCKET / WEIGHTS_FILE
BEGUN_STEPS = 160


@dataclass(frozen=True, kw_only=True)
class LoraTraining(StyleTraining):
    """Settings of one run; every field is a flag and a key of the YAML file."""

    layers: str = setting("attention", "which layers get an adapter: all, or attention", choices=("all", "attention"))
    rank: int = setting(4, "rank of the adapter", allowed=FROM_ONE)
    fine_rank: int = setting(24, "rank at the outermost level, where strokes are made, if layers is all", allowed=FROM_ONE)
    init: Path | None = setting(None, "adapter file to start from; its ranks may be smaller; none starts from nothing")

    @property
    def begun_from(self) -> str:
        if not self.init:
            return ""
        return f"the shipped adapter of {BEGUN}" if self.init.resolve() == BEGUN_FILE else f"the adapter {self.init.name}"


def defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    """What suits the base and the mode that are `given`, where that differs from the fields' own defaults."""
    own = POCKET_DEFAULTS if given.get("base", POCKET) == POCKET else {}
    found = settings.defaults(given) | own
    ready = found.get("targets") == MEASURED and not {"layers", "rank", "fine_rank"} & given.keys() and BEGUN_FILE.is_file()
    if ready and given.get("init", BEGUN_FILE) not in (None, "none"):
        found |= {"init": BEGUN_FILE, "steps": BEGUN_STEPS}
    return found
