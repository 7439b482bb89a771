"""Engraving: lines swell with the tone, keep their distance, cross in the darks, and are crisp."""

from __future__ import annotations

import numpy as np

from stylekit.hand.engraving import Engraving, plan_engraving
from stylekit.hand.view import Floats, View

PLAIN = Engraving(slant=0.0, relief=0.0, waver=0.0, focus=0.0, ink="#000000", paper="#ffffff")


def seen(photo: Floats, size: tuple[int, int] | None = None) -> View:
    h, w = photo.shape[:2]
    return View(photo=photo, colours=photo, amount=np.ones((h, w), np.float32), size=size or (w, h))


def ramp() -> Floats:
    """From black on the left to white on the right."""
    return np.ascontiguousarray(np.broadcast_to(np.linspace(0, 1, 256, dtype=np.float32)[None, :, None], (256, 256, 3)))


def printed(settings: Engraving, size: tuple[int, int] = (1024, 1024)) -> Floats:
    photo = ramp()
    return plan_engraving(seen(photo, size), settings, photo).apply(np.zeros((size[1], size[0], 3), np.float32), 0)[..., 0]


def test_lines_swell_with_the_tone_and_light_stays_paper() -> None:
    ink = (1 - printed(PLAIN)).mean(0).reshape(16, 64).mean(1)
    assert (np.diff(ink) < 0.01).all()
    assert ink[0] > 0.85
    assert ink[-1] == 0
    assert 0.1 < ink[9] < 0.5


def test_lines_are_parallel_and_as_far_apart_as_said() -> None:
    column = printed(Engraving(slant=0.0, relief=0.0, waver=0.0, focus=0.0, ink="#000000", paper="#ffffff", crossing=1.0))[:, 600]
    inked = column < 0.5
    starts = np.flatnonzero(inked[1:] & ~inked[:-1])
    assert np.abs(np.diff(starts) - PLAIN.spacing * 2).max() <= 1  # 2 pixels of the result are a unit


def test_others_cross_in_the_darks_only() -> None:
    alone = printed(Engraving(slant=0.0, relief=0.0, waver=0.0, focus=0.0, ink="#000000", paper="#ffffff", crossing=1.0))
    crossed = printed(PLAIN)
    assert (alone - crossed)[:, :200].mean() > 0.02
    assert np.array_equal(alone[:, 700:], crossed[:, 700:])


def test_relief_bends_lines_over_light_and_shade() -> None:
    # without relief every line is level, so that all rows of a column of one tone are alike
    level = printed(PLAIN)[:, 500:502]
    bent = printed(Engraving(slant=0.0, relief=3.0, waver=0.0, focus=0.0, ink="#000000", paper="#ffffff"))
    first, second = bent[:, 480], bent[:, 560]
    assert np.abs(level[:, 0] - level[:, 1]).mean() < 0.02
    assert np.corrcoef(first, second)[0, 1] < 0.8


def test_a_large_plate_is_crisp() -> None:
    result = printed(PLAIN, (2048, 2048))
    between = ((result > 0.05) & (result < 0.95)).mean()
    assert between < 0.35
    assert (result[:, :1024] < 0.05).mean() > 0.3
