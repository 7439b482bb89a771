"""A blind comparison: pages that do not say who made what, a key that does, and scores in closed form."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval import blind
from eval.blind import Candidate, draw_page, layout, make_pages, of_art, of_folder, plan_pages
from eval.ratings import ALL, ANSWERS_FILE, CONTROL, Answer, Key, Page, Rating, rate, read_answers, read_key
from stylekit.errors import StyleError

COLOURS = {"hand": (200, 30, 30), "classical": (30, 160, 60), CONTROL: (40, 60, 200)}
TITLES = {"monet": "Monet", "sketch": "Pencil sketch"}
PHOTOS = ("coffee", "chelsea", "astronaut")


def painted(name: str) -> Candidate:
    """One that answers every photo with its own colour."""
    return Candidate(name=name, make=lambda photo, _name, _style, _place: Image.new("RGB", photo.size, COLOURS[name]))


@pytest.fixture
def photos(root: Path, tmp_path: Path) -> list[Path]:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in PHOTOS:
        with Image.open(root / "assets" / "photos" / f"{name}.jpg") as photo:
            photo.convert("RGB").resize((96, 64)).save(folder / f"{name}.png")
    return sorted(folder.iterdir())


def made(photos: Sequence[Path], out: Path, candidates: Sequence[Candidate], seed: int = 1) -> Key:
    key = plan_pages(photos, list(TITLES), candidates, seed)
    assert list(make_pages(key, photos, candidates, TITLES, out, out.with_name(f"{out.name}-key.json"), 128)) == [1, 2, 3, 4, 5, 6]
    return key


def test_the_key_tells_who_is_where_on_every_page(photos: list[Path], tmp_path: Path) -> None:
    candidates = [painted(name) for name in COLOURS]
    key = made(photos, tmp_path / "pages", candidates)
    assert read_key(tmp_path / "pages-key.json") == key
    assert sorted((page.photo, page.style) for page in key.pages) == sorted((f"{n}.png", s) for n in PHOTOS for s in TITLES)
    columns, (width, height) = layout(3, (96, 64))
    for page in key.pages:
        with Image.open(tmp_path / "pages" / page.file) as picture:
            assert 1500 <= max(picture.size) <= 1600
            pixels = np.asarray(picture.convert("RGB"), float)
            for i, maker in enumerate(page.labels.values()):
                left = (i % columns) * (width + blind.GAP)
                top = blind.LINE + (i // columns) * (height + blind.LINE + blind.GAP) + blind.LINE
                inside = pixels[top + 4 : top + height - 4, left + 4 : left + width - 4]
                assert np.abs(inside - COLOURS[maker]).max() < 8, page
    assert len({tuple(page.labels.values()) for page in key.pages}) > 1  # the order is another on other pages
    assert [page.style for page in key.pages] != sorted(page.style for page in key.pages)


def test_a_page_may_show_the_photo_first_and_without_a_letter(photos: list[Path], tmp_path: Path) -> None:
    key = plan_pages(photos, list(TITLES), [painted("hand")], 1)
    out = tmp_path / "pages"
    assert list(make_pages(key, photos, [painted("hand")], TITLES, out, tmp_path / "key.json", 128, shown=True)) == [1, 2, 3, 4, 5, 6]
    columns, (width, height) = layout(2, (96, 64))
    for page in key.pages:
        assert list(page.labels) == ["A"]
        with Image.open(out / page.file) as picture, Image.open(photos[0].with_name(page.photo)) as photo:
            pixels = np.asarray(picture.convert("RGB"), float)
            wanted = np.asarray(photo.convert("RGB").resize((width, height)), float)
        first, second = ((i % columns) * (width + blind.GAP) for i in (0, 1))
        tops = [blind.LINE + (i // columns) * (height + blind.LINE + blind.GAP) + blind.LINE for i in (0, 1)]
        assert np.abs(pixels[tops[0] : tops[0] + height, first : first + width] - wanted).mean() < 12
        inside = pixels[tops[1] + 4 : tops[1] + height - 4, second + 4 : second + width - 4]
        assert np.abs(inside - COLOURS["hand"]).max() < 8


def test_nothing_that_the_viewers_get_says_who_made_what(photos: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "pages"
    made(photos, out, [painted(name) for name in COLOURS])
    files = sorted(path.name for path in out.iterdir())
    assert files == ["README.txt", ANSWERS_FILE, *(f"page_{i:03}.jpg" for i in range(1, 7))]
    for path in out.iterdir():
        content = path.read_bytes()
        for name in [*COLOURS, *PHOTOS]:
            assert name.encode() not in content, path
        if path.suffix == ".jpg":
            with Image.open(path) as picture:
                assert set(picture.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
                assert not picture.getexif()
    with (out / ANSWERS_FILE).open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["page"], row["label"]) for row in rows] == [(str(i), label) for i in range(1, 7) for label in "ABC"]
    assert {row["score"] + row["words"] for row in rows} == {""}


def test_a_seed_makes_the_same_pages_again_and_another_makes_others(photos: list[Path], tmp_path: Path) -> None:
    candidates = [painted(name) for name in COLOURS]
    keys = [made(photos, tmp_path / f"pages{i}", candidates, seed) for i, seed in enumerate((1, 1, 2))]
    assert keys[0] == keys[1]
    assert keys[0].pages != keys[2].pages
    for path in (tmp_path / "pages0").iterdir():
        assert path.read_bytes() == (tmp_path / "pages1" / path.name).read_bytes()


def test_pictures_from_elsewhere_and_real_works_stand_beside_them(photos: list[Path], tmp_path: Path) -> None:
    art, other = tmp_path / "art", tmp_path / "other"
    for folder in (art / "monet", other / "monet"):
        folder.mkdir(parents=True)
    for i in range(3):
        Image.new("RGB", (50, 90), (60 * i + 40, 0, 0)).save(art / "monet" / f"{i}.png")
    for name in PHOTOS:
        Image.new("RGB", (300, 200), (1, 2, 3)).save(other / "monet" / f"{name}.webp", lossless=True)
    real, extra = of_art(art, 1), of_folder("other", other, list(TITLES))
    assert (real.lacks("sketch"), extra.lacks("sketch")) == ("no real work of it", "no folder sketch in it")
    with Image.open(photos[0]) as photo:
        seen = {real.make(photo, "", "monet", i).getpixel((9, 9)) for i in range(3)}
        assert seen == {(40, 0, 0), (100, 0, 0), (160, 0, 0)}  # each once
        assert extra.make(photo, "coffee.png", "monet", 0).getpixel((9, 9)) == (1, 2, 3)
        with pytest.raises(StyleError, match=r"other has no picture of rocket\.png"):
            extra.make(photo, "rocket.png", "monet", 0)
    key = made(photos, tmp_path / "pages", [painted("hand"), real, extra])
    assert {page.style: set(page.labels.values()) for page in key.pages} == {"monet": {"hand", "other", CONTROL}, "sketch": {"hand"}}
    assert of_folder("other", other / "monet", ["monet"]).lacks("monet") == ""  # of one style there need be no folder


def test_a_failure_leaves_nothing_and_answers_are_never_overwritten(photos: list[Path], tmp_path: Path) -> None:
    out, key_file = tmp_path / "pages", tmp_path / "pages-key.json"

    def fail(photo: Image.Image, _name: str, _style: str, place: int) -> Image.Image:
        if place == 2:
            raise StyleError("the paint ran out")
        return photo

    key = plan_pages(photos, list(TITLES), [Candidate(name="hand", make=fail)], 0)
    with pytest.raises(StyleError, match="the paint ran out"):
        list(make_pages(key, photos, [Candidate(name="hand", make=fail)], TITLES, out, key_file, 128))
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]
    made(photos, out, [painted("hand")])
    before = (out / ANSWERS_FILE).read_bytes()
    with pytest.raises(StyleError, match="is there already, perhaps with answers"):
        list(make_pages(key, photos, [painted("hand")], TITLES, out, tmp_path / "another.json", 128))
    with pytest.raises(StyleError, match="which goes to the viewers"):
        list(make_pages(key, photos, [painted("hand")], TITLES, tmp_path / "new", tmp_path / "new" / "key.json", 128))
    assert (out / ANSWERS_FILE).read_bytes() == before


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("shape", [(1024, 683), (683, 1024), (1600, 100), (100, 1600)])
def test_a_page_is_filled_and_never_larger_than_a_screen(count: int, shape: tuple[int, int]) -> None:
    page = draw_page("Page 1", {chr(65 + i): Image.new("RGB", (40, 30)) for i in range(count)}, shape)
    assert page.width <= blind.PAGE[0]
    assert page.height <= blind.PAGE[1]
    assert page.width > 0.98 * blind.PAGE[0] or page.height > 0.98 * blind.PAGE[1]


def page_of(number: int, style: str, **labels: str) -> Page:
    return Page(page=number, file=f"page_{number:03}.jpg", photo="a.jpg", style=style, labels=labels)


KEY = Key(
    seed=0,
    pages=(
        page_of(1, "monet", A="hand", B="classical", C=CONTROL),
        page_of(2, "monet", A="classical", B="hand", C=CONTROL),
        page_of(3, "sketch", A="hand", B="classical"),
    ),
)


def answers(rater: str, *scores: tuple[int, str, float]) -> list[Answer]:
    return [Answer(rater=rater, page=page, label=label, score=score) for page, label, score in scores]


def test_scores_are_those_of_closed_forms() -> None:
    ann = answers("ann", (1, "A", 8), (1, "B", 4), (1, "C", 10), (2, "A", 6), (2, "B", 6), (2, "C", 9), (3, "A", 3), (3, "B", 5))
    ben = answers("ben", (1, "A", 6), (1, "B", 7), (3, "A", 9), (3, "B", 1))
    rows = {(row.rater, row.style, row.method): row for row in rate([*ann, *ben], KEY)}
    hand = rows[ALL, "monet", "hand"]
    # ann's 8 and 6, ben's 6: pictures of 7 and 6
    assert (hand.answers, hand.pictures, hand.mean) == (3, 2, pytest.approx(20 / 3))
    assert hand.error == pytest.approx(0.5)  # deviation of 7 and 6 is 0.707, over the root of 2
    assert (hand.best, hand.pages) == (pytest.approx(0.5), 3)  # ann: won and tied, ben: lost
    assert rows[ALL, "monet", "classical"].best == pytest.approx(0.5)
    assert rows["ann", "monet", "hand"].best == pytest.approx(0.75)
    assert rows["ann", "monet", "hand"].error == pytest.approx(1.0)
    control = rows[ALL, "monet", CONTROL]
    assert (control.mean, control.best, control.pages) == (9.5, None, 0)  # it is no rival
    sketch = rows[ALL, "sketch", "hand"]
    assert (sketch.mean, sketch.error, sketch.best) == (6.0, None, 0.5)
    whole = rows[ALL, ALL, "hand"]
    assert (whole.answers, whole.pictures, whole.mean) == (5, 3, pytest.approx(6.4))
    assert whole.best == pytest.approx((1 + 0.5 + 0 + 0 + 1) / 5)
    assert [row.method for row in rate(ann, KEY)[:3]] == [CONTROL, "hand", "classical"]  # the highest first
    assert {row.rater for row in rate(ann, KEY)} == {ALL}


def test_a_page_that_was_not_scored_whole_says_nothing_of_the_best() -> None:
    rows: list[Rating] = rate(answers("ann", (1, "A", 8), (2, "A", 6), (2, "B", 7)), KEY)
    hand = next(row for row in rows if (row.method, row.style) == ("hand", "monet"))
    assert (hand.mean, hand.best, hand.pages) == (7.5, 1.0, 1)


def test_a_sheet_becomes_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "key.json").write_text(json.dumps(KEY.to_json()))
    (tmp_path / "ann.csv").write_text("page,label,score,words\n1,A,8,real paint\n1,B,4.5,\n1,C,,\n")
    # as a spreadsheet of another country saves it, with a name of its own inside
    (tmp_path / "sheet.csv").write_text('\ufeffpage;label;score;words;rater\r\n1;a;7,5;"soft; calm";Zoë\r\n', encoding="utf-8")
    sheets = [str(tmp_path / name) for name in ("ann.csv", "sheet.csv")]
    out = [str(tmp_path / name) for name in ("report.md", "report.json")]
    assert blind.main(["score", "--answers", *sheets, "--key", str(tmp_path / "key.json"), "--out", *out]) == 0
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert text in capsys.readouterr().out
    assert "| monet | hand | 7.75 |  | 100% | 1 | 2 |" in text
    assert "## Zoë" in text
    assert "- **monet, hand**: real paint; soft; calm" in text
    values = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert {"rater": "ann", "style": "monet", "method": "classical", "mean": 4.5}.items() <= next(
        row for row in values["ratings"] if (row["rater"], row["method"], row["style"]) == ("ann", "classical", "monet")
    ).items()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("page,label,score,words\n1,A,11,\n", "line 2: the score is '11': give a number from 1 to 10"),
        ("page,label,score,words\n1,A,nan,\n", "give a number from 1 to 10"),
        ("page,label,score,words\n1,A,good,\n", "give a number from 1 to 10"),
        ("page,label,score,words\n1,D,5,\n", "the key knows no picture 'D' on a page '1'"),
        ("page,label,score,words\n\u00b2,A,5,\n", "the key knows no picture"),
        ("page,label,score,words\n1,A,5,\n1,a,6,\n", "line 3: x has scored A of page 1 twice"),
        ("page,label,score,words\n1,A,,nice\n", "There is no score in the answers"),
        ("page,letter\n1,A\n", "has no column label"),
        ("", "is empty"),
    ],
)
def test_mistakes_in_a_sheet_are_sentences(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(text, encoding="utf-8")
    with pytest.raises(StyleError, match=says):
        read_answers([tmp_path / "x.csv"], KEY)


def test_sheets_of_one_name_are_of_two_viewers(tmp_path: Path) -> None:
    for name in ("ann", "ben"):
        (tmp_path / name).mkdir()
        (tmp_path / name / ANSWERS_FILE).write_text("page,label,score,words\n1,A,5,\n")
    found = read_answers([tmp_path / name / ANSWERS_FILE for name in ("ann", "ben")], KEY)
    assert [answer.rater for answer in found] == ["ann/answers", "ben/answers"]


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 9}', '{"format": 1, "seed": 0, "pages": [1]}', '{"format": 1, "pages": [{}]}'])
def test_a_key_that_is_none_is_told(text: str, tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text(text)
    with pytest.raises(StyleError, match="key"):
        read_key(tmp_path / "key.json")


def test_the_command_makes_pages_with_the_engine(photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "pages"
    shown = ["--photos", str(photos[0]), "--styles", "stainedglass,popart-dreambooth", "--size", "96"]
    assert blind.main(["make", *shown, "--methods", "hand,identity", "--seed", "3", "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert "hand is not on the pages of popart-dreambooth: no hand draws it" in said.err
    key = read_key(tmp_path / "pages-key.json")
    assert {page.style: set(page.labels.values()) for page in key.pages} == {
        "stainedglass": {"hand", "identity"},
        "popart-dreambooth": {"identity"},
    }
    page = next(page for page in key.pages if page.style == "stainedglass")
    with Image.open(out / page.file) as picture:
        columns, (width, height) = layout(2, (96, 64))
        left, right = (
            np.asarray(picture.convert("RGB"), float)[
                (i // columns) * (height + blind.LINE + blind.GAP) + 2 * blind.LINE :, (i % columns) * (width + blind.GAP) :
            ][:height, :width]
            for i in range(2)
        )
    assert np.abs(left - right).mean() > 10
    for arguments, says in (
        (["--methods", "gan"], "There is no method gan"),
        (["--extra", "gmic"], "--extra is 'gmic'"),
        (["--extra", "hand=x"], "choose another name"),
        (["--extra", "gmic=nowhere"], "nowhere is not a folder"),
        (["--art", "nowhere"], "nowhere is not a folder"),
        (["--size", "1"], "--size is 1"),
        (["--styles", "fog"], "There is no style 'fog'"),
    ):
        assert blind.main(["make", *shown, *arguments, "--out", str(tmp_path / "other")]) == 2
        assert says in capsys.readouterr().err
        assert not (tmp_path / "other").exists()
