"""LoRA files from diffusers' format to kohya's and back.

python -m stylekit.adapters.convert SRC.safetensors DST.safetensors                 # diffusers -> kohya
python -m stylekit.adapters.convert SRC.safetensors DST.safetensors --to diffusers
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError

from stylekit.adapters import lora_file, lora_weights
from stylekit.adapters.families import PROMPT_WIDTH, family_of, prompt_width
from stylekit.adapters.kohya import UNET, from_kohya, is_kohya, layer_weights, to_kohya
from stylekit.adapters.lora_settings import CONFIG_KEY, UNET_PREFIX
from stylekit.errors import AdapterError, StyleError, first_line
from stylekit.storage.files import aside
from stylekit.storage.tensorfile import is_safetensors, write_tensors

FORMATS = ("kohya", "diffusers")
CONFIG_FIELDS = ("r", "lora_alpha", "rank_pattern", "alpha_pattern", "target_modules")


def convert(source: str | Path, target: str | Path, to: str = "kohya") -> Path:
    """Write the adapter at `source` to `target` in the other format; weights, their precision and alpha stay as they are.

    Raises AdapterError, and leaves `target` as it was, if the source cannot be used or is in that format already.
    """
    source, target = Path(source), Path(target)
    if not is_safetensors(target.name) or target.resolve() == source.resolve():
        raise AdapterError(f"{target} cannot take the result: name another file that ends in .safetensors.")
    tensors, metadata = lora_file.read_tensors(source)
    lora = lora_file.parse_lora(tensors, metadata, source.name, source.stem)
    if is_kohya(tensors) == (to == "kohya"):
        raise AdapterError(f"The adapter {source.name} is in {to}'s format already: there is nothing to convert.")
    tensors = _plain_kernels(tensors, lora)
    metadata.pop(CONFIG_KEY, None)  # diffusers takes alpha from it or from the tensors, and refuses both
    config = lora_weights.lora_config(lora.ranks, lora.alphas).to_dict()
    if to == "kohya":
        renamed = to_kohya(tensors, lora.alphas)
        metadata |= {"ss_network_module": "networks.lora", "ss_network_dim": str(config["r"])}
        metadata |= {"ss_network_alpha": str(config["lora_alpha"])}
        if prompt_width(tensors) == PROMPT_WIDTH:
            metadata |= {"ss_base_model_version": "sd_v1"}
    else:
        renamed, _ = from_kohya(tensors, source.name)
        kept = {f"{UNET_PREFIX}{field}": config[field] for field in CONFIG_FIELDS}
        metadata[CONFIG_KEY] = json.dumps(kept, sort_keys=True, default=sorted)
    return _write(renamed, target, {"format": "pt"} | metadata)


def _plain_kernels(tensors: dict[str, torch.Tensor], lora: lora_weights.LoraWeights) -> dict[str, torch.Tensor]:
    """`tensors` in the shapes of the base's layers, which other tools insist on; as they are where the base is not known."""
    try:
        _, unet = family_of(lora)
    except AdapterError:
        return tensors
    weights = layer_weights(unet)
    shaped = {}
    for key, tensor in tensors.items():
        layer = key.removeprefix(UNET_PREFIX).rpartition(".lora_")[0].removeprefix(UNET)
        weight = weights.get(layer.replace(".", "_"))
        shaped[key] = tensor if weight is None or tensor.ndim < 2 else lora_weights.as_kernel(tensor, weight.ndim)
    return shaped


def _write(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> Path:
    try:
        with aside(path) as part:
            write_tensors(tensors, part, metadata)
    except (OSError, SafetensorError) as error:
        raise AdapterError(
            f"The adapter could not be written to {path} ({first_line(error)}): check the folder and the free space."
        ) from None
    return path


def main(argv: Sequence[str] | None = None) -> int:
    usage = f"usage: python -m stylekit.adapters.convert SRC.safetensors DST.safetensors [--to {{{','.join(FORMATS)}}}]"
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
        print(f"stylekit.adapters.convert: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
