"""A pass of the model under words: those of one style or, where several meet, of each in its own part of the picture.

Words reach the model through its cross-attention. Where styles meet, every such layer is asked once for each of them, and the answers are
mixed by the weights of the styles at every place: ``own + weight * (asked - own)``, own being the answer to the neutral prompt, as style
pictures are (`stylekit.style_picture`). So one pass of the UNet takes any number of styles, numbers and maps, and costs a few hundredths
more for each. What a style is to avoid goes the same way, in the other half of one batch of two, and classifier-free guidance (Ho &
Salimans 2022, https://arxiv.org/abs/2207.12598) is as strong at every place as its styles ask for. One style alone, at its full weight, is
exactly what diffusers' StableDiffusionImg2ImgPipeline makes with its words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from diffusers.models.attention_processor import Attention

from stylekit.base import Base
from stylekit.style_picture.reference import Denoise, Weight, Weights, is_present


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """A style's words as the model takes them: embeddings (1, tokens, width) of what is asked for and of what is to be avoided; guidance,
    1 for none; weight: a number up to 1, or a map (N, 1, H, W) over the pictures of the batch, H and W in the ratio of its latents."""

    asked: torch.Tensor
    avoided: torch.Tensor
    guidance: float
    weight: Weight


class Speech:
    """What is said to the UNet of `base` now; `say` changes it between two passes. The UNet is other than it was only within a pass."""

    def __init__(self, base: Base) -> None:
        self.base = base
        self._layers = [module for path, module in base.unet.named_modules() if isinstance(module, Attention) and path.endswith(".attn2")]
        self._said: tuple[Spoken, ...] = ()
        self._weights = Weights([])
        self._ready: list[torch.Tensor] = []  # each style's words (rows, tokens, width), to be laid on by weight

    def say(self, said: Sequence[Spoken]) -> None:
        """Weights that add up to more than 1 at a place count by their share."""
        self._said = _within_one([spoken for spoken in said if is_present(spoken.weight)])
        self._weights = Weights([spoken.weight for spoken in self._said])

    def predict(self, denoise: Denoise, noisy: torch.Tensor, timestep: int, neutral: torch.Tensor) -> torch.Tensor:
        """What the model predicts for `noisy` (N, C, h, w) under what is said. denoise: runs a pass, by way of `denoise` of this object."""
        if not self._said:
            return denoise(noisy, timestep, neutral)
        asked = [spoken.asked.to(neutral) for spoken in self._said]
        if all(spoken.guidance == 1 for spoken in self._said):
            return self._pass(denoise, noisy, timestep, neutral, [asked])
        both = [[spoken.avoided.to(neutral) for spoken in self._said], asked]
        if len(noisy) == 1:
            free, led = self._pass(denoise, noisy.expand(2, -1, -1, -1), timestep, neutral, both).chunk(2)
        else:  # maps are over the pictures of one half
            free, led = (self._pass(denoise, noisy, timestep, neutral, [half]) for half in both)
        return free + self._guidance(noisy) * (led - free)

    def denoise(self, noisy: torch.Tensor, timestep: int, embeds: torch.Tensor) -> torch.Tensor:
        """As `Base.denoise`: the pass in which the words are heard, and not one that only looks at pictures."""
        layers = self._layers if self._ready else []
        # before others: what an IP-Adapter adds is added to all words
        handles = [layer.register_forward_hook(self.hear, with_kwargs=True, prepend=True) for layer in layers]
        try:
            return self.base.denoise(noisy, timestep, embeds)
        finally:
            for handle in handles:
                handle.remove()

    def _pass(
        self, denoise: Denoise, noisy: torch.Tensor, timestep: int, neutral: torch.Tensor, rows: Sequence[Sequence[torch.Tensor]]
    ) -> torch.Tensor:
        """One pass. rows: for every row of the batch, or for all of them, the words of each style."""
        words = [torch.cat(list(style)) for style in zip(*rows, strict=True)]  # of each style (rows, tokens, width)
        weight = self._said[0].weight
        if len(words) == 1 and not isinstance(weight, torch.Tensor) and weight == 1:
            return denoise(noisy, timestep, words[0])
        self._ready = words
        try:
            return denoise(noisy, timestep, neutral)
        finally:
            self._ready = []

    def _guidance(self, latents: torch.Tensor) -> float | torch.Tensor:
        """A number, or (N, 1, h, w)."""
        size = (latents.shape[-2], latents.shape[-1])
        total: float | torch.Tensor = 1.0
        for i, spoken in enumerate(self._said):
            total = total + self._weights.at(i, size, latents) * (spoken.guidance - 1)
        return total

    def hear(self, layer: Attention, inputs: tuple[torch.Tensor, ...], kwargs: dict[str, Any], own: torch.Tensor) -> torch.Tensor:
        """Forward hook of a layer that sees the prompt, in a pass under the words of several styles."""
        processor: Any = layer.processor
        mask = kwargs.get("attention_mask")
        answers = (processor(layer, inputs[0], words.to(own).expand(len(own), -1, -1), mask) for words in self._ready)
        return self._weights.laid_on(own, answers)


def _within_one(said: Sequence[Spoken]) -> tuple[Spoken, ...]:
    """`said` with weights that add up to no more than 1 anywhere."""
    total: Weight = 0.0
    for spoken in said:
        total = total + spoken.weight
    over = total.clamp_min(1) if isinstance(total, torch.Tensor) else max(1.0, total)
    if not isinstance(over, torch.Tensor) and over == 1:
        return tuple(said)
    return tuple(replace(spoken, weight=spoken.weight / over) for spoken in said)
