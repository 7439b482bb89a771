"""The pocket denoiser: diffusers' `UNet2DConditionModel`, small, and initialised so that it starts as the identity.

A denoiser that predicts the clean latents must first of all pass the latents through, and a small network trained for an hour spends
most of that hour learning to (and leaves a weave of 8 px behind). Here the pass-through is written into the weights, so that every step
goes into what differs from the identity:

- the latents x travel as pairs (+x, -x) of channels from `conv_in` over the outermost skip connection to the last block;
- after the last SiLU the pair is exactly linear again, because silu(x) - silu(-x) = x;
- each normalisation group holds two constant channels (+c, -c), large beside the signal, so that GroupNorm divides by an almost
  constant number; a pair contributes nothing to the group's mean.

The other channels are free and start as in any UNet.
"""

from __future__ import annotations

import torch
from diffusers import UNet2DConditionModel
from torch import nn

from training.pocket.autoencoder import LATENT_CHANNELS

BLOCK_OUT_CHANNELS = (128, 160, 192)
NORM_GROUPS = 8
PROMPT_TOKENS = 8
PROMPT_WIDTH = 64
CONSTANT = 8.0  # value of the constant channels


def build_unet(seed: int = 0) -> UNet2DConditionModel:
    """A UNet for (N, 32, h, w) latents that returns its input, to about 1 %, before any training."""
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        sample_size=64,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=BLOCK_OUT_CHANNELS,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=PROMPT_WIDTH,
        attention_head_dim=(1, 4, 4),
        norm_num_groups=NORM_GROUPS,
    )
    width = BLOCK_OUT_CHANNELS[0]
    plus, minus, ones = _layout(width)
    eye = torch.eye(LATENT_CHANNELS)
    rms = CONSTANT * (2 / (width // NORM_GROUPS)) ** 0.5  # what a group of this layout is divided by
    with torch.no_grad():
        conv_in = unet.conv_in
        conv_in.weight[plus + minus] = 0.0
        conv_in.weight[plus, :, 1, 1] = eye
        conv_in.weight[minus, :, 1, 1] = -eye
        _hold_constant(conv_in, ones)
        for block in (unet.down_blocks[0].resnets[0], *unet.up_blocks[-1].resnets):
            block.norm1.weight.fill_(rms)
        # the carrying channels cross the first down block untouched by its residual branch
        first = unet.down_blocks[0].resnets[0]
        first.conv2.weight[plus + minus + ones] = 0.0
        first.conv2.bias[plus + minus + ones] = 0.0
        last = unet.up_blocks[-1].resnets[-1]
        carry = last.conv_shortcut
        offset = carry.in_channels - width  # the skip connection is concatenated behind
        for rows in (plus, minus, ones):
            carry.weight[rows] = 0.0
            carry.weight[rows, [offset + r for r in rows], 0, 0] = 1.0
            carry.bias[rows] = 0.0
            last.conv2.weight[rows] = 0.0
            last.conv2.bias[rows] = 0.0
        unet.conv_norm_out.weight.fill_(rms)
        unet.conv_norm_out.bias.zero_()
        unet.conv_out.weight.mul_(0.1)
        unet.conv_out.weight[:, plus + minus + ones] = 0.0
        unet.conv_out.weight[:, plus, 1, 1] = eye
        unet.conv_out.weight[:, minus, 1, 1] = -eye
        unet.conv_out.bias.zero_()
    return unet


def _layout(width: int) -> tuple[list[int], list[int], list[int]]:
    """Channel numbers of +x, of -x and of the constants, spread evenly over the normalisation groups."""
    group, per = width // NORM_GROUPS, LATENT_CHANNELS // NORM_GROUPS
    starts = range(0, width, group)
    plus = [start + i for start in starts for i in range(per)]
    minus = [start + per + i for start in starts for i in range(per)]
    ones = [start + 2 * per + i for start in starts for i in range(2)]
    return plus, minus, ones


def _hold_constant(conv: nn.Conv2d, rows: list[int]) -> None:
    conv.weight[rows] = 0.0
    if conv.bias is not None:
        conv.bias[rows] = torch.tensor([CONSTANT, -CONSTANT] * (len(rows) // 2))
