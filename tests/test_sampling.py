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
