"""Eyes and noses of animals, and the ink that tells what things are made of."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from stylekit.hand.analysis import Floats
from stylekit.hand.fields import HIDE, medley, solid
from stylekit.hand.linework.ink import Ink, cover
from stylekit.hand.linework.pattern import Pattern, strokes
from stylekit.hand.sight import Sight
from stylekit.hand.subject.animals import Animals, animals
from stylekit.hand.subject.things import Thing, Things
from stylekit.hand.view import View
from tests.subject.test_things import photo


def scene(
    hide: float = 0.6, spots: tuple[tuple[int, int, int], ...] = ((120, 90, 7), (160, 90, 7)), name: str = "bear"
) -> tuple[Floats, Things]:
    """(200, 300) light with one round animal, and spots (x, y, radius) on it."""
    light, labels = np.full((200, 300), 0.8, np.float32), np.zeros((200, 300), np.int32)
    cv2.circle(labels, (140, 100), 80, 1, -1)
    light[labels == 1] = hide
    for x, y, radius in spots:
        cv2.circle(light, (x, y), radius, 0.05, -1)
    return light, Things(found=(Thing(name=name, sure=0.9, box=(60, 20, 160, 160)),), labels=labels)


def test_eyes_are_where_small_dark_spots_stand_alone() -> None:
    light, things = scene()
    found = animals(light, things)
    marks = found.spots((400, 600))
    assert marks[180, 240]
    assert marks[180, 320]
    assert 0.5 < marks.sum() / (4 * 2 * np.pi * 7**2) < 1.6
    assert found.told[100, 140] == 1
    assert found.told[5, 5] == 0


@pytest.mark.parametrize(
    "spots",
    [
        ((140, 100, 40),),  # a patch of the hide
        ((62, 100, 7),),  # at the rim it is what lies behind
        ((140, 100, 1),),
        tuple((x, 100, 5) for x in range(90, 190, 4)),  # a stripe
    ],
)
def test_what_is_large_or_long_or_at_the_rim_is_no_eye(spots: tuple[tuple[int, int, int], ...]) -> None:
    found = animals(*scene(spots=spots))
    assert not found.spots((200, 300)).any()
    assert not found.told.any()


def test_a_dark_hide_hides_them_and_a_car_has_none() -> None:
    assert not animals(*scene(hide=0.3)).told.any()
    assert not animals(*scene(name="car")).spots((200, 300)).any()
    nothing = Things(found=(), labels=np.zeros((16, 16), np.int32))
    assert not animals(np.zeros((16, 16), np.float32), nothing).spots((48, 48)).any()


@pytest.mark.parametrize("name", ["chelsea", "raccoon"])
def test_a_cat_keeps_its_stripes_and_its_light_eyes(root: Path, name: str) -> None:
    sight = Sight(photo(root, name))
    found = sight.animals()
    assert isinstance(found, Animals)
    assert found is sight.animals()
    assert any(thing.name == "cat" for thing in sight.things().found)
    assert not found.told.any()
    assert not found.spots(found.told.shape).any()


def test_light_and_shade_of_a_hide_part_less_than_before() -> None:
    edge = np.full((60, 80), 0.8, np.float32)
    animal = np.zeros((60, 80), np.float32)
    animal[:, 40:] = 1
    fewer = solid(edge, animal, 1.0, HIDE)
    assert fewer[30, 70] < 0.6
    assert fewer[30, 10] == pytest.approx(0.8)


def test_a_print_has_many_hues_and_folds_have_one() -> None:
    lab = np.full((60, 80, 3), 50, np.float32)
    lab[..., 1:] = 10
    lab[::2, :40, 0] = 20  # folds
    lab[:, 40:, 1] = np.where(np.arange(40) // 4 % 2, -30, 40)
    told = medley(lab, 6.0)
    assert told[30, 20] < 1
    assert told[30, 65] > 20


def lined(root: Path, name: str = "chelsea") -> View:
    picture = photo(root, name)
    h, w = picture.shape[:2]
    return View(photo=picture, colours=picture, amount=np.ones((h, w), np.float32), size=(w, h))


def test_ink_may_keep_to_what_a_photo_is_of(root: Path) -> None:
    view = lined(root, "coffee")
    figure = cv2.resize(view.sight.figure(), (3 * view.size[0], 3 * view.size[1])) > 0.3
    everywhere, inside = (cover(view, Ink(density=0.7, figure=f)) > 0.5 for f in (0.0, 1.0))
    assert everywhere[~figure].any()
    assert inside.any()
    assert not inside[~cv2.dilate(figure.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)].any()


def test_ink_may_leave_people_alone(root: Path) -> None:
    view = lined(root, "astronaut")
    drawn = cover(view, Ink(density=0.8, figure=1.0)) > 0.5
    people = cv2.resize(view.sight.foreground(), (3 * view.size[0], 3 * view.size[1])) > 0.6
    assert people.any()
    assert not (drawn & people).any()


def test_ink_may_spare_lit_sides_and_the_ends_of_things(root: Path) -> None:
    view = lined(root)
    plain, shaded, apart = (cover(view, ink) > 0.5 for ink in (Ink(density=0.8), Ink(density=0.8, lit=1.0), Ink(density=0.8, beside=3.0)))
    light = cv2.resize(view.sight.lightness(0.55), (3 * view.size[0], 3 * view.size[1]))
    assert 0 < shaded.sum() < plain.sum()
    assert light[shaded].mean() < light[plain].mean()
    ends = cv2.resize(view.sight.contours(), (3 * view.size[0], 3 * view.size[1])) > 0.5
    assert apart.any()
    assert (apart & ends).sum() < 0.5 * (plain & ends).sum()


def test_no_pattern_is_seen_in_shine(monkeypatch: pytest.MonkeyPatch) -> None:
    rough = np.random.default_rng(3).random((200, 300)).astype(np.float32)
    rough = cv2.GaussianBlur(rough, (0, 0), 3, sigmaY=1)
    rough = np.clip(0.5 + 2 * (rough - rough.mean()), 0, 1)[..., None].repeat(3, 2)

    def many(name: str) -> int:
        view = View(photo=rough, colours=rough, amount=np.ones((200, 300), np.float32), size=(300, 200))
        _, things = scene(name=name)
        labels = np.ones_like(things.labels)
        monkeypatch.setattr(view.sight, "things", lambda: Things(found=things.found, labels=labels))
        return len(strokes(view, Pattern(busy=0.05)))

    assert many("bear") > 10
    assert many("bus") == 0
