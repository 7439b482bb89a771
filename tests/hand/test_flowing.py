"""A photo drawn out along its contours: what runs along them becomes even, what stands across them stays sharp."""

from __future__ import annotations

import numpy as np
import pytest

from stylekit.hand.analysis import Floats, to_lab
from stylekit.hand.areas.flowing import flowing
from stylekit.hand.fields import Fields, plan_fields
from stylekit.hand.linework.ink import Ink, plan_ink
from stylekit.hand.sight import FLOW_AREA, Sight
from stylekit.hand.view import Nothing, View
from stylekit.hand.woodblock import Woodblock, plan_woodblock


def page(h: int = 96, w: int = 128, light: float = 60.0) -> Floats:
    return np.stack([np.full((h, w), light), np.full((h, w), 5.0), np.full((h, w), -8.0)], -1).astype(np.float32)


def test_an_even_page_stays_as_it_is() -> None:
    assert np.abs(flowing(page(), 3, 9) - page()).max() < 1e-3


def test_a_clean_edge_stays_where_it_is_and_sharp() -> None:
    lab = page()
    lab[:, 64:, 0] = 20
    light = flowing(lab, 3, 9)[..., 0]
    assert np.abs(light[:, :61] - 60).max() < 1
    assert np.abs(light[:, 67:] - 20).max() < 1
    assert np.abs((light[:, :64] > 40).mean(0) - 1).max() == 0


def test_a_broken_stripe_is_made_whole() -> None:
    lab = page()
    lab[40:48, :, 0] = 20
    lab[40:48, 60:64, 0] = 60  # a gap of 4 pixels in a stripe of 8
    before = lab[44, 20:-20, 0]
    after = flowing(lab, 4, 10)[44, 20:-20, 0]
    assert before.max() == 60
    assert after.max() < 40
    assert after.min() < 25


def test_noise_goes_along_a_contour_and_not_across_it() -> None:
    lab = page()
    lab[:, ::16, 0] = lab[:, 1::16, 0] = lab[:, 2::16, 0] = 25  # stripes down the page
    lab[..., 0] += np.random.default_rng(4).normal(0, 4, lab.shape[:2])
    light = flowing(lab, 3, 9)[10:-10, 10:-10, 0]
    assert light.std(0).mean() < 0.4 * lab[10:-10, 10:-10, 0].std(0).mean()
    assert light.mean(0).std() > 0.6 * lab[10:-10, 10:-10, 0].mean(0).std()


@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (300, 7)])
def test_what_has_no_room_for_contours_stays(shape: tuple[int, int]) -> None:
    lab = page(*shape)
    assert flowing(lab, 3, 9) is lab


def test_a_length_below_a_pixel_draws_nothing_out() -> None:
    lab = page()
    assert flowing(lab, 3, 0.5) is lab


def test_the_sight_of_a_large_photo_is_drawn_out_once_and_smaller() -> None:
    photo = np.random.default_rng(1).uniform(0, 1, (700, 800, 3)).astype(np.float32)
    sight = Sight(photo)
    drawn = sight.drawn_out(9.0)
    assert drawn is sight.drawn_out(9.0)
    assert drawn.shape[0] * drawn.shape[1] <= FLOW_AREA * 1.01
    assert 0 <= drawn.min() <= drawn.max() <= 1


@pytest.mark.parametrize("shape", [(16, 16), (4, 900), (90, 120)])
def test_the_tools_that_can_draw_out_do_so_at_any_shape(shape: tuple[int, int]) -> None:
    h, w = shape
    photo = np.random.default_rng(2).uniform(0, 1, (h, w, 3)).astype(np.float32)
    view = View(photo=photo, colours=photo, amount=np.ones((h, w), np.float32), size=(w, h), seed=0)
    for layer in (
        plan_fields(view, Fields(flow=9), photo),
        plan_woodblock(view, Woodblock(flow=9), photo),
        plan_ink(view, Ink(flow=9), photo),
    ):
        drawn = layer.apply(np.ones((h, w, 3), np.float32), 0)
        assert drawn.shape == (h, w, 3)
        assert np.isfinite(drawn).all()


def test_fields_of_drawn_out_stripes_have_fewer_corners() -> None:
    rng = np.random.default_rng(3)
    photo = np.full((160, 200, 3), 0.8, np.float32)
    for top in range(8, 150, 24):
        edge = top + rng.integers(0, 4, 200)
        for x in range(200):
            photo[edge[x] : edge[x] + 10, x] = (0.15, 0.2, 0.4)
    view = View(photo=photo, colours=photo, amount=np.ones((160, 200), np.float32), size=(200, 160), seed=0)

    def border(flow: float) -> float:
        layer = plan_fields(view, Fields(flow=flow, count=20, texture=1, rounding=0.4, crumbs=2), photo)
        assert not isinstance(layer, Nothing)
        light = to_lab(layer.apply(np.ones((160, 200, 3), np.float32), 0))[..., 0]
        return float(np.abs(np.diff(light, axis=1)).sum())  # of stripes across the page: only wriggles change from left to right

    assert border(10) < 0.7 * border(0)
