"""Accelerators: LoRAs that make Stable Diffusion paint in few steps, whatever the style: LCM-LoRA (Luo et al. 2023,
https://arxiv.org/abs/2311.05556), Hyper-SD (Ren et al. 2024, https://arxiv.org/abs/2404.13686), TCD (Zheng et al. 2024,
https://arxiv.org/abs/2402.19159).

One is part of the base, not of the mix: it takes no share of the styles' weights, and has no weight of its own. With it guidance is in the
weights, so that a step is one pass of the UNet.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from stylekit import hub
from stylekit.adapters import apply
from stylekit.adapters.deltas import is_delta
from stylekit.adapters.lora_file import read_lora
from stylekit.adapters.lora_weights import LoraWeights
from stylekit.base import Base
from stylekit.base_card import DDIM, LCM, LCM_LORA, TCD
from stylekit.errors import AdapterError

STEPS = 4
KNOWN = (("lcm", LCM), ("tcd", TCD), ("hyper", DDIM))  # in a name or a path, and the sampler its makers use


@dataclass(frozen=True, kw_only=True)
class Accelerator:
    """source: a repository of the Hub, a folder or a file. sampler: what it was distilled for, as far as its name tells."""

    source: str
    lora: LoraWeights
    sampler: str = LCM

    @classmethod
    def open(cls, source: str) -> Accelerator:
        """Raises StyleError (of the Hub, or of the adapter) if it cannot be had."""
        path = _file(source)
        if is_delta(path):
            raise AdapterError(f"The accelerator {source} is a DreamBooth style: use a LoRA for few steps, such as {LCM_LORA}.")
        told = next((sampler for mark, sampler in KNOWN if mark in f"{source} {path.name}".lower()), LCM)
        return cls(source=source, lora=read_lora(path, "accelerator"), sampler=told)

    def put_into(self, base: Base) -> None:
        """Make it part of `base`. AdapterError if it does not fit."""
        apply.fuse_for_good(base.unet, self.lora)
        base.card = replace(base.card, num_inference_steps=STEPS, sampler=self.sampler, few_steps=True)


def _file(source: str) -> Path:
    """Of a folder, a file or a repository, checked to be of a base's family."""
    return hub.open_style(source).adapters[0].path
