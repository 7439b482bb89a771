"""The network that sees where things end: taught by a teacher of the tests, resumed, written, and run by OpenCV."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from training import train_contours as contours


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(6):
        picture = np.full((90, 120, 3), rng.integers(40, 200, 3), np.uint8)
        cv2.circle(picture, tuple(int(v) for v in rng.integers(30, 80, 2)), 25, tuple(int(v) for v in rng.integers(0, 255, 3)), -1)
        Image.fromarray(picture).save(folder / f"{i}.png")
    return folder


@pytest.fixture(autouse=True)
def slopes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A teacher that needs no weights: how steep the light is."""

    def teacher(photo: torch.Tensor) -> torch.Tensor:
        light = photo.mean(0)
        return (light.diff(dim=0, append=light[-1:]).abs() + light.diff(dim=1, append=light[:, -1:]).abs()).clamp(0, 1)

    monkeypatch.setattr(contours, "load_teacher", lambda: teacher)
    monkeypatch.setattr(contours, "SIDE", 64)
    monkeypatch.setattr(contours, "SMALLEST", 32)
    monkeypatch.setattr(contours, "CROP", 32)


def trained(photos: Path, folder: Path, steps: int = 4, every: int = 3, **more: Any) -> Path:
    work = {"work": folder / "work", "out": folder / "net.onnx", "track": "none"}
    return contours.train(contours.ContourTraining(photos=photos, steps=steps, batch=2, every=every, warmup=1, **work, **more))


def test_what_is_written_says_what_was_trained(photos: Path, tmp_path: Path) -> None:
    file = trained(photos, tmp_path)
    record = json.loads(file.with_suffix(".json").read_text())
    assert record["photos"] == 4
    assert record["held_out"] == 2
    assert record["steps"] == 4
    assert -1 <= record["agreement"]["correlation"] <= 1
    net = cv2.dnn.readNetFromONNX(str(file))
    net.setInput(np.random.default_rng(1).random((1, 3, 64, 64), np.float32))
    found = net.forward()
    assert found.shape == (1, 1, 64, 64)
    assert 0 <= found.min() <= found.max() <= 1


def test_opencv_gives_what_the_model_gives(tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = contours.Contours()
    contours.settle(
        model, [(torch.randint(0, 255, (3, 64, 64), dtype=torch.uint8), torch.zeros(64, 64, dtype=torch.uint8))] * 8, torch.device("cpu")
    )
    seen = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        wanted = torch.sigmoid(model(seen)).numpy()
    contours.export(model, tmp_path / "net.onnx")
    net = cv2.dnn.readNetFromONNX(str(tmp_path / "net.onnx"))
    net.setInput(seen.numpy())
    assert np.abs(net.forward() - wanted).max() < 1e-4


def test_a_resumed_run_equals_one_without_a_break(photos: Path, tmp_path: Path) -> None:
    trained(photos, tmp_path / "parts", steps=2, schedule="constant")
    parts = trained(photos, tmp_path / "parts", steps=4, schedule="constant")
    whole = trained(photos, tmp_path / "whole", steps=4, schedule="constant")
    assert whole.read_bytes() == parts.read_bytes()


def test_it_learns(photos: Path, tmp_path: Path) -> None:
    first, later = (
        json.loads(trained(photos, tmp_path / str(steps), steps=steps).with_suffix(".json").read_text())["agreement"] for steps in (1, 40)
    )
    assert later["distance"] < first["distance"]


def test_photos_that_are_left_out_are_not_looked_at(photos: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("0.png\n5\n")
    file = trained(photos, tmp_path, every=2, left_out=names)
    record = json.loads(file.with_suffix(".json").read_text())
    assert record["photos"] + record["held_out"] == 4


def test_too_few_photos_are_told(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert contours.main(["--photos", str(photos), "--work", str(tmp_path / "w"), "--out", str(tmp_path / "n.onnx")]) == 2
    assert "holds 6 photos: at least 56 are wanted" in capsys.readouterr().err


def test_crops_stay_in_range() -> None:
    photo, edges = torch.randint(0, 255, (3, 64, 64), dtype=torch.uint8), torch.randint(0, 255, (64, 64), dtype=torch.uint8)
    rng, generator = random.Random(0), torch.Generator().manual_seed(0)
    for _ in range(20):
        seen, wanted = contours._varied(photo, edges, rng, generator)
        assert seen.shape == (3, 32, 32)
        assert wanted.shape == (1, 32, 32)
        for plane in (seen, wanted):
            assert math.isfinite(float(plane.sum()))
            assert 0 <= float(plane.min()) <= float(plane.max()) <= 1
