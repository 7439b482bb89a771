"""Settings of `training.train_dreambooth`, and the defaults that suit each base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stylekit.base_card import POCKET
from stylekit.errors import SettingError
from training.loop.config import FROM_ONE, FROM_ZERO, setting
from training.style import settings
from training.style.settings import StyleTraining

ATTENTION = ("attn1", "attn2")
# The fields' defaults suit Stable Diffusion 1.5. On the pocket base attention alone cannot draw: its outermost level has none.
POCKET_DEFAULTS: dict[str, Any] = {
    "modules": "attn1,attn2,conv_in,down_blocks.0,up_blocks.2,conv_norm_out,conv_out",
    "trigger": None,
    "lr": 8e-4,
    "batch": 2,
    "class_count": 100,
    "save_every": 50,
}


@dataclass(frozen=True, kw_only=True)
class DreamBoothTraining(StyleTraining):
    """Settings of one run; every field is a flag and a key of the YAML file."""

    trigger: str | None = setting("sks style painting", "instance prompt; a base without a text encoder learns an embedding instead")
    modules: str = setting(
        "attention", "what of the UNet is trained: attention, all, or parts of parameters' names, such as attn2,up_blocks.3"
    )
    train_text_encoder: bool = setting(False, "train the text encoder too; only its embedding of the instance prompt is kept")
    class_prompt: str = setting("a painting", "prompt of the class pictures, where the base has a text encoder")
    class_pictures: Path | None = setting(
        None, "folder of class pictures; where they are too few the base makes the rest; by default in the work folder", free=True
    )
    class_count: int = setting(200, "class pictures", allowed=FROM_ONE)
    prior_weight: float = setting(1.0, "weight of the class pictures' error; 0 for no prior preservation", allowed=FROM_ZERO)
    full: Path | None = setting(None, "write the tuned base whole, in diffusers layout, to this folder too", free=True)
    steps: int = setting(1000, "training steps")
    batch: int = setting(1, "samples a step in each process, and as many of class pictures")
    lr: float = setting(5e-6, "peak learning rate")
    schedule: str = setting("constant", "of the learning rate after warm-up: cosine, linear (both to 1 % of the peak) or constant")
    warmup: int = setting(0, "steps of linear warm-up")
    ema: float = setting(0.0, "decay of the average of the weights, which is what is written; 0 writes the last weights")
    caption_dropout: float = setting(0.0, "share of samples whose prompt is the instance prompt alone, where pictures have captions")

    def __post_init__(self) -> None:
        if not all(self.modules.split(",")):
            raise SettingError(f"modules is {self.modules!r}: choose attention, all, or parts of names with commas between them.")
        super().__post_init__()

    @property
    def suffix(self) -> str:
        return ".dreambooth"

    def trains(self, parameter: str) -> bool:
        """Whether `modules` holds the UNet's `parameter`."""
        parts = ATTENTION if self.modules == "attention" else self.modules.split(",")
        return self.modules == "all" or any(f".{part}." in f".{parameter}" for part in parts)


def defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    """What suits the base, the mode and the machine that are `given`, where that differs from the fields' own defaults."""
    if given.get("base", POCKET) == POCKET:
        return settings.defaults(given) | POCKET_DEFAULTS
    import torch  # which the pocket base's settings do without

    from training.loop import loop

    saves = torch.cuda.is_available() and loop.is_installed("bitsandbytes")
    return settings.defaults(given) | ({"optimizer": "adamw8bit"} if saves else {})
