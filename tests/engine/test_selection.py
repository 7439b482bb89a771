"""Selection on real photos: what is certainly on the thing, and what is certainly beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from stylekit.errors import PictureError, SettingError
from stylekit.selection import REACH, SIDE, Edge, Things

Point = tuple[float, float]


@pytest.fixture(scope="module")
def things(root: Path) -> Callable[[str], Things]:
    kept: dict[str, Things] = {}

    def of(name: str) -> Things:
        if name not in kept:
            with Image.open(root / "assets" / "photos" / f"{name}.jpg") as photo:
                kept[name] = Things(photo)
        return kept[name]

    return of


def holds(mask: Image.Image, point: Point) -> bool:
    return mask.getpixel((int(point[0] * mask.width), int(point[1] * mask.height))) == 255


@pytest.mark.parametrize(
    ("name", "click", "on", "beside"),
    [
        ("flower", (0.5, 0.5), [(0.38, 0.5), (0.62, 0.5), (0.5, 0.3)], [(0.1, 0.2), (0.9, 0.5), (0.5, 0.05)]),
        ("coffee", (0.5, 0.4), [(0.4, 0.3), (0.6, 0.4)], [(0.1, 0.3), (0.4, 0.9), (0.9, 0.9)]),
        ("china", (0.3, 0.6), [(0.25, 0.75), (0.33, 0.35)], [(0.8, 0.2), (0.7, 0.5), (0.7, 0.9)]),
        ("camera", (0.3, 0.5), [(0.2, 0.6), (0.4, 0.2)], [(0.8, 0.1), (0.8, 0.9)]),
        ("rocket", (0.5, 0.5), [(0.5, 0.4)], [(0.2, 0.2), (0.8, 0.5), (0.5, 0.95)]),
    ],
)
def test_a_click_selects_the_thing_under_it(
    things: Callable[[str], Things], name: str, click: Point, on: list[Point], beside: list[Point]
) -> None:
    mask = things(name).at(*click)
    assert mask.mode == "L"
    assert max(mask.size) == SIDE
    assert holds(mask, click)
    assert all(holds(mask, point) for point in on)
    assert not any(holds(mask, point) for point in beside)


@pytest.mark.parametrize(
    ("name", "on", "beside"),
    [
        ("flower", [(0.5, 0.5), (0.4, 0.4)], [(0.1, 0.1), (0.9, 0.9)]),
        ("china", [(0.3, 0.6), (0.3, 0.3)], [(0.8, 0.2), (0.9, 0.9), (0.02, 0.9)]),
        ("coffee", [(0.5, 0.4), (0.3, 0.7)], [(0.05, 0.1), (0.95, 0.9)]),
        ("raccoon", [(0.6, 0.4), (0.3, 0.3)], [(0.9, 0.7), (0.3, 0.95)]),
        ("astronaut", [(0.45, 0.2), (0.3, 0.8)], [(0.65, 0.05), (0.03, 0.05)]),
        ("chelsea", [(0.4, 0.4), (0.2, 0.2), (0.5, 0.7), (0.65, 0.2)], [(0.95, 0.2), (0.95, 0.9)]),  # it fills the frame
        ("hopper", [(0.5, 0.1), (0.5, 0.4), (0.3, 0.85)], [(0.9, 0.15), (0.05, 0.1)]),  # a face, and what belongs to it
    ],
)
def test_the_subject_and_the_background_are_each_others_rest(
    things: Callable[[str], Things], name: str, on: list[Point], beside: list[Point]
) -> None:
    subject, background = things(name).thing("subject"), things(name).thing("background")
    assert all(holds(subject, point) for point in on)
    assert not any(holds(subject, point) for point in beside)
    assert np.array_equal(np.asarray(background), 255 - np.asarray(subject))


@pytest.mark.slow
def test_the_sky_is_above_and_is_not_found_indoors(things: Callable[[str], Things]) -> None:
    for name, above, below in (("china", (0.8, 0.1), (0.3, 0.6)), ("rocket", (0.7, 0.2), (0.5, 0.97)), ("camera", (0.8, 0.1), (0.3, 0.6))):
        sky = things(name).thing("sky")
        assert holds(sky, above), name
        assert not holds(sky, below), name
    for name in ("coffee", "chelsea", "coins", "flower"):
        with pytest.raises(PictureError, match="No sky"):
            things(name).thing("sky")


def test_a_picture_of_one_colour_has_no_subject() -> None:
    with pytest.raises(PictureError, match="click on the thing"):
        Things(Image.new("RGB", (300, 200), "teal")).thing("subject")


def test_selecting_twice_is_the_same(things: Callable[[str], Things], root: Path) -> None:
    with Image.open(root / "assets" / "photos" / "flower.jpg") as photo:
        again = Things(photo)
    assert again.at(0.5, 0.5).tobytes() == things("flower").at(0.5, 0.5).tobytes()


def test_what_cannot_be_asked_for_is_told(things: Callable[[str], Things]) -> None:
    with pytest.raises(SettingError, match="outside"):
        things("flower").at(1.2, 0.5)
    with pytest.raises(SettingError, match="subject, background, sky"):
        things("flower").thing("moon")
    with pytest.raises(SettingError, match="grow is 2"):
        Edge(grow=2)


def test_an_edge_grows_shrinks_softens_and_turns(things: Callable[[str], Things]) -> None:
    mask = things("flower").at(0.5, 0.5)
    area = np.asarray(mask).mean()
    grown, shrunk = Edge(grow=0.02).of(mask), Edge(grow=-0.02).of(mask)
    assert np.asarray(shrunk).mean() < area < np.asarray(grown).mean()
    assert (np.asarray(grown) >= np.asarray(mask)).all()
    soft = np.asarray(Edge(soften=REACH).of(mask))
    assert len(np.unique(soft)) > 50
    assert np.array_equal(np.asarray(Edge(invert=True).of(mask)), 255 - np.asarray(mask))
    assert Edge().of(mask).tobytes() == mask.tobytes()


def test_a_stroke_ends_at_an_edge_that_is_near_and_else_where_it_was() -> None:
    photo = Image.new("RGB", (300, 200), (40, 90, 160))
    photo.paste((200, 160, 60), (150, 0, 300, 200))
    stroke = Image.new("L", (300, 200))
    stroke.paste(255, (115, 30, 160, 170))  # ten pixels over the border
    snapped = np.asarray(Things(photo).snapped(stroke, 45 / 300).resize((300, 200)))
    assert snapped[60:140, 118:146].min() > 200
    assert snapped[:, 154:].max() < 60
    plain = np.asarray(Things(Image.new("RGB", (300, 200), "teal")).snapped(stroke, 45 / 300).resize((300, 200))) > 127
    drawn = np.asarray(stroke) > 127
    assert (plain & drawn).sum() / (plain | drawn).sum() > 0.9
    assert not np.asarray(Things(photo).snapped(Image.new("L", (300, 200)), 0.1)).any()
    for width in (0, 2, float("nan"), True):
        with pytest.raises(SettingError, match="choose a number"):
            Things(photo).snapped(stroke, width)


def test_a_snapped_stroke_on_a_real_photo_follows_the_petals(things: Callable[[str], Things]) -> None:
    """Along the lower rim of the flower, half of it beside the flower."""
    flower = things("flower")
    stroke = Image.new("L", (600, 400))
    ImageDraw.Draw(stroke).line([(170, 240), (200, 290), (260, 325), (330, 325), (385, 290)], fill=255, width=48, joint="curve")
    on = np.asarray(flower.at(0.5, 0.5).resize((600, 400))) > 127
    before, after = (np.asarray(mask.resize((600, 400))) > 127 for mask in (stroke, flower.snapped(stroke, 0.08)))
    assert (after & ~on).sum() < 0.8 * (before & ~on).sum()
    assert (after & on).sum() > 0.95 * (before & on).sum()
