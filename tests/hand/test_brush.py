"""Underpainting: strokes follow the picture, repeat with the seed, and spare fine detail."""

from __future__ import annotations

import math

import pytest
import torch

from stylekit.errors import SettingError
from stylekit.pixels.filters import luminance
from stylekit.underpainting import brush
from stylekit.underpainting.settings import Brush

BRUSH = Brush(width=6, length=24, flow=8)


def stripes(angle: float, size: int = 96) -> torch.Tensor:
    """(1, 3, size, size): soft stripes that run at `angle` degrees from horizontal, y downwards."""
    rows, columns = torch.meshgrid(torch.arange(size).float(), torch.arange(size).float(), indexing="ij")
    across = rows * math.cos(math.radians(angle)) - columns * math.sin(math.radians(angle))
    return (0.5 * torch.sin(across * 2 * math.pi / 24)).expand(1, 3, -1, -1).contiguous()


@pytest.mark.parametrize("angle", [0, 30, 90, 135])
def test_directions_run_along_the_edges(angle: float) -> None:
    field = brush.directions(luminance(stripes(angle)), BRUSH.flow, BRUSH.rest)
    along = field[:, 0] * math.cos(math.radians(angle)) + field[:, 1] * math.sin(math.radians(angle))
    assert float(along[:, 16:-16, 16:-16].abs().min()) > 0.97
    assert torch.allclose(field.pow(2).sum(1), torch.ones(1), atol=1e-5)


@pytest.mark.parametrize("rest", [0, 40, -70])
def test_a_plain_picture_has_strokes_at_rest(rest: float) -> None:
    plain = torch.zeros(1, 3, 64, 64)
    field = brush.directions(luminance(plain), flow=8, rest=rest)
    along = field[:, 0] * math.cos(math.radians(rest)) + field[:, 1] * math.sin(math.radians(rest))
    assert float(along.abs().min()) > 0.99
    drawn = brush.strokes(plain, Brush(width=6, length=24, flow=8, rest=0), seed=0)
    assert float(drawn.diff(dim=-1).abs().mean()) < 0.6 * float(drawn.diff(dim=-2).abs().mean())  # long across, thin down


def test_strokes_repeat_with_the_seed_and_differ_without() -> None:
    pixels = stripes(20)
    first = brush.strokes(pixels, BRUSH, 3)
    assert first.shape == pixels.shape
    assert float(first.abs().max()) <= 1
    assert torch.equal(first, brush.strokes(pixels, BRUSH, 3))
    assert float((first - brush.strokes(pixels, BRUSH, 4)).abs().mean()) > 0.1


def test_amount_is_a_dial() -> None:
    pixels = stripes(20)
    full = brush.underpaint(pixels, BRUSH, 0)
    assert float(full.abs().max()) <= BRUSH.amount * 3
    half = brush.underpaint(pixels, Brush(width=6, length=24, flow=8, amount=BRUSH.amount / 2), 0)
    assert torch.allclose(half, full / 2, atol=1e-6)
    none = brush.underpaint(pixels, Brush(width=6, length=24, flow=8, amount=0), 0)
    assert not none.any()


def test_fine_detail_is_spared() -> None:
    torch.manual_seed(0)
    busy = torch.zeros(1, 3, 64, 128)
    busy[..., 64:] = torch.rand(1, 1, 64, 64) * 1.6 - 0.8
    drawn = brush.strokes(busy, Brush(width=6, length=24, flow=8, respect=1), 0).abs()
    assert float(drawn[..., 80:].max()) < 0.01
    assert float(drawn[..., :40].mean()) > 0.1


def test_a_line_integral_of_a_constant_is_that_constant_and_one_along_the_field_keeps_stripes() -> None:
    field = torch.zeros(1, 2, 20, 30)
    field[:, 0] = 1
    assert torch.allclose(brush.along(torch.full((1, 2, 20, 30), 0.7), field, 12), torch.tensor(0.7), atol=1e-6)
    rows = torch.arange(20.0).view(1, 1, 20, 1).expand(1, 1, 20, 30).contiguous()
    assert torch.allclose(brush.along(rows, field, 12), rows, atol=1e-4)
    noise = torch.randn(1, 1, 20, 30)
    assert float(brush.along(noise, field, 12).std()) < 0.6 * float(noise.std())


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (17, 16)])
def test_any_size_works(size: tuple[int, int]) -> None:
    assert brush.underpaint(torch.rand(1, 3, *size), BRUSH, 0).isfinite().all()


@pytest.mark.parametrize("wrong", [{"width": 0}, {"length": 1000}, {"amount": float("nan")}, {"rest": "up"}, {"respect": 2}])
def test_an_impossible_brush_is_refused(wrong: dict[str, object]) -> None:
    values: dict[str, object] = {"width": 6, "length": 24, "flow": 8} | wrong
    with pytest.raises(SettingError, match=next(iter(wrong))):
        Brush(**values)  # type: ignore[arg-type]
