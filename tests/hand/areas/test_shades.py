"""Light and shade within flat areas: cut where the photo parts them, calm, and of the area's own ink."""

import numpy as np
import pytest

from stylekit.hand.analysis import to_lab
from stylekit.hand.areas.shades import DARKER, LIGHTER, Shading, shaded, steps, unshaded

HOW = Shading(least=8.0, unit=1.0)
EVERYWHERE = np.ones((100, 120), np.float32)


def areas() -> np.ndarray:
    """Ink 0 around a rectangle of ink 1."""
    inked = np.zeros((100, 120), np.int32)
    inked[20:80, 20:100] = 1
    return inked


def test_a_lit_and_a_shaded_side_are_two_steps_of_one_ink() -> None:
    light = np.full((100, 120), 50, np.float32)
    light[20:80, 20:45] = 70
    result = shaded(areas(), light, EVERYWHERE, 2, HOW)
    assert (result[areas() == 0] == 0).all()
    assert (result[25:75, 22:42] == 5).all()  # 1 + 2 x 2, its light
    assert (result[25:75, 48:98] == 1).all()
    darker = shaded(areas(), 120 - light, EVERYWHERE, 2, HOW)
    assert (darker[25:75, 22:42] == 3).all()  # 1 + 2, its shade


def test_three_levels_leave_the_middle_one_its_ink() -> None:
    light = np.full((100, 120), 50, np.float32)
    light[20:80, 20:45], light[20:80, 75:100] = 80, 20
    result = shaded(areas(), light, EVERYWHERE, 2, HOW)
    assert [int(result[50, x]) for x in (30, 60, 90)] == [5, 1, 3]


def test_even_areas_small_parts_and_texture_stay_one_tone() -> None:
    even = np.full((100, 120), 50, np.float32)
    assert np.array_equal(shaded(areas(), even, EVERYWHERE, 2, HOW), areas())
    spot = even.copy()
    spot[50:54, 50:54] = 90
    assert np.array_equal(shaded(areas(), spot, EVERYWHERE, 2, HOW), areas())
    rows, columns = np.mgrid[0:100, 0:120]
    check = np.where((rows // 10 + columns // 10) % 2 == 0, 30, 70).astype(np.float32)
    assert np.array_equal(shaded(areas(), check, EVERYWHERE, 2, HOW), areas())


def test_light_of_the_neighbours_does_not_bleed_in() -> None:
    light = np.where(areas() == 1, 30, 95).astype(np.float32)
    assert np.array_equal(shaded(areas(), light, EVERYWHERE, 2, HOW), areas())


def test_the_ground_is_shaded_less_and_plain_inks_never() -> None:
    light = np.full((100, 120), 50, np.float32)
    light[20:80, 20:45] = 66
    assert (shaded(areas(), light, EVERYWHERE, 2, HOW) == 5).any()
    assert np.array_equal(shaded(areas(), light, 0 * EVERYWHERE, 2, HOW), areas())
    assert np.array_equal(shaded(areas(), light, EVERYWHERE, 2, Shading(least=8.0, unit=1.0, plain=frozenset({1}))), areas())


def test_skin_has_two_levels_at_most() -> None:
    light = np.full((100, 120), 50, np.float32)
    light[20:80, 20:45], light[20:80, 75:100] = 80, 20
    result = shaded(areas(), light, EVERYWHERE, 2, Shading(least=8.0, unit=1.0, skin=1))
    assert len(np.unique(result[areas() == 1])) == 2


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (16, 16)])
def test_small_and_narrow_maps(shape: tuple[int, int]) -> None:
    inked = np.zeros(shape, np.int32)
    light = np.random.default_rng(1).uniform(0, 100, shape).astype(np.float32)
    assert shaded(inked, light, np.ones(shape, np.float32), 1, HOW).shape == shape


def test_steps_are_darker_and_lighter_and_shade_turns_away_from_yellow() -> None:
    inks = np.array([[1.0, 0.8, 0.2], [0.25, 0.6, 0.3], [0.98, 0.8, 0.65], [1, 1, 1], [0, 0, 0]], np.float32)
    ink, shade, lit = to_lab(steps(inks, skin=2)[None])[0].reshape(3, 5, 3)
    assert np.array_equal(steps(inks)[:5], inks)
    assert (shade[:4, 0] < ink[:4, 0] - 5).all()
    assert (lit[:3, 0] > ink[:3, 0]).all()
    assert (shade[:, 0] > ink[:, 0] - DARKER - 1).all()
    assert (lit[:, 0] < ink[:, 0] + LIGHTER + 1).all()
    hue = np.degrees(np.arctan2([ink[:2, 2], shade[:2, 2]], [ink[:2, 1], shade[:2, 1]]))
    assert hue[1, 0] < hue[0, 0]  # yellow turns to orange
    assert hue[1, 1] > hue[0, 1]  # green to blue
    assert shade[2, 1] > ink[2, 1]  # skin to red
    assert shade[3, 2] < 0  # paper has a cool shade


def test_black_and_grey_are_left_plain() -> None:
    inks = to_lab(np.array([[[0.1, 0.1, 0.12], [0.4, 0.4, 0.4], [0.95, 0.95, 0.9], [0.1, 0.2, 0.6]]], np.float32))[0]
    assert unshaded(inks) == {0, 1}
