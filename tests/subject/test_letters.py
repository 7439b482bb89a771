"""Words in a photo, and how flat styles draw them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from stylekit.hand.analysis import to_lab
from stylekit.hand.fields import Fields, plan_fields
from stylekit.hand.linework.flat_borders import flat_borders
from stylekit.hand.linework.pattern import Pattern
from stylekit.hand.linework.pattern import strokes as pattern_strokes
from stylekit.hand.sight import Sight
from stylekit.hand.view import View
from stylekit.hand.woodblock import Woodblock, plan_woodblock


def sign(letters: str = "#f4f4f0", board: str = "#1f6a3a", words: str = "HARBOUR", size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """(300, 480, 3) a board with a word on it before a pale sky, softened as by a lens, and (300, 480) where its letters are."""
    picture = Image.new("RGB", (480, 300), "#c9d6e0")
    shape = Image.new("L", picture.size)
    ImageDraw.Draw(picture).rectangle((40, 90, 440, 210), fill=board)
    font = ImageFont.load_default(size)
    for image, fill in ((picture, letters), (shape, "white")):
        ImageDraw.Draw(image).text((240, 150), words, fill=fill, font=font, anchor="mm")
    photo = cv2.GaussianBlur(np.asarray(picture, np.float32) / 255, (0, 0), 0.8)
    return np.asarray(photo, np.float32), np.asarray(shape) > 127


def seen(photo: np.ndarray) -> View:
    h, w = photo.shape[:2]
    return View(photo=photo, colours=photo, amount=np.ones((h, w), np.float32), size=(w, h))


def agreement(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / max((one | other).sum(), 1))


@pytest.mark.parametrize(("letters", "board", "light"), [("#f4f4f0", "#1f6a3a", True), ("#20242c", "#e8c84a", False)])
def test_letters_are_found_with_their_shapes(letters: str, board: str, light: bool) -> None:
    photo, shape = sign(letters, board)
    told = Sight(photo).letters()
    assert told.light == (light,)
    assert agreement(told.ink > 0.5, shape) > 0.8
    assert 40 < told.high[0] < 120


@pytest.mark.parametrize("words", ["", "HARBOUR"])
def test_a_board_without_words_has_none_and_what_is_too_small_is_left(words: str) -> None:
    told = Sight(sign(words=words, size=5)[0]).letters()
    assert told.light == ()
    assert not told.lines.any()
    assert not told.ink.any()


@pytest.mark.parametrize("shape", [(16, 16), (1, 300), (300, 5)])
def test_a_picture_without_room_has_none(shape: tuple[int, int]) -> None:
    told = Sight(np.full((*shape, 3), 0.4, np.float32)).letters()
    assert told.light == ()
    assert told.place().shape == shape


def test_fur_and_grass_are_no_letters(root) -> None:
    with Image.open(root / "assets" / "photos" / "raccoon.jpg") as picture:
        photo = np.asarray(picture.convert("RGB").resize((480, 360)), np.float32) / 255
    assert Sight(photo).letters().light == ()


@pytest.mark.parametrize(
    "plan", [lambda view: plan_fields(view, Fields(), view.photo), lambda view: plan_woodblock(view, Woodblock(), view.photo)]
)
def test_a_flat_picture_can_be_read(plan) -> None:
    photo, shape = sign()
    view = seen(photo)
    light = to_lab(plan(view).colours((480, 300)))[..., 0] if hasattr(plan(view), "colours") else to_lab(plan(view).apply(photo, 0))[..., 0]
    line = view.sight.letters().lines > 0
    middle = (light[line & shape].mean() + light[line & ~shape].mean()) / 2
    assert agreement((light > middle) & line, shape) > 0.7
    assert light[line & shape].mean() > light[line & ~shape].mean() + 25


def test_letters_have_no_outlines() -> None:
    photo, _ = sign()
    view = seen(photo)
    borders = flat_borders(view, np.round(photo * 3) / 3)
    x, y = borders.points.T.astype(int)
    assert not view.sight.letters().lines[y.clip(0, 299), x.clip(0, 479)].any()


def test_no_pattern_runs_over_letters() -> None:
    photo, _ = sign()
    rough = np.random.default_rng(0).normal(0, 0.12, photo.shape[:2]).astype(np.float32)
    view = seen(np.clip(photo + cv2.GaussianBlur(rough, (0, 0), 1.2)[..., None], 0, 1).astype(np.float32))
    place = view.sight.letters().place() > 0
    assert place.any()
    found = pattern_strokes(view, Pattern(busy=0.3, shade=0))
    x, y = found.points.T.astype(int)
    inside = place[y.clip(0, 299), x.clip(0, 479)]
    assert len(inside) > 50
    # a stroke begins outside, and may run on by its length
    assert inside.mean() < 0.3 * place.mean()
