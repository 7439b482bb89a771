"""What a training step computes: samples drawn from latents, and one objective a mode.

pairs      a photo is taken to a low noise level and must come out as its target, in one denoising step
transfer   the same with the photo as its own target, and a Gram distance to pictures of the style (Johnson et al. 2016,
           https://arxiv.org/abs/1603.08155)
style      pictures of the style are denoised, in the base's own prediction type, with min-SNR weights

Losses on decoded pictures need the autoencoder and a perceptual network, which make a step three times as dear. So they can start late
("polishing"): there is no point in polishing before the picture is there.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch
from torch import nn
from torch.nn import functional as F

from stylekit.base import Base
from stylekit.sampling import add_noise, predicted_sample
from training.loop.loop import Compute, Draw, autocast
from training.objective import losses
from training.objective.perceptual import PerceptualLosses
from training.objective.settings import LossSettings, ObjectiveSettings
from training.pictures.data import random_crop

N = TypeVar("N", bound="NoisySample")
Ask = Callable[[nn.Module, Sequence[N], torch.Tensor, torch.Tensor], torch.Tensor]  # (model, samples, noisy, timesteps) -> prediction


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
class NoisySample:
    """One sample of a step: latents to start from and to arrive at, (C, h, w), and the noise on them.

    self_rollout: passes before the one that learns, each from the last one's result; alike in all samples of a step.
    """

    start: torch.Tensor
    target: torch.Tensor
    noise: torch.Tensor
    timestep: int
    self_rollout: int = 0


@dataclass(frozen=True, kw_only=True)
class Sample(NoisySample):
    """With its prompt (tokens, width)."""

    embeds: torch.Tensor


def draw_noise(
    settings: LossSettings, step: int, parts: int, shape: tuple[int, int, int], generator: torch.Generator
) -> list[tuple[torch.Tensor, int]]:
    """Noise of `shape` (C, h, w), and the timestep, of each sample of `step`."""
    count = (settings.polish_batch if settings.polishes_at(step) else settings.batch) * parts
    noise = torch.randn((count, *shape), generator=generator)
    timesteps = torch.randint(settings.t_min, settings.t_max + 1, (count,), generator=generator).tolist()
    return list(zip(noise, timesteps, strict=True))


def draw_from(items: Sequence[Item], neutral: torch.Tensor, settings: ObjectiveSettings, latent: int) -> Draw[Sample]:
    """Draws the samples of a step. neutral: embedding of the empty prompt. latent: side in pixels of what one latent stands for."""
    side = settings.resolution // latent

    def draw(step: int, parts: int, rng: random.Random, generator: torch.Generator) -> list[Sample]:
        rollout = (
            rng.randint(1, settings.self_rollout_steps) if step > settings.self_rollout_from and rng.random() < settings.self_rollout else 0
        )
        samples = []
        for noise, timestep in draw_noise(settings, step, parts, (len(items[0].views[0].start), side, side), generator):
            item = rng.choice(items)
            view = View(*random_crop(rng.choice(item.views), side, rng, flip=False))
            samples.append(
                Sample(
                    start=view.target if rng.random() < settings.again else view.start,
                    target=view.target,
                    noise=noise,
                    timestep=timestep,
                    embeds=neutral if rng.random() < settings.caption_dropout else item.embeds,
                    self_rollout=rollout,
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


def stacked(samples: Sequence[NoisySample], name: str, device: torch.device) -> torch.Tensor:
    """One of the samples' tensors as a batch, in float32."""
    return torch.stack([getattr(sample, name).float() for sample in samples]).to(device)


def prompted(model: nn.Module, samples: Sequence[Sample], noisy: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
    """What a UNet predicts under the samples' prompts."""
    return model(noisy, timesteps, encoder_hidden_states=stacked(samples, "embeds", noisy.device)).sample


def guess(base: Base, model: nn.Module, samples: Sequence[N], precision: str, ask: Ask[N]) -> Guess:
    """One denoising step of `samples`, after as many as they ask for from their own results, with the same noise."""

    def predict(start: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        noisy = add_noise(start, noise, alphas).contiguous(memory_format=torch.channels_last)
        with autocast(base.device, precision):
            prediction = ask(model, samples, noisy, timesteps).float()
        return prediction, predicted_sample(prediction, noisy, alphas, base.prediction_type)

    start, target, noise = (stacked(samples, name, base.device) for name in ("start", "target", "noise"))
    timesteps = torch.tensor([s.timestep for s in samples])
    alphas = base.alphas_cumprod[timesteps].view(-1, 1, 1, 1).to(base.device)
    timesteps = timesteps.to(base.device)
    with torch.no_grad():
        for _ in range(samples[0].self_rollout):
            _, start = predict(start)
    prediction, clean = predict(start)
    return Guess(prediction=prediction, clean=clean, target=target, noise=noise, alphas=alphas)


def restyle(base: Base, perceptual: PerceptualLosses, settings: ObjectiveSettings, precision: str) -> Compute[Sample]:
    """The objective of pairs and of transfer: L2 of latents; on decoded pictures perceptual distance, local contrast and style."""
    return towards_targets(base, perceptual, settings, precision, prompted)


def towards_targets(base: Base, perceptual: PerceptualLosses, settings: LossSettings, precision: str, ask: Ask[N]) -> Compute[N]:
    """L2 of latents and, on decoded pictures, the losses that have a weight. ask: how the model is asked for its prediction."""

    def compute(model: nn.Module, step: int, samples: Sequence[N]) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        result = guess(base, model, samples, precision, ask)
        terms = {"l2": F.mse_loss(result.clean, result.target)}
        if settings.polishes_at(step):
            with _decoding(base, precision):
                pixels = base.decode(result.clean)
                with torch.no_grad():
                    wanted = base.decode(result.target)
                terms |= perceptual.terms(pixels, wanted, list(settings.weights))
        return weighted(terms, settings.weights), terms

    return compute


def denoise(base: Base, perceptual: PerceptualLosses, settings: ObjectiveSettings, precision: str) -> Compute[Sample]:
    """The objective of style pictures: min-SNR weighted error of the prediction, and style of the decoded clean latents it stands for.

    The style term counts a sample by its signal power: where noise drowns the picture, the guess is a blur, whose style says nothing.
    """

    def compute(model: nn.Module, step: int, samples: Sequence[Sample]) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        result = guess(base, model, samples, precision, prompted)
        wanted = losses.prediction_target(result.target, result.noise, result.alphas, base.prediction_type)
        each = (result.prediction - wanted).pow(2).mean((1, 2, 3))
        alphas = result.alphas.flatten()
        terms = {"l2": (losses.min_snr_weights(alphas, base.prediction_type, settings.min_snr_gamma) * each).mean()}
        if settings.polishes_at(step):
            with _decoding(base, precision):
                terms |= perceptual.terms(base.decode(result.clean), None, list(settings.weights), alphas)
        return weighted(terms, settings.weights), terms

    return compute


OBJECTIVES: Mapping[str, Callable[[Base, PerceptualLosses, ObjectiveSettings, str], Compute[Sample]]] = {
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


def _decoding(base: Base, precision: str) -> AbstractContextManager[object]:
    """Decoding and judging: under bfloat16 too, never under float16, in which VGG's activations overflow."""
    return autocast(base.device, "no" if precision == "fp16" else precision)
