"""Recipe: every setting that made one picture, to and from JSON and PNG metadata."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from stylekit.errors import PictureError, SettingError
from stylekit.mix import StyleMix

PNG_KEY = "stylekit"  # the text chunk that carries the recipe
FORMAT = 1
DEFAULT_SIZE = 768
SIZE_RANGE = (64, 2048)
STEPS_RANGE = (1, 100)
SEED_LIMIT = 2**63


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All settings of one picture.

    mix: styles and weights. strength: the dial, 0 (the photo) to 1 (the full style); a base's card says what it means for that base.
    num_inference_steps: denoising steps, None for the base's own default. seed: of the noise. size: long side in pixels at which the
    model works; the result always has the photo's size. base: "pocket", a Hub id or a folder. prompt: None for the cached embedding.
    guidance_scale: 1 is guidance-free.
    """

    mix: StyleMix = field(default_factory=StyleMix)
    strength: float = 1.0
    num_inference_steps: int | None = None
    seed: int = 0
    size: int = DEFAULT_SIZE
    base: str = "pocket"
    prompt: str | None = None
    guidance_scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "mix", StyleMix.of(self.mix))
        _check_number("strength", self.strength, 0, 1)
        if self.num_inference_steps is not None:
            _check_whole("num_inference_steps", self.num_inference_steps, *STEPS_RANGE)
        _check_whole("seed", self.seed, 0, SEED_LIMIT - 1)
        _check_whole("size", self.size, *SIZE_RANGE)
        _check_number("guidance_scale", self.guidance_scale, 1, 30)
        if not self.base:
            raise SettingError("The base is empty: use pocket, a Hub id or a folder.")

    def to_json(self) -> str:
        values = asdict(self) | {"mix": dict(self.mix.weights), "format": FORMAT}
        return json.dumps(values, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        try:
            values: dict[str, Any] = json.loads(text)
            if not isinstance(values, dict):
                raise ValueError
        except ValueError:
            raise SettingError("The recipe is not valid JSON: use one that stylekit wrote.") from None
        version = values.pop("format", FORMAT)
        if version != FORMAT:
            raise SettingError(f"The recipe has format {version!r}, this version reads {FORMAT}: update stylekit.")
        unknown = sorted(set(values) - {f.name for f in fields(cls)})
        if unknown:
            raise SettingError(f"The recipe has unknown settings {', '.join(unknown)}: use one that this version wrote.")
        try:
            return cls(**values)
        except (TypeError, AttributeError, ValueError) as error:
            raise SettingError(f"The recipe has a setting of the wrong kind ({error}): use one that stylekit wrote.") from None

    def png_info(self) -> PngImagePlugin.PngInfo:
        """Metadata for ``Image.save(..., pnginfo=...)``."""
        info = PngImagePlugin.PngInfo()
        info.add_text(PNG_KEY, self.to_json())
        return info

    @classmethod
    def from_png(cls, path: str | Path) -> Recipe:
        """The recipe inside a PNG that stylekit wrote."""
        try:
            with Image.open(path) as picture:
                text = picture.info.get(PNG_KEY)
        except FileNotFoundError:
            raise PictureError(f"{path} does not exist: check the path.") from None
        except Exception as error:
            raise PictureError(f"{path} is not a picture that can be read ({type(error).__name__}): use a PNG from stylekit.") from None
        if not isinstance(text, str):
            raise SettingError(f"{path} carries no recipe: use a PNG that stylekit wrote and no other program has saved since.")
        return cls.from_json(text)

    def with_(self, **changes: Any) -> Recipe:
        """A copy with some settings changed, checked again."""
        return replace(self, **changes)


def _check_number(name: str, value: object, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or not low <= value <= high:
        raise SettingError(f"{name} is {value!r}: choose a number from {low:g} to {high:g}.")


def _check_whole(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise SettingError(f"{name} is {value!r}: choose a whole number from {low} to {high}.")
