"""Adapters: read and check LoRA files, put them into a UNet and take them out again without a trace.

LoRA (Hu et al. 2022, https://arxiv.org/abs/2106.09685) adds ``alpha / rank * B(A(x))`` to a layer's output. Files are diffusers'
`pytorch_lora_weights.safetensors`: keys ``unet.<module>.lora_A.weight`` and ``unet.<module>.lora_B.weight``, with peft's configuration
in the metadata. The layers themselves are peft's.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import torch
from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from stylekit.errors import AdapterError

WEIGHTS_FILE = "pytorch_lora_weights.safetensors"
PREFIX = "unet."
CONFIG_KEY = "lora_adapter_metadata"  # where diffusers looks for peft's configuration
MAX_RANK = 512
MAX_BYTES = 2**30


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

    @property
    def ranks(self) -> dict[str, int]:
        return {module: down.shape[0] for module, (down, _) in self.modules.items()}


def read_lora(path: str | Path, name: str | None = None) -> LoraWeights:
    """Read and check a LoRA in diffusers' format. Only safetensors is read, never pickle."""
    path = Path(path)
    label = name or path.stem
    if path.suffix != ".safetensors":
        raise AdapterError(f"The adapter {path.name} is not a .safetensors file: other formats can run code and are not read.")
    if not path.is_file():
        raise AdapterError(f"The adapter file {path.name} does not exist: check the style's card.")
    if path.stat().st_size > MAX_BYTES:
        raise AdapterError(f"The adapter {path.name} is over {MAX_BYTES >> 20} MB: that is no LoRA.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise AdapterError(f"The adapter {path.name} cannot be read ({error}): download or train it again.") from None
    pairs: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        match = re.fullmatch(re.escape(PREFIX) + r"(.+)\.lora_([AB])\.weight", key)
        if match is None:
            raise AdapterError(f"The adapter {path.name} holds {key!r}, which is no LoRA weight of a UNet in diffusers' naming.")
        pairs.setdefault(match[1], {})[match[2]] = tensor.float()
    halves = [module for module, pair in pairs.items() if len(pair) < 2]
    if halves:
        raise AdapterError(f"The adapter {path.name} lacks one half of {halves[0]}: download or train it again.")
    modules = {module: (pair["A"], pair["B"]) for module, pair in pairs.items()}
    return LoraWeights(name=label, modules=modules, alphas=_alphas(modules, metadata, path.name), metadata=metadata)


def _alphas(modules: Mapping[str, tuple[torch.Tensor, torch.Tensor]], metadata: Mapping[str, str], label: str) -> dict[str, float]:
    """Alpha per module: peft's configuration where the file has one, else alpha = rank, as diffusers has it."""
    if CONFIG_KEY not in metadata:
        return {module: float(down.shape[0]) for module, (down, _) in modules.items()}
    try:
        config: dict[str, Any] = {k.removeprefix(PREFIX): v for k, v in json.loads(metadata[CONFIG_KEY]).items()}
        default, pattern = float(config["lora_alpha"]), dict(config.get("alpha_pattern") or {})
        return {module: float(pattern.get(module, default)) for module in modules}
    except (ValueError, KeyError, TypeError):
        raise AdapterError(f"The adapter {label} has metadata that cannot be read: save it again with diffusers or stylekit.") from None


def write_lora(unet: nn.Module, name: str, path: str | Path, metadata: Mapping[str, str] | None = None) -> Path:
    """Save adapter `name` of `unet` as fp16 in diffusers' format with peft's configuration; written aside, then renamed."""
    path = Path(path)
    tensors: dict[str, torch.Tensor] = {}
    ranks: dict[str, int] = {}
    alphas: dict[str, float] = {}
    key = adapter_key(name)
    for module, layer in lora_layers(unet).items():
        if key in layer.lora_A:
            tensors[f"{PREFIX}{module}.lora_A.weight"] = layer.lora_A[key].weight.detach().half().cpu().contiguous()
            tensors[f"{PREFIX}{module}.lora_B.weight"] = layer.lora_B[key].weight.detach().half().cpu().contiguous()
            ranks[module], alphas[module] = layer.r[key], layer.lora_alpha[key]
    if not tensors:
        raise AdapterError(f"The model holds no adapter {name!r}: nothing to save.")
    config = lora_config(ranks, alphas).to_dict()
    plain = {f"{PREFIX}{k}": sorted(v) if isinstance(v, set) else v for k, v in config.items()}
    kept = {k: v for k, v in plain.items() if isinstance(v, (int, float, str, bool, list, dict, type(None)))}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    save_file(tensors, part, metadata={"format": "pt", CONFIG_KEY: json.dumps(kept, sort_keys=True), **(metadata or {})})
    os.replace(part, path)
    return path


def adapter_key(name: str) -> str:
    """What peft knows adapter `name` by. Its module dictionaries take no dots, nor names that a module has already, such as half."""
    return "style-" + quote(name, safe="").replace(".", "%2E")


def lora_config(ranks: Mapping[str, int], alphas: Mapping[str, float]) -> LoraConfig:
    """peft's configuration for exactly these modules, with their own ranks and alphas."""
    values = list(ranks.values())
    rank = max(set(values), key=values.count)
    alpha = next(alphas[m] for m in ranks if ranks[m] == rank)
    return LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]
        target_modules=sorted(ranks),
        rank_pattern={m: r for m, r in ranks.items() if r != rank},
        alpha_pattern={m: a for m, a in alphas.items() if a != alpha},
    )


def lora_layers(unet: nn.Module) -> dict[str, LoraLayer]:
    """Module path -> LoRA layer, for every layer peft has wrapped."""
    return {name: module for name, module in unet.named_modules() if isinstance(module, LoraLayer)}


def inject(unet: nn.Module, lora: LoraWeights) -> None:
    """Put `lora` into `unet` under its name, inactive. Raises AdapterError, and changes nothing, if it does not fit."""
    wrapped = lora_layers(unet)
    for module, (down, up) in lora.modules.items():
        try:
            layer = wrapped[module].get_base_layer() if module in wrapped else unet.get_submodule(module)
        except AttributeError:
            raise AdapterError(
                f"The adapter {lora.name} has a layer {module} that this base lacks: it was made for another base."
            ) from None
        weight = getattr(layer, "weight", None)
        if weight is None or down.shape[1:] != weight.shape[1:] or up.shape[0] != weight.shape[0]:
            raise AdapterError(
                f"The adapter {lora.name} does not fit this base at {module} "
                f"({tuple(up.shape)} x {tuple(down.shape)} on {tuple(getattr(weight, 'shape', ()))}): it was made for another base."
            )
    before, key = active_scales(unet), adapter_key(lora.name)
    with warnings.catch_warnings():  # several adapters in one model are what this module is for
        warnings.filterwarnings("ignore", message="Already found a `peft_config`")
        inject_adapter_in_model(lora_config(lora.ranks, lora.alphas), unet, adapter_name=key)
    state: dict[str, torch.Tensor] = {}
    for module, (down, up) in lora.modules.items():
        state[f"{module}.lora_A.weight"], state[f"{module}.lora_B.weight"] = down, up
    result = set_peft_model_state_dict(unet, state, adapter_name=key)
    if getattr(result, "unexpected_keys", None):
        eject(unet, lora.name)
        raise AdapterError(f"The adapter {lora.name} could not be loaded whole: it was made for another base.")
    weight = next(p for n, p in unet.named_parameters() if "lora_" not in n)
    for layer in lora_layers(unet).values():
        for part in (layer.lora_A, layer.lora_B):
            if key in part:
                part[key].to(weight.device, weight.dtype).requires_grad_(False)
    _activate(unet, before)


def eject(unet: nn.Module, name: str) -> None:
    """Take adapter `name` out; where it was the last one, the layer is the base's own again."""
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
    return tuple(unquote(key.removeprefix("style-")) for key in keys)


def active_scales(unet: nn.Module) -> dict[str, float]:
    """Adapters now active in the unfused layers, by peft's key, with their weights."""
    scales: dict[str, float] = {}
    for layer in lora_layers(unet).values():
        for key in layer.active_adapters:
            if key in layer.lora_A:
                scales[key] = layer.scaling[key] * layer.r[key] / layer.lora_alpha[key]
    return scales


@contextmanager
def applied(unet: nn.Module, weights: Mapping[str, float]) -> Iterator[None]:
    """Within the block `unet` is the base plus ``weight * adapter`` for each name; afterwards its weights are bit for bit as before.

    The products are added into the layers' own weights (a fused pass costs no more than the base's), whose originals are kept aside and
    put back. A weight of 0 adds nothing, so it equals the base exactly.
    """
    missing = [name for name in weights if name not in resident(unet)]
    if missing:
        raise AdapterError(f"The adapter {missing[0]} is not loaded: inject it first.")
    # in one order whatever the caller's, so that the same mix is the same sum to the last bit
    wanted = {adapter_key(name): weights[name] for name in sorted(weights) if weights[name] != 0}
    originals: list[tuple[torch.Tensor, torch.Tensor]] = []
    _activate(unet, {})
    try:
        with torch.no_grad():
            for layer in lora_layers(unet).values():
                keys = [key for key in wanted if key in layer.lora_A]
                if not keys:
                    continue
                weight = layer.get_base_layer().weight
                originals.append((weight, weight.detach().clone()))
                for key in keys:
                    weight.add_(layer.get_delta_weight(key).to(weight), alpha=wanted[key])
        yield
    finally:
        with torch.no_grad():
            for weight, original in originals:
                weight.copy_(original)


def _activate(unet: nn.Module, scales: Mapping[str, float]) -> None:
    """Make exactly these adapters, by peft's key, active in the unfused layers."""
    for layer in lora_layers(unet).values():
        keys = [key for key in scales if key in layer.lora_A]
        layer.set_adapter(keys)
        layer.requires_grad_(False)
        for key in keys:
            layer.set_scale(key, scales[key])
