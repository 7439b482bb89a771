"""How a run ends: a card with pictures, files that others can read, what can be done now; and what a maker changed is never touched."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from PIL import Image

from stylekit.base import Base
from stylekit.storage.paths import STYLES_FOLDER
from stylekit.styles import read_style
from tests.training.test_train_lora import PHOTOS, settings
from training import push, train_lora
from training.style import card_pictures, hanging


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A small photo for the card, which is quicker to draw."""
    photo = tmp_path / "photo.png"
    Image.open(PHOTOS / "coffee.jpg").convert("RGB").resize((96, 72)).save(photo)
    monkeypatch.setattr(hanging, "SHOWN", photo)
    monkeypatch.setattr(card_pictures, "PREVIEW_SIDE", 64)


def test_a_run_ends_as_teaching_does(tmp_path: Path, small: None, capsys: pytest.CaptureFixture[str]) -> None:
    with umask(0o022):
        path = train_lora.train(settings(tmp_path, steps=2, previews=True))
    folder = tmp_path / "styles" / "test"
    said = capsys.readouterr().out
    assert f"--add {folder} --out test.png" in said
    assert f"python -m training.push {folder} --repo OWNER/NAME" in said
    assert f"photos: 2 of {PHOTOS} to train on, 0 held out; targets: procedure:sketch" in said
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert {file.name for file in files} >= {"style.toml", "before.jpg", "preview.jpg", "dial.jpg", "training.json", path.name}
    for file in files:
        assert file.stat().st_mode & 0o044 == 0o044, file
    style = read_style(folder / "style.toml")
    assert all((style.preview, style.before, style.dial))
    assert "licences: " in style.adapters[0].data
    assert {"before.jpg", "preview.jpg", "dial.jpg"} <= set(push.package(style, style.adapters[0], "me/test"))
    made = {name: (folder / name).read_bytes() for name in ("preview.jpg", "style.toml")}
    longer = settings(tmp_path, steps=4, lr=5e-2, previews=True)
    with pytest.raises(Exception, match="lr: "):
        train_lora.train(longer)
    train_lora.train(settings(tmp_path, steps=4, previews=True))  # lengthened: the card and its pictures say so
    assert "4 steps" in read_style(folder / "style.toml").adapters[0].made
    assert (folder / "style.toml").read_bytes() != made["style.toml"]
    card = (folder / "style.toml").read_text().replace('title = "Test"', 'title = "Mine"')
    (folder / "style.toml").write_text(card)
    Image.new("RGB", (64, 64), "red").save(folder / "preview.jpg")
    mine = (folder / "preview.jpg").read_bytes()
    train_lora.train(settings(tmp_path, steps=5, previews=True))
    assert (folder / "style.toml").read_text() == card
    assert (folder / "preview.jpg").read_bytes() == mine
    assert "names this adapter already" in capsys.readouterr().out


def test_a_base_is_loaded_without_a_bar(capfd: pytest.CaptureFixture[str]) -> None:
    Base.open(device="cpu", dtype=torch.float32)
    assert "checkpoint shards" not in capfd.readouterr().err


def test_what_a_style_for_another_base_is_tried_with(tmp_path: Path) -> None:
    """On the pocket base it has no adapter: the commands name the base that it was trained on."""
    for parent, page, chosen in (
        (STYLES_FOLDER, "STYLEKIT_BASE=a/b python app.py", "--style mine"),
        (tmp_path, f"STYLEKIT_BASE=a/b STYLEKIT_STYLES={tmp_path} python app.py", f"--add {tmp_path / 'mine'}"),
    ):
        said = hanging.closing(parent / "mine", "a/b")
        assert page in said
        assert f"{chosen} --base a/b --out mine.png" in said
        assert "--base" not in hanging.closing(parent / "mine")
