r"""Train a LoRA style adapter on any base in Stable Diffusion 1.x layout. Which of three ways follows from what is given:

    style      pictures of the style alone     --style-pictures DIR, or --dataset OWNER/NAME
    pairs      photos and their targets        --photos DIR --targets DIR, or --dataset with --target-column
    transfer   photos and style pictures       --photos DIR --style-pictures DIR

    python -m training.train_lora --config training/configs/sd15/monet.yaml --style-pictures DIR --out styles/monet/sd15
    accelerate launch --multi_gpu --num_processes 2 -m training.train_lora ...    (on CPUs: torchrun --nproc_per_node 2 -m ...)

On the pocket base pictures of a style become pairs: the photos of this repository, or those of --photos, and the same photos in the palette
and light that are measured from the pictures (see `training.targets.palette`). --targets teacher has a network paint them in the pictures'
manner instead, --targets none leaves targets out, --photos none leaves only denoising.

The loss is a weighted sum, whose every term is logged:

    l2 * error + perceptual * LPIPS + style_weight * Gram + contrast * local spread

where `error` is that of the latents, or for style pictures alone that of what the base predicts (see `objective.objectives`). Interrupt it
when you like: the same command goes on from the last checkpoint.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from stylekit.styles import LORA
from training.loop import config
from training.style import command, first_look
from training.style.lora_settings import LoraTraining, defaults


def train(settings: LoraTraining) -> Path:
    """The whole run: see `training.style.style_run`. Returns the adapter file."""
    lacking = settings.init and not settings.init.is_file()
    also = [f"{settings.init} is not there: name an adapter file to start from, or leave --init out."] if lacking else []
    first_look.look(settings, LORA, also=also)
    from training import push  # with torch and diffusers, which take long to load
    from training.style import lora, style_run

    return push.pushed(settings, lambda: style_run.train(settings, lora.LORA))


def main(argv: Sequence[str] | None = None) -> int:
    def run() -> None:
        settings = config.parse(LoraTraining, argv, "python -m training.train_lora", (__doc__ or "").splitlines()[0], defaults)
        train(settings)

    return command.run_script("train_lora", run)


if __name__ == "__main__":
    sys.exit(main())
