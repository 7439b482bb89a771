"""The whole path on Stable Diffusion 1.5's classes and blocks, random weights, at reduced width; sizes at full width from shapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file

from benchmarks.sd15_models import FULL, REDUCED, build_text_encoder, build_unet, build_vae, save_model
from benchmarks.sd15_training import SIDES, Options
from stylekit.adapters import convert
from stylekit.adapters.lora_file import read_lora
from stylekit.adapters.lora_weights import lora_layers
from stylekit.base import Base
from stylekit.base_card import SD_CARD
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.storage.paths import PHOTOS_FOLDER
from stylekit.styles import StyleLibrary
from stylekit.stylizer import Stylizer
from training import train_lora
from training.style import lora
from training.style.lora_settings import LoraTraining

PHOTOS = PHOTOS_FOLDER
CARD = 'title = "T"\nblurb = "b"\nlicense = "MIT"\n[[adapters]]\nbase = "{base}"\nfile = "{file}"\nmade = "m"\ndata = "d"\n'


@pytest.fixture(scope="module")
def sd15(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("sd15"), REDUCED)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLEKIT_CACHE", str(tmp_path / "cache"))


def settings(base: Path, folder: Path, **changes: object) -> LoraTraining:
    values: dict[str, object] = {
        "style": "fog",
        "base": str(base),
        "style_pictures": PHOTOS,
        "out": folder / "styles" / "fog",
        "work": folder / "work",
        "resolution": 64,
        "batch": 1,
        "steps": 4,
        "lr": 0.02,
        "warmup": 0,
        "ema": 0.0,
        "limit": 2,
        "views": 1,
        "held_out": 0,
        "sample_every": 0,
        "precision": "no",
        "track": "none",
        "device": "cpu",
    }
    return LoraTraining(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trained(sd15: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The adapter file of a short training run on the random model."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STYLEKIT_CACHE", str(folder / "cache"))
        return train_lora.train(settings(sd15, folder))


def attention_layers(unet: UNet2DConditionModel) -> set[str]:
    """Both attentions of every transformer block, by diffusers' own list of them."""
    attentions = [name.removesuffix(".processor") for name in unet.attn_processors]
    return {f"{name}.{layer}" for name in attentions for layer in ("to_q", "to_k", "to_v", "to_out.0")}


def test_the_networks_have_the_sizes_of_stable_diffusion() -> None:
    with torch.device("meta"):  # shapes, no memory
        sizes = [sum(p.numel() for p in build(FULL).parameters()) for build in (build_unet, build_vae, build_text_encoder)]
    assert sizes == [859_520_964, 83_653_863, 123_060_480]


@pytest.mark.parametrize(
    ("changes", "layers", "parameters"),
    [
        ({}, 128, 797_184),
        ({"rank": 8}, 128, 1_594_368),
        ({"rank": 16}, 128, 3_188_736),
        ({"layers": "all", "fine_rank": 4}, 258, 4_022_944),
    ],
)
def test_an_adapter_at_full_width(tmp_path: Path, changes: dict[str, object], layers: int, parameters: int) -> None:
    """At rank 4, the default, 3.2 MB in float32; files are float16, half that."""
    with torch.device("meta"):
        unet = build_unet(FULL)
    trained = lora.add_adapter(unet, settings(tmp_path, tmp_path, **changes))
    assert len(lora_layers(unet)) == layers
    assert sum(p.numel() for p in trained) == parameters
    if layers == 128:
        assert set(lora_layers(unet)) == attention_layers(unet)


def test_train_save_load_and_one_picture(sd15: Path, trained: Path, photo: Image.Image) -> None:
    base = Base.open(str(sd15), device="cpu")
    assert base.card == SD_CARD
    assert base.prediction_type == "epsilon"
    layers = attention_layers(base.unet)
    assert len(layers) == 128
    assert load_file(trained).keys() == {f"unet.{layer}.lora_{half}.weight" for layer in layers for half in "AB"}
    (trained.parent / "style.toml").write_text(CARD.format(base=sd15, file=trained.name))
    stylizer = Stylizer(base, StyleLibrary.open(trained.parent.parent))
    recipe = Recipe(base=str(sd15), strength=0.5, num_inference_steps=2)
    plain, styled = (np.asarray(stylizer.stylize(photo, recipe.with_(mix=mix)).image, float) for mix in (StyleMix(), StyleMix.of("fog")))
    assert styled.shape == plain.shape
    assert np.abs(styled - plain).mean() > 0.5


def test_the_trained_file_is_what_other_tools_read(sd15: Path, trained: Path, tmp_path: Path) -> None:
    exported = load_file(convert.convert(trained, tmp_path / "kohya.safetensors"))
    assert len(exported) == 3 * 128
    assert "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_out_0.lora_up.weight" in exported
    pictures = []
    for folder, name in ((trained.parent, trained.name), (tmp_path, "kohya.safetensors")):
        pipe = StableDiffusionPipeline.from_pretrained(sd15, use_safetensors=True)
        pipe.set_progress_bar_config(disable=True)
        for load in (False, True):
            if load:
                pipe.load_lora_weights(folder, weight_name=name, use_safetensors=True)
            generator = torch.Generator().manual_seed(0)
            made = pipe("a cat", 64, 64, num_inference_steps=2, guidance_scale=1.0, generator=generator, output_type="np")
            pictures.append(made.images)
    plain, ours, again, kohyas = pictures
    assert np.array_equal(plain, again)
    assert np.array_equal(ours, kohyas)
    assert np.abs(ours - plain).max() > 0.01


def test_both_sides_of_the_benchmark_train_the_same_layers(sd15: Path, tmp_path: Path) -> None:
    ranks = []
    for name, side in SIDES.items():
        (tmp_path / name).mkdir()
        options = Options(
            model=str(sd15), work=str(tmp_path / name), resolution=64, batch=1, steps=1, device="cpu", threads=1, precision="no"
        )
        ready = side(options)
        assert 0 < ready.step() < 10
        ranks.append(read_lora(ready.save()).ranks)
        assert ready.parameters == 78_080
    assert ranks[0] == ranks[1]
    assert set(ranks[0].values()) == {4}
