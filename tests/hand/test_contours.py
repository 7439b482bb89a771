"""Where things end: what the network sees, areas that end there, and lines that are drawn there."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from stylekit.hand.analysis import Floats
from stylekit.hand.areas.merging import by_thing, merged
from stylekit.hand.areas.regions import flooded_between, measured
from stylekit.hand.linework.lines import Lines, strokes
from stylekit.hand.marks.contours import of_things
from stylekit.hand.sight import Sight
from stylekit.hand.view import View
from stylekit.hand.woodblock import ground


def photo(root: Path, name: str, side: int = 384) -> Floats:
    with Image.open(root / "assets" / "photos" / f"{name}.jpg") as picture:
        small = picture.convert("RGB")
        small.thumbnail((side, side))
        return np.asarray(np.asarray(small, np.float32) / 255, np.float32)


def cup() -> Floats:
    """A plain disc on a ground of small checks, (240, 240, 3)."""
    ys, xs = np.mgrid[0:240, 0:240]
    checks = 0.62 + 0.05 * (((ys // 4 + xs // 4) % 2) * 2 - 1)
    picture = np.repeat(checks[..., None], 3, 2).astype(np.float32)
    picture[np.hypot(ys - 120, xs - 120) < 70] = (0.75, 0.15, 0.1)
    return picture


def disc(radius: float) -> np.ndarray:
    ys, xs = np.mgrid[0:240, 0:240]
    return np.abs(np.hypot(ys - 120, xs - 120) - radius) < 3


def test_a_thing_ends_at_its_outline_and_not_in_its_texture() -> None:
    seen = Sight(cup()).contours()
    assert seen.shape == (240, 240)
    assert 0 <= seen.min() <= seen.max() <= 1
    assert seen[disc(70)].mean() > 0.5
    assert seen[disc(40)].mean() < 0.1
    assert seen[:30].mean() < 0.15  # the checks


def test_the_outline_of_a_person_counts_for_more_than_what_is_on_the_ground(root: Path) -> None:
    sight = Sight(photo(root, "astronaut"))
    seen = sight.contours()
    inside = np.asarray(sight.foreground() > 0.5, np.uint8)
    rim = cv2.morphologyEx(inside, cv2.MORPH_GRADIENT, np.ones((7, 7), np.uint8)) > 0
    assert seen[rim].mean() > 2 * seen[~rim].mean()


@pytest.mark.parametrize("shape", [(1, 1), (15, 200), (16, 16), (20, 3000)])
def test_any_size_is_looked_at(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(1).uniform(0, 1, (*shape, 3)).astype(np.float32)
    seen = Sight(noise).contours()
    assert seen.shape == shape
    assert np.isfinite(seen).all()
    assert 0 <= seen.min() <= seen.max() <= 1
    if min(shape) < 16:
        assert seen.max() == 0


def test_small_areas_end_at_the_ridge() -> None:
    edge = np.zeros((60, 80), np.float32)
    edge[:, 38:41] = (0.5, 1, 0.5)
    labels = flooded_between(edge, np.full((60, 80, 3), 50, np.float32), 8)
    assert sorted(np.unique(labels)) == list(range(int(labels.max()) + 1))
    assert not set(labels[:, :38].ravel()) & set(labels[:, 41:].ravel())
    assert 40 < labels.max() < 120  # of about 8 x 8 pixels


@pytest.mark.parametrize(("sure", "left"), [(0.0, 1), (0.1, 1), (0.9, 2)])
def test_two_colours_are_one_thing_where_nothing_parts_them(sure: float, left: int) -> None:
    lab = np.full((60, 80, 3), (60, 10, 10), np.float32)
    lab[:, 40:] = (45, 12, 8)
    edge = np.zeros((60, 80), np.float32)
    edge[:, 39:41] = sure
    small = flooded_between(edge, lab, 8)
    areas = measured(small, lab, np.ones((60, 80), np.float32), edge=edge)
    labels = merged(areas, 100, 0, by_thing(6.0), 0.3)
    assert labels.max() + 1 == left


def test_there_are_never_more_areas_than_asked_for() -> None:
    rng = np.random.default_rng(2)
    lab = rng.uniform(0, 100, (60, 80, 3)).astype(np.float32)
    edge = rng.uniform(0, 1, (60, 80)).astype(np.float32)
    small = flooded_between(edge, lab, 6)
    labels = merged(measured(small, lab, np.ones((60, 80), np.float32), edge=edge), 7, 0, by_thing(6.0), 0.0)
    assert labels.max() + 1 <= 7


def test_one_line_runs_along_one_ridge() -> None:
    edge = np.zeros((100, 120), np.float32)
    edge[48:53, 10:110] = np.array([0.2, 0.6, 0.9, 0.6, 0.2], np.float32)[:, None]
    found = of_things(edge, 1.0, 0.5, 14)
    assert len(found) == 1
    assert np.abs(found.points[:, 1] - 50).max() < 1.5
    assert np.ptp(found.points[:, 0]) > 90
    assert len(of_things(np.zeros((100, 120), np.float32), 1.0, 0.5, 14)) == 0


def test_what_is_unsure_is_drawn_only_where_it_is_asked_for() -> None:
    edge = np.zeros((100, 120), np.float32)
    edge[30:33, 10:110], edge[70:73, 10:110] = 0.95, 0.35
    assert [len(of_things(edge, 1.0, density, 14)) for density in (0.1, 0.9)] == [1, 2]


def test_lines_of_things_leave_texture_out() -> None:
    picture = cup()
    view = View(photo=picture, colours=picture, amount=np.ones((240, 240), np.float32), size=(240, 240))
    found = strokes(view, Lines(things=1.0))
    away = np.abs(np.hypot(*(found.points - 120).T) - 70)
    assert len(found.points) > 100
    assert np.quantile(away, 0.9) < 4
    again = strokes(view, Lines(things=1.0))
    assert np.array_equal(found.points, again.points)
    assert np.array_equal(found.widths, again.widths)


def test_what_is_surer_is_drawn_broader(root: Path) -> None:
    picture = photo(root, "astronaut")
    h, w = picture.shape[:2]
    view = View(photo=picture, colours=picture, amount=np.ones((h, w), np.float32), size=(w, h))
    found = strokes(view, Lines(things=1.0, taper=0.0, variation=1.0, density=0.7, faces=0.0))
    sure = view.sight.contours()[np.clip(found.points[:, 1].astype(int), 0, h - 1), np.clip(found.points[:, 0].astype(int), 0, w - 1)]
    assert found.widths[sure > 0.8].mean() > 1.3 * found.widths[sure < 0.4].mean()


def test_calm_leaves_the_figure_and_its_outline_as_they_are(root: Path) -> None:
    picture = photo(root, "astronaut")
    h, w = picture.shape[:2]
    view = View(photo=picture, colours=picture, amount=np.ones((h, w), np.float32), size=(w, h))
    inside = cv2.erode(np.asarray(view.sight.figure() > 0.5, np.uint8), np.ones((9, 9), np.uint8)) > 0
    many = []
    for calm in (0.0, 1.0):
        found = strokes(view, Lines(things=1.0, density=0.7, faces=0.0, calm=calm))
        x, y = np.clip(found.points.astype(int), 0, (w - 1, h - 1)).T
        many.append((int(inside[y, x].sum()), int((~inside[y, x]).sum())))
    (figure, around), (calm_figure, calm_around) = many
    assert calm_figure > 0.97 * figure
    assert calm_around < 0.9 * around


@pytest.mark.parametrize(("sure", "reaches"), [(0.0, True), (0.9, False)])
def test_the_sky_does_not_go_on_behind_where_a_thing_ends(sure: float, reaches: bool) -> None:
    lab = np.full((90, 120, 3), (70, -2, -12), np.float32)
    lab[40:70, 40:80] = (55, -2, -12)
    lab[80:] = (30, 0, 20)
    labels = np.zeros((90, 120), np.int32)
    labels[40:70, 40:80] = 1
    labels[80:] = 2
    edge = np.zeros((90, 120), np.float32)
    edge[38:72, 38:82] = sure
    ones = np.ones((90, 120), np.float32)
    areas = measured(labels, lab, ones)
    shown = cv2.cvtColor(lab, cv2.COLOR_Lab2RGB)
    sky = ground(areas, shown, np.zeros_like(ones), 0.2, measured(labels, lab, ones, edge=edge).step)
    assert sky[0]
    assert sky[1] == reaches
    assert not sky[2]
