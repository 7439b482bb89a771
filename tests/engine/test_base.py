"""Bases: the pocket base that ships, and a small random model of Stable Diffusion 1.5's own classes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from stylekit.base import Base
from stylekit.base_card import SD_CARD, BaseCard, interpolate
from stylekit.errors import BaseError, StyleError
from stylekit.images import to_tensor
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.storage.paths import POCKET_FOLDER
from stylekit.style_picture import general
from stylekit.styles import StyleLibrary
from stylekit.stylizer import Stylizer, StylizeStep
from tests.hub_server import Hub


def small_unet(**changes: object) -> UNet2DConditionModel:
    """Stable Diffusion 1.5's UNet class and layout at reduced width, random weights."""
    torch.manual_seed(0)
    settings: dict[str, object] = {
        "sample_size": 8,
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "cross_attention_dim": 32,
        "attention_head_dim": 2,
        "norm_num_groups": 16,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }
    return UNet2DConditionModel(**(settings | changes))


@pytest.fixture(scope="module")
def sd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in Stable Diffusion 1.5's layout: AutoencoderKL, UNet, CLIP text encoder, scheduler; random small weights."""
    folder = tmp_path_factory.mktemp("sd15")
    small_unet().save_pretrained(folder / "unet")
    AutoencoderKL(
        block_out_channels=(16, 16, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=8,
        scaling_factor=0.3,
    ).save_pretrained(folder / "vae")
    DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False).save_pretrained(folder / "scheduler")
    words = ["<|startoftext|>", "<|endoftext|>", "a</w>", "c", "a", "t</w>", "ca", "cat</w>"]
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(words)}))
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\nc a\nca t</w>\n")
    CLIPTokenizer.from_pretrained(folder / "tokenizer", model_max_length=16).save_pretrained(folder / "tokenizer")
    text = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16,
        bos_token_id=0,
        eos_token_id=1,
    )
    CLIPTextModel(text).save_pretrained(folder / "text_encoder")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STYLEKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_pocket_base_is_small_and_every_file_fits_a_plain_push() -> None:
    files = [p for p in POCKET_FOLDER.rglob("*") if p.is_file()]
    base = [p for p in files if p.name != general.FILE]  # an adapter, with a limit of its own (tests/test_picture.py)
    assert sum(p.stat().st_size for p in base) <= 40e6
    assert max(p.stat().st_size for p in files) < 10e6
    assert {p.suffix for p in files} <= {".json", ".safetensors", ".md", ".txt"}


@pytest.mark.slow
def test_autoencoder_keeps_photos(stylizer: Stylizer, root: Path) -> None:
    values = []
    for path in sorted((root / "assets" / "photos").glob("*.jpg")):
        picture = Image.open(path).convert("RGB")
        picture = picture.crop((0, 0, picture.width // 8 * 8, picture.height // 8 * 8))
        pixels = to_tensor(picture)
        with torch.inference_mode():
            back = stylizer.base.decode(stylizer.base.encode(pixels)).clamp(-1, 1)
        values.append(10 * np.log10(4 / float((back - pixels).pow(2).mean())))
    assert np.mean(values) >= 31


@pytest.mark.slow
def test_the_base_alone_gives_the_photo_back_at_low_noise(stylizer: Stylizer, root: Path) -> None:
    photo = Image.open(root / "assets" / "photos" / "coffee.jpg").convert("RGB")
    result = stylizer.stylize(photo, Recipe(strength=1.0)).image
    error = np.asarray(result, np.float32) - np.asarray(photo, np.float32)
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 25


@pytest.mark.slow
def test_bfloat16_is_invisible(stylizer: Stylizer, root: Path) -> None:
    """Wherever the test runs: the same picture with and without autocast differs by less than a grey level on average."""
    photo = Image.open(root / "assets" / "photos" / "coffee.jpg").convert("RGB").resize((300, 200))
    pictures = []
    for autocast in (False, True):
        base = Base.open(device="cpu")
        base.autocast = autocast
        result = Stylizer(base, stylizer.library).stylize(photo, Recipe(mix=StyleMix.of("ukiyoe")))
        pictures.append(np.asarray(result.image, np.float32))
    assert np.abs(pictures[0] - pictures[1]).mean() < 1


def test_held_out_photos_are_listed() -> None:
    ids = (POCKET_FOLDER / "held_out.txt").read_text().split()
    assert len(ids) == len(set(ids)) == 120
    assert all(i.isdigit() for i in ids)


def test_dial_runs_from_photo_to_style() -> None:
    for card in (SD_CARD, BaseCard.read(POCKET_FOLDER / "stylekit.json")):
        steps = [card.timestep(s / 10) for s in range(11)]
        scales = [card.adapter_scale(s / 10) for s in range(11)]
        assert steps == sorted(steps)
        assert scales == sorted(scales)
        assert steps[0] >= 1
        assert scales[-1] == 1


def test_interpolation() -> None:
    curve = ((0.0, 0.0), (0.5, 10.0), (1.0, 11.0))
    assert [interpolate(curve, x) for x in (0, 0.25, 0.5, 0.75, 1)] == [0, 5, 10, 10.5, 11]


@pytest.mark.parametrize(
    "text", ["", "{}", '{"title": 1}', '{"title":"a","license":"b","num_inference_steps":1,"dial_timestep":[[0,0]],"dial_scale":[]}']
)
def test_broken_cards_are_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "stylekit.json"
    path.write_text(text)
    with pytest.raises(BaseError, match="mend"):
        BaseCard.read(path)


@pytest.mark.parametrize("source", ["nonsense", "a/b/c", "./missing", "/missing/folder"])
def test_no_such_base(source: str) -> None:
    with pytest.raises(BaseError) as error:
        Base.open(source)
    assert source in str(error.value)


def test_a_hub_id_without_the_hub_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BaseError, match="go online once, or use pocket"):
        Base.open("stylekit-tests/no-such-base")


def test_the_old_id_of_stable_diffusion_is_an_alias(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BaseError):
        Base.open("runwayml/stable-diffusion-v1-5")
    asked: list[str] = []

    def refuse(location: str, **_: object) -> None:
        asked.append(location)
        raise OSError("offline")

    monkeypatch.setattr(UNet2DConditionModel, "from_pretrained", refuse)
    with pytest.raises(BaseError):
        Base.open("runwayml/stable-diffusion-v1-5")
    assert asked == ["stable-diffusion-v1-5/stable-diffusion-v1-5"]


def test_a_folder_that_is_no_base(tmp_path: Path) -> None:
    with pytest.raises(BaseError, match=r"no unet/config\.json"):
        Base.open(str(tmp_path))


def test_a_base_with_pickled_weights_alone_is_told(sd_folder: Path, tmp_path: Path, server: Hub) -> None:
    copy = tmp_path / "base"
    shutil.copytree(sd_folder, copy)
    (copy / "unet" / "diffusion_pytorch_model.safetensors").rename(copy / "unet" / "diffusion_pytorch_model.bin")
    server.add("me/pickled", {path.relative_to(copy).as_posix(): path.read_bytes() for path in copy.rglob("*") if path.is_file()})
    for source in (str(copy), "me/pickled"):
        with pytest.raises(BaseError, match="has no safetensors for its unet, and pickle is not read"):
            Base.open(source)


def test_damaged_weights_are_told(sd_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "base"
    shutil.copytree(sd_folder, copy)
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(BaseError, match="cannot be loaded"):
        Base.open(str(copy))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"cross_attention_dim": 1024}, "Stable Diffusion 2"),
        ({"in_channels": 9}, "inpainting base"),
        ({"addition_embed_type": "text_time", "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 80}, "XL"),
    ],
)
def test_other_families_are_named(sd_folder: Path, tmp_path: Path, changes: dict[str, object], word: str) -> None:
    copy = tmp_path / "base"
    shutil.copytree(sd_folder, copy, ignore=shutil.ignore_patterns("unet"))
    small_unet(**changes).save_pretrained(copy / "unet")
    with pytest.raises(BaseError, match=word):
        Base.open(str(copy))


def test_stable_diffusion_layout_runs_and_strength_is_noise(sd_folder: Path, cache: Path, photo: Image.Image) -> None:
    stylizer = Stylizer(Base.open(str(sd_folder), device="cpu"), StyleLibrary(styles=()))
    recipe = Recipe(base=str(sd_folder), strength=0.5, num_inference_steps=3)
    result = stylizer.stylize(photo, recipe)
    assert result.image.size == photo.size
    assert stylizer.stylize(photo, recipe.with_(strength=0)).image.tobytes() == photo.tobytes()
    events = list(stylizer.steps(photo, recipe, preview=False))
    steps = [event for event in events if isinstance(event, StylizeStep)]
    assert [(event.step, event.total) for event in steps] == [(0, 3), (1, 3), (2, 3), (3, 3)]  # 0: the photo is in, nothing is painted yet
    assert len(events) == len(steps) + 1
    low, high = (np.asarray(stylizer.stylize(photo, recipe.with_(strength=s)).image, float) for s in (0.02, 1.0))
    codec = np.asarray(stylizer.stylize(photo, recipe.with_(strength=0.0001)).image, float)
    assert np.abs(low - codec).mean() < np.abs(high - codec).mean()


def test_the_text_encoder_is_loaded_once_and_only_for_new_words(
    sd_folder: Path, cache: Path, photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe(base=str(sd_folder), strength=0.3, num_inference_steps=1)
    first = Stylizer(Base.open(str(sd_folder), device="cpu"), StyleLibrary(styles=())).stylize(photo, recipe).image
    monkeypatch.setattr(CLIPTextModel, "from_pretrained", lambda *_, **__: pytest.fail("the text encoder was loaded again"))
    again = Stylizer(Base.open(str(sd_folder), device="cpu"), StyleLibrary(styles=()))
    assert again.stylize(photo, recipe).image.tobytes() == first.tobytes()
    monkeypatch.undo()
    monkeypatch.setenv("STYLEKIT_CACHE", str(cache))
    other = again.stylize(photo, recipe.with_(prompt="a cat", guidance_scale=4.0)).image
    assert other.tobytes() != first.tobytes()


def test_a_prompt_on_a_base_without_a_text_encoder(stylizer: Stylizer, photo: Image.Image) -> None:
    with pytest.raises(StyleError, match="leave the prompt out"):
        stylizer.stylize(photo, Recipe(prompt="a cat"))


def test_nan_in_the_weights_is_told_not_shown(tmp_path: Path, photo: Image.Image) -> None:
    copy = tmp_path / "pocket"
    shutil.copytree(POCKET_FOLDER, copy)
    path = next(p for p in sorted((copy / "vae").glob("*.safetensors")))
    tensors = load_file(path)
    tensors["decoder.conv_out.conv.weight"].fill_(float("nan"))
    save_file(tensors, path, metadata={"format": "pt"})
    stylizer = Stylizer(Base.open(str(copy), device="cpu"), StyleLibrary(styles=()))
    with pytest.raises(StyleError, match="not finite"):
        stylizer.stylize(photo, Recipe(base=str(copy)))
