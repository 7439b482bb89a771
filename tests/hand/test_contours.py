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
from stylekit.hand.areas.sky import ground
from stylekit.hand.linework.flat_borders import flat_borders
from stylekit.hand.linework.lines import Lines, drawn, strokes
from stylekit.hand.marks import runs
from stylekit.hand.marks.contours import Curves, of_things
from stylekit.hand.sight import Sight
from stylekit.hand.view import View


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


def flat(radius: float) -> Floats:
    """The cup's disc, `radius` pixels wide, flat on a flat ground."""
    ys, xs = np.mgrid[0:240, 0:240]
    inside = np.hypot(ys - 120, xs - 120) < radius
    return np.asarray(np.where(inside[..., None], np.float32([0.8, 0.2, 0.1]), np.float32([0.9, 0.9, 0.8])), np.float32)


def test_a_border_that_outlines_draw_is_not_drawn_twice() -> None:
    view = View(photo=cup(), colours=cup(), amount=np.ones((240, 240), np.float32), size=(240, 240))
    twice = strokes(view, Lines(things=1.0), flat(72))
    once = strokes(view, Lines(things=1.0, beside=6.0), flat(72))
    assert len(twice.points) > 50
    assert len(once.points) < 0.1 * len(twice.points)
    # and no border is lost
    left = np.concatenate([once.points, flat_borders(view, flat(72)).points])
    away = np.sqrt(((twice.points[:, None] - left[None]) ** 2).sum(-1)).min(1)
    assert np.quantile(away, 0.95) < 8
    # with no areas below there is nothing to leave them to
    assert np.array_equal(strokes(view, Lines(things=1.0, beside=6.0)).points, twice.points)


def test_a_border_is_drawn_where_a_thing_ends_and_not_where_only_the_colour_changes() -> None:
    view = View(photo=cup(), colours=cup(), amount=np.ones((240, 240), np.float32), size=(240, 240))
    at_the_end, within = (flat_borders(view, flat(radius)) for radius in (71, 35))
    _, length = runs.walked(at_the_end.points, at_the_end.starts)
    assert length.sum() > 0.8 * 2 * np.pi * 71
    # the figure's own outline may be drawn, where no border is near
    off = np.abs(np.hypot(*(within.points - 120).T) - 35)
    assert (off < 6).sum() < 0.2 * 2 * np.pi * 35


def test_lines_that_meet_do_not_thin_out_there() -> None:
    across = np.stack([np.arange(20, 200), np.full(180, 100)], 1)
    down = np.stack([np.full(78, 110), np.arange(20, 98)], 1)
    points = np.concatenate([across, down]).astype(np.float32)
    found = Curves.of(points, runs.counted([180, 78]), np.ones(258, np.float32))
    met = found.meeting(4.0)
    assert met.held.tolist() == [[False, False], [False, True]]
    assert met.points[-1].tolist() == [110, 100]
    assert np.array_equal(met.points[:-1], found.points[:-1])
    view = View(photo=cup(), colours=cup(), amount=np.ones((240, 240), np.float32), size=(240, 240))
    free, held = (drawn(view, Lines(taper=20.0), one).widths for one in (found, met))
    assert held[-1] > 3 * free[-1]
    assert held[0] == free[0]


def test_a_short_gap_is_part_of_a_line_and_a_long_one_is_not() -> None:
    points = np.stack([np.arange(100), np.full(100, 5)], 1).astype(np.float32)
    found = Curves.of(points, np.array([0, 100]), np.ones(100, np.float32))
    place = np.ones((10, 100), np.float32)
    place[:, 20:26] = place[:, 50:80] = place[:, :4] = 0
    assert np.diff(found.where(place, 0.5, inside=True).starts).tolist() == [16, 24, 20]
    bridged = found.where(place, 0.5, inside=True, gap=8)
    assert np.diff(bridged.starts).tolist() == [46, 20]
    assert bridged.points[0, 0] == 4
