"""The embedded perceptual network, and how such networks are made from large ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from stylekit import features
from stylekit.errors import BaseError
from stylekit.features import EMBEDDED_FILE, VGGFeatures, load_compressed, load_vgg, save_compressed
from stylekit.images import to_tensor
from training import distill_features

NARROW = ((4, 4), (8, 8), (12, 12, 12), (16, 16, 16), (16, 16, 16))


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """VGG16 with a few channels a layer."""
    monkeypatch.setattr(features, "BLOCKS", NARROW)


@pytest.fixture
def pictures() -> list[torch.Tensor]:
    """Six of (1, 3, 64, 96): blobs."""
    noise = torch.rand(6, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    return list(torch.nn.functional.interpolate(noise, (64, 96), mode="bicubic").clamp(0, 1).mul(2).sub(1).split(1))


def test_the_embedded_network_is_small_names_its_teacher_and_is_calibrated(photo: Image.Image) -> None:
    assert EMBEDDED_FILE.stat().st_size <= 4_000_000
    with safe_open(EMBEDDED_FILE, "pt") as file:
        card = file.metadata()
    assert card["teacher"] in ("hed", "vgg16")
    kept = json.loads(card["agreement"])
    assert list(kept) == ["1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3", "4_1", "4_2", "4_3"]
    assert all(values["features"] > 0.9 and values["gram"] > 0.9 for values in kept.values())
    model = load_vgg("embedded")
    assert (model.backbone, list(model.convs)[-1]) == ("embedded", "4_1")
    power = [feature.pow(2).mean().item() for feature in model(to_tensor(photo)).values()]
    assert all(0.1 < p < 10 for p in power)  # channels in units of their root mean square
    assert not any(value.requires_grad for value in model.parameters())


def test_compressed_weights_come_back_within_8_bits(narrow: None, tmp_path: Path, pictures: list[torch.Tensor]) -> None:
    torch.manual_seed(1)
    model = VGGFeatures("4_3", {"4_2": 5}).calibrate(pictures)
    save_compressed(model, tmp_path / "net.safetensors", {"teacher": "random"}, {"beside": torch.ones(3)})
    back = load_compressed(tmp_path / "net.safetensors")
    for name, value in model.state_dict().items():
        scale = value.abs().amax() if value.dim() == 4 else 0
        assert (back.state_dict()[name] - value).abs().max() <= scale / 254 + 1e-7
    short = load_compressed(tmp_path / "net.safetensors", "2_2")
    torch.testing.assert_close(short(pictures[0])["2_2"], back(pictures[0])["2_2"])
    with pytest.raises(BaseError, match="ends at layer 4_3"):
        load_compressed(tmp_path / "net.safetensors", "5_1")
    with pytest.raises(BaseError, match="no layer '9_9'"):
        VGGFeatures("9_9")
    (tmp_path / "net.safetensors").write_bytes(b"cut")
    with pytest.raises(BaseError, match="cannot be read"):
        load_compressed(tmp_path / "net.safetensors")


def test_a_student_of_full_rank_is_its_teacher_and_one_of_less_is_nearer_the_more_it_has(
    narrow: None, pictures: list[torch.Tensor]
) -> None:
    torch.manual_seed(0)
    teacher = VGGFeatures("4_3").eval().requires_grad_(False)
    for conv in teacher.convs.values():
        torch.nn.init.kaiming_normal_(conv.weight)  # type: ignore[arg-type]
    kept = {rank: distill_features.agreement(teacher, distill_features.distil(teacher, pictures, rank), pictures) for rank in (16, 8, 2)}
    assert kept[16]["3_3"]["features"] == pytest.approx(1)
    assert kept[16]["4_3"]["features"] > 0.97
    assert kept[16]["4_3"]["features"] > kept[8]["4_3"]["features"] > kept[2]["4_3"]["features"]


def test_the_script_writes_a_network_and_says_what_is_left(narrow: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pictures").mkdir()
    for i in range(4):
        source = np.random.default_rng(i)
        small = Image.fromarray(source.integers(0, 255, (10, 14, 3), dtype=np.uint8))
        small.resize((140, 100), Image.Resampling.BICUBIC).save(tmp_path / "pictures" / f"{i}.png")
    arguments = ["--teacher", "random", "--pictures", str(tmp_path / "pictures"), "--held-out", str(tmp_path / "pictures"), "--rank", "8"]
    assert distill_features.main([*arguments, "--count", "4", "--out", str(tmp_path / "net.safetensors")]) == 0
    assert "4_3: " in capsys.readouterr().out
    with safe_open(tmp_path / "net.safetensors", "pt") as file:
        assert set(json.loads(file.metadata()["agreement"])) == {*features.layer_widths("4_3")}
    assert distill_features.main([*arguments[:3], "nowhere", *arguments[4:], "--out", str(tmp_path / "no.safetensors")]) == 2
    assert "nowhere is not a folder" in capsys.readouterr().err
