"""kohya's LoRA format, which kohya-ss/sd-scripts writes and AUTOMATIC1111, ComfyUI and most download sites use.

Keys are ``lora_unet_<layer>.lora_down.weight``, ``.lora_up.weight`` and ``.alpha``; the layer is diffusers' module path with underscores
for dots. Module names have underscores of their own, so a layer is looked up among the base's modules, never taken apart. What is added
to the layer is ``alpha / rank * up(down(x))``. Where alpha is missing or 0 it is that layer's rank (scale 1), as in kohya's own loader.
Convolutions ("LoCon") have the layer's kernel in ``down`` and 1x1 in ``up``, as peft has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import nn

from stylekit.adapters import lora_weights
from stylekit.adapters.families import TEXT_XL, known_modules, known_unets
from stylekit.adapters.lora_settings import UNET_PREFIX, check_alpha, convolution_alpha, header_alpha
from stylekit.errors import AdapterError

UNET = "lora_unet_"
PARTS = {"lora_down": "lora_A", "lora_up": "lora_B"}
METHODS = {
    ".hada_": "LoHa",
    ".lokr_": "LoKr",
    ".dora_scale": "DoRA",
    ".oft_": "OFT",
    ".on_input": "(IA)^3",
    ".lora_mid": "LoCon by CP decomposition",
    ".diff": "whole weights",
}  # other than LoRA, by a part of their keys; the first three are read by `stylekit.adapters.changes`
Tensors = Mapping[str, torch.Tensor]


def is_kohya(keys: Iterable[str]) -> bool:
    """Whether `keys` are those of a UNet in kohya's format."""
    return any(key.startswith((UNET, TEXT_XL)) for key in keys)


def from_kohya(
    tensors: Tensors, label: str, modules: Iterable[str] | None = None, metadata: Mapping[str, str] | None = None
) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """The UNet's tensors of a kohya file under diffusers' keys, and alpha per module.

    modules: the base's module paths; by default those of Stable Diffusion 1.x and of the pocket base. metadata: the file's; alpha is taken
    from there if no layer has its own. Raises AdapterError for other methods (LoHa, LoKr, DoRA) and layers that are not among `modules`.
    """
    modules = None if modules is None else list(modules)
    layers = {module.replace(".", "_"): module for module in (known_modules() if modules is None else modules)}
    renamed: dict[str, torch.Tensor] = {}
    ranks: dict[str, int] = {}
    alphas: dict[str, float] = {}
    for key, tensor in tensors.items():
        match = re.fullmatch(UNET + r"(\w+)\.(?:(lora_down|lora_up)\.weight|alpha)", key)
        if match is None or (match[2] and tensor.ndim < 2):
            raise not_read(key, label)
        layer, part = match.groups()
        if layer not in layers:
            raise unknown_layer(tensors, label, layer, modules)
        module = layers[layer]
        if part is None:
            alphas[module] = read_alpha(tensor, key, label)
        else:
            renamed[f"{UNET_PREFIX}{module}.{PARTS[part]}.weight"] = tensor
            if part == "lora_down":
                ranks[module] = len(tensor)
    if not alphas and metadata:
        narrow, wide = header_alpha(metadata, label), convolution_alpha(metadata, label)
        downs = {module: renamed[f"{UNET_PREFIX}{module}.lora_A.weight"] for module in ranks}
        said = {module: wide if down.ndim == 4 and down.shape[2:] != (1, 1) else narrow for module, down in downs.items()}
        alphas = {module: alpha for module, alpha in said.items() if alpha is not None}
    return renamed, {module: alphas.get(module) or float(rank) for module, rank in ranks.items()}


def not_read(key: str, label: str) -> AdapterError:
    """What to say of a file with a `key` that is none of LoRA's, by the name of its method where that is known."""
    method = next((f" ({name})" for mark, name in METHODS.items() if mark in key), "")
    return AdapterError(f"The adapter {label} holds {key[:120]!r}{method}: of kohya's formats only plain LoRA and LoCon can be used here.")


def unknown_layer(tensors: Tensors, label: str, layer: str, modules: Iterable[str] | None) -> AdapterError:
    """What to say of a file with a `layer` that is none of `modules`, by default of the known base that has the most of its layers."""
    there = {key.partition(".")[0].removeprefix(UNET) for key in tensors}
    if modules is not None:
        base, named, own = "", "this base", {"": {module.replace(".", "_") for module in modules}}
    else:
        weights = {name: layer_weights(unet) for name, unet in known_unets().items()}
        downs = {key.partition(".")[0].removeprefix(UNET): tensor for key, tensor in tensors.items() if key.endswith(".lora_down.weight")}

        def nearness(name: str) -> tuple[int, int]:
            shared = [layer for layer in downs if layer in weights[name]]
            sizes = [(lora_weights.as_kernel(downs[layer], weights[name][layer].ndim), weights[name][layer]) for layer in shared]
            return sum(down.shape[1:] == weight.shape[1:] for down, weight in sizes), len(shared)

        base, own = max(weights, key=nearness), {name: set(layers) for name, layers in weights.items()}
        named = f"{base}, the nearest base"
    part = f"only {len(there & own[base])}" if there & own[base] else "none"
    return AdapterError(
        f"Of the {len(there)} layers of the adapter {label} {part} match {named}: it has a layer {layer[:80]} that this base lacks, "
        "so it was made for another base."
    )


def to_kohya(tensors: Tensors, alphas: Mapping[str, float]) -> dict[str, torch.Tensor]:
    """Tensors under diffusers' keys, with alpha per module, as the tensors of a kohya file."""
    parts = {theirs: ours for ours, theirs in PARTS.items()}
    renamed: dict[str, torch.Tensor] = {}
    for key, tensor in tensors.items():
        module, part, _ = key.removeprefix(UNET_PREFIX).rsplit(".", 2)
        renamed[f"{UNET}{module.replace('.', '_')}.{parts[part]}.weight"] = tensor
    return renamed | {f"{UNET}{module.replace('.', '_')}.alpha": torch.tensor(float(alpha)) for module, alpha in alphas.items()}


def layer_weights(unet: nn.Module) -> dict[str, torch.Tensor]:
    """The layers' weights by kohya's names, without their beginning."""
    return {name.replace(".", "_"): module.weight for name, module in unet.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))}


def read_alpha(tensor: torch.Tensor, key: str, label: str) -> float:
    if tensor.numel() != 1:
        raise AdapterError(f"The adapter {label} has {key} that is not one finite number: download or train it again.")
    return check_alpha(float(tensor.item()), key, label)
