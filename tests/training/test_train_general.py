"""The general adapter's training, from folders to a file that the engine uses."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eval import style_pictures
from stylekit.adapters import apply, lora_weights
from stylekit.base import Base
from stylekit.errors import SettingError, StyleError
from stylekit.storage.paths import ROOT
from stylekit.style_picture.general import GeneralAdapter, PictureReader, load_general
from training import train_general
from training.loop import config
from training.targets import picture_pairs
from training.train_general import GeneralTraining, Student, layer_shapes, whitening

PHOTOS = ROOT / "assets" / "photos"


@pytest.fixture
def art(tmp_path: Path) -> Path:
    """Two kinds of art, two pictures each: photos will do."""
    for kind, names in {"a": ("coffee", "china"), "b": ("coins", "flower")}.items():
        (tmp_path / "art" / kind).mkdir(parents=True)
        for name in names:
            shutil.copy(PHOTOS / f"{name}.jpg", tmp_path / "art" / kind)
    return tmp_path / "art"


def test_codes_are_whitened() -> None:
    moments = torch.randn(200, 12, generator=torch.Generator().manual_seed(0)) @ torch.randn(12, 30)
    white = whitening(moments, 8)
    codes = (moments - moments.mean(0)) @ white.T
    assert torch.allclose(codes.T @ codes / len(codes), torch.eye(8), atol=1e-3)
    assert torch.equal(whitening(moments[:3], 8)[3:], torch.zeros(5, 30))  # there are no more axes than pictures


def test_training_sees_what_the_engine_will_do(art: Path) -> None:
    """The layers beside the base's, with a style for each picture of the batch, are the LoRA that a picture gets."""
    base = Base.open(dtype=torch.float32)
    settings = GeneralTraining(photos=PHOTOS, art=art)
    manners = [PictureReader().read(Image.open(PHOTOS / f"{name}.jpg").convert("RGB")) for name in ("coffee", "chelsea")]
    torch.manual_seed(0)
    general = GeneralAdapter(layer_shapes(base.unet, settings), len(manners[0].moments), codes=4, hidden=8)
    general.axes.normal_(std=0.02)
    for up in general.ups:
        torch.nn.init.normal_(up, std=0.01)
    noisy, embeds = torch.randn(2, 32, 16, 16), base.prompt_embeds()
    timesteps = torch.tensor([8, 8])
    expected = []
    with torch.no_grad():
        for i, manner in enumerate(manners):
            apply.inject(base.unet, general.lora(manner, f"m{i}"))
            with apply.applied(base.unet, {f"m{i}": 1.0}):
                expected.append(base.unet(noisy[i : i + 1], 8, encoder_hidden_states=embeds).sample)
        for i in range(2):
            apply.eject(base.unet, f"m{i}")
        plain = base.unet(noisy[:1], 8, encoder_hidden_states=embeds).sample
        student = Student(base, general)
        seen = student(noisy, timesteps, embeds.expand(2, -1, -1), torch.stack([manner.moments for manner in manners]))
    assert torch.allclose(seen, torch.cat(expected), atol=1e-3)
    assert not torch.allclose(expected[0], plain, atol=1e-2)


def test_from_folders_to_a_file(art: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_pairs, "SHARD", 1)
    monkeypatch.setattr(picture_pairs, "PHOTOS_EACH", 2)
    (tmp_path / "left_out.txt").write_text("china.jpg\n")
    flags = ["--photos", PHOTOS, "--art", art, "--work", tmp_path / "work", "--out", tmp_path / "g.safetensors", "--kinds", "a:0.5,b:0.5"]
    flags += ["--left-out", tmp_path / "left_out.txt", "--pairs", 4, "--steps", 2, "--polish-from", 1, "--batch", 2, "--resolution", 128]
    flags += ["--rank", 2, "--fine-rank", 2, "--bias-rank", 2, "--codes", 3, "--hidden", 4, "--track", "none", "--device", "cpu"]
    assert train_general.main([str(flag) for flag in flags]) == 0
    first = load_general(tmp_path / "g.safetensors").state_dict()
    lora = load_general(tmp_path / "g.safetensors").lora(PictureReader().read(Image.open(PHOTOS / "rocket.jpg").convert("RGB")), "r")
    lora_weights.check_fits(lora, Base.open().unet)
    assert any(up.any() for _, up in lora.modules.values())
    assert train_general.main([str(flag) for flag in flags]) == 0  # all is done: the same again
    again = load_general(tmp_path / "g.safetensors").state_dict()
    assert all(torch.equal(value, first[name]) for name, value in again.items())


def test_pictures_left_out_are_not_drawn(art: Path) -> None:
    found = picture_pairs.find_art(art, {"a": 0.5, "b": 0.5}, ["china.jpg"])
    assert [path.name for path in found["a"][1]] == ["coffee.jpg"]
    with pytest.raises(StyleError, match="holds no pictures"):
        picture_pairs.find_art(art, {"a": 1.0}, ["china.jpg", "coffee.jpg"])
    with pytest.raises(SettingError, match="kinds is 'a'"):
        _ = GeneralTraining(photos=PHOTOS, art=art, kinds="a").shares


def test_variants_are_whole_pictures_and_repeat() -> None:
    picture = Image.open(PHOTOS / "flower.jpg").convert("RGB")
    made = [picture_pairs.variant(picture, random.Random(seed)) for seed in range(12)]
    assert {one.size for one in made} == {(picture_pairs.STYLE_SIDE,) * 2}
    assert picture_pairs.variant(picture, random.Random(5)).tobytes() == made[5].tobytes()
    assert len({one.tobytes() for one in made}) == 12


def test_the_report_of_style_pictures(tmp_path: Path) -> None:
    photos, styles, out = tmp_path / "photos", tmp_path / "styles", tmp_path / "out"
    for folder in (photos, styles, out):
        folder.mkdir()
    Image.open(PHOTOS / "chelsea.jpg").resize((150, 100)).save(photos / "cat.png")
    Image.open(PHOTOS / "china.jpg").resize((120, 90)).save(styles / "1 A pagoda.png")
    (out / "notes.md").write_text("It looks well.\n")
    assert style_pictures.main(["--photos", str(photos), "--styles", str(styles), "--out", str(out)]) == 0
    text = (out / "report.md").read_text()
    rows = {line.split("|")[2].strip(): line for line in text.splitlines() if line.startswith("| A pagoda")}
    assert set(rows) == set(style_pictures.METHODS)
    assert [float(value) for value in rows["identity"].split("|")[3:5]] == [0.0, 1.0]
    assert text.rstrip().endswith("It looks well.")
    sheet = Image.open(out / "sheet.jpg")
    assert np.asarray(sheet).std() > 10
    assert style_pictures.main(["--photos", str(photos / "none"), "--styles", str(styles), "--out", str(out)]) == 2


def test_the_configuration_in_the_repository_is_valid() -> None:
    path = ROOT / "training" / "configs" / "general" / "pocket.yaml"
    settings = config.parse(GeneralTraining, ["--config", str(path), "--photos", "p", "--art", "a"], "x", "y")
    assert settings.left_out is not None
    assert (ROOT / settings.left_out).is_file()
    assert sum(settings.shares.values()) == pytest.approx(1)
