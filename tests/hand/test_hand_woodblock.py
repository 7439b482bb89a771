"""Woodblock: few pigments, flat fields with crisp borders, one graded sky."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from stylekit.hand import analysis
from stylekit.hand.areas.pigments import CHART, PAPER, chart, fewer, washed
from stylekit.hand.areas.regions import measured, without_crumbs
from stylekit.hand.palettes import colour_of
from stylekit.hand.view import Floats, View
from stylekit.hand.woodblock import Woodblock, cut, plan_woodblock

FLAT = Woodblock(grain=0, wear=0)


def seen(photo: Floats, size: tuple[int, int] | None = None) -> View:
    h, w = photo.shape[:2]
    return View(photo=photo, colours=photo, amount=np.ones((h, w), np.float32), size=size or (w, h))


def landscape(h: int = 160, w: int = 240) -> Floats:
    """Pale sky, textured ground with a red house and a dark tree."""
    rng = np.random.default_rng(5)
    photo = np.full((h, w, 3), (0.75, 0.82, 0.9), np.float32)
    ground = np.array((0.45, 0.5, 0.25), np.float32) + 0.05 * rng.standard_normal((h - h // 2, w, 1)).astype(np.float32)
    photo[h // 2 :] = ground
    photo[h // 3 : h * 3 // 4, w // 5 : w // 2] = (0.7, 0.2, 0.15)
    photo[h // 4 : h * 4 // 5, w * 7 // 10 : w * 8 // 10] = (0.08, 0.15, 0.1)
    return np.clip(photo, 0, 1)


def distinct(picture: Floats) -> int:
    return len(np.unique(np.round(picture.reshape(-1, 3) * 255).astype(int), axis=0))


def test_fields_are_flat_and_few() -> None:
    photo = landscape()
    result = plan_woodblock(seen(photo), FLAT, photo).apply(photo, 0)
    below = result[90:155]
    counted = np.unique(np.round(below.reshape(-1, 3) * 255).astype(int), axis=0, return_counts=True)[1]
    # all but the pixels of borders have one of few colours
    assert np.sort(counted)[::-1][:12].sum() > 0.93 * counted.sum()
    pigments = np.concatenate([chart()[1].reshape(-1, 3), colour_of(PAPER, "The paper")[None]])
    centre = below[20, 10]
    assert np.abs(pigments - centre).sum(1).min() < 0.01


def test_one_sky_is_graded_from_the_top_and_smooth() -> None:
    photo = landscape()
    result = plan_woodblock(seen(photo), FLAT, photo).apply(photo, 0)
    column = analysis.to_lab(result)[2:50, 5, 0]
    assert column[0] < column[-1] - 25
    assert (np.diff(column) > -0.5).all()
    assert np.abs(np.diff(column)).max() < 6
    none = plan_woodblock(seen(photo), Woodblock(grain=0, wear=0, bokashi=0), photo).apply(photo, 0)
    assert np.ptp(analysis.to_lab(none)[2:50, 5, 0]) < 0.5


def test_a_busy_picture_has_no_sky() -> None:
    photo = np.random.default_rng(2).random((120, 160, 3), np.float32)
    photo = np.asarray(cv2.GaussianBlur(photo, (0, 0), 1.2), np.float32)
    photo = np.clip((photo - 0.5) * 3 + 0.5, 0, 1)
    one = plan_woodblock(seen(photo), FLAT, photo).apply(photo, 0)
    other = plan_woodblock(seen(photo), Woodblock(grain=0, wear=0, bokashi=0), photo).apply(photo, 0)
    # its top is wiped over the pigments, all below stays
    assert np.array_equal(one[40:], other[40:])
    assert one[:4].mean() < other[:4].mean() - 0.05


def test_borders_are_crisp_in_a_large_result() -> None:
    photo = landscape()
    layer = plan_woodblock(seen(photo, size=(1920, 1280)), FLAT, photo)
    result = layer.apply(np.zeros((1280, 1920, 3), np.float32), 0)
    # across the upright side of the house: one or two pixels between two flat colours
    row = result[1000 - 200, 300:480]
    step = np.abs(np.diff(row, axis=0)).sum(1)
    assert step.max() > 0.1
    assert (step > 0.02).sum() <= 8


def test_grey_photos_get_pigments() -> None:
    photo = np.ascontiguousarray(np.repeat(landscape().mean(-1, keepdims=True), 3, -1))
    result = plan_woodblock(seen(photo), Woodblock(), photo).apply(photo, 0)
    chroma = np.hypot(*np.moveaxis(analysis.to_lab(result)[..., 1:], -1, 0))
    assert chroma.mean() > 6


def test_the_least_used_pigments_give_way() -> None:
    table = chart()[1].reshape(-1, 3)
    chosen = np.array([0, 0, 7, 7, 30, 31])
    mass = np.array([50, 40, 30, 30, 1, 20], np.float32)
    assert len(np.unique(fewer(chosen, mass, table, 3))) <= 3
    assert np.array_equal(fewer(chosen, mass, table, 10), chosen)


def test_areas_follow_edges_and_are_as_many_as_wanted() -> None:
    lab = analysis.to_lab(landscape())
    ones = np.ones(lab.shape[:2], np.float32)
    found = measured(cut(lab, 6, 12, ones, 20), lab, ones)
    assert 4 <= len(found.mass) <= 12
    assert found.mass.sum() == lab.shape[0] * lab.shape[1]
    house = found.labels[60:115, 55:112]
    assert np.bincount(house.ravel()).max() > 0.95 * house.size


def test_crumbs_go_to_their_neighbours() -> None:
    labels = np.zeros((40, 40), np.int32)
    labels[5:7, 5:7] = 1
    labels[20:35, 20:35] = 2
    cleaned = without_crumbs(labels, np.full(labels.shape, 30, np.float32))
    assert set(np.unique(cleaned)) == {0, 2}
    assert (cleaned == 2).sum() == 225


def test_broad_ochre_ground_is_printed_paler_than_a_thing() -> None:
    rows = list(CHART)
    hue = np.array([rows.index("yellow"), rows.index("yellow"), rows.index("yellow"), rows.index("blue")])
    tone, mass = np.array([2, 2, 2, 2]), np.array([100, 100, 2, 100], np.float32)
    assert washed(hue, tone, mass, np.array([0, 1, 0, 0], np.float32)).tolist() == [True, False, False, False]


def test_a_grey_thing_is_grey_whatever_a_model_makes_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = np.full((120, 160, 3), (0.55, 0.65, 0.8), np.float32)
    photo[40:110, 50:110] = 0.35
    model = photo.copy()
    model[40:110, 50:110] = (0.6, 0.25, 0.15)
    view = seen(photo)
    inside = np.zeros(photo.shape[:2], np.float32)
    inside[40:110, 50:110] = 1
    monkeypatch.setattr(view.sight, "figure", lambda: inside)
    shown = analysis.to_lab(plan_woodblock(view, Woodblock(grain=0, wear=0), model).apply(photo, 0))[60:100, 60:100].mean((0, 1))
    assert shown[1] < 6
