"""Samplers: diffusers' own schedulers, which go from step to step where `stylekit.sampling.sample` would by DDIM.

ddim is that loop's own (Song et al. 2021, https://arxiv.org/abs/2010.02502). dpm++ is DPM-Solver++ 2M (Lu et al. 2022,
https://arxiv.org/abs/2211.01095), unipc is UniPC (Zhao et al. 2023, https://arxiv.org/abs/2302.04867); both are of second order and take
fewer steps. lcm (Luo et al. 2023, https://arxiv.org/abs/2310.04378) and tcd (Zheng et al. 2024, https://arxiv.org/abs/2402.19159) are for
weights that were distilled for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler, LCMScheduler, TCDScheduler, UniPCMultistepScheduler

from stylekit.base_card import DPM, LCM, TCD, UNIPC

CLASSES = {DPM: DPMSolverMultistepScheduler, UNIPC: UniPCMultistepScheduler, LCM: LCMScheduler, TCD: TCDScheduler}
NOISE_SCHEDULE = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type")


class Solver:
    """The way of one picture through `timesteps`, by the scheduler of `sampler`.

    config: of the base's scheduler, whose noise schedule is taken and nothing else: settings of other schedulers, such as DDIM's clipping
    to [-1, 1], are not for latents. generator: of the noise that lcm and tcd add between steps.
    """

    def __init__(self, sampler: str, config: Mapping[str, Any], timesteps: Sequence[int], generator: torch.Generator | None = None) -> None:
        self.scheduler: Any = CLASSES[sampler](**{name: config[name] for name in NOISE_SCHEDULE if config.get(name) is not None})
        self.remembers = sampler in (DPM, UNIPC)  # whether a step is worked out with those before it
        self._noise = {} if self.remembers else {"generator": generator}
        if self.remembers:
            self.scheduler.set_timesteps(len(timesteps))
            alphas = self.scheduler.alphas_cumprod[list(timesteps)]
            self.scheduler.sigmas = torch.cat([((1 - alphas) / alphas).sqrt(), torch.zeros(1)])
        self.scheduler.num_inference_steps = len(timesteps)  # lcm's and tcd's own way of setting them warns of every photo
        self.scheduler.timesteps = torch.tensor(list(timesteps))

    def step(self, prediction: torch.Tensor, timestep: int, latents: torch.Tensor) -> torch.Tensor:
        """Latents at the next timestep; after the last one the result. prediction: what the model says of `latents`."""
        return self.scheduler.step(prediction, timestep, latents, return_dict=False, **self._noise)[0]

    def forget(self, where: torch.Tensor, latents: torch.Tensor) -> None:
        """Have the next step start at `latents` where (N, 1, h, w) says so, which is not where the last one led to."""
        last = getattr(self.scheduler, "last_sample", None)
        if last is not None:  # UniPC corrects it afterwards
            self.scheduler.last_sample = torch.where(where, latents, last)
