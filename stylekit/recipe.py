"""Recipe: every setting that made one picture, to and from JSON and PNG metadata."""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from stylekit.base_card import POCKET, SAMPLERS
from stylekit.conditioning.words import GUIDANCE_RANGE
from stylekit.errors import EMPTY, PictureError, SettingError
from stylekit.images import MAX_PIXELS
from stylekit.maps import WeightMap
from stylekit.mix import StyleMix, check_count
from stylekit.ranges import check, ranged
from stylekit.storage.untrusted import UNUSABLE, Source, as_table, cut, name_problem, parse_json, shown
from stylekit.style_picture.picture import PICTURE_PREFIX, StylePicture

PNG_KEY = "stylekit"  # the text chunk that carries the recipe
# 2: maps, feather, structure, keep_colours and match_border; 3: style pictures; 4: the hand; 5: words, samplers, accelerators, the hand of
# style pictures; 6: what stands before the ground is cut out; 7: areas and lines of things, as a network sees where they end; 8: figure and
# ground, as another sees them; 9: borders and lines that are straight where things are; 10: accents, hair, small faces; 11: hair and skies
# in their own tone, lines left blank in black, contours of a brush; 12: things told one from another; 13: details in ink,
# eyes of animals, painted faces
FORMAT = 13
READABLE = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)
MAP_KEY = "png"  # a map in JSON is {"png": base64 of a greyscale PNG}
DEFAULT_SIZE = 768
DEFAULT_FEATHER = 0.01
FEATHER_LIMIT = 0.1
SIZE_RANGE = (64, 2048)
STEPS_RANGE = (1, 100)
SEED_LIMIT = 2**63
DETAIL_RANGE = (0.25, 4.0)
ENGINE_FORMAT = 13  # from which on recipes repeat their pictures on the pocket base
WORDS_FORMAT = 5  # from which on they do on other bases
BASE_LENGTH = 1024  # characters
PROMPT_LENGTH = 4000  # characters; text encoders read the first 77 words or so
MAX_BYTES = 32 * 2**20  # of a recipe as JSON; one with maps for 64 styles has 14 MB
CHUNK = re.compile(rb"[tzi][TE]Xt" + PNG_KEY.encode() + rb"[\0:]")  # a text of ours in a PNG file
WROTE = "use one that stylekit wrote"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All settings of one picture.

    mix: styles and weights. strength: the dial, 0 (the photo) to 1 (the full style), or a map of it; a base's card says what it means for
    that base. num_inference_steps: denoising steps, None for the base's own default. seed: of the noise. size: long side in pixels at which
    the model works; the result always has the photo's size. base: "pocket", a Hub id or a folder. prompt: words in the place of the styles'
    own. guidance_scale: how far the words lead, 1 for not at all; None for the styles' own. structure: 0 to 1, how much of the photo's own
    detail returns or, where a Stable Diffusion base paints, how far the photo's layout is held on to. keep_colours: 0 to 1, how far the
    colours are the photo's, the style's being of lightness only. match_border: whether what is painted meets the tone of what is left
    alone. feather: width, as a part of the long side, over which the painted passes into the photo and one style into the next. pictures:
    those that the mix names as styles; others are left out. hand: whether styles that have one are drawn by it; without, the picture is as
    the model leaves it. detail: factor on the lengths of the hand's marks, 0.25 (fine) to 4 (bold). sampler: of `base_card.SAMPLERS`, None
    for the base's or the accelerator's own. accelerator: the LoRA of few steps that is part of the base, None for none
    (`stylekit.inference.accelerator`). tiny_decoder: whether a small autoencoder encodes and decodes, which is quick and loses fine
    detail. format: of the recipe it was read from; the pictures of an older one come out differently (see `older`).

    Where strength or all weights are 0 the result has the photo's own pixels, in whatever a map says of them.
    """

    mix: StyleMix = field(default_factory=StyleMix)
    strength: float | WeightMap = ranged(1.0, 0, 1)
    num_inference_steps: int | None = ranged(None, *STEPS_RANGE, whole=True)
    seed: int = ranged(0, 0, SEED_LIMIT - 1, whole=True)
    size: int = ranged(DEFAULT_SIZE, *SIZE_RANGE, whole=True)
    base: str = POCKET
    prompt: str | None = None
    guidance_scale: float | None = ranged(None, *GUIDANCE_RANGE)
    structure: float = ranged(0.0, 0, 1)
    keep_colours: float = ranged(0.0, 0, 1)
    match_border: bool = False
    feather: float = ranged(DEFAULT_FEATHER, 0, FEATHER_LIMIT)
    pictures: tuple[StylePicture, ...] = ()
    hand: bool = True
    detail: float = ranged(1.0, *DETAIL_RANGE)
    sampler: str | None = None
    accelerator: str | None = None
    tiny_decoder: bool = False
    format: int = field(default=FORMAT, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "mix", StyleMix.of(self.mix))
        if isinstance(self.keep_colours, bool):  # a yes is all the way
            object.__setattr__(self, "keep_colours", float(self.keep_colours))
        check(self, leave=("strength",) if isinstance(self.strength, WeightMap) else ())
        if self.sampler is not None and self.sampler not in SAMPLERS:
            raise SettingError(f"The sampler is {shown(self.sampler)}: choose one of {', '.join(SAMPLERS)}.")
        if self.accelerator is not None:
            _check_text("accelerator", self.accelerator, BASE_LENGTH)
        for name in ("match_border", "hand", "tiny_decoder"):
            if not isinstance(getattr(self, name), bool):
                raise SettingError(f"{name} is {shown(getattr(self, name))}: choose true or false.")
        _check_text("base", self.base, BASE_LENGTH)
        if not self.base.strip():
            raise SettingError("The base is empty: use pocket, a Hub id or a folder.")
        if name_problem(self.base):
            raise SettingError(f"The base {shown(self.base)} {name_problem(self.base)}: use pocket, a Hub id or a folder.")
        if self.prompt is not None:
            _check_text("prompt", self.prompt, PROMPT_LENGTH)
        given = {picture.name: picture for picture in self.pictures}
        object.__setattr__(self, "pictures", tuple(given[name] for name in self.mix.names if name in given))
        missing = next((name for name in self.mix.names if name.startswith(PICTURE_PREFIX) and name not in given), None)
        if missing:
            raise SettingError(f"The mix names the style picture {missing}, which is not there: give the picture itself.")

    @property
    def older(self) -> str:
        """What to say of a recipe that an older version wrote; empty for one of this version."""
        if self.format >= (ENGINE_FORMAT if self.base == POCKET else WORDS_FORMAT):
            return ""
        return "This picture is of an older stylekit. Its styles have been drawn anew since, so it comes out differently."

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
        source = Source(what="The recipe", remedy=WROTE, bytes=MAX_BYTES, kind=SettingError)
        values = as_table(parse_json(text, source), source)
        version = values.setdefault("format", FORMAT)
        if isinstance(version, bool) or version not in READABLE:
            raise SettingError(
                f"The recipe has format {shown(version)}, this version reads {READABLE[0]} to {READABLE[-1]}: update stylekit."
            )
        unknown = sorted(set(values) - {f.name for f in fields(cls)})
        if unknown:
            raise SettingError(f"The recipe has unknown settings {_listed(unknown)}: use one that this version wrote.")
        if version < WORDS_FORMAT and values.get("guidance_scale") == 1 and values.get("prompt") is None:
            values["guidance_scale"] = None  # styles had no words that it could lead to
        try:
            if isinstance(values.get("mix"), dict):
                check_count(len(values["mix"]))  # before any map is opened
                values["mix"] = {name: _from_plain(weight) for name, weight in values["mix"].items()}
            texts = [*values.get("pictures", {}).values(), *pictures]
            check_count(len(texts))
            values["pictures"] = tuple(StylePicture.from_text(text) for text in texts)
            if "strength" in values:
                values["strength"] = _from_plain(values["strength"])
            return cls(**values)
        except (TypeError, AttributeError, ValueError, OverflowError) as error:
            source.refuse(f"has a setting of the wrong kind ({cut(str(error))})")

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
        """The recipe inside a PNG that stylekit wrote, before its pixels or, where another program has moved it, behind them."""
        text, pictures = _read_texts(Path(path))
        if text is None:
            raise SettingError(f"{Path(path).name} carries no recipe: use a PNG that stylekit wrote and no other program has saved since.")
        return cls.from_json(text, pictures)

    def with_(self, **changes: Any) -> Recipe:
        """A copy with some settings changed, checked again."""
        return replace(self, **changes)


def carries_recipe(path: Path) -> bool:
    """Whether the file is a PNG with a recipe in it, before or behind the pixels."""
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            return isinstance(picture.info.get(PNG_KEY), str) or any(chunk.endswith(b"\0") for chunk in _chunks(path))
    except Exception:  # Pillow raises many kinds on hostile headers; whatever is wrong is told where the picture is opened
        return False


def _read_texts(path: Path) -> tuple[str | None, list[str]]:
    """The recipe, None if there is none, and the style pictures beside it, as they stand in a picture file."""
    problem = name_problem(path)
    if problem:
        raise PictureError(f"The path {shown(str(path))} {problem}: check it.")
    try:
        if path.is_file() and not path.stat().st_size:
            raise PictureError(EMPTY.format(name=path.name))
        with Image.open(path) as picture:
            ours = [key for key in picture.info if isinstance(key, str) and key.startswith((PNG_KEY, f"{PNG_KEY}:"))]
            if picture.format == "PNG" and len(ours) < len(_chunks(path)):  # some are behind the pixels, which Pillow reads first
                if picture.width * picture.height > MAX_PIXELS:
                    raise PictureError(f"{path.name} has over {MAX_PIXELS // 1_000_000} million pixels: use a PNG from stylekit.")
                picture.load()
            text = picture.info.get(PNG_KEY)
            mark = f"{PNG_KEY}:{PICTURE_PREFIX}"
            pictures = [value for key, value in picture.info.items() if isinstance(key, str) and key.startswith(mark)]
    except FileNotFoundError:
        raise PictureError(f"{path} does not exist: check the path.") from None
    except PictureError:
        raise
    except Exception as error:
        raise PictureError(f"{path.name} is not a picture that can be read ({type(error).__name__}): use a PNG from stylekit.") from None
    return (str(text) if isinstance(text, str) else None), pictures


def _chunks(path: Path) -> list[bytes]:
    """The beginnings of what may be text chunks of ours, wherever they are in the file."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return CHUNK.findall(content)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(cut(name) for name in names[:5]) + more


def _to_plain(value: Any) -> Any:
    return {MAP_KEY: value.text} if isinstance(value, WeightMap) else value


def _from_plain(value: Any) -> Any:
    return WeightMap.from_text(value[MAP_KEY]) if isinstance(value, dict) and set(value) == {MAP_KEY} else value


def _check_text(name: str, value: object, length: int) -> None:
    if not isinstance(value, str):
        raise SettingError(f"{name} is {shown(value)}: write it as text.")
    if len(value) > length:
        raise SettingError(f"{name} is {shown(value)}, {len(value)} characters long: {length} are the most.")
    if UNUSABLE.search(value):
        raise SettingError(f"{name} is {shown(value)}: take out the characters that cannot be shown.")
