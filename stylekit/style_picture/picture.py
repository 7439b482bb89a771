"""StylePicture: any picture as a style. It is kept small enough to travel inside a recipe, and everything is read off that small copy."""

from __future__ import annotations

import base64
import binascii
import io
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from PIL import Image

from stylekit.errors import PictureError, SettingError
from stylekit.formats import Say
from stylekit.images import open_picture
from stylekit.storage import digests

KEPT_SIDE = 640  # pixels; long side of what is kept: as much as Stable Diffusion looks at, and a recipe stays small
MANNER_SIDE = 384  # pixels; long side at which a manner is read
LEAST_SIDE = 64  # pixels; in less there is no brushwork to be seen
QUALITIES = (90, 75, 50, 25)  # of the JPEG: the best that fits
MAX_BYTES = 300_000  # of the JPEG; only noise needs less than the first quality
PICTURE_PREFIX = "picture-"

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class StylePicture:
    """jpeg: an RGB JPEG of at most `KEPT_SIDE` pixels. Make one with `StylePicture.of`. Raises SettingError if it is no such file."""

    jpeg: bytes

    def __post_init__(self) -> None:
        try:
            with Image.open(io.BytesIO(self.jpeg), formats=("JPEG",)) as picture:
                right = picture.mode == "RGB" and max(picture.size) <= KEPT_SIDE and len(self.jpeg) <= MAX_BYTES
                picture.load()
        except Exception:  # Pillow raises many kinds on hostile headers
            right = False
        if not right:
            raise SettingError(f"A style picture is not an RGB JPEG of at most {KEPT_SIDE} pixels: use one that stylekit wrote.")

    @classmethod
    def of(cls, source: str | Path | bytes | IO[bytes] | Image.Image | StylePicture, *, say: Say = log.warning) -> StylePicture:
        """From a picture file or an open picture, as `open_picture` reads it. Raises PictureError if it cannot be used."""
        if isinstance(source, StylePicture):
            return source
        picture = open_picture(source, say=say)
        if min(picture.size) < LEAST_SIDE:
            raise PictureError(
                f"{_named(source)} is {picture.width} x {picture.height} pixels, too small to show a manner: "
                f"for a style picture both sides must have at least {LEAST_SIDE}."
            )
        picture.thumbnail((KEPT_SIDE, KEPT_SIDE), Image.Resampling.LANCZOS)
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
        return PICTURE_PREFIX + digests.of_bytes(self.jpeg, 12)

    @property
    def picture(self) -> Image.Image:
        """RGB, at most `MANNER_SIDE` pixels: for what reads a manner."""
        small = self.whole
        small.thumbnail((MANNER_SIDE, MANNER_SIDE), Image.Resampling.LANCZOS)
        return small

    @property
    def whole(self) -> Image.Image:
        """RGB, at most `KEPT_SIDE` pixels: for what looks at the picture itself."""
        return Image.open(io.BytesIO(self.jpeg)).convert("RGB")


def _encode(picture: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality, subsampling=0)
    return file.getvalue()


def _named(source: object) -> str:
    return Path(source).name if isinstance(source, (str, Path)) else "The picture"
