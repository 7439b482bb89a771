"""A LoRA as numbers: its pairs of matrices and alphas, checked, and whether they fit a UNet; and what peft is to know of it."""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

import torch
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from torch import nn

from stylekit.errors import AdapterError

MAX_RANK = 512
MAX_FACTOR = 1000.0  # of alpha to rank, or to its root; trainers use up to a few dozens
MAX_CHANGE = 65504.0  # that a product could come to, which is float16's greatest number; real ones stay below 100


@dataclass(frozen=True, kw_only=True)
class LoraWeights:
    """A LoRA read from a file: module path -> (A, B), module path -> alpha, and the file's own metadata."""

    name: str
    modules: Mapping[str, tuple[torch.Tensor, torch.Tensor]]
    alphas: Mapping[str, float]
    metadata: Mapping[str, str]

    def __post_init__(self) -> None:
        if not self.modules:
            raise AdapterError(f"The adapter {self.name} holds no LoRA layers: use a LoRA for a Stable Diffusion 1.x UNet.")
        for module, (down, up) in self.modules.items():
            rank = down.shape[0]
            if not 1 <= rank <= MAX_RANK or up.shape[1] != rank:
                raise AdapterError(f"The adapter {self.name} has rank {rank} at {module}: ranks must be from 1 to {MAX_RANK} and agree.")
            if not (torch.isfinite(down).all() and torch.isfinite(up).all()):
                raise AdapterError(f"The adapter {self.name} holds NaN or infinite numbers at {module}: train or download it again.")
            alpha = self.alphas.get(module, math.nan)
            if not abs(alpha) <= MAX_FACTOR * rank:
                raise AdapterError(
                    f"The adapter {self.name} has alpha {alpha:g} for rank {rank} at {module}: no more than {MAX_FACTOR:g} times the rank "
                    "can be used; train or download it again."
                )
            if float(down.abs().max()) * float(up.abs().max()) * abs(alpha) > MAX_CHANGE:
                raise AdapterError(f"The adapter {self.name} has absurdly great numbers at {module}: train or download it again.")
        if not any(self.alphas[module] for module in self.modules):
            raise AdapterError(f"The adapter {self.name} has alpha 0 at every layer, so it would do nothing: train or download it again.")

    @property
    def ranks(self) -> dict[str, int]:
        return {module: down.shape[0] for module, (down, _) in self.modules.items()}


def adapter_key(name: str) -> str:
    """What peft knows adapter `name` by. Its module dictionaries take no dots, nor names that a module has already, such as half."""
    return "style-" + quote(name, safe="").replace(".", "%2E")


def lora_config(ranks: Mapping[str, int], alphas: Mapping[str, float]) -> LoraConfig:
    """peft's configuration for exactly these modules, with their own ranks and alphas."""
    values = list(ranks.values())
    rank = max(set(values), key=values.count)
    alpha = next(alphas[m] for m in ranks if ranks[m] == rank)
    pattern = _exact(ranks)
    return LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]
        target_modules=sorted(ranks),
        rank_pattern={pattern[m]: r for m, r in ranks.items() if r != rank},
        alpha_pattern={pattern[m]: a for m, a in alphas.items() if a != alpha},
    )


def _exact(modules: Iterable[str]) -> dict[str, str]:
    """Module -> the expression that among `modules` matches it alone. peft matches the ends of paths, and a dot with any character."""
    plain = {module: re.sub(r"\W", "_", module) for module in modules}
    counts = Counter(plain.values())
    for module in plain:
        parts = module.split(".")
        counts.update({re.sub(r"\W", "_", ".".join(parts[i:])) for i in range(1, len(parts))})
    return {module: module if counts[name] == 1 else f"^{re.escape(module)}" for module, name in plain.items()}


def lora_layers(unet: nn.Module) -> dict[str, LoraLayer]:
    """Module path -> LoRA layer, for every layer peft has wrapped."""
    return {name: module for name, module in unet.named_modules() if isinstance(module, LoraLayer)}


def check_fits(lora: LoraWeights, unet: nn.Module, base: str = "this base") -> None:
    """AdapterError unless every layer of `lora` is one of `unet`'s, of the same shape. `unet` may be on the meta device."""
    fitted(lora, unet, base)


def fitted(lora: LoraWeights, unet: nn.Module, base: str = "this base") -> LoraWeights:
    """`lora` in the shapes of `unet`'s layers: some tools write 1x1 kernels for layers that have none, or leave them out.

    AdapterError unless every layer of `lora` is one of `unet`'s, of the same size. `unet` may be on the meta device.
    """
    layers = _layers(unet)
    unknown = [module for module in lora.modules if module not in layers]
    if unknown:
        part = f"only {len(lora.modules) - len(unknown)}" if len(unknown) < len(lora.modules) else "none"
        raise AdapterError(
            f"Of the {len(lora.modules)} layers of the adapter {lora.name} {part} match {base}, which lacks {unknown[0][:80]}: "
            "it was made for another base."
        )
    modules = {}
    for module, pair in lora.modules.items():
        weight = getattr(layers[module], "weight", None)
        shaped = None if weight is None else _shaped(pair, weight)
        if shaped is None:
            down, up = pair
            raise AdapterError(
                f"The adapter {lora.name} does not fit {base} at {module} "
                f"({tuple(up.shape)} x {tuple(down.shape)} on {tuple(getattr(weight, 'shape', ()))}): it was made for another base."
            )
        modules[module] = shaped
    return dataclasses.replace(lora, modules=modules)


def count_fitting(lora: LoraWeights, unet: nn.Module) -> tuple[int, int]:
    """How many layers of `lora` are `unet`'s in name and size, and how many in name."""
    layers = _layers(unet)
    named = [(pair, getattr(layers[module], "weight", None)) for module, pair in lora.modules.items() if module in layers]
    return sum(weight is not None and _shaped(pair, weight) is not None for pair, weight in named), len(named)


def as_kernel(tensor: torch.Tensor, dimensions: int) -> torch.Tensor:
    """`tensor` with so many dimensions, where that takes no more than 1x1 kernels added or left out; else as it is."""
    shape = [*tensor.shape, *[1] * (dimensions - tensor.ndim)]
    while len(shape) > max(dimensions, 2) and shape[-1] == 1:
        shape.pop()
    return tensor.reshape(shape)


def _layers(unet: nn.Module) -> dict[str, nn.Module]:
    layers: dict[str, nn.Module] = {name: layer.get_base_layer() for name, layer in lora_layers(unet).items()}
    return {name: module for name, module in unet.named_modules() if name not in layers} | layers


def _shaped(pair: tuple[torch.Tensor, torch.Tensor], weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
    """(A, B) in the shapes that `weight` asks for, None if they have another size."""
    down, up = (as_kernel(tensor, weight.ndim) for tensor in pair)
    right = down.shape[1:] == weight.shape[1:] and up.shape == (weight.shape[0], len(down), *[1] * (weight.ndim - 2))
    return (down, up) if right else None
