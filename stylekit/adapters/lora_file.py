"""LoRA files: read in the formats of diffusers, peft and kohya, checked; written in that of diffusers. Only safetensors, never pickle."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from diffusers.utils import convert_unet_state_dict_to_peft
from safetensors import SafetensorError, safe_open
from torch import nn

from stylekit.adapters import families
from stylekit.adapters.lora_settings import CONFIG_FILE, CONFIG_KEY, UNET_PREFIX, read_alphas
from stylekit.adapters.lora_settings import WEIGHTS_FILE as WEIGHTS_FILE  # there, since commands name it before torch is loaded
from stylekit.adapters.lora_weights import LoraWeights, adapter_key, lora_config, lora_layers
from stylekit.errors import EMPTY, AdapterError, first_line
from stylekit.storage.files import write_whole
from stylekit.storage.tensorfile import is_safetensors, write_tensors
from stylekit.storage.untrusted import Source, name_problem, read_text

log = logging.getLogger(__name__)
PEFT_PREFIX = "base_model.model."  # of the keys in files that peft wrote itself
TEXT_ENCODER = ("text_encoder.", "lora_te_", "lora_te1_")  # te1 is Stable Diffusion XL's, but diffusers' exporter writes it for 1.x too
BARE = re.compile(r"(down_blocks|mid_block|up_blocks|conv_in|conv_out|time_embedding)\.")  # keys of a UNet that do not say so
MAX_BYTES = 2**30


def read_lora(path: str | Path, name: str | None = None, modules: Iterable[str] | None = None) -> LoraWeights:
    """Read and check a LoRA in diffusers', peft's or kohya's format; of the UNet alone (`stylekit.adapters.text_encoder` has the rest).

    modules: module paths of the base, to which kohya's names are resolved; by default Stable Diffusion 1.x's and the pocket base's.
    """
    path = Path(path)
    tensors, _, metadata = read_parts(path)
    return parse_lora(tensors, metadata, path.name, name or path.stem, modules)


def read_tensors(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The UNet's tensors in an adapter file, in the file's own format, and its metadata. What is for the text encoder is left out."""
    tensors, text, metadata = read_parts(path)
    if text:
        log.warning("%s: layers of the text encoder are left out (%d tensors).", Path(path).name, len(text))
    return tensors, metadata


def read_parts(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], dict[str, str]]:
    """The tensors of the UNet and of the text encoder in an adapter file, in the file's own format, and its metadata.

    Only safetensors is read, never pickle. Keys of peft's own and bare ones are as diffusers'.
    """
    path = Path(path)
    if not is_safetensors(path.name):
        raise AdapterError(f"The adapter {path.name} is not a .safetensors file: other formats can run code and are not read.")
    if name_problem(path) or not path.is_file():
        raise AdapterError(f"The adapter file {path.name[:80]} does not exist: check the style's card.")
    if path.stat().st_size > MAX_BYTES:
        raise AdapterError(f"The adapter {path.name} is over {MAX_BYTES >> 20} MB: that is no LoRA.")
    if not path.stat().st_size:
        raise AdapterError(EMPTY.format(name=f"The adapter {path.name}"))
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError, KeyError) as error:  # the last are of unknown kinds of numbers
        raise AdapterError(f"The adapter {path.name} cannot be read ({first_line(error)}): download or train it again.") from None
    tensors = _without_pefts_prefix(tensors, metadata, path)
    tensors = {UNET_PREFIX + key if BARE.match(key) else key: tensor for key, tensor in tensors.items()}
    text = {key: tensor for key, tensor in tensors.items() if key.startswith(TEXT_ENCODER)}
    kept = {key: tensor for key, tensor in tensors.items() if key not in text}
    wrong = next((key for key, tensor in kept.items() if not tensor.is_floating_point()), None)
    if wrong:
        raise AdapterError(
            f"The adapter {path.name} holds {wrong[:80]!r} in numbers of another kind than floating point: save it in float16."
        )
    return convert_unet_state_dict_to_peft(kept), text, metadata  # diffusers' example scripts still write its older names


def _without_pefts_prefix(tensors: dict[str, torch.Tensor], metadata: dict[str, str], path: Path) -> dict[str, torch.Tensor]:
    """`tensors` with diffusers' keys where peft wrote them itself. Its configuration lies beside the file, and comes into `metadata`."""
    if not any(key.startswith(PEFT_PREFIX) for key in tensors):
        return tensors
    config = path.with_name(CONFIG_FILE)
    if CONFIG_KEY not in metadata and config.is_file():
        source = Source(what=f"{CONFIG_FILE} beside the adapter {path.name}", remedy="download it again", kind=AdapterError)
        metadata[CONFIG_KEY] = read_text(config, source)
    renamed = {}
    for key, tensor in tensors.items():
        own = re.sub(r"\.default(\.weight)?$", r"\1", key.removeprefix(PEFT_PREFIX))
        renamed[own if own.startswith((UNET_PREFIX, *TEXT_ENCODER)) else UNET_PREFIX + own] = tensor
    return renamed


def parse_lora(
    tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str], label: str, name: str, modules: Iterable[str] | None = None
) -> LoraWeights:
    """What `read_tensors` gave, checked. label: the file, for messages. modules: see `read_lora`."""
    from stylekit.adapters import kohya

    families.refuse_other_families(tensors, metadata, label)
    alphas: dict[str, float] | None = None
    if kohya.is_kohya(tensors):
        tensors, alphas = kohya.from_kohya(tensors, label, modules, metadata)
    pairs: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        match = re.fullmatch(re.escape(UNET_PREFIX) + r"(.+)\.lora_([AB])\.weight", key)
        if match is None or tensor.ndim < 2:
            raise AdapterError(f"The adapter {label} holds {key[:80]!r}, which is no LoRA weight of a UNet in diffusers' naming.")
        pairs.setdefault(match[1], {})[match[2]] = tensor.float()
    halves = [module for module, pair in pairs.items() if len(pair) < 2]
    if halves:
        raise AdapterError(f"The adapter {label} lacks one half of {halves[0]}: download or train it again.")
    loras = {module: (pair["A"], pair["B"]) for module, pair in pairs.items()}
    if alphas is None:
        alphas = read_alphas({module: len(down) for module, (down, _) in loras.items()}, metadata, label)
    return LoraWeights(name=name, modules=loras, alphas=alphas, metadata=metadata)


def write_lora(unet: nn.Module, name: str, path: str | Path, metadata: Mapping[str, str] | None = None) -> Path:
    """Save adapter `name` of `unet` as fp16 in diffusers' format with peft's configuration; written aside, then renamed."""
    tensors: dict[str, torch.Tensor] = {}
    ranks: dict[str, int] = {}
    alphas: dict[str, float] = {}
    key = adapter_key(name)
    for module, layer in lora_layers(unet).items():
        if key in layer.lora_A:
            tensors[f"{UNET_PREFIX}{module}.lora_A.weight"] = layer.lora_A[key].weight.detach().half().cpu().contiguous()
            tensors[f"{UNET_PREFIX}{module}.lora_B.weight"] = layer.lora_B[key].weight.detach().half().cpu().contiguous()
            ranks[module], alphas[module] = layer.r[key], layer.lora_alpha[key]
    if not tensors:
        raise AdapterError(f"The model holds no adapter {name!r}: nothing to save.")
    config = lora_config(ranks, alphas).to_dict()
    plain = {f"{UNET_PREFIX}{k}": sorted(v) if isinstance(v, set) else v for k, v in config.items()}
    kept = {k: v for k, v in plain.items() if isinstance(v, (int, float, str, bool, list, dict, type(None)))}
    facts = {"format": "pt", CONFIG_KEY: json.dumps(kept, sort_keys=True), **(metadata or {})}
    return write_whole(path, lambda part: write_tensors(tensors, part, facts))
