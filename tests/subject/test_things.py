"""What is in a photo, thing by thing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stylekit.hand.analysis import numbered, opened, resized, to_lab
from stylekit.hand.areas.regions import measured
from stylekit.hand.dots import chosen
from stylekit.hand.fields import CROWN, cut_apart, pieces, solid
from stylekit.hand.palettes import PALETTES, Sort, assigned, costs
from stylekit.hand.sight import Sight
from stylekit.hand.subject import things as T
from stylekit.hand.view import View
from stylekit.images import open_picture


def photo(root: Path, name: str, side: int = 400) -> np.ndarray:
    picture = open_picture(root / "assets" / "photos" / f"{name}.jpg")
    picture.thumbnail((side, side))
    return np.asarray(picture, np.float32) / 255


def names(sight: Sight) -> list[str]:
    return [thing.name for thing in sight.things().found]


def both(root: Path) -> np.ndarray:
    """A woman and, to her right, a man with a tie."""
    left, right = photo(root, "astronaut"), photo(root, "hopper")
    return np.concatenate([resized(left, (400, 400)), resized(right, (340, 400))], 1)


@pytest.mark.parametrize(("name", "what"), [("astronaut", "person"), ("coffee", "cup"), ("chelsea", "cat"), ("camera", "person")])
def test_what_a_photo_is_of_has_its_name(root: Path, name: str, what: str) -> None:
    assert what in names(Sight(photo(root, name)))


@pytest.mark.parametrize("name", ["hubble", "flower", "coins"])
def test_where_no_thing_is_known_there_is_none(root: Path, name: str) -> None:
    found = Sight(photo(root, name)).things()
    assert found.found == ()
    assert not found.labels.any()


@pytest.mark.parametrize("shape", [(16, 16), (1, 300), (300, 5)])
def test_a_picture_without_room_has_none(shape: tuple[int, int]) -> None:
    sight = Sight(np.full((*shape, 3), 0.4, np.float32))
    assert sight.things().found == ()
    assert sight.things().labels.shape == shape


def test_two_people_are_two_and_each_is_whole(root: Path) -> None:
    sight = Sight(both(root))
    found = sight.things()
    people = [i + 1 for i, thing in enumerate(found.found) if thing.name == "person"]
    assert len(people) == 2
    for number in people:
        columns = np.flatnonzero((found.labels == number).any(0))
        assert columns.max() < 410 or columns.min() > 390
    # a face lies in one thing
    for x, y, w, h in sight.faces():
        inside = found.labels[y + h // 4 : y + h - h // 4, x + w // 4 : x + w - w // 4]
        assert np.bincount(inside.ravel()).max() > 0.97 * inside.size


def test_what_is_worn_is_a_thing_of_its_own(root: Path) -> None:
    found = Sight(photo(root, "hopper", 600)).things()
    number = 1 + [thing.name for thing in found.found].index("tie")
    x, y, w, h = found.found[number - 1].box
    ys, xs = np.nonzero(found.labels == number)
    assert len(xs) > 0.3 * w * h
    assert xs.min() > x - w
    assert xs.max() < x + 2 * w
    assert ys.min() > y - h


def test_a_face_is_a_persons_and_an_animals_face_is_not(root: Path) -> None:
    close = opened(photo(root, "chelsea"))
    assert [thing.name for thing in T.boxed(close)] == ["cat"]
    # the same box with the face of a person in it
    assert [thing.name for thing in T.boxed(close, [(180, 60, 60, 60)])] == ["person"]


def test_the_same_every_time(root: Path) -> None:
    one, other = (Sight(photo(root, "hopper")).things() for _ in range(2))
    assert one.found == other.found
    assert np.array_equal(one.labels, other.labels)


def test_things_are_part_of_the_figure_and_end_somewhere(root: Path) -> None:
    sight = Sight(photo(root, "hopper"))
    labels = sight.things().labels
    assert sight.figure()[labels > 0].mean() > 0.97
    border = np.zeros(labels.shape, bool)
    border[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    border[1:] |= labels[1:] != labels[:-1]
    assert sight.contours()[border].min() > 0.5


def test_a_figure_has_no_rim_beside_a_thing() -> None:
    labels = np.zeros((200, 200), np.int32)
    labels[50:150, 50:150] = 1
    figure = np.zeros((200, 200), np.float32)
    figure[48:152, 48:152] = 1  # two pixels more
    figure[80:120, 150:190] = 1  # and what it holds
    told = T.in_figure(figure, labels)
    assert told[40:47].max() < 1e-3
    assert told[48, 60:140].max() < 0.5
    assert told[90:110, 155:185].min() == 1
    assert told[60:140, 60:140].min() > 0.99
    assert np.array_equal(T.in_figure(figure, 0 * labels), figure)


def test_no_piece_is_part_of_two_things(root: Path) -> None:
    shown = both(root)
    sight = Sight(shown)
    apart = sight.things().labels
    labels, _ = pieces(shown, sight.face_map(), 12, 1.5, sight.figure(), None, sight.foreground(), None, sight.contours(), 0.5, None, apart)
    for label in range(int(labels.max()) + 1):
        own = np.bincount(apart[labels == label])
        assert own.max() > 0.9 * own.sum()


def test_each_thing_is_of_a_kind_of_its_own() -> None:
    apart = np.zeros((20, 40), np.int32)
    apart[5:15, 5:15], apart[5:15, 15:25] = 1, 2
    labels, kind = cut_apart(np.zeros((20, 40), np.int32), np.zeros((20, 40), bool), None, None, apart)
    assert len(set(kind.tolist())) == 3
    assert kind[labels[10, 10]] != kind[labels[10, 20]]
    assert min(kind[labels[10, 10]], kind[labels[10, 20]]) > CROWN
    assert np.array_equal(numbered(apart, (40, 20)), apart)


def sort(n: int, **changes: object) -> Sort:
    zeros = np.zeros(n, np.float32)
    return Sort(skin=zeros, figure=zeros, white=zeros, flesh=zeros + 1, limbs=zeros, **changes)  # type: ignore[arg-type]


def test_no_animal_is_green() -> None:
    grey, one = to_lab(np.full((1, 1, 3), 0.3, np.float32))[0], np.ones(1, np.float32)
    palette = PALETTES["jungle"]
    hue = np.degrees(np.arctan2(palette.lab[:, 2], palette.lab[:, 1])) % 360
    green = (hue > 105) & (hue < 225) & (np.hypot(*palette.lab[:, 1:].T) > 12)
    assert green.sum() == 2
    free, fur = (costs(grey, one, palette, sort(1, fur=share * one))[0] for share in (0, 1))
    assert (fur[green] > free[green] + 1000).all()
    assert np.array_equal(fur[~green], free[~green])


def test_a_thing_has_its_colour_before_its_neighbours_have_their_differences() -> None:
    picture = np.zeros((40, 80, 3), np.float32)
    picture[:], picture[10:30, 30:50] = (0.85, 0.2, 0.2), (0.95, 0.6, 0.15)
    labels = np.zeros((40, 80), np.int32)
    labels[10:30, 30:50] = 1
    areas = measured(labels, to_lab(picture), np.ones((40, 80), np.float32))
    prices = [assigned(areas, PALETTES["panel"], sort(2, thing=np.array([0, share], np.float32)))[1] for share in (0.0, 1.0)]
    assert prices[1] > prices[0]


def test_what_stands_before_a_ground_of_dots_has_none() -> None:
    ground = np.full((240, 320, 3), (0.98, 0.8, 0.66), np.float32)
    view = View(photo=ground, colours=ground, amount=np.ones((240, 320), np.float32), size=(320, 240))
    figure = np.zeros((240, 320), np.float32)
    figure[60:180, 100:200] = 1
    view.sight._once("figure", lambda: figure)
    two = ground.copy()
    two[60:180, 100:200] = (0.5, 0.75, 0.95)
    strength = chosen(view, two, np.ones((240, 320), np.float32), np.ones((240, 320), np.float32), 1.0)
    assert strength[70:170, 110:190].max() == 0
    assert strength[:50].min() > 0


def test_a_thing_of_one_colour_has_no_borders_within() -> None:
    things = np.zeros((60, 60), np.float32)
    things[10:50, 10:50] = 1
    edge = np.full((60, 60), 0.5, np.float32)
    told = solid(edge, things, 1.0)
    assert told[25:35, 25:35].max() < 0.2
    assert np.array_equal(told[:5], edge[:5])
    assert told[10, 30] > 0.45  # its own border stays


def test_things_without_an_end_between_them_are_one_and_small_pieces_go() -> None:
    labels = np.zeros((40, 90), np.int32)
    labels[5:35, 0:30], labels[5:35, 30:60], labels[5:35, 60:90] = 1, 2, 3
    ends = np.zeros((40, 90), np.float32)
    ends[:, 59:61] = 0.8
    joined = T._joined(labels, ends)
    assert joined[20, 10] == joined[20, 40] != joined[20, 70]
    assert len(np.unique(T._joined(labels, np.zeros_like(ends)))) == 2
    labels[0:3, 0:3] = 3
    assert T._scraps(labels)[:3, :3].all()
    assert not T._scraps(labels)[5:].any()
