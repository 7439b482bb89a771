"""The sampling loop against closed forms and against diffusers' own DDIM."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler

from stylekit.sampling import add_noise, predicted_sample, sample, timesteps_from


@pytest.mark.parametrize(("start", "steps", "expected"), [(20, 1, [20]), (20, 4, [20, 15, 10, 5]), (1, 50, [1]), (3, 9, [3, 2, 1])])
def test_timesteps_fall_and_are_never_none(start: int, steps: int, expected: list[int]) -> None:
    assert timesteps_from(start, steps) == expected


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_a_perfect_prediction_gives_the_clean_latents_back(kind: str) -> None:
    torch.manual_seed(0)
    scheduler = DDIMScheduler(prediction_type=kind)
    clean, noise = torch.randn(2, 1, 4, 8, 8).double()
    alpha = scheduler.alphas_cumprod.double()

    def oracle(latents: torch.Tensor, timestep: int) -> torch.Tensor:
        a = alpha[timestep]
        eps = (latents - a.sqrt() * clean) / (1 - a).sqrt()
        return {"epsilon": eps, "sample": clean, "v_prediction": a.sqrt() * eps - (1 - a).sqrt() * clean}[kind]

    steps = list(sample(oracle, clean, noise, timesteps_from(600, 5), alpha, kind))
    assert [s.step for s in steps] == [1, 2, 3, 4, 5]
    assert torch.allclose(steps[-1].latents, clean, atol=1e-9)


def test_steps_equal_diffusers_ddim() -> None:
    torch.manual_seed(0)
    scheduler = DDIMScheduler(prediction_type="epsilon", clip_sample=False, set_alpha_to_one=True)
    scheduler.set_timesteps(10)
    latents, noise = torch.randn(2, 1, 4, 8, 8)
    timesteps = scheduler.timesteps.tolist()[4:]

    def denoiser(x: torch.Tensor, timestep: int) -> torch.Tensor:
        return torch.sin(3 * x) + timestep / 1000

    current = scheduler.add_noise(latents, noise, torch.tensor([timesteps[0]]))
    for timestep in timesteps:
        current = scheduler.step(denoiser(current, timestep), timestep, current).prev_sample
    ours = list(sample(denoiser, latents, noise, timesteps, scheduler.alphas_cumprod, "epsilon"))[-1].latents
    assert torch.allclose(ours, current, atol=1e-4)


def test_noise_level() -> None:
    torch.manual_seed(0)
    noisy = add_noise(torch.zeros(1, 4, 64, 64), torch.randn(1, 4, 64, 64), torch.tensor(0.75))
    assert abs(float(noisy.std()) - 0.5) < 0.01


def test_unknown_prediction_type() -> None:
    with pytest.raises(ValueError, match="wish"):
        predicted_sample(torch.zeros(1), torch.zeros(1), torch.tensor(0.5), "wish")


def test_pixels_start_when_their_time_comes() -> None:
    """Until then the denoiser sees the photo at the noise of the hour; one that never starts stays the photo."""
    torch.manual_seed(0)
    latents, noise = torch.randn(2, 1, 4, 2, 2)
    alphas = DDIMScheduler().alphas_cumprod
    timesteps = [600, 400, 200]
    starts = torch.tensor([[600.0, 400.0], [399.0, 199.0]])[None, None]
    seen: list[torch.Tensor] = []

    def denoiser(x: torch.Tensor, timestep: int) -> torch.Tensor:
        seen.append(x)
        return torch.full_like(x, 9.0)

    steps = list(sample(denoiser, latents, noise, timesteps, alphas, "sample", starts))
    assert any((starts < timestep).any() for timestep in timesteps)
    for x, timestep in zip(seen, timesteps, strict=True):
        waiting = (starts < timestep).expand_as(x)
        assert torch.equal(x[waiting], add_noise(latents, noise, alphas[timestep])[waiting])
    assert torch.equal(steps[-1].latents[..., 1, 1], latents[..., 1, 1])
    assert (steps[-1].latents[..., 0, :] == 9).all()
    assert (steps[-1].latents[..., 1, 0] == 9).all()
    assert torch.equal(steps[0].predicted[..., 0, 1], latents[..., 0, 1])  # a preview shows what has not begun as it is


def test_one_start_for_all_is_no_map() -> None:
    torch.manual_seed(0)
    latents, noise = torch.randn(2, 1, 4, 4, 4)
    alphas = DDIMScheduler().alphas_cumprod
    runs = [
        list(sample(lambda x, t: torch.sin(x), latents, noise, [600, 300], alphas, "epsilon", starts))[-1].latents
        for starts in (None, torch.full((1, 1, 4, 4), 600.0))
    ]
    assert torch.equal(*runs)
