"""Data analysis: numbers against closed forms on made pictures, problems that were put there are found, and the report holds together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from eval.explore import findings, main, named_folders, summarise
from eval.measures import Folder, alike, border, find_problems, has_caption, lab, measure, measure_folder, palette, principal_map
from stylekit.storage.paths import PHOTOS_FOLDER
from training.pictures.preparation import Preparation
from training.prepare import prepare

PHOTOS = PHOTOS_FOLDER


def noise(seed: int, size: tuple[int, int] = (120, 90)) -> Image.Image:
    """A smooth random picture, unlike any with another seed."""
    small = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def folder_of(pictures: dict[str, Image.Image], path: Path) -> Folder:
    path.mkdir()
    for name, picture in pictures.items():
        picture.save(path / name)
    return measure_folder(path.name, path)


@pytest.mark.parametrize(
    ("rgb", "expected"),  # Lindbloom's CIE calculator, D65, sRGB
    [
        ((255, 255, 255), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((119, 119, 119), (50.03, 0, 0)),
    ],
)
def test_lab_of_known_colours(rgb: tuple[int, int, int], expected: tuple[float, float, float]) -> None:
    assert lab(np.array(rgb, np.uint8)) == pytest.approx(expected, abs=0.02)


def test_a_flat_colour_has_its_lab_and_nothing_else() -> None:
    found = measure(Image.new("RGB", (90, 60), (255, 0, 0)))
    assert (found.lightness, found.a, found.b) == pytest.approx((53.24, 80.09, 67.20), abs=0.02)
    assert found.chroma == pytest.approx(np.hypot(80.09, 67.20), abs=0.02)
    assert (found.contrast, found.colour_spread, found.sharpness) == pytest.approx((0, 0, 0), abs=1e-4)
    assert (found.flatness, found.border, found.caption, found.bits) == (1, 0, False, None)
    assert (found.short_side, found.aspect) == (60, 1.5)


def test_half_black_half_white() -> None:
    array = np.zeros((64, 64, 3), np.uint8)
    array[:, 32:] = 255
    found = measure(Image.fromarray(array))
    assert (found.lightness, found.contrast) == pytest.approx((50, 50), abs=1e-3)
    assert found.flatness == pytest.approx(60 / 62)  # but for the two columns at the edge


def test_the_sharpest_picture_there_is() -> None:
    """A one-pixel chequerboard of L* 0 and 100: its Laplacian is 400 or -400 everywhere."""
    squares = (np.indices((66, 66)).sum(axis=0) % 2 * 255).astype(np.uint8)
    found = measure(Image.fromarray(squares).convert("RGB"))
    assert found.sharpness == pytest.approx(400, abs=0.01)
    assert found.flatness == 0
    assert found.coarseness < 0.1  # at a quarter of the size it is grey


def test_large_pictures_are_measured_small() -> None:
    photo = Image.open(PHOTOS / "coffee.jpg").convert("RGB")
    small = photo.copy()
    small.thumbnail((512, 512), Image.Resampling.BOX)
    large, reduced = measure(photo.resize((1200, 800), Image.Resampling.NEAREST)), measure(photo)
    assert (large.width, large.height) == (1200, 800)
    assert (large.lightness, large.contrast) == pytest.approx((reduced.lightness, reduced.contrast), rel=0.02)
    assert measure(small).sharpness == reduced.sharpness


def test_borders_are_measured_and_skies_are_none(rng: np.random.Generator) -> None:
    busy = rng.uniform(0, 60, (100, 200))
    assert border(busy) == 0
    framed = busy.copy()
    framed[:10] = framed[-12:] = framed[:, :30] = framed[:, -30:] = 95
    assert border(framed) == pytest.approx(0.15)  # 30 of 200 columns left and right; 10 of 100 rows is less
    sky = busy.copy()
    sky[:40] = 90
    assert border(sky) == 0
    assert border(np.full((50, 50), 80.0)) == 0


def plate(words: str, paper: str = "white", ink: str = "black") -> np.ndarray:
    """L* of a drawing on a page, with a line of print below."""
    page = Image.new("RGB", (360, 512), paper)
    page.paste(noise(1, (300, 400)), (30, 30))
    if words:
        ImageDraw.Draw(page).text((180, 470), words, fill=ink, font=ImageFont.load_default(13), anchor="mm")
    return lab(np.asarray(page))[..., 0]


def test_printed_lines_are_told_from_signatures_and_paintings() -> None:
    assert has_caption(plate("STUDY OF A HEAD FOR THE PICTURE"))
    assert not has_caption(plate(""))
    assert not has_caption(plate("STUDY OF A HEAD FOR THE PICTURE", paper="#555555"))
    assert not has_caption(plate("STUDY OF A HEAD FOR THE PICTURE", ink="#dddddd"))
    signed = Image.new("RGB", (360, 512), "white")
    ImageDraw.Draw(signed).text((300, 470), "Claude Monet", fill="black", font=ImageFont.load_default(13), anchor="mm")
    assert not has_caption(lab(np.asarray(signed))[..., 0])
    photos = list(PHOTOS.glob("*.jpg"))
    assert len(photos) >= 12
    for path in photos:
        assert not measure(Image.open(path).convert("RGB")).caption, path.name


def test_problems_that_were_put_there_are_found(tmp_path: Path) -> None:
    pictures = {f"{i}.png": noise(i) for i in range(6)}
    pictures["again.png"] = noise(0)
    pictures["copy.jpg"] = noise(1, (240, 180))
    pictures["grey.png"] = noise(7).convert("L").convert("RGB")
    pictures["long.png"] = noise(8, (300, 100))
    pictures["dull.png"] = Image.blend(noise(9), Image.new("RGB", (120, 90), "#888888"), 0.9)
    pictures["glass.png"] = noise(10)
    pictures["glass.png"].putalpha(Image.new("L", (120, 90), 254))
    pictures["opaque.png"] = noise(11)
    pictures["opaque.png"].putalpha(255)
    framed = noise(12, (120, 90))
    framed.paste("white", (0, 0, 120, 9))
    framed.paste("white", (0, 81, 120, 90))
    pictures["framed.png"] = framed
    folder = folder_of(pictures, tmp_path / "set")
    (tmp_path / "set" / "broken.png").write_bytes(b"\x89PNG\r\n")
    folder = measure_folder("set", tmp_path / "set")
    found = find_problems(folder, size=95)
    assert found.pop("small") == [m.file for m in folder.measures if m.short_side == 90]
    assert found.pop("near_duplicate") == ["copy.jpg"]  # sorted after 1.png
    assert found == {
        "long": ["long.png"],
        "duplicate": ["again.png"],
        "dull": ["dull.png"],
        "border": ["framed.png"],
        "transparent": ["glass.png"],
        "caption": [],
        "colourless": ["grey.png"],
        "unreadable": ["broken.png"],
    }


def test_a_set_of_drawings_has_no_colourless_outliers(tmp_path: Path) -> None:
    folder = folder_of({f"{i}.png": noise(i).convert("L").convert("RGB") for i in range(4)}, tmp_path / "drawings")
    assert find_problems(folder, 16)["colourless"] == []


def test_near_duplicates_are_those_that_prepare_leaves_out(tmp_path: Path) -> None:
    pictures = {f"{i}.png": noise(i) for i in range(8)}
    pictures |= {f"copy {i}.jpg": noise(i, (60 + 30 * i, 45 + 22 * i)) for i in range(2, 5)}
    folder = folder_of(pictures, tmp_path / "set")
    pairs = {frozenset((folder.measures[i].file, folder.measures[j].file)) for i, j in alike(folder.measures)}
    report, _ = prepare(Preparation(sources=(tmp_path / "set",), out=tmp_path / "out", style="test", size=32))
    left_out = {frozenset((Path(e["source"]).name, Path(e["of"]).name)) for e in report["near_duplicates"]}
    assert pairs == left_out == {frozenset((f"{i}.png", f"copy {i}.jpg")) for i in range(2, 5)}


def test_the_palette_is_the_colours(tmp_path: Path) -> None:
    pictures = {"a.png": Image.new("RGB", (40, 40), "#ff0000"), "b.png": Image.new("RGB", (40, 40), "#0000ff")}
    pictures["c.png"] = Image.new("RGB", (99, 40), "#0000ff")  # counts as much as a smaller one
    assert palette(folder_of(pictures, tmp_path / "set")) == [("#0000ff", pytest.approx(2 / 3)), ("#ff0000", pytest.approx(1 / 3))]


def test_the_map_parts_what_differs(tmp_path: Path) -> None:
    dark = folder_of({f"{i}.png": noise(i).point(lambda v: v // 4) for i in range(6)}, tmp_path / "dark")
    light = folder_of(
        {f"{i}.png": noise(i).convert("L").point(lambda v: 200 + v // 5).convert("RGB") for i in range(6)}, tmp_path / "light"
    )
    found = principal_map([dark, light])
    assert found["points"].shape == (12, 2)
    assert found["points"].mean(axis=0) == pytest.approx((0, 0), abs=1e-9)
    assert found["loadings"] @ found["loadings"].T == pytest.approx(np.eye(2), abs=1e-9)
    assert 1 >= sum(found["shares"]) > 0.5
    assert found["points"].var(axis=0) == pytest.approx(9 * found["shares"], rel=0.15)  # nine features of variance 1, less constant ones
    first, second = found["points"][:6, 0], found["points"][6:, 0]
    assert max(first) < min(second) or max(second) < min(first)


def test_the_map_of_one_picture_is_one_point(tmp_path: Path) -> None:
    found = principal_map([folder_of({"a.png": noise(0)}, tmp_path / "set")])
    assert found["points"] == pytest.approx(np.zeros((1, 2)))
    assert found["shares"] == pytest.approx((0, 0))


@pytest.fixture
def sets(tmp_path: Path) -> list[str]:
    colours = {"r.png": "red", "g.png": "#777777"}
    folder_of({name: Image.new("RGB", (60, 40), colour) for name, colour in colours.items()}, tmp_path / "flat")
    folder_of({f"{i}.png": noise(i, (80, 60 + i)) for i in range(5)}, tmp_path / "noise")
    (tmp_path / "noise" / "broken.jpg").write_bytes(b"no")
    noise(0, (80, 60)).save(tmp_path / "flat" / "stray.png")
    return [str(tmp_path / "flat"), f"clouds={tmp_path / 'noise'}"]


@pytest.mark.slow
def test_the_report_is_whole_and_says_the_same_twice(sets: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report"
    assert main([*sets, "--out", str(out), "--size", "62"]) == 0
    assert "clouds: 5 pictures" in capsys.readouterr().out
    files = {p.name: p.read_bytes() for p in out.iterdir()}
    assert len(files) == 9
    for name in files:
        if name.endswith((".png", ".jpg")):
            with Image.open(out / name) as plot:
                plot.load()
                assert np.asarray(plot.convert("L")).std() > 5, name
    text = files["report.md"].decode()
    for name in files.keys() - {"report.md"}:
        assert f"({name})" in text or name == "explore.json"
    assert str(tmp_path) not in text + files["explore.json"].decode()
    summary = json.loads(files["explore.json"])
    assert [entry["name"] for entry in summary["folders"]] == ["flat", "clouds"]
    assert summary["alike_across_folders"] == [["flat/stray.png", "clouds/0.png"]]
    assert "flat" in text.partition("look alike in two folders")[2].splitlines()[0]
    sizes = summary["folders"][1]["measures"]["short_side"]
    assert (sizes["min"], sizes["median"], sizes["max"], sizes["mean"]) == (60, 62, 64, 62)
    assert summary["folders"][1]["problems"]["small"] == ["0.png", "1.png"]
    assert list(summary["folders"][1]["unreadable"]) == ["broken.jpg"]
    assert "2 (40 %) with a short side under 62 px; the median of all is 62 px" in text
    assert main([*sets, "--out", str(out), "--size", "62"]) == 0
    assert {p.name: p.read_bytes() for p in out.iterdir()} == files


def test_no_picture_is_shown_if_not_wanted(sets: list[str], tmp_path: Path) -> None:
    out = tmp_path / "report"
    out.mkdir()
    for name in ("samples.jpg", "explore.json", "report.md"):  # an earlier run that showed some
        (out / name).touch()
    assert main([*sets, "--out", str(out), "--no-samples"]) == 0
    assert not (out / "samples.jpg").exists()
    assert "samples" not in (out / "report.md").read_text()


def test_limit_and_equal_names(sets: list[str]) -> None:
    flat, clouds = sets[0], sets[1].partition("=")[2]
    assert named_folders([flat, flat, sets[1], f"flat={clouds}"]) == {
        "flat": Path(flat),
        "flat-2": Path(flat),
        "clouds": Path(clouds),
        "flat-3": Path(clouds),
    }
    assert [m.file for m in measure_folder("clouds", Path(clouds), limit=3).measures] == ["0.png", "2.png"]  # and broken.jpg


def test_findings_count_right(sets: list[str]) -> None:
    assert findings({"pictures": 0, "problems": {}}, 512) == ["no picture can be read"]
    (entry,) = summarise([measure_folder("flat", Path(sets[0]))], 512)["folders"]
    lines = findings(entry, 512)
    assert lines[0].startswith("only 3 pictures")
    assert "2 (67 %) of exactly 60 x 40 px" in lines
    assert any(line.startswith("2 (67 %) of little contrast") for line in lines)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["nowhere"], "is not a folder"),
        (["x=nowhere"], "is not a folder"),
        (["{empty}"], "holds no picture"),
        (["{flat}", "--size", "0"], "size is 0"),
        (["{flat}", "--limit", "-1"], "limit is -1"),
        (["{flat}", "--out", "{flat}/r.png"], "is a file"),
        (["{flat}", "--out", "{mine}"], "holds another report.md"),
        (["{broken}"], "No picture can be read"),
    ],
)
def test_unusable_arguments(argv: list[str], words: str, sets: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("empty", "mine", "broken"):
        (tmp_path / name).mkdir()
    (tmp_path / "mine" / "report.md").write_text("my own")
    (tmp_path / "broken" / "a.png").write_text("no")
    places = {name: str(tmp_path / name) for name in ("empty", "flat", "mine", "broken")}
    argv = [argument.format(**places) for argument in argv]
    assert main([*argv, *([] if "--out" in argv else ["--out", str(tmp_path / "report")])]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("explore: ")
    assert words in error
    assert not (tmp_path / "report").exists()
    assert (tmp_path / "mine" / "report.md").read_text() == "my own"
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2
