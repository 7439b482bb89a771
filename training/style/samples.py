"""Sample grids: a row of photos, and below it the same as the adapter paints them by now, without a hand, a row for each strength."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from PIL import Image, ImageOps

from stylekit import images, sampling
from stylekit.base import Base
from stylekit.mix import StyleMix
from stylekit.pixels.contact_sheet import contact_sheet
from stylekit.plan import make_plan
from stylekit.recipe import Recipe
from stylekit.underpainting.underpaint import underpaint
from training.loop.loop import autocast
from training.style.records import AdapterUse

Dial = Callable[[float], AbstractContextManager[torch.Tensor]]  # within it the adapter has this scale; gives the prompt's embedding

STRENGTHS = (0.5, 1.0)
MARGIN = 48  # pixels, for the words beside the rows
NAME = "sample"  # what the plan calls the style


@torch.no_grad()
def sample_grid(
    base: Base, dial: Dial, photos: Sequence[Image.Image], side: int, use: AdapterUse, precision: str, seed: int
) -> Image.Image:
    """The grid, each picture `side` x `side` pixels, worked with the adapter in ``base.unet`` as the app would at each of `STRENGTHS`."""
    squares = [ImageOps.fit(photo, (side, side), Image.Resampling.LANCZOS) for photo in photos]
    rows = [squares] + [[as_the_app(base, dial, photo, strength, use, precision, seed) for photo in squares] for strength in STRENGTHS]
    return contact_sheet(rows, names=["photo", *(f"{strength:g}" for strength in STRENGTHS)], margin=MARGIN)


def as_the_app(base: Base, dial: Dial, photo: Image.Image, strength: float, use: AdapterUse, precision: str, seed: int) -> Image.Image:
    """What stylekit.stylizer does, the trigger's words with it, with the adapter as it is: unfused, so that half-precision weights do not
    swallow it."""
    plan = make_plan(Recipe(mix=StyleMix.of(NAME), strength=strength), base.card, {NAME: use.card}, photo.size, len(base.alphas_cumprod))
    scale = float(plan.weights[NAME])  # no maps, so a number
    words = use.card.words if base.reads_words else None
    guidance = words.guidance if words and not base.card.few_steps else 1.0

    def predict(noisy: torch.Tensor, timestep: int, embeds: torch.Tensor) -> torch.Tensor:
        inputs = noisy.contiguous(memory_format=torch.channels_last)
        with autocast(base.device, precision):
            return base.unet(inputs, timestep, encoder_hidden_states=embeds.to(base.device).expand(len(noisy), -1, -1)).sample.float()

    def denoiser(noisy: torch.Tensor, timestep: int) -> torch.Tensor:
        if words is None:
            return predict(noisy, timestep, embeds)
        asked, avoided = spoken
        led = predict(noisy, timestep, asked)
        if guidance == 1:
            return led
        free = predict(noisy, timestep, avoided)
        return free + guidance * (led - free)

    spoken = base.embed([words.positive, words.negative]) if words else []

    pixels = images.to_tensor(photo)
    if use.underpainting:
        pixels = pixels + scale * underpaint(pixels, use.underpainting, seed)
    latents = base.encode(images.place_on_grid(pixels, base.grid, plan.phases))
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(seed)).to(latents)
    with dial(scale) as embeds:
        steps = sampling.sample(
            denoiser, latents, noise, plan.timesteps, base.alphas_cumprod, base.prediction_type, renoise=base.card.renoise
        )
        clean = list(steps)[-1].predicted
    return images.to_picture(images.take_from_grid(base.decode(clean), photo.size))
