"""From the numbers in a picture file to 8 bits of sRGB, or of a mask.

Numbers of more than 8 bits are scaled by the range they use, colours are converted by the file's own profile whatever the mode, and only
then is transparency laid on a ground.
"""

from __future__ import annotations

import functools
import io
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

WHITES = (1, 255, 1023, 4095, 16383, 65535)  # the greatest numbers of 1, 8, 10, 12, 14 and 16 bits
FEW_LIGHTS = 0.01  # share of values beyond white that are lights, and no other range
DARK = 0.25  # part of white under which the brightest value says that white is another number
NEGATIVE = 0.05  # part of the greatest value that rounding and sharpening reach below 0
FAINT_MASK = 128  # of 255; a mask that stays below is not what it is meant to be
PROFILE_DATE = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)  # the same in every profile, so that the same picture has the same bytes

Numbers = npt.NDArray[Any]
Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a file says of its numbers and a converted copy does not. white: the number that is white, None if untold; inverted: 0 is;
    unsigned: 32 bits without a sign, which Pillow reads as if they had one."""

    white: int | None = None
    inverted: bool = False
    unsigned: bool = False

    @classmethod
    def of(cls, picture: Image.Image) -> Facts:
        tags = getattr(picture, "tag_v2", {})
        bits, photometric = tags.get(258), tags.get(262)
        single = picture.mode.startswith("I;16")
        return cls(
            white=2 ** bits[0] - 1 if single and bits and 8 < bits[0] < 16 else None,
            inverted=single and photometric == 0,  # WhiteIsZero, which Pillow heeds in 8 bits only
            unsigned=picture.mode == "I" and bits == (32,) and tags.get(339, (1,)) == (1,),
        )


def is_wide(picture: Image.Image) -> bool:
    """Whether it holds one number of more than 8 bits for every pixel."""
    return picture.mode.startswith("I;16") or picture.mode in ("I", "F")


def to_rgb(picture: Image.Image, facts: Facts) -> tuple[Image.Image, str | None]:
    """RGB in sRGB, transparency on white; and what to tell about its range.

    Raises ValueError for pictures without one finite number.
    """
    colours, alpha, note = _apart(picture, facts)
    rgb = _managed(colours, picture.info.get("icc_profile"))
    return (rgb if alpha is None else Image.composite(rgb, Image.new("RGB", rgb.size, "white"), alpha)), note


def to_grey(picture: Image.Image, facts: Facts) -> tuple[Image.Image, str | None]:
    """The numbers of a mask in mode L, whatever its profile; transparency on black; and what to tell about its range."""
    colours, alpha, note = _apart(picture, facts)
    grey = colours.convert("L")
    return (grey if alpha is None else Image.composite(grey, Image.new("L", grey.size), alpha)), note


def to_levels(values: Numbers, facts: Facts) -> tuple[npt.NDArray[np.uint8], str | None]:
    """Numbers of any type as 0..255, of the same shape; and what to tell, where the range had to be found in the numbers."""
    whole = np.issubdtype(values.dtype, np.integer)
    numbers: Floats = values.astype(np.float64 if values.dtype.itemsize > 2 and whole else np.float32)
    finite = np.isfinite(numbers)
    if not finite.any():
        raise ValueError("not one of its numbers is finite")
    low, top = float(numbers[finite].min()), float(numbers[finite].max())
    if not finite.all():
        numbers = np.nan_to_num(numbers, nan=low, posinf=top, neginf=low)
    whole = whole or bool(top > 1 and (numbers == np.round(numbers)).all())
    black, white, note = _range(numbers, low, top, whole, facts.white)
    levels = (np.clip((numbers - black) / (white - black), 0, 1) * 255).round().astype(np.uint8)
    return (255 - levels if facts.inverted else levels), note


def whiten(mask: Image.Image) -> tuple[Image.Image, str | None]:
    """A mask (mode L) whose white is white; and what to tell, where it was not.

    One of two values is stretched. Raises ValueError with the reason for one that is faint in many.
    """
    low, top = mask.getextrema()
    if not 0 < top < FAINT_MASK:  # type: ignore[operator]
        return mask, None
    values = [value for value, count in enumerate(mask.histogram()) if count]
    if len(values) > 2 or values[0] not in (0, top):
        few = f"values {', '.join(map(str, values))}" if len(values) < 9 else f"{len(values)} values from {low} to {top}"
        raise ValueError(f"has {few} of 255, so that it is not clear what is white")
    return mask.point([0] * values[-1] + [255] * (256 - values[-1])), f"its brightest value is {top} of 255 and is taken as white"


@functools.cache
def profile() -> bytes:
    """An ICC profile of sRGB, for files that have no shorter way to say it; always the same bytes."""
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return made[:24] + PROFILE_DATE + made[36:]


def _range(numbers: Floats, low: float, top: float, whole: bool, white: int | None) -> tuple[float, float, str | None]:
    """(black, white, what to tell)."""
    values = "value" if whole else "number"
    if low < -NEGATIVE * max(top, 0) or (whole and top > WHITES[-1]):
        black = min(low, 0)
        if top <= black:
            top = black + 1
        return black, top, f"its {values}s from {low:.6g} to {top:.6g} are spread from black to white"
    if whole:
        if white is not None and top <= white:
            return 0, white, None
        white = next(known for known in WHITES if known >= top)
        told = f"its greatest {values} is {top:.0f} and {white} is taken as white" if top > 0 and white < WHITES[-1] else None
        return 0, white, told
    if top <= 1:
        if 0 < top < DARK:
            return 0, top, f"its greatest {values} is {top:.6g}, which is taken as white"
        return 0, 1, None
    beyond = float((numbers > 1).mean())
    if beyond <= FEW_LIGHTS:
        return 0, 1, f"{beyond:.2%} of its {values}s are over 1, up to {top:.6g}, and are white"
    return 0, top, f"its greatest {values} is {top:.6g}, which is taken as white"


def _apart(picture: Image.Image, facts: Facts) -> tuple[Image.Image, Image.Image | None, str | None]:
    """(colours without transparency, alpha in mode L or None, what to tell); colours stay numbers of the file's own profile."""
    if is_wide(picture):
        values = np.asarray(picture)
        values = values.view(np.uint32) if facts.unsigned else values
        levels, note = to_levels(values, facts)
        key = picture.info.get("transparency")
        clear = Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)) if isinstance(key, int) else None
        return Image.fromarray(levels), clear, note
    if picture.has_transparency_data:
        rgba = (picture.convert("LA") if picture.mode == "La" else picture).convert("RGBA")
        grey = picture.mode in ("1", "L", "LA", "La")
        return rgba.convert("RGB").getchannel("R") if grey else rgba.convert("RGB"), rgba.getchannel("A"), None
    return picture if picture.mode in ("L", "RGB", "CMYK", "LAB") else picture.convert("L" if picture.mode == "1" else "RGB"), None, None


def _managed(colours: Image.Image, embedded: bytes | None) -> Image.Image:
    """RGB in sRGB by the embedded profile; by the numbers as they are where it is broken, or of another kind than they."""
    if embedded:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(embedded))
            mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}.get(source.profile.xcolor_space.strip())
            if mode == colours.mode or (mode, colours.mode) == ("RGB", "L"):
                given = colours if mode == colours.mode else colours.convert("RGB")
                converted = ImageCms.profileToProfile(given, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
                if converted is not None:
                    return converted
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError, AttributeError):
            pass
    return colours.convert("RGB")
