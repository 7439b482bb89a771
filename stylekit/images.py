"""Pictures at the edge: open safely, bring upright, fit to the model's grid, convert to and from tensors, save whole.

Everything that can be wrong with a user's file is found here and told in one sentence. Inside stylekit pictures are PIL RGB at the
edges and float32 tensors (1, 3, H, W) in [-1, 1] within; `to_tensor` and `to_picture` are the only conversions.
"""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from stylekit.errors import EMPTY, PictureError, first_line
from stylekit.formats import NAMES, Say, identify
from stylekit.pixels import srgb
from stylekit.storage.files import aside

if TYPE_CHECKING:
    import torch

MAX_PIXELS = 64_000_000  # enough for a 60 MP camera; a decoded picture then takes 190 MB
MIN_SIDE = 16  # pixels
MASK_TOLERANCE = 0.02  # by how much a mask's width over height may differ from the photo's
MAX_ASPECT = 16  # long side over short side
GRID = 8  # pixels a latent stands for, in every Stable Diffusion base
DEEP = ("RGB;16", "RGBX;16", "RGBA;16", "LA;16")  # Pillow's raw modes of 16 bits in several bands, but for the byte order at the end
SRGB_CHUNK = b"\0"  # of a PNG: the colours are sRGB, with perceptual intent

Source = str | Path | bytes | IO[bytes] | Image.Image
Convert = Callable[[Image.Image, srgb.Facts], tuple[Image.Image, str | None]]

log = logging.getLogger(__name__)


class HasPngInfo(Protocol):
    """What a PNG can carry in its metadata, such as a Recipe."""

    def png_info(self) -> PngInfo: ...


def open_picture(source: Source, *, name: str = "", say: Say = log.warning) -> Image.Image:
    """Upright RGB copy in sRGB of a picture file, or of an open picture, first frame of an animation, transparency on white.

    name: of a source that has none of its own. say: is told what range of numbers was taken from black to white, where the file leaves
    that open. Raises PictureError if it is missing, empty, no picture, broken, too large, too small or too narrow.
    """
    opened = _open(source, name, say, srgb.to_rgb)
    if max(high for _, high in opened.getextrema()) == 1:  # type: ignore[misc]
        say(f"{_name(source, name)}: its brightest value is 1 of 255, so that it is black as a photo; a mask of 0 and 1 is read as a mask.")
    return opened


def open_mask(source: Source, *, name: str = "", say: Say = log.warning) -> Image.Image:
    """Upright greyscale copy (mode L, white = 255) of a mask; what is transparent counts as black.

    A mask of two values of which none is near white, as 0 and 1, is stretched to white, and `say` is told. Raises PictureError as
    `open_picture` does, for a mask of several values that are all far below white, and for one that is black everywhere.
    """
    grey = _open(source, name, say, srgb.to_grey)
    name = _name(source, name)
    try:
        white, note = srgb.whiten(grey)
    except ValueError as error:
        raise PictureError(f"{name} {error}: paint white where the style should be.") from None
    if note:
        say(f"{name}: {note}.")
    if not white.getbbox():
        raise PictureError(f"{name} is black everywhere: paint white where the style should be.")
    return white


def check_mask(mask: Image.Image, size: tuple[int, int], *, name: str, photo: str = "the photo") -> None:
    """PictureError unless `mask` has the shape of a photo of `size` (width, height)."""
    if abs(mask.width * size[1] / (mask.height * size[0]) - 1) > MASK_TOLERANCE:
        raise PictureError(f"{name} is {mask.width} x {mask.height} but {photo} is {size[0]} x {size[1]}: give it the photo's shape.")


def _open(source: Source, name: str, say: Say, convert: Convert) -> Image.Image:
    name = _name(source, name)
    if isinstance(source, Image.Image):
        _check_size(source, name)
        file = getattr(source, "filename", "")
        if _rawmode(source)[:-1] in DEEP and file and Path(file).is_file():  # no pixel is read yet: all 16 bits can still be had
            return _open(Path(file), name, say, convert)
        return _prepare(source, name, say, convert)
    _refuse_missing_and_empty(source, name)
    if isinstance(source, bytes):
        source = io.BytesIO(source)
    try:
        picture = identify(source, name)
    except PictureError:
        raise
    except Image.DecompressionBombError:
        raise PictureError(f"{name} has more than {MAX_PIXELS // 1_000_000} million pixels: make it smaller first.") from None
    except UnidentifiedImageError:
        raise PictureError(f"{name} is not a picture stylekit can read: use {NAMES}.") from None
    except PermissionError:
        raise PictureError(f"{name} may not be read: change its permissions.") from None
    except Exception as error:  # Pillow raises many kinds on hostile headers
        raise PictureError(f"{name} cannot be read ({first_line(error)}): save it again as JPEG or PNG.") from None
    with picture:
        _check_size(picture, name)
        return _prepare(picture, name, say, convert, _rawmode(picture), source)


def _name(source: Source, name: str) -> str:
    if not name and isinstance(source, (str, Path)):
        return Path(source).name or str(source)
    return name or Path(str(getattr(source, "name", "") or "The picture")).name


def _refuse_missing_and_empty(source: str | Path | bytes | IO[bytes], name: str) -> None:
    if isinstance(source, (str, Path)):
        path = Path(source)
        if path.is_dir():
            raise PictureError(f"{source} is a folder: name a picture in it.")
        if not path.exists():
            raise PictureError(f"{source} does not exist: check the path.")
        empty = path.stat().st_size == 0
    elif isinstance(source, bytes):
        empty = not source
    else:
        empty = not source.read(1)
        source.seek(0)
    if empty:
        raise PictureError(EMPTY.format(name=name))


def _check_size(picture: Image.Image, name: str) -> None:
    w, h = picture.size
    if w * h > MAX_PIXELS:
        raise PictureError(f"{name} is {w} x {h}, over {MAX_PIXELS // 1_000_000} million pixels: make it smaller first.")
    if min(w, h) < MIN_SIDE:
        raise PictureError(f"{name} is {w} x {h} pixels: both sides must have at least {MIN_SIDE}.")
    if max(w, h) > MAX_ASPECT * min(w, h):
        raise PictureError(f"{name} is {w} x {h} pixels, too narrow: no side may be over {MAX_ASPECT} times the other; crop it.")


def _prepare(
    picture: Image.Image, name: str, say: Say, convert: Convert, rawmode: str = "", again: str | Path | IO[bytes] = ""
) -> Image.Image:
    """`picture` upright and converted. rawmode: how its numbers lie in the file `again`, from which they can be read once more."""
    try:
        if getattr(picture, "is_animated", False) and picture.format != "HEIF":  # a HEIC opens with the picture it says is the main one
            picture.seek(0)
        picture.load()
        facts = srgb.Facts.of(picture)
        deep = _deep_numbers(picture, rawmode, again)
    except Exception as error:
        raise PictureError(f"{name} is damaged or cut off ({first_line(error)}): copy or download it again.") from None
    told = None
    if deep is not None:
        levels, told = srgb.to_levels(deep, facts)
        picture.paste(Image.fromarray(levels, picture.mode))
    try:
        upright = ImageOps.exif_transpose(picture)
    except Exception:  # unreadable EXIF: the pixels are still good
        upright = picture
    try:
        converted, note = convert(upright, facts)
    except Exception as error:
        raise PictureError(f"{name} has colours that cannot be converted ({first_line(error)}): save it again as RGB.") from None
    if told or note:
        say(f"{name}: {told or note}.")
    return _bare(converted)


def _rawmode(picture: Image.Image) -> str:
    """How the numbers of a file lie in it, in Pillow's words; nothing for a picture that is in memory already."""
    tile = getattr(picture, "tile", None)
    args = tile[0].args if tile else ""
    return args if isinstance(args, str) else str(args[0]) if args else ""


def _deep_numbers(picture: Image.Image, rawmode: str, again: str | Path | IO[bytes]) -> npt.NDArray[np.uint16] | None:
    """(H, W, bands) of a picture with 16 bits a band, where the 8 upper bits that Pillow keeps leave it dark; else None.

    Pillow's raw modes for the two byte orders take one byte each, so the lower byte is what the other of the two takes.
    """
    if rawmode[:-1] not in DEEP:
        return None
    upper = np.asarray(picture)
    if upper[..., :3].max() >= srgb.DARK * 256:
        return None
    if not isinstance(again, (str, Path)):
        again.seek(0)
    other = rawmode[:-1] + {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}[rawmode[-1]]
    if rawmode == "LA;16B":
        other = "RGBA"  # there is no LA;16L, but all four bytes of a pixel can be had
    with Image.open(again, formats=[str(picture.format)]) as second:
        second.tile = [tile._replace(args=_with_rawmode(tile.args, other)) for tile in second.tile]  # type: ignore[attr-defined]
        lower = np.asarray(second)
    numbers = upper.astype(np.uint16) << 8 | lower[..., [1, 1, 1, 3] if other == "RGBA" else slice(None)]
    if picture.mode == "RGBA":  # opacity has a range of its own
        alpha, _ = srgb.to_levels(numbers[..., 3], srgb.Facts())
        white = next(white for white in srgb.WHITES if white >= numbers[..., :3].max())
        numbers[..., 3] = alpha.astype(np.uint32) * white // 255
    return numbers


def _with_rawmode(args: Any, rawmode: str) -> Any:
    return (rawmode, *args[1:]) if isinstance(args, tuple) else rawmode


def _bare(picture: Image.Image) -> Image.Image:
    """A copy without metadata (place, camera, thumbnails)."""
    clean = Image.new(picture.mode, picture.size)
    clean.paste(picture)
    return clean


def working_size(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """(width, height) at which the model works: the photo's own aspect, its long side at most `long_side`, never enlarged."""
    w, h = size
    k = min(1.0, long_side / max(w, h))
    return max(1, round(w * k)), max(1, round(h * k))


def to_tensor(picture: Image.Image) -> torch.Tensor:
    """(1, 3, H, W) float32 in [-1, 1]."""
    import torch  # when it is needed: the page comes up without it

    array = np.array(picture.convert("RGB"), dtype=np.float32)
    return torch.from_numpy(array).permute(2, 0, 1)[None] / 127.5 - 1.0


def to_picture(pixels: torch.Tensor) -> Image.Image:
    """The first picture of (N, 3, H, W) in [-1, 1]; values beyond are clamped."""
    array = ((pixels[0].float().clamp(-1, 1) + 1) * 127.5).round().byte()
    return Image.fromarray(array.permute(1, 2, 0).cpu().numpy())


def mask_to_tensor(mask: Image.Image) -> torch.Tensor:
    """A mask in mode L as (1, 1, H, W) float32 in [0, 1]."""
    import torch  # when it is needed: the page comes up without it

    return torch.from_numpy(np.array(mask, dtype=np.float32))[None, None] / 255


def place_on_grid(pixels: torch.Tensor, multiple: int, phases: int = 1) -> torch.Tensor:
    """(1, C, H, W) -> (phases, C, H2, W2): copies on a mirrored canvas, each a bit further on.

    Its sides are multiples of `multiple`. None is a single column of them: oneDNN 3.12 reads memory that nobody wrote where it halves a map
    in bfloat16 down to one column, and the picture is not a number now and then.
    """
    import torch  # when it is needed: the page comes up without it

    offsets = _offsets(phases)
    h, w = pixels.shape[-2:]
    height = h + max(top for top, _ in offsets)
    width = w + max(left for _, left in offsets)
    height, width = height + -height % multiple, width + -width % multiple
    if width == multiple < height:
        width *= 2
    return torch.cat([_mirror(pixels, left, width - w - left, top, height - h - top) for top, left in offsets])


def take_from_grid(pixels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Undo `place_on_grid`: the mean (1, C, H, W) of the pictures of `size` (W, H) on the canvases (phases, C, H2, W2)."""
    import torch  # when it is needed: the page comes up without it

    w, h = size
    offsets = _offsets(len(pixels))
    return torch.stack([canvas[:, top : top + h, left : left + w] for canvas, (top, left) in zip(pixels, offsets, strict=True)]).mean(0)[
        None
    ]


def _offsets(phases: int) -> list[tuple[int, int]]:
    """(top, left) in pixels: evenly different ways (1, 2 or 4) for a picture to meet the grid of latents."""
    half = GRID // 2
    return [(0, 0), (half, half), (half, 0), (0, half)][:phases]


def _mirror(pixels: torch.Tensor, left: int, right: int, top: int, down: int) -> torch.Tensor:
    """Reflection padding of any width: mirroring cannot reach further than the picture, so small pictures take several rounds."""
    import torch  # when it is needed: the page comes up without it

    while left or right or top or down:
        h, w = pixels.shape[-2:]
        now = (min(left, w - 1), min(right, w - 1), min(top, h - 1), min(down, h - 1))
        pixels = torch.nn.functional.pad(pixels, now, mode="reflect")
        left, right, top, down = left - now[0], right - now[1], top - now[2], down - now[3]
    return pixels


def paste_back(photo: Image.Image, styled: Image.Image, alpha: Image.Image) -> Image.Image:
    """`styled` laid on `photo` by `alpha` (mode L, the photo's size); where it is 0 the photo's pixels come back bit for bit."""
    if styled.size != photo.size:
        styled = styled.resize(photo.size, Image.Resampling.LANCZOS)
    return Image.composite(styled, photo, alpha)


def save_png(
    picture: Image.Image, path: str | Path, recipe: HasPngInfo | None = None, *, dpi: int | None = None, replace: bool = True
) -> Path:
    """Save as PNG that says it is sRGB, with the recipe in its metadata; see `placed`. dpi: dots per inch, for a print."""
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise PictureError(f"{path.name} does not end in .png: name a PNG.")
    info = recipe.png_info() if recipe else PngInfo()
    info.add(b"sRGB", SRGB_CHUNK)
    dots = {"dpi": (dpi, dpi)} if dpi else {}
    with placed(path, replace) as part:
        picture.save(part, format="PNG", pnginfo=info, compress_level=4, **dots)
    return path


@contextmanager
def placed(path: Path, replace: bool) -> Iterator[Path]:
    """A place to write a picture to, aside; then it is renamed to `path`.

    Raises PictureError if it cannot be written, or is there already and not to be replaced.
    """
    try:
        with aside(path) as part:
            yield part
            if not replace and path.exists():
                raise PictureError(f"{path} is there already: name another place, or allow to replace it.")
    except OSError as error:
        raise PictureError(f"{path} cannot be written ({first_line(error)}): choose another place.") from None


def save_jpeg(picture: Image.Image, path: str | Path, quality: int) -> Path:
    """Save as JPEG that says it is sRGB. Raises OSError."""
    picture.save(path, "JPEG", quality=quality, icc_profile=srgb.profile())
    return Path(path)
