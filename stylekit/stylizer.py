"""Stylizer: photo + Recipe -> Stylized. The one place where base, adapters and sampling meet, and the one lock.

A UNet with adapters in it is shared state, so applying a mix, denoising and taking the mix out happen under one lock; a second thread
waits for its turn between pictures, never within one.
"""

from __future__ import annotations

import contextlib
import copy
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageChops

from stylekit import images, maps, sampling
from stylekit.adapters import apply, deltas
from stylekit.adapters.text_encoder import TextChange, read_text_change
from stylekit.base import Base
from stylekit.base_card import ALIASES, DDIM, POCKET
from stylekit.conditioning.guided import Speech, Spoken
from stylekit.conditioning.structure import Structure
from stylekit.errors import StyleError
from stylekit.finish import finish
from stylekit.hand.drawing import drawing as draw_by_bands
from stylekit.hand.hand import Hand
from stylekit.inference import memory
from stylekit.inference.accelerator import Accelerator
from stylekit.inference.samplers import Solver
from stylekit.plan import Plan, default_steps, make_plan
from stylekit.recipe import Recipe
from stylekit.storage.paths import STYLES_FOLDER
from stylekit.style_picture.dispatch import PictureDispatch
from stylekit.style_picture.ip_adapter import IpAdapter
from stylekit.style_picture.picture import StylePicture
from stylekit.styles import LORA, PICTURES, TOLD, WEIGHTS, Adapter, Style, StyleLibrary
from stylekit.underpainting.underpaint import underpaint

OWN_WORDS = ""  # stands for the style where the user's own words are said
SLOW = 5  # steps from which on a picture that will be drawn is shown while it is painted
MAX_RESIDENT = 8  # adapters inside the UNet, but for a mix of more


PAINTING, DRAWING = "painting", "drawing"  # stages of a picture


@dataclass(frozen=True, kw_only=True)
class StylizeStep:
    """Step `step` of `total` is done, of painting (denoising) or of drawing (in hundredths); step 0 says that it begins.

    preview: the picture by now, at working size, if one was asked for and there is one.
    """

    step: int
    total: int
    preview: Image.Image | None = None
    stage: str = PAINTING


@dataclass(frozen=True, kw_only=True)
class Stylized:
    """A finished picture, of the photo's size, with the recipe that repeats it and the seconds it took."""

    image: Image.Image
    recipe: Recipe
    seconds: float


class Stylizer:
    """A loaded base and a style library. Adapters are read when first used; the last `max_resident` of them stay resident."""

    def __init__(
        self,
        base: Base,
        library: StyleLibrary,
        max_resident: int = MAX_RESIDENT,
        ip: IpAdapter | None = None,
        accelerator: Accelerator | None = None,
    ) -> None:
        """accelerator: becomes part of `base`, unless that has few steps of its own."""
        self.base = base
        self.accelerator = accelerator.source if accelerator and base.card.dial_is_noise and not base.card.few_steps else None
        if accelerator and self.accelerator:
            accelerator.put_into(base)
        self.picture_dispatch = PictureDispatch(base, ip)
        self.library = library
        self.max_resident = max_resident
        self._used: dict[str, Path] = {}  # resident style -> its file, the one used last at the end
        self._lock = threading.Lock()
        self._prompts: dict[str | None, torch.Tensor] = {}
        self._text_changes: dict[Path, TextChange | None] = {}
        self._paintings: dict[Path, StylePicture] = {}

    @classmethod
    def open(
        cls,
        base: str = POCKET,
        styles: str | Path = STYLES_FOLDER,
        *,
        device: str | None = None,
        ip: str | None = None,
        accelerator: str | None = None,
        tiny: str | None = None,
        compiled: bool = False,
    ) -> Stylizer:
        """ip: an IP-Adapter, through which a base without a general adapter takes style pictures. accelerator: a LoRA of few steps. tiny: a
        small autoencoder. Each is OWNER/NAME on the Hub or a folder. compiled: whether torch compiles the UNet."""
        library = StyleLibrary.open(styles)
        opened = Accelerator.open(accelerator) if accelerator else None
        return cls(
            Base.open(base, device=device, tiny=tiny, compiled=compiled), library, ip=IpAdapter.open(ip) if ip else None, accelerator=opened
        )

    def with_library(self, library: StyleLibrary) -> Stylizer:
        """The same base, under the same lock, with other styles."""
        other = copy.copy(self)
        other.library = library
        return other

    def add(self, style: Style) -> None:
        """Have `style` too, in the place of one added before under its name. StyleError for the name of a built-in one."""
        self.library = self.library.plus(style)

    def stylize(self, photo: Image.Image, recipe: Recipe) -> Stylized:
        """The photo restyled. Raises StyleError for an unknown style or a photo that cannot be used."""
        for event in self.steps(photo, recipe, preview=False):
            if isinstance(event, Stylized):
                return event
        raise AssertionError("steps() ended without a picture")

    def work(self, size: maps.Size, recipe: Recipe) -> float:
        """Millions of pixels times denoising steps that `recipe` asks for with a photo of `size` (W, H), and of pixels that are drawn.

        A hand draws at the photo's own size, each hand of the mix once. Raises StyleError for a style or a base that is not here.
        """
        self._check_base(recipe)
        self._check_styles(recipe)
        drawn = size[0] * size[1] * len(self._hands(recipe))
        cards = self._cards(recipe)
        if recipe.mix.names and not cards:
            return drawn / 1e6
        width, height = images.working_size(size, recipe.size)
        return (width * height * (recipe.num_inference_steps or default_steps(recipe, self.base.card, cards)) + drawn) / 1e6

    def steps(self, photo: Image.Image, recipe: Recipe, preview: bool = True) -> Iterator[StylizeStep | Stylized]:
        """Yield a StylizeStep before the first and after every denoising step, and after every band that is drawn, then the Stylized.

        The model paints at working size, under the lock; the hand draws at the photo's size, without it. Closing the generator cancels and
        leaves no trace.
        """
        started = time.perf_counter()
        self._check_base(recipe)
        recipe = recipe.with_(accelerator=self.accelerator)
        hands = self._hands(recipe)
        self._check_styles(recipe)
        photo = images.open_picture(photo)
        size = images.working_size(photo.size, recipe.size)
        present = _presence(recipe, photo.size)
        if present is None:  # nothing to do is the photo, not the codec's copy of it
            yield Stylized(image=photo, recipe=recipe, seconds=time.perf_counter() - started)
            return
        whole = present.getextrema()[0] >= maps.FAINT  # type: ignore[operator]
        working = photo if size == photo.size else photo.resize(size, Image.Resampling.LANCZOS)
        alpha = None if whole else _alpha(recipe, size, recipe.feather)
        painted, afterwards = working, recipe
        with self._lock, memory.told(self.base.device, size), torch.inference_mode():
            plan = self.plan(recipe, size)
            if plan.weights or not recipe.mix.names:
                # where the dial is the noise the model keeps the structure itself
                afterwards = recipe.with_(structure=0.0) if self.base.card.dial_is_noise else recipe
                self._make_resident(list(plan.weights), recipe)
                laid_in = self._underpainted(working, plan.weights, recipe)
                yield StylizeStep(step=0, total=len(plan.timesteps))
                with contextlib.closing(self._denoise(laid_in, recipe, plan)) as denoising:
                    for step in denoising:
                        last = step.step == step.total
                        seen = preview and (not hands or step.total >= SLOW)
                        if last:
                            pixels = self.base.decode(step.predicted, tiny=recipe.tiny_decoder)
                            painted = images.to_picture(_finite(images.take_from_grid(pixels, size)))
                        elif seen:
                            painted = images.to_picture(_finite(images.take_from_grid(self.base.preview(step.predicted), size)))
                        shown = self._shown(painted, working, afterwards, alpha) if seen else None
                        yield StylizeStep(step=step.step, total=step.total, preview=shown)
        drawn = [(hand, plan.amounts[name]) for name, hand in sorted(hands.items()) if np.any(plan.amounts[name])]  # in any order the same
        undrawn = any(np.any(weight) for name, weight in plan.weights.items() if name not in hands)
        result = photo
        if undrawn or not drawn:  # the model has the last word somewhere
            result = painted if painted.size == photo.size else painted.resize(photo.size, Image.Resampling.LANCZOS)
        if drawn:
            result = yield from _watched(draw_by_bands(result, painted, drawn, seed=recipe.seed, detail=recipe.detail))
        result = finish(result, photo, afterwards, lambda size, feather: _alpha(recipe, size, feather))
        if alpha is not None:
            result = images.paste_back(photo, result, maps.fade(alpha, present))
        yield Stylized(image=result, recipe=recipe, seconds=time.perf_counter() - started)

    def plan(self, recipe: Recipe, size: maps.Size) -> Plan:
        """What `steps` does for `recipe` on a picture of the working size `size` (W, H)."""
        return make_plan(recipe, self.base.card, self._cards(recipe), size, len(self.base.alphas_cumprod), self._hands(recipe))

    def paints(self, recipe: Recipe) -> bool:
        """Whether the model has a part in it. Raises StyleError for a style that is not here."""
        return not recipe.mix.names or any(self._is_painted(name, recipe) for name in recipe.mix.names)

    def _cards(self, recipe: Recipe) -> dict[str, Adapter]:
        """Style of the mix that the model paints -> its adapter's card."""
        return {name: self._card(name, recipe) for name in recipe.mix.names if self._is_painted(name, recipe)}

    def _hands(self, recipe: Recipe) -> dict[str, Hand]:
        """Style of the mix -> the hand that draws it."""
        if not recipe.hand:
            return {}
        base = ALIASES.get(self.base.name, self.base.name)
        hands = {}
        for name in recipe.mix.names:
            picture = recipe.picture(name)
            hands[name] = self.picture_dispatch.hand(picture) if picture else self._style(name).drawn_by(base)
        return {name: hand for name, hand in hands.items() if hand is not None}

    def _is_painted(self, name: str, recipe: Recipe) -> bool:
        """Whether the model has a part in the style `name` of the mix: not where a hand draws it from the photo."""
        base = ALIASES.get(self.base.name, self.base.name)
        return recipe.picture(name) is not None or not recipe.hand or self._style(name).painted_on(base)

    def _has_weights(self, name: str, recipe: Recipe) -> bool:
        """Whether the style `name` is an adapter inside the UNet, and not words alone or a picture that is looked at."""
        if recipe.picture(name):
            return self.picture_dispatch.has_general
        return self._card(name, recipe).kind in WEIGHTS

    def _style(self, name: str) -> Style:
        """A style of the library as the base can take it: without words where it reads none."""
        style = self.library[name]
        if self.base.reads_words:
            return style
        return replace(style, adapters=tuple(adapter for adapter in style.adapters if adapter.kind not in TOLD))

    def _shown(self, painted: Image.Image, working: Image.Image, recipe: Recipe, alpha: Image.Image | None) -> Image.Image:
        """The picture by now, at working size."""
        result = finish(painted, working, recipe, lambda size, feather: _alpha(recipe, size, feather))
        return result if alpha is None else images.paste_back(working, result, alpha)

    def _underpainted(self, working: Image.Image, weights: Mapping[str, float | maps.Floats], recipe: Recipe) -> torch.Tensor:
        """Pixels (1, 3, H, W) of the photo, with the underpainting that styles of the mix ask for, as thick as their weight."""
        photo = images.to_tensor(working)
        pixels = photo
        for name, weight in weights.items():
            first = self._card(name, recipe).underpainting
            if first and np.any(weight):
                pixels = pixels + torch.as_tensor(weight) * underpaint(photo, first, recipe.seed)
        return pixels

    def _denoise(self, pixels: torch.Tensor, recipe: Recipe, plan: Plan) -> Generator[sampling.SamplingStep, None, None]:
        """Denoise the photo with the styles of the mix inside the UNet, and take them out again when done or closed."""
        base = self.base
        latents = base.encode(images.place_on_grid(pixels, base.grid, plan.phases), tiny=recipe.tiny_decoder)
        seeded = torch.Generator("cpu").manual_seed(recipe.seed)
        noise = torch.randn(latents.shape, generator=seeded).to(latents)
        sampler = recipe.sampler or base.card.sampler
        solver = None if sampler == DDIM else Solver(sampler, base.scheduler.config, plan.timesteps, seeded)
        canvases = {name: self._on_canvas(weight, plan.phases) for name, weight in plan.weights.items()}
        looked = self._looked_at(recipe)
        likeness = {name: canvases[name] * self._card(name, recipe).likeness for name in looked}
        words = self._words(recipe, canvases)
        (neutral,) = self._embeds([None])
        inside: frozenset[str] | None = None
        unsaid = neutral

        def denoiser(noisy: torch.Tensor, timestep: int) -> torch.Tensor:
            nonlocal inside, unsaid
            joined = plan.joined(timestep)
            if joined != inside:
                mixed.close()
                weights = {name: canvases[name] for name in joined if self._has_weights(name, recipe)}
                mixed.enter_context(apply.applied(base.unet, weights))
                inside = joined
                if recipe.prompt is None:  # words of the user's own stand as they are
                    unsaid = deltas.prompt_embeds(base.unet, neutral, weights)
                speech.say([spoken for name, spoken in words.items() if name in joined or name == OWN_WORDS])
            if structure:
                structure.look(timestep)
            return speech.predict(denoise, noisy, timestep, unsaid)

        starts = self._on_latents(plan.starts, latents)
        structure = None
        if recipe.structure and base.card.dial_is_noise:
            structure = Structure(base, recipe.structure, latents, neutral, plan.timesteps[0], recipe.seed)
        speech = Speech(base)
        with contextlib.ExitStack() as mixed:
            paint = structure.paint(speech.denoise) if structure else speech.denoise
            begin, looking = self.picture_dispatch.looking(looked, likeness, latents, neutral, recipe.seed, paint)
            with looking as denoise:
                yield from sampling.sample(
                    denoiser, begin, noise, plan.timesteps, base.alphas_cumprod, base.prediction_type, starts, base.card.renoise, solver
                )

    def _words(self, recipe: Recipe, weights: Mapping[str, float | torch.Tensor]) -> dict[str, Spoken]:
        """Style -> what is said for it, of those that have words; with words of the user's own these, for all of them."""
        said = {name: card.words for name, card in self._cards(recipe).items() if card.words} if self.base.reads_words else {}
        if recipe.prompt is not None:
            first = next(iter(said.values()), None)
            asked, avoided = self._embeds([recipe.prompt, first.negative if first else None])
            guidance = recipe.guidance_scale or (first.guidance if first and not self.base.card.few_steps else 1.0)
            return {OWN_WORDS: Spoken(asked=asked, avoided=avoided, guidance=guidance, weight=1.0)}
        spoken = {}
        for name, words in said.items():
            asked, avoided = self._embeds([words.positive, words.negative], self._text_change(name, recipe))
            guidance = recipe.guidance_scale or (1.0 if self.base.card.few_steps else words.guidance)  # few steps have it in them
            spoken[name] = Spoken(asked=asked, avoided=avoided, guidance=guidance, weight=weights[name])
        return spoken

    def _text_change(self, name: str, recipe: Recipe) -> TextChange | None:
        """What the style `name` makes of the text encoder that reads its words."""
        card = self._card(name, recipe)
        if card.kind != LORA:
            return None
        if card.path not in self._text_changes:
            self._text_changes[card.path] = read_text_change(card.path, name, card.scale)
        return self._text_changes[card.path]

    def _embeds(self, prompts: Sequence[str | None], change: TextChange | None = None) -> list[torch.Tensor]:
        """(1, tokens, width) of each. With the first words those of all styles are read, so that the text encoder is loaded once."""
        if change is not None:
            return self.base.embed([prompt or "" for prompt in prompts], change)
        if any(prompt is not None and prompt not in self._prompts for prompt in prompts):
            words = [adapter.words for style in self.library for adapter in style.adapters if adapter.words and adapter.base != POCKET]
            texts = dict.fromkeys(["", *(text for said in words for text in (said.positive, said.negative)), *prompts])
            new = [text for text in texts if text is not None and text not in self._prompts]
            self._prompts.update(zip(new, self.base.embed(new), strict=True))
        if None in prompts and None not in self._prompts:
            self._prompts[None] = self.base.prompt_embeds()
        return [self._prompts[prompt] for prompt in prompts]

    def _check_base(self, recipe: Recipe) -> None:
        if ALIASES.get(recipe.base, recipe.base) != ALIASES.get(self.base.name, self.base.name):
            raise StyleError(f"The recipe is for the base {recipe.base}, but {self.base.name} is loaded: start with that base.")
        if recipe.accelerator not in (None, self.accelerator):
            loaded = f"{self.accelerator} is" if self.accelerator else "none is"
            raise StyleError(f"The recipe is for the accelerator {recipe.accelerator}, but {loaded} loaded: start with that one.")
        if recipe.tiny_decoder and self.base.tiny is None:
            raise StyleError("The recipe is for a tiny autoencoder, but none is loaded: start with one, or decode by the base's own.")

    def _check_styles(self, recipe: Recipe) -> None:
        for name in recipe.mix.names:
            if recipe.picture(name) is None and self._is_painted(name, recipe):
                self._card(name, recipe)

    def _on_canvas(self, weight: float | maps.Floats, phases: int) -> float | torch.Tensor:
        """A map where the model will see the picture: (phases, 1, H, W)."""
        if isinstance(weight, float):
            return weight
        return images.place_on_grid(torch.from_numpy(weight)[None, None], self.base.grid, phases).to(self.base.device)

    def _on_latents(self, starts: maps.Floats | None, latents: torch.Tensor) -> torch.Tensor | None:
        """Timesteps (H, W) of the picture as those of the latent pixels (N, 1, h, w)."""
        if starts is None:
            return None
        canvas = images.place_on_grid(torch.from_numpy(starts)[None, None], self.base.grid, len(latents))
        return torch.nn.functional.adaptive_avg_pool2d(canvas, (latents.shape[-2], latents.shape[-1])).round().to(latents)

    def _card(self, name: str, recipe: Recipe) -> Adapter:
        picture = recipe.picture(name)
        if picture is not None:
            return self.picture_dispatch.card(picture)
        return self._style(name).adapter(ALIASES.get(self.base.name, self.base.name))

    def _looked_at(self, recipe: Recipe) -> dict[str, tuple[StylePicture, ...]]:
        """Style of the mix -> the pictures that the base looks at while it paints: those of its card, or itself without an adapter."""
        looked = {}
        for name, card in self._cards(recipe).items():
            picture = recipe.picture(name)
            if picture is None and card.kind == PICTURES:
                for path in card.pictures:
                    if path not in self._paintings:
                        self._paintings[path] = StylePicture.of(path)
                looked[name] = tuple(self._paintings[path] for path in card.pictures)
            elif picture is not None and not self.picture_dispatch.has_general:
                looked[name] = (picture,)
        return looked

    def _make_resident(self, names: list[str], recipe: Recipe) -> None:
        """Have the adapters of `names` inside the UNet; beyond the limit, those that were used least recently go."""
        unet = self.base.unet
        here = apply.resident(unet)
        names = [name for name in names if self._has_weights(name, recipe)]
        for name in names:
            path, picture = self._card(name, recipe).path, recipe.picture(name)
            if name in here and self._used.get(name, path) != path:  # another revision took its place in the library
                apply.eject(unet, name)
                here = apply.resident(unet)
            if name not in here:
                apply.inject(unet, self.picture_dispatch.lora(picture) if picture else apply.read_adapter(path, name))
            self._used.pop(name, None)
            self._used[name] = path
        idle = [name for name in self._used if name not in names]
        for name in idle[: max(0, len(self._used) - self.max_resident)]:
            apply.eject(unet, name)
            del self._used[name]


def _finite(pixels: torch.Tensor) -> torch.Tensor:
    if not torch.isfinite(pixels).all():
        raise StyleError("The picture came out with numbers that are not finite: try another seed, or run in float32.")
    return pixels


def _watched(drawing: Generator[float, None, Image.Image]) -> Generator[StylizeStep, None, Image.Image]:
    """The picture that `drawing` returns; a StylizeStep for every share of it that is done."""
    with contextlib.closing(drawing):
        while True:
            try:
                done = next(drawing)
            except StopIteration as end:
                return end.value
            yield StylizeStep(step=round(100 * done), total=100, stage=DRAWING)


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
