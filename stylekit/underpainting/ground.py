"""The ground of a style picture: a photo in flat fields, in that picture's palette, with strokes as strong as its own, to be worked on.

Painters tone a canvas before they paint. What can be computed is done here, exactly: the colours go over by the linear map that carries one
Gaussian of colours into the other with the least change (Pitié & Kokaram 2007, https://doi.org/10.1049/cp:20070055), in Oklab. Being
linear it makes no grain and no borders that the photo does not have.
"""

from __future__ import annotations

import torch

from stylekit.pixels.colour import from_oklab, to_oklab
from stylekit.pixels.filters import blur
from stylekit.underpainting import brush
from stylekit.underpainting.kuwahara import flatten
from stylekit.underpainting.settings import Brush, Ground, Kuwahara

KUWAHARA = Kuwahara(width=0.9, passes=4)  # what is too fine to foretell from the photo would be learned as a blur
BRUSH = Brush(width=7, length=34, flow=10, rest=18, amount=0.16, respect=0.5)
GAIN = 2.5  # most by which any direction of colour is stretched; beyond it, noise shows
STEADY = 1e-4  # added to the photo's variances, so that a grey photo's traces of colour are not blown up
MARK = 2.5  # pixels; width over which a mark differs from its surroundings
PATCH = 5.0  # pixels; size of the places compared
CALM = 0.2  # share of the picture's places that may have no marks though it is painted
MARKED = (0.012, 0.035)  # contrast of the calm places: without a stroke, and strokes everywhere


def ground_of(pixels: torch.Tensor) -> Ground:
    """The ground of a style picture (1, 3, H, W) in [-1, 1] of about 256 x 256 pixels."""
    lab = to_oklab(pixels)
    mean, covariance = _gaussian(lab)
    fine = lab[:, :1] - blur(lab[:, :1], MARK)
    contrast = float(blur(fine * fine, PATCH).clamp_min(0).sqrt().flatten().quantile(CALM))
    strokes = min(1.0, max(0.0, (contrast - MARKED[0]) / (MARKED[1] - MARKED[0])))
    upper = covariance[torch.triu_indices(3, 3).unbind()]
    return Ground(mean=tuple(mean.tolist()), covariance=tuple(upper.tolist()), strokes=strokes)


def lay(pixels: torch.Tensor, ground: Ground, seed: int) -> torch.Tensor:
    """The photo (1, 3, H, W) in [-1, 1] on `ground`. seed: of the strokes."""
    flat = flatten(pixels, KUWAHARA)
    if ground.strokes:
        flat = (flat + ground.strokes * brush.underpaint(flat, BRUSH, seed)).clamp(-1, 1)
    return recolour(flat, ground)  # strokes too take the palette's colours


def recolour(pixels: torch.Tensor, ground: Ground) -> torch.Tensor:
    """`pixels` with the mean and, as far as `GAIN` allows, the covariance of the ground's colours."""
    lab = to_oklab(pixels)
    mean, covariance = _gaussian(lab)
    target = torch.zeros(3, 3, dtype=torch.float64)
    target[torch.triu_indices(3, 3).unbind()] = torch.tensor(ground.covariance, dtype=torch.float64)
    target = target + target.triu(1).T
    root = _root(covariance + STEADY * torch.eye(3, dtype=torch.float64))
    inverse = torch.linalg.inv(root)
    gains, axes = torch.linalg.eigh(inverse @ _root(root @ target @ root) @ inverse)
    change = ((axes * gains.clamp(0, GAIN)) @ axes.T).to(lab)
    moved = torch.einsum("ij,njhw->nihw", change, lab - mean.to(lab).view(1, 3, 1, 1))
    return from_oklab(moved + torch.tensor(ground.mean).to(lab).view(1, 3, 1, 1)).clamp(-1, 1)


def _gaussian(lab: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (3,) and covariance (3, 3) in float64 of (1, 3, H, W)."""
    flat = lab[0].flatten(1).double()
    mean = flat.mean(1)
    return mean, (flat - mean[:, None]) @ (flat - mean[:, None]).T / flat.shape[1]


def _root(matrix: torch.Tensor) -> torch.Tensor:
    values, axes = torch.linalg.eigh(matrix)
    return (axes * values.clamp_min(1e-10).sqrt()) @ axes.T
