"""Flat fields: calm areas become one colour, borders stay where they are and sharp."""

from __future__ import annotations

import pytest
import torch

from stylekit.errors import SettingError
from stylekit.underpainting.kuwahara import flatten
from stylekit.underpainting.settings import Kuwahara

KUWAHARA = Kuwahara(width=2.5, passes=8)


def two_halves(noise: float = 0.0, blurred: int = 0) -> torch.Tensor:
    """(1, 3, 48, 64): dark left, light right, the border between columns 31 and 32."""
    pixels = torch.full((1, 3, 48, 64), -0.5)
    pixels[..., 32:] = 0.5
    for _ in range(blurred):
        pixels = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return pixels + noise * torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0))


def test_noise_goes_and_the_border_stays() -> None:
    flat = flatten(two_halves(noise=0.1), KUWAHARA)
    left, right = flat[..., :28], flat[..., 36:]
    assert float(left.std()) < 0.03
    assert float(right.std()) < 0.03
    assert torch.allclose(flat, two_halves(), atol=0.12)


def test_a_soft_border_becomes_sharp() -> None:
    soft = two_halves(blurred=6)
    flat = flatten(soft, KUWAHARA)
    assert float(flat.diff(dim=-1).abs().max()) > 2 * float(soft.diff(dim=-1).abs().max())
    assert torch.allclose(flat.mean(), soft.mean(), atol=0.02)


def test_a_plain_wall_and_a_slow_gradient_stay() -> None:
    wall = torch.full((1, 3, 20, 30), 0.3)
    assert torch.allclose(flatten(wall, KUWAHARA), wall, atol=1e-4)
    sky = torch.linspace(-0.2, 0.2, 64).expand(1, 3, 48, 64)
    assert torch.allclose(flatten(sky, KUWAHARA), sky, atol=0.1)


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (17, 16)])
def test_any_size_works_and_no_colour_is_made_up(size: tuple[int, int]) -> None:
    pixels = torch.rand((1, 3, *size), generator=torch.Generator().manual_seed(0)) * 2 - 1
    flat = flatten(pixels, KUWAHARA)
    assert flat.shape == pixels.shape
    assert float(flat.min()) >= float(pixels.min()) - 1e-4
    assert float(flat.max()) <= float(pixels.max()) + 1e-4


@pytest.mark.parametrize("wrong", [{"width": 0}, {"passes": 1000}, {"contrast": float("nan")}, {"passes": "many"}])
def test_impossible_fields_are_refused(wrong: dict[str, object]) -> None:
    values: dict[str, object] = {"width": 2.5, "passes": 8} | wrong
    with pytest.raises(SettingError, match=next(iter(wrong))):
        Kuwahara(**values)  # type: ignore[arg-type]
