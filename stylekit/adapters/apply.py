"""Adapters: read and check LoRA files, put them into a UNet and take them out again without a trace.

LoRA (Hu et al. 2022, https://arxiv.org/abs/2106.09685) adds ``alpha / rank * B(A(x))`` to a layer's output. Files are diffusers'
`pytorch_lora_weights.safetensors`: keys ``unet.<module>.lora_A.weight`` and ``unet.<module>.lora_B.weight``, with peft's configuration
in the metadata. The layers themselves are peft's.

A weight may be a map over the picture. Where it is a number, the adapter is added into the layer's own weights (`_fused`); where it is a
map, ``B(map * A(x))`` is added to the layer's output, the map averaged down to that layer's resolution (`_painted`). The matrices of all
painted adapters are stacked, so that any number of styles costs one more product pair a layer, in one pass of the UNet.

DreamBooth's differences (`stylekit.adapters.deltas`), and what LoHa, LoKr and DoRA come to (`stylekit.adapters.changes`), are put in,
weighed and taken out by the same calls.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import torch
from peft import inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from torch import nn
from torch.utils.hooks import RemovableHandle

from stylekit.adapters import changes, deltas
from stylekit.adapters.changes import Change
from stylekit.adapters.deltas import Delta
from stylekit.adapters.lora_weights import LoraWeights, adapter_key, fitted, lora_config, lora_layers
from stylekit.adapters.weight_maps import PROMPT_LAYER, WeightMaps, add_by_map, hook_on, normalise_by_region
from stylekit.errors import AdapterError

ASIDE = "_stylekit_aside"


def read_adapter(path: str | Path, name: str | None = None) -> LoraWeights | Delta | Change:
    """The adapter in a file, whatever its kind."""
    return deltas.read_delta(path, name) if deltas.is_delta(path) else changes.read(path, name)


def inject(unet: nn.Module, adapter: LoraWeights | Delta | Change) -> None:
    """Put `adapter` into `unet` under its name, inactive. Raises AdapterError, and changes nothing, if it does not fit."""
    if isinstance(adapter, Change):
        changes.inject(unet, adapter)
        return
    if isinstance(adapter, Delta):
        deltas.inject(unet, adapter)
        return
    lora = fitted(adapter, unet)
    before, key = active_scales(unet), adapter_key(lora.name)
    with warnings.catch_warnings():  # several adapters in one model are what this module is for
        warnings.filterwarnings("ignore", message="Already found a `peft_config`")
        inject_adapter_in_model(lora_config(lora.ranks, lora.alphas), unet, adapter_name=key)
    weight = next(p for n, p in unet.named_parameters() if "lora_" not in n)
    for layer in lora_layers(unet).values():
        for part in (layer.lora_A, layer.lora_B):
            if key in part:  # in float32, whatever the base is in: a small product is worked out before it is rounded
                part[key].to(weight.device, torch.float32).requires_grad_(False)
    state: dict[str, torch.Tensor] = {}
    for module, (down, up) in lora.modules.items():
        state[f"{module}.lora_A.weight"], state[f"{module}.lora_B.weight"] = down, up
    result = set_peft_model_state_dict(unet, state, adapter_name=key)
    if getattr(result, "unexpected_keys", None):
        eject(unet, lora.name)
        raise AdapterError(f"The adapter {lora.name} could not be loaded whole: it was made for another base.")
    _activate(unet, before)


def eject(unet: nn.Module, name: str) -> None:
    """Take adapter `name` out; where it was the last one, the layer is the base's own again."""
    deltas.eject(unet, name)
    key = adapter_key(name)
    for path, layer in lora_layers(unet).items():
        if key in layer.lora_A:
            layer.delete_adapter(key)
        if not layer.lora_A:
            parent, _, child = path.rpartition(".")
            setattr(unet.get_submodule(parent), child, layer.get_base_layer())
    configs: dict[str, Any] | None = getattr(unet, "peft_config", None)  # type: ignore[assignment]
    if configs is not None:
        configs.pop(key, None)
        if not configs:
            del unet.peft_config


def resident(unet: nn.Module) -> tuple[str, ...]:
    """Names of the adapters inside `unet`."""
    keys: dict[str, None] = {}
    for layer in lora_layers(unet).values():
        keys.update(dict.fromkeys(layer.lora_A))
    return (*(unquote(key.removeprefix("style-")) for key in keys), *deltas.resident(unet))


def active_scales(unet: nn.Module) -> dict[str, float]:
    """Adapters now active in the unfused layers, by peft's key, with their weights."""
    scales: dict[str, float] = {}
    for layer in lora_layers(unet).values():
        for key in layer.active_adapters:
            if key in layer.lora_A:
                own = layer.lora_alpha[key] / layer.r[key]  # 0 where alpha is: such a layer tells nothing
                scales[key] = layer.scaling[key] / own if own else scales.get(key, 1.0)
    return scales


@contextmanager
def applied(unet: nn.Module, weights: Mapping[str, float | torch.Tensor]) -> Iterator[None]:
    """Within the block `unet` is the base plus ``weight * adapter`` for each name; afterwards it is bit for bit as before.

    A weight is a number, or a map (N, 1, H, W) over the N pictures of the batch that `unet` will see, H and W in the ratio of its latents.
    Layers that see no pixels (the prompt's keys and values, the timestep) take the map's mean, each pixel counted by the sum of all weights
    there, so that a style on a small part of the picture is not weakened by what is left alone. A weight of 0 adds nothing, so it equals
    the base exactly.
    """
    layers = list(lora_layers(unet).values())
    whole = {name: adapter_key(name) for name in deltas.resident(unet)}
    here = {key for layer in layers for key in layer.lora_A} | set(whole.values())
    missing = [name for name in weights if adapter_key(name) not in here]
    if missing:
        raise AdapterError(f"The adapter {missing[0]} is not loaded: inject it first.")
    # in one order whatever the caller's, so that the same mix is the same sum to the last bit
    numbers: dict[str, float] = {}
    maps: dict[str, torch.Tensor] = {}
    for name in sorted(weights):
        weight = weights[name]
        if isinstance(weight, torch.Tensor):
            if weight.any():
                maps[adapter_key(name)] = weight
        elif weight != 0:
            numbers[adapter_key(name)] = weight
    if any(key in layer.lora_A for layer in layers for key in layer.active_adapters):
        _activate(unet, {})
    with (
        _fused(layers, numbers),
        deltas.fused(unet, {name: numbers[key] for name, key in whole.items() if key in numbers}),
        _painted(unet, maps, {name: key for name, key in whole.items() if key in maps}),
    ):
        yield


@contextmanager
def _fused(layers: Iterable[LoraLayer], numbers: Mapping[str, float]) -> Iterator[None]:
    """The products are added into the layers' own weights, which costs a pass nothing; the originals are kept aside and put back."""
    originals: list[tuple[torch.Tensor, torch.Tensor]] = []
    try:
        with torch.no_grad():
            for layer in layers:
                keys = [key for key in numbers if key in layer.lora_A]
                if not keys:
                    continue
                weight = layer.get_base_layer().weight
                originals.append((weight, _kept_aside(layer, weight)))
                _add_products(
                    weight, [(layer.lora_A[key].weight, layer.lora_B[key].weight, numbers[key] * layer.scaling[key]) for key in keys]
                )
        yield
    finally:
        with torch.no_grad():
            for weight, original in originals:
                weight.copy_(original)


def _kept_aside(layer: LoraLayer, weight: torch.Tensor) -> torch.Tensor:
    """A copy of `weight`. On a CPU its memory stays with the layer: to ask the system for it anew takes longer than to copy."""
    if weight.device.type != "cpu" or weight.is_inference():
        return weight.detach().clone()
    kept: torch.Tensor | None = getattr(layer, ASIDE, None)
    if kept is None or kept.shape != weight.shape or kept.dtype != weight.dtype:
        with torch.inference_mode(False):  # else it could not be written to outside that mode
            kept = torch.empty_like(weight)
        object.__setattr__(layer, ASIDE, kept)  # not as a buffer of the module, which would be in its state
    return kept.copy_(weight)


def fuse_for_good(unet: nn.Module, adapter: LoraWeights) -> None:
    """Make `adapter` part of the base's own weights: it costs no memory, and cannot be taken out. AdapterError if it does not fit.

    DreamBooth styles go on being told by what the weights were.
    """
    lora = fitted(adapter, unet)
    deltas.remember_digest(unet)
    layers = lora_layers(unet)
    with torch.no_grad():
        for module, (down, up) in lora.modules.items():
            layer = layers[module].get_base_layer() if module in layers else unet.get_submodule(module)
            weight = layer.get_parameter("weight")
            _add_products(weight, [(down.to(weight.device), up.to(weight.device), lora.alphas[module] / len(down))])


def _add_products(weight: torch.Tensor, products: Iterable[tuple[torch.Tensor, torch.Tensor, float]]) -> None:
    """``weight += scale * up @ down`` in place for each (down, up, scale); `down` has the layer's kernel, `up` is 1x1.

    In float32, rounded once at the end: what is added to half-precision weights is often smaller than their steps.
    """
    whole = weight.float()  # itself, where it is float32
    rows = whole
    last = whole.ndim == 4 and whole.is_contiguous(memory_format=torch.channels_last)
    if last:
        rows = whole.permute(0, 2, 3, 1)
    for down, up, scale in products:
        flat = (down.permute(0, 2, 3, 1) if last else down).flatten(1)
        rows.view(len(whole), -1).addmm_(up.flatten(1).to(whole), flat.to(whole), alpha=scale)
    if whole is not weight:
        weight.copy_(whole)


@contextmanager
def _painted(unet: nn.Module, maps: Mapping[str, torch.Tensor], whole: Mapping[str, str]) -> Iterator[None]:
    """The products are added to the layers' outputs, pixel by pixel, by hooks that are taken off again. whole: delta -> its key."""
    handles: list[RemovableHandle] = []
    try:
        if maps:
            weight_maps = WeightMaps(keys=tuple(maps), maps=torch.cat(list(maps.values()), 1))
            for path, layer in lora_layers(unet).items():
                keys = [key for key in maps if key in layer.lora_A]
                if keys:
                    handles.append(hook_on(unet, layer, add_by_map(layer, keys, weight_maps, PROMPT_LAYER.search(path) is not None)))
            norms = [norm for norm in unet.modules() if isinstance(norm, nn.GroupNorm)]
            handles += [hook_on(unet, norm, normalise_by_region(norm, weight_maps)) for norm in norms]
            handles += deltas.painted(unet, whole, weight_maps)
        yield
    finally:
        for handle in handles:
            handle.remove()


def _activate(unet: nn.Module, scales: Mapping[str, float]) -> None:
    """Make exactly these adapters, by peft's key, active in the unfused layers."""
    for layer in lora_layers(unet).values():
        keys = [key for key in scales if key in layer.lora_A]
        layer.set_adapter(keys)
        layer.requires_grad_(False)
        for key in keys:
            layer.set_scale(key, scales[key])
