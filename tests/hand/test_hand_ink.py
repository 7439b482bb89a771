"""A brush with ink: lines along contours, blacks in the dark, no blots, and the same at every size."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stylekit.errors import SettingError
from stylekit.hand.analysis import Floats
from stylekit.hand.linework.ink import FINE, Ink, cover, gathered, plan_ink
from stylekit.hand.view import View


def view(photo: Floats, amount: float | Floats = 1.0, size: tuple[int, int] | None = None) -> View:
    h, w = photo.shape[:2]
    return View(photo=photo, colours=photo, amount=np.broadcast_to(np.float32(amount), (h, w)), size=size or (w, h))


def paper(h: int = 160, w: int = 200) -> Floats:
    return np.full((h, w, 3), 0.8, np.float32)


def ruled() -> Floats:
    """A dark line of 4 pixels down a light page, at column 80."""
    photo = paper()
    photo[:, 80:84] = 0.15
    return photo


def inked(photo: Floats, settings: Ink, amount: float | Floats = 1.0, size: tuple[int, int] | None = None) -> Floats:
    """Where ink is: 0..1."""
    seen = view(photo, amount, size)
    w, h = seen.size
    return 1 - plan_ink(seen, settings, photo).apply(np.ones((h, w, 3), np.float32), 0).mean(-1)


def test_ink_lies_on_a_dark_line_and_nowhere_else() -> None:
    ink = inked(ruled(), Ink(weight=4, ink="#000000"))
    assert ink[20:-20, 81:83].min() > 0.9
    assert ink[:, :70].max() == 0
    assert ink[:, 95:].max() == 0


@pytest.mark.parametrize("light", [0.0, 0.5, 1.0])
def test_an_even_page_has_no_ink_but_where_it_is_black(light: float) -> None:
    page = np.full((90, 120, 3), light, np.float32)
    assert inked(page, Ink()).max() == 0
    whole = inked(page, Ink(black=12.0, ink="#000000"))
    assert whole.min() == whole.max() == (1.0 if light == 0 else 0.0)


def test_a_denser_hand_draws_fainter_contours() -> None:
    photo = paper()
    photo[:, 100:] -= 0.09
    faint, dense = (inked(photo, Ink(density=density, crumbs=0)).mean() for density in (0.1, 1.0))
    assert faint == 0
    assert dense > 0.002


def test_small_blots_are_left_out() -> None:
    photo = ruled()
    photo[60:64, 150:154] = 0.1
    with_it, without = (inked(photo, Ink(weight=4, crumbs=crumbs)) for crumbs in (0.0, 30.0))
    assert with_it[55:70, 145:160].max() > 0.5
    assert without[55:70, 145:160].max() == 0
    assert without[20:-20, 81:83].min() > 0.7


def test_where_less_is_wanted_lines_are_thinner() -> None:
    sums = [inked(ruled(), Ink(weight=4), amount).sum() for amount in (0.0, 0.3, 0.6, 1.0)]
    assert sums[0] == 0
    assert sums == sorted(sums)
    assert len(set(sums)) == 4


def test_a_line_is_sharp_at_any_size_and_bands_equal_the_whole() -> None:
    photo = ruled()
    size = (1000, 800)
    layer = plan_ink(view(photo, np.linspace(0.2, 1, 200, dtype=np.float32)[None].repeat(160, 0), size), Ink(ink="#000000"), photo)
    canvas = np.random.default_rng(1).random((800, 1000, 3), np.float32)
    whole = layer.apply(canvas, 0)
    assert np.array_equal(whole, np.concatenate([layer.apply(canvas[a:b], a) for a, b in ((0, 7), (7, 500), (500, 800))]))
    ink = inked(photo, Ink(ink="#000000"), size=size)[400]
    soft = ((ink > 0.05) & (ink < 0.95)).sum()
    assert ink.max() == 1
    assert soft <= 6  # the two borders of one line


def test_gathering_along_a_contour_keeps_it_and_evens_it_out() -> None:
    plane = np.zeros((40, 60), np.float32)
    plane[:, 30] = np.random.default_rng(0).random(40) + 0.5
    along = gathered(plane, np.full((40, 60), math.pi / 2, np.float32), 16)
    assert along[10:-10, 30].std() < 0.5 * plane[10:-10, 30].std()
    assert along[10:-10, 30].mean() == pytest.approx(plane[10:-10, 30].mean(), rel=0.15)
    assert along[:, 27].max() < 1e-3


def test_the_smallest_pictures_have_ink_or_none_but_no_error() -> None:
    for h, w in ((1, 1), (5, 300), (16, 16), (9, 700)):
        photo = np.random.default_rng(2).random((h, w, 3), np.float32)
        assert inked(photo, Ink(black=20)).shape == (h, w)
    assert cover(view(ruled()), Ink()).shape == (160 * FINE, 200 * FINE)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Ink(weight=0), "weight"),
        (lambda: Ink(density=math.nan), "density"),
        (lambda: Ink(black=90), "black"),
        (lambda: Ink(length=0), "length"),
        (lambda: Ink(ink="black"), "#rrggbb"),
    ],
)
def test_settings_out_of_range_are_named(make, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        make()
