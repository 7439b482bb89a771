"""Faces: found from any side, their features in place, and drawn as shapes and lines."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from stylekit.hand.analysis import Floats, to_lab
from stylekit.hand.areas.accents import SMALL_FACE, Portrait, features, painted
from stylekit.hand.fields import Fields, FlatLayer, plan_fields
from stylekit.hand.linework.flat_borders import flat_borders
from stylekit.hand.linework.portrait import portraits
from stylekit.hand.sight import Sight
from stylekit.hand.subject.faces import found
from stylekit.hand.subject.features import turn
from stylekit.hand.subject.skin import FAIR, HAIR_BROWN, hair_map, hair_of, haired, nearest
from stylekit.hand.view import View
from stylekit.storage.paths import ASSETS


def shown(name: str, side: int = 512) -> Floats:
    photo = Image.open(ASSETS / "photos" / f"{name}.jpg").convert("RGB")
    photo.thumbnail((side, side))
    return np.asarray(photo, np.float32) / 255


@pytest.fixture(scope="module")
def person() -> Sight:
    return Sight(shown("astronaut"))


def test_faces_are_found_from_the_front_and_from_the_side() -> None:
    front, side = found(shown("hopper")), found(shown("camera"))
    assert len(front) == len(side) == 1
    assert front[0].points is not None
    assert side[0].points is not None
    assert abs(turn(front[0].points)) < 0.2
    assert turn(side[0].points) > 0.8


@pytest.mark.parametrize("name", ["chelsea", "coffee", "china", "coins", "raccoon"])
def test_where_nobody_is_no_face_is_found(name: str) -> None:
    assert found(shown(name)) == []


@pytest.mark.parametrize("shape", [(16, 16), (1, 400), (3000, 60)])
def test_photos_of_odd_shapes_have_no_faces(shape: tuple[int, int]) -> None:
    assert found(np.random.default_rng(0).random((*shape, 3), np.float32)) == []


def test_a_photo_of_another_size_has_its_faces_in_the_same_places() -> None:
    (small,), (large,) = found(shown("astronaut", 384)), found(np.asarray(np.kron(shown("astronaut", 384), np.ones((3, 3, 1))), np.float32))
    assert small.points is not None
    assert large.points is not None
    assert np.abs(3 * small.points - large.points).max() < 0.12 * 3 * small.box[2]


def test_features_lie_where_they_are(person: Sight) -> None:
    (one,) = person.features()
    assert one is not None
    (x, y, width, height), *_ = person.faces()
    assert len(one.eyes) == len(one.brows) == 2
    assert one.opening is not None  # she laughs
    assert one.teeth
    light = person.lightness()
    for eye in one.eyes:
        assert eye.open
        across, down, _ = eye.iris
        assert x < across < x + width
        assert y + 0.2 * height < down < y + 0.55 * height
        assert light[round(down), round(across)] < light[round(y + 0.6 * height), round(across)]
    assert y + 0.6 * height < one.lips[:, 1].mean() < y + height


def test_brows_eyes_and_teeth_are_painted_in_their_inks(person: Sight) -> None:
    numbers = np.full((1536, 1536), 7, np.uint16)
    painted(numbers, person, Portrait(dark=0, light=3, lips=2))
    (x, y, width, height), *_ = ((3 * v for v in box) for box in person.faces())
    rows, columns = np.nonzero(numbers != 7)
    assert rows.min() > y
    assert rows.max() < y + 1.1 * height
    assert columns.min() > x - 0.1 * width
    assert columns.max() < x + 1.1 * width
    upper, lower = numbers[y : y + height // 2], numbers[y + height // 2 :]
    assert (upper == 0).sum() > (upper == 3).sum() > 0
    assert (lower == 3).sum() > 500


def test_a_pen_draws_features_and_less_of_them_with_the_amount(person: Sight) -> None:
    size = person.photo.shape[:2]

    def strokes(amount: float):
        return portraits(
            View(photo=person.photo, colours=person.photo, amount=np.full(size, amount, np.float32), size=size, sight=person), 2.0
        )

    whole, half, none = strokes(1.0), strokes(0.25), strokes(0.0)
    assert len(whole) > 8
    assert np.array_equal(whole.points, half.points)
    assert np.allclose(half.widths, whole.widths / 2)
    assert not none.widths.any()


def test_of_a_painted_face_few_features_are_drawn_and_those_finely(person: Sight) -> None:
    size = person.photo.shape[:2]
    view = View(photo=person.photo, colours=person.photo, amount=np.ones(size, np.float32), size=size, sight=person)
    all_of_them, few = portraits(view, 2.0), portraits(view, 2.0, few=True)
    assert 4 < len(few) < len(all_of_them)
    # no nose, no jaw, no lips: nothing below what parts them
    (one,) = person.features()
    assert one is not None
    assert few.points[:, 1].max() < one.lips[:, 1].max() < all_of_them.points[:, 1].max()
    nose = np.concatenate(one.nose)
    apart = np.linalg.norm(few.points[:, None] - nose[None], axis=2).min(1)
    assert apart.min() > 0.03 * one.width


def test_the_nose_of_a_smaller_face_is_its_base(person: Sight) -> None:
    size = person.photo.shape[:2]

    def noses(detail: float) -> int:
        view = View(photo=person.photo, colours=person.photo, amount=np.ones(size, np.float32), size=size, sight=person, detail=detail)
        return len(portraits(view, 1.0))

    assert noses(4.0) < noses(0.5)


def test_the_borders_of_drawn_features_are_no_outlines(person: Sight) -> None:
    h, w = person.photo.shape[:2]
    flat = np.full((h, w, 3), 0.8, np.float32)
    flat[features(person, (h, w))] = 0.1
    flat[h // 2 :, : w // 4] = 0.5
    view = View(photo=person.photo, colours=flat, amount=np.ones((h, w), np.float32), size=(w, h), sight=person)
    found = flat_borders(view, flat)
    assert len(found)
    (one,) = person.features()
    assert one is not None
    for shape in (*one.brows, *(eye.outline for eye in one.eyes)):
        inside = np.zeros((h, w), np.uint8)
        cv2.fillPoly(inside, [shape.round().astype(np.int32)], 1)
        x, y = found.points.round().astype(int).T
        assert not inside[np.clip(y, 0, h - 1), np.clip(x, 0, w - 1)].any()


def test_hair_is_not_skin(person: Sight) -> None:
    (x, y, width, height), *_ = person.faces()
    skin = person.skin()
    assert skin[y + height // 2 : y + 3 * height // 4, x + width // 3 : x + 2 * width // 3].mean() > 0.95
    assert skin[y - height // 4 : y, x + width // 4 : x + 3 * width // 4].mean() < 0.3


def test_hair_is_found_with_people_and_without(person: Sight) -> None:
    size = person.photo.shape[1], person.photo.shape[0]
    lab = to_lab(person.opened(0.55))
    (x, y, width, height), *_ = person.faces()
    crown = np.s_[y - height // 3 : y - height // 8, x + width // 4 : x + 3 * width // 4]
    cheeks = np.s_[y + height // 2 : y + 3 * height // 4, x + width // 3 : x + 2 * width // 3]
    for people in (person.foreground(), None):
        hair = hair_map(person.found(), size, 1.0, people, lab)
        assert hair[crown].mean() > 0.8
        # what is skin is told elsewhere
        assert (hair * (1 - person.skin()))[cheeks].mean() < 0.1
        assert hair[: max(1, y - height)].mean() < 0.05


def test_of_a_small_face_only_eyes_and_mouth_are_drawn(person: Sight) -> None:
    small = person.photo
    h, w = small.shape[:2]
    tiny = Sight(cv2.resize(small, (round(w * 0.27), round(h * 0.27)), interpolation=cv2.INTER_AREA))
    known = [one for one in tiny.features() if one is not None]
    assert known
    assert known[0].width < SMALL_FACE
    marks = features(tiny, tiny.photo.shape[:2])
    assert 0 < marks.sum() < 0.1 * known[0].width ** 2
    (brow,) = known[0].brows[:1]
    middle = brow.mean(0).round().astype(int)
    assert not marks[middle[1], middle[0]]


def test_hair_is_told_by_its_light_beside_the_face(person: Sight) -> None:
    lab = to_lab(person.photo)
    (x, y, width, height), *_ = person.faces()
    skin = np.median(lab[y + height // 2 : y + 3 * height // 4, x + width // 3 : x + 2 * width // 3].reshape(-1, 3), 0)
    black, brown, fair, grey, cap = (
        (0.3 * skin[0], 2, 4),
        (0.7 * skin[0], 6, 12),
        (0.95 * skin[0], 2, 26),
        (0.8 * skin[0], 0, 1),
        (40, -5, -40),
    )
    seen = np.array([black, brown, fair, grey, cap], np.float32)
    at = np.repeat(np.array([[x + width / 2, y]], np.float32), 5, 0)
    told = hair_of(seen, lab, person.found(), 1.0, at)
    assert told[0, 0] < black[0]
    assert np.array_equal(told[1], HAIR_BROWN)
    assert np.array_equal(told[2], FAIR)
    assert np.array_equal(told[3], seen[3])
    assert np.isnan(told[4]).all()


def test_a_head_that_is_skin_to_the_top_has_no_hair(person: Sight) -> None:
    (one, *_) = person.found()
    assert haired(person.photo, person.found()) == person.found()
    # the forehead goes on over the whole head
    x, y, width, height = one.box
    photo = person.photo.copy()
    forehead = np.median(photo[y + height // 2 : y + 3 * height // 4, x + width // 3 : x + 2 * width // 3].reshape(-1, 3), 0)
    photo[: y + height // 4, x - width // 2 : x + width + width // 2] = np.clip(forehead * 1.15, 0, 1)
    assert one not in haired(photo, person.found())


def test_each_place_belongs_to_the_nearest_head(person: Sight) -> None:
    (one, *_) = person.found()
    size = person.photo.shape[1], person.photo.shape[0]
    other = replace(one, box=(0, *one.box[1:]), points=None)
    numbers = nearest([one, other], size, 1.0)
    assert numbers is not None
    assert numbers[one.box[1], one.box[0] + one.box[2] // 2] == 0
    assert numbers[one.box[1], 2] == 1
    assert nearest([], size, 1.0) is None


def test_brown_hair_is_brown_and_all_of_one_ink(person: Sight) -> None:
    h, w = person.photo.shape[:2]
    view = View(photo=person.photo, colours=person.photo, amount=np.ones((h, w), np.float32), size=(w, h), sight=person)
    layer = plan_fields(view, Fields(palettes=("panel",), things=0.45, count=160, figure=1.0, structures=1.0), person.photo)
    assert isinstance(layer, FlatLayer)
    lab = to_lab(layer.colours((w, h)))
    (x, y, width, height), *_ = person.faces()
    crown = lab[y - height // 4 : y, x + width // 4 : x + 3 * width // 4].reshape(-1, 3)
    assert (np.abs(crown - HAIR_BROWN).max(1) < 3).mean() > 0.9
