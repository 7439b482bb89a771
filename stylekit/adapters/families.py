"""The families of bases that adapters are for: Stable Diffusion 1.x and the pocket base are known by the shapes of their UNets, 2 and XL
are refused by name."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

import torch
from diffusers import UNet2DConditionModel

from stylekit.adapters import lora_weights
from stylekit.base_card import POCKET
from stylekit.errors import AdapterError
from stylekit.storage.paths import POCKET_FOLDER

TEXT_XL = "lora_te2_"
PROMPT_WIDTH = 768  # of Stable Diffusion 1.x
OTHER_WIDTHS = {1024: "Stable Diffusion 2", 2048: "Stable Diffusion XL"}
SD1 = "Stable Diffusion 1.x"
SAYS_BASE = ("ss_base_model_version", "modelspec.architecture")
OTHER_MARKS = {r"sdxl|stable-diffusion-xl": "Stable Diffusion XL", r"sd_v2|stable-diffusion-v2": "Stable Diffusion 2"}
ORIGINAL_NAMES = re.compile("lora_unet_" + "(input_blocks|middle_block|output_blocks|time_embed_[0-9]|label_emb|out_2)")

Tensors = Mapping[str, torch.Tensor]


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


def family_of(lora: lora_weights.LoraWeights) -> tuple[str, UNet2DConditionModel]:
    """Name and UNet of the known base that `lora` fits; AdapterError, which names the nearest one, if it fits none."""
    name, unet = max(known_unets().items(), key=lambda known: lora_weights.count_fitting(lora, known[1]))
    lora_weights.check_fits(lora, unet, name)
    return name, unet


def refuse_other_families(tensors: Tensors, metadata: Mapping[str, str], label: str) -> None:
    """AdapterError for an adapter of Stable Diffusion 2 or XL, in any format, told by its shapes, its keys or what trainers write."""
    family = OTHER_WIDTHS.get(prompt_width(tensors) or 0)
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


def prompt_width(tensors: Tensors) -> int | None:
    """What the cross-attention's keys and values read, from the shapes; None if the adapter does not touch them."""
    name = re.compile(r".*attn2[._]to_[kv]\.lora_(down|A)\.weight")
    return next((tensor.shape[1] for key, tensor in tensors.items() if name.fullmatch(key) and tensor.ndim > 1), None)
