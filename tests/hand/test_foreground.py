"""What stands before the ground is cut out, and keeps its outline in flat fields."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylekit.hand.analysis import Floats
from stylekit.hand.fields import pieces
from stylekit.hand.sight import Sight
from stylekit.hand.subject import networks


def photo(root: Path, name: str, side: int = 300) -> Floats:
    with Image.open(root / "assets" / "photos" / f"{name}.jpg") as picture:
        small = picture.convert("RGB")
        small.thumbnail((side, side))
        return np.asarray(np.asarray(small, np.float32) / 255, np.float32)


def test_a_person_is_found_and_the_ground_is_not(root: Path) -> None:
    seen = Sight(photo(root, "astronaut")).foreground()
    h, w = seen.shape
    assert 0 <= seen.min() <= seen.max() <= 1
    assert seen[int(0.75 * h) :, int(0.35 * w) : int(0.55 * w)].mean() > 0.9  # the suit below the face
    assert seen[: int(0.3 * h), : int(0.12 * w)].max() < 0.1  # the flag
    assert 0.2 < (seen > 0.5).mean() < 0.7


def test_a_thing_that_is_plain_to_see_is_found_too(root: Path) -> None:
    seen = Sight(photo(root, "flower")).foreground()
    h, w = seen.shape
    assert seen[int(0.42 * h), w // 2] > 0.9
    assert seen[: h // 5, : w // 5].max() < 0.1
    assert 0.12 < (seen > 0.5).mean() < 0.35


@pytest.mark.parametrize("name", ["coffee", "raccoon", "china", "chelsea", "ascent"])
def test_what_is_in_doubt_or_fills_the_frame_is_left_to_the_other_network(root: Path, name: str) -> None:
    assert Sight(photo(root, name)).foreground().max() == 0


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (31, 400), (2000, 20)])
def test_a_picture_without_room_has_none(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(1).uniform(0, 1, (*shape, 3)).astype(np.float32)
    assert Sight(noise).foreground().max() == 0


def test_it_is_part_of_what_a_photo_is_of(root: Path) -> None:
    sight = Sight(photo(root, "astronaut"))
    assert (sight.figure() > 0.5)[sight.foreground() > 0.5].mean() > 0.98


def test_no_piece_is_part_of_it_and_part_of_the_ground(root: Path) -> None:
    shown = photo(root, "astronaut", 200)
    sight = Sight(shown)
    people, hair = sight.foreground(), np.zeros(shown.shape[:2], np.float32)
    labels, _ = pieces(shown, sight.face_map(), 12, 1.5, sight.figure(), None, people, hair)
    sure = people > 0.9
    away = people < 0.1
    both = set(np.unique(labels[sure])) & set(np.unique(labels[away]))
    # what the border of the outline leaves of a piece on its other side is less than a tenth of it
    assert all(min((labels[sure] == one).sum(), (labels[away] == one).sum()) < 0.1 * (labels == one).sum() for one in both)


def test_hair_is_no_piece_of_clothes(root: Path) -> None:
    shown = photo(root, "astronaut", 200)
    sight = Sight(shown)
    people = sight.foreground()
    hair = np.zeros(shown.shape[:2], np.float32)
    hair[: shown.shape[0] // 4] = 1
    labels, _ = pieces(shown, sight.face_map(), 12, 1.5, sight.figure(), None, people, hair)
    crown = (people > 0.9) & (hair > 0.5)
    below = (people > 0.9) & (hair < 0.5)
    assert crown.any()
    assert len(np.unique(labels[crown])) == 1  # that of one head is one piece
    assert not set(np.unique(labels[crown])) & set(np.unique(labels[below]))


def test_what_networks_said_of_the_last_photos_is_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another style on the same photo asks none of them again; another photo does, and the oldest answers go."""
    monkeypatch.setattr(networks, "_answers", OrderedDict())
    asked: list[str] = []
    load = networks._network
    monkeypatch.setattr(networks, "_network", lambda name: asked.append(name) or load(name))
    first = Sight(photo(root, "astronaut")).figure()
    once = len(asked)
    assert once
    assert np.array_equal(Sight(photo(root, "astronaut")).figure(), first)
    assert len(asked) == once
    assert not np.array_equal(Sight(photo(root, "coffee", 301)).figure()[:200, :200], first[:200, :200])
    assert len(asked) > once
    monkeypatch.setattr(networks, "KEPT", 1)
    Sight(photo(root, "china")).figure()
    assert len(networks._answers) == 1
