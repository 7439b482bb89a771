"""Colour and tone, against known values and closed forms; structure returns detail and nothing else."""

from __future__ import annotations

import pytest
import torch

from stylekit.pixels.colour import from_oklab, keep_colours, match_border, to_oklab
from stylekit.pixels.filters import LUMA
from stylekit.pixels.structure import MOST_DETAIL, keep_structure


def flat(r: float, g: float, b: float, size: tuple[int, int] = (48, 64)) -> torch.Tensor:
    return torch.tensor((r, g, b)).view(1, 3, 1, 1).expand(1, 3, *size).clone()


def noise(seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize(
    ("colour", "lab"),
    [((1, 1, 1), (1, 0, 0)), ((-1, -1, -1), (0, 0, 0)), ((1, -1, -1), (0.6280, 0.2249, 0.1258)), ((-1, -1, 1), (0.4520, -0.0324, -0.3115))],
)
def test_oklab_of_known_colours(colour: tuple[float, ...], lab: tuple[float, ...]) -> None:
    assert to_oklab(flat(*colour))[0, :, 0, 0].tolist() == pytest.approx(lab, abs=1e-3)


def test_oklab_round_trip() -> None:
    assert torch.allclose(from_oklab(to_oklab(noise())), noise(), atol=1e-3)


def test_keeping_colours_keeps_hue_and_lightness_and_can_be_shown() -> None:
    styled, photo = noise(1), noise(2)
    assert torch.allclose(keep_colours(styled, photo, 0.0), styled, atol=5e-3)
    assert torch.allclose(keep_colours(styled, styled, 1.0), styled, atol=5e-3)
    kept = keep_colours(styled, photo, 1.0)
    assert float(kept.abs().max()) <= 1
    light, wanted = to_oklab(kept), to_oklab(photo)
    assert float((light - to_oklab(styled))[:, 0].abs().max()) < 0.02
    strong = (wanted[:, 1:].norm(dim=1) > 0.05) & (light[:, 1:].norm(dim=1) > 0.05)
    aligned = torch.cosine_similarity(light[:, 1:], wanted[:, 1:], dim=1)[strong]
    assert float(aligned.min()) > 0.98
    white = keep_colours(flat(1, 1, 1), photo, 1.0)
    assert float((white - 1).abs().max()) < 0.02  # paper stays paper


def test_tone_meets_at_the_border_and_is_the_styles_own_within() -> None:
    photo, styled = flat(0.2, -0.1, 0.4), flat(0.8, 0.8, 0.7)
    x = torch.arange(64.0).expand(1, 1, 48, 64)
    rim = ((x > 10) & (x < 14)).float()
    near = (1 - (x - 10) / 30).clamp(0, 1)
    met = match_border(styled, photo, rim, near)
    assert torch.allclose(met[..., 10], photo[..., 10], atol=1e-3)
    assert torch.allclose(met[..., 45:], styled[..., 45:])
    assert float(met.diff(dim=-1).abs().max()) < 0.05
    assert torch.equal(match_border(styled, photo, torch.zeros_like(rim), near), styled)  # no border, nothing to meet


def test_the_tone_is_read_without_its_detail() -> None:
    photo = flat(0, 0, 0) + 0.3 * noise()
    met = match_border(flat(0.5, 0.5, 0.5), photo, torch.ones(1, 1, 48, 64), torch.ones(1, 1, 48, 64))
    assert float(met.std()) < 0.25 * float(photo.std())


def test_structure_is_lightness_detail_only() -> None:
    styled, photo = noise(3), noise(4)
    assert torch.equal(keep_structure(styled, photo, 0.0), styled)
    assert torch.allclose(keep_structure(styled, styled, 1.0), styled, atol=1e-6)
    assert torch.allclose(keep_structure(styled, flat(0.9, 0.1, -0.4), 0.0), styled)
    change = keep_structure(styled, photo, 1.0) - styled
    assert torch.allclose(change, change[:, :1].expand_as(change), atol=1e-6)  # grey: colours stay
    assert abs(float(change.mean())) < 0.01  # tone stays
    luma = torch.tensor(LUMA).view(1, 3, 1, 1)
    full = (photo * luma).sum(1) - (styled * luma).sum(1)
    assert torch.corrcoef(torch.stack([change[0, 0].ravel(), full.ravel()]))[0, 1] > 0.95
    assert float(change[0, 0].std() / full.std()) == pytest.approx(MOST_DETAIL, abs=0.08)
