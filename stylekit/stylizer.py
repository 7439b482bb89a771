"""Stylizer: photo + Recipe -> Stylized. The one place where base, adapters and sampling meet, and the one lock.

A UNet with adapters in it is shared state, so applying a mix, denoising and taking the mix out happen under one lock; a second thread
waits for its turn between pictures, never within one.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageChops

from stylekit import adapters, colour, deltas, images, maps, sampling, structure
from stylekit.base import ALIASES, POCKET, Base, Curve
from stylekit.errors import StyleError
from stylekit.ip_adapter import IpAdapter
from stylekit.maps import WeightMap
from stylekit.picture import StylePicture
from stylekit.pictured import Pictured
from stylekit.recipe import Recipe
from stylekit.styles import STYLES_FOLDER, Adapter, Style, StyleLibrary
from stylekit.underpainting import underpaint

SHARE = 0.25  # of the weights at a pixel; a style with less has no say in how many steps it takes
MAX_RESIDENT = 8  # adapters inside the UNet, but for a mix of more
RIM = 0.01  # of the long side; the least width over which the tone at a border is read
DELTA_DIAL = 0.5  # exponent: a DreamBooth style listens for its prompt with weights of its own, so it grows faster than they do
FELT = 0.1  # of the long side; the width over which a matched tone gives way to the style's own


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
    """A loaded base and a style library. Adapters are read when first used; the last `max_resident` of them stay resident."""

    def __init__(self, base: Base, library: StyleLibrary, max_resident: int = MAX_RESIDENT, ip: IpAdapter | None = None) -> None:
        self.base = base
        self.pictured = Pictured(base, ip)
        self.library = library
        self.max_resident = max_resident
        self._used: dict[str, Path] = {}  # resident style -> its file, the one used last at the end
        self._lock = threading.Lock()
        self._prompts: dict[str | None, torch.Tensor] = {}

    @classmethod
    def open(cls, base: str = POCKET, styles: str | Path = STYLES_FOLDER, *, device: str | None = None, ip: str | None = None) -> Stylizer:
        """ip: an IP-Adapter, OWNER/NAME on the Hub or a folder, through which a base without a general adapter takes style pictures."""
        library = StyleLibrary.open(styles)
        return cls(Base.open(base, device=device), library, ip=IpAdapter.open(ip) if ip else None)

    def add(self, style: Style) -> None:
        """Have `style` too, in the place of one added before under its name. StyleError for the name of a built-in one."""
        self.library = self.library.plus(style)

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
        for name in recipe.mix.names:
            if recipe.picture(name) is None:
                self._card(name, recipe)
        photo = images.open_picture(photo)
        size = images.working_size(photo.size, recipe.size)
        present = _presence(recipe, photo.size)
        if present is None:  # nothing to do is the photo, not the codec's copy of it
            yield Stylized(image=photo, recipe=recipe, seconds=time.perf_counter() - started)
            return
        whole = present.getextrema()[0] >= maps.FAINT  # type: ignore[operator]
        with self._lock, torch.inference_mode():
            weights = self._weights(recipe, size)
            self._make_resident(list(weights), recipe)
            working = photo if size == photo.size else photo.resize(size, Image.Resampling.LANCZOS)
            alpha = None if whole else _alpha(recipe, size, recipe.feather)
            result = working
            with contextlib.closing(self._denoise(self._underpainted(working, weights, recipe), recipe, weights)) as denoising:
                for step in denoising:
                    last = step.step == step.total
                    if preview or last:
                        result = self._finish(self._decode(step.predicted, size), working, recipe)
                    shown = result if alpha is None else images.paste_back(working, result, alpha)
                    yield StylizeStep(step=step.step, total=step.total, preview=shown if preview else None)
        if alpha is not None:
            result = images.paste_back(photo, result, maps.fade(alpha, present))
        elif result.size != photo.size:
            result = result.resize(photo.size, Image.Resampling.LANCZOS)
        yield Stylized(image=result, recipe=recipe, seconds=time.perf_counter() - started)

    def _underpainted(self, working: Image.Image, weights: Mapping[str, float | maps.Floats], recipe: Recipe) -> torch.Tensor:
        """Pixels (1, 3, H, W) of the photo, with the underpainting that styles of the mix ask for, as thick as their weight."""
        photo = images.to_tensor(working)
        pixels = photo
        for name, weight in weights.items():
            first = self._card(name, recipe).underpainting
            if first and np.any(weight):
                pixels = pixels + torch.as_tensor(weight) * underpaint(photo, first, recipe.seed)
        return pixels

    def _finish(self, pixels: torch.Tensor, working: Image.Image, recipe: Recipe) -> Image.Image:
        """What is done to the picture after the model: structure, colour and tone of the photo, as far as the recipe asks."""
        if recipe.structure or recipe.keep_colours or recipe.match_border:
            photo = images.to_tensor(working).to(pixels)
            if recipe.structure:
                pixels = structure.keep_structure(pixels, photo, recipe.structure)
            if recipe.keep_colours:
                pixels = colour.keep_colours(pixels, photo, recipe.keep_colours)
            if recipe.match_border and recipe.has_maps:
                rim, near = (images.mask_to_tensor(_alpha(recipe, working.size, f)).to(pixels) for f in (max(recipe.feather, RIM), FELT))
                pixels = colour.match_border(pixels, photo, rim * (1 - rim), 1 - near)
        return images.to_picture(pixels)

    def _denoise(
        self, pixels: torch.Tensor, recipe: Recipe, weights: Mapping[str, float | maps.Floats]
    ) -> Generator[sampling.SamplingStep, None, None]:
        """Denoise the photo with the styles of the mix inside the UNet, and take them out again when done or closed.

        A style that asks for fewer steps than another joins for the last ones: more would lay it on twice.
        """
        base = self.base
        latents = base.encode(images.place_on_grid(pixels, base.grid, self._phases(recipe)))
        noise = torch.randn(latents.shape, generator=torch.Generator("cpu").manual_seed(recipe.seed)).to(latents)
        start = min(self._timestep(recipe), len(base.alphas_cumprod) - 1)
        timesteps = sampling.timesteps_from(start, recipe.num_inference_steps or self._default_steps(recipe))
        neutral = self._prompt_embeds(None)
        embeds = self._prompt_embeds(recipe.prompt)

        canvases = {name: self._on_canvas(weight, recipe) for name, weight in weights.items()}
        looked = self._looked_at(recipe)
        begin, looking = self.pictured.looking(looked, canvases, latents, neutral, recipe.seed)
        takes = self._takes(recipe, weights, len(timesteps))
        inside: set[str] | None = None

        def denoiser(noisy: torch.Tensor, timestep: int) -> torch.Tensor:
            nonlocal inside, embeds
            left = len(timesteps) - timesteps.index(timestep)
            joined = {name for name, steps in takes.items() if steps >= left and name not in looked}
            if joined != inside:
                mixed.close()
                mixed.enter_context(adapters.applied(base.unet, {name: canvases[name] for name in joined}))
                inside = joined
                if recipe.prompt is None:  # words of the user's own stand as they are
                    embeds = deltas.prompt_embeds(base.unet, neutral, {name: canvases[name] for name in joined})
            guided = denoise(noisy, timestep, embeds)
            if recipe.guidance_scale == 1 or embeds is neutral:
                return guided
            free = denoise(noisy, timestep, neutral)
            return free + recipe.guidance_scale * (guided - free)

        starts = self._starts(recipe, weights, timesteps, latents, (pixels.shape[-1], pixels.shape[-2]))
        renoise = base.card.renoise
        with contextlib.ExitStack() as mixed, looking as denoise:
            yield from sampling.sample(denoiser, begin, noise, timesteps, base.alphas_cumprod, base.prediction_type, starts, renoise)

    def _decode(self, latents: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        pixels = self.base.decode(latents)
        if not torch.isfinite(pixels).all():
            raise StyleError("The picture came out with numbers that are not finite: try another seed, or run in float32.")
        return images.take_from_grid(pixels, size)

    def _prompt_embeds(self, prompt: str | None) -> torch.Tensor:
        if prompt not in self._prompts:
            self._prompts[prompt] = self.base.prompt_embeds(prompt)
        return self._prompts[prompt]

    def _check_base(self, recipe: Recipe) -> None:
        if ALIASES.get(recipe.base, recipe.base) != ALIASES.get(self.base.name, self.base.name):
            raise StyleError(f"The recipe is for the base {recipe.base}, but {self.base.name} is loaded: start with that base.")

    def _weights(self, recipe: Recipe, size: maps.Size) -> dict[str, float | maps.Floats]:
        """Style -> factor on its adapter: the mix within its budget, times the dial; a map (H, W) where either is one."""
        dial = self.base.card.dial_scale
        if isinstance(recipe.strength, WeightMap) and not self._dial_is_noise:
            scale: float | maps.Floats = _along(dial, recipe.strength.at(size))
        else:
            scale = self.base.card.adapter_scale(_greatest(recipe.strength))
        weights = recipe.mix.at(size, recipe.feather * max(size))
        cards = {name: self._card(name, recipe) for name in weights}
        factors = {name: weight * scale * cards[name].scale for name, weight in weights.items()}
        return {name: factor**DELTA_DIAL if cards[name].kind == deltas.KIND else factor for name, factor in factors.items()}

    def _starts(
        self, recipe: Recipe, weights: Mapping[str, float | maps.Floats], timesteps: Sequence[int], latents: torch.Tensor, size: maps.Size
    ) -> torch.Tensor | None:
        """The timestep (N, 1, h, w) at which each latent pixel starts; None where all start together.

        Where the dial is the noise, a map of strength says so. The pocket base's is the adapters' scale: there the map is a factor on the
        weights. A pixel whose styles take fewer steps than others waits for theirs.
        """
        starts: maps.Floats | None = None
        if isinstance(recipe.strength, WeightMap) and self._dial_is_noise:
            stretch = self._timestep(recipe) / self.base.card.timestep(_greatest(recipe.strength))
            starts = _along(self.base.card.dial_timestep, recipe.strength.at(size)) * np.float32(stretch)
        if any(isinstance(weight, np.ndarray) for weight in weights.values()):
            width, height = size
            takes = self._takes(recipe, weights, len(timesteps))
            layers = {name: np.broadcast_to(np.float32(weight), (height, width)) for name, weight in weights.items()}
            total = np.sum(list(layers.values()), 0)
            steps = np.ones((height, width), np.int64)
            for name, layer in layers.items():
                steps = np.where((layer > 0) & (layer >= SHARE * total), np.maximum(steps, takes[name]), steps)
            joins = np.array(timesteps, np.float32)[len(timesteps) - steps]
            starts = joins if starts is None else np.minimum(starts, joins)
        if starts is None or starts.min() >= timesteps[0]:
            return None
        canvas = images.place_on_grid(torch.from_numpy(starts)[None, None], self.base.grid, len(latents))
        return torch.nn.functional.adaptive_avg_pool2d(canvas, (latents.shape[-2], latents.shape[-1])).round().to(latents)

    @property
    def _dial_is_noise(self) -> bool:
        """Whether the strength dial acts through the noise alone, as Stable Diffusion's does."""
        return len({scale for _, scale in self.base.card.dial_scale}) == 1

    def _on_canvas(self, weight: float | maps.Floats, recipe: Recipe) -> float | torch.Tensor:
        """A map where the model will see the picture: (phases, 1, H, W)."""
        if isinstance(weight, float):
            return weight
        return images.place_on_grid(torch.from_numpy(weight)[None, None], self.base.grid, self._phases(recipe)).to(self.base.device)

    def _default_steps(self, recipe: Recipe) -> int:
        """Steps where the recipe names none: the most that a style of the mix asks for, else the base's own."""
        asked = [self._card(name, recipe).num_inference_steps for name in recipe.mix.present]
        return max([steps for steps in asked if steps], default=self.base.card.num_inference_steps)

    def _takes(self, recipe: Recipe, weights: Iterable[str], total: int) -> dict[str, int]:
        """Style -> in how many of `total` steps it takes part: as many as it asks for, unless the recipe says."""
        own = self.base.card.num_inference_steps
        if recipe.num_inference_steps:
            return dict.fromkeys(weights, total)
        return {name: min(total, self._card(name, recipe).num_inference_steps or own) for name in weights}

    def _timestep(self, recipe: Recipe) -> int:
        """Where the photo enters: the base's dial, stretched to the full timestep that the styles of the mix ask for on average.

        One UNet pass has one timestep, so styles on different parts of the picture meet in the middle too, each counted by its mean weight.
        """
        base = self.base.card
        asked, total = 0.0, 0.0
        for name, weight in recipe.mix.means.items():
            asked += weight * (self._card(name, recipe).timestep or base.timestep(1))
            total += weight
        stretch = asked / total / base.timestep(1) if total else 1.0
        return max(1, round(base.timestep(_greatest(recipe.strength)) * stretch))

    def _phases(self, recipe: Recipe) -> int:
        """The fewest placements that a style of the mix asks for: a pattern that belongs to the grid must not be averaged away."""
        asked = [self._card(name, recipe).phases for name in recipe.mix.present]
        return min([phases for phases in asked if phases], default=self.base.card.phases)

    def _card(self, name: str, recipe: Recipe) -> Adapter:
        picture = recipe.picture(name)
        if picture is not None:
            return self.pictured.card(picture)
        return self.library[name].adapter(ALIASES.get(self.base.name, self.base.name))

    def _looked_at(self, recipe: Recipe) -> dict[str, StylePicture]:
        """The style pictures that the base looks at while it paints, since it has no adapter for them."""
        return {} if self.pictured.has_general else {picture.name: picture for picture in recipe.pictures}

    def _make_resident(self, names: list[str], recipe: Recipe) -> None:
        """Have the adapters of `names` inside the UNet; beyond the limit, those that were used least recently go."""
        unet = self.base.unet
        here = adapters.resident(unet)
        names = [name for name in names if name not in self._looked_at(recipe)]
        for name in names:
            path, picture = self._card(name, recipe).path, recipe.picture(name)
            if name in here and self._used.get(name, path) != path:  # another revision took its place in the library
                adapters.eject(unet, name)
                here = adapters.resident(unet)
            if name not in here:
                adapters.inject(unet, self.pictured.lora(picture) if picture else adapters.read_adapter(path, name))
            self._used.pop(name, None)
            self._used[name] = path
        idle = [name for name in self._used if name not in names]
        for name in idle[: max(0, len(self._used) - self.max_resident)]:
            adapters.eject(unet, name)
            del self._used[name]


def _presence(recipe: Recipe, size: maps.Size) -> Image.Image | None:
    """How much of anything there is at every pixel of a picture of `size` (mode L), white without maps; None if nothing is anywhere."""
    mix = maps.presence([weight for _, weight in recipe.mix.weights], size) if recipe.mix.names else Image.new("L", size, 255)
    present = ImageChops.darker(mix, maps.presence([recipe.strength], size))
    if not recipe.has_maps:
        nothing = recipe.strength == 0 or (recipe.mix.names and not recipe.mix.present)
        return None if nothing else Image.new("L", size, 255)
    return present if present.getbbox() else None


def _alpha(recipe: Recipe, size: maps.Size, feather: float) -> Image.Image:
    """How the painted is laid on a photo of `size`; feather is a part of its long side."""
    present = _presence(recipe, size) or Image.new("L", size)
    return maps.fade(maps.feather(present, feather * max(size)), present)


def _along(curve: Curve, values: maps.Floats) -> maps.Floats:
    """`interpolate` for every one of `values`."""
    xs, ys = np.array(curve, np.float32).T
    return np.interp(values, xs, ys).astype(np.float32)


def _greatest(strength: float | WeightMap) -> float:
    return strength.extremes[1] if isinstance(strength, WeightMap) else strength
