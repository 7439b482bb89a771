"""What tools share: a photo is looked at once for all of them, and many paths are worked on at once as each would be alone."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter1d

from stylekit.hand.analysis import Floats, enlarged
from stylekit.hand.areas.flat import Flat
from stylekit.hand.drawing import draw
from stylekit.hand.hand import Hand
from stylekit.hand.marks import runs
from stylekit.hand.sight import Sight
from stylekit.hand.subject import faces


def noise(h: int, w: int) -> Floats:
    return np.random.default_rng(5).random((h, w, 3), np.float32)


def test_a_photo_is_looked_at_once_however_many_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, begin, looked = [], threading.Barrier(4), faces.found

    def counted(photo: Floats) -> list[faces.Face]:
        asked.append(1)
        return looked(photo)

    monkeypatch.setattr(faces, "found", counted)
    sight = Sight(noise(60, 80))

    def ask(_: int) -> Floats:
        begin.wait()
        return sight.face_map()

    with ThreadPoolExecutor(4) as pool:
        maps = list(pool.map(ask, range(4)))
    assert len(asked) == 1
    assert all(found is maps[0] for found in maps)
    assert sight.opened(0.6) is not sight.opened(0.7)


def test_hands_on_one_photo_share_what_is_seen_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, looked = [], faces.found

    def counted(photo: Floats) -> list[faces.Face]:
        asked.append(1)
        return looked(photo)

    monkeypatch.setattr(faces, "found", counted)
    photo = Image.fromarray((noise(64, 64) * 255).astype(np.uint8))
    hands = [Hand.from_card({"colours": "photo", "lines": {}, "hatching": {}}), Hand.from_card({"tone": {}, "wash": {}})]
    draw(photo, photo, [(hand, 0.5) for hand in hands])
    assert len(asked) == 1


def test_what_fails_once_is_tried_again() -> None:
    sight = Sight(noise(8, 8))
    with pytest.raises(ZeroDivisionError):
        sight._once("a", lambda: 1 / 0)
    assert sight._once("a", lambda: 3) == 3


def test_paths_taken_together_are_smoothed_as_each_alone() -> None:
    rng = np.random.default_rng(1)
    paths = [np.cumsum(rng.integers(-1, 2, (n, 2)), 0).astype(np.float32) + 50 for n in (3, 9, 40, 200)]
    angle = np.linspace(0, 2 * np.pi, 60)
    paths.append((20 + 9 * np.stack([np.cos(angle), np.sin(angle)], 1)).astype(np.float32))
    points, starts = np.concatenate(paths), runs.counted(np.array([len(p) for p in paths]))
    together, found = runs.smoothed(points, starts, 1.7, 1.3)
    for path, (a, b) in zip(paths, itertools.pairwise(found), strict=True):
        alone, _ = runs.smoothed(path, np.array([0, len(path)]), 1.7, 1.3)
        assert np.allclose(alone, together[a:b], atol=1e-3)
    long, (a, b) = paths[3], found[3:5]
    # the ends stay where they are, and the middle is what a Gaussian makes of it
    assert np.allclose(together[a], long[0], atol=0.6)
    assert np.allclose(together[b - 1], long[-1], atol=0.6)
    middle = gaussian_filter1d(long.astype(float), 1.7, axis=0)[100]
    assert np.hypot(*(together[a:b] - middle).T).min() < 0.8
    ring = together[found[4] : found[5]]
    assert np.allclose(ring[0], ring[-1], atol=1e-3)


def test_values_follow_their_paths() -> None:
    starts, new = np.array([0, 5, 30]), np.array([0, 9, 60])
    values = np.concatenate([np.full(5, 2.0), np.full(25, -1.0)]).astype(np.float32)
    result = runs.followed(values, starts, new)
    assert np.allclose(result[:9], 2)
    assert np.allclose(result[9:], -1)


def test_stretches_are_whole_paths_or_long_enough() -> None:
    good = np.array([1, 1, 0, 1, 1, 1, 1, 1, 1, 1], bool)
    first, counts, path = runs.stretches(good, np.array([0, 8, 10]), 4)
    assert list(zip(first.tolist(), counts.tolist(), path.tolist(), strict=True)) == [(3, 5, 0), (8, 2, 1)]


@pytest.mark.parametrize("shape", [(40, 30), (40, 30, 5), (1, 7), (9, 1, 2)])
def test_a_plane_is_enlarged_the_same_however_it_is_banded(shape: tuple[int, ...]) -> None:
    plane = np.random.default_rng(2).random(shape, np.float32)
    size = 101, 77
    whole = enlarged(plane, size, 0, 77)
    cuts = (0, 1, 30, 31, 77)
    assert np.array_equal(whole, np.concatenate([enlarged(plane, size, a, b - a) for a, b in itertools.pairwise(cuts)]))
    assert whole.shape == (77, 101, *shape[2:])
    assert whole.min() >= plane.min()
    assert whole.max() <= plane.max()


def test_a_map_much_finer_than_the_result_is_averaged() -> None:
    y, x = np.mgrid[0:400, 0:400]
    numbers = np.asarray(np.hypot(y - 200, x - 200) < 120, np.uint16)
    flat = Flat(numbers, np.array([[0.0], [1.0]], np.float32), (100, 100), 2.0)
    [(rows, columns, values)] = flat.tiles(20, 30)
    assert (rows, columns) == (slice(0, 30), slice(0, 100))
    assert np.allclose(values[..., 0], numbers.reshape(100, 4, 100, 4).mean((1, 3))[20:50], atol=1e-5)
