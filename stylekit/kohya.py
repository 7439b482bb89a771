"""kohya's LoRA format, which kohya-ss/sd-scripts writes and AUTOMATIC1111, ComfyUI and most download sites use.

Keys are ``lora_unet_<layer>.lora_down.weight``, ``.lora_up.weight`` and ``.alpha``; the layer is diffusers' module path with underscores
for dots. Module names have underscores of their own, so a layer is looked up among the base's modules, never taken apart. What is added
to the layer is ``alpha / rank * up(down(x))``. Where alpha is missing or 0 it is that layer's rank (scale 1), as in kohya's own loader.
Convolutions ("LoCon") have the layer's kernel in ``down`` and 1x1 in ``up``, as peft has.

    python -m stylekit.kohya SRC.safetensors DST.safetensors                 # diffusers -> kohya
    python -m stylekit.kohya SRC.safetensors DST.safetensors --to diffusers
"""

from __future__ import annotations

import functools
import json
import math
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from safetensors import SafetensorError
from safetensors.torch import save_file

from stylekit import adapters
from stylekit.base import POCKET, POCKET_FOLDER
from stylekit.errors import AdapterError, StyleError

FORMATS = ("kohya", "diffusers")
UNET = "lora_unet_"
TEXT_XL = "lora_te2_"
PARTS = {"lora_down": "lora_A", "lora_up": "lora_B"}
ORIGINAL_NAMES = re.compile(UNET + "(input_blocks|middle_block|output_blocks|time_embed_[0-9]|label_emb|out_2)")
PROMPT_WIDTH = 768  # of Stable Diffusion 1.x
OTHER_WIDTHS = {1024: "Stable Diffusion 2", 2048: "Stable Diffusion XL"}
SD1 = "Stable Diffusion 1.x"
SAYS_BASE = ("ss_base_model_version", "modelspec.architecture")
OTHER_MARKS = {r"sdxl|stable-diffusion-xl": "Stable Diffusion XL", r"sd_v2|stable-diffusion-v2": "Stable Diffusion 2"}
CONFIG_FIELDS = ("r", "lora_alpha", "rank_pattern", "alpha_pattern", "target_modules")

Tensors = Mapping[str, torch.Tensor]


def is_kohya(keys: Iterable[str]) -> bool:
    """Whether `keys` are those of a UNet in kohya's format."""
    return any(key.startswith((UNET, TEXT_XL)) for key in keys)


def from_kohya(tensors: Tensors, label: str, modules: Iterable[str] | None = None) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """The UNet's tensors of a kohya file under diffusers' keys, and alpha per module.

    modules: the base's module paths; by default those of Stable Diffusion 1.x and of the pocket base. Raises AdapterError for other
    methods (LoHa, LoKr, DoRA) and layers that are not among `modules`.
    """
    layers = {module.replace(".", "_"): module for module in (known_modules() if modules is None else modules)}
    renamed: dict[str, torch.Tensor] = {}
    ranks: dict[str, int] = {}
    alphas: dict[str, float] = {}
    for key, tensor in tensors.items():
        match = re.fullmatch(UNET + r"(\w+)\.(?:(lora_down|lora_up)\.weight|alpha)", key)
        if match is None or (match[2] and tensor.ndim < 2):
            raise AdapterError(f"The adapter {label} holds {key!r}: of kohya's formats only plain LoRA and LoCon are read.")
        layer, part = match.groups()
        if layer not in layers:
            there = {key.partition(".")[0].removeprefix(UNET) for key in tensors}
            part = f"only {len(there & layers.keys())}" if there & layers.keys() else "none"
            raise AdapterError(
                f"Of the {len(there)} layers of the adapter {label} {part} match: it has a layer {layer} that this base lacks, "
                "so it was made for another base."
            )
        module = layers[layer]
        if part is None:
            alphas[module] = _alpha(tensor, key, label)
        else:
            renamed[f"{adapters.PREFIX}{module}.{PARTS[part]}.weight"] = tensor
            if part == "lora_down":
                ranks[module] = len(tensor)
    return renamed, {module: alphas.get(module) or float(rank) for module, rank in ranks.items()}


def to_kohya(tensors: Tensors, alphas: Mapping[str, float]) -> dict[str, torch.Tensor]:
    """Tensors under diffusers' keys, with alpha per module, as the tensors of a kohya file."""
    parts = {theirs: ours for ours, theirs in PARTS.items()}
    renamed: dict[str, torch.Tensor] = {}
    for key, tensor in tensors.items():
        module, part, _ = key.removeprefix(adapters.PREFIX).rsplit(".", 2)
        renamed[f"{UNET}{module.replace('.', '_')}.{parts[part]}.weight"] = tensor
    return renamed | {f"{UNET}{module.replace('.', '_')}.alpha": torch.tensor(float(alpha)) for module, alpha in alphas.items()}


def convert(source: str | Path, target: str | Path, to: str = "kohya") -> Path:
    """Write the adapter at `source` to `target` in the other format; weights, their precision and alpha stay as they are.

    Raises AdapterError, and leaves `target` as it was, if the source cannot be used or is in that format already.
    """
    source, target = Path(source), Path(target)
    if target.suffix != ".safetensors" or target.resolve() == source.resolve():
        raise AdapterError(f"{target} cannot take the result: name another file that ends in .safetensors.")
    tensors, metadata = adapters.read_tensors(source)
    lora = adapters.parse_lora(tensors, metadata, source.name, source.stem)
    if is_kohya(tensors) == (to == "kohya"):
        raise AdapterError(f"The adapter {source.name} is in {to}'s format already: there is nothing to convert.")
    metadata.pop(adapters.CONFIG_KEY, None)  # diffusers takes alpha from it or from the tensors, and refuses both
    config = adapters.lora_config(lora.ranks, lora.alphas).to_dict()
    if to == "kohya":
        renamed = to_kohya(tensors, lora.alphas)
        metadata |= {"ss_network_module": "networks.lora", "ss_network_dim": str(config["r"])}
        metadata |= {"ss_network_alpha": str(config["lora_alpha"])}
        if _prompt_width(tensors) == PROMPT_WIDTH:
            metadata |= {"ss_base_model_version": "sd_v1"}
    else:
        renamed, _ = from_kohya(tensors, source.name)
        kept = {f"{adapters.PREFIX}{field}": config[field] for field in CONFIG_FIELDS}
        metadata[adapters.CONFIG_KEY] = json.dumps(kept, sort_keys=True, default=sorted)
    return _write(renamed, target, {"format": "pt"} | metadata)


@functools.cache
def known_unets() -> dict[str, UNet2DConditionModel]:
    """The UNets of Stable Diffusion 1.x and of the pocket base, by the family's name: names and shapes, no weights."""
    with torch.device("meta"):
        unets = {SD1: UNet2DConditionModel(cross_attention_dim=PROMPT_WIDTH)}
        if (POCKET_FOLDER / "unet").is_dir():
            unets[POCKET] = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(POCKET_FOLDER / "unet"))
    return unets


@functools.cache
def known_modules() -> tuple[str, ...]:
    """Module paths of Stable Diffusion 1.x's UNet and of the pocket base's."""
    return tuple(dict.fromkeys(name for unet in known_unets().values() for name, _ in unet.named_modules()))


def refuse_other_families(tensors: Tensors, metadata: Mapping[str, str], label: str) -> None:
    """AdapterError for an adapter of Stable Diffusion 2 or XL, in any format, told by its shapes, its keys or what trainers write."""
    family = OTHER_WIDTHS.get(_prompt_width(tensors) or 0)
    if any(key.startswith(TEXT_XL) for key in tensors):
        family = "Stable Diffusion XL"
    said = " ".join(metadata.get(key, "") for key in SAYS_BASE)
    family = family or next((name for mark, name in OTHER_MARKS.items() if re.search(mark, said)), None)
    if family:
        raise AdapterError(f"The adapter {label} is for {family}: use a LoRA for Stable Diffusion 1.x.")
    original = next(filter(ORIGINAL_NAMES.match, tensors), None)
    if original:
        raise AdapterError(
            f"The adapter {label} names its layers as Stability AI's code does ({original.partition('.')[0]}), as is usual for "
            "Stable Diffusion XL: use a LoRA for Stable Diffusion 1.x with diffusers' names."
        )


def _prompt_width(tensors: Tensors) -> int | None:
    """What the cross-attention's keys and values read, from the shapes; None if the adapter does not touch them."""
    name = re.compile(r".*attn2[._]to_[kv]\.lora_(down|A)\.weight")
    return next((tensor.shape[1] for key, tensor in tensors.items() if name.fullmatch(key) and tensor.ndim > 1), None)


def _alpha(tensor: torch.Tensor, key: str, label: str) -> float:
    if tensor.numel() != 1 or not math.isfinite(tensor.item()):
        raise AdapterError(f"The adapter {label} has {key} that is not one finite number: download or train it again.")
    return float(tensor.item())


def _write(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> Path:
    """Aside, then renamed."""
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, part, metadata=metadata)
        os.replace(part, path)
    except (OSError, SafetensorError) as error:
        part.unlink(missing_ok=True)
        raise AdapterError(f"The adapter could not be written to {path} ({error}): check the folder and the free space.") from None
    return path


def main(argv: Sequence[str] | None = None) -> int:
    usage = f"usage: python -m stylekit.kohya SRC.safetensors DST.safetensors [--to {{{','.join(FORMATS)}}}]"
    to = "kohya"
    match list(sys.argv[1:] if argv is None else argv):  # the engine knows no argparse, and three words need none
        case [source, target]:
            pass
        case [source, target, "--to", to] | ["--to", to, source, target] if to in FORMATS:
            pass
        case ["--help"] | ["-h"]:
            print(usage)
            return 0
        case _:
            print(usage, file=sys.stderr)
            return 2
    try:
        print(f"adapter written to {convert(source, target, to)}")
    except StyleError as error:
        print(f"stylekit.kohya: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
