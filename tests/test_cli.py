"""The command line, as a user runs it."""

from __future__ import annotations

import importlib
import shutil
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


COMMANDS = ["stylekit.__main__", "stylekit.kohya"]
for folder in ("training", "eval"):
    COMMANDS += [f"{folder}.{path.stem}" for path in sorted((ROOT / folder).glob("*.py")) if "def main(argv" in path.read_text()]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = importlib.import_module(name).main(["--help"])
    except SystemExit as left:
        code = left.code
    assert code == 0
    assert "usage: " in capsys.readouterr().out


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


def draw_mask(path: Path, size: tuple[int, int] = (451, 300), mode: str = "L", level: int = 255) -> Path:
    """White on the left third, black elsewhere."""
    mask = Image.new(mode, size)
    mask.paste(level, (0, 0, size[0] // 3, size[1]))
    mask.save(path)
    return path


def test_a_mask_keeps_the_rest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask, out = draw_mask(tmp_path / "mask.png"), tmp_path / "out.png"
    flags = ["--style", "sketch", "--mask", str(mask), "--strength", "0.9", "--feather", "0.02", "--structure", "0.3", "--keep-colours"]
    assert main([str(PHOTO), *flags, "--match-border", "--out", str(out), *SMALL]) == 0
    result, photo = np.asarray(Image.open(out)), np.asarray(Image.open(PHOTO).convert("RGB"))
    assert np.array_equal(result[:, 160:], photo[:, 160:])
    assert np.abs(result.astype(float) - photo)[:, :140].mean() > 5
    assert "fitted" not in capsys.readouterr().err
    recipe = Recipe.from_png(out)
    assert (recipe.structure, recipe.keep_colours, recipe.match_border, recipe.feather) == (0.3, 1.0, True, 0.02)
    again = tmp_path / "again.png"
    assert main([str(PHOTO), "--recipe", str(out), "--out", str(again)]) == 0
    assert np.array_equal(np.asarray(Image.open(again)), result)


def test_regions_and_what_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    left, out = draw_mask(tmp_path / "left.png", (150, 100), level=200), tmp_path / "out.png"
    assert main([str(PHOTO), "--region", f"ukiyoe={left}", "--style", "sketch", "--out", str(out), *SMALL]) == 0
    assert "left.png is 150 x 100 and is fitted to 451 x 300" in capsys.readouterr().err
    weights = Recipe.from_png(out).mix.at((150, 100))
    assert weights["ukiyoe"][50, 20] == pytest.approx(200 / 255, abs=0.01)  # type: ignore[index]
    assert weights["sketch"][50, 20] == pytest.approx(55 / 255, abs=0.01)  # type: ignore[index]
    assert weights["sketch"][50, 120] == 1  # type: ignore[index]
    right = draw_mask(tmp_path / "all.png", (450, 300), "RGB", level=0xFFFFFF)
    assert main([str(PHOTO), "--region", f"ukiyoe={left}", "--region", f"sketch={right}", "--out", str(out), *SMALL]) == 0
    assert Recipe.from_png(out).mix.names == ("ukiyoe", "sketch")


def test_a_mask_over_a_folder_goes_on_photos_of_its_shape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.open(PHOTO).resize((90, 60)).save(photos / "wide.png")
    Image.open(PHOTO).resize((60, 90)).save(photos / "tall.png")
    mask = draw_mask(tmp_path / "mask.png", (180, 120))
    assert main([str(photos), "--style", "sketch", "--mask", str(mask), "--out", str(tmp_path / "out"), *SMALL]) == 1
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["wide.png"]
    assert "mask.png is 180 x 120 but tall.png is 60 x 90" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (["--style", "sketch", "--mask", "{black}"], "black everywhere"),
        (["--region", "sketch={black}"], "black everywhere"),
        (["--style", "sketch", "--mask", "{square}"], "square.png is 40 x 40 but chelsea.jpg is 451 x 300"),
        (["--style", "sketch", "--mask", "{dot}"], "both sides must have at least"),
        (["--style", "sketch", "--mask", "{text}"], "not a picture"),
        (["--style", "sketch", "--mask", "none.png"], "does not exist"),
        (["--region", "{good}"], "not STYLE=MASK"),
        (["--region", "rembrandt={good}"], "no style 'rembrandt'"),
        (["--region", "sketch={good}", "--region", "sketch={good}"], "two regions"),
        (["--style", "sketch:nan", "--region", "ukiyoe={good}"], "weight of sketch is nan"),
        (["--style", "sketch", "--mask", "{good}", "--strength", "nan"], "strength is nan"),
        (["--style", "sketch", "--structure", "2"], "structure is 2.0"),
        (["--style", "sketch", "--keep-colours", "-1"], "keep_colours is -1.0"),
        (["--style", "sketch", "--feather", "0.5"], "feather is 0.5"),
    ],
)
def test_mistakes_with_masks_are_one_sentence(tmp_path: Path, flags: list[str], word: str, capsys: pytest.CaptureFixture[str]) -> None:
    files = {name: str(tmp_path / f"{name}.png") for name in ("black", "square", "dot", "text", "good")}
    Image.new("L", (451, 300)).save(files["black"])
    Image.new("L", (40, 40), 255).save(files["square"])
    Image.new("L", (1, 1), 255).save(files["dot"])
    Path(files["text"]).write_text("no picture")
    draw_mask(Path(files["good"]))
    test_mistakes_are_one_sentence(tmp_path, [str(PHOTO), *(flag.format(**files) for flag in flags)], word, capsys)


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


def test_a_style_from_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    shutil.copy(ROOT / "styles" / "sketch" / "pocket" / "pytorch_lora_weights.safetensors", tmp_path / "mine")
    first, second = tmp_path / "a.png", tmp_path / "b.png"
    assert main([str(PHOTO), "--add", str(tmp_path / "mine"), "--out", str(first), *SMALL]) == 0
    name = str(Recipe.from_png(first).mix)
    assert f"is the style {name}" in capsys.readouterr().out
    assert main([str(PHOTO), "--add", str(tmp_path / "mine"), "--style", f"{name}:0.5,monet:0.5", "--out", str(second), *SMALL]) == 0
    assert not np.array_equal(np.asarray(Image.open(first)), np.asarray(Image.open(second)))
    assert main([str(PHOTO), "--add", str(tmp_path / "nowhere"), "--out", str(tmp_path / "c.png")]) == 2
    assert "nowhere" in capsys.readouterr().err
