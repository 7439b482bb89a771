"""Key lines: on the dark side of borders, nowhere else, and as many in the shade as in the light."""

from __future__ import annotations

import pytest
import torch

from stylekit.errors import SettingError
from stylekit.underpainting.ink import INK, key_lines, lay_ink
from stylekit.underpainting.kuwahara import flatten
from stylekit.underpainting.settings import Kuwahara
from tests.hand.test_kuwahara import two_halves


def test_a_line_lies_along_the_dark_side_of_a_border() -> None:
    lines = key_lines(two_halves())[0, 0]
    assert lines.shape == (48, 64)
    across = lines.mean(0)
    assert float(across[30:32].max()) > 0.5
    assert float(across[33:].max()) < 0.01  # none on the light side
    assert float(across[:25].max()) < 0.01
    assert float(lines[:, 31].std()) < 0.01  # unbroken from top to bottom


def test_walls_skies_and_grain_have_no_lines() -> None:
    wall = torch.full((1, 3, 40, 60), 0.3)
    sky = torch.linspace(-0.5, 0.5, 64).expand(1, 3, 48, 64)
    grain = wall + 0.01 * torch.randn(wall.shape, generator=torch.Generator().manual_seed(0))
    for calm in (wall, sky, grain):
        assert float(key_lines(calm).mean()) < 0.005


def test_the_shade_gets_lines_as_the_light_does() -> None:
    bright = two_halves()
    dim = 0.3 * bright - 0.6
    assert float(key_lines(dim).sum()) > 0.6 * float(key_lines(bright).sum())


def test_ink_is_laid_in_its_colour_and_only_on_lines() -> None:
    pixels = two_halves()
    inked, lines = lay_ink(pixels, 1.0), key_lines(pixels)
    assert torch.equal(lay_ink(pixels, 0.0), pixels)
    bare = (lines == 0).expand_as(pixels)
    assert torch.equal(inked[bare], pixels[bare])
    row, column = divmod(int(lines.argmax()), lines.shape[-1])
    blackest = inked[0, :, row, column]
    assert torch.allclose(blackest, torch.tensor(INK), atol=0.15)
    assert not torch.allclose(blackest, pixels[0, :, row, column], atol=0.15)
    assert float(lay_ink(torch.ones_like(pixels), 1.0, drawn=pixels).min()) < 0.5  # the lines of another picture


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (17, 16)])
def test_any_size_can_be_inked(size: tuple[int, int]) -> None:
    pixels = torch.rand((1, 3, *size), generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.isfinite(lay_ink(pixels, 0.9)).all()


def test_fields_ink_their_borders_if_they_are_told_to() -> None:
    pixels = two_halves(noise=0.1)
    plain, inked = (flatten(pixels, Kuwahara(width=1, passes=4, ink=ink)) for ink in (0.0, 0.9))
    assert torch.equal(inked, lay_ink(plain, 0.9))
    with pytest.raises(SettingError, match="ink"):
        Kuwahara(width=1, passes=4, ink=2)
