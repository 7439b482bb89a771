"""Sample grids: a row of photos, and below it the same photos in the style as it is by now, a row for each strength."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from PIL import Image, ImageOps

from stylekit import images, sampling
from stylekit.base import Base
from stylekit.underpainting import underpaint
from training.loop import autocast
from training.records import AdapterUse

Dial = Callable[[float], AbstractContextManager[torch.Tensor]]  # within it the adapter has this scale; gives the prompt's embedding

STRENGTHS = (0.5, 1.0)
GAP = 4  # pixels


@torch.no_grad()
def sample_grid(
    base: Base, dial: Dial, photos: Sequence[Image.Image], side: int, use: AdapterUse, precision: str, seed: int
) -> Image.Image:
    """The grid, each picture `side` x `side` pixels, worked with the adapter in ``base.unet`` as the app would at each of `STRENGTHS`."""
    squares = [ImageOps.fit(photo, (side, side), Image.Resampling.LANCZOS) for photo in photos]
    rows = [squares] + [[as_the_app(base, dial, photo, strength, use, precision, seed) for photo in squares] for strength in STRENGTHS]
    grid = Image.new("RGB", (len(photos) * (side + GAP) - GAP, len(rows) * (side + GAP) - GAP), "white")
    for j, row in enumerate(rows):
        for i, picture in enumerate(row):
            grid.paste(picture, (i * (side + GAP), j * (side + GAP)))
    return grid


def as_the_app(base: Base, dial: Dial, photo: Image.Image, strength: float, use: AdapterUse, precision: str, seed: int) -> Image.Image:
    """What stylekit.stylizer does, with the adapter as it is: unfused, so that half-precision weights do not swallow it."""
    card = base.card
    scale = float(card.adapter_scale(strength))

    def denoiser(noisy: torch.Tensor, timestep: int) -> torch.Tensor:
        inputs = noisy.contiguous(memory_format=torch.channels_last)
        with autocast(base.device, precision):
            return base.unet(inputs, timestep, encoder_hidden_states=embeds.to(base.device).expand(len(noisy), -1, -1)).sample.float()

    pixels = images.to_tensor(photo)
    if use.underpainting:
        pixels = pixels + scale * underpaint(pixels, use.underpainting, seed)
    latents = base.encode(images.place_on_grid(pixels, base.grid, use.phases or card.phases))
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(seed)).to(latents)
    start = max(1, round(card.timestep(strength) * (use.timestep or card.timestep(1)) / card.timestep(1)))
    timesteps = sampling.timesteps_from(start, card.num_inference_steps)
    with dial(scale) as embeds:
        steps = sampling.sample(denoiser, latents, noise, timesteps, base.alphas_cumprod, base.prediction_type, renoise=card.renoise)
        clean = list(steps)[-1].predicted
    return images.to_picture(images.take_from_grid(base.decode(clean), photo.size))
