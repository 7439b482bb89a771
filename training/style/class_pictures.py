"""Class pictures: what the base makes by itself, before it learns a style, which prior preservation holds it to.

Pictures that are there already are used; the base makes the rest, one file each, so that an interrupted run goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image, ImageOps
from tqdm import tqdm

from stylekit import images, sampling
from stylekit.base import Base
from stylekit.errors import BaseError, PictureError, StyleError
from stylekit.images import GRID, open_picture
from stylekit.pixels import srgb
from stylekit.recipe import Recipe
from stylekit.storage import digests
from stylekit.storage.paths import PHOTOS_FOLDER
from stylekit.styles import StyleLibrary
from stylekit.stylizer import Stylizer
from training.loop import caches
from training.pictures import data
from training.pictures.pictures import Say
from training.style.dreambooth_settings import DreamBoothTraining
from training.style.training_set import CONTENT_SIZE

NUM_INFERENCE_STEPS = 30
GUIDANCE_SCALE = 7.5


def class_pictures(
    base: Base, settings: DreamBoothTraining, base_digest: str, photos: Sequence[Path], say: Say
) -> tuple[list[Path], int, torch.Tensor]:
    """(files, their side in pixels, embedding (tokens, width) of the class prompt).

    photos: those that a style is learned on; the base makes class pictures of them too. Where there are none it makes them of the class
    prompt alone, or on a base without a text encoder of the photos of this repository.
    """
    embeds = prompt_embeds(base, settings.class_prompt)
    if embeds is None and not photos:
        photos = data.list_pictures(PHOTOS_FOLDER)
    side = settings.resolution * (CONTENT_SIZE if photos else 1)
    prompt = settings.class_prompt if embeds is not None else None
    code = digests.of_code(images, srgb, sampling, Stylizer, _restyled, _painted)
    facts = (code, base_digest, prompt, side, [caches.file_digest(path) for path in photos], NUM_INFERENCE_STEPS, GUIDANCE_SCALE)
    folder = settings.class_pictures or settings.folder / f"class-{digests.of_values(facts)}"
    if folder.exists() and not folder.is_dir():
        raise StyleError(f"{folder} is not a folder: name a folder for class pictures.")
    make = _restyled(base, prompt, photos, side) if photos else _painted(base, settings.class_prompt, side)
    found = _fill(folder, settings.class_count, make, say, ours=settings.class_pictures is None)
    return found, side, base.prompt_embeds()[0] if embeds is None else embeds


def prompt_embeds(base: Base, prompt: str) -> torch.Tensor | None:
    """(tokens, width) embedding of `prompt`; None on a base without a text encoder."""
    try:
        return base.prompt_embeds(prompt)[0]
    except BaseError:
        return None


def _fill(folder: Path, count: int, make: Callable[[int], Image.Image], say: Say, *, ours: bool) -> list[Path]:
    """`count` pictures in `folder`: those that are there and can be read, and new ones in files of their own.

    ours: the folder is this module's own, and a file in it that cannot be read is made anew.
    """
    there = []
    for path in data.list_pictures(folder) if folder.is_dir() else []:
        try:
            open_picture(path)
            there.append(path)
        except PictureError as error:
            if ours:
                path.unlink()
            say(f"{'made anew' if ours else 'left out'}: {error}")
    lacking = count - len(there)
    if lacking > 0:
        say(f"{len(there)} class pictures in {folder}; the base makes {lacking} more")
        free = (path for i in range(10**6) if not (path := folder / f"class-{i:06d}.png").exists())
        for _ in tqdm(range(lacking), desc="class pictures", mininterval=5, disable=None):
            path = next(free)
            there.append(images.save_png(make(int(path.stem.removeprefix("class-"))), path))
    return sorted(there)[:count]


def _restyled(base: Base, prompt: str | None, photos: Sequence[Path], side: int) -> Callable[[int], Image.Image]:
    """What the app makes of a square out of photo i without any style."""
    stylizer = Stylizer(base, StyleLibrary(styles=()))

    def make(i: int) -> Image.Image:
        photo = ImageOps.fit(open_picture(photos[i % len(photos)]), (side, side), Image.Resampling.LANCZOS)
        return stylizer.stylize(photo, Recipe(base=base.name, prompt=prompt, seed=i, size=side)).image

    return make


def _painted(base: Base, prompt: str, side: int) -> Callable[[int], Image.Image]:
    """Text to image, with classifier-free guidance (Ho & Salimans 2022, https://arxiv.org/abs/2207.12598)."""
    embeds, free = base.prompt_embeds(prompt), base.prompt_embeds()
    timesteps = sampling.timesteps_from(len(base.alphas_cumprod) - 1, NUM_INFERENCE_STEPS)
    shape = (1, base.unet.config.in_channels, side // GRID, side // GRID)

    def denoiser(noisy: torch.Tensor, timestep: int) -> torch.Tensor:
        guided, unguided = base.denoise(noisy, timestep, embeds), base.denoise(noisy, timestep, free)
        return unguided + GUIDANCE_SCALE * (guided - unguided)

    @torch.inference_mode()
    def make(i: int) -> Image.Image:
        noise = torch.randn(shape, generator=torch.Generator("cpu").manual_seed(i)).to(base.device)
        nothing = torch.zeros_like(noise)
        steps = sampling.sample(denoiser, nothing, noise, timesteps, base.alphas_cumprod, base.prediction_type)
        return images.to_picture(base.decode(list(steps)[-1].predicted))

    return make
