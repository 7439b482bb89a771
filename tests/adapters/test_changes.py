"""LoHa, LoKr and DoRA: what peft makes of them is what stylekit makes, by numbers and maps, from peft's files and LyCORIS'."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from peft import LoHaConfig, LoKrConfig, LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from safetensors.torch import save_file

from benchmarks.sd15_models import REDUCED, build_unet
from stylekit.adapters import apply, changes, kohya
from stylekit.adapters.changes import Change, LayerChange
from stylekit.adapters.lora_file import read_lora
from stylekit.adapters.lora_settings import CONFIG_KEY
from stylekit.errors import AdapterError

LAYERS = [
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
    "down_blocks.1.attentions.1.transformer_blocks.0.attn2.to_k",
    "mid_block.attentions.0.proj_in",
    "up_blocks.1.resnets.1.conv1",
]
CONFIGS = {
    "loha": LoHaConfig(r=3, alpha=6, target_modules=LAYERS, init_weights=False, alpha_pattern={"attn1.to_q": 2}),
    "loha, tucker": LoHaConfig(r=3, alpha=3, target_modules=LAYERS, init_weights=False, use_effective_conv2d=True),
    "lokr": LoKrConfig(r=2, alpha=5, target_modules=LAYERS, init_weights=False, rank_pattern={"attn1.to_q": 1}),
    "lokr, both": LoKrConfig(r=2, alpha=2, target_modules=LAYERS, init_weights=False, decompose_both=True, use_effective_conv2d=True),
    "dora": LoraConfig(r=3, lora_alpha=6, target_modules=LAYERS, init_lora_weights=False, use_dora=True),
}


@pytest.fixture(scope="module")
def unet() -> UNet2DConditionModel:
    torch.manual_seed(0)
    return build_unet(REDUCED).eval().requires_grad_(False)


def looked_through(unet: torch.nn.Module) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    latents, words = torch.randn(1, 4, 8, 16, generator=generator), torch.randn(1, 5, REDUCED.text, generator=generator)
    with torch.inference_mode():
        return unet(latents, 300, encoder_hidden_states=words).sample


def random_peft(unet: UNet2DConditionModel, config: Any) -> torch.nn.Module:
    """A copy of `unet` with an adapter of peft's, strong and random."""
    theirs = copy.deepcopy(unet)
    torch.manual_seed(2)
    inject_adapter_in_model(config, theirs, adapter_name="default")
    for name, parameter in theirs.named_parameters():
        if "magnitude" in name:
            parameter.data *= 1 + 0.3 * torch.rand_like(parameter)
        elif any(mark in name for mark in ("hada_", "lokr_", "lora_")):
            parameter.data = 0.3 * torch.randn_like(parameter)
    return theirs.eval()


def in_pefts_file(theirs: torch.nn.Module, config: Any, path: Path) -> Path:
    tensors = get_peft_model_state_dict(theirs, adapter_name="default")
    plain = {k: sorted(v) if isinstance(v, set) else v for k, v in config.to_dict().items()}
    (path.parent / "adapter_config.json").write_text(json.dumps(plain, default=str))
    save_file({f"base_model.model.{key}": tensor.contiguous() for key, tensor in tensors.items()}, path)
    return path


@pytest.mark.parametrize("kind", CONFIGS)
def test_what_peft_makes_of_it(unet: UNet2DConditionModel, tmp_path: Path, kind: str) -> None:
    theirs = random_peft(unet, CONFIGS[kind])
    adapter = apply.read_adapter(in_pefts_file(theirs, CONFIGS[kind], tmp_path / "adapter_model.safetensors"), "art")
    assert isinstance(adapter, Change)
    before, plain = {name: p.clone() for name, p in unet.named_parameters()}, looked_through(unet)
    apply.inject(unet, adapter)
    assert apply.resident(unet) == ("art",)
    with apply.applied(unet, {"art": 1.0}):
        whole, expected = looked_through(unet), looked_through(theirs)
    assert (expected - plain).abs().max() > 0.05
    assert torch.allclose(whole, expected, atol=2e-5 * float((expected - plain).abs().max()) + 2e-5)
    with apply.applied(unet, {"art": torch.ones(1, 1, 8, 16)}):  # group normalisation by region comes in where it is painted
        assert (looked_through(unet) - expected).abs().max() < 0.02 * (expected - plain).abs().max() + 1e-3
    apply.eject(unet, "art")
    assert not apply.resident(unet)
    assert all(torch.equal(p, before[name]) for name, p in unet.named_parameters())


def test_half_the_weight_is_half_the_difference(unet: UNet2DConditionModel, tmp_path: Path) -> None:
    """As ComfyUI and kohya have it, for DoRA too."""
    config = CONFIGS["dora"]
    adapter = apply.read_adapter(in_pefts_file(random_peft(unet, config), config, tmp_path / "adapter_model.safetensors"), "art")
    weight, apart = unet.get_submodule(LAYERS[0]).weight, []
    apply.inject(unet, adapter)
    for number in (0.5, 1.0):
        before = weight.clone()
        with apply.applied(unet, {"art": number}):
            apart.append(weight - before)
    apply.eject(unet, "art")
    assert torch.allclose(apart[0], apart[1] / 2, atol=1e-6)


@pytest.mark.parametrize("kind", ["loha", "lokr, both", "dora"])
def test_kohyas_naming_says_the_same(unet: UNet2DConditionModel, tmp_path: Path, kind: str) -> None:
    """LyCORIS' files: layers in one word, alpha of each, lengths with the layer's dimensions."""
    config = CONFIGS[kind]
    theirs = in_pefts_file(random_peft(unet, config), config, tmp_path / "adapter_model.safetensors")
    adapter = apply.read_adapter(theirs)
    assert isinstance(adapter, Change)
    names = {"down": "lora_down.weight", "up": "lora_up.weight"}
    tensors = {}
    for module, layer in adapter.modules.items():
        key = f"lora_unet_{module.replace('.', '_')}"
        tensors |= {f"{key}.{names.get(name, name)}": tensor.contiguous() for name, tensor in layer.factors.items()}
        if layer.rank:
            tensors[f"{key}.alpha"] = torch.tensor(layer.scale * changes._rank(layer.factors))
        if layer.lengths is not None:
            tensors[f"{key}.dora_scale"] = layer.lengths.reshape(-1, *[1] * (unet.get_submodule(module).weight.ndim - 1))
    save_file(tensors, tmp_path / "kohya.safetensors")
    again = apply.read_adapter(tmp_path / "kohya.safetensors")
    assert isinstance(again, Change)
    for module, layer in adapter.modules.items():
        weight = unet.get_submodule(module).weight
        assert torch.allclose(again.modules[module].difference(weight), layer.difference(weight), atol=1e-6)


def test_lengths_of_columns_are_lycoris_older_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, down, up = (torch.randn(shape, generator=generator) for shape in ((6, 4, 3, 3), (2, 4, 3, 3), (6, 2, 1, 1)))
    lengths = torch.rand(1, 4, 1, 1, generator=generator) + 0.5
    layer = changes._layer("conv", {"down": down, "up": up, "dora_scale": lengths}, 0.5, "a")
    changed = weight + layer.difference(weight)
    assert torch.allclose(changed.transpose(0, 1).flatten(1).norm(dim=1), lengths.flatten(), atol=1e-5)
    direction = weight + 0.5 * (up.flatten(1) @ down.flatten(1)).view_as(weight)
    assert torch.allclose(
        torch.nn.functional.cosine_similarity(changed.transpose(0, 1).flatten(1), direction.transpose(0, 1).flatten(1)), torch.ones(4)
    )


def test_locon_by_tuckers_decomposition() -> None:
    generator = torch.Generator().manual_seed(0)
    down, mid, up = (torch.randn(shape, generator=generator) for shape in ((2, 4, 1, 1), (2, 2, 3, 3), (6, 2, 1, 1)))
    layer = changes._layer("conv", {"down": down, "up": up, "mid": mid}, 1.0, "a")
    x = torch.randn(1, 4, 5, 5, generator=generator)
    step = torch.nn.functional.conv2d
    expected = step(step(step(x, down), mid, padding=1), up)
    assert torch.allclose(step(x, layer.difference(torch.zeros(6, 4, 3, 3)), padding=1), expected, atol=1e-4)


KEY = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
HADA = {f"{KEY}.hada_w{i}_{x}": torch.ones(shape) for i in (1, 2) for x, shape in (("a", (1280, 2)), ("b", (2, 1280)))}


@pytest.mark.parametrize(
    ("tensors", "metadata", "word"),
    [
        ({f"{KEY}.hada_w1_a": torch.ones(4, 2)}, {}, "lacks a part of mid_block"),
        (HADA | {f"{KEY}.hada_w1_b": torch.ones(3, 1280)}, {}, "do not fit each other"),
        (HADA | {f"{KEY}.hada_w1_b": torch.full((2, 1280), float("nan"))}, {}, "NaN or infinite"),
        (HADA | {f"{KEY}.oft_blocks": torch.ones(4, 2)}, {}, r"\(OFT\)"),
        (HADA | {"lora_unet_elsewhere.hada_w1_a": torch.ones(4, 2)}, {}, "elsewhere that this base lacks"),
        ({"unet.conv_in.hada_w1_a": torch.ones(4, 2)}, {CONFIG_KEY: '{"peft_type": "OFT"}'}, "peft's kind 'OFT'"),
        ({"unet.conv_in.hada_w1_a": torch.ones(4, 2)}, {CONFIG_KEY: '{"peft_type": "LOHA", "r": 2}'}, "lacks alpha or r"),
    ],
)
def test_what_cannot_be_used_is_refused(tensors: dict[str, torch.Tensor], metadata: dict[str, str], word: str, tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "a.safetensors", metadata=metadata)
    with pytest.raises(AdapterError, match=word):
        apply.read_adapter(tmp_path / "a.safetensors")


def test_one_for_another_base_says_so_and_changes_nothing(unet: UNet2DConditionModel, tmp_path: Path) -> None:
    save_file(HADA, tmp_path / "a.safetensors")
    adapter = changes.read(tmp_path / "a.safetensors")
    assert isinstance(adapter, Change)
    assert changes.family_of(adapter) == "Stable Diffusion 1.x"
    with pytest.raises(AdapterError, match=r"does not fit this base at mid_block.*made for another base"):
        apply.inject(unet, adapter)
    assert not apply.resident(unet)
    with pytest.raises(
        AdapterError, match=r"\(LoHa\): of kohya's formats only plain LoRA"
    ):  # where a plain one is needed, as an accelerator
        read_lora(tmp_path / "a.safetensors")
    assert kohya.METHODS[".hada_"] == "LoHa"
    layer = LayerChange(factors={"down": torch.ones(2, 4), "up": torch.ones(4, 2)}, scale=1e9)
    with pytest.raises(AdapterError, match="scale 1e"):
        Change(name="a", modules={"x": layer}, metadata={})
