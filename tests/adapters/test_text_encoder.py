"""What LoRA files say to the text encoder: a style's own words come out as diffusers' pipeline makes them with the same file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionImg2ImgPipeline
from PIL import Image
from safetensors.torch import save_file

from stylekit import images
from stylekit.adapters.text_encoder import read_text_change
from stylekit.base import Base
from stylekit.conditioning.words import Words
from stylekit.errors import AdapterError
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.styles import PROMPT, Adapter, Style, StyleLibrary
from stylekit.stylizer import Stylizer

WORDS = Words(positive="a cat in oil", negative="a photograph", guidance=5.0)
UNET_LAYER = "mid_block.attentions.0.transformer_blocks.0.attn2.to_v"
TEXT_LAYERS = ("encoder.layers.0.self_attn.q_proj", "encoder.layers.0.self_attn.out_proj", "encoder.layers.1.mlp.fc1")
NAMES = {  # of a layer's halves in the three ways of writing them
    "diffusers": ("text_encoder.text_model.{layer}.lora_A.weight", "text_encoder.text_model.{layer}.lora_B.weight"),
    "2023": (
        "text_encoder.text_model.{layer}.lora_linear_layer.down.weight",
        "text_encoder.text_model.{layer}.lora_linear_layer.up.weight",
    ),
    "kohya": ("lora_te_text_model_{flat}.lora_down.weight", "lora_te_text_model_{flat}.lora_up.weight"),
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLEKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def base(twin: Path) -> Base:
    return Base.open(str(twin), device="cpu", dtype=torch.float32)


def written(base: Base, path: Path, way: str, text: bool = True) -> Path:
    generator, tensors = torch.Generator().manual_seed(3), {}
    _, encoder = base.load_text_encoder()
    shapes = {f"encoder.{n.partition('encoder.')[2]}": m.weight.shape for n, m in encoder.named_modules() if hasattr(m, "weight")}

    def pair(rows: int, columns: int) -> list[torch.Tensor]:
        return [0.3 * torch.randn(shape, generator=generator) for shape in ((2, columns), (rows, 2))]

    down, up = pair(*base.unet.get_submodule(UNET_LAYER).weight.shape)
    if way == "kohya":
        key = f"lora_unet_{UNET_LAYER.replace('.', '_')}"
        tensors |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.alpha": torch.tensor(2.0)}
    else:
        tensors |= {f"unet.{UNET_LAYER}.lora_A.weight": down, f"unet.{UNET_LAYER}.lora_B.weight": up}
    for layer in TEXT_LAYERS if text else ():
        flat = layer.replace(".", "_")
        tensors |= {name.format(layer=layer, flat=flat): t for name, t in zip(NAMES[way], pair(*shapes[layer]), strict=True)}
        if way == "kohya":
            tensors[f"lora_te_text_model_{flat}.alpha"] = torch.tensor(2.0)
    save_file(tensors, path)
    return path


def library(*adapters: Adapter) -> StyleLibrary:
    styles = [Style(name=a.kind, title=a.kind, blurb="", period="", license="MIT", adapters=(a,)) for a in adapters]
    return StyleLibrary(styles=tuple(styles))


def card(path: Path, kind: str = "lora") -> Adapter:
    return Adapter(base="a/b", kind=kind, path=path, made="m", data="d", license="MIT", words=WORDS, timestep=500)


@pytest.mark.parametrize("way", NAMES)
def test_diffusers_makes_the_same_of_the_file(base: Base, twin: Path, photo: Image.Image, tmp_path: Path, way: str) -> None:
    path, small = written(base, tmp_path / "a.safetensors", way), photo.resize((64, 64))
    painter = Stylizer(base, library(card(path)))
    recipe = Recipe(mix=StyleMix.of("lora"), base=base.name, num_inference_steps=4)
    ours = np.asarray(painter.stylize(small, recipe).image, np.int16)
    pipe = StableDiffusionImg2ImgPipeline.from_pretrained(twin, use_safetensors=True)
    pipe.set_progress_bar_config(disable=True)
    pipe.load_lora_weights(tmp_path, weight_name=path.name, use_safetensors=True)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, steps_offset=125, clip_sample=False)
    pipe.scheduler.alphas_cumprod[0] = 1  # the last step ends in the clean latents, as ours does
    theirs = pipe(
        WORDS.positive,
        image=base.encode(images.to_tensor(small)),
        strength=0.5,
        num_inference_steps=8,
        guidance_scale=WORDS.guidance,
        negative_prompt=WORDS.negative,
        generator=torch.Generator().manual_seed(0),
    ).images[0]
    assert pipe.scheduler.timesteps.tolist()[4:] == list(painter.plan(recipe, small.size).timesteps)
    without = Stylizer(base, library(card(written(base, tmp_path / "b.safetensors", way, text=False)))).stylize(small, recipe).image
    assert np.abs(ours - np.asarray(theirs, np.int16)).max() <= 1
    assert np.abs(np.asarray(without, np.int16) - ours).max() > 1  # the encoder's part is seen


def test_only_the_styles_own_words_are_read_by_it(base: Base, tmp_path: Path) -> None:
    """It is computed once and kept apart from the base's own; another style's words stay what they are."""
    change = read_text_change(written(base, tmp_path / "a.safetensors", "diffusers"), "fog")
    assert change is not None
    assert read_text_change(written(base, tmp_path / "b.safetensors", "diffusers", text=False)) is None
    plain, changed, again = (base.embed([WORDS.positive], c)[0] for c in (None, change, None))
    assert torch.equal(plain, again)
    assert not torch.allclose(plain, changed, atol=1e-3)
    painter = Stylizer(base, library(card(tmp_path / "a.safetensors"), card(tmp_path, PROMPT)))
    recipe = Recipe(mix=StyleMix.of({"lora": 0.5, "prompt": 0.5}), base=base.name)
    spoken = painter._words(recipe, {"lora": 0.5, "prompt": 0.5})
    assert torch.equal(spoken["lora"].asked, changed)
    assert torch.equal(spoken["prompt"].asked, plain)


@pytest.mark.parametrize(
    ("key", "shape", "word"),
    [
        ("lora_te_text_model_encoder_layers_0_mlp_fc1.oft_diag", (4, 4), r"\(OFT\)"),
        ("lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", (4, 4), "lacks a part of encoder.layers.0.mlp.fc1"),
        ("text_encoder.text_model.final_layer_norm.lora_A.weight", (4, 4), "final_layer_norm"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, key: str, shape: tuple[int, ...], word: str) -> None:
    save_file({key: torch.ones(shape)}, tmp_path / "a.safetensors")
    with pytest.raises(AdapterError, match=word):
        read_text_change(tmp_path / "a.safetensors")
