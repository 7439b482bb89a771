"""A folder of photos on the command line: resumed, in every format, for prints, and by several processes at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylekit.__main__ import main
from stylekit.batch.jobs import disagreement
from stylekit.results.carriers import read_recipe
from stylekit.storage.paths import ROOT

PHOTO = ROOT / "assets" / "photos" / "chelsea.jpg"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        Image.open(PHOTO).resize((90, 60)).rotate(90 * number, expand=True).save(folder / f"{number}.jpg")
    (folder / "broken.jpg").write_bytes(b"nothing")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_run_that_is_resumed_makes_what_is_missing_and_nothing_else(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = [str(photos), "--style", "popart", "--out", str(out), "--resume", "--format", "webp"]
    assert main(command) == 1  # the broken one
    first = contents(out)
    assert sorted(first) == ["0.webp", "1.webp", "2.webp"]
    assert "3 of 4 photos" in capsys.readouterr().out
    (out / "1.webp").unlink()
    times = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert main(command) == 1
    told = capsys.readouterr()
    assert "2 of 4 are there already, with the same recipe" in told.err
    assert "3 of 4 photos" in told.out
    assert contents(out) == first
    assert all((out / name).stat().st_mtime_ns == when for name, when in times.items())
    # other settings, another size, a photo that has changed since: never skipped, and replaced only when that is asked for
    for more in (["--seed", "3"], ["--print", "postcard"]):
        assert main([*command, *more]) == 2
        assert "holds 3 files (0.webp, 1.webp, 2.webp) of other settings" in capsys.readouterr().err
    assert contents(out) == first
    later = time.time() + 60
    os.utime(photos / "2.jpg", (later, later))
    assert main(command) == 2
    assert "holds 1 file (2.webp) of other settings or other photos" in capsys.readouterr().err
    assert main([*command, "--seed", "3", "--overwrite"]) == 1
    assert read_recipe(out / "0.webp").seed == 3
    assert contents(out).keys() == first.keys()


def test_a_print_is_drawn_at_its_own_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "poster.jpg"
    assert main([str(PHOTO), "--style", "sketch", "--print", "postcard", "--out", str(out)]) == 0
    with Image.open(out) as picture:
        assert picture.size == (1748, 1163)
        assert picture.info["dpi"] == (300, 300)
        sharp = np.abs(np.diff(np.asarray(picture.convert("L"), np.float32), axis=1)).mean()
    small = tmp_path / "small.png"
    assert main([str(PHOTO), "--recipe", str(out), "--out", str(small)]) == 0
    with Image.open(small) as picture:
        enlarged = np.asarray(picture.convert("L").resize((1748, 1163), Image.Resampling.LANCZOS), np.float32)
    assert sharp > 1.2 * np.abs(np.diff(enlarged, axis=1)).mean()  # drawn, not enlarged
    capsys.readouterr()
    assert main([str(PHOTO), "--style", "sketch", "--format", "webp", "--out", str(tmp_path / "a.png")]) == 2
    assert "a.png is no name for webp: let it end in .webp" in capsys.readouterr().err


@pytest.mark.slow
def test_processes_make_the_same_pictures_and_one_summary(photos: Path, tmp_path: Path) -> None:
    """As ``accelerate launch -m stylekit`` starts them, on a folder that has one of the results already."""
    alone, together = tmp_path / "alone", tmp_path / "together"
    flags = ["--style", "ukiyoe", "--size", "128"]
    assert main([str(photos), *flags, "--out", str(alone)]) == 1
    together.mkdir()
    shutil.copy(alone / "1.png", together)
    there = (together / "1.png").stat().st_mtime_ns
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "stylekit"]
    command = [*start, str(photos), *flags, "--out", str(together), "--resume"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.count("3 of 4 photos") == 1, done.stderr
    assert done.stderr.count("1 of 4 are there already") == 1
    assert done.returncode == 1  # as with one process, since one photo is broken
    pictures = {path.name: np.asarray(Image.open(path)) for path in alone.iterdir()}
    assert {path.name for path in together.iterdir()} == pictures.keys()
    for name, picture in pictures.items():
        assert np.array_equal(np.asarray(Image.open(together / name)), picture), name
    assert (together / "1.png").stat().st_mtime_ns == there


def test_processes_that_see_different_photos_stop() -> None:
    assert disagreement([("", "a"), ("", "a")]) == ""
    assert "do not see the same photos" in disagreement([("", "a"), ("", "b")])
    assert disagreement([("", "a"), ("No photo.", "")]) == "No photo."
