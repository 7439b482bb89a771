"""Where prepared pictures come from: folders of COCO, of WikiArt and of captions, and what is kept of their facts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.training.test_prepare import noise, rows, settings
from training.pictures.sources import parse_wikiart_name
from training.prepare import main, prepare


@pytest.mark.parametrize(
    ("stem", "artist", "title", "year"),
    [
        ("vincent-van-gogh_wheat-field-1889", "Vincent van Gogh", "Wheat field", "1889"),
        ("claude-monet_water-lilies-1919-2", "Claude Monet", "Water lilies", "1919"),
        ("pierre-auguste-renoir_girls-at-the-piano-1892(1)", "Pierre Auguste Renoir", "Girls at the piano", "1892"),
        ("raphael_the-school-of-athens", "Raphael", "The school of athens", ""),
        ("hilma-af-klint_the-ten_largest-no-7-1907", "Hilma Af Klint", "The ten_largest no 7", "1907"),
    ],
)
def test_wikiart_names(stem: str, artist: str, title: str, year: str) -> None:
    assert parse_wikiart_name(stem) == {"artist": artist, "title": title, "year": year}


@pytest.mark.parametrize("stem", ["DSC01234", "kaggle__16dabe418c", "fig_001", "_x", "IMG_20240102", "2019_holiday"])
def test_other_names_are_not_taken_for_wikiarts(stem: str) -> None:
    assert parse_wikiart_name(stem) == {}


def test_a_wikiart_shaped_folder(tmp_path: Path) -> None:
    folder = tmp_path / "wikiart"
    for i, name in enumerate(("Impressionism/claude-monet_the-magpie-1869", "Impressionism/berthe-morisot_the-cradle-1872", "Cubism/x_y")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        noise(i).save(folder / f"{name}.jpg", quality=95)
    (folder / "classes.csv").write_text("filename,artist,description,licence\nCubism/x_y.jpg,juan gris,guitar,public domain\n")
    (folder / "artist_train.csv").write_text("Cubism/x_y.jpg,7\n")  # without a header: nothing to learn from it
    (folder / "Cubism" / "x_y.txt").write_text("a guitar\non a table")
    report, _ = prepare(settings(folder, split=1))
    assert report["sources"] == [{"name": "wikiart", "shape": "wikiart", "pictures": 3, "in_annotations_only": 0, "no_pictures": []}]
    found = {
        row["source"].split("/")[-1]: (row["artist"], row["title"], row["year"], row["license"], row["text"])
        for row in rows(tmp_path / "out")
    }
    assert found == {
        "claude-monet_the-magpie-1869.jpg": ("Claude Monet", "The magpie", "1869", "unknown", "test style"),
        "berthe-morisot_the-cradle-1872.jpg": ("Berthe Morisot", "The cradle", "1872", "unknown", "test style"),
        "x_y.jpg": ("juan gris", "guitar", "", "public domain", "test style, a guitar on a table"),
    }
    assert prepare(settings(folder, split=1, shape="plain", out=tmp_path / "plain"))[0]["sources"][0]["shape"] == "plain"
    assert {row["artist"] for row in rows(tmp_path / "plain")} == {"", "juan gris"}


def coco(folder: Path, where: str, licensed: bool = True) -> None:
    """Three pictures with annotations like COCO's, a fourth only in those."""
    (folder / "val2017").mkdir(parents=True, exist_ok=True)
    (folder / "annotations").mkdir(exist_ok=True)
    images = []
    for i in range(4):
        name = f"{i:012}.jpg"
        images.append(
            {"id": 100 + i, "file_name": name, "flickr_url": f"http://flickr.example/{i}"} | ({"license": 1 + i % 2} if licensed else {})
        )
        if i < 3:
            noise(i).save(folder / "val2017" / name, quality=95)
    content: dict[str, Any] = {"images": images, "annotations": []}
    if licensed:
        content["licenses"] = [
            {"id": 1, "name": "Attribution License", "url": "http://cc.example/by"},
            {"id": 2, "name": "No known copyright"},
        ]
    if where.startswith("captions"):
        content["annotations"] = [
            {"id": 9, "image_id": 100, "caption": "the later one"},
            {"id": 3, "image_id": 100, "caption": " A dog\non grass. "},
            {"id": 4, "image_id": 102, "caption": "A cat."},
        ]
    else:
        content["annotations"] = [{"id": 1, "image_id": 100, "bbox": [0, 0, 9, 9], "category_id": 1}]
    (folder / "annotations" / f"{where}.json").write_text(json.dumps(content))


@pytest.mark.parametrize("apart", [False, True])
def test_a_coco_shaped_folder(tmp_path: Path, apart: bool) -> None:
    """apart: the licences are in the instances' file alone."""
    coco(tmp_path / "coco", "captions_val2017", licensed=not apart)
    coco(tmp_path / "coco", "instances_val2017")
    report, _ = prepare(settings(tmp_path / "coco", split=1, trigger="a photo"))
    assert report["sources"] == [{"name": "coco", "shape": "coco", "pictures": 3, "in_annotations_only": 1, "no_pictures": []}]
    assert report["licenses"] == {"Attribution License (http://cc.example/by)": 2, "No known copyright": 1}
    assert report["captioned"] == 2
    found = {Path(row["source"]).stem[-1]: (row["text"], row["url"]) for row in rows(tmp_path / "out")}
    assert found == {
        "0": ("a photo, A dog on grass.", "http://flickr.example/0"),
        "1": ("a photo", "http://flickr.example/1"),
        "2": ("a photo, A cat.", "http://flickr.example/2"),
    }


def test_the_instances_are_not_read_in_vain(tmp_path: Path) -> None:
    coco(tmp_path / "coco", "captions_val2017")
    (tmp_path / "coco" / "annotations" / "instances_val2017.json").write_text("half a gigab")
    assert prepare(settings(tmp_path / "coco"))[0]["kept"] == 3


def test_captions_below_the_top_and_of_every_name_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "art"
    (source / "train").mkdir(parents=True)
    (source / "more").mkdir()
    for i in range(4):
        noise(i).save(source / "train" / f"{i}.png")
        noise(10 + i).save(source / "more" / f"{i}.jfif", "JPEG")
    lines = [
        {"file_name": "0.png", "text": "two lines\u2028in one"},
        {"file_name": "1.png", "prompt": "by prompt"},
        {"file_name": "2.png", "caption": "Test Style, said before"},
        {"file_name": "9.png", "text": "of nothing"},
    ]
    text = "\ufeff" + "".join(json.dumps(line, ensure_ascii=False) + "\r\n" for line in lines)
    (source / "train" / "metadata.jsonl").write_text(text, encoding="utf-8", newline="")
    (source / "more" / "0.caption").write_text("\ufefffrom beside", encoding="utf-8")
    (source / "more" / "1.txt").write_text("a text")
    (source / "more" / "drawing.svg").write_text("no picture")
    (source / "empty.csv").touch()
    command = [str(source), "--out", str(tmp_path / "out"), "--style", "test", "--size", "64"]
    assert main(command) == 0
    said = {Path(row["source"]).name: row["text"] for row in rows(tmp_path / "out")}
    assert said == {
        "0.png": "test style, two lines in one",
        "1.png": "test style, by prompt",
        "2.png": "Test Style, said before",
        "3.png": "test style",
        "0.jfif": "test style, from beside",
        "1.jfif": "test style, a text",
        "2.jfif": "test style",
        "3.jfif": "test style",
    }
    told = capsys.readouterr()
    assert "left out, no pictures: 1 file (art/more/drawing.svg)" in told.out
    assert "5 go on with a caption of their own" in told.out
    # what prepare makes, prepare reads
    again = ["--out", str(tmp_path / "again"), "--style", "test", "--size", "64"]
    assert main([str(tmp_path / "out" / "train"), *again]) == 0
    kept = {row["text"] for row in rows(tmp_path / "out") if row["split"] == "train"}
    assert {row["text"] for row in rows(tmp_path / "again")} == kept
