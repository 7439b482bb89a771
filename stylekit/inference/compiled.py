"""A UNet whose blocks are compiled by torch, as an option: the first picture of a size takes a minute or more, those after it less.

Each residual, attention and feed-forward block is compiled by itself, so that blocks of one kind share their code, and what torch has
made is kept on disk. A block inside which something listens (weights that are maps, words that are mixed, pictures that are looked at) runs
as it is, since compiled code does not hear hooks: so every picture is the same with and without, but for roundings.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

BLOCKS = (ResnetBlock2D, Attention, FeedForward)
CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


def compile_blocks(unet: nn.Module, cache: Path, backend: str | Callable[..., Any] = "inductor") -> None:
    """Have the blocks of `unet` compiled when they are first used. cache: folder of what is made. backend: who makes it, for torch."""
    os.environ.setdefault(CACHE_VARIABLE, str(cache))
    for module in unet.modules():
        if isinstance(module, BLOCKS):
            module.forward = _while_nothing_listens(module, module.forward, backend)  # type: ignore[method-assign]


def _while_nothing_listens(block: nn.Module, plain: Callable[..., Any], backend: str | Callable[..., Any]) -> Callable[..., Any]:
    compiled = torch.compile(plain, backend=backend, dynamic=False)

    def forward(*inputs: Any, **more: Any) -> Any:
        inner = (module for module in block.modules() if module is not block)
        listened = any(module._forward_hooks or module._forward_pre_hooks for module in inner)
        return (plain if listened else compiled)(*inputs, **more)

    return forward
