"""Training losses over tensors: latent L2, perceptual distance, Gram style distance, local contrast."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn import functional as F

from stylekit.features import gram_matrix

Features = Mapping[str, torch.Tensor]


def perceptual_loss(ours: Features, theirs: Features) -> torch.Tensor:
    """Mean absolute difference of calibrated features, averaged over layers; 0 for equal pictures (cf. Johnson et al. 2016)."""
    return torch.stack([F.l1_loss(ours[name].float(), theirs[name].float()) for name in ours]).mean()


def mean_grams(features: Features) -> dict[str, torch.Tensor]:
    """Layer -> (C, C) Gram matrix averaged over the batch."""
    return {name: gram_matrix(feature.float()).mean(0) for name, feature in features.items()}


def style_loss(ours: Features, style_grams: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Squared Gram distance relative to the style's own energy, averaged over layers (Gatys et al. 2016, normalised per layer)."""
    terms = []
    for name, target in style_grams.items():
        gram = gram_matrix(ours[name].float()).mean(0)
        terms.append((gram - target).pow(2).sum() / target.pow(2).sum())
    return torch.stack(terms).mean()


def contrast_loss(ours: torch.Tensor, theirs: torch.Tensor, window: int = 9) -> torch.Tensor:
    """Difference of local standard deviations of luminance: what a squared error alone gives up where ink is hard to predict."""

    def spread(pixels: torch.Tensor) -> torch.Tensor:
        light = pixels.float().mean(1, keepdim=True)
        mean = F.avg_pool2d(light, window, 1, window // 2)
        return (F.avg_pool2d(light**2, window, 1, window // 2) - mean**2).clamp_min(1e-5).sqrt()

    return F.l1_loss(spread(ours), spread(theirs))
