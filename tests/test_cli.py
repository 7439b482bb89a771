"""The command line, as a user runs it."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from stylekit.__main__ import main, split_region
from stylekit.errors import SettingError
from stylekit.recipe import Recipe
from stylekit.storage.paths import ROOT
from stylekit.styles import StyleLibrary

PHOTO = ROOT / "assets" / "photos" / "chelsea.jpg"
SMALL = ["--size", "128"]


COMMANDS = ["stylekit.__main__", "stylekit.adapters.convert"]
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_regions_and_what_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    left, out = draw_mask(tmp_path / "left.png", (150, 100), level=200), tmp_path / "out.png"
    assert main([str(PHOTO), "--region", f"ukiyoe={left}", "--style", "sketch", "--out", str(out), *SMALL]) == 0
    assert "left.png is 150 x 100 and is fitted to 451 x 300" in capsys.readouterr().err
    weights = Recipe.from_png(out).mix.at((150, 100))
    assert weights["ukiyoe"][50, 20] == pytest.approx(200 / 255, abs=0.01)  # type: ignore[index]
    assert weights["sketch"][50, 20] == pytest.approx(55 / 255, abs=0.01)  # type: ignore[index]
    assert weights["sketch"][50, 120] == 1  # type: ignore[index]
    right = draw_mask(tmp_path / "all.png", (450, 300), "RGB", level=0xFFFFFF)
    assert main([str(PHOTO), "--region", f"ukiyoe={left}", "--region", f"sketch={right}", "--out", str(out), "--overwrite", *SMALL]) == 0
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
    assert main([str(PHOTO), "--style", "sketch", "--out", str(tmp_path / "a.bmp")]) == 2
    assert "does not end in .png, .jpg, .jpeg or .webp" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "empty"), "--style", "sketch", "--out", str(tmp_path / "o")]) == 2
    assert "holds no pictures" in capsys.readouterr().err


def test_the_photo_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = tmp_path / "a.png"
    Image.open(PHOTO).resize((60, 40)).save(photo)
    before = photo.read_bytes()
    assert main([str(photo), "--style", "sketch", "--out", str(photo), "--overwrite", *SMALL]) == 2
    assert "photo itself" in capsys.readouterr().err
    assert photo.read_bytes() == before


def small_photo(path: Path, seed: int = 0) -> Path:
    """Chelsea, small, another one for every seed."""
    Image.open(PHOTO).resize((120, 80)).rotate(180 * (seed % 2)).save(path)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_batch_into_its_own_folder_changes_no_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, name in enumerate(("cat.jpg", "cat.png", "Dog.jpg", "dog.png")):
        small_photo(tmp_path / name, seed)
    before = contents(tmp_path)
    command = [str(tmp_path), "--style", "sketch", "--out", str(tmp_path), *SMALL]
    assert main(command) == 0
    after = contents(tmp_path)
    assert {name: after[name] for name in before} == before
    assert sorted(after.keys() - before.keys()) == ["Dog.jpg.png", "cat.jpg.png", "cat.png.png", "dog.png.png"]
    told = capsys.readouterr()
    assert "4 of 4" in told.out
    assert "cat.jpg becomes cat.jpg.png, since cat.png is taken" in told.err
    # once more: earlier results are no photos, and are replaced only when that is asked for
    assert main(command) == 2
    told = capsys.readouterr()
    assert "left out 4 files" in told.err
    assert "--overwrite" in told.err
    assert contents(tmp_path) == after
    assert main([*command, "--overwrite", "--strength", "0.5"]) == 0
    last = contents(tmp_path)
    assert last.keys() == after.keys()
    assert {name: last[name] for name in before} == before
    assert all(last[name] != after[name] for name in after.keys() - before.keys())


def test_a_result_that_is_there_is_replaced_only_when_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo, out, folder = small_photo(tmp_path / "a.jpg"), tmp_path / "b.png", tmp_path / "results"
    folder.mkdir()
    for kept in (out, folder / "a.png"):
        kept.write_bytes(b"of the user")
    for target, name in ((out, "b.png"), (folder, "a.png")):
        command = [str(photo), "--style", "sketch", "--out", str(target), *SMALL]
        assert main(command) == 2
        assert f"holds 1 file ({name}) already: add --overwrite" in capsys.readouterr().err
        assert main([*command, "--overwrite"]) == 0
    assert Recipe.from_png(out) == Recipe.from_png(folder / "a.png")


def test_no_result_is_a_file_that_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo, mask = small_photo(tmp_path / "a.jpg"), draw_mask(tmp_path / "a.png", (120, 80))
    painting = small_photo(tmp_path / "b.png")
    before = contents(tmp_path)
    flags = ["--style", "sketch", "--mask", str(mask), "--overwrite", *SMALL]
    for out, more in ((mask, []), (painting, ["--style-image", f"{painting}:0.5"]), (painting, ["--region", f"{painting}={mask}"])):
        assert main([str(photo), *flags, *more, "--out", str(out)]) == 2
        assert "is one of the files to be read" in capsys.readouterr().err
    (tmp_path / "link.png").symlink_to(mask)
    assert main([str(photo), *flags, "--out", str(tmp_path / "link.png")]) == 2
    (tmp_path / "link.png").unlink()
    assert contents(tmp_path) == before
    assert main([str(photo), *flags, "--out", str(tmp_path)]) == 0  # into a folder, the name is free to choose
    assert contents(tmp_path).keys() - before.keys() == {"a.jpg.png"}


def test_what_a_folder_holds_besides_is_counted_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = tmp_path / "photos"
    (photos / "more").mkdir(parents=True)
    for name in ("a.jfif", "b.jpe", "c.pgm", "d.mpo", "e.heic"):
        kind = {".pgm": "PPM", ".heic": "HEIF"}.get(Path(name).suffix, "JPEG")
        picture = Image.open(PHOTO).resize((90, 60))
        if kind == "HEIF":
            pillow_heif.from_pillow(picture).save(photos / name)
        else:
            picture.convert("L").save(photos / name, kind)
    for name in ("drawing.svg", "raw.cr2", "notes.txt", ".hidden"):
        (photos / name).write_text("no picture")
    assert main([str(photos), "--style", "sketch", "--out", str(tmp_path / "out"), *SMALL]) == 0
    told = capsys.readouterr()
    assert "5 of 5" in told.out
    assert "photos: left out 3 files (drawing.svg, more/, raw.cr2)" in told.err


def test_a_region_finds_its_mask_behind_any_equals_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small_photo(tmp_path / "v=1.jpg")
    draw_mask(tmp_path / "mask.png", (120, 80))
    assert split_region("v=1.jpg=mask.png") == ("v=1.jpg", "mask.png")
    assert split_region("sketch=mask.png") == ("sketch", "mask.png")
    assert split_region("sketch=none.png") == ("sketch", "none.png")
    shutil.copy("mask.png", "a=b.png")
    assert split_region("sketch=a=b.png") == ("sketch", "a=b.png")
    assert split_region("v=1.jpg=a=b.png") == ("v=1.jpg", "a=b.png")
    shutil.copy("mask.png", "1.jpg=mask.png")
    assert split_region("v=1.jpg=mask.png") == ("v=1.jpg", "mask.png")  # the style picture is there too
    (tmp_path / "v").write_bytes(b"")
    with pytest.raises(SettingError, match="can mean"):
        split_region("v=1.jpg=mask.png")
    (tmp_path / "v").unlink()
    small_photo(tmp_path / "photo.jpg", 1)
    assert main(["photo.jpg", "--region", "v=1.jpg=mask.png", "--out", "out.png", *SMALL]) == 0
    assert [name.startswith("picture-") for name in Recipe.from_png("out.png").mix.names] == [True]


def test_two_regions_of_one_picture_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    painting, mask = small_photo(tmp_path / "a.png"), draw_mask(tmp_path / "mask.png", (451, 300))
    twin = shutil.copy(painting, tmp_path / "b.png")
    out = tmp_path / "out.png"
    assert main([str(PHOTO), "--region", f"{painting}={mask}", "--region", f"{twin}={mask}", "--out", str(out), *SMALL]) == 2
    assert "the same picture, b.png" in capsys.readouterr().err


def test_ranges_that_had_to_be_found_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo, mask, out = tmp_path / "g12.png", tmp_path / "mask.png", tmp_path / "out.png"
    grey = np.asarray(Image.open(PHOTO).resize((90, 60)).convert("L"))
    Image.fromarray(grey.astype(np.uint16) * 16).save(photo)
    zero_one = np.zeros((60, 90), np.uint8)
    zero_one[:, :30] = 1
    Image.fromarray(zero_one).save(mask)
    assert main([str(photo), "--style", "sketch", "--mask", str(mask), "--out", str(out), *SMALL]) == 0
    told = capsys.readouterr().err
    assert "stylekit: g12.png: its greatest value is" in told
    assert "4095 is taken as white" in told
    assert "stylekit: mask.png: its brightest value is 1 of 255 and is taken as white" in told
    result = np.asarray(Image.open(out).convert("L"), np.float32)
    assert np.abs(result[:, 60:] - grey[:, 60:]).max() <= 2  # beyond the mask the photo, as bright as it is
    assert np.abs(result[:, :25] - grey[:, :25]).mean() > 5
    many = Image.fromarray(np.arange(90, dtype=np.uint8)[None].repeat(60, 0) // 10)
    many.save(mask)
    assert main([str(photo), "--style", "sketch", "--mask", str(mask), "--out", str(tmp_path / "no.png"), *SMALL]) == 2
    assert "mask.png has 9 values from 0 to 8 of 255, so that it is not clear what is white" in capsys.readouterr().err


def test_an_empty_file_is_called_empty_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("empty.png", "empty.safetensors"):
        (tmp_path / name).touch()
    empty, out = str(tmp_path / "empty.png"), str(tmp_path / "out.png")
    adapter = str(tmp_path / "empty.safetensors")
    for arguments in (
        [empty, "--style", "sketch"],
        [str(PHOTO), "--recipe", empty],
        [str(PHOTO), "--style", "sketch", "--mask", empty],
        [str(PHOTO), "--style-image", empty],
        [str(PHOTO), "--add", adapter],
    ):
        assert main([*arguments, "--out", out]) == 2
        assert re.search(r"stylekit: .*empty\.(png|safetensors) is empty \(0 bytes\)", capsys.readouterr().err), arguments


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


@pytest.mark.parametrize(
    "flags",
    [
        ["{long}.jpg", "--style", "sketch"],
        ["{photo}", "--style", "sketch", "--out", "{long}.png"],
        ["{photo}", "--style", "{long}"],
        ["{photo}", "--add", "{long}"],
        ["{photo}", "--style-image", "{long}"],
        ["{photo}", "--style", "sketch", "--region", "monet={long}"],
        ["{photo}", "--region", "{long}={photo}"],
        ["{photo}", "--style", "sketch", "--mask", "{long}"],
        ["{photo}", "--recipe", "{long}"],
        ["{photo}", "--style", "sketch", "--base", "{long}"],
        ["{photo}", "--style", "sketch", "--ip-adapter", "{long}"],
    ],
)
def test_names_that_no_file_can_have_are_told_in_a_sentence(
    flags: list[str], root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = str(root / "assets" / "photos" / "chelsea.jpg")
    argv = [flag.format(long="x" * 300, photo=photo) for flag in flags]
    argv += [] if "--out" in argv else ["--out", str(tmp_path / "o.png")]
    try:
        code = main(argv)
    except SystemExit as exit_:  # argparse's
        code = exit_.code
    assert code == 2
    error = capsys.readouterr().err
    assert "xxxx" in error
    assert len(error.splitlines()[-1]) < 300


def test_a_bad_card_beside_the_others_is_told_and_the_others_paint(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    styles = tmp_path / "styles"
    shutil.copytree(root / "styles" / "sketch", styles / "sketch")
    (styles / "bad").mkdir()
    (styles / "bad" / "style.toml").write_text("title = ")
    real = StyleLibrary.open
    monkeypatch.setattr(StyleLibrary, "open", classmethod(lambda cls, folder=styles: real(styles)))
    photo, out = str(root / "assets" / "photos" / "chelsea.jpg"), tmp_path / "o.png"
    assert main([photo, "--style", "sketch", "--size", "64", "--steps", "1", "--out", str(out)]) == 0
    assert "stylekit: the style bad is left out. The style card bad/style.toml cannot be read" in capsys.readouterr().err
    assert out.is_file()
