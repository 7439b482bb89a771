"""Straight stretches of paths, and pieces as polygons of them."""

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from stylekit.hand.areas.borders import curved
from stylekit.hand.areas.regions import without_slivers
from stylekit.hand.marks import runs
from stylekit.hand.marks.fairing import straightened, stretches

CALM = np.zeros((200, 240), np.float32)


def waver(n: int, seed: int = 0) -> np.ndarray:
    """(n,) pixels about 0, as wide as a border of areas wavers."""
    noise = gaussian_filter1d(np.random.default_rng(seed).normal(0, 1, n), 3)
    return np.asarray(noise / noise.std(), np.float32)


def ring(radius: float) -> np.ndarray:
    turn = np.linspace(0, 2 * np.pi, round(2 * np.pi * radius), endpoint=False)
    return np.asarray(100 + radius * np.stack([np.cos(turn), np.sin(turn)], 1), np.float32)


def test_a_wavering_line_is_one_stretch_along_it() -> None:
    along = np.array([0.8, 0.6])
    points = np.outer(np.arange(120), along) + np.outer(waver(120), [-0.6, 0.8])
    found = stretches(points.astype(np.float32), np.array([0, 120]), np.array([1.6]), np.array([False]))
    assert found.counts.tolist() == [120]
    assert found.along[0] == pytest.approx(along, abs=0.03)
    assert found.middle[0] == pytest.approx(points.mean(0), abs=1e-3)


def test_a_corner_parts_two_stretches() -> None:
    points = np.concatenate([np.stack([np.arange(60), np.zeros(60)], 1), np.stack([np.full(60, 60), np.arange(60)], 1)])
    found = stretches(points.astype(np.float32), np.array([0, 120]), np.array([0.5]), np.array([False]))
    long = found.counts > 20
    assert found.along[long] == pytest.approx(np.array([[1.0, 0], [0, 1.0]]), abs=0.05)


def test_every_point_is_in_one_stretch_of_its_own_path() -> None:
    paths = [ring(30), ring(12)[:40], np.zeros((1, 2), np.float32), ring(50)]
    starts = runs.counted([len(p) for p in paths])
    found = stretches(np.concatenate(paths), starts, np.ones(4), np.array([True, False, False, True]))
    assert np.bincount(found.path, found.counts).tolist() == np.diff(starts).tolist()
    for one in range(4):
        own = found.part(slice(*np.searchsorted(found.path, [one, one + 1])))
        assert (runs.owners(starts)[own.first] == one).all()


def test_a_ring_has_no_seam() -> None:
    points = ring(40)
    square = np.asarray(np.clip(points, 75, 125), np.float32)
    square = square[np.r_[True, (np.diff(square, axis=0) != 0).any(1)]]
    # begun in the middle of a side
    for shift in (0, 7, 20):
        moved = np.roll(square, shift, 0)
        found = stretches(moved, np.array([0, len(moved)]), np.array([0.4]), np.array([True]))
        assert np.count_nonzero(found.counts > 0.6 * 50) == 4, shift


def test_a_ring_stays_a_ring() -> None:
    points = ring(5)
    found = stretches(points, np.array([0, len(points)]), np.array([100.0]), np.array([True]))
    assert len(found) == 3


def test_a_bend_takes_more_stretches_than_wavering_as_wide() -> None:
    bent = np.stack([np.arange(120), 4 - 4 * ((np.arange(120) - 59.5) / 59.5) ** 2], 1).astype(np.float32)
    wavy = np.stack([np.arange(120), bent[:, 1].std() * waver(120)], 1).astype(np.float32)
    many = [len(stretches(p, np.array([0, 120]), np.array([2.0]), np.array([False]))) for p in (bent, wavy)]
    assert many[0] > many[1] == 1


def test_no_stretch_has_points_of_two_numbers() -> None:
    points = np.stack([np.arange(90), np.zeros(90)], 1).astype(np.float32)
    apart = np.arange(90) // 40
    found = stretches(points, np.array([0, 90]), np.array([2.0]), np.array([False]), apart)
    assert found.first.tolist() == [0, 40, 80]


def test_long_stretches_are_straightened_and_short_ones_are_not() -> None:
    line = np.stack([np.arange(100), waver(100)], 1).astype(np.float32)
    starts = np.array([0, 100])
    straight = straightened(line, starts, np.array([3.0], np.float32), np.array([20.0], np.float32))
    across = np.linalg.svd(straight - straight.mean(0), compute_uv=False)[1] / 10
    assert across < 0.05
    assert np.abs(straight - line).max() < 4
    same = straightened(line, starts, np.array([3.0], np.float32), np.array([200.0], np.float32))
    assert np.array_equal(same, line)


def wobbly(labels: np.ndarray) -> np.ndarray:
    """Labels whose borders waver by a pixel or two."""
    h, w = labels.shape
    noise = np.random.default_rng(1).normal(0, 1, (h, w, 2)).astype(np.float32)
    noise = 14 * cv2.GaussianBlur(noise, (0, 0), 3)
    ys, xs = np.mgrid[:h, :w].astype(np.float32)
    return cv2.remap(
        labels.astype(np.uint8), xs + noise[..., 0], ys + noise[..., 1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
    ).astype(np.int32)


@pytest.mark.parametrize("turn", [0, 20])
def test_a_wobbly_box_is_a_box(turn: float) -> None:
    corners = cv2.boxPoints(((120, 100), (120, 70), turn))
    labels = cv2.fillPoly(np.zeros(CALM.shape, np.int32), [np.round(corners).astype(np.int32)], 1)
    before = wobbly(labels)
    fine = curved(before, 2.5, CALM, 4)
    true, wobble = (a.repeat(4, 0).repeat(4, 1) for a in (labels, before))
    assert (fine != true).sum() < 0.7 * (wobble != true).sum()
    outline = cv2.findContours((fine == 1).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0][0][:, 0] / 4
    # a corner of it is one
    for corner in corners:
        assert np.hypot(*(outline - corner).T).min() < 3.5


def test_a_piece_at_the_frame_reaches_it() -> None:
    labels = np.zeros(CALM.shape, np.int32)
    labels[150:] = 1
    labels[:, :30] = 2
    fine = curved(wobbly(labels), 2.5, CALM, 4)
    wanted = wobbly(labels).repeat(4, 0).repeat(4, 1)
    assert (fine[:, 0] == 2).all()
    assert (fine[-1, 140:] == wanted[-1, 140:]).mean() > 0.95


def test_small_pieces_keep_their_shape() -> None:
    labels = np.zeros(CALM.shape, np.int32)
    cv2.rectangle(labels, (60, 60), (64, 76), 1, -1)
    cv2.rectangle(labels, (54, 60), (70, 64), 1, -1)
    bold = curved(labels, 6.0, CALM, 4)
    assert (bold == labels.repeat(4, 0).repeat(4, 1))[160:360, 160:360].mean() > 0.985


def test_slivers_go_and_what_is_wide_somewhere_stays() -> None:
    labels = np.zeros((60, 80), np.int32)
    labels[:, 40:] = 1
    labels[10:50, 38:40] = 2
    labels[20:40, 5:8] = 3
    labels[26:36, 2:12] = 3
    assert np.array_equal(without_slivers(labels, 0.0), labels)
    result = without_slivers(labels, 4.0)
    assert set(np.unique(result).tolist()) == {0, 1, 3}
    assert np.array_equal(result == 3, labels == 3)
    assert np.array_equal(result[:10], labels[:10])
