"""Adapters that are more than a pair of small matrices a layer: LoHa, LoKr, LoCon by Tucker's decomposition, and DoRA over any of them.

LoHa (Hyeon-Woo et al. 2022, https://arxiv.org/abs/2108.06098) is the product, place by place, of two products of small matrices; LoKr (Yeh
et al. 2024, https://arxiv.org/abs/2309.14859) a Kronecker product; DoRA (Liu et al. 2024, https://arxiv.org/abs/2402.09353) gives every row
of the changed weights, or in LyCORIS' older files every column, a length of its own. All are worked out once, in float32, as whole
differences to the weights of the base at hand, and go the way of `stylekit.adapters.deltas` from there: by numbers or maps, beside others,
out again without a trace. That costs as much memory as the layers that are changed. At weight 1 a style is what peft and LyCORIS make;
between 0 and 1 it is the share of that difference.

Files are peft's and diffusers' (``unet.<module>.hada_w1_a``, ``lora_magnitude_vector``) and LyCORIS' in kohya's naming
(``lora_unet_<layer>.lokr_w2``, ``dora_scale``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from stylekit.adapters import deltas, families, kohya, lora_file, lora_settings
from stylekit.adapters.deltas import Delta
from stylekit.adapters.lora_settings import UNET_PREFIX
from stylekit.adapters.lora_weights import MAX_CHANGE, MAX_RANK, LoraWeights
from stylekit.errors import AdapterError

MARKS = re.compile(r"\.(hada_|lokr_|lora_mid|dora_scale|lora_magnitude_vector)")  # of keys that plain LoRA has not
FACTORS = (
    *("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"),
    *("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"),
)
LORA_PARTS = {"lora_A": "down", "lora_B": "up", "lora_down": "down", "lora_up": "up", "lora_mid": "mid"}
LENGTHS = ("dora_scale", "lora_magnitude_vector")
KEY = re.compile(
    rf"(.+?)\.({'|'.join([*FACTORS, *LORA_PARTS, *LENGTHS])}|alpha)(?:\.default)?(?:\.weight)?",
)
WAYS: tuple[tuple[str, ...], ...] = (
    ("down", "up"),
    ("down", "up", "mid"),
    ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"),
    ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"),
    *((*one, *two) for one in (("lokr_w1",), ("lokr_w1_a", "lokr_w1_b")) for two in (("lokr_w2",), ("lokr_w2_a", "lokr_w2_b"))),
    *((*one, "lokr_w2_a", "lokr_w2_b", "lokr_t2") for one in (("lokr_w1",), ("lokr_w1_a", "lokr_w1_b"))),
)  # which factors a layer may have
LEAST_LENGTH = 1e-12

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class LayerChange:
    """Of one layer. factors: as in one of `WAYS`, float32. scale: on their product. lengths: of the changed weights' rows or columns."""

    factors: Tensors
    scale: float
    lengths: torch.Tensor | None = None
    of_rows: bool = True

    @property
    def rank(self) -> int:
        """The greatest of its factors' ranks; 0 where they are whole."""
        inner = [
            self.factors[name].shape[0] for name in ("down", "hada_w1_b", "hada_w2_b", "lokr_w1_b", "lokr_w2_b") if name in self.factors
        ]
        return max(inner, default=0)

    @property
    def size(self) -> tuple[int, int]:
        """(rows, numbers a row) of the difference, without working it out."""
        f = self.factors
        if "down" in f:
            kernel = f["mid"][0, 0].numel() if "mid" in f else 1
            return f["up"].shape[0], f["down"][0].numel() * kernel
        if "hada_w1_a" in f:
            if "hada_t1" in f:
                return f["hada_w1_a"].shape[1], f["hada_w1_b"].shape[1] * f["hada_t1"][0, 0].numel()
            return f["hada_w1_a"].shape[0], f["hada_w1_b"].shape[1]
        rows, across = (f["lokr_w1"] if "lokr_w1" in f else f["lokr_w1_a"][:, :1] @ f["lokr_w1_b"][:1]).shape
        if "lokr_w2" in f:
            return rows * f["lokr_w2"].shape[0], across * f["lokr_w2"][0].numel()
        if "lokr_t2" in f:
            return rows * f["lokr_w2_a"].shape[1], across * f["lokr_w2_b"].shape[1] * f["lokr_t2"][0, 0].numel()
        return rows * f["lokr_w2_a"].shape[0], across * f["lokr_w2_b"][0].numel()

    def difference(self, weight: torch.Tensor) -> torch.Tensor:
        """What is added to `weight` of the base, float32 and in its shape."""
        own = weight.detach().float()
        change = self.scale * _product(self.factors).to(own.device).reshape(own.shape)
        if self.lengths is None:
            return change
        changed = own + change
        kept = 0 if self.of_rows else 1
        others = [i for i in range(own.ndim) if i != kept]
        norms = torch.linalg.vector_norm(changed, dim=others, keepdim=True).clamp_min(LEAST_LENGTH)
        return changed * (self.lengths.to(own.device).reshape(norms.shape) / norms) - own


@dataclass(frozen=True, kw_only=True)
class Change:
    """Module path -> its change, of a file that was read and checked."""

    name: str
    modules: Mapping[str, LayerChange]
    metadata: Mapping[str, str]

    def __post_init__(self) -> None:
        for module, layer in self.modules.items():
            for tensor in (*layer.factors.values(), *([] if layer.lengths is None else [layer.lengths])):
                if not torch.isfinite(tensor).all():
                    raise AdapterError(f"The adapter {self.name} holds NaN or infinite numbers at {module}: train or download it again.")
            if layer.rank > MAX_RANK:
                raise AdapterError(f"The adapter {self.name} has rank {layer.rank} at {module}: ranks must be from 1 to {MAX_RANK}.")
            if not abs(layer.scale) <= MAX_CHANGE:
                raise AdapterError(f"The adapter {self.name} has the scale {layer.scale:g} at {module}: train or download it again.")


def read(path: str | Path, name: str | None = None) -> LoraWeights | Change:
    """The adapter of a UNet in a file, plain LoRA or one of the methods here. AdapterError, which names the method, for any other."""
    path = Path(path)
    tensors, _, metadata = lora_file.read_parts(path)
    if any(MARKS.search(key) for key in tensors):
        return parse(tensors, metadata, path.name, name or path.stem)
    return lora_file.parse_lora(tensors, metadata, path.name, name or path.stem)


def parse(tensors: Tensors, metadata: Mapping[str, str], label: str, name: str) -> Change:
    """What `lora_file.read_parts` gave of the UNet, checked. label: the file, for messages."""
    families.refuse_other_families(tensors, metadata, label)
    known = {module.replace(".", "_"): module for module in families.known_modules()}
    found: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        match = KEY.fullmatch(key)
        if match is None:
            raise kohya.not_read(key, label)
        layer, part = match.groups()
        module = known.get(layer.removeprefix(kohya.UNET)) if layer.startswith(kohya.UNET) else layer.removeprefix(UNET_PREFIX)
        if module is None:
            raise kohya.unknown_layer(tensors, label, layer.removeprefix(kohya.UNET), None)
        found.setdefault(module, {})[LORA_PARTS.get(part, part)] = tensor.float()
    return Change(name=name, modules=layers_of(found, metadata, label, UNET_PREFIX), metadata=metadata)


def layers_of(found: Mapping[str, Tensors], metadata: Mapping[str, str], label: str, prefix: str) -> dict[str, LayerChange]:
    """Module -> its change. found: module -> its parts as `KEY` has them. prefix: of what `metadata` says of this network."""
    scales = _scales(found, metadata, label, prefix)
    return {module: _layer(module, parts, scales[module], label) for module, parts in found.items()}


def check_fits(change: Change, unet: nn.Module, base: str = "this base") -> None:
    """AdapterError unless every layer of `change` is one of `unet`'s, of the same size. `unet` may be on the meta device."""
    own = deltas.parameters(unet)
    unknown = [module for module in change.modules if f"{module}.weight" not in own]
    if unknown:
        count = len(change.modules)
        part = f"only {count - len(unknown)}" if len(unknown) < count else "none"
        raise AdapterError(
            f"Of the {count} layers of the adapter {change.name} {part} match {base}, which lacks {unknown[0][:80]}: "
            "it was made for another base."
        )
    for module, layer in change.modules.items():
        weight = own[f"{module}.weight"]
        size = (weight.shape[0], weight[0].numel())
        length = size[0] if layer.of_rows else weight.shape[1]
        if layer.size != size or (layer.lengths is not None and layer.lengths.numel() != length):
            raise AdapterError(
                f"The adapter {change.name} does not fit {base} at {module} ({layer.size} on {tuple(weight.shape)}): "
                "it was made for another base."
            )


def family_of(change: Change) -> str:
    """Name of the known base that `change` fits; AdapterError, which names the nearest one, if it fits none."""
    unets = families.known_unets()
    name = max(unets, key=lambda name: sum(f"{module}.weight" in deltas.parameters(unets[name]) for module in change.modules))
    check_fits(change, unets[name], name)
    return name


def inject(unet: nn.Module, change: Change) -> None:
    """Have `change` ready in `unet`, which stays as it is. AdapterError, and nothing is changed, if it does not fit."""
    check_fits(change, unet)
    own = deltas.parameters(unet)
    tensors = {}
    with torch.no_grad():
        for module, layer in change.modules.items():
            weight = own[f"{module}.weight"]
            difference = layer.difference(weight)
            if not float(difference.abs().max()) <= MAX_CHANGE:
                raise AdapterError(f"The adapter {change.name} has absurdly great numbers at {module}: train or download it again.")
            tensors[f"{module}.weight"] = difference.to(weight.dtype)
    deltas.resident(unet)[change.name] = Delta(
        name=change.name, tensors=tensors, instance=None, base="", base_digest="", metadata=change.metadata
    )


def _layer(module: str, parts: Tensors, scale: float, label: str) -> LayerChange:
    factors = {name: tensor for name, tensor in parts.items() if name != "alpha" and name not in LENGTHS}
    lengths = next((parts[name] for name in LENGTHS if name in parts), None)
    if not any(set(way) == set(factors) for way in WAYS) or any(tensor.ndim < 2 for tensor in factors.values()):
        raise AdapterError(f"The adapter {label} lacks a part of {module}: download or train it again.")
    # LyCORIS' may be of rows (out, 1 ...) or of columns (1, in ...); peft's are of rows, (out) or (1, out, 1, 1)
    of_rows = lengths is None or "lora_magnitude_vector" in parts or lengths.ndim < 2 or lengths.shape[0] == lengths.numel()
    layer = LayerChange(factors=factors, scale=scale, lengths=lengths, of_rows=of_rows)
    try:
        with torch.device("meta"):
            shape = _product({name: torch.empty(tensor.shape) for name, tensor in factors.items()}).shape
        right = (shape[0], shape[1:].numel()) == layer.size
    except (RuntimeError, IndexError):
        right = False
    if not right:
        raise AdapterError(f"The adapter {label} has parts of {module} that do not fit each other: download or train it again.")
    return layer


def _product(f: Tensors) -> torch.Tensor:
    """(rows, ...) of which the factors are."""
    if "mid" in f:
        return _tucker(f["mid"], f["up"].flatten(1).T, f["down"].flatten(1))
    if "down" in f:
        return f["up"].flatten(1) @ f["down"].flatten(1)
    if "hada_t1" in f:
        return _tucker(f["hada_t1"], f["hada_w1_a"], f["hada_w1_b"]) * _tucker(f["hada_t2"], f["hada_w2_a"], f["hada_w2_b"])
    if "hada_w1_a" in f:
        return (f["hada_w1_a"] @ f["hada_w1_b"]) * (f["hada_w2_a"] @ f["hada_w2_b"])
    one = f["lokr_w1"] if "lokr_w1" in f else f["lokr_w1_a"] @ f["lokr_w1_b"]
    if "lokr_t2" in f:
        two = _tucker(f["lokr_t2"], f["lokr_w2_a"], f["lokr_w2_b"])
    else:
        two = f["lokr_w2"] if "lokr_w2" in f else f["lokr_w2_a"] @ f["lokr_w2_b"]
    return torch.kron(one[(...,) + (None,) * (two.ndim - 2)], two.contiguous())


def _tucker(core: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Tucker's decomposition: core (r, s, ...), rows (r, out), columns (s, in) -> (out, in, ...)."""
    return torch.einsum("rs...,rp,sq->pq...", core, rows, columns)


def _scales(found: Mapping[str, Tensors], metadata: Mapping[str, str], label: str, prefix: str) -> dict[str, float]:
    """Module -> factor on its product: alpha through rank, as the file or peft's configuration has it."""
    ranks = {module: _rank(parts) for module, parts in found.items()}
    own = {module: parts["alpha"] for module, parts in found.items() if "alpha" in parts}
    if not own and lora_settings.speaks_of(metadata, prefix, label):
        return lora_settings.peft_scales(ranks, metadata, label, prefix)
    header = None if own else lora_settings.header_alpha(metadata, label)
    scales = {}
    for module, rank in ranks.items():
        alpha = kohya.read_alpha(own[module], f"{module}.alpha", label) if module in own else header
        scales[module] = alpha / rank if alpha and rank else 1.0  # whole factors have no rank, and no scale but their own
    return scales


def _rank(parts: Tensors) -> int:
    for name in ("down", "hada_w1_b", "lokr_w2_b", "lokr_w1_b"):
        if name in parts and parts[name].ndim:
            return int(parts[name].shape[0])
    return 0
