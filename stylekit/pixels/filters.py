"""Small filters of tensors that several parts of the engine share."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def luminance(pixels: torch.Tensor) -> torch.Tensor:
    """(N, 1, H, W) of RGB (N, 3, H, W), in the same range."""
    return torch.einsum("nchw,c->nhw", pixels, torch.tensor(LUMA).to(pixels))[:, None]


def blur(pixels: torch.Tensor, sigma: float) -> torch.Tensor:
    """(N, C, H, W) under a Gaussian of standard deviation `sigma` pixels; beyond an edge the edge goes on."""
    reach = math.ceil(3 * sigma)
    if reach < 1:
        return pixels
    weights = [math.exp(-0.5 * (x / sigma) ** 2) for x in range(-reach, reach + 1)]
    for axis, pad in ((-2, (0, 0, reach, reach)), (-1, (reach, reach, 0, 0))):
        padded, length = F.pad(pixels, pad, mode="replicate"), pixels.shape[axis]
        pixels = torch.zeros_like(pixels)
        for i, weight in enumerate(weights):  # a sum of shifted copies is far faster than a convolution of one channel
            pixels.add_(padded.narrow(axis, i, length), alpha=weight / sum(weights))
    return pixels
