"""Preparing data: what goes in comes out once, whole, captioned, split and accounted for; whatever goes wrong is said and harms nothing."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stylekit.errors import StyleError
from stylekit.images import save_png
from stylekit.storage.paths import ROOT
from training import prepare as module
from training.pictures.choose import choose, scan_file, split_of
from training.pictures.preparation import Preparation
from training.pictures.sources import Source
from training.pictures.write import fit
from training.prepare import main, prepare

PHOTOS = ROOT / "assets" / "photos"


def noise(seed: int, size: tuple[int, int] = (120, 90)) -> Image.Image:
    """A smooth random picture, unlike any with another seed."""
    small = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "art"
    (folder / "deep").mkdir(parents=True)
    for i in range(12):
        noise(i).save(folder / ("deep" if i % 2 else "") / f"work {i}.png")
    return folder


def settings(source: Path, **changes: Any) -> Preparation:
    return Preparation(**({"sources": (source,), "out": source.parent / "out", "style": "test", "size": 64} | changes))


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def tree(out: Path) -> dict[str, bytes]:
    """Everything but the journal, whose lines may lie in another order."""
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file() and p.parent.name != ".prepare"}


def test_every_picture_comes_out_once_with_its_facts(source: Path) -> None:
    report, changed = prepare(settings(source, trigger="a test  painting", license="CC0", artist="Nobody"))
    out = source.parent / "out"
    assert changed
    assert report["found"] == report["kept"] == 12 == report["train"] + report["held_out"]
    manifest = rows(out)
    assert {row["source"] for row in manifest} == {f"art/{'deep/' if i % 2 else ''}work {i}.png" for i in range(12)}
    for row in manifest:
        path = out / row["file_name"]
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert picture.size == (int(row["width"]), int(row["height"])) == (85, 64)
        assert row["file_name"].split("/")[0] == row["split"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == row["sha256"]
        assert hashlib.sha256((source.parent / row["source"]).read_bytes()).hexdigest() == row["source_sha256"]
        assert (row["source_width"], row["source_height"], row["license"], row["artist"]) == ("120", "90", "CC0", "Nobody")
    for split in ("train", "held_out"):
        lines = [json.loads(line) for line in (out / split / "metadata.jsonl").read_text().splitlines()]
        assert [line["file_name"] for line in lines] == sorted(p.name for p in (out / split).glob("*.png"))
        assert {line["text"] for line in lines} == {"a test painting"}
    assert not any(str(source.parent).encode() in content for content in tree(out).values())


def test_the_datasets_library_reads_the_folder(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    report, _ = prepare(settings(source))
    loaded = datasets.load_dataset(
        "imagefolder", data_dir=str(tmp_path / "out" / "train"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert len(loaded) == report["train"]
    assert loaded[0]["text"] == "test style"
    assert loaded[0]["image"].size == (85, 64)


def test_bad_files_and_copies_are_left_out_and_named(source: Path) -> None:
    whole = io.BytesIO()
    noise(50).save(whole, format="JPEG")
    (source / "cut.jpg").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    (source / "empty.png").write_bytes(b"")
    (source / "text.png").write_text("not a picture")
    noise(51, (12, 12)).save(source / "tiny.png")
    (source / "._work 0.png").write_bytes(b"what a Mac leaves behind")
    shutil.copy(source / "work 0.png", source / "zz same.png")
    noise(2, (240, 180)).convert("RGB").save(source / "large 2.jpg", quality=70)
    report, _ = prepare(settings(source))
    assert {entry["source"] for entry in report["unusable"]} == {"art/cut.jpg", "art/empty.png", "art/text.png", "art/tiny.png"}
    assert all(entry["error"] for entry in report["unusable"])
    assert report["duplicates"] == [{"source": "art/zz same.png", "of": "art/work 0.png"}]
    assert [(entry["source"], entry["of"]) for entry in report["near_duplicates"]] == [("art/work 2.png", "art/large 2.jpg")]
    assert report["kept"] == 12
    kept, _ = prepare(settings(source, out=source.parent / "all", near=-1))
    assert kept["kept"] == 13


def test_flat_pictures_are_no_near_duplicates(tmp_path: Path) -> None:
    for name, colour in (("a", "red"), ("b", "blue"), ("c", "white")):
        (tmp_path / "art").mkdir(exist_ok=True)
        Image.new("RGB", (64, 64), colour).save(tmp_path / "art" / f"{name}.png")
    assert prepare(settings(tmp_path / "art", split=1))[0]["kept"] == 3


def test_pictures_are_brought_upright(tmp_path: Path) -> None:
    folder = tmp_path / "art"
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side: turn by 90 degrees clockwise to show
    picture = Image.new("RGB", (120, 80), "blue")
    picture.paste("red", (0, 0, 40, 80))  # the left third as stored is the top third as shown
    picture.save(folder / "turned.jpg", exif=exif, quality=95)
    prepare(settings(folder, split=1, size=80))
    (row,) = rows(tmp_path / "out")
    assert (row["source_width"], row["source_height"]) == (row["width"], row["height"]) == ("80", "120")
    with Image.open(tmp_path / "out" / row["file_name"]) as shown:
        assert shown.getpixel((40, 10))[0] > 200 > 100 > shown.getpixel((40, 110))[0]


@pytest.mark.parametrize("size", [(100, 40), (40, 100), (64, 64), (33, 500), (900, 310)])
@pytest.mark.parametrize("crop", ["none", "center", "smart"])
@pytest.mark.parametrize("enlarge", [1.0, 1.5, 4.0])
def test_nothing_is_enlarged_beyond_the_factor(size: tuple[int, int], crop: str, enlarge: float, tmp_path: Path) -> None:
    wanted = settings(tmp_path, size=64, crop=crop, enlarge=enlarge)
    result = fit(noise(0, size), wanted)
    assert min(result.size) == min(64, round(min(size) * enlarge))
    if crop == "none":
        assert result.width / result.height == pytest.approx(size[0] / size[1], rel=0.03)
    else:
        assert result.width == result.height


def test_small_pictures_are_kept_and_reported(source: Path) -> None:
    report, _ = prepare(settings(source, size=200))
    assert len(report["small"]) == 12
    assert {(row["width"], row["height"]) for row in rows(source.parent / "out")} == {("120", "90")}
    assert prepare(settings(source, size=200, enlarge=3, out=source.parent / "large"))[0]["small"] == []


@pytest.mark.parametrize("upright", [False, True])
def test_the_smart_crop_goes_where_the_edges_are(tmp_path: Path, rng: np.random.Generator, upright: bool) -> None:
    array = np.full((64, 256, 3), 128, np.uint8)
    array[:, 180:230] = rng.integers(0, 256, (64, 50, 3), dtype=np.uint8)
    picture = Image.fromarray(array.transpose(1, 0, 2).copy() if upright else array)
    result = np.asarray(fit(picture, settings(tmp_path, crop="smart")))
    boxes = ((0, at, 64, at + 64) if upright else (at, 0, at + 64, 64) for at in range(166, 181))  # all that hold the whole patch
    assert any(np.array_equal(result, np.asarray(picture.crop(box))) for box in boxes)
    assert np.asarray(fit(picture, settings(tmp_path, crop="center"))).std() == 0


def test_a_picture_without_edges_is_cropped_at_the_centre(tmp_path: Path) -> None:
    ramp = Image.fromarray(np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (64, 1, 3)))
    assert np.array_equal(np.asarray(fit(ramp, settings(tmp_path, crop="smart"))), np.asarray(fit(ramp, settings(tmp_path, crop="center"))))


def test_trim_cuts_before_everything_else(source: Path, tmp_path: Path) -> None:
    picture = noise(0, (200, 100))
    result = fit(picture, settings(tmp_path, size=64, trim=(10, 10, 40, 10)))
    assert np.array_equal(np.asarray(result), np.asarray(picture.crop((20, 10, 180, 60))))
    prepare(settings(source, trim=(5,)))
    with Image.open(source.parent / "out" / rows(source.parent / "out")[0]["file_name"]) as made:
        assert made.size == (int(rows(source.parent / "out")[0]["width"]), int(rows(source.parent / "out")[0]["height"]))


def test_a_second_run_does_nothing_and_says_so(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = [str(source), "--out", str(source.parent / "out"), "--style", "test", "--size", "64"]
    assert main(argv) == 0
    assert "nothing to do" not in capsys.readouterr().out
    before = {path: path.stat().st_mtime_ns for path in (source.parent / "out").rglob("*") if path.is_file()}
    assert main(argv) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in before if p.name != "journal.jsonl"} == {
        p: t for p, t in before.items() if p.name != "journal.jsonl"
    }
    assert {path for path in (source.parent / "out").rglob("*") if path.is_file()} == set(before)


@pytest.mark.parametrize("torn", [False, True])
def test_an_interrupted_run_goes_on_to_the_same_result(
    source: Path, monkeypatch: pytest.MonkeyPatch, torn: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """torn: power failed: the journal's last line and a picture are half written."""
    prepare(settings(source, out=source.parent / "whole"))
    written: list[Path] = []

    def interrupted(picture: Image.Image, path: Path) -> Path:
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(path)
        return save_png(picture, path)

    argv = [str(source), "--out", str(source.parent / "out"), "--style", "test", "--size", "64", "--workers", "1"]
    monkeypatch.setattr(module, "save_png", interrupted)
    assert main(argv) == 130
    assert "the same command" in capsys.readouterr().err
    assert not (source.parent / "out" / "manifest.csv").exists()
    if torn:
        journal = source.parent / "out" / ".prepare" / "journal.jsonl"
        journal.write_bytes(journal.read_bytes()[:-9])
        written[0].write_bytes(written[0].read_bytes()[:100])
        written[0].with_name(".work-x.part").write_bytes(b"half")
    again: list[Path] = []
    monkeypatch.setattr(module, "save_png", lambda picture, path: again.append(path) or save_png(picture, path))
    assert main(argv) == 0
    assert len(again) == (9 if torn else 7)  # torn: the damaged picture, and the one whose line is lost, are made again
    assert tree(source.parent / "out") == tree(source.parent / "whole")


def test_a_full_disk_loses_nothing(source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(settings(source, out=source.parent / "whole"))
    argv = [str(source), "--out", str(source.parent / "out"), "--style", "test", "--size", "64"]
    replace, calls = os.replace, []

    def full(a: Any, b: Any) -> None:
        calls.append(b)
        if len(calls) > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(a, b)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        assert main(argv) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert not list((source.parent / "out").rglob("*.part"))
    assert main(argv) == 0
    assert tree(source.parent / "out") == tree(source.parent / "whole")


def test_adding_pictures_moves_none(source: Path) -> None:
    prepare(settings(source, split=0.5))
    before = {row["source"]: row["file_name"] for row in rows(source.parent / "out")}
    for i in range(20, 40):
        noise(i).save(source / f"a {i}.png")
    noise(3, (480, 360)).save(source / "a larger copy of 3.png")  # came later: the picture that is there stays
    report, changed = prepare(settings(source, split=0.5))
    after = {row["source"]: row["file_name"] for row in rows(source.parent / "out")}
    assert changed
    assert len(after) == 32
    assert {name: after[name] for name in before} == before
    assert [entry["source"] for entry in report["near_duplicates"]] == ["art/a larger copy of 3.png"]


def test_a_picture_that_is_gone_goes(source: Path) -> None:
    prepare(settings(source))
    gone = next(row for row in rows(source.parent / "out") if row["source"].endswith("work 4.png"))
    (source / "work 4.png").unlink()
    report, changed = prepare(settings(source))
    assert changed
    assert report["kept"] == 11
    assert not (source.parent / "out" / gone["file_name"]).exists()
    assert len(list((source.parent / "out").rglob("*.png"))) == 11


def test_the_split_is_by_content_and_of_the_right_size(source: Path) -> None:
    hashes = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(4000)]
    train = {h for h in hashes if split_of(h, 0.9, 0) == "train"}
    assert len(train) / 4000 == pytest.approx(0.9, abs=0.02)  # 4 standard deviations
    assert train < {h for h in hashes if split_of(h, 0.95, 0) == "train"}  # a larger share takes from the held-out side only
    assert train != {h for h in hashes if split_of(h, 0.9, 1) == "train"}
    prepare(settings(source, split=0.5))
    renamed = source.parent / "renamed"
    renamed.mkdir()
    for i, path in enumerate(sorted(source.rglob("*.png"))):
        shutil.copy(path, renamed / f"{i}.png")
    prepare(settings(renamed, split=0.5, out=source.parent / "other"))
    sides = [{row["source_sha256"]: row["split"] for row in rows(source.parent / name)} for name in ("out", "other")]
    assert sides[0] == sides[1]


def test_limit_takes_the_same_few(source: Path) -> None:
    first = prepare(settings(source, limit=5, split=1))[0]
    assert first["found"] == 5
    names = {row["source"] for row in rows(source.parent / "out")}
    prepare(settings(source, limit=5, split=1, out=source.parent / "again"))
    assert {row["source"] for row in rows(source.parent / "again")} == names


def test_two_sources_of_one_name(source: Path) -> None:
    other = source.parent / "more" / "art"
    other.mkdir(parents=True)
    noise(70).save(other / "work 0.png")
    report, _ = prepare(Preparation(sources=(source, other, source), out=source.parent / "out", style="test", size=64))
    assert report["found"] == 13  # a source named twice counts once
    assert "art-2/work 0.png" in {row["source"] for row in rows(source.parent / "out")}


def test_hashes_of_real_photos_tell_them_apart() -> None:
    scans = [(Source(path=path, name=path.name), scan_file(path, {})) for path in sorted(PHOTOS.glob("*.jpg"))]
    choice = choose(scans, near=6)
    assert len(choice.kept) == len(scans) >= 10
    assert not choice.near_duplicates


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--style", "Not A Name"], "style is"),
        (["--size", "8"], "size is 8"),
        (["--size", "many"], "size is 'many'"),
        (["--crop", "round"], "crop is 'round'"),
        (["--split", "0"], "split is 0"),
        (["--split", "1.5"], "split is 1.5"),
        (["--enlarge", "0.5"], "enlarge is 0.5"),
        (["--enlarge", "nan"], "enlarge is nan"),
        (["--near", "64"], "near is 64"),
        (["--trim", "1,2"], "trim is 1.0,2.0"),
        (["--trim", "60"], "trim is 60"),
        (["--shape", "square"], "shape is 'square'"),
        (["--limit", "0"], "limit is 0"),
        (["--workers", "0"], "workers is 0"),
    ],
)
def test_unusable_settings(source: Path, flags: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(source), "--out", str(source.parent / "out"), "--style", "test", *flags]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (source.parent / "out").exists()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: root / "nowhere", "is not a folder"),
        (lambda root: root / "art" / "work 0.png", "is not a folder"),
        (lambda root: (root / "none").mkdir() or root / "none", "holds no picture"),
        (lambda root: root, "lie one in the other"),
    ],
)
def test_unusable_sources(source: Path, make: Any, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(make(source.parent)), "--out", str(source.parent / "out"), "--style", "test"]) == 2
    assert words in capsys.readouterr().err
    assert not (source.parent / "out").exists()


def test_missing_arguments(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(source), "--style", "test"]) == 2
    assert "--out" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2


def test_nothing_usable_or_nothing_to_train_on(tmp_path: Path) -> None:
    folder = tmp_path / "art"
    folder.mkdir()
    (folder / "text.png").write_text("no")
    with pytest.raises(StyleError, match=r"None of 1 pictures .* art/text.png"):
        prepare(settings(folder))
    noise(0).save(folder / "one.png")
    seed = next(s for s in range(99) if split_of(scan_file(folder / "one.png", {}).sha256, 0.5, s) == "held_out")
    with pytest.raises(StyleError, match="fall into held_out"):
        prepare(settings(folder, split=0.5, seed=seed))
    assert prepare(settings(folder, split=1))[0]["train"] == 1  # other settings: nothing had been prepared yet
    assert not (tmp_path / "out" / "held_out").exists()


def test_a_folder_of_something_else_is_refused(source: Path) -> None:
    out = source.parent / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(StyleError, match="something else"):
        prepare(settings(source))
    assert [p.name for p in out.iterdir()] == ["thesis.tex"]
    with pytest.raises(StyleError, match="is a file"):
        prepare(settings(source, out=out / "thesis.tex"))


def test_a_prepared_folder_keeps_its_settings_and_strangers_stay(source: Path) -> None:
    out = source.parent / "out"
    prepare(settings(source))
    before = tree(out)
    for change in ({"size": 32}, {"split": 0.5}, {"style": "other"}, {"trim": (4.0,)}):
        with pytest.raises(StyleError, match=f"prepared with {next(iter(change))}"):
            prepare(settings(source, **change))
    noise(99).save(out / "train" / "mine.png")
    with pytest.raises(StyleError, match="not put there by prepare"):
        prepare(settings(source))
    (out / "train" / "mine.png").unlink()
    assert tree(out) == before
    _, changed = prepare(settings(source, trigger="new words", license="CC0"))  # text may change
    assert changed
    assert {row["text"] for row in rows(out)} == {"new words"}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("annotations/captions_val.json", "", "is empty (0 bytes)"),
        ("annotations/captions_val.json", "{", "not a COCO annotation file"),
        ("annotations/captions_val.json", "[1]", "not a COCO annotation file"),
        ("annotations/captions_val.json", '{"images": [{"id": 1}]}', "not a COCO annotation file"),
        ("metadata.jsonl", "{", "line 1, cannot be read (no valid JSON"),
        ("table.csv", b"file,artist\n\xff\xfe,x\n", "cannot be read as a table"),
        ("work 0.txt", b"\xff\xfe\xff", "is not UTF-8 text"),
    ],
)
def test_broken_tables_are_named(source: Path, name: str, content: str | bytes, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = source / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert main([str(source), "--out", str(source.parent / "out"), "--style", "test"]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert Path(name).name in error
    assert error.count("\n") == 1


def test_what_a_table_says_of_pictures_that_are_not_there_is_told(source: Path, caplog: pytest.LogCaptureFixture) -> None:
    (source / "deep" / "metadata.jsonl").write_text('{"file_name": "work 1.png", "text": "a"}\n{"file_name": "none.png", "text": "b"}\n')
    (source / "metadata.jsonl").touch()
    prepare(settings(source))
    assert "what it says of 1 file (none.png) is left out" in caplog.text
    assert "metadata.jsonl is empty (0 bytes)" in caplog.text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"text": "a"}', "it names no file"),
        ('{"file_name": "work 0.png", "text": ["a", "b"]}', "a list where a text should be"),
        ("[1]", "is a list where a table is wanted"),
        ("[" * 100_000, "is nested more than 32 deep"),
    ],
)
def test_broken_lines_of_a_table_are_named(source: Path, line: str, words: str) -> None:
    (source / "deep" / "metadata.jsonl").write_text('{"file_name": "work 1.png"}\n' + line)
    with pytest.raises(StyleError, match=f"metadata.jsonl, line 2, .*{words}"):
        prepare(settings(source))


def test_names_in_any_script_survive(tmp_path: Path) -> None:
    (tmp_path / "art").mkdir()
    for i, name in enumerate(("été 2024 (1)", "星月夜", "星月夜 2", "---")):
        noise(i).save(tmp_path / "art" / f"{name}.png")
    prepare(settings(tmp_path / "art", split=1))
    stems = sorted(path.stem.rpartition("-")[0] for path in (tmp_path / "out" / "train").glob("*.png"))
    assert stems == sorted(["été-2024-1", "星月夜", "星月夜-2", "picture"])


def test_an_empty_picture_is_called_empty_by_name(source: Path) -> None:
    (source / "nothing.png").touch()
    report, _ = prepare(settings(source))
    assert report["unusable"] == [{"source": "art/nothing.png", "error": "nothing.png is empty (0 bytes): copy or download it again."}]
