"""The scripts that made the pocket base, from folders to a base that loads, in two steps a stage."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from stylekit.base import Base
from stylekit.recipe import Recipe
from stylekit.storage.paths import ROOT
from stylekit.styles import StyleLibrary
from stylekit.stylizer import Stylizer
from training import train_pocket


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    """Flags naming two training photos, a held-out one and one work of art."""
    photos, art = tmp_path / "photos", tmp_path / "art"
    photos.mkdir()
    art.mkdir()
    rows = ["file\tcoco_id\tsplit"]
    for i, (name, split) in enumerate((("coffee", "train2017"), ("rocket", "train2017"), ("astronaut", "val2017"))):
        shutil.copy(ROOT / "assets" / "photos" / f"{name}.jpg", photos)
        rows.append(f"{name}.jpg\t{i}\t{split}")
    shutil.copy(ROOT / "assets" / "photos" / "china.jpg", art)
    (tmp_path / "split.tsv").write_text("\n".join(rows) + "\n")
    return ["--photos", str(photos), "--split", str(tmp_path / "split.tsv"), "--art", str(art), "--work", str(tmp_path / "work")]


def test_both_stages_resume_and_export_a_base_that_loads(
    folders: list[str], tmp_path: Path, photo: Image.Image, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = str(torch.get_num_threads())
    monkeypatch.setattr("training.targets.procedural.PROCEDURES", {"sketch": lambda picture: picture[:, ::-1]})
    assert train_pocket.main(["autoencoder", *folders, "--steps", "2", "--backbone", "random", "--threads", threads]) == 0
    assert "PCA start" in capsys.readouterr().out
    assert train_pocket.main(["unet", *folders, "--steps", "2", "--batch", "1", "--threads", threads]) == 0
    assert train_pocket.main(["unet", *folders, "--steps", "3", "--batch", "1", "--threads", threads]) == 0
    assert "resumed at step 2" in capsys.readouterr().out
    out = tmp_path / "base"
    assert train_pocket.main(["export", "--work", str(tmp_path / "work"), "--out", str(out), "--split", str(tmp_path / "split.tsv")]) == 0
    assert (out / "held_out.txt").read_text().split() == ["2"]
    assert max(p.stat().st_size for p in out.rglob("*") if p.is_file()) < 10e6
    base = Base.open(str(out), device="cpu")
    assert base.card.title == "pocket"
    assert base.prediction_type == "sample"
    result = Stylizer(base, StyleLibrary(styles=())).stylize(photo, Recipe(base=str(out)))
    assert result.image.size == photo.size
