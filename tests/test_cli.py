"""The command line, as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylekit.__main__ import main
from stylekit.recipe import Recipe

ROOT = Path(__file__).resolve().parent.parent
PHOTO = ROOT / "assets" / "photos" / "chelsea.jpg"
SMALL = ["--size", "128"]


def test_one_photo_in_a_process_of_its_own(tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    command = [
        sys.executable,
        "-m",
        "stylekit",
        str(PHOTO),
        "--style",
        "sketch",
        "--strength",
        "0.8",
        "--seed",
        "5",
        "--out",
        str(out),
        *SMALL,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "out.png" in done.stdout
    assert Image.open(out).size == Image.open(PHOTO).size
    recipe = Recipe.from_png(out)
    assert (str(recipe.mix), recipe.strength, recipe.seed, recipe.size) == ("sketch", 0.8, 5, 128)


def test_a_recipe_repeats_the_same_pixels(tmp_path: Path) -> None:
    first, second = tmp_path / "a.png", tmp_path / "b.png"
    assert main([str(PHOTO), "--style", "sketch:0.6,ukiyoe:0.4", "--seed", "9", "--out", str(first), *SMALL]) == 0
    assert main([str(PHOTO), "--recipe", str(first), "--out", str(second)]) == 0
    assert np.array_equal(np.asarray(Image.open(first)), np.asarray(Image.open(second)))
    third = tmp_path / "c.png"
    assert main([str(PHOTO), "--recipe", str(first), "--seed", "10", "--out", str(third)]) == 0
    assert Recipe.from_png(third) == Recipe.from_png(first).with_(seed=10)


def test_a_folder_with_a_bad_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    picture = Image.open(PHOTO).resize((90, 60))
    picture.save(photos / "a.jpg")
    picture.save(photos / "a.png")
    (photos / "broken.jpg").write_bytes(b"nothing")
    (photos / "notes.txt").write_text("not a picture")
    assert main([str(photos), "--style", "sketch", "--out", str(out), *SMALL]) == 1
    assert sorted(p.name for p in out.iterdir()) == ["a.png", "a.png.png"]
    text = capsys.readouterr()
    assert "broken.jpg" in text.err
    assert "Traceback" not in text.err
    assert "2 of 3" in text.out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["none.jpg", "--style", "sketch"], "does not exist"),
        ([str(PHOTO), "--style", "rembrandt"], "no style 'rembrandt'"),
        ([str(PHOTO), "--style", "sketch", "--strength", "1.5"], "strength is 1.5"),
        ([str(PHOTO), "--style", "sketch", "--strength", "nan"], "strength is nan"),
        ([str(PHOTO), "--style", "sketch", "--steps", "0"], "num_inference_steps is 0"),
        ([str(PHOTO), "--style", "sketch", "--seed", "-1"], "seed is -1"),
        ([str(PHOTO), "--style", "sketch", "--base", "nowhere"], "no base 'nowhere'"),
        ([str(PHOTO), "--style", "sketch:much"], "not a number"),
        ([str(PHOTO)], "No style"),
        ([str(PHOTO), "--recipe", str(PHOTO)], "carries no recipe"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: Path, arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.png"
    assert main([*arguments, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if line.startswith("stylekit: ")]
    assert len(lines) == 1
    assert word in lines[0]
    assert lines[0].endswith(".")
    assert "Traceback" not in error
    assert not out.exists()


def test_bad_outputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(PHOTO), "--style", "sketch", "--out", str(tmp_path / "a.jpg")]) == 2
    assert "does not end in .png" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "empty"), "--style", "sketch", "--out", str(tmp_path / "o")]) == 2
    assert "holds no pictures" in capsys.readouterr().err


def test_the_photo_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = tmp_path / "a.png"
    Image.open(PHOTO).resize((60, 40)).save(photo)
    before = photo.read_bytes()
    assert main([str(photo), "--style", "sketch", "--out", str(photo), *SMALL]) == 1
    assert "photo itself" in capsys.readouterr().err
    assert photo.read_bytes() == before
