"""Pictures saved as PNG, JPEG or WebP, each with the recipe in it, the colours named, and the dots per inch where it is for a print."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image
from PIL.ExifTags import Base

from stylekit.errors import PictureError
from stylekit.images import placed, save_png
from stylekit.pixels import srgb
from stylekit.results.carriers import Named

ENDINGS: Mapping[str, str] = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}  # format -> how a result's name ends
FORMATS: Mapping[str, str] = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}  # what a name may end in
QUALITY = {"jpeg": 93, "webp": 92}  # fine lines and flat fields stay clean
INCHES = 2  # EXIF's number for the unit
MOST_SIDE = {"jpeg": 65_500, "webp": 16_383}  # pixels that the formats hold


def save(picture: Image.Image, path: Path, named: Named, *, dpi: int | None = None, replace: bool = True) -> Path:
    """Save in the format that `path` ends in, as `images.save_png` does. Raises PictureError."""
    kind = format_of(path)
    if kind == "png":
        return save_png(picture, path, named, dpi=dpi, replace=replace)
    if max(picture.size) > MOST_SIDE[kind]:
        raise PictureError(
            f"The picture is {picture.width} x {picture.height}, and {kind.upper()} holds {MOST_SIDE[kind]} a side: use PNG."
        )
    with placed(path, replace) as part:
        if kind == "jpeg":
            dots = {"dpi": (dpi, dpi)} if dpi else {}
            extra = named.jpeg_segments()
            # all the colour: halved, thin coloured lines would smear
            picture.save(part, "JPEG", quality=QUALITY[kind], subsampling=0, icc_profile=srgb.profile(), extra=extra, **dots)
        else:
            exif = Image.Exif()
            if dpi:  # WebP has no other place for them
                exif[Base.XResolution] = exif[Base.YResolution] = float(dpi)
                exif[Base.ResolutionUnit] = INCHES
            picture.save(part, "WEBP", quality=QUALITY[kind], icc_profile=srgb.profile(), xmp=named.xmp(), exif=exif)
    return path


def format_of(path: Path) -> str:
    """ "png", "jpeg" or "webp". Raises PictureError for any other ending."""
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise PictureError(f"{path.name} does not end in {', '.join(list(FORMATS)[:-1])} or {list(FORMATS)[-1]}: these carry the recipe.")
    return kind
