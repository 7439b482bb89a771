"""Image-to-image sampling as a generator of steps.

DDIM (Song et al. 2021, https://arxiv.org/abs/2010.02502) without added noise, started from the photo's latents at a chosen noise level
(SDEdit, Meng et al. 2022, https://arxiv.org/abs/2108.01073). The loop takes any list of falling timesteps, so that one step from a low
noise level (the pocket base) and twenty from a high one (Stable Diffusion) are the same code. It departs from diffusers' own loop in
two ways: at least one step is always taken, and the last step returns the predicted clean latents. Other samplers than DDIM are diffusers'
own schedulers, handed in as a `Solver`.

Every pixel may start at a noise level of its own, as in Differential Diffusion (Levin & Fried 2023, https://arxiv.org/abs/2306.00950).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

Denoiser = Callable[[torch.Tensor, int], torch.Tensor]  # (latents, timestep) -> what the model predicts


class Solver(Protocol):
    """Another way from step to step than DDIM's (see `stylekit.inference.samplers`). remembers: whether by the steps before, too."""

    remembers: bool

    def step(self, prediction: torch.Tensor, timestep: int, latents: torch.Tensor) -> torch.Tensor: ...

    def forget(self, where: torch.Tensor, latents: torch.Tensor) -> None: ...


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
    timesteps: Sequence[int],
    alphas_cumprod: torch.Tensor,
    prediction_type: str,
    starts: torch.Tensor | None = None,
    renoise: bool = False,
    solver: Solver | None = None,
) -> Iterator[SamplingStep]:
    """Denoise from `latents` (N, C, h, w) of a photo, noised to ``timesteps[0]``; yields one SamplingStep a step.

    starts: (N, 1, h, w), the timestep at which each pixel starts; until then it is the photo's, at the noise of its surroundings. One that
    starts below the last timestep stays the photo's. renoise: between steps lay `noise` on the clean latents anew, as consistency models do
    (Song et al. 2023, https://arxiv.org/abs/2303.01469), where DDIM would go back some way towards the photo. solver: goes from step to
    step in DDIM's place, for these timesteps. A pixel that starts has no steps before to remember: its first is DDIM's, to which solvers
    of higher order come down.
    """
    alphas = [alphas_cumprod[t].to(latents) for t in timesteps]
    current = add_noise(latents, noise, alphas[0])
    for i, timestep in enumerate(timesteps):
        if starts is not None:
            current = torch.where(starts < timestep, add_noise(latents, noise, alphas[i]), current)
        prediction = denoiser(current, timestep).to(latents.dtype)
        clean = predicted_sample(prediction, current, alphas[i], prediction_type)
        if starts is not None:
            clean = torch.where(starts < timestep, latents, clean)
        if i + 1 < len(timesteps):
            direction = noise if renoise else (current - alphas[i].sqrt() * clean) / (1 - alphas[i]).sqrt()
            after = add_noise(clean, direction, alphas[i + 1])
        else:
            after = clean
        if solver is not None:
            solved = solver.step(prediction, timestep, current)
            if starts is None:
                after = solved
            else:
                since = timestep if not solver.remembers else timesteps[i - 1] if i else math.inf
                old = starts >= since
                after = torch.where(old, solved, after)
                solver.forget(~old, current)
        current = after
        yield SamplingStep(step=i + 1, total=len(timesteps), latents=current, predicted=clean if i + 1 < len(timesteps) else current)
