"""Training losses over tensors: denoising targets and their weights, perceptual distance, Gram style distance, local contrast."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn import functional as F

from stylekit.features import gram_matrix

Features = Mapping[str, torch.Tensor]


def perceptual_loss(ours: Features, theirs: Features) -> torch.Tensor:
    """Mean absolute difference of calibrated features, averaged over layers; 0 for equal pictures (cf. Johnson et al. 2016)."""
    return torch.stack([F.l1_loss(ours[name].float(), theirs[name].float()) for name in ours]).mean()


def grams(features: Features) -> dict[str, torch.Tensor]:
    """Layer -> (N, C, C) Gram matrices, in float32 within autocast too."""
    found = {}
    for name, feature in features.items():
        with torch.autocast(feature.device.type, enabled=False):
            found[name] = gram_matrix(feature.float())
    return found


def mean_grams(features: Features) -> dict[str, torch.Tensor]:
    """Layer -> (C, C) Gram matrix averaged over the batch."""
    return {name: gram.mean(0) for name, gram in grams(features).items()}


def style_loss(ours: Features, style_grams: Mapping[str, torch.Tensor], weights: torch.Tensor | None = None) -> torch.Tensor:
    """Squared Gram distance of each picture relative to the style's own energy, averaged over layers (Gatys et al. 2016, normalised per
    layer) and over pictures, which `weights` (N,) may weigh. style_grams: (C, C) for all pictures, or (N, C, C), one for each."""
    terms = []
    for name, gram in grams({name: ours[name] for name in style_grams}).items():
        target = style_grams[name]
        terms.append((gram - target).pow(2).sum((-2, -1)) / target.pow(2).sum((-2, -1)))
    each = torch.stack(terms).mean(0)
    return (each if weights is None else each * weights).mean()


def min_snr_weights(alphas_cumprod: torch.Tensor, prediction_type: str, gamma: float) -> torch.Tensor:
    """Weight of the squared error of what the model predicts, for each signal power in `alphas_cumprod`.

    Hang et al. 2023 (https://arxiv.org/abs/2303.09556): the error of the clean sample counts min(SNR, gamma). A noise prediction's squared
    error is SNR times that of the sample it stands for, a velocity's SNR + 1 times. gamma 0 weighs nothing.
    """
    if not gamma:
        return torch.ones_like(alphas_cumprod)
    snr = alphas_cumprod / (1 - alphas_cumprod)
    least = snr.clamp_max(gamma)
    divisor = {"sample": torch.ones_like(snr), "epsilon": snr, "v_prediction": snr + 1}
    return least / divisor[prediction_type]


def prediction_target(clean: torch.Tensor, noise: torch.Tensor, alphas_cumprod: torch.Tensor, prediction_type: str) -> torch.Tensor:
    """What a model of `prediction_type` should predict for `clean` under `noise` at the signal power `alphas_cumprod`."""
    if prediction_type == "sample":
        return clean
    if prediction_type == "epsilon":
        return noise
    if prediction_type == "v_prediction":
        return alphas_cumprod.sqrt() * noise - (1 - alphas_cumprod).sqrt() * clean
    raise ValueError(f"unknown prediction_type {prediction_type!r}")


def contrast_loss(ours: torch.Tensor, theirs: torch.Tensor, window: int = 9) -> torch.Tensor:
    """Difference of local standard deviations of luminance: what a squared error alone gives up where ink is hard to predict."""

    def spread(pixels: torch.Tensor) -> torch.Tensor:
        light = pixels.float().mean(1, keepdim=True)
        mean = F.avg_pool2d(light, window, 1, window // 2)
        return (F.avg_pool2d(light**2, window, 1, window // 2) - mean**2).clamp_min(1e-5).sqrt()

    return F.l1_loss(spread(ours), spread(theirs))
