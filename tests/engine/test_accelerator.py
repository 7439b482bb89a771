"""Few steps: accelerators, samplers and the small autoencoder in whole pictures, on small random models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from PIL import Image
from safetensors.torch import save_file

from stylekit.base import Base
from stylekit.base_card import DDIM, LCM, SAMPLERS, TCD
from stylekit.errors import AdapterError, SettingError, StyleError
from stylekit.inference import codec
from stylekit.inference.accelerator import STEPS, Accelerator
from stylekit.maps import WeightMap
from stylekit.recipe import Recipe
from stylekit.styles import StyleLibrary
from stylekit.stylizer import Stylized, Stylizer

LAYER = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"


@pytest.fixture
def lora(sd_base: Base, tmp_path: Path) -> Path:
    """In kohya's format, as LCM-LoRA is."""
    width = sd_base.unet.get_submodule(LAYER).in_features
    key, generator = f"lora_unet_{LAYER.replace('.', '_')}", torch.Generator().manual_seed(0)
    tensors = {
        f"{key}.lora_down.weight": torch.randn(4, width, generator=generator),
        f"{key}.lora_up.weight": torch.randn(width, 4, generator=generator),
        f"{key}.alpha": torch.tensor(4.0),
    }
    path = tmp_path / "tcd-few.safetensors"
    save_file(tensors, path)
    return path


def opened(base: Base, **given: object) -> Stylizer:
    base.prompt_embeds = lambda prompt=None: torch.zeros(1, 77, base.unet.config.cross_attention_dim)  # type: ignore[method-assign]
    return Stylizer(base, StyleLibrary(styles=()), **given)  # type: ignore[arg-type]


def recipe(**changes: object) -> Recipe:
    return Recipe(base="random", size=64, strength=0.6).with_(**changes)


@pytest.mark.parametrize(("name", "sampler"), [("lcm-lora", LCM), ("TCD-SD15", TCD), ("Hyper-SD15-4steps-lora", DDIM), ("something", LCM)])
def test_the_name_of_an_accelerator_tells_its_sampler(
    monkeypatch: pytest.MonkeyPatch, lora: Path, tmp_path: Path, name: str, sampler: str
) -> None:
    path = lora.rename(tmp_path / f"{name}.safetensors")
    # a twin's widths are of no family that styles are for
    monkeypatch.setattr("stylekit.inference.accelerator._file", lambda _: path)
    assert Accelerator.open(name).sampler == sampler


def test_an_accelerator_is_outside_the_mix_and_asks_for_few_steps(
    sd_base: Base, lora: Path, monkeypatch: pytest.MonkeyPatch, photo: Image.Image
) -> None:
    monkeypatch.setattr("stylekit.inference.accelerator._file", lambda _: lora)
    plain = opened(sd_base).stylize(photo, recipe(sampler=TCD, num_inference_steps=STEPS))
    fast = opened(sd_base, accelerator=Accelerator.open("tcd"))
    _, *steps, result = fast.steps(photo, recipe(), preview=False)  # the first says that painting begins
    assert isinstance(result, Stylized)
    assert len(steps) == STEPS
    assert result.image.tobytes() != plain.image.tobytes()
    assert result.recipe.accelerator == "tcd"
    assert fast.stylize(photo, result.recipe).image.tobytes() == result.image.tobytes()
    assert Recipe.from_json(result.recipe.to_json()) == result.recipe
    with pytest.raises(StyleError, match="the accelerator other, but tcd is loaded"):
        fast.stylize(photo, recipe(accelerator="other"))


def test_a_recipe_for_an_accelerator_that_is_not_loaded(sd_base: Base, photo: Image.Image) -> None:
    with pytest.raises(StyleError, match="none is loaded: start with that one"):
        opened(sd_base).stylize(photo, recipe(accelerator="latent-consistency/lcm-lora-sdv1-5"))
    with pytest.raises(StyleError, match="tiny autoencoder, but none is loaded"):
        opened(sd_base).stylize(photo, recipe(tiny_decoder=True))


def test_an_accelerator_of_another_base(stylizer: Stylizer, sd_base: Base) -> None:
    modules = {"nowhere.to_q": (torch.ones(2, 8), torch.ones(8, 2))}
    from stylekit.adapters.lora_weights import LoraWeights

    wrong = Accelerator(source="x", lora=LoraWeights(name="x", modules=modules, alphas={"nowhere.to_q": 2.0}, metadata={}))
    with pytest.raises(AdapterError, match="made for another base"):
        opened(sd_base, accelerator=wrong)
    assert Stylizer(stylizer.base, stylizer.library, accelerator=wrong).accelerator is None  # one step as it is


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_makes_pictures_and_leaves_what_a_map_leaves(sd_base: Base, photo: Image.Image, sampler: str) -> None:
    mask = Image.new("L", photo.size)
    mask.paste(255, (0, 0, photo.width // 2, photo.height))
    engine = opened(sd_base)
    made = engine.stylize(photo, recipe(sampler=sampler, num_inference_steps=3, strength=WeightMap.of(mask), feather=0.0)).image
    changed = np.abs(np.asarray(made, int) - np.asarray(photo, int)).sum(2)
    assert changed[:, : photo.width // 3].mean() > 1
    assert changed[:, 3 * photo.width // 4 :].max() == 0
    again = engine.stylize(photo, recipe(sampler=sampler, num_inference_steps=3, strength=WeightMap.of(mask), feather=0.0)).image
    assert again.tobytes() == made.tobytes()


def test_a_sampler_that_does_not_exist() -> None:
    with pytest.raises(SettingError, match="choose one of ddim"):
        recipe(sampler="euler")


def test_recipes_of_before_are_read() -> None:
    old = '{"format": 4, "mix": {"monet": 1.0}, "strength": 0.5, "seed": 3}'
    assert (Recipe.from_json(old).sampler, Recipe.from_json(old).accelerator, Recipe.from_json(old).tiny_decoder) == (None, None, False)


def test_previews_are_not_decoded(sd_base: Base, photo: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole autoencoder decodes once a picture, and the small one not at all if it is asked for the result only."""
    monkeypatch.setattr(codec, "CHEAP", 0)
    decoded = []
    forward = sd_base.vae.decode
    monkeypatch.setattr(sd_base.vae, "decode", lambda latents: decoded.append(1) or forward(latents))
    _, *steps, result = opened(sd_base).steps(photo, recipe(num_inference_steps=4))
    assert isinstance(result, Stylized)
    assert len(decoded) == 1
    assert all(step.preview is not None for step in steps if not isinstance(step, Stylized))
    sd_base.tiny = AutoencoderTiny(encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4).eval()
    quick = opened(sd_base).stylize(photo, recipe(num_inference_steps=4, tiny_decoder=True))
    assert len(decoded) == 1
    assert quick.image.tobytes() != result.image.tobytes()


def test_too_little_memory_for_a_picture_is_a_sentence(sd_base: Base, photo: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    engine = opened(sd_base)
    with monkeypatch.context() as patched:
        patched.setattr(sd_base, "denoise", full)
        with pytest.raises(StyleError, match="choose a smaller working size"):
            engine.stylize(photo, recipe())
    assert engine.stylize(photo, recipe(num_inference_steps=1)).image.size == photo.size  # nothing is held
