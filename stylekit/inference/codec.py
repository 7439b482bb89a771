"""The autoencoder as it is run: finite or again in float32, in tiles where memory asks for it; and what stands for it in previews."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from stylekit.inference import memory

log = logging.getLogger(__name__)

TILED = 768 * 768  # pixels from which on a picture is worked in tiles, unless a GPU has room for it
PIECE = 1024  # bytes of activations for every pixel and byte of a number, where Stable Diffusion's autoencoder works in one piece
CHEAP = 20_000_000  # parameters up to which an autoencoder is its own preview
CHART = 256  # side, in pixels, of the colours that `latent_colours` looks at
RIDGE = 1e-4  # part of the latents' power that is added in its fit, so that a direction that hardly varies is not blown up

Run = Callable[[torch.Tensor], torch.Tensor]


def encode(vae: Any, pixels: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) in [-1, 1] -> scaled latents (N, C, h, w), float32, the mean where the autoencoder is stochastic."""

    def run(inputs: torch.Tensor) -> torch.Tensor:
        encoded = vae.encode(inputs)
        return encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded[0]

    latents = _run(vae, run, pixels, pixels.shape[-2] * pixels.shape[-1])
    return (latents * vae.config.scaling_factor).float()


def decode(vae: Any, latents: torch.Tensor, scale: int) -> torch.Tensor:
    """Scaled latents -> float32 pixels (N, 3, H, W), about [-1, 1]. scale: pixels a latent stands for, along a side."""
    area = latents.shape[-2] * latents.shape[-1] * scale * scale
    return _run(vae, lambda inputs: vae.decode(inputs).sample, latents / vae.config.scaling_factor, area).float()


def is_cheap(vae: Any) -> bool:
    return sum(parameter.numel() for parameter in vae.parameters()) <= CHEAP


def latent_colours(vae: Any) -> torch.Tensor:
    """(C + 1, 3): the affine map from a scaled latent pixel to its mean colour in [-1, 1] that fits `vae` best, by least squares.

    It is fitted on what the encoder makes of soft fields of all colours, which takes as long as encoding 256 x 256 pixels. Others publish
    such numbers for Stable Diffusion's autoencoder; fitted, they hold for any.
    """
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand((1, 3, 12, 12), generator=generator) * 3 - 1.5  # beyond the range, so that much is at its ends
    chart = F.interpolate(coarse, (CHART, CHART), mode="bilinear").clamp(-1, 1)
    with torch.no_grad():
        latents = encode(vae, chart.to(next(vae.parameters()).device)).cpu()
    colours = F.adaptive_avg_pool2d(chart, (latents.shape[-2], latents.shape[-1]))
    inputs, targets = (values[0].flatten(1).T.double() for values in (latents, colours))
    centre, target = inputs.mean(0), targets.mean(0)
    inputs = inputs - centre
    power = inputs.T @ inputs
    ridge = RIDGE * power.diagonal().mean() * torch.eye(len(power), dtype=power.dtype)
    slopes = torch.linalg.solve(power + ridge, inputs.T @ (targets - target))
    return torch.cat([slopes, (target - centre @ slopes)[None]]).float()


def colours_of(latents: torch.Tensor, affine: torch.Tensor) -> torch.Tensor:
    """Scaled latents (N, C, h, w) -> their colours (N, 3, h, w), by what `latent_colours` found."""
    affine = affine.to(latents)
    return torch.einsum("nchw,cr->nrhw", latents, affine[:-1]) + affine[-1][:, None, None]


def _run(vae: Any, run: Run, inputs: torch.Tensor, area: int) -> torch.Tensor:
    """`run` of `inputs`, whose picture has `area` pixels."""
    tiles = hasattr(vae, "use_tiling") and hasattr(vae, "quant_conv")  # AutoencoderKL
    if tiles:
        free = memory.free(next(vae.parameters()).device)
        vae.use_tiling = area >= TILED and (free is None or area * vae.dtype.itemsize * PIECE > free)
    try:
        result = _in_own_precision(vae, run, inputs)
    except memory.OUT_OF_MEMORY as error:
        if not tiles or vae.use_tiling or not memory.is_out_of_memory(error):
            raise
        memory.release(inputs.device)
        vae.use_tiling = True
        result = _in_own_precision(vae, run, inputs)
    if vae.dtype in (torch.float16, torch.bfloat16) and not torch.isfinite(result).all():
        log.warning("The autoencoder overflows in %s and goes on in float32.", vae.dtype)
        vae.to(torch.float32)  # for good: it would overflow again
        return _run(vae, run, inputs, area)
    return result


def _in_own_precision(vae: Any, run: Run, inputs: torch.Tensor) -> torch.Tensor:
    parameter = next(vae.parameters())
    return run(inputs.to(parameter.device, parameter.dtype).contiguous(memory_format=torch.channels_last))
