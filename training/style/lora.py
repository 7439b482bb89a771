"""A style as a LoRA: what is put into the UNet, trained and written. The command is `training.train_lora`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.helpers import rescale_adapter_scale
from torch import nn

from stylekit.adapters import lora_file, lora_weights
from stylekit.base import Base
from stylekit.errors import StyleError
from stylekit.images import GRID
from training.loop import loop
from training.objective import objectives
from training.objective.perceptual import PerceptualLosses
from training.style import style_run
from training.style.lora_settings import LoraTraining
from training.style.style_run import Method, Trainee
from training.style.training_set import TrainingSet

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")


def prepare(base: Base, settings: LoraTraining, training_set: TrainingSet, perceptual: PerceptualLosses, precision: str) -> Trainee:
    """A fresh adapter inside ``base.unet``, to be trained on `training_set`."""
    add_adapter(base.unet, settings)
    style_run.halve_frozen(base.unet, precision)

    @contextmanager
    def dial(scale: float) -> Iterator[torch.Tensor]:
        with rescale_adapter_scale(base.unet, scale):
            yield base.prompt_embeds()

    def write(path: Path, metadata: Mapping[str, str]) -> Path:
        return lora_file.write_lora(base.unet, settings.style, path, metadata)

    return Trainee(
        model=base.unet,
        draw=objectives.draw_from(training_set.items, training_set.neutral, settings, GRID),
        compute=objectives.OBJECTIVES[settings.mode](base, perceptual, settings, precision),
        held_out=training_set.held_out,
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
    cfg: LoraConfig = lora_weights.lora_config(ranks, {name: float(rank) for name, rank in ranks.items()})
    inject_adapter_in_model(cfg, unet, adapter_name=lora_weights.adapter_key(settings.style))
    if settings.init:
        start_from(unet, settings.style, lora_file.read_lora(settings.init))
    for name, parameter in unet.named_parameters():
        parameter.requires_grad_("lora_" in name)
    return loop.trained(unet)


def start_from(unet: Any, style: str, lora: lora_weights.LoraWeights) -> None:
    """Copy `lora` into the adapter `style`; where that has a higher rank, what is added starts silent."""
    layers, key = lora_weights.lora_layers(unet), lora_weights.adapter_key(style)
    with torch.no_grad():
        for module, (down, up) in lora.modules.items():
            if module not in layers or layers[module].r[key] < len(down):
                raise StyleError(f"The adapter {lora.name} has a larger layer {module} than this run trains: raise the rank.")
            rank = len(down)
            layers[module].lora_A[key].weight[:rank] = down * (lora.alphas[module] / rank)
            layers[module].lora_B[key].weight.zero_()
            layers[module].lora_B[key].weight[:, :rank] = up


LORA = Method(title="LoRA", kind="lora", script="training.train_lora", file=lora_file.WEIGHTS_FILE, prepare=prepare)
