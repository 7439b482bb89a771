"""The pocket autoencoder: an `AutoencoderDC` that starts as a PCA codec of 8x8 patches and then learns to decode better.

Training a small autoencoder from random weights takes hours on a CPU before it reaches 25 dB. A linear codec needs none: the top
principal components of 8x8x3 patches give about 31 dB at once. This module writes that codec into the weights of diffusers'
`AutoencoderDC` (Chen et al. 2024, https://arxiv.org/abs/2410.10733) so that every later gradient step only improves it:

- encoder: the space-to-depth shortcuts carry the pixels, every convolution beside them is zero, `conv_out` is the PCA projection
  divided by sqrt(std), which evens the latents out without making the finest ones as loud as the coarsest. It stays frozen, so the
  latent space is fixed from the start and the denoiser can be trained while the decoder is still improving;
- decoder: `conv_in` is the transposed projection, the up-convolutions cancel the repeat shortcut and do depth-to-space; a few spare
  channels held at a large constant make the last RMSNorm + ReLU act linearly on the picture channels.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderDC
from torch import nn
from torch.nn import functional as F

PATCH = 8
LATENT_CHANNELS = 32
SPARE_CHANNELS = 8  # channels of the last decoder stage that hold the constant
SPARE_LEVEL = 40.0  # their value; large beside picture values in [-1, 1]
RELU_OFFSET = 2.0  # keeps pictures in [-1, 1] on the linear side of the last ReLU


def patches_of(pixels: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) -> (N, 192, H/8, W/8) in the channel order in which the encoder's shortcuts stack an 8x8 patch."""
    for _ in range(3):
        pixels = F.pixel_unshuffle(pixels, 2)
    return pixels


def principal_components(patches: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean (192,), components (192, 192) as rows by falling variance, and standard deviations (192,) of `patches` (M, 192)."""
    data = patches.double()
    mean = data.mean(0)
    variance, vectors = torch.linalg.eigh((data - mean).T @ (data - mean) / (len(data) - 1))
    order = variance.argsort(descending=True)
    return mean, vectors.T[order], variance[order].clamp_min(0).sqrt()


def build_autoencoder(mean: torch.Tensor, components: torch.Tensor, std: torch.Tensor) -> AutoencoderDC:
    """An autoencoder that computes exactly the PCA codec given by `principal_components`."""
    vae = AutoencoderDC(
        latent_channels=LATENT_CHANNELS,
        encoder_block_out_channels=(12, 12, 48, 192),
        encoder_layers_per_block=(0, 1, 1, 1),
        decoder_block_out_channels=(48, 48, 96, 192),
        decoder_layers_per_block=(0, 1, 2, 2),
        encoder_block_types="ResBlock",
        decoder_block_types="ResBlock",
        encoder_qkv_multiscales=((), (), (), ()),
        decoder_qkv_multiscales=((), (), (), ()),
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
        upsample_block_type="pixel_shuffle",
        downsample_block_type="pixel_unshuffle",
        encoder_out_shortcut=False,
        decoder_in_shortcut=False,
        scaling_factor=1.0,
    )
    k = LATENT_CHANNELS
    scale = std[:k].rsqrt()
    with torch.no_grad():
        for module in vae.modules():
            if type(module).__name__ == "ResBlock":  # the residual branch starts silent
                module.norm.weight.zero_()
                module.norm.bias.zero_()
        encoder, decoder = vae.encoder, vae.decoder
        _set_point(encoder.conv_in.conv, torch.eye(3))
        for module in encoder.down_blocks.modules():
            if type(module).__name__ == "DCDownBlock2d":
                nn.init.zeros_(module.conv.weight)
                nn.init.zeros_(module.conv.bias)
        project = components[:k] * scale[:, None]
        _set_point(encoder.conv_out, project, -(project @ mean))
        _set_point(decoder.conv_in, components[:k].T / scale, mean)
        ups = [m for m in decoder.up_blocks.modules() if type(m).__name__ == "DCUpBlock2d"][::-1]
        for up, carried in zip(ups, (192, 48), strict=True):
            _set_up(up, carried)
        up_last = ups[-1]
        channels = up_last.conv.out_channels // 4
        up_last.conv.bias.view(channels, 4)[-SPARE_CHANNELS:] = SPARE_LEVEL
        rms = SPARE_LEVEL * (SPARE_CHANNELS / channels) ** 0.5
        decoder.norm_out.weight.fill_(rms)
        decoder.norm_out.bias.fill_(RELU_OFFSET)
        decoder.norm_out.weight[-SPARE_CHANNELS:] = 1.0
        matrix = torch.zeros(12, channels)
        matrix[:12, :12] = torch.eye(12)
        _set_point(decoder.conv_out.conv, matrix, torch.full((12,), -RELU_OFFSET))
    return vae


def _set_point(conv: nn.Conv2d, matrix: torch.Tensor, bias: torch.Tensor | None = None) -> None:
    """Make `conv` the pointwise linear map `matrix` (out, in), with `bias`."""
    nn.init.zeros_(conv.weight)
    conv.weight[:, :, 1, 1] = matrix.to(conv.weight)
    if conv.bias is not None:
        conv.bias.copy_(torch.zeros_like(conv.bias) if bias is None else bias.to(conv.bias))


def _set_up(up: Any, carried: int) -> None:
    """Depth-to-space of the first `carried` input channels; the other outputs are zero.

    The block adds `conv(x)` and a shortcut that repeats every input channel `repeats` times, so the convolution starts as the wanted
    map minus the shortcut. The wanted map is the identity on the first `carried` channels before the pixel shuffle.
    """
    rows, columns = up.conv.out_channels, up.conv.in_channels
    wanted = torch.zeros(rows, columns)
    wanted[:carried, :carried] = torch.eye(carried)
    shortcut = torch.zeros(rows, columns)
    shortcut[torch.arange(rows), torch.arange(rows) // up.repeats] = 1.0
    _set_point(up.conv, wanted - shortcut)


def encode(vae: AutoencoderDC, pixels: torch.Tensor) -> torch.Tensor:
    """Latents (N, 32, H/8, W/8) of `pixels` (N, 3, H, W) in [-1, 1]."""
    return vae.encode(pixels).latent * vae.config.scaling_factor


def project(vae: AutoencoderDC, pixels: torch.Tensor) -> torch.Tensor:
    """What `encode` gives, some thirty times faster: the frozen encoder is the PCA projection in its `conv_out` and nothing else."""
    conv = vae.encoder.conv_out
    return F.conv2d(patches_of(pixels), conv.weight[:, :, 1:2, 1:2], conv.bias) * vae.config.scaling_factor


def decode(vae: AutoencoderDC, latents: torch.Tensor) -> torch.Tensor:
    """Pixels (N, 3, 8h, 8w), about [-1, 1], of `latents`."""
    return vae.decode(latents / vae.config.scaling_factor).sample


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    """Peak signal-to-noise ratio in dB of pictures in [-1, 1], after clamping and rounding to 8 bits."""
    first, second = (((t.clamp(-1, 1) + 1) * 127.5).round() for t in (a, b))
    mse = F.mse_loss(first, second)
    return float(10 * torch.log10(255**2 / mse))
