r"""Train a LoRA style adapter on any base in Stable Diffusion 1.x layout. Which of three ways follows from what is given:

    style      pictures of the style alone     --style-pictures DIR, or --dataset OWNER/NAME
    pairs      photos and their targets        --photos DIR --targets DIR, or --dataset with --target-column
    transfer   photos and style pictures       --photos DIR --style-pictures DIR

    python -m training.train_lora --config training/configs/sd15/monet.yaml --style-pictures DIR --out styles/monet/sd15
    accelerate launch --multi_gpu --num_processes 2 -m training.train_lora ...    (on CPUs: torchrun --nproc_per_node 2 -m ...)

On the pocket base pictures of a style become pairs: the photos of this repository, or those of --photos, and what a teacher makes of them
in the pictures' manner (see `training.teacher`). --targets none leaves the teacher out, --photos none leaves only denoising.

The loss is a weighted sum, whose every term is logged:

    l2 * error + perceptual * LPIPS + style_weight * Gram + contrast * local spread

where `error` is that of the latents, or for style pictures alone that of what the base predicts (see `training.objectives`). Interrupt it
when you like: the same command goes on from the last checkpoint.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.helpers import rescale_adapter_scale
from torch import nn

from stylekit import adapters
from stylekit.base import Base
from stylekit.errors import StyleError
from stylekit.images import GRID
from training import config, loop, objectives, style_run
from training.critic import Critic
from training.lora_settings import LoraTraining, defaults
from training.material import Material
from training.style_run import Method, Trainee

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")


def train(settings: LoraTraining) -> Path:
    """The whole run: see `training.style_run`. Returns the adapter file."""
    return style_run.train(settings, LORA)


def prepare(base: Base, settings: LoraTraining, material: Material, critic: Critic, precision: str) -> Trainee:
    """A fresh adapter inside ``base.unet``, to be trained on `material`."""
    add_adapter(base.unet, settings)
    style_run.halve_frozen(base.unet, precision)

    @contextmanager
    def dial(scale: float) -> Iterator[torch.Tensor]:
        with rescale_adapter_scale(base.unet, scale):
            yield base.prompt_embeds()

    def write(path: Path, metadata: Mapping[str, str]) -> Path:
        return adapters.write_lora(base.unet, settings.style, path, metadata)

    return Trainee(
        model=base.unet,
        draw=objectives.draw_from(material.items, material.neutral, settings, GRID),
        compute=objectives.OBJECTIVES[settings.mode](base, critic, settings, precision),
        held_out=material.held_out,
        dial=dial,
        write=write,
    )


def add_adapter(unet: Any, settings: LoraTraining) -> list[nn.Parameter]:
    """A fresh adapter in `unet`, alpha = rank so that its own scale is 1; its parameters, which alone want gradients."""
    ranks: dict[str, int] = {}
    for name, module in unet.named_modules():
        attention = isinstance(module, nn.Linear) and name.endswith(ATTENTION)
        everywhere = isinstance(module, (nn.Linear, nn.Conv2d)) and "time_" not in name
        if attention or (settings.layers == "all" and everywhere):
            fine = name.startswith(("conv_in", "conv_out", "down_blocks.0", f"up_blocks.{len(unet.up_blocks) - 1}"))
            ranks[name] = settings.fine_rank if fine and settings.layers == "all" else settings.rank
    torch.manual_seed(settings.seed)
    cfg: LoraConfig = adapters.lora_config(ranks, {name: float(rank) for name, rank in ranks.items()})
    inject_adapter_in_model(cfg, unet, adapter_name=adapters.adapter_key(settings.style))
    if settings.init:
        start_from(unet, settings.style, adapters.read_lora(settings.init))
    for name, parameter in unet.named_parameters():
        parameter.requires_grad_("lora_" in name)
    return loop.trained(unet)


def start_from(unet: Any, style: str, lora: adapters.LoraWeights) -> None:
    """Copy `lora` into the adapter `style`; where that has a higher rank, what is added starts silent."""
    layers, key = adapters.lora_layers(unet), adapters.adapter_key(style)
    with torch.no_grad():
        for module, (down, up) in lora.modules.items():
            if module not in layers or layers[module].r[key] < len(down):
                raise StyleError(f"The adapter {lora.name} has a larger layer {module} than this run trains: raise the rank.")
            rank = len(down)
            layers[module].lora_A[key].weight[:rank] = down * (lora.alphas[module] / rank)
            layers[module].lora_B[key].weight.zero_()
            layers[module].lora_B[key].weight[:, :rank] = up


LORA = Method(title="LoRA", kind="lora", script="training.train_lora", file=adapters.WEIGHTS_FILE, prepare=prepare)


def main(argv: Sequence[str] | None = None) -> int:
    def run() -> None:
        settings = config.parse(LoraTraining, argv, "python -m training.train_lora", (__doc__ or "").splitlines()[0], defaults)
        print(f"adapter written to {train(settings)}")

    return style_run.run_script("train_lora", run)


if __name__ == "__main__":
    sys.exit(main())
