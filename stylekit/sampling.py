"""Image-to-image sampling as a generator of steps.

DDIM (Song et al. 2021, https://arxiv.org/abs/2010.02502) without added noise, started from the photo's latents at a chosen noise level
(SDEdit, Meng et al. 2022, https://arxiv.org/abs/2108.01073). The loop takes any list of falling timesteps, so that one step from a low
noise level (the pocket base) and twenty from a high one (Stable Diffusion) are the same code. It departs from diffusers' own loop in
two ways: at least one step is always taken, and the last step returns the predicted clean latents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

Denoiser = Callable[[torch.Tensor, int], torch.Tensor]  # (latents, timestep) -> what the model predicts


@dataclass(frozen=True, kw_only=True)
class SamplingStep:
    """State after denoising step `step` of `total`: latents to go on from, and the clean latents predicted by now."""

    step: int
    total: int
    latents: torch.Tensor
    predicted: torch.Tensor


def timesteps_from(start: int, num_inference_steps: int) -> list[int]:
    """At most `num_inference_steps` evenly falling timesteps beginning at `start`; never none, never one twice."""
    count = max(1, min(num_inference_steps, start))
    return [round(start - i * start / count) for i in range(count)]


def predicted_sample(prediction: torch.Tensor, latents: torch.Tensor, alpha_cumprod: torch.Tensor, prediction_type: str) -> torch.Tensor:
    """The clean latents that `prediction` stands for, under the given `prediction_type` of the noise scheduler."""
    signal, noise = alpha_cumprod.sqrt(), (1 - alpha_cumprod).sqrt()
    if prediction_type == "sample":
        return prediction
    if prediction_type == "epsilon":
        return (latents - noise * prediction) / signal
    if prediction_type == "v_prediction":
        return signal * latents - noise * prediction
    raise ValueError(f"unknown prediction_type {prediction_type!r}")


def add_noise(latents: torch.Tensor, noise: torch.Tensor, alpha_cumprod: torch.Tensor) -> torch.Tensor:
    """`latents` at the noise level of `alpha_cumprod`."""
    return alpha_cumprod.sqrt() * latents + (1 - alpha_cumprod).sqrt() * noise


def sample(
    denoiser: Denoiser,
    latents: torch.Tensor,
    noise: torch.Tensor,
    timesteps: list[int],
    alphas_cumprod: torch.Tensor,
    prediction_type: str,
) -> Iterator[SamplingStep]:
    """Denoise from `latents` (N, C, h, w) of a photo, noised to ``timesteps[0]``; yields one SamplingStep a step."""
    alphas = [alphas_cumprod[t].to(latents) for t in timesteps]
    current = add_noise(latents, noise, alphas[0])
    for i, timestep in enumerate(timesteps):
        prediction = denoiser(current, timestep).to(latents.dtype)
        clean = predicted_sample(prediction, current, alphas[i], prediction_type)
        if i + 1 < len(timesteps):
            direction = (current - alphas[i].sqrt() * clean) / (1 - alphas[i]).sqrt()
            current = add_noise(clean, direction, alphas[i + 1])
        else:
            current = clean
        yield SamplingStep(step=i + 1, total=len(timesteps), latents=current, predicted=clean)
