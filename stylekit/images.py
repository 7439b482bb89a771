"""Pictures at the edge: open safely, bring upright, fit to the model's grid, convert to and from tensors, save whole.

Everything that can be wrong with a user's file is found here and told in one sentence. Inside stylekit pictures are PIL RGB at the
edges and float32 tensors (1, 3, H, W) in [-1, 1] within; `to_tensor` and `to_picture` are the only conversions.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from stylekit.errors import PictureError

if TYPE_CHECKING:
    from stylekit.recipe import Recipe

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")  # bitmap formats only: nothing that runs a program
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".avif")
MAX_PIXELS = 64_000_000  # enough for a 60 MP camera; a decoded picture then takes 190 MB
MIN_SIDE = 16  # pixels
MAX_ASPECT = 16  # long side over short side
GRID = 8  # pixels a latent stands for, in every Stable Diffusion base


def open_picture(source: str | Path | bytes | IO[bytes] | Image.Image) -> Image.Image:
    """Upright RGB copy of a picture file, or of an open picture, first frame of an animation, transparency on white.

    Raises PictureError if it is missing, no picture, broken, too large, too small or too narrow.
    """
    return _open(source, _to_rgb)


def open_mask(source: str | Path | bytes | IO[bytes] | Image.Image) -> Image.Image:
    """Upright greyscale copy (mode L, white = 255) of a mask; what is transparent counts as black.

    Raises PictureError as `open_picture` does.
    """
    return _open(source, _to_grey)


def _open(source: str | Path | bytes | IO[bytes] | Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    if isinstance(source, Image.Image):
        picture, name = source, "The picture"
        _check_size(picture, name)
        return _prepare(picture, name, convert)
    if isinstance(source, bytes):
        source, name = io.BytesIO(source), "The picture"
    elif isinstance(source, (str, Path)):
        name = Path(source).name or str(source)
        path = Path(source)
        if path.is_dir():
            raise PictureError(f"{source} is a folder: name a picture in it.")
        if not path.exists():
            raise PictureError(f"{source} does not exist: check the path.")
        if path.stat().st_size == 0:
            raise PictureError(f"{name} is empty (0 bytes): copy or download it again.")
    else:
        name = Path(getattr(source, "name", "") or "The picture").name
    try:
        picture = Image.open(source, formats=FORMATS)
    except Image.DecompressionBombError:
        raise PictureError(f"{name} has more than {MAX_PIXELS // 1_000_000} million pixels: make it smaller first.") from None
    except UnidentifiedImageError:
        raise PictureError(f"{name} is not a picture stylekit can read: use JPEG, PNG, WebP, GIF, BMP or TIFF.") from None
    except PermissionError:
        raise PictureError(f"{name} may not be read: change its permissions.") from None
    except Exception as error:  # Pillow raises many kinds on hostile headers
        raise PictureError(f"{name} cannot be read ({_first_line(error)}): save it again as JPEG or PNG.") from None
    with picture:
        _check_size(picture, name)
        return _prepare(picture, name, convert)


def _check_size(picture: Image.Image, name: str) -> None:
    w, h = picture.size
    if w * h > MAX_PIXELS:
        raise PictureError(f"{name} is {w} x {h}, over {MAX_PIXELS // 1_000_000} million pixels: make it smaller first.")
    if min(w, h) < MIN_SIDE:
        raise PictureError(f"{name} is {w} x {h} pixels: both sides must have at least {MIN_SIDE}.")
    if max(w, h) > MAX_ASPECT * min(w, h):
        raise PictureError(f"{name} is {w} x {h} pixels, too narrow: no side may be over {MAX_ASPECT} times the other; crop it.")


def _prepare(picture: Image.Image, name: str, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    try:
        if getattr(picture, "is_animated", False):
            picture.seek(0)
        picture.load()
    except Exception as error:
        raise PictureError(f"{name} is damaged or cut off ({_first_line(error)}): copy or download it again.") from None
    try:
        upright = ImageOps.exif_transpose(picture)
    except Exception:  # unreadable EXIF: the pixels are still good
        upright = picture
    try:
        return convert(upright)
    except Exception as error:
        raise PictureError(f"{name} has colours that cannot be converted ({_first_line(error)}): save it again as RGB.") from None


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I;16") or picture.mode in ("I", "F"):
        values = np.asarray(picture, dtype=np.float32)
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
        top = float(values.max())
        # 16-bit data is scaled by its full range; floats by 1 or 255 if they fit, else by their own maximum
        scale = 65535.0 if picture.mode != "F" and top > 255 else 255.0 if top > 1 else 1.0
        if picture.mode == "F" and top > 255:
            scale = top
        return Image.fromarray((np.clip(values / scale, 0, 1) * 255).round().astype(np.uint8)).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    profile = picture.info.get("icc_profile")
    if profile and picture.mode in ("RGB", "CMYK", "L"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return _bare(converted)
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a broken or mismatched profile: take the numbers as they are
    return _bare(picture.convert("RGB"))


def _to_grey(picture: Image.Image) -> Image.Image:
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        return _bare(Image.alpha_composite(Image.new("RGBA", rgba.size, "black"), rgba).convert("L"))
    return _to_rgb(picture).convert("L")


def _bare(picture: Image.Image) -> Image.Image:
    """A copy without metadata (place, camera, thumbnails)."""
    clean = Image.new(picture.mode, picture.size)
    clean.paste(picture)
    return clean


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:120] if lines else type(error).__name__


def working_size(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """(width, height) at which the model works: the photo's own aspect, its long side at most `long_side`, never enlarged."""
    w, h = size
    k = min(1.0, long_side / max(w, h))
    return max(1, round(w * k)), max(1, round(h * k))


def to_tensor(picture: Image.Image) -> torch.Tensor:
    """(1, 3, H, W) float32 in [-1, 1]."""
    array = np.array(picture.convert("RGB"), dtype=np.float32)
    return torch.from_numpy(array).permute(2, 0, 1)[None] / 127.5 - 1.0


def to_picture(pixels: torch.Tensor) -> Image.Image:
    """The first picture of (N, 3, H, W) in [-1, 1]; values beyond are clamped."""
    array = ((pixels[0].float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return Image.fromarray(array.permute(1, 2, 0).cpu().numpy())


def mask_to_tensor(mask: Image.Image) -> torch.Tensor:
    """A mask in mode L as (1, 1, H, W) float32 in [0, 1]."""
    return torch.from_numpy(np.array(mask, dtype=np.float32))[None, None] / 255


def place_on_grid(pixels: torch.Tensor, multiple: int, phases: int = 1) -> torch.Tensor:
    """(1, C, H, W) -> (phases, C, H2, W2): copies on a mirrored canvas with sides in multiples of `multiple`, each a bit further on."""
    offsets = _offsets(phases)
    h, w = pixels.shape[-2:]
    height = h + max(top for top, _ in offsets)
    width = w + max(left for _, left in offsets)
    height, width = height + -height % multiple, width + -width % multiple
    return torch.cat([_mirror(pixels, left, width - w - left, top, height - h - top) for top, left in offsets])


def take_from_grid(pixels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Undo `place_on_grid`: the mean (1, C, H, W) of the pictures of `size` (W, H) on the canvases (phases, C, H2, W2)."""
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


def save_png(picture: Image.Image, path: str | Path, recipe: Recipe | None = None) -> Path:
    """Save as PNG, with the recipe in its metadata; written aside, then renamed."""
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise PictureError(f"{path.name} does not end in .png: only PNG can carry the recipe.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                picture.save(file, format="PNG", pnginfo=recipe.png_info() if recipe else None, compress_level=4)
            os.chmod(part, 0o644)
            os.replace(part, path)
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise PictureError(f"{path} cannot be written ({error.strerror or error}): choose another place.") from None
    return path
