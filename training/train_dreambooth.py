r"""Train a style by DreamBooth on any base in Stable Diffusion 1.x layout: the base's own weights learn it, under a prompt of its own.

DreamBooth (Ruiz et al. 2023, https://arxiv.org/abs/2208.12242) ties the pictures to an instance prompt with a rare word ("sks style
painting"). Beside them it trains on class pictures that the base made itself, under another prompt, so that without the instance prompt the
base stays what it was (prior preservation). Pictures come in the three ways of `training.train_lora`.

    python -m training.train_dreambooth --style monet-dreambooth --base stable-diffusion-v1-5/stable-diffusion-v1-5 \
        --style-pictures DIR --out styles/monet-dreambooth/sd15
    python -m training.train_dreambooth --config training/configs/pocket/dreambooth/sketch.yaml --photos DIR --out styles/mine/pocket

On the pocket base, which has no text encoder, the embedding of the instance prompt is learned. What is written is the difference to the
base, with that embedding (see `stylekit.adapters.deltas`). Interrupt it when you like: the same command goes on.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from stylekit.base_card import POCKET
from stylekit.styles import DREAMBOOTH
from training.loop import config
from training.style import command, first_look
from training.style.dreambooth_settings import DreamBoothTraining, defaults


def train(settings: DreamBoothTraining) -> Path:
    """The whole run: see `training.style.style_run`. Returns the file of the difference."""
    places = {"full": settings.full} if settings.full else {}
    first_look.look(settings, DREAMBOOTH, places, _unfit(settings))
    from training import push  # with torch and diffusers, which take long to load
    from training.style import dreambooth, style_run

    return push.pushed(settings, lambda: style_run.train(settings, dreambooth.DREAMBOOTH, places))


def _unfit(settings: DreamBoothTraining) -> Iterator[str]:
    """What of the settings cannot be, and can be told without the base."""
    pictures = settings.class_pictures
    if pictures and os.path.exists(pictures) and not pictures.is_dir():
        yield f"{pictures} is not a folder: name a folder for class pictures."
    if settings.base == POCKET and settings.train_text_encoder:
        yield f"train_text_encoder is set, but the base {POCKET} has no text encoder: leave it out."


def main(argv: Sequence[str] | None = None) -> int:
    def run() -> None:
        description = (__doc__ or "").splitlines()[0]
        settings = config.parse(DreamBoothTraining, argv, "python -m training.train_dreambooth", description, defaults)
        train(settings)

    return command.run_script("train_dreambooth", run)


if __name__ == "__main__":
    sys.exit(main())
