"""Stylizer: photo + Recipe -> Stylized. The one place where base, adapters and sampling meet, and the one lock.

A UNet with adapters in it is shared state, so applying a mix, denoising and taking the mix out happen under one lock; a second thread
waits for its turn between pictures, never within one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from stylekit import adapters, images, sampling
from stylekit.base import ALIASES, POCKET, Base
from stylekit.errors import StyleError
from stylekit.recipe import Recipe
from stylekit.styles import STYLES_FOLDER, Adapter, StyleLibrary


@dataclass(frozen=True, kw_only=True)
class StylizeStep:
    """Denoising step `step` of `total` is done; preview is the picture by now, at working size, if one was asked for."""

    step: int
    total: int
    preview: Image.Image | None = None


@dataclass(frozen=True, kw_only=True)
class Stylized:
    """A finished picture, of the photo's size, with the recipe that repeats it and the seconds it took."""

    image: Image.Image
    recipe: Recipe
    seconds: float


class Stylizer:
    """A loaded base and a style library. Adapters are read when first used and stay resident."""

    def __init__(self, base: Base, library: StyleLibrary) -> None:
        self.base = base
        self.library = library
        self._lock = threading.Lock()
        self._prompts: dict[str | None, torch.Tensor] = {}

    @classmethod
    def open(cls, base: str = POCKET, styles: str | Path = STYLES_FOLDER, *, device: str | None = None) -> Stylizer:
        return cls(Base.open(base, device=device), StyleLibrary.open(styles))

    def stylize(self, photo: Image.Image, recipe: Recipe) -> Stylized:
        """The photo restyled. Raises StyleError for an unknown style or a photo that cannot be used."""
        for event in self.steps(photo, recipe, preview=False):
            if isinstance(event, Stylized):
                return event
        raise AssertionError("steps() ended without a picture")

    def steps(self, photo: Image.Image, recipe: Recipe, preview: bool = True) -> Iterator[StylizeStep | Stylized]:
        """Yield a StylizeStep after every denoising step, then the Stylized. Closing the generator cancels and leaves no trace."""
        started = time.perf_counter()
        self._check_base(recipe)
        weights = self._weights(recipe)
        photo = images.open_picture(photo)
        if recipe.strength == 0:  # the dial at zero is the photo, not the codec's copy of it
            yield Stylized(image=photo, recipe=recipe, seconds=time.perf_counter() - started)
            return
        with self._lock, torch.inference_mode():
            self._make_resident(list(weights))
            with adapters.applied(self.base.unet, weights):
                size = images.working_size(photo.size, recipe.size)
                working = photo if size == photo.size else photo.resize(size, Image.Resampling.LANCZOS)
                result = working
                for step in self._denoise(images.to_tensor(working), recipe):
                    last = step.step == step.total
                    if preview or last:
                        result = self._decode(step.predicted, size)
                    yield StylizeStep(step=step.step, total=step.total, preview=result if preview else None)
        if result.size != photo.size:
            result = result.resize(photo.size, Image.Resampling.LANCZOS)
        yield Stylized(image=result, recipe=recipe, seconds=time.perf_counter() - started)

    def _denoise(self, pixels: torch.Tensor, recipe: Recipe) -> Iterator[sampling.SamplingStep]:
        base = self.base
        latents = base.encode(images.place_on_grid(pixels, base.grid, self._phases(recipe)))
        noise = torch.randn(latents.shape, generator=torch.Generator("cpu").manual_seed(recipe.seed)).to(latents)
        start = min(self._timestep(recipe), len(base.alphas_cumprod) - 1)
        timesteps = sampling.timesteps_from(start, recipe.num_inference_steps or self._default_steps(recipe))
        embeds = self._prompt_embeds(recipe.prompt)
        negative = self._prompt_embeds(None) if recipe.guidance_scale > 1 and recipe.prompt else None

        def denoiser(noisy: torch.Tensor, timestep: int) -> torch.Tensor:
            guided = base.denoise(noisy, timestep, embeds)
            if negative is None:
                return guided
            free = base.denoise(noisy, timestep, negative)
            return free + recipe.guidance_scale * (guided - free)

        yield from sampling.sample(denoiser, latents, noise, timesteps, base.alphas_cumprod, base.prediction_type)

    def _decode(self, latents: torch.Tensor, size: tuple[int, int]) -> Image.Image:
        pixels = self.base.decode(latents)
        if not torch.isfinite(pixels).all():
            raise StyleError("The picture came out with numbers that are not finite: try another seed, or run in float32.")
        return images.to_picture(images.take_from_grid(pixels, size))

    def _prompt_embeds(self, prompt: str | None) -> torch.Tensor:
        if prompt not in self._prompts:
            self._prompts[prompt] = self.base.prompt_embeds(prompt)
        return self._prompts[prompt]

    def _check_base(self, recipe: Recipe) -> None:
        if ALIASES.get(recipe.base, recipe.base) != ALIASES.get(self.base.name, self.base.name):
            raise StyleError(f"The recipe is for the base {recipe.base}, but {self.base.name} is loaded: start with that base.")

    def _weights(self, recipe: Recipe) -> dict[str, float]:
        """Style -> factor on its adapter: the mix within its budget, times the dial."""
        scale = self.base.card.adapter_scale(recipe.strength)
        weights = {}
        for name, weight in recipe.mix.within_budget().weights:
            weights[name] = weight * scale * self._card(name).scale
        return weights

    def _default_steps(self, recipe: Recipe) -> int:
        """Steps where the recipe names none: the most that a style of the mix asks for, else the base's own."""
        asked = [self._card(name).num_inference_steps for name in recipe.mix.names]
        return max([steps for steps in asked if steps], default=self.base.card.num_inference_steps)

    def _timestep(self, recipe: Recipe) -> int:
        """Where the photo enters: the base's dial, stretched to the full timestep that the styles of the mix ask for on average."""
        base = self.base.card
        asked, total = 0.0, 0.0
        for name, weight in recipe.mix.weights:
            asked += weight * (self._card(name).timestep or base.timestep(1))
            total += weight
        stretch = asked / total / base.timestep(1) if total else 1.0
        return max(1, round(base.timestep(recipe.strength) * stretch))

    def _phases(self, recipe: Recipe) -> int:
        """The fewest placements that a style of the mix asks for: a pattern that belongs to the grid must not be averaged away."""
        asked = [self._card(name).phases for name, weight in recipe.mix.weights if weight]
        return min([phases for phases in asked if phases], default=self.base.card.phases)

    def _card(self, name: str) -> Adapter:
        return self.library[name].adapter(ALIASES.get(self.base.name, self.base.name))

    def _make_resident(self, names: list[str]) -> None:
        here = adapters.resident(self.base.unet)
        for name in names:
            if name not in here:
                adapters.inject(self.base.unet, adapters.read_lora(self._card(name).path, name))
