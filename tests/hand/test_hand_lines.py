"""Key lines, hatching and woodblock: what all three drawn tools hold, and what makes lines lines."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from stylekit.errors import SettingError
from stylekit.hand import analysis
from stylekit.hand.engraving import Engraving, plan_engraving
from stylekit.hand.hatching import Hatching, plan_hatching
from stylekit.hand.linework.lines import Lines, plan_lines, strokes
from stylekit.hand.marks import pen
from stylekit.hand.view import Floats, Layer, View
from stylekit.hand.woodblock import Woodblock, plan_woodblock

Plan = Callable[[View, Any, Floats], Layer]
TOOLS: list[tuple[Plan, Any]] = [
    (plan_lines, Lines(waver=0.5, again=0.5, fine=0.5, focus=0.5, margin=0.3, shade=0.5)),
    (plan_lines, Lines(things=1.0)),
    (plan_lines, Lines(relief=1.0)),
    (plan_lines, Lines(reserve="#ffffff", shortest=6.0)),
    (plan_hatching, Hatching(smudge=0.3, values=4, accents=0.9)),
    (plan_woodblock, Woodblock()),
    (plan_woodblock, Woodblock(things=0.4)),
    (plan_engraving, Engraving()),
]
tools = pytest.mark.parametrize(
    ("plan", "settings"), TOOLS, ids=["lines", "things", "brushed", "reserved", "hatching", "woodblock", "woodblock of things", "engraving"]
)


def scene(h: int = 150, w: int = 200) -> Floats:
    """A sky, a dark hill with a slope of light, a bright disc and a dark bar."""
    photo = np.full((h, w, 3), (0.62, 0.75, 0.9), np.float32)
    ys, xs = np.mgrid[0:h, 0:w]
    hill = ys > h * 0.6 - 0.1 * h * np.sin(xs / w * 5)
    photo[hill] = np.stack([np.linspace(0.05, 0.5, w)] * 3, -1)[None].repeat(h, 0)[hill].astype(np.float32)
    photo[np.hypot(ys - h * 0.3, xs - w * 0.3) < h * 0.15] = (0.9, 0.35, 0.2)
    photo[int(h * 0.15) : int(h * 0.85), int(w * 0.7) : int(w * 0.74)] = (0.1, 0.12, 0.1)
    return np.asarray(cv2.GaussianBlur(photo, (0, 0), 0.8), np.float32)


def seen(photo: Floats, amount: float | Floats = 1.0, size: tuple[int, int] | None = None, seed: int = 0, detail: float = 1.0) -> View:
    h, w = photo.shape[:2]
    full = np.broadcast_to(np.asarray(amount, np.float32), (h, w)).copy()
    return View(photo=photo, colours=photo, amount=full, size=size or (w, h), seed=seed, detail=detail)


def drawn(plan: Plan, settings: Any, view: View) -> Floats:
    canvas = analysis.resized(view.photo, view.size, cv2.INTER_CUBIC).clip(0, 1)
    return plan(view, settings, view.colours).apply(canvas, 0)


@tools
def test_bands_equal_the_whole(plan: Plan, settings: Any) -> None:
    view = seen(scene(), size=(1000, 750))
    canvas = np.random.default_rng(1).random((750, 1000, 3), np.float32)
    layer = plan(view, settings, view.colours)
    whole = layer.apply(canvas, 0)
    cuts = (0, 3, 255, 256, 300, 749, 750)
    banded = np.concatenate([layer.apply(canvas[a:b], a) for a, b in itertools.pairwise(cuts)])
    assert np.array_equal(whole, banded)
    # in any order, too
    backwards = plan(view, settings, view.colours)
    parts = [backwards.apply(canvas[a:b], a) for a, b in zip(cuts[-2::-1], cuts[:0:-1], strict=True)]
    assert np.array_equal(whole, np.concatenate(parts[::-1]))
    assert whole.dtype == np.float32
    assert whole.min() >= 0
    assert whole.max() <= 1


@tools
def test_the_same_seed_draws_the_same_and_another_another(plan: Plan, settings: Any) -> None:
    photo = scene()
    one, two, other = (drawn(plan, settings, seen(photo, seed=s)) for s in (4, 4, 5))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


@tools
def test_nothing_is_drawn_where_nothing_is_wanted(plan: Plan, settings: Any) -> None:
    photo = scene()
    canvas = np.random.default_rng(1).random(photo.shape, np.float32)
    layer = plan(seen(photo, 0.0), settings, photo)
    assert np.array_equal(layer.apply(canvas, 0), canvas)
    half = np.ones(photo.shape[:2], np.float32)
    half[:, 100:] = 0
    result = plan(seen(photo, half), settings, photo).apply(canvas, 0)
    assert np.array_equal(result[:, 100:], canvas[:, 100:])
    assert np.abs(result[:, :95] - canvas[:, :95]).mean() > 0.003


@tools
def test_more_amount_is_more_of_it_all_the_way(plan: Plan, settings: Any) -> None:
    photo = scene()
    canvas = drawn(plan, settings, seen(photo, 0.0))
    change = [float(np.abs(drawn(plan, settings, seen(photo, a)) - canvas).mean()) for a in (0.0, 0.05, 0.25, 0.5, 0.75, 1.0)]
    assert change[0] == 0
    assert change[1] >= 0
    assert all(b > a for a, b in itertools.pairwise(change[1:]))
    assert change[1] < 0.35 * change[-1]


@tools
def test_a_larger_result_is_the_same_drawing(plan: Plan, settings: Any) -> None:
    photo = scene()
    small = drawn(plan, settings, seen(photo, size=(400, 300)))
    large = drawn(plan, settings, seen(photo, size=(1600, 1200)))
    again = analysis.resized(large, (400, 300))
    assert np.abs(cv2.GaussianBlur(again - small, (0, 0), 1.5)).mean() < 0.02
    assert np.corrcoef(cv2.GaussianBlur(again, (0, 0), 1).ravel(), cv2.GaussianBlur(small, (0, 0), 1).ravel())[0, 1] > 0.97


@tools
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (16, 16), (20, 3000), (3000, 20)])
def test_tiny_and_extreme_sizes(plan: Plan, settings: Any, shape: tuple[int, int]) -> None:
    photo = np.random.default_rng(0).random((*shape, 3), np.float32)
    result = drawn(plan, settings, seen(photo))
    assert result.shape == photo.shape
    assert np.isfinite(result).all()
    plain = drawn(plan, settings, seen(np.full((*shape, 3), 0.5, np.float32), size=(2 * shape[1], 2 * shape[0])))
    assert np.isfinite(plain).all()


@tools
def test_bold_and_fine_marks(plan: Plan, settings: Any) -> None:
    for detail in (0.5, 2.0):
        assert np.isfinite(drawn(plan, settings, seen(scene(), detail=detail))).all()


@pytest.mark.parametrize(
    ("tool", "name", "value"),
    [
        (Lines, "weight", 0.0),
        (Lines, "density", float("nan")),
        (Lines, "ink", "black"),
        (Lines, "opacity", True),
        (Hatching, "layers", 2.5),
        (Hatching, "spacing", "wide"),
        (Hatching, "paper", (1, 1, 1)),
        (Hatching, "blacks", -0.1),
        (Engraving, "spacing", 1.0),
        (Engraving, "ink", "#12"),
        (Woodblock, "pigments", 2),
        (Woodblock, "count", 20.5),
        (Woodblock, "texture", float("inf")),
    ],
)
def test_settings_out_of_range_are_refused_with_a_sentence(tool: Any, name: str, value: object) -> None:
    with pytest.raises(SettingError, match=name) as error:
        tool(**{name: value})
    assert str(error.value).endswith(".")
    assert "choose" in str(error.value) or "write" in str(error.value)


def test_a_line_is_continuous_tapers_and_lies_on_the_contour() -> None:
    photo = np.full((160, 160, 3), 0.9, np.float32)
    cv2.circle(photo, (80, 80), 45, (0.2, 0.2, 0.2), -1, cv2.LINE_AA)
    found = strokes(seen(photo), Lines(variation=0.0, taper=10))
    assert len(found) <= 2
    far = np.hypot(found.points[:, 0] - 80, found.points[:, 1] - 80)
    assert np.abs(far - 45).max() < 5
    round_it = np.degrees(np.arctan2(found.points[:, 1] - 80, found.points[:, 0] - 80)) // 10
    assert len(np.unique(round_it)) >= 34
    bar = np.full((160, 160, 3), 0.9, np.float32)
    cv2.line(bar, (30, 80), (130, 80), (0.1, 0.1, 0.1), 2, cv2.LINE_AA)
    line = strokes(seen(bar), Lines(taper=30, spots=0))
    first = line.widths[line.starts[0] : line.starts[1]]
    assert len(line) == 1
    assert first[0] < 0.3 * first.max()
    assert first[-1] < 0.3 * first.max()


def test_noise_and_fine_texture_make_no_crumbs() -> None:
    rng = np.random.default_rng(3)
    texture = np.clip(0.5 + 0.12 * rng.standard_normal((200, 200)), 0, 1).astype(np.float32)
    photo = np.dstack([texture] * 3)
    assert len(strokes(seen(photo), Lines())) < 12
    faint = np.clip(0.5 + 0.004 * rng.standard_normal((200, 200, 3)), 0, 1).astype(np.float32)
    assert len(strokes(seen(faint), Lines(density=1.0))) == 0


def test_lines_are_crisp_at_any_size() -> None:
    photo = np.full((160, 160, 3), 0.9, np.float32)
    cv2.line(photo, (30, 40), (130, 110), (0.1, 0.1, 0.1), 3, cv2.LINE_AA)
    view = seen(photo, size=(1600, 1600))
    result = plan_lines(view, Lines(ink="#000000"), photo).apply(np.ones((1600, 1600, 3), np.float32), 0)[..., 0]
    inked, between = (result < 0.1).sum(), ((result >= 0.1) & (result <= 0.9)).sum()
    assert inked > 2000
    assert between < 0.3 * inked


def test_lines_may_keep_to_what_parts_two_surfaces() -> None:
    photo = np.full((240, 240, 3), (0.85, 0.8, 0.7), np.float32)
    photo[:, 150:] = (0.3, 0.35, 0.6)
    cv2.line(photo, (40, 40), (40, 200), (0.55, 0.5, 0.45), 2, cv2.LINE_AA)  # a crease
    every, borders = (strokes(seen(photo), Lines(density=0.5, borders=amount)) for amount in (0.0, 0.6))
    assert (np.abs(every.points[:, 0] - 40) < 6).sum() > 20
    assert len(borders)
    assert np.abs(borders.points[:, 0] - 150).max() < 6


def test_borders_of_nothing_are_nothing() -> None:
    assert len(strokes(seen(np.full((64, 64, 3), 0.5, np.float32)), Lines(borders=1.0))) == 0


def test_lines_are_heavy_in_shade_and_lost_in_light() -> None:
    """One border from a dark part of a picture into a light one."""
    shade = np.linspace(0.15, 0.85, 300, dtype=np.float32)[None, :, None]
    photo = np.broadcast_to(shade, (200, 300, 3)).copy()
    photo[100:] += np.float32(0.14)
    photo = np.clip(photo, 0, 1)
    even, shaded = (strokes(seen(photo), Lines(variation=0, taper=0, density=0.9, shade=s)) for s in (0.0, 1.0))

    def ratio(drawn: pen.Strokes) -> float:
        x = drawn.points[:, 0]
        return float(drawn.widths[(x > 30) & (x < 90)].mean() / max(drawn.widths[(x > 210) & (x < 270)].mean(), 1e-6))

    assert ratio(shaded) > 1.6 * ratio(even)


def test_brushed_lines_are_of_many_tones_between_the_ink_and_what_lies_there() -> None:
    photo = scene()
    flat = np.full_like(photo, (0.9, 0.8, 0.3))
    by_pen, by_brush = (plan_lines(seen(photo), Lines(ink="#101060", relief=r), flat).apply(flat, 0) for r in (0.0, 1.0))
    dark = [picture[picture[..., 0] < 0.5] for picture in (by_pen, by_brush)]
    assert min(len(one) for one in dark) > 100
    assert dark[1].std(0).mean() > 1.5 * dark[0][dark[0][:, 0] < 0.1].std(0).mean()
    ink = analysis.to_lab(np.float32([[[16 / 255, 16 / 255, 96 / 255]]]))[0, 0]
    assert analysis.to_lab(dark[1][None])[0, :, 0].mean() > ink[0] + 3


def test_lines_in_areas_too_dark_for_the_ink_are_left_blank() -> None:
    photo = np.full((160, 200, 3), 0.16, np.float32)
    photo[40:120, 60:140] = 0.26
    photo = np.asarray(cv2.GaussianBlur(photo, (0, 0), 0.8), np.float32)
    dark, light = (np.full_like(photo, v) for v in (0.06, 0.9))
    settings = Lines(ink="#101018", reserve="#ffffff", shortest=6.0, weight=8.0)
    on_dark, on_light = (plan_lines(seen(photo), settings, ground).apply(ground, 0) for ground in (dark, light))
    assert (on_dark > 0.7).any()
    assert on_light.max() <= 0.9 + 1e-6
    assert not (plan_lines(seen(photo), Lines(ink="#101018", shortest=6.0, weight=8.0), dark).apply(dark, 0) > 0.2).any()
    with pytest.raises(SettingError, match="reserve"):
        Lines(reserve="white")
