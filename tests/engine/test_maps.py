"""Weight maps keep what they are given, and the alpha made of them is soft inside and nothing outside."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from stylekit.errors import SettingError
from stylekit.maps import MAX_BYTES, MAX_SIDE, WeightMap, distance_to_zero, fade, feather, presence, soften_borders
from stylekit.pixels.filters import blur


def disc(size: tuple[int, int], radius: float = 0.3) -> np.ndarray:
    """1 within `radius` (of the short side) of the middle, else 0."""
    y, x = np.mgrid[: size[1], : size[0]]
    return (np.hypot(x - size[0] / 2, y - size[1] / 2) < radius * min(size)).astype(np.float32)


def png(picture: Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    picture.save(file, format=kind)
    return file.getvalue()


def test_an_array_comes_back_within_one_level(rng: np.random.Generator) -> None:
    values = rng.random((30, 40), np.float32)
    weights = WeightMap.of(values)
    assert weights.size == (40, 30)
    assert weights.array.dtype == np.float32
    assert np.abs(weights.array - values).max() <= 0.5 / 255 + 1e-6
    assert weights.extremes == (weights.array.min(), weights.array.max())
    assert weights.mean == pytest.approx(values.mean(), abs=1e-3)


def test_kinds_of_values_agree() -> None:
    values = disc((40, 30))
    maps = [WeightMap.of(kind) for kind in (values, values > 0, (values * 255).astype(np.uint8), Image.fromarray(values > 0))]
    assert len(set(maps)) == 1  # frozen, equal by content, hashable
    assert WeightMap.of(maps[0]) is maps[0]
    assert WeightMap.from_text(maps[0].text) == maps[0]


def test_a_painted_mask_is_small() -> None:
    assert len(WeightMap.of(disc((2000, 1500))).png) < 6000
    assert len(WeightMap.of(np.tile(np.linspace(0, 1, 1024, dtype=np.float32), (768, 1))).png) < 10_000


@pytest.mark.parametrize("size", [(5000, 60), (1500, 1500)])
def test_a_map_too_large_or_too_busy_is_shrunk_and_its_zeros_stay(rng: np.random.Generator, size: tuple[int, int]) -> None:
    values = (0.2 + 0.8 * rng.random((size[1], size[0]))).astype(np.float32)
    values[:, : size[0] // 3] = 0
    weights = WeightMap.of(values)
    assert len(weights.png) <= MAX_BYTES
    assert max(weights.size) <= MAX_SIDE
    assert not np.asarray(presence([weights], size))[values == 0].any()
    assert weights.array[:, weights.size[0] // 2 :].mean() == pytest.approx(0.6, abs=0.02)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        (np.full((4, 4), np.nan, np.float32), "NaN"),
        (np.full((4, 4), np.inf, np.float32), "infinite"),
        (np.full((4, 4), -0.1, np.float32), "from -0.1 to -0.1"),
        (np.full((4, 4), 1.5), "from 1.5 to 1.5"),
        (np.zeros((4, 4, 3), np.float32), r"shape \(4, 4, 3\)"),
        (np.zeros((0, 4), np.float32), r"shape \(0, 4\)"),
        (np.zeros((4, 4), np.int64), "int64"),
        (np.zeros((4, 4), np.complex64), "complex64"),
    ],
)
def test_values_that_are_no_weights_are_refused(values: np.ndarray, word: str) -> None:
    with pytest.raises(SettingError, match=word):
        WeightMap.of(values)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no picture",
        png(Image.new("RGB", (4, 4))),
        png(Image.new("L", (4, 4)), "GIF"),
        png(Image.new("1", (MAX_SIDE + 1, 4))),
        png(Image.new("L", (64, 64)))[:-30],
    ],
)
def test_foreign_and_damaged_pngs_are_refused(data: bytes) -> None:
    with pytest.raises(SettingError, match="weight map"):
        WeightMap(png=data)
    with pytest.raises(SettingError, match="weight map"):
        WeightMap.from_text(base64.b64encode(data).decode())


def test_text_that_is_no_base64_is_refused() -> None:
    with pytest.raises(SettingError, match="damaged"):
        WeightMap.from_text("§")


@pytest.mark.parametrize("size", [(7, 5), (40, 30), (64, 100), (1, 1)])
def test_a_map_fits_a_picture_of_any_size(size: tuple[int, int]) -> None:
    assert (WeightMap.of(np.full((30, 40), 0.6)).at(size) == np.float32(153 / 255)).all()
    ramp = WeightMap.of(np.tile(np.linspace(0, 1, 40, dtype=np.float32), (30, 1)))
    fitted = ramp.at(size)
    assert fitted.shape == (size[1], size[0])
    assert fitted.mean() == pytest.approx(ramp.mean, abs=0.01)
    assert (np.diff(fitted[0]) >= 0).all()


def test_times() -> None:
    weights = WeightMap.of(disc((20, 20)))
    assert np.allclose(weights.times(0.4).array, 0.4 * weights.array)
    assert weights.times(1) is weights


def test_distance_is_euclidean(rng: np.random.Generator) -> None:
    inside = rng.random((23, 31)) < 0.97
    zeros = np.argwhere(~inside)
    points = np.argwhere(np.ones_like(inside))
    exact = np.sqrt(((points[:, None] - zeros[None]) ** 2).sum(-1).min(1)).reshape(inside.shape)
    assert np.allclose(distance_to_zero(inside, 50), exact)
    assert np.allclose(distance_to_zero(inside, 3), np.minimum(exact, 3))
    assert (distance_to_zero(np.ones((5, 5), bool), 9) == 9).all()


@pytest.mark.parametrize("radius", [0, 3, 12.5])
def test_alpha_is_nothing_outside_and_rises_softly_inside(radius: float) -> None:
    mask = Image.fromarray((disc((200, 160), 0.4) * 255).astype(np.uint8))
    alpha = np.asarray(feather(mask, radius), np.int16)
    outside = np.asarray(mask) == 0
    depth = distance_to_zero(~outside, 99)
    assert not alpha[outside].any()
    assert (alpha[depth > radius + 0.5] == 255).all()
    row = alpha[80, :101]
    assert (np.diff(row) >= 0).all()
    if radius:
        assert np.diff(row).max() <= 255 * 2 / radius  # smoothstep is at most 1.5 times as steep as a line


def test_a_thin_stroke_keeps_its_style() -> None:
    mask = Image.new("L", (100, 60))
    draw = ImageDraw.Draw(mask)
    draw.line((5, 30, 95, 30), fill=255, width=5)
    draw.point((50, 5), fill=255)
    alpha = np.asarray(feather(mask, 20))
    assert (alpha[30, 20:80] == 255).all()
    assert alpha[28, 50] < 128  # still soft
    assert alpha[5, 50] == 255
    assert not alpha[np.asarray(mask) == 0].any()


def test_alpha_fades_with_faint_weights() -> None:
    mask = Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), (20, 1)))
    row = np.asarray(fade(Image.new("L", (64, 5), 255), mask))[10]
    assert row[0] == 0
    assert (np.diff(row.astype(np.int16)) >= 0).all()
    assert (row[10:] == 255).all()
    assert row[1] < 40


def test_presence_is_the_greatest_and_interpolates_nothing() -> None:
    left = np.zeros((10, 10), np.float32)
    left[:, :5] = 0.5
    present = np.asarray(presence([WeightMap.of(left), WeightMap.of(left / 2)], (97, 33)))
    assert set(np.unique(present)) == {0, 128}
    assert (presence([0.2, WeightMap.of(left)], (10, 10)).getextrema()) == (51, 128)
    assert presence([0.0], (4, 4)).getextrema() == (0, 0)


def test_borders_between_styles_soften_and_the_sum_stays() -> None:
    left = np.zeros((40, 60), np.float32)
    left[:, :30] = 0.8
    right = np.zeros_like(left)
    right[:30, 30:] = 0.8
    weights = np.stack([left, right])
    soft = soften_borders(weights, 6)
    assert np.allclose(soft.sum(0), weights.sum(0), atol=1e-6)
    assert np.allclose(soft[:, 5, 29:31], 0.4, atol=0.1)
    assert np.allclose(soft[:, :, :10], weights[:, :, :10], atol=1e-4)
    alone = soften_borders(left[None], 6)
    assert np.allclose(alone[0], left)  # a border with nothing is not moved
    assert np.allclose(soften_borders(np.full((2, 20, 20), 0.3, np.float32), 6), 0.3)


def test_blur_keeps_the_mean_and_constants() -> None:
    pixels = torch.rand(2, 3, 40, 50, generator=torch.Generator().manual_seed(0))
    assert torch.equal(blur(pixels, 0), pixels)
    assert torch.allclose(blur(torch.full((1, 1, 9, 9), 0.7), 15), torch.tensor(0.7))
    assert blur(pixels, 4).std() < 0.3 * pixels.std()
