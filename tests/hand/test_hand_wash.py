"""Washes of watercolour: banded alike, soft ends, white paper, dark borders."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from stylekit.errors import SettingError
from stylekit.hand.view import View
from stylekit.hand.wash import Wash, plan_wash


def view(picture: np.ndarray, amount: float | np.ndarray = 1.0, size: tuple[int, int] | None = None, seed: int = 3) -> View:
    h, w = picture.shape[:2]
    full = np.broadcast_to(np.asarray(amount, np.float32), (h, w)).copy()
    return View(photo=picture, colours=picture, amount=full, size=size or (w, h), seed=seed)


def steps(h: int = 120, w: int = 160) -> np.ndarray:
    """White, light, middle and dark, side by side."""
    picture = np.ones((h, w, 3), np.float32)
    for i, colour in enumerate(((1, 1, 1), (0.8, 0.85, 0.95), (0.5, 0.6, 0.8), (0.15, 0.2, 0.4))):
        picture[:, w * i // 4 :] = colour
    return picture


def drawn(v: View, settings: Wash) -> np.ndarray:
    w, h = v.size
    return plan_wash(v, settings, v.colours).apply(np.full((h, w, 3), 0.5, np.float32), 0)


def test_bands_are_the_whole() -> None:
    v = view(steps(), size=(320, 240))
    layer = plan_wash(v, Wash(), v.colours)
    canvas = np.full((240, 320, 3), 0.5, np.float32)
    parts = [layer.apply(canvas[a:b], a) for a, b in ((0, 33), (33, 200), (200, 240))]
    np.testing.assert_allclose(np.concatenate(parts), layer.apply(canvas, 0), atol=2e-6)


def test_seeds_and_amount() -> None:
    assert np.array_equal(drawn(view(steps()), Wash()), drawn(view(steps()), Wash()))
    assert np.abs(drawn(view(steps()), Wash()) - drawn(view(steps(), seed=4), Wash())).max() > 0.02
    assert (drawn(view(steps(), 0.0), Wash()) == 0.5).all()
    half = np.zeros((120, 160), np.float32)
    half[:, 80:] = 1
    assert (drawn(view(steps(), half), Wash())[:, :79] == 0.5).all()


def test_paper_is_left_and_tones_keep_their_order() -> None:
    result = drawn(view(steps()), Wash(paper="#ffffff"))
    light = [result[20:100, a : a + 20].mean() for a in (10, 50, 90, 130)]
    assert light == sorted(light, reverse=True)
    assert light[0] > 0.97
    assert light[3] < 0.45


def test_washes_dry_darker_at_their_border() -> None:
    picture = np.ones((160, 160, 3), np.float32)
    picture[:, 80:] = (0.7, 0.75, 0.9)
    smooth = {"waver": 0.0, "grain": 0.0, "bloom": 0.0, "bleed": 0.0}
    rim, plain = (drawn(view(picture), Wash(edge=edge, **smooth))[:, 70:100].mean((0, 2)).min() for edge in (1.0, 0.0))
    assert rim < plain - 0.01


def test_grain_is_in_the_paint_only() -> None:
    result = drawn(view(steps()), Wash(grain=1.0))
    assert result[20:100, 5:25].std() < 0.5 * result[20:100, 90:110].std((0, 1)).max()


@pytest.mark.parametrize("shape", [(16, 16), (1, 1), (2, 300), (700, 3)])
def test_any_size(shape: tuple[int, int]) -> None:
    result = drawn(view(steps(*shape)), Wash())
    assert result.shape == (*shape, 3)
    assert np.isfinite(result).all()


def test_the_same_washes_at_every_size() -> None:
    small, large = drawn(view(steps(), size=(320, 240)), Wash()), drawn(view(steps(), size=(1280, 960)), Wash())
    shrunk = cv2.resize(large, (320, 240), interpolation=cv2.INTER_AREA)
    assert np.abs(cv2.GaussianBlur(small, (0, 0), 4) - cv2.GaussianBlur(shrunk, (0, 0), 4)).mean() < 0.02


@pytest.mark.parametrize(
    "bad", [{"washes": 0}, {"washes": 2.5}, {"edge": float("nan")}, {"white": 2}, {"paper": "white"}, {"paper": "#12345g"}]
)
def test_bad_settings_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=next(iter(bad))):
        Wash(**bad)
