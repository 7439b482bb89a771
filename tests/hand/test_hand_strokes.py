"""Strokes: the same pixels however they are banded, soft ends, and the look: opaque, broken, true to the forms."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from stylekit.errors import SettingError
from stylekit.hand.analysis import lightness, slopes, to_lab
from stylekit.hand.focus import attention
from stylekit.hand.marks.form import Form
from stylekit.hand.marks.layout import lay_all
from stylekit.hand.marks.painted import roughly
from stylekit.hand.sight import Sight
from stylekit.hand.strokes import Strokes, plan_strokes
from stylekit.hand.view import View

LAYERS = (
    Strokes(width=12, length=40, wander=0.5, relief=0.8),
    Strokes(width=5, length=14, cover=0.3, detail=1.0, broken=0.2),
    Strokes(width=2.5, length=6, cover=0.0, detail=1.0),
)


def scene(h: int, w: int) -> np.ndarray:
    """Sky, a red disc, dark ground: edges, calm, and a little texture."""
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    picture = np.empty((h, w, 3), np.float32)
    picture[:] = (0.6, 0.75, 0.95)
    picture[y > 0.7 * h] = (0.2, 0.3, 0.15)
    picture[np.hypot(x - w / 2, y - h / 2) < 0.25 * min(h, w)] = (0.8, 0.2, 0.1)
    return np.clip(picture + 0.02 * np.random.default_rng(0).standard_normal((h, w, 3)), 0, 1).astype(np.float32)


def view(picture: np.ndarray, amount: float | np.ndarray = 1.0, size: tuple[int, int] | None = None, seed: int = 3) -> View:
    h, w = picture.shape[:2]
    full = np.broadcast_to(np.asarray(amount, np.float32), (h, w)).copy()
    return View(photo=picture, colours=picture, amount=full, size=size or (w, h), seed=seed)


def drawn(v: View, layers: tuple[Strokes, ...] = LAYERS) -> np.ndarray:
    w, h = v.size
    return plan_strokes(v, layers, v.colours).apply(np.full((h, w, 3), 0.5, np.float32), 0)


@pytest.mark.parametrize("bands", [(0, 37, 100), (0, 1, 2, 99), (0, 50)])
def test_bands_are_the_whole(bands: tuple[int, ...]) -> None:
    v = view(scene(120, 160))
    layer = plan_strokes(v, LAYERS, v.colours)
    canvas = np.full((120, 160, 3), 0.5, np.float32)
    whole = layer.apply(canvas, 0)
    parts = [layer.apply(canvas[a:b], a) for a, b in zip(bands, (*bands[1:], 120), strict=True)]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=2e-6)


def test_large_results_are_banded_alike() -> None:
    v = view(scene(60, 60), size=(2400, 2400))
    layer = plan_strokes(v, LAYERS[:2], v.colours)
    canvas = np.full((300, 2400, 3), 0.5, np.float32)
    whole = layer.apply(canvas, 700)
    parts = [layer.apply(canvas[:77], 700), layer.apply(canvas[77:], 777)]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=2e-6)


def test_seeds() -> None:
    picture = scene(96, 96)
    assert np.array_equal(drawn(view(picture)), drawn(view(picture)))
    assert np.abs(drawn(view(picture)) - drawn(view(picture, seed=4))).mean() > 0.01


def test_amount_0_is_untouched_and_half_a_map_leaves_the_rest() -> None:
    picture = scene(128, 128)
    assert (drawn(view(picture, 0.0)) == 0.5).all()
    half = np.zeros((128, 128), np.float32)
    half[:, 64:] = 1
    result = drawn(view(picture, half))
    assert (result[:, :30] == 0.5).all()
    assert np.abs(result[:, 90:] - 0.5).mean() > 0.1


def test_paint_grows_with_amount() -> None:
    picture = scene(128, 128)
    covered = [np.abs(drawn(view(picture, a)) - 0.5).sum() for a in (0.0, 0.2, 0.5, 1.0)]
    assert covered == sorted(covered)
    assert covered[1] < 0.6 * covered[3]


@pytest.mark.parametrize("shape", [(16, 16), (1, 1), (2, 300), (20, 1500), (700, 3)])
def test_any_size(shape: tuple[int, int]) -> None:
    result = drawn(view(scene(*shape)))
    assert result.shape == (*shape, 3)
    assert np.isfinite(result).all()
    assert result.min() >= 0
    assert result.max() <= 1


def test_the_same_marks_at_every_size() -> None:
    picture = scene(128, 128)
    small, large = drawn(view(picture, size=(256, 256))), drawn(view(picture, size=(1024, 1024)))
    shrunk = cv2.resize(large, (256, 256), interpolation=cv2.INTER_AREA)
    blurred = [cv2.GaussianBlur(a, (0, 0), 1.5) for a in (small, shrunk)]
    assert np.abs(blurred[0] - blurred[1]).mean() < 0.025
    other = cv2.GaussianBlur(drawn(view(picture, size=(256, 256), seed=9)), (0, 0), 1.5)
    assert np.abs(blurred[0] - blurred[1]).mean() < 0.6 * np.abs(blurred[0] - other).mean()


def test_paint_covers_keeps_forms_and_is_broken() -> None:
    picture = scene(200, 200)
    result = drawn(view(picture))
    lab, wanted = to_lab(result), to_lab(picture)
    # a form keeps its colour, and colours do not run over its border
    assert np.abs(np.median(lab[90:110, 90:110], (0, 1)) - np.median(wanted[90:110, 90:110], (0, 1))).max() < 12
    assert np.abs(np.median(lab[20:35, 90:110], (0, 1)) - np.median(wanted[20:35, 90:110], (0, 1))).max() < 12
    # what is flat in the picture, but for noise, is strokes of several hues in the result
    hues, noise = (cv2.GaussianBlur(a[..., 1:], (0, 0), 1.5)[10:40, 10:190].std((0, 1)) for a in (lab, wanted))
    assert hues.min() > 1.5 * noise.max()


def test_fine_strokes_go_where_there_is_something_to_see() -> None:
    picture = scene(200, 200)
    fine = lay_all(view(picture), list(LAYERS), picture, 1)[-1].shape
    x, y = fine[:, 0], fine[:, 1]
    rim = np.abs(np.hypot(x - 100, y - 100) - 50) < 8
    sky = y < 40
    assert rim.sum() / (2 * math.pi * 50 * 16) > 3 * sky.sum() / (40 * 200)


def turned(picture: np.ndarray) -> float:
    """Share of the slope of light that is upright: near 0 under level strokes."""
    xx, _, yy = (float(a.mean()) for a in slopes(lightness(picture)))
    return xx / (xx + yy)


def beside_the_focus(h: int = 240, w: int = 240) -> np.ndarray:
    """Grey ground with little texture, and a chequered thing above its middle, which the eye goes to."""
    y, x = np.mgrid[0:h, 0:w]
    picture = np.full((h, w, 3), 0.55, np.float32) + 0.02 * np.random.default_rng(1).standard_normal((h, w, 3)).astype(np.float32)
    thing = (np.abs(x - w / 2) < w / 7) & (np.abs(y - h / 3) < h / 7)
    picture[thing & ((x // 6 + y // 6) % 2 == 0)] = (0.9, 0.2, 0.1)
    picture[thing & ((x // 6 + y // 6) % 2 == 1)] = (0.1, 0.1, 0.2)
    return np.clip(picture, 0, 1).astype(np.float32)


def test_the_eye_goes_to_what_stands_out_and_a_picture_always_has_its_quiet_part() -> None:
    photo = beside_the_focus()
    looked = attention(Sight(photo), 240 / 512)
    assert looked[70:90, 110:130].min() > 0.8
    assert looked[200:, :].max() < 0.2
    noise = np.random.default_rng(0).random((200, 200, 3)).astype(np.float32)
    everywhere = attention(Sight(noise), 200 / 512)
    assert 0.25 < (everywhere < 0.05).mean() < 0.5
    assert (everywhere > 0.95).mean() > 0.08
    assert np.isfinite(attention(Sight(np.zeros((16, 16, 3), np.float32)), 16 / 512)).all()


def test_loose_strokes_are_larger_away_from_the_focus_only() -> None:
    photo = beside_the_focus()

    def widths(loose: float) -> tuple[float, float]:
        """Means on the thing and on the ground."""
        (pieces,) = lay_all(view(photo), [Strokes(width=8, length=24, loose=loose)], photo, 1)
        x, y, half = pieces.shape[:, 0], pieces.shape[:, 1], pieces.shape[:, 6]
        return float(half[(np.abs(x - 120) < 15) & (np.abs(y - 80) < 15)].mean()), float(half[y > 170].mean())

    (thing, ground), (same, larger) = widths(0), widths(1)
    assert larger > 2 * ground
    assert same < 1.2 * thing


def test_strokes_lie_level_on_the_ground() -> None:
    photo = cv2.GaussianBlur(beside_the_focus(480, 480), (0, 0), 2)
    brush = Strokes(width=6, length=36, light=8, calm=0, relief=0, dry=0, wander=1.0)
    upright = [turned(drawn(view(photo), (replace(brush, level=level),))[360:]) for level in (0.0, 1.0)]
    assert upright[1] < 0.8 * upright[0]


def plank(degrees: float, size: int = 300) -> np.ndarray:
    """A brown board across a grey wall, both with a little grain."""
    picture = np.full((size, size, 3), (0.62, 0.6, 0.58), np.float32)
    turn = math.radians(degrees)
    along = np.array([math.cos(turn), math.sin(turn)]) * size
    across = np.array([-math.sin(turn), math.cos(turn)]) * 0.2 * size
    corners = np.array([along + across, along - across, -along - across, -along + across]) + size / 2
    cv2.fillConvexPoly(picture, corners.astype(np.int32), (0.45, 0.28, 0.14))
    return np.clip(picture + 0.01 * np.random.default_rng(2).standard_normal(picture.shape), 0, 1).astype(np.float32)


@pytest.mark.parametrize("degrees", [25.0, -50.0])
def test_strokes_lie_parallel_on_a_surface_and_do_not_swirl_there(degrees: float) -> None:
    picture = plank(degrees)

    def strayed(form: float) -> float:
        """Degrees by which strokes on the board stray from it, on average."""
        (pieces,) = lay_all(view(picture), [Strokes(width=7, length=30, wander=1, eddy=60, spread=0, form=form)], picture, 1)
        x, y, dx, dy = pieces.shape[:, :4].T
        turn = math.radians(degrees)
        on = np.abs((y - 150) * math.cos(turn) - (x - 150) * math.sin(turn)) < 22
        off = np.arctan2(dy[on], dx[on]) - turn
        return float(np.degrees(np.abs(np.mod(off + math.pi / 2, math.pi) - math.pi / 2)).mean())

    assert strayed(1.0) < 9
    assert strayed(0.0) > 1.5 * strayed(1.0)


def test_only_what_moves_swirls() -> None:
    photo = np.empty((240, 320, 3), np.float32)
    photo[:100] = (0.45, 0.65, 0.95)  # sky
    photo[100:] = (0.55, 0.5, 0.45)  # a wall
    photo[150:, 120:200] = (0.2, 0.3, 0.7)  # a blue shirt before it
    photo = np.clip(photo + 0.01 * np.random.default_rng(0).standard_normal(photo.shape), 0, 1).astype(np.float32)
    moves = cv2.resize(Form.of(Sight(photo), 0.54).moves, (320, 240))
    assert moves[10:80].min() > 0.7
    assert moves[120:, :100].max() < 0.1
    assert moves[170:, 135:185].max() < 0.1


def test_uneven_strokes_lie_small_on_large_and_are_of_many_sizes() -> None:
    picture = scene(200, 200)

    def sizes(uneven: float) -> np.ndarray:
        (pieces,) = lay_all(view(picture), [Strokes(width=6, length=15, sizes=uneven, finer=0)], picture, 1)
        return np.log(pieces.shape[:, 6])

    assert sizes(1.0).std() > 1.7 * sizes(0.0).std()
    # painted first to last
    order = np.arange(len(sizes(1.0)))
    assert np.corrcoef(order, sizes(1.0))[0, 1] < -0.5
    assert abs(np.corrcoef(np.arange(len(sizes(0.0))), sizes(0.0))[0, 1]) < 0.1


def test_warm_lies_beside_cool_and_the_eye_mixes_them() -> None:
    grey = np.full((160, 160, 3), 0.6, np.float32)
    plain = Strokes(width=6, length=15, light=0, hue=0, calm=0, relief=0, dry=0)
    still, lively = (to_lab(drawn(view(grey), (brush,))) for brush in (plain, replace(plain, shimmer=1.0)))
    assert lively[..., 2].std() > 5 > 3 * still[..., 2].std()
    assert np.abs(lively.mean((0, 1)) - still.mean((0, 1))).max() < 4
    assert lively[..., 0].std() < still[..., 0].std() + 1.5


def test_lights_are_set_on_lights_only() -> None:
    picture = scene(200, 200)
    cv2.circle(picture, (100, 100), 9, (1.0, 0.95, 0.9), -1)
    (pieces,) = lay_all(view(picture), [Strokes(width=4, length=9, where="lights")], picture, 1)
    x, y = pieces.shape[:, 0], pieces.shape[:, 1]
    far = np.hypot(x - 100, y - 100)
    assert (far < 12).sum() >= 8
    # neither the disc around it nor the dark ground has any
    assert not ((far > 20) & (far < 44)).any()
    assert not (y > 146).any()


def test_some_borders_are_lost() -> None:
    """Borders off the focus, of all strengths of being lost: how broad strokes beside them are."""
    picture = beside_the_focus(480, 480)
    borders = np.arange(60, 480, 30)
    for x in borders[::2]:
        picture[260:, x : x + 30] *= 0.45

    def over(lost: float) -> float:
        (pieces,) = lay_all(view(picture), [Strokes(width=14, length=14, lost=lost, finer=0, spread=0)], picture, 1)
        x, y, half = pieces.shape[:, 0], pieces.shape[:, 1], pieces.shape[:, 6]
        beside = (y > 280) & (np.abs(x[:, None] - borders).min(1) < 8)
        return float(half[beside].mean())

    assert over(1.0) > 1.2 * over(0.0)


def test_no_ground_shows_along_borders() -> None:
    picture = scene(240, 240)
    layers = lay_all(view(picture), [Strokes(width=12, length=36), Strokes(width=6, length=14, cover=0.2, detail=1.0)], picture, 1)
    painted = np.full(picture.shape, -1, np.float32)
    for pieces in layers:
        painted = roughly(painted, pieces, 1.0)
    y, x = np.mgrid[0:240, 0:240]
    rim = np.abs(np.hypot(x - 120, y - 120) - 60) < 5
    assert (painted[..., 0] < 0)[rim].mean() < 0.02


def test_a_brush_keeps_to_the_focus() -> None:
    photo = beside_the_focus()

    def far(focus: float) -> int:
        (pieces,) = lay_all(view(photo), [Strokes(width=5, length=10, focus=focus)], photo, 1)
        return int((pieces.shape[:, 1] > 190).sum())

    assert far(1.0) < 0.1 * far(0.0)


def test_a_mast_stays_in_one_piece() -> None:
    photo = np.full((400, 480, 3), (0.6, 0.7, 0.9), np.float32)
    cv2.line(photo, (60, 360), (420, 80), (0.1, 0.1, 0.15), 3, cv2.LINE_AA)
    thin = Strokes(width=5, length=30, spacing=1.6, reach=2, spread=1, finer=0, stop=40, where="thin")
    along = np.linspace((90, 336.7), (390, 103.3), 300).round().astype(int)
    (pieces,) = lay_all(view(photo), [thin], photo, 1)
    painted = roughly(np.full(photo.shape, -1, np.float32), pieces, 1.0)[..., 0] >= 0
    assert painted[along[:, 1], along[:, 0]].mean() > 0.95
    assert painted.mean() < 0.05


def test_no_detail_of_the_photo_shows_between_strokes() -> None:
    photo = np.full((300, 300, 3), 0.6, np.float32)
    photo[:, ::4] = 0.4
    sparse = (Strokes(width=10, length=30, spacing=20, relief=0),)
    result = plan_strokes(view(photo), sparse, photo).apply(photo.copy(), 0)
    assert np.abs(np.diff(lightness(result), axis=1)).mean() < 0.3 * np.abs(np.diff(lightness(photo), axis=1)).mean()


def test_no_layers_and_no_room() -> None:
    v = view(scene(64, 64))
    canvas = np.full((64, 64, 3), 0.5, np.float32)
    assert plan_strokes(v, (), v.colours).apply(canvas, 0) is canvas


@pytest.mark.parametrize(
    "bad",
    [
        {"width": 0},
        {"width": math.nan},
        {"length": 0},
        {"length": "long"},
        {"relief": -1},
        {"spacing": 0.1},
        {"where": "everywhere"},
        {"loose": 1.1},
        {"level": -0.1},
        {"form": 2},
        {"sizes": math.nan},
        {"lost": -1},
        {"focus": "all"},
        {"shimmer": 1.5},
        {"cover": 1.5},
        {"opacity": True},
        {"hue": math.inf},
    ],
)
def test_bad_settings_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(SettingError, match=f"{next(iter(bad))}.*choose"):
        Strokes(**{"width": 5, "length": 10, **bad})  # type: ignore[arg-type]
