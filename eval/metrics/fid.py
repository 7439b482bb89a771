"""Distances between two sets of pictures, from one feature vector a picture: FID and KID.

FID (Heusel et al. 2017, https://arxiv.org/abs/1706.08500) is the Fréchet distance of two Gaussians with the sets' means and covariances.
It is biased upwards for small sets, so it is only to be compared at equal numbers: write FID@N. KID (Binkowski et al. 2018,
https://arxiv.org/abs/1801.01401) is an unbiased squared maximum mean discrepancy with a cubic kernel, fit for small sets.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from stylekit.errors import StyleError

SUBSETS = 100  # draws for the spread of KID
LARGEST_SUBSET = 1000  # pictures


@dataclass(frozen=True, kw_only=True)
class FeatureStats:
    """Mean (d,) and covariance (d, d), divided by n - 1, of n vectors; float64."""

    mu: torch.Tensor
    sigma: torch.Tensor
    n: int

    def __post_init__(self) -> None:
        d = self.mu.shape[-1]
        if self.mu.shape != (d,) or self.sigma.shape != (d, d):
            raise StyleError(f"A mean of shape {tuple(self.mu.shape)} does not go with a covariance of shape {tuple(self.sigma.shape)}.")

    @classmethod
    def of(cls, features: torch.Tensor) -> FeatureStats:
        """Of features (n, d); needs two or more."""
        if features.dim() != 2 or len(features) < 2:
            raise StyleError(f"Statistics need two or more vectors, not shape {tuple(features.shape)}: measure more pictures.")
        features = features.double()
        return cls(mu=features.mean(0), sigma=torch.cov(features.T).reshape(features.shape[1], -1), n=len(features))


def frechet_distance(a: FeatureStats, b: FeatureStats) -> float:
    """FID: |mu_a - mu_b|^2 + tr(A) + tr(B) - 2 tr((A B)^(1/2)), at least 0.

    The last trace is that of the root of A^(1/2) B A^(1/2), which is symmetric: no imaginary parts arise, however few the pictures.
    """
    if a.mu.shape != b.mu.shape:
        raise StyleError(f"Features of {len(a.mu)} and of {len(b.mu)} numbers cannot be compared: use one backbone for both.")
    values, vectors = torch.linalg.eigh(a.sigma)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ b.sigma @ root).clamp_min(0).sqrt().sum()
    distance = (a.mu - b.mu).pow(2).sum() + a.sigma.trace() + b.sigma.trace() - 2 * cross
    return max(0.0, float(distance))


def kernel_distance(
    x: torch.Tensor, y: torch.Tensor, *, seed: int = 0, subsets: int = SUBSETS, size: int | None = None
) -> tuple[float, float]:
    """KID: (mean, standard deviation) over random subsets of x (n, d) and y (m, d).

    size: pictures in a subset; None for half the smaller set, at most `LARGEST_SUBSET`. May be slightly negative for like sets.
    """
    fewest = min(len(x), len(y))
    size = min(LARGEST_SUBSET, fewest // 2) if size is None else size
    if not 2 <= size <= fewest:
        raise StyleError(f"KID needs subsets of 2 to {fewest} pictures, not {size}: measure more pictures.")
    source = torch.Generator().manual_seed(seed)
    x, y = x.double().cpu(), y.double().cpu()
    draws = [
        _mmd2(x[torch.randperm(len(x), generator=source)[:size]], y[torch.randperm(len(y), generator=source)[:size]])
        for _ in range(subsets)
    ]
    values = torch.tensor(draws, dtype=torch.float64)
    return float(values.mean()), float(values.std(correction=0))


def _mmd2(x: torch.Tensor, y: torch.Tensor) -> float:
    """Unbiased estimate with the kernel (x.y / d + 1)^3 for sets of equal size."""
    n, d = x.shape
    within = [(z @ z.T / d + 1) ** 3 for z in (x, y)]
    across = (x @ y.T / d + 1) ** 3
    return float(sum((k.sum() - k.diagonal().sum()) / (n * (n - 1)) for k in within) - 2 * across.mean())
