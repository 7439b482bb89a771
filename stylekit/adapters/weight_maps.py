"""A style's weight as a map over the picture, inside the UNet: hooks that add LoRA products pixel by pixel, and normalise by region.

In peft a LoRA layer adds ``lora_B(lora_A(x)) * scaling``. Here the scaling is a map at the layer's own resolution, one channel for each
rank of the stacked adapters, so that one pass of the UNet paints any number of styles wherever they belong.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

PROMPT_LAYER = re.compile(r"attn2\.to_[kv]$")  # sees the prompt's tokens, not pixels
PRESENT = 0.25  # weight from which a pixel wholly belongs to its styles
PRIOR = 0.01  # part of the picture that every region's statistics are mixed with, which steadies those of a small one
Hook = Callable[[nn.Module, tuple[torch.Tensor, ...], torch.Tensor], torch.Tensor]


SWITCH = "_stylekit_switch"


class _Switch:
    """Whether the hooks that paint on one UNet act."""

    on = True


def hook_on(unet: nn.Module, layer: nn.Module, hook: Callable[..., torch.Tensor], *, with_kwargs: bool = False) -> RemovableHandle:
    """Register `hook` at `layer`, a part of `unet`: a forward hook that acts but within `unpainted`."""
    switch = _switch_of(unet)

    def act(*seen: Any) -> torch.Tensor | None:
        return hook(*seen) if switch.on else None

    return layer.register_forward_hook(act, with_kwargs=with_kwargs)


@contextmanager
def unpainted(unet: nn.Module) -> Iterator[None]:
    """Within the block nothing is painted on `unet`: maps belong to the photo, and on another picture they mean nothing, nor fit."""
    switch = _switch_of(unet)
    before, switch.on = switch.on, False
    try:
        yield
    finally:
        switch.on = before


def _switch_of(unet: nn.Module) -> _Switch:
    if SWITCH not in unet.__dict__:
        unet.__dict__[SWITCH] = _Switch()
    return unet.__dict__[SWITCH]


class WeightMaps:
    """The maps (N, styles, H, W), at any resolution, one channel for each rank of the stacked adapters."""

    def __init__(self, keys: Sequence[str], maps: torch.Tensor) -> None:
        total = maps.sum(1, keepdim=True)
        self.keys = list(keys)
        self.maps = maps
        self.means = (maps * total).sum((0, 2, 3), keepdim=True) / total.sum()
        self.known: dict[tuple[Any, ...], torch.Tensor] = {}
        belongs = maps / total.clamp_min(1e-6) * (total / PRESENT).clamp_max(1)
        self.regions = torch.cat([belongs, 1 - belongs.sum(1, keepdim=True)], 1)

    def at(self, ranks: Mapping[str, int], size: tuple[int, int] | None, like: torch.Tensor) -> torch.Tensor:
        """(N, sum of ranks, h, w); size None for the means, (1, sum of ranks, 1, 1)."""
        key = (tuple(ranks.items()), size, like.dtype)
        if key not in self.known:  # few: the UNet's resolutions times the adapters' ranks
            maps = self.means if size is None else F.adaptive_avg_pool2d(self.maps, size)
            channels = [maps[:, self.keys.index(name)] for name, rank in ranks.items() for _ in range(rank)]
            self.known[key] = torch.stack(channels, 1).to(like).contiguous(memory_format=torch.channels_last)
        return self.known[key]

    def shares(self, size: tuple[int, int]) -> torch.Tensor:
        """(N, h * w, styles + 1): how far each pixel belongs to each style, and last to none; they add up to 1."""
        if (size,) not in self.known:
            self.known[(size,)] = F.adaptive_avg_pool2d(self.regions, size).flatten(2).transpose(1, 2).contiguous()
        return self.known[(size,)]

    def tokens(self, count: int) -> tuple[int, int]:
        """(h, w) of the picture whose pixels are `count` tokens."""
        height, width = self.maps.shape[-2:]
        h = max(1, round(math.sqrt(count * height / width)))
        return h, count // h


def add_by_map(layer: LoraLayer, keys: Sequence[str], weight_maps: WeightMaps, sees_prompt: bool) -> Hook:
    base = layer.get_base_layer()
    ranks = {key: layer.r[key] for key in keys}
    down = torch.cat([layer.lora_A[key].weight for key in keys]).to(base.weight.dtype)
    up = torch.cat([layer.lora_B[key].weight * layer.scaling[key] for key in keys], 1).to(base.weight.dtype)
    across = up.flatten(1).T.contiguous()  # (ranks, channels out)

    def add(output: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """Channels last in both; addition and product in one."""
        return torch.addmm(output.flatten(0, -2), hidden.flatten(0, -2), across).view_as(output)

    if isinstance(base, nn.Conv2d):
        down = down.contiguous(memory_format=torch.channels_last)
        stride, padding, dilation = base.stride, base.padding, base.dilation

        def paint(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            hidden = F.conv2d(inputs[0], down, None, stride, padding, dilation)
            h, w = hidden.shape[-2:]
            hidden = hidden * weight_maps.at(ranks, (h, w), hidden)
            return add(output.permute(0, 2, 3, 1).contiguous(), hidden.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

        return paint

    def paint_tokens(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        hidden = F.linear(inputs[0], down)
        size = None if sees_prompt or hidden.ndim < 3 else weight_maps.tokens(hidden.shape[1])
        scale = weight_maps.at(ranks, size, hidden).flatten(2).transpose(1, 2)  # (N, tokens, ranks)
        return add(output, hidden * (scale if hidden.ndim == 3 else scale[:, 0]))

    return paint_tokens


def normalise_by_region(norm: nn.GroupNorm, weight_maps: WeightMaps) -> Hook:
    """Group normalisation (Wu & He 2018, https://arxiv.org/abs/1803.08494) whose mean and variance are taken region by region.

    Over the whole picture they would mix the styles: white paper on the left would be darkened by a blue print on the right.
    """

    def normalise(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        n, c, h, w = inputs[0].shape
        with torch.autocast(output.device.type, enabled=False):  # differences of squares need float32
            x = inputs[0].permute(0, 2, 3, 1).reshape(n, h * w, norm.num_groups, -1).float()
            moments = torch.cat([x.mean(-1), (x * x).mean(-1)], -1)  # (N, pixels, 2 * groups)
            shares = weight_maps.shares((h, w))
            prior = PRIOR * h * w
            regional = shares.transpose(1, 2) @ moments + prior * moments.mean(1, keepdim=True)
            mean, square = (regional / (shares.sum(1)[..., None] + prior)).chunk(2, -1)  # (N, regions, groups)
            factor = ((square - mean.square()).clamp_min(0) + norm.eps).rsqrt()
            scale, shift = shares @ factor, shares @ (-mean * factor)  # (N, pixels, groups)
            x = x.mul(scale[..., None]).add_(shift[..., None]).reshape(n, h, w, c)
            return x.mul_(norm.weight).add_(norm.bias).permute(0, 3, 1, 2).to(output)

    return normalise
