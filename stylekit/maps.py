"""Weight maps: how much of something at every point of a picture; and the alpha by which a painted picture is laid back on its photo.

A mask, a blend, a region and a gradient are one thing here, a map from 0 to 1. A map belongs to a picture, not to a number of pixels: it is
stretched over whatever picture it is used on, smoothly, and never made binary.
"""

from __future__ import annotations

import base64
import binascii
import functools
import io
import logging
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops
from scipy.ndimage import distance_transform_edt

from stylekit.errors import SettingError
from stylekit.pixels import srgb

MAX_SIDE = 2048  # pixels; a larger map is shrunk
MAX_BYTES = 160_000  # of a map's PNG; a busier map is shrunk, so that five of them fit a picture's metadata
FAINT = 10  # of 255; the alpha fades with the weights below this, which keeps the specks of a JPEG mask out

Floats = npt.NDArray[np.float32]
Size = tuple[int, int]  # (width, height)

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class WeightMap:
    """A weight from 0 to 1 for every pixel, in steps of 1/255; png is a greyscale PNG (white = 1), as the recipe keeps it.

    Make one with `WeightMap.of`. Raises SettingError if png is no such picture.
    """

    png: bytes

    def __post_init__(self) -> None:
        try:
            with Image.open(io.BytesIO(self.png), formats=("PNG",)) as picture:
                right = picture.mode in ("1", "L") and max(picture.size) <= MAX_SIDE and len(self.png) <= MAX_BYTES
                picture.load()
        except Exception:  # Pillow raises many kinds on hostile headers
            right = False
        if not right:
            raise SettingError(f"A weight map is not a greyscale PNG of at most {MAX_SIDE} pixels: use one that stylekit wrote.")

    @classmethod
    def of(cls, values: Image.Image | npt.NDArray[np.generic] | WeightMap) -> WeightMap:
        """From a picture (white = 1), or an array (H, W) of bool, of uint8 (255 = 1) or of floats from 0 to 1.

        One too large or too busy to keep is shrunk; what touches a 0 in it stays 0. Of a picture or uint8 that holds nothing but 0 and 1
        the 1 is taken as white, and that is logged, as is the range of a picture of more than 8 bits.
        """
        if isinstance(values, WeightMap):
            return values
        picture = _grey(values) if isinstance(values, Image.Image) else _picture(np.asarray(values))
        if picture.getextrema()[1] == 1 and not (isinstance(values, np.ndarray) and values.dtype != np.uint8):
            log.warning("A weight map holds 0 and 1 of 255: 1 is taken as white.")
            picture = picture.point([0] + [255] * 255)
        picture = _shrunk(picture, min(1.0, MAX_SIDE / max(picture.size)))
        while len(png := _encode(picture)) > MAX_BYTES:
            picture = _shrunk(picture, 0.5)
        return cls(png=png)

    @classmethod
    def from_text(cls, text: str) -> WeightMap:
        """Undo `text`."""
        try:
            return cls(png=base64.b64decode(text, validate=True))
        except (binascii.Error, ValueError, TypeError):
            raise SettingError("A weight map in the recipe is damaged: use a recipe that stylekit wrote.") from None

    @property
    def text(self) -> str:
        """Base64 of the PNG, for a recipe in JSON."""
        return base64.b64encode(self.png).decode()

    @property
    def picture(self) -> Image.Image:
        """Mode L, white = 1."""
        return _decode(self.png).copy()

    @property
    def array(self) -> Floats:
        """(H, W) float32 in 0..1."""
        return np.asarray(self.picture, np.float32) / np.float32(255)

    @property
    def size(self) -> Size:
        return _decode(self.png).size

    @property
    def extremes(self) -> tuple[float, float]:
        """The least and the greatest weight."""
        low, high = self.picture.getextrema()
        return float(low) / 255, float(high) / 255  # type: ignore[arg-type]

    @property
    def mean(self) -> float:
        return float(self.array.mean())

    def at(self, size: Size) -> Floats:
        """(H, W) float32 in 0..1 for a picture of `size`: averaged where it shrinks, interpolated where it grows."""
        picture = self.picture
        if picture.size != size:
            shrinks = size[0] * size[1] < picture.width * picture.height
            picture = picture.resize(size, Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR)
        return np.asarray(picture, np.float32) / np.float32(255)

    def times(self, factor: float) -> WeightMap:
        """The map with every weight multiplied by `factor`, 0..1."""
        return self if factor == 1 else WeightMap.of(self.array * factor)


def presence(weights: list[float | WeightMap], size: Size) -> Image.Image:
    """The greatest of `weights` at every pixel of a picture of `size`, mode L.

    Pixels are those of the map nearest by: where all weights are 0 there, this is 0, with nothing interpolated from next door.
    """
    greatest = Image.new("L", size, round(255 * min(1.0, max((w for w in weights if not isinstance(w, WeightMap)), default=0.0))))
    for weight in weights:
        if isinstance(weight, WeightMap):
            greatest = ImageChops.lighter(greatest, weight.picture.resize(size, Image.Resampling.BOX))
    return greatest


def feather(present: Image.Image, radius: float) -> Image.Image:
    """Alpha (mode L) that is exactly 0 where `present` is, and rises smoothly to 255 within `radius` pixels inside it.

    What is thinner than that rises as far as its own middle, so that a fine stroke keeps its style.
    """
    inside = np.asarray(present) > 0
    depth = distance_to_zero(inside, math.ceil(radius) + 1) - 0.5  # from the border, which runs between two pixels
    reach = np.clip(_greatest_within(depth, math.ceil(radius)), 0.5, max(radius, 0.5))
    rise = np.clip(depth / reach, 0, 1)
    return Image.fromarray((rise * rise * (3 - 2 * rise) * 255).round().astype(np.uint8))


def fade(alpha: Image.Image, present: Image.Image) -> Image.Image:
    """`alpha`, stretched over `present`, times how much is there: exactly 0 where nothing is, whole from `FAINT` on."""
    if alpha.size != present.size:
        alpha = alpha.resize(present.size, Image.Resampling.BILINEAR)
    return ImageChops.multiply(alpha, present.point([min(255, level * 255 // FAINT) for level in range(256)]))


def distance_to_zero(inside: npt.NDArray[np.bool_], limit: int) -> Floats:
    """Exact Euclidean distance in pixels from every pixel to the nearest that is not `inside`, at most `limit`; 0 outside."""
    if inside.all():
        return np.full(inside.shape, limit, np.float32)
    return np.minimum(distance_transform_edt(inside), limit).astype(np.float32)


def soften_borders(weights: Floats, radius: float) -> Floats:
    """Maps (styles, H, W) whose borders with each other are blurred by `radius` pixels; the sum at every pixel stays what it was."""
    total = weights.sum(0, keepdims=True)
    import torch  # when it is needed: the page comes up without it

    from stylekit.pixels.filters import blur

    blurred = blur(torch.from_numpy(weights)[None], radius / 2)[0].numpy()
    shared = blurred.sum(0, keepdims=True)
    return np.where(shared > 1e-6, blurred * total / np.maximum(shared, 1e-6), weights).astype(np.float32)


def _greatest_within(values: Floats, reach: int) -> Floats:
    """The greatest value in the square of side 2 * reach + 1 around every pixel."""
    if reach < 1:
        return values
    import torch  # when it is needed: the page comes up without it
    from torch.nn import functional as F

    tensor = torch.from_numpy(values)[None, None]
    tensor = F.max_pool2d(tensor, (2 * reach + 1, 1), 1, (reach, 0))
    return F.max_pool2d(tensor, (1, 2 * reach + 1), 1, (0, reach))[0, 0].numpy()


def _picture(values: npt.NDArray[np.generic]) -> Image.Image:
    if values.ndim != 2 or not values.size:
        raise SettingError(f"A weight map has shape {values.shape}: give one weight a pixel, (height, width).")
    if values.dtype == np.uint8:
        return Image.fromarray(values)
    if values.dtype != np.bool_ and not np.issubdtype(values.dtype, np.floating):
        raise SettingError(f"A weight map has numbers of type {values.dtype}: use floats from 0 to 1, or uint8.")
    weights = values.astype(np.float32)
    if not np.isfinite(weights).all():
        raise SettingError("A weight map holds NaN or infinite numbers: use weights from 0 to 1.")
    if weights.min() < 0 or weights.max() > 1:
        raise SettingError(f"A weight map holds weights from {weights.min():g} to {weights.max():g}: use weights from 0 to 1.")
    return Image.fromarray((weights * 255).round().astype(np.uint8))


def _grey(picture: Image.Image) -> Image.Image:
    try:
        grey, note = srgb.to_grey(picture, srgb.Facts.of(picture))
    except ValueError as error:
        raise SettingError(f"A weight map cannot be read ({error}): use a picture in which white is the style.") from None
    if note:
        log.warning("A weight map: %s.", note)
    return grey


def _shrunk(picture: Image.Image, factor: float) -> Image.Image:
    """Averaged down; a pixel that would cover a 0 is 0."""
    size = max(1, round(picture.width * factor)), max(1, round(picture.height * factor))
    if size == picture.size:
        return picture
    zeros = picture.point([255] + [0] * 255).resize(size, Image.Resampling.BOX)
    return ImageChops.darker(picture.resize(size, Image.Resampling.BOX), zeros.point([255] + [0] * 255))


@functools.lru_cache(maxsize=8)
def _decode(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png)).convert("L")


def _encode(picture: Image.Image) -> bytes:
    levels = [level for level, count in enumerate(picture.histogram()) if count]
    file = io.BytesIO()
    kept = picture.convert("1", dither=Image.Dither.NONE) if set(levels) <= {0, 255} else picture
    kept.save(file, format="PNG", optimize=True)
    return file.getvalue()
