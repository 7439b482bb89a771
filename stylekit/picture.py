"""StylePicture: any picture as a style. It is kept small enough to travel inside a recipe, and everything is read off that small copy."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from PIL import Image

from stylekit.errors import PictureError, SettingError
from stylekit.images import open_picture

SIDE = 384  # pixels; long side of what is kept. A manner shows at that size, and a recipe stays small
LEAST_SIDE = 64  # pixels; in less there is no brushwork to be seen
QUALITIES = (90, 75, 50, 25)  # of the JPEG: the best that fits
MAX_BYTES = 200_000  # of the JPEG; only noise needs less than the first quality
PREFIX = "picture-"


@dataclass(frozen=True, kw_only=True)
class StylePicture:
    """jpeg: an RGB JPEG of at most `SIDE` pixels. Make one with `StylePicture.of`. Raises SettingError if it is no such file."""

    jpeg: bytes

    def __post_init__(self) -> None:
        try:
            with Image.open(io.BytesIO(self.jpeg), formats=("JPEG",)) as picture:
                right = picture.mode == "RGB" and max(picture.size) <= SIDE and len(self.jpeg) <= MAX_BYTES
                picture.load()
        except Exception:  # Pillow raises many kinds on hostile headers
            right = False
        if not right:
            raise SettingError(f"A style picture is not an RGB JPEG of at most {SIDE} pixels: use one that stylekit wrote.")

    @classmethod
    def of(cls, source: str | Path | bytes | IO[bytes] | Image.Image | StylePicture) -> StylePicture:
        """From a picture file or an open picture, upright, transparency on white. Raises PictureError if it cannot be used."""
        if isinstance(source, StylePicture):
            return source
        picture = open_picture(source)
        if min(picture.size) < LEAST_SIDE:
            raise PictureError(
                f"{_named(source)} is {picture.width} x {picture.height} pixels, too small to show a manner: "
                f"for a style picture both sides must have at least {LEAST_SIDE}."
            )
        picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        return cls(jpeg=next((jpeg for jpeg in (_encode(picture, q) for q in QUALITIES) if len(jpeg) <= MAX_BYTES), b""))

    @classmethod
    def from_text(cls, text: str) -> StylePicture:
        """Undo `text`."""
        try:
            return cls(jpeg=base64.b64decode(text, validate=True))
        except (binascii.Error, ValueError, TypeError):
            raise SettingError("A style picture in the recipe is damaged: use a recipe that stylekit wrote.") from None

    @property
    def text(self) -> str:
        """Base64 of the JPEG, for a recipe."""
        return base64.b64encode(self.jpeg).decode()

    @property
    def name(self) -> str:
        """What a mix calls it: ``picture-`` and a digest of its content, so that the same picture has the same name everywhere."""
        return PREFIX + hashlib.sha256(self.jpeg).hexdigest()[:12]

    @property
    def picture(self) -> Image.Image:
        """RGB, at most `SIDE` pixels."""
        return Image.open(io.BytesIO(self.jpeg)).convert("RGB")


def _encode(picture: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality, subsampling=0)
    return file.getvalue()


def _named(source: object) -> str:
    return Path(source).name if isinstance(source, (str, Path)) else "The picture"
