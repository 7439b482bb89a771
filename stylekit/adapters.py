"""Adapters: read and check LoRA files, put them into a UNet and take them out again without a trace.

LoRA (Hu et al. 2022, https://arxiv.org/abs/2106.09685) adds ``alpha / rank * B(A(x))`` to a layer's output. Files are diffusers'
`pytorch_lora_weights.safetensors`: keys ``unet.<module>.lora_A.weight`` and ``unet.<module>.lora_B.weight``, with peft's configuration
in the metadata. The layers themselves are peft's.

A weight may be a map over the picture. Where it is a number, the adapter is added into the layer's own weights (`_fused`); where it is a
map, ``B(map * A(x))`` is added to the layer's output, the map averaged down to that layer's resolution (`_painted`). The matrices of all
painted adapters are stacked, so that any number of styles costs one more product pair a layer, in one pass of the UNet.

DreamBooth's differences (`stylekit.deltas`) are put in, weighed and taken out by the same calls.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import torch
from diffusers.utils import convert_unet_state_dict_to_peft
from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from stylekit import deltas
from stylekit.deltas import Delta
from stylekit.errors import AdapterError

log = logging.getLogger(__name__)

WEIGHTS_FILE = "pytorch_lora_weights.safetensors"
PREFIX = "unet."
CONFIG_KEY = "lora_adapter_metadata"  # where diffusers looks for peft's configuration
TEXT_ENCODER = ("text_encoder.", "lora_te_", "lora_te1_")  # te1 is Stable Diffusion XL's, but diffusers' exporter writes it for 1.x too
MAX_RANK = 512
MAX_BYTES = 2**30
PROMPT_LAYER = re.compile(r"attn2\.to_[kv]$")  # sees the prompt's tokens, not pixels
ASIDE = "_stylekit_aside"
PRESENT = 0.25  # weight from which a pixel wholly belongs to its styles
PRIOR = 0.01  # part of the picture that every region's statistics are mixed with, which steadies those of a small one

Hook = Callable[[nn.Module, tuple[torch.Tensor, ...], torch.Tensor], torch.Tensor]


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


def read_lora(path: str | Path, name: str | None = None, modules: Iterable[str] | None = None) -> LoraWeights:
    """Read and check a LoRA in diffusers' or kohya's format. Layers of the text encoder are left out, and that is logged.

    modules: module paths of the base, to which kohya's names are resolved; by default Stable Diffusion 1.x's and the pocket base's.
    """
    path = Path(path)
    tensors, metadata = read_tensors(path)
    return parse_lora(tensors, metadata, path.name, name or path.stem, modules)


def read_tensors(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The UNet's tensors in an adapter file, in the file's own format, and its metadata. Only safetensors is read, never pickle."""
    path = Path(path)
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
    kept = {key: tensor for key, tensor in tensors.items() if not key.startswith(TEXT_ENCODER)}
    if len(kept) < len(tensors):
        left = len(tensors) - len(kept)
        log.warning("%s: layers of the text encoder are left out (%d tensors); stylekit adapts the UNet alone.", path.name, left)
    return convert_unet_state_dict_to_peft(kept), metadata  # diffusers' example scripts still write its older names


def parse_lora(
    tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str], label: str, name: str, modules: Iterable[str] | None = None
) -> LoraWeights:
    """What `read_tensors` gave, checked. label: the file, for messages. modules: see `read_lora`."""
    from stylekit import kohya  # which builds on this module

    kohya.refuse_other_families(tensors, metadata, label)
    alphas: dict[str, float] | None = None
    if kohya.is_kohya(tensors):
        tensors, alphas = kohya.from_kohya(tensors, label, modules)
    pairs: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        match = re.fullmatch(re.escape(PREFIX) + r"(.+)\.lora_([AB])\.weight", key)
        if match is None or tensor.ndim < 2:
            raise AdapterError(f"The adapter {label} holds {key!r}, which is no LoRA weight of a UNet in diffusers' naming.")
        pairs.setdefault(match[1], {})[match[2]] = tensor.float()
    halves = [module for module, pair in pairs.items() if len(pair) < 2]
    if halves:
        raise AdapterError(f"The adapter {label} lacks one half of {halves[0]}: download or train it again.")
    loras = {module: (pair["A"], pair["B"]) for module, pair in pairs.items()}
    if alphas is None:
        alphas = _alphas(loras, metadata, label)
    return LoraWeights(name=name, modules=loras, alphas=alphas, metadata=metadata)


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


def check_fits(lora: LoraWeights, unet: nn.Module, base: str = "this base") -> None:
    """AdapterError unless every layer of `lora` is one of `unet`'s, of the same shape. `unet` may be on the meta device."""
    layers = {name: layer.get_base_layer() for name, layer in lora_layers(unet).items()}
    layers = {name: module for name, module in unet.named_modules() if name not in layers} | layers
    unknown = [module for module in lora.modules if module not in layers]
    if unknown:
        part = f"only {len(lora.modules) - len(unknown)}" if len(unknown) < len(lora.modules) else "none"
        raise AdapterError(
            f"Of the {len(lora.modules)} layers of the adapter {lora.name} {part} match {base}, which lacks {unknown[0]}: "
            "it was made for another base."
        )
    for module, (down, up) in lora.modules.items():
        weight = getattr(layers[module], "weight", None)
        if weight is None or down.shape[1:] != weight.shape[1:] or up.shape[0] != weight.shape[0]:
            raise AdapterError(
                f"The adapter {lora.name} does not fit {base} at {module} "
                f"({tuple(up.shape)} x {tuple(down.shape)} on {tuple(getattr(weight, 'shape', ()))}): it was made for another base."
            )


def read_adapter(path: str | Path, name: str | None = None) -> LoraWeights | Delta:
    """The adapter in a file, whatever its kind."""
    return deltas.read_delta(path, name) if deltas.is_delta(path) else read_lora(path, name)


def inject(unet: nn.Module, adapter: LoraWeights | Delta) -> None:
    """Put `adapter` into `unet` under its name, inactive. Raises AdapterError, and changes nothing, if it does not fit."""
    if isinstance(adapter, Delta):
        deltas.inject(unet, adapter)
        return
    lora = adapter
    check_fits(lora, unet)
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
                scales[key] = layer.scaling[key] * layer.r[key] / layer.lora_alpha[key]
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
    originals: list[tuple[LoraLayer, torch.Tensor, torch.Tensor]] = []
    try:
        with torch.no_grad():
            for layer in layers:
                keys = [key for key in numbers if key in layer.lora_A]
                if not keys:
                    continue
                weight = layer.get_base_layer().weight
                originals.append((layer, weight, _kept_aside(layer, weight)))
                for key in keys:
                    _add_product(weight, layer.lora_A[key].weight, layer.lora_B[key].weight, numbers[key] * layer.scaling[key])
        yield
    finally:
        with torch.no_grad():
            for layer, weight, original in originals:
                weight.copy_(original)
                if hasattr(layer, ASIDE):
                    object.__setattr__(layer, ASIDE, (weight._version, original))


def _kept_aside(layer: LoraLayer, weight: torch.Tensor) -> torch.Tensor:
    """A copy of `weight`. On a CPU it stays with the layer, and is taken again as long as nobody else has written to the weight."""
    if weight.device.type != "cpu" or weight.is_inference():
        return weight.detach().clone()
    version, kept = getattr(layer, ASIDE, (-1, None))
    if kept is None or kept.shape != weight.shape or kept.dtype != weight.dtype:
        with torch.inference_mode(False):  # else it could not be written to outside that mode
            kept = torch.empty_like(weight)
    if version != weight._version:
        kept.copy_(weight)
    object.__setattr__(layer, ASIDE, (-1, kept))  # not as a buffer of the module, which would be in its state
    return kept


def _add_product(weight: torch.Tensor, down: torch.Tensor, up: torch.Tensor, scale: float) -> None:
    """``weight += scale * up @ down`` in place, one product; `down` has the layer's kernel, `up` is 1x1."""
    rows = weight
    if weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last):
        rows, down = weight.permute(0, 2, 3, 1), down.permute(0, 2, 3, 1)
    rows.view(len(weight), -1).addmm_(up.flatten(1).to(weight), down.flatten(1).to(weight), alpha=scale)


@contextmanager
def _painted(unet: nn.Module, maps: Mapping[str, torch.Tensor], whole: Mapping[str, str]) -> Iterator[None]:
    """The products are added to the layers' outputs, pixel by pixel, by hooks that are taken off again. whole: delta -> its key."""
    handles: list[RemovableHandle] = []
    try:
        if maps:
            field = Field(keys=tuple(maps), maps=torch.cat(list(maps.values()), 1))
            for path, layer in lora_layers(unet).items():
                keys = [key for key in maps if key in layer.lora_A]
                if keys:
                    handles.append(layer.register_forward_hook(_brush(layer, keys, field, PROMPT_LAYER.search(path) is not None)))
            handles += [norm.register_forward_hook(_regional(norm, field)) for norm in unet.modules() if isinstance(norm, nn.GroupNorm)]
            handles += deltas.painted(unet, whole, field, PROMPT_LAYER.search, _regional)
        yield
    finally:
        for handle in handles:
            handle.remove()


class Field:
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


def _brush(layer: LoraLayer, keys: Sequence[str], field: Field, sees_prompt: bool) -> Hook:
    base = layer.get_base_layer()
    ranks = {key: layer.r[key] for key in keys}
    down = torch.cat([layer.lora_A[key].weight for key in keys])
    up = torch.cat([layer.lora_B[key].weight * layer.scaling[key] for key in keys], 1)
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
            hidden = hidden * field.at(ranks, (h, w), hidden)
            return add(output.permute(0, 2, 3, 1).contiguous(), hidden.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

        return paint

    def paint_tokens(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        hidden = F.linear(inputs[0], down)
        size = None if sees_prompt or hidden.ndim < 3 else field.tokens(hidden.shape[1])
        scale = field.at(ranks, size, hidden).flatten(2).transpose(1, 2)  # (N, tokens, ranks)
        return add(output, hidden * (scale if hidden.ndim == 3 else scale[:, 0]))

    return paint_tokens


def _regional(norm: nn.GroupNorm, field: Field) -> Hook:
    """Group normalisation (Wu & He 2018, https://arxiv.org/abs/1803.08494) whose mean and variance are taken region by region.

    Over the whole picture they would mix the styles: white paper on the left would be darkened by a blue print on the right.
    """

    def normalise(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        n, c, h, w = inputs[0].shape
        with torch.autocast(output.device.type, enabled=False):  # differences of squares need float32
            x = inputs[0].permute(0, 2, 3, 1).reshape(n, h * w, norm.num_groups, -1).float()
            moments = torch.cat([x.mean(-1), (x * x).mean(-1)], -1)  # (N, pixels, 2 * groups)
            shares = field.shares((h, w))
            prior = PRIOR * h * w
            regional = shares.transpose(1, 2) @ moments + prior * moments.mean(1, keepdim=True)
            mean, square = (regional / (shares.sum(1)[..., None] + prior)).chunk(2, -1)  # (N, regions, groups)
            factor = ((square - mean.square()).clamp_min(0) + norm.eps).rsqrt()
            scale, shift = shares @ factor, shares @ (-mean * factor)  # (N, pixels, groups)
            x = x.mul(scale[..., None]).add_(shift[..., None]).reshape(n, h, w, c)
            return x.mul_(norm.weight).add_(norm.bias).permute(0, 3, 1, 2).to(output)

    return normalise


def _activate(unet: nn.Module, scales: Mapping[str, float]) -> None:
    """Make exactly these adapters, by peft's key, active in the unfused layers."""
    for layer in lora_layers(unet).values():
        keys = [key for key in scales if key in layer.lora_A]
        layer.set_adapter(keys)
        layer.requires_grad_(False)
        for key in keys:
            layer.set_scale(key, scales[key])
