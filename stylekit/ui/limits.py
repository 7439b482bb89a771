"""What one visitor may ask of the server: counts, sizes and the shape of a request's body, all checked before any work is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

from PIL import Image

from stylekit.errors import PictureError, SettingError
from stylekit.formats import identify

MEGA = 1_000_000


class RequestRefused(Exception):
    """A request's body that is not read further. status: of the HTTP answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Limits:
    """work: millions of pixels times denoising steps, and of pixels that are drawn, that one picture may take, on the page too. regions,
    styles: most in one call of `/stylize`. mask_bytes: of a mask's file. mask_pixels: of a mask, width times height. body_bytes: of a
    request that is no upload. body_values: values in its JSON. body_depth: how deep they are nested.
    photos: that the page makes in one go. sheet: pictures on one sheet of the page.

    The defaults suit a machine of one's own; `strict` is for a Space, which strangers use.
    """

    work: int = 500  # all that a recipe can ask for, 2048 x 2048 pixels in 100 steps and 64 million pixels drawn
    regions: int = 16
    styles: int = 32
    mask_bytes: int = 20 * MEGA
    mask_pixels: int = 64 * MEGA
    body_bytes: int = 16 * MEGA  # the page sends what was painted, a PNG of up to 12 MB as text
    body_values: int = 20_000
    body_depth: int = 32
    photos: int = 200
    sheet: int = 100

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SettingError(f"The limit {name} is {value!r}: give a whole number of at least 1.")

    @classmethod
    def strict(cls) -> Limits:
        return cls(work=16, regions=6, styles=8, mask_bytes=4 * MEGA, mask_pixels=16 * MEGA, photos=12, sheet=16)

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Limits:
        """As the environment says: `strict` where SPACE_ID is set, each replaced by a number in STYLEKIT_LIMIT_ and its name."""
        limits = cls.strict() if "SPACE_ID" in environment else cls()
        given: dict[str, int] = {}
        for field in fields(cls):
            name = f"STYLEKIT_LIMIT_{field.name.upper()}"
            text = environment.get(name, "")
            if not text:
                continue
            if not text.isdecimal() or not text.isascii() or int(text) < 1:
                raise SettingError(f"{name} is {text!r}: give a whole number of at least 1.")
            given[field.name] = int(text)
        return replace(limits, **given)

    def check_mask(self, path: Path, what: str) -> None:
        """By the file's size and its header, without reading its pixels. Raises PictureError."""
        size = path.stat().st_size if path.is_file() else 0
        if size > self.mask_bytes:
            raise PictureError(f"{what} has {size:,} bytes, over {self.mask_bytes:,}: make it smaller, or save it as PNG.")
        try:
            with identify(path, what) as picture:
                width, height = picture.size
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, PictureError):
            return  # whoever opens it says what is wrong
        if width * height > self.mask_pixels:
            raise PictureError(f"{what} is {width} x {height}, over {self.mask_pixels / MEGA:g} million pixels: make it smaller first.")

    def check_length(self, length: int) -> None:
        """length: of a body, in bytes, as far as it is known. Raises RequestRefused."""
        if length > self.body_bytes:
            raise RequestRefused(413, f"The request is larger than {self.body_bytes:,} bytes: upload pictures as files.")

    def check_json(self, body: bytes) -> None:
        """Refuse what a parser would take long over, in time that grows with the bytes alone: 10 ms for 10 MB. Raises RequestRefused.

        This does not say that the body is JSON; where it is, what is counted here is what the parser will find.
        """
        if b"\0" in body:
            raise RequestRefused(400, "The request is not text in UTF-8: send JSON in UTF-8.")
        bare = body.replace(b"\\\\", b"").replace(b'\\"', b"")  # escapes; every quote left begins or ends a string
        if bare.count(b'"') > 4 * self.body_values:
            raise self._too_many()
        marks = b"".join(bare.split(b'"')[::2]).translate(None, _NO_MARKS)
        if len(marks) - marks.count(b"]") - marks.count(b"}") > self.body_values:
            raise self._too_many()
        depth = deepest = 0
        for mark in marks.translate(None, b","):
            depth += 1 if mark in b"[{" else -1
            deepest = max(deepest, depth)
        if deepest > self.body_depth:
            raise RequestRefused(400, f"The request's JSON is nested {deepest} deep: nest at most {self.body_depth}.")

    def _too_many(self) -> RequestRefused:
        return RequestRefused(400, f"The request's JSON holds over {self.body_values:,} values: send less.")


_NO_MARKS = bytes(set(range(256)) - set(b"[]{},"))
