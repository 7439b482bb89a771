"""How near a picture is to a style: along the line from photos to it, by Gram matrices, by colours; and ArtFID, style against content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from eval.metrics.fid import FeatureStats, frechet_distance
from stylekit.features import gram_matrix

Features = Mapping[str, torch.Tensor]
Grams = dict[str, torch.Tensor]

LEAST_SPREAD = 0.05  # of a logarithm; a channel that hardly varies among the pictures of a kind would count without limit
SHRINKAGE = 0.3  # of the correlations; anything from 0.1 to 0.5 gives the same
CODEC_WEIGHT = 100.0  # of the codec's changes against the pictures' own: the line hardly sees them


@dataclass(frozen=True, kw_only=True)
class StyleAxis:
    """The line from photos to a style: 0 at the mean of photos, 1 at that of the style's pictures. origin, direction: (d,)."""

    origin: torch.Tensor
    direction: torch.Tensor

    def reached(self, moments: torch.Tensor) -> torch.Tensor:
        """Where on the line pictures are, (N,), from `moments` (N, d)."""
        return (moments - self.origin) @ self.direction


def style_axis(photos: torch.Tensor, art: torch.Tensor, shifts: torch.Tensor | None = None) -> StyleAxis:
    """Fisher's linear discriminant between moments of photos (n, d) and of a style (m, d), with shrunken correlations.

    Unlike a distance it does not ask a picture to be like the style's in what tells nothing of the style: the scene, its light, its size.
    shifts: by how much a codec moved the moments of photos, (k, d). A photo that went through an autoencoder is no nearer to a painting,
    so these directions count as spread within photos (nuisance attribute projection, Solomonoff et al. 2005,
    https://doi.org/10.1109/ICASSP.2005.1415191).
    """
    photos, art = photos.double(), art.double()
    within = torch.cat([photos - photos.mean(0), art - art.mean(0)])
    spread = within.std(0).clamp_min(LEAST_SPREAD)
    correlations = (within / spread).T @ (within / spread) / len(within)
    shrunken = (1 - SHRINKAGE) * correlations + SHRINKAGE * torch.eye(len(correlations), dtype=torch.float64)
    if shifts is not None:
        moved = shifts.double() / spread
        shrunken = shrunken + CODEC_WEIGHT * moved.T @ moved / len(moved)
    across = art.mean(0) - photos.mean(0)
    direction = torch.linalg.solve(shrunken, across / spread) / spread
    return StyleAxis(origin=photos.mean(0), direction=direction / (across @ direction))


def grams(features: Features, layers: tuple[str, ...]) -> Grams:
    """Layer -> Gram matrices (N, C, C)."""
    return {name: gram_matrix(features[name].float()) for name in layers}


def style_loss(ours: Grams, theirs: Grams) -> torch.Tensor:
    """Mean squared difference of Gram matrices, averaged over layers, (N,) (Gatys et al. 2016). theirs: layer -> (C, C) or (N, C, C)."""
    return torch.stack([(gram - theirs[name].to(gram)).pow(2).mean((1, 2)) for name, gram in ours.items()]).mean(0)


def lab_stats(pixels: torch.Tensor) -> FeatureStats:
    """Mean and covariance of the CIE L*a*b* (D65) colours of one picture (3, H, W) in [-1, 1]."""
    return FeatureStats.of(torch.from_numpy(lab_pixels(pixels)))


def lab_pixels(pixels: torch.Tensor) -> np.ndarray:
    """(H * W, 3) colours in L*a*b*."""
    from skimage.color import rgb2lab

    rgb = ((pixels.double() + 1) / 2).clamp(0, 1).permute(1, 2, 0).numpy()
    return np.asarray(rgb2lab(rgb)).reshape(-1, 3)


def colour_distance(a: FeatureStats, b: FeatureStats) -> float:
    """Distance of two sets of colours in units of L*a*b*: the 2-Wasserstein distance of Gaussians with their means and covariances."""
    return frechet_distance(a, b) ** 0.5


def art_fid(lpips: float, fid: float) -> float:
    """ArtFID (Wright & Ommer 2022, https://arxiv.org/abs/2207.12280): (1 + LPIPS to the content) (1 + FID to the style)."""
    return (1 + lpips) * (1 + fid)
