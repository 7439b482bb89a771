"""SSIM (Wang et al. 2004, https://doi.org/10.1109/TIP.2003.819861): likeness of local brightness, contrast and pattern, by scikit-image."""

from __future__ import annotations

import torch

from stylekit.errors import StyleError

SMALLEST = 11  # pixels of a side: the width of the Gaussian window


def ssim(x: torch.Tensor, y: torch.Tensor) -> float:
    """SSIM of two pictures (3, H, W) in [-1, 1], mean over channels: 1 for equal ones, about 0 for unrelated ones.

    Wang's settings: a Gaussian window of deviation 1.5, population covariance; the data range is fixed, never taken from the pictures.
    """
    try:
        from skimage.metrics import structural_similarity
    except ImportError:
        raise StyleError("SSIM needs scikit-image: run `pip install scikit-image`.") from None
    if x.shape != y.shape or x.dim() != 3:
        raise StyleError(f"SSIM compares pictures of one size, not {tuple(x.shape)} and {tuple(y.shape)}.")
    if min(x.shape[-2:]) < SMALLEST:
        raise StyleError(f"SSIM needs sides of at least {SMALLEST} pixels, not {tuple(x.shape[-2:])}.")
    ours, theirs = ((z.double() + 1) / 2 for z in (x, y))
    value = structural_similarity(
        ours.numpy(), theirs.numpy(), channel_axis=0, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    return float(value)
