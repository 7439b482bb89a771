"""Recipe: every setting that made one picture, to and from JSON and PNG metadata."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from stylekit.errors import PictureError, SettingError
from stylekit.maps import WeightMap
from stylekit.mix import StyleMix
from stylekit.picture import PREFIX, StylePicture

PNG_KEY = "stylekit"  # the text chunk that carries the recipe
FORMAT = 3  # 2: maps, feather, structure, keep_colours and match_border; 3: style pictures
READABLE = (1, 2, 3)
MAP_KEY = "png"  # a map in JSON is {"png": base64 of a greyscale PNG}
DEFAULT_SIZE = 768
DEFAULT_FEATHER = 0.01
FEATHER_LIMIT = 0.1
SIZE_RANGE = (64, 2048)
STEPS_RANGE = (1, 100)
SEED_LIMIT = 2**63


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All settings of one picture.

    mix: styles and weights. strength: the dial, 0 (the photo) to 1 (the full style), or a map of it; a base's card says what it means for
    that base. num_inference_steps: denoising steps, None for the base's own default. seed: of the noise. size: long side in pixels at
    which the model works; the result always has the photo's size. base: "pocket", a Hub id or a folder. prompt: None for the cached
    embedding. guidance_scale: 1 is guidance-free. structure: 0 to 1, how much of the photo's own detail returns. keep_colours: 0 to 1, how
    far the colours are the photo's, the style's being of lightness only. match_border: whether what is painted meets the tone of what is
    left alone. feather: width, as a part of the long side, over which the painted passes into the photo and one style into the next.
    pictures: those that the mix names as styles; others are left out.

    Where strength or all weights are 0 the result has the photo's own pixels, in whatever a map says of them.
    """

    mix: StyleMix = field(default_factory=StyleMix)
    strength: float | WeightMap = 1.0
    num_inference_steps: int | None = None
    seed: int = 0
    size: int = DEFAULT_SIZE
    base: str = "pocket"
    prompt: str | None = None
    guidance_scale: float = 1.0
    structure: float = 0.0
    keep_colours: float = 0.0
    match_border: bool = False
    feather: float = DEFAULT_FEATHER
    pictures: tuple[StylePicture, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "mix", StyleMix.of(self.mix))
        if not isinstance(self.strength, WeightMap):
            _check_number("strength", self.strength, 0, 1)
        if self.num_inference_steps is not None:
            _check_whole("num_inference_steps", self.num_inference_steps, *STEPS_RANGE)
        _check_whole("seed", self.seed, 0, SEED_LIMIT - 1)
        _check_whole("size", self.size, *SIZE_RANGE)
        _check_number("guidance_scale", self.guidance_scale, 1, 30)
        _check_number("structure", self.structure, 0, 1)
        if isinstance(self.keep_colours, bool):  # a yes is all the way
            object.__setattr__(self, "keep_colours", float(self.keep_colours))
        _check_number("keep_colours", self.keep_colours, 0, 1)
        if not isinstance(self.match_border, bool):
            raise SettingError(f"match_border is {self.match_border!r}: choose true or false.")
        _check_number("feather", self.feather, 0, FEATHER_LIMIT)
        if not self.base:
            raise SettingError("The base is empty: use pocket, a Hub id or a folder.")
        given = {picture.name: picture for picture in self.pictures}
        object.__setattr__(self, "pictures", tuple(given[name] for name in self.mix.names if name in given))
        missing = next((name for name in self.mix.names if name.startswith(PREFIX) and name not in given), None)
        if missing:
            raise SettingError(f"The mix names the style picture {missing}, which is not there: give the picture itself.")

    @property
    def has_maps(self) -> bool:
        return self.mix.has_maps or isinstance(self.strength, WeightMap)

    def picture(self, style: str) -> StylePicture | None:
        """The picture that the mix calls `style`; None where that is a style of the library."""
        return next((picture for picture in self.pictures if picture.name == style), None)

    def to_json(self) -> str:
        return json.dumps(self._plain())

    def _plain(self) -> dict[str, Any]:
        values = {f.name: _to_plain(getattr(self, f.name)) for f in fields(self)} | {"format": FORMAT}
        values["mix"] = {name: _to_plain(weight) for name, weight in self.mix.weights}  # in their order
        values["pictures"] = {picture.name: picture.text for picture in self.pictures}
        return dict(sorted(values.items()))

    @classmethod
    def from_json(cls, text: str, pictures: Iterable[str] = ()) -> Recipe:
        """Undo `to_json`. pictures: texts of style pictures that were kept beside it."""
        try:
            values: dict[str, Any] = json.loads(text)
            if not isinstance(values, dict):
                raise ValueError
        except ValueError:
            raise SettingError("The recipe is not valid JSON: use one that stylekit wrote.") from None
        version = values.pop("format", FORMAT)
        if version not in READABLE:
            raise SettingError(f"The recipe has format {version!r}, this version reads {READABLE[0]} to {READABLE[-1]}: update stylekit.")
        unknown = sorted(set(values) - {f.name for f in fields(cls)})
        if unknown:
            raise SettingError(f"The recipe has unknown settings {', '.join(unknown)}: use one that this version wrote.")
        try:
            if isinstance(values.get("mix"), dict):
                values["mix"] = {name: _from_plain(weight) for name, weight in values["mix"].items()}
            texts = [*values.get("pictures", {}).values(), *pictures]
            values["pictures"] = tuple(StylePicture.from_text(text) for text in texts)
            if "strength" in values:
                values["strength"] = _from_plain(values["strength"])
            return cls(**values)
        except (TypeError, AttributeError, ValueError) as error:
            raise SettingError(f"The recipe has a setting of the wrong kind ({error}): use one that stylekit wrote.") from None

    def png_info(self) -> PngImagePlugin.PngInfo:
        """Metadata for ``Image.save(..., pnginfo=...)``. Every style picture has a chunk of its own, since readers limit a chunk's size."""
        info, values = PngImagePlugin.PngInfo(), self._plain()
        pictures: dict[str, str] = values.pop("pictures")
        info.add_text(PNG_KEY, json.dumps(values))
        for name, text in pictures.items():
            info.add_text(f"{PNG_KEY}:{name}", text)
        return info

    @classmethod
    def from_png(cls, path: str | Path) -> Recipe:
        """The recipe inside a PNG that stylekit wrote."""
        try:
            with Image.open(path) as picture:
                text = picture.info.get(PNG_KEY)
                mark = f"{PNG_KEY}:{PREFIX}"
                pictures = [value for key, value in picture.info.items() if isinstance(key, str) and key.startswith(mark)]
        except FileNotFoundError:
            raise PictureError(f"{path} does not exist: check the path.") from None
        except Exception as error:
            raise PictureError(f"{path} is not a picture that can be read ({type(error).__name__}): use a PNG from stylekit.") from None
        if not isinstance(text, str):
            raise SettingError(f"{path} carries no recipe: use a PNG that stylekit wrote and no other program has saved since.")
        return cls.from_json(text, pictures)

    def with_(self, **changes: Any) -> Recipe:
        """A copy with some settings changed, checked again."""
        return replace(self, **changes)


def _to_plain(value: Any) -> Any:
    return {MAP_KEY: value.text} if isinstance(value, WeightMap) else value


def _from_plain(value: Any) -> Any:
    return WeightMap.from_text(value[MAP_KEY]) if isinstance(value, dict) and set(value) == {MAP_KEY} else value


def _check_number(name: str, value: object, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or not low <= value <= high:
        raise SettingError(f"{name} is {value!r}: choose a number from {low:g} to {high:g}.")


def _check_whole(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise SettingError(f"{name} is {value!r}: choose a whole number from {low} to {high}.")
