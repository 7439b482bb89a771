"""Which picture files can be read: the one list that commands, training, evaluation and the page go by.

Bitmap formats only, nothing that runs a program. HEIC is read by pillow-heif, which is loaded when the first such file comes.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from PIL import Image, UnidentifiedImageError, features

from stylekit.errors import PictureError

FORMATS: Mapping[str, tuple[str, ...]] = {  # Pillow's name: endings of files
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "DIB": (".dib",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif", ".hif"),
}
SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
NAMES = "JPEG, PNG, WebP, GIF, BMP, TIFF, PPM, AVIF or HEIC"
FILE_TYPES = ("image", *SUFFIXES)  # what the page's upload fields take, in Gradio's words: browsers do not know every ending
TEXTS = (".txt", ".caption", ".json", ".jsonl", ".csv", ".md")  # what may lie beside pictures and is taken for none
TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
NAMED = 5  # files named of those that are left out

Say = Callable[[str], None]

log = logging.getLogger(__name__)


def identify(source: str | Path | IO[bytes], name: str) -> Image.Image:
    """Open a picture, whose pixels are not read yet. Raises PictureError for formats this installation cannot read, and Pillow's errors."""
    try:
        return Image.open(source, formats=[kind for kind in FORMATS if kind != "HEIF"])
    except UnidentifiedImageError:
        head = _head(source)
        kind = _iso_kind(head)
        if kind == "HEIF":
            return _open_heif(source, name)
        if kind == "AVIF" and not features.check("avif"):
            raise PictureError(f"{name} is AVIF, which Pillow here was built without: save it as JPEG or PNG.") from None
        if head.startswith(TIFF_HEADS):
            raise PictureError(f"{name} is a TIFF of numbers that cannot be read: save it with 8 or 16 bits a channel.") from None
        raise


def list_pictures(folder: Path, *, deep: bool = True, say: Say | None = None) -> list[Path]:
    """Picture files below `folder` (or, not `deep`, in it), by their endings, sorted by path.

    What else lies there is counted and named to `say`, by default once to the log; see `survey`.
    """
    pictures, others = survey(folder, deep=deep)
    if others:
        where = "" if deep else " in the folder itself"
        (say or _warn_once)(f"{folder.name or folder}: left out {count_and_name(others)}, since what is read is {NAMES}{where}.")
    return pictures


def survey(folder: Path, *, deep: bool = True) -> tuple[list[Path], list[str]]:
    """(picture files, names of what else is there) below `folder`, or, not `deep`, in it. What is hidden, and texts, is neither."""
    pictures, others = [], []
    for path in sorted(folder.rglob("*") if deep else folder.iterdir()):
        relative = path.relative_to(folder)
        if any(part.startswith(".") for part in relative.parts):
            continue
        if path.is_dir():
            others += [] if deep else [f"{relative.as_posix()}/"]
        elif path.suffix.lower() in SUFFIXES and path.is_file():
            pictures.append(path)
        elif path.suffix.lower() not in TEXTS:
            others.append(relative.as_posix())
    return pictures, others


def count_and_name(names: Sequence[str]) -> str:
    """``3 files (a, b, c)``; of many only the first are named."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{len(names)} file{'s' * (len(names) != 1)} ({', '.join(names[:NAMED])}{more})"


@functools.lru_cache(maxsize=256)
def _warn_once(text: str) -> None:
    log.warning(text)


def _open_heif(source: str | Path | IO[bytes], name: str) -> Image.Image:
    try:
        import pillow_heif
    except ImportError:
        raise PictureError(
            f"{name} is HEIC, and pillow-heif, which reads it, is not installed: install it, or save the picture as JPEG."
        ) from None
    pillow_heif.register_heif_opener()
    if not isinstance(source, (str, Path)):
        source.seek(0)
    return Image.open(source, formats=["HEIF"])


def _head(source: str | Path | IO[bytes]) -> bytes:
    if isinstance(source, (str, Path)):
        with Path(source).open("rb") as file:
            return file.read(64)
    source.seek(0)
    return source.read(64)


def _iso_kind(head: bytes) -> str:
    """HEIF or AVIF by the brands in the first box of the file (ISO/IEC 23008-12), or nothing."""
    if head[4:8] != b"ftyp":
        return ""
    box = head[8 : max(12, int.from_bytes(head[:4], "big"))]
    brands = {box[:4], *(box[i : i + 4] for i in range(8, len(box), 4))}
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    return "HEIF" if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"} else ""
