"""Ben-Day dots: round, in the midtones only, the same however the result is banded."""

import math

import cv2
import numpy as np
import pytest

from stylekit.errors import SettingError
from stylekit.hand.analysis import to_lab
from stylekit.hand.dots import Dots, midtones, plan_dots
from stylekit.hand.view import View


def tones(h: int = 120, w: int = 240) -> np.ndarray:
    """From black on the left to white on the right."""
    return np.ascontiguousarray(np.broadcast_to(np.linspace(0, 1, w, dtype=np.float32)[None, :, None], (h, w, 3)))


def seen(photo: np.ndarray, amount: float | np.ndarray = 1.0, size: tuple[int, int] | None = None, **changes: object) -> View:
    h, w = photo.shape[:2]
    full = np.broadcast_to(np.asarray(amount, np.float32), (h, w)).copy()
    return View(photo=photo, colours=photo, amount=full, size=size or (w, h), **changes)  # type: ignore[arg-type]


PAPER = np.full((120, 240, 3), 1, np.float32)


def test_bands_equal_the_whole() -> None:
    view = seen(tones(), size=(760, 380))
    layer = plan_dots(view, Dots(), PAPER)
    canvas = np.random.default_rng(1).random((380, 760, 3), np.float32)
    whole = layer.apply(canvas, 0)
    banded = np.concatenate([layer.apply(canvas[a:b], a) for a, b in ((0, 5), (5, 250), (250, 270), (270, 380))])
    assert np.array_equal(whole, banded)
    assert not np.array_equal(whole, canvas)


def test_dots_are_in_the_midtones_only_and_largest_halfway() -> None:
    photo = tones()
    result = plan_dots(seen(photo), Dots(), PAPER).apply(PAPER, 0)
    ink = (1 - result).mean(-1)
    light = to_lab(photo)[0, :, 0]
    settings = Dots()
    assert ink[:, light > settings.light + 8].max() == 0
    assert ink[:, light < settings.dark - 12].max() == 0
    middle = np.abs(light - (settings.light + settings.dark) / 2) < 6
    edge = np.abs(light - (settings.light - 4)) < 3
    assert ink[:, middle].mean() > 2 * ink[:, edge].mean()


def test_the_largest_dots_cover_the_wanted_share() -> None:
    grey = np.full((256, 256, 3), 0.52, np.float32)
    middle = float(to_lab(grey)[0, 0, 0])
    settings = Dots(largest=0.4, light=middle + 20, dark=middle - 20, pitch=8, cool="#000000")
    size = (1024, 1024)
    result = plan_dots(seen(grey, size=size), settings, np.full((256, 256, 3), 0.97, np.float32)).apply(
        np.ones((1024, 1024, 3), np.float32), 0
    )
    assert 1 - result.mean() == pytest.approx(0.4, abs=0.05)


def test_dots_are_round_and_on_a_turned_grid() -> None:
    grey = np.full((256, 256, 3), 0.47, np.float32)
    settings = Dots(pitch=16, angle=45, largest=0.3, cool="#000000")
    result = plan_dots(seen(grey), settings, np.full((256, 256, 3), 1, np.float32)).apply(np.ones((256, 256, 3), np.float32), 0)
    count, _, stats, centres = cv2.connectedComponentsWithStats(np.asarray(result[..., 0] < 0.5, np.uint8))
    inner = [i for i in range(1, count) if 20 < centres[i][0] < 236 and 20 < centres[i][1] < 236]
    assert len(inner) > 100
    for i in inner:
        assert abs(int(stats[i, cv2.CC_STAT_WIDTH]) - int(stats[i, cv2.CC_STAT_HEIGHT])) <= 1
    nearest = min(np.hypot(*(centres[inner[0]] - centres[i])) for i in inner[1:])
    assert nearest == pytest.approx(8, abs=0.7)  # 16 units of 256 / 512 pixels
    # at 45 degrees the nearest neighbours lie on the diagonal
    gaps = np.array([centres[i] - centres[inner[40]] for i in inner if i != inner[40]])
    closest = gaps[np.hypot(*gaps.T).argmin()]
    assert abs(abs(closest[0]) - abs(closest[1])) < 0.8


def test_the_ground_chooses_the_ink_and_a_ground_like_the_ink_has_no_dots() -> None:
    grey = np.full((128, 128, 3), 0.5, np.float32)

    def on(ground: tuple[float, float, float]) -> np.ndarray:
        flat = np.full((128, 128, 3), ground, np.float32)
        return plan_dots(seen(grey), Dots(), flat).apply(flat, 0) - flat

    skin, sky, red, navy = on((0.98, 0.8, 0.68)), on((0.6, 0.8, 0.98)), on((0.85, 0.15, 0.2)), on((0.08, 0.1, 0.25))
    assert skin[..., 2].mean() < -0.05  # red dots take blue away
    assert sky[..., 0].mean() < -0.05  # blue dots take red away
    assert np.abs(red).max() == 0
    assert np.abs(navy).max() == 0


def test_nothing_where_nothing_is_wanted_and_smaller_dots_between() -> None:
    photo = np.full((120, 240, 3), 0.5, np.float32)
    assert np.array_equal(plan_dots(seen(photo, 0.0), Dots(), PAPER).apply(photo, 0), photo)
    half = np.where(np.arange(240) < 120, 0, 1)[None]
    result = plan_dots(seen(photo, half), Dots(), PAPER).apply(photo, 0)
    assert np.array_equal(result[:, :115], photo[:, :115])
    assert np.abs(result[:, 125:] - photo[:, 125:]).mean() > 0.05
    shares = [float((1 - plan_dots(seen(photo, a), Dots(), PAPER).apply(PAPER, 0)).mean()) for a in (0.2, 0.5, 1.0)]
    assert shares == sorted(shares)
    assert shares[1] == pytest.approx(shares[2] / 2, rel=0.2)


def test_large_and_small_results_agree() -> None:
    photo = tones()
    small = plan_dots(seen(photo), Dots(), PAPER).apply(PAPER, 0)
    large = plan_dots(seen(photo, size=(1200, 600)), Dots(), PAPER).apply(np.ones((600, 1200, 3), np.float32), 0)
    assert np.abs(cv2.resize(large, (240, 120), interpolation=cv2.INTER_AREA) - small).mean() < 0.02


def test_detail_makes_dots_finer() -> None:
    photo = np.full((256, 256, 3), 0.5, np.float32)
    paper = np.ones_like(photo)
    counts = []
    for detail in (0.7, 1.4):
        result = plan_dots(seen(photo, size=(1024, 1024), detail=detail), Dots(), paper).apply(np.ones((1024, 1024, 3), np.float32), 0)
        counts.append(cv2.connectedComponents(np.asarray(result[..., 0] < 0.6, np.uint8))[0])
    assert counts[0] > 3 * counts[1]


@pytest.mark.parametrize("size", [(16, 16), (1, 1), (2, 300), (900, 7)])
def test_small_and_narrow_pictures(size) -> None:
    photo = np.full((size[1], size[0], 3), 0.5, np.float32)
    result = plan_dots(seen(photo), Dots(), np.ones_like(photo)).apply(photo, 0)
    assert result.shape == photo.shape
    assert np.isfinite(result).all()


def test_midtones_are_a_hill() -> None:
    light = np.linspace(0, 100, 101).astype(np.float32)
    hill = midtones(light, 30, 80)
    assert hill[:31].max() == 0
    assert hill[80:].max() == 0
    assert hill[55] == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pitch": 0}, "pitch"),
        ({"pitch": math.nan}, "pitch"),
        ({"angle": 400}, "angle"),
        ({"largest": 1.5}, "largest"),
        ({"opacity": "half"}, "opacity"),
        ({"light": 40, "dark": 60}, "dark"),
        ({"warm": "red"}, "warm"),
        ({"cool": 5}, "cool"),
    ],
)
def test_wrong_settings_are_refused_with_a_sentence(changes, said) -> None:
    with pytest.raises(SettingError, match=said) as caught:
        Dots(**changes)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(("share", "fading"), [(0.2, False), (0.4, False), (0.8, True)])
def test_clean_dots_are_even_on_an_accent_and_run_out_on_what_is_most_of_a_picture(share: float, fading: bool) -> None:
    photo = np.ones((200, 200, 3), np.float32)
    photo[: round(200 * share)] = (0.45, 0.6, 0.8)
    ground = np.where(photo < 1, np.float32([0.5, 0.75, 1.0]), np.float32(1))
    layer = plan_dots(seen(photo), Dots(clean=1.0, dark=30.0), np.asarray(ground, np.float32))
    down = layer.places[:, 1]
    high, low = layer.radii[down < 0.3 * share], layer.radii[(down > 0.6 * share) & (down < 0.9 * share)]
    assert (high.mean() > 1.3 * low.mean()) == fading
    assert down.max() < share + 0.03


def test_dots_stand_for_one_or_two_colours_on_which_they_show() -> None:
    stripes = np.float32([[0.55, 0.8, 1.0], [0.95, 0.85, 0.6], [0.6, 0.85, 0.65], [0.95, 0.75, 0.75], [0.1, 0.3, 0.7]])
    ground = np.ascontiguousarray(np.repeat(stripes, 60, 0)[:, None].repeat(300, 1))
    layer = plan_dots(seen(np.full_like(ground, 0.6)), Dots(clean=1.0, dark=20.0), ground)
    under = np.unique((layer.places[:, 1] * 5).astype(int))
    assert len(under) == 2
    assert 4 not in under  # blue dots on blue


def test_a_picture_without_middle_tones_has_dots_that_run_out_downwards() -> None:
    photo = np.full((200, 260, 3), 0.96, np.float32)
    photo[150:] = 0.03
    ground = np.where(photo > 0.5, np.float32([1, 1, 0.96]), np.float32([0.05, 0.05, 0.1]))
    layer = plan_dots(seen(photo), Dots(clean=1.0), np.asarray(ground, np.float32))
    high, low = (layer.radii[(layer.places[:, 1] > a) & (layer.places[:, 1] < b)] for a, b in ((0, 0.2), (0.4, 0.6)))
    assert high.mean() > 1.3 * low.mean() > 0
    assert layer.places[:, 1].max() < 0.76
