"""Hatching: darker is more ink, highlights stay paper, strokes follow the form."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from stylekit.errors import SettingError
from stylekit.hand.focus import prominence
from stylekit.hand.hatching import Hatching, _runs, plan_hatching, tones, valued
from stylekit.hand.marks import pen
from stylekit.hand.sight import Sight
from stylekit.hand.view import Floats, View

PLAIN = Hatching(focus=0, margin=0, grain=0, paper="#ffffff", ink="#000000", opacity=1.0)


def seen(photo: Floats, size: tuple[int, int] | None = None) -> View:
    h, w = photo.shape[:2]
    return View(photo=photo, colours=photo, amount=np.ones((h, w), np.float32), size=size or (w, h))


def ramp() -> Floats:
    """From black on the left to white on the right."""
    return np.ascontiguousarray(np.broadcast_to(np.linspace(0, 1, 240, dtype=np.float32)[None, :, None], (160, 240, 3)))


def test_darker_is_more_ink_up_to_black_and_highlights_stay_paper() -> None:
    photo = ramp()
    result = plan_hatching(seen(photo), PLAIN, photo).apply(photo, 0)[..., 0]
    ink = 1 - result.mean(0)
    steps = ink.reshape(12, 20).mean(1)
    assert steps[0] > 0.85
    assert (np.diff(steps) < 0.03).all()
    assert steps[-2:].max() < 0.01
    assert 0.05 < steps[5] < 0.8
    # the lightest strokes are separate: there is white paper between them
    assert (result[:, 130:150] > 0.9).mean() > 0.4


def test_strokes_run_along_the_form() -> None:
    # vertical stripes, softly dark: strokes follow them, whatever the slant
    xs = np.arange(200, dtype=np.float32)
    light = 0.35 + 0.2 * np.sin(xs / 4)
    photo = np.ascontiguousarray(np.broadcast_to(light[None, :, None], (200, 200, 3)).astype(np.float32))
    layer = plan_hatching(seen(photo), Hatching(layers=1, slant=0.0, form=1.0, focus=0, margin=0), photo)
    points = layer.sheets[0].points.reshape(-1, 7, 2)
    heading = points[:, -1] - points[:, 0]
    upright = np.abs(heading[:, 1]) > np.abs(heading[:, 0])
    assert upright.mean() > 0.9
    flat = plan_hatching(seen(photo), Hatching(layers=1, slant=0.0, form=0.0, focus=0, margin=0), photo)
    points = flat.sheets[0].points.reshape(-1, 7, 2)
    heading = points[:, -1] - points[:, 0]
    assert (np.abs(heading[:, 1]) > np.abs(heading[:, 0])).mean() < 0.1


def test_the_weight_of_strokes_varies() -> None:
    photo = ramp()
    layer = plan_hatching(seen(photo), PLAIN, photo)
    widths = layer.sheets[0].widths.reshape(-1, 7).max(1)
    assert np.percentile(widths, 90) > 1.5 * np.percentile(widths, 10)


def test_the_subject_is_louder_than_the_background() -> None:
    rng = np.random.default_rng(0)
    photo = np.full((240, 240, 3), 0.6, np.float32)
    photo += cv2.GaussianBlur(rng.standard_normal((240, 240)).astype(np.float32), (0, 0), 9)[..., None] * 0.3
    photo[80:160, 90:150] = (0.6, 0.15, 0.1)
    photo[100:140:6, 90:150] = 0.1
    photo = np.clip(photo, 0, 1)
    loud = prominence(Sight(photo), 0.8, 0.5, 0.5)
    assert loud[100:140, 100:140].mean() > 1.5 * loud[5:50, 5:50].mean()
    assert loud.min() >= 0
    assert loud.max() <= 1


def test_smudge_lays_tone_under_the_strokes() -> None:
    photo = ramp()
    bare = plan_hatching(seen(photo), PLAIN, photo).apply(photo, 0)
    smudged = plan_hatching(seen(photo), Hatching(focus=0, margin=0, grain=0, paper="#ffffff", ink="#000000", smudge=0.8), photo).apply(
        photo, 0
    )
    # white gaps between the strokes of a halftone close
    assert (smudged[:, 60:100] > 0.95).mean() < 0.2 * (bare[:, 60:100] > 0.95).mean()


def test_a_plan_of_values_is_few_tones_with_paper_among_them() -> None:
    photo = ramp()
    tone, _ = tones(seen(photo), PLAIN)
    planned = valued(tone, 4, 0.4)
    levels = np.round(planned.mean(0), 2)
    # nearly all of the ramp is one of four tones
    common = np.sort(np.unique(levels, return_counts=True)[1])[::-1]
    assert common[:4].sum() > 0.75 * len(levels)
    assert planned.min() == 0
    assert planned.max() > 0.95
    assert (np.diff(planned.mean(0)) < 0.02).all()
    with pytest.raises(SettingError, match=r"values.*choose 3, 4 or 5"):
        Hatching(values=2)


def test_a_few_decisive_darks_are_pressed_to_black_and_texture_is_not() -> None:
    rng = np.random.default_rng(0)
    photo = np.full((240, 240, 3), 0.75, np.float32)
    cv2.circle(photo, (120, 110), 8, (0.1, 0.1, 0.1), -1)  # a pupil
    for x, y in rng.integers(0, 240, (300, 2)):
        if y > 160:
            cv2.circle(photo, (int(x), int(y)), 1, (0.2, 0.2, 0.2), -1)  # gravel
    plain = Hatching(focus=0, margin=0, grain=0, paper="#ffffff", ink="#000000", pressures=0.8)
    bare, pressed = (plan_hatching(seen(photo), s, photo).apply(photo, 0)[..., 0] for s in (plain, replace(plain, accents=1.0)))
    assert pressed[106:115, 116:125].mean() < 0.02 < 0.05 < bare[106:115, 116:125].mean()
    assert np.abs(pressed[165:] - bare[165:]).mean() < 0.01


def test_runs_of_a_line() -> None:
    on = np.array([[1, 1, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1], [0, 1, 0, 1, 0, 1]], bool)
    row, first, last = _runs(on, 2)
    assert list(zip(row.tolist(), first.tolist(), last.tolist(), strict=True)) == [(0, 0, 1), (0, 3, 5), (1, 4, 5)]


def test_outlines_have_the_width_of_their_strokes() -> None:
    points = np.array([[[10.0, 50.0], [60.0, 50.0], [110.0, 50.0]]], np.float32)
    strokes = pen.Strokes(points=points.reshape(-1, 2), widths=np.full(3, 6, np.float32), starts=np.array([0, 3]))
    cover = pen.Sheet(strokes, (100, 120), (120, 100), bent=False).cover(0, 100)
    assert cover[:, 60].sum() == pytest.approx(6, abs=0.4)
    bent = pen.Sheet(strokes, (100, 120), (120, 100), bent=True).cover(0, 100)
    assert bent[:, 60].sum() == pytest.approx(6, abs=0.4)
    # in the middle of the pixel rows 47..52
    assert np.abs(np.flatnonzero(cover[:, 60] > 0.5).mean() - 49.5) < 0.6
