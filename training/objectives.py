"""What a training step computes: samples drawn from latents, and one objective a mode.

pairs      a photo is taken to a low noise level and must come out as its target, in one denoising step
transfer   the same with the photo as its own target, and a Gram distance to pictures of the style (Johnson et al. 2016,
           https://arxiv.org/abs/1603.08155)
style      pictures of the style are denoised, in the base's own prediction type, with min-SNR weights

Losses on decoded pictures need the autoencoder and a perceptual network, which make a step three times as dear. So they can start late
("polishing"): there is no point in polishing before the picture is there.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from stylekit.base import Base
from stylekit.errors import SettingError
from stylekit.sampling import add_noise, predicted_sample
from training import losses
from training.config import setting
from training.critic import Critic
from training.data import random_crop
from training.loop import Compute, Draw, RunSettings, autocast


class View(NamedTuple):
    """Latents (C, h, w) to start from and to arrive at."""

    start: torch.Tensor
    target: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing to train on: its views, of which a sample takes one, and its prompt (tokens, width)."""

    views: Sequence[View]
    embeds: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One sample of a step. own: passes before the one that learns, each from the last one's result; alike in all samples of a step."""

    start: torch.Tensor
    target: torch.Tensor
    noise: torch.Tensor
    timestep: int
    embeds: torch.Tensor
    own: int = 0


@dataclass(frozen=True, kw_only=True)
class ObjectiveSettings(RunSettings):
    """Settings of what a step draws and computes."""

    resolution: int = setting(512, "side of a training crop in pixels")
    t_min: int = setting(0, "lowest timestep trained")
    t_max: int = setting(999, "highest timestep trained")
    again: float = setting(0.0, "pairs: share of samples that start from the target itself, so that more steps do not restyle twice")
    own: float = setting(
        0.0, "pairs, transfer: share of steps that start from the adapter's own result, so that more steps refine the first"
    )
    own_steps: int = setting(1, "at most so many passes before the one that learns")
    own_from: int = setting(0, "step after which a step may start from the adapter's own result")
    caption_dropout: float = setting(0.3, "share of samples with the neutral prompt, so that the style works without a prompt")
    l2: float = setting(1.0, "weight of the latent L2; for style pictures of the denoising error")
    min_snr_gamma: float = setting(5.0, "style pictures: gamma of the min-SNR weights; 0 weighs all timesteps alike")
    perceptual: float = setting(0.0, "weight of the perceptual distance to the target")
    style_weight: float = setting(0.0, "weight of the Gram distance to the style pictures")
    contrast: float = setting(0.0, "weight of the local contrast")
    polish_from: int = setting(0, "step after which the losses on decoded pictures begin")
    polish_batch: int = setting(2, "samples a step with those losses")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("resolution", "polish_batch", "own_steps"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} is {getattr(self, name)}: it must be at least 1.")
        for name in ("l2", "perceptual", "style_weight", "contrast", "min_snr_gamma", "polish_from", "own_from"):
            if not 0 <= getattr(self, name) < math.inf:
                raise SettingError(f"{name} is {getattr(self, name)}: it must be 0 or more.")
        for name in ("again", "own", "caption_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingError(f"{name} is {getattr(self, name)}: it must be from 0 to 1.")
        if not 0 <= self.t_min <= self.t_max < 1000:
            raise SettingError(f"t_min {self.t_min} and t_max {self.t_max} must satisfy 0 <= t_min <= t_max < 1000.")

    @property
    def weights(self) -> dict[str, float]:
        """Term -> weight, of those that have one; L2 is always looked at."""
        named = {name: getattr(self, name) for name in ("perceptual", "style_weight", "contrast")}
        return {"l2": self.l2} | {name: weight for name, weight in named.items() if weight}

    def polishes_at(self, step: int) -> bool:
        """Whether there are losses on decoded pictures at `step`."""
        return len(self.weights) > 1 and step > self.polish_from


def draw_from(items: Sequence[Item], neutral: torch.Tensor, settings: ObjectiveSettings, latent: int) -> Draw[Sample]:
    """Draws the samples of a step. neutral: embedding of the empty prompt. latent: side in pixels of what one latent stands for."""
    side = settings.resolution // latent

    def draw(step: int, parts: int, rng: random.Random, generator: torch.Generator) -> list[Sample]:
        count = (settings.polish_batch if settings.polishes_at(step) else settings.batch) * parts
        own = rng.randint(1, settings.own_steps) if step > settings.own_from and rng.random() < settings.own else 0
        noise = torch.randn((count, len(items[0].views[0].start), side, side), generator=generator)
        timesteps = torch.randint(settings.t_min, settings.t_max + 1, (count,), generator=generator).tolist()
        samples = []
        for i in range(count):
            item = rng.choice(items)
            view = View(*random_crop(rng.choice(item.views), side, rng, flip=False))
            samples.append(
                Sample(
                    start=view.target if rng.random() < settings.again else view.start,
                    target=view.target,
                    noise=noise[i],
                    timestep=timesteps[i],
                    embeds=neutral if rng.random() < settings.caption_dropout else item.embeds,
                    own=own,
                )
            )
        return samples

    return draw


@dataclass(frozen=True, kw_only=True)
class Guess:
    """The model's prediction, the clean latents it stands for, and the batch's target, noise and signal power (N, 1, 1, 1)."""

    prediction: torch.Tensor
    clean: torch.Tensor
    target: torch.Tensor
    noise: torch.Tensor
    alphas: torch.Tensor


def guess(base: Base, model: nn.Module, samples: Sequence[Sample], precision: str) -> Guess:
    """One denoising step of `samples`, after as many as they ask for from their own results, with the same noise."""

    def stack(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.stack([t.float() for t in tensors]).to(base.device)

    def predict(start: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        noisy = add_noise(start, noise, alphas).contiguous(memory_format=torch.channels_last)
        with autocast(base.device, precision):
            prediction = model(noisy, timesteps, encoder_hidden_states=embeds).sample.float()
        return prediction, predicted_sample(prediction, noisy, alphas, base.prediction_type)

    start, target, noise, embeds = (stack([getattr(s, name) for s in samples]) for name in ("start", "target", "noise", "embeds"))
    timesteps = torch.tensor([s.timestep for s in samples])
    alphas = base.alphas_cumprod[timesteps].view(-1, 1, 1, 1).to(base.device)
    timesteps = timesteps.to(base.device)
    with torch.no_grad():
        for _ in range(samples[0].own):
            _, start = predict(start)
    prediction, clean = predict(start)
    return Guess(prediction=prediction, clean=clean, target=target, noise=noise, alphas=alphas)


def restyle(base: Base, critic: Critic, settings: ObjectiveSettings, precision: str) -> Compute[Sample]:
    """The objective of pairs and of transfer: L2 of latents; on decoded pictures perceptual distance, local contrast and style."""

    def compute(model: nn.Module, step: int, samples: Sequence[Sample]) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        result = guess(base, model, samples, precision)
        terms = {"l2": F.mse_loss(result.clean, result.target)}
        if settings.polishes_at(step):
            with _critical(base, precision):
                pixels = base.decode(result.clean)
                with torch.no_grad():
                    wanted = base.decode(result.target)
                terms |= critic.terms(pixels, wanted, list(settings.weights))
        return weighted(terms, settings.weights), terms

    return compute


def denoise(base: Base, critic: Critic, settings: ObjectiveSettings, precision: str) -> Compute[Sample]:
    """The objective of style pictures: min-SNR weighted error of the prediction, and style of the decoded clean latents it stands for.

    The style term counts a sample by its signal power: where noise drowns the picture, the guess is a blur, whose style says nothing.
    """

    def compute(model: nn.Module, step: int, samples: Sequence[Sample]) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        result = guess(base, model, samples, precision)
        wanted = losses.prediction_target(result.target, result.noise, result.alphas, base.prediction_type)
        each = (result.prediction - wanted).pow(2).mean((1, 2, 3))
        alphas = result.alphas.flatten()
        terms = {"l2": (losses.min_snr_weights(alphas, base.prediction_type, settings.min_snr_gamma) * each).mean()}
        if settings.polishes_at(step):
            with _critical(base, precision):
                terms |= critic.terms(base.decode(result.clean), None, list(settings.weights), alphas)
        return weighted(terms, settings.weights), terms

    return compute


OBJECTIVES: Mapping[str, Callable[[Base, Critic, ObjectiveSettings, str], Compute[Sample]]] = {
    "pairs": restyle,
    "transfer": restyle,
    "style": denoise,
}


def weighted(terms: Mapping[str, torch.Tensor], weights: Mapping[str, float]) -> torch.Tensor:
    """The sum of `terms`, each times its weight."""
    return torch.stack([weights[name] * term.float() for name, term in terms.items()]).sum()


def fixed_terms(compute: Compute[Sample], model: nn.Module, step: int, samples: Sequence[Sample], batch: int) -> dict[str, float]:
    """Means of the terms over `samples`, worked `batch` at a time without gradients."""
    total: dict[str, float] = {}
    with torch.no_grad():
        for begin in range(0, len(samples), batch):
            some = samples[begin : begin + batch]
            loss, terms = compute(model, step, some)
            for name, value in {"loss": loss, **terms}.items():
                total[name] = total.get(name, 0.0) + float(value) * len(some) / len(samples)
    return total


def _critical(base: Base, precision: str) -> AbstractContextManager[object]:
    """Decoding and judging: under bfloat16 too, never under float16, in which VGG's activations overflow."""
    return autocast(base.device, "no" if precision == "fp16" else precision)
