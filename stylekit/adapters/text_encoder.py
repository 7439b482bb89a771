"""The part of an adapter file that is for the text encoder: read, checked, and added to an encoder that is loaded for a style's words.

Files of the Hub often train the text encoder along with the UNet. The words of such a style mean what they were trained to mean only to
that encoder, so they are read by it; those of all other styles by the base's own. Formats are kohya's and LyCORIS'
(``lora_te_text_model_...``), peft's and diffusers' (``text_encoder.text_model...``), with today's names and those of 2023.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from stylekit.adapters import changes, kohya, lora_file
from stylekit.adapters.changes import LORA_PARTS, Change, LayerChange
from stylekit.storage import digests

PREFIX = "text_encoder."
OUTER = "text_model."  # of the names of layers before transformers 5
LAYER = re.compile(r".*encoder[._]layers[._](\d{1,3})[._](self_attn|mlp)[._]((?:q|k|v|out)_proj|fc[12])")
OLD = ((r"\.to_(q|k|v|out)_lora\.(down|up)\.", r".\1_proj.lora_\2."), (r"\.lora(?:_linear_layer)?\.(down|up)\.", r".lora_\1."))  # of 2023


@dataclass(frozen=True, kw_only=True)
class TextChange:
    """change: of the encoder's layers. digest: of its numbers, by which embeddings are kept apart. scale: on all of it."""

    change: Change
    digest: str
    scale: float = 1.0


def read_text_change(path: str | Path, name: str | None = None, scale: float = 1.0) -> TextChange | None:
    """What the adapter in a file does to the text encoder; None where it does nothing. AdapterError if it cannot be used."""
    path = Path(path)
    _, tensors, metadata = lora_file.read_parts(path)
    if not tensors:
        return None
    found: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        match = changes.KEY.fullmatch(_of_today(key))
        layer = LAYER.fullmatch(match[1]) if match else None
        if match is None or layer is None:
            raise kohya.not_read(key, path.name)
        found.setdefault(f"encoder.layers.{layer[1]}.{layer[2]}.{layer[3]}", {})[LORA_PARTS.get(match[2], match[2])] = tensor.float()
    layers = changes.layers_of(found, metadata, path.name, PREFIX)
    change = Change(name=name or path.stem, modules=layers, metadata=metadata)
    facts = [(module, layer.scale, sorted(layer.factors.items()), layer.lengths) for module, layer in sorted(layers.items())]
    return TextChange(change=change, digest=digests.of_values(facts), scale=scale)


def add_to(encoder: nn.Module, text: TextChange) -> None:
    """Make `text` part of the weights of `encoder`, a CLIPTextModel. AdapterError if it does not fit."""
    names = {name.removeprefix(OUTER): name for name, _ in encoder.named_modules()}
    modules: Mapping[str, LayerChange] = {names.get(module, module): layer for module, layer in text.change.modules.items()}
    changes.check_fits(Change(name=text.change.name, modules=modules, metadata={}), encoder, "this base's text encoder")
    with torch.no_grad():
        for module, layer in modules.items():
            weight = encoder.get_submodule(module).get_parameter("weight")
            weight.add_(layer.difference(weight).to(weight), alpha=text.scale)


def _of_today(key: str) -> str:
    for pattern, name in OLD:
        key = re.sub(pattern, name, key)
    return key
