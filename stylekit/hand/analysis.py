"""What a painter looks at first: where contours run, where it is busy, and how dark it is.

Directions come from the structure tensor, smoothed as in Kang, Lee & Chui 2009 (https://doi.org/10.1109/TVCG.2008.81). All arrays are
float32; lengths are pixels of what is given.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Box = tuple[int, int, int, int]  # x, y, width, height in pixels
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
REST_PULL = 4e-5  # squared light per pixel squared: below it, a contour is weaker than the direction at rest
FINE_AREA = 3_000_000  # pixels; results below it are drawn larger and averaged


def fineness(size: tuple[int, int]) -> float:
    """Pixels drawn across one pixel of a result of size (W, H)."""
    return 1.5 if size[0] * size[1] <= FINE_AREA else 1


def band_rows(size: tuple[int, int]) -> int:
    """Rows of a result of size (W, H) to be drawn at once, an even number: half of a small one, about a million pixels of a large one."""
    w, h = size
    rows = max(16, min(int(1_000_000 / (w * fineness(size) ** 2)), -(-h // 2)))
    return rows + rows % 2


def lightness(photo: Floats) -> Floats:
    """(h, w) luma of (h, w, 3) sRGB, 0..1."""
    return np.ascontiguousarray(photo @ LUMA)


def blur(array: Floats, sigma: float) -> Floats:
    """Gaussian blur of (h, w) or (h, w, n) with a reflected border; sigma in pixels, 0 leaves the array as it is."""
    if sigma < 0.1:
        return array
    # a wide blur loses nothing at a smaller size
    factor = int(sigma / 4)
    h, w = array.shape[:2]
    if factor >= 2 and min(h, w) >= 4 * factor:
        small = cv2.resize(array, (max(1, round(w / factor)), max(1, round(h / factor))), interpolation=cv2.INTER_AREA)
        soft = cv2.GaussianBlur(small, (0, 0), sigma / factor, borderType=cv2.BORDER_REFLECT)
        return np.asarray(cv2.resize(soft, (w, h), interpolation=cv2.INTER_LINEAR), np.float32)
    return np.asarray(cv2.GaussianBlur(array, (0, 0), sigma, borderType=cv2.BORDER_REFLECT), np.float32)


def smoothstep(x: Floats | NDArray[np.float64], low: float, high: float) -> Floats:
    """0 up to low, 1 from high on, smooth between; low above high runs the other way."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def to_lab(rgb: Floats) -> Floats:
    """CIE Lab (L 0..100) of (..., w, 3) sRGB in 0..1."""
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(rgb, np.float32), cv2.COLOR_RGB2Lab), np.float32)


def to_rgb(lab: Floats) -> Floats:
    """sRGB in 0..1 of CIE Lab; colours outside the gamut are clipped."""
    return np.asarray(np.clip(cv2.cvtColor(np.ascontiguousarray(lab, np.float32), cv2.COLOR_Lab2RGB), 0, 1), np.float32)


def slopes(light: Floats) -> tuple[Floats, Floats, Floats]:
    """Products of the slopes of (h, w) light in 0..1, per pixel: xx, xy, yy."""
    soft = blur(light, 1.2)
    across = cv2.Scharr(soft, cv2.CV_32F, 1, 0, scale=1 / 32, borderType=cv2.BORDER_REFLECT)
    down = cv2.Scharr(soft, cv2.CV_32F, 0, 1, scale=1 / 32, borderType=cv2.BORDER_REFLECT)
    return across * across, across * down, down * down


def smoothed_tensor(products: tuple[Floats, Floats, Floats], reach: float) -> tuple[Floats, Floats, Floats]:
    """Products of `slopes` smoothed over `reach` pixels."""
    xx, xy, yy = (blur(product, reach) for product in products)
    return xx, xy, yy


def tensor(light: Floats, reach: float) -> tuple[Floats, Floats, Floats]:
    """Structure tensor of (h, w) light in 0..1, smoothed over `reach` pixels: xx, xy, yy."""
    return smoothed_tensor(slopes(light), reach)


def flow(light: Floats, reach: float, rest_degrees: float) -> Floats:
    """(h, w) angle along the contours of light, modulo pi, in radians from the horizontal (x right, y down).

    reach: pixels over which contours agree. rest_degrees: the angle where there are none."""
    return along(tensor(light, reach), rest_degrees)


def along(tensor: tuple[Floats, Floats, Floats], rest_degrees: float) -> Floats:
    """(h, w) angle along the contours of a structure tensor, see `flow`."""
    xx, xy, yy = tensor
    pull = 2 * math.radians(rest_degrees)
    return np.asarray(0.5 * np.arctan2(-2 * xy + REST_PULL * math.sin(pull), yy - xx + REST_PULL * math.cos(pull)), np.float32)


def coherence(light: Floats, reach: float) -> Floats:
    """(h, w) in 0..1: how much the contours within `reach` pixels agree in direction, 0 where there are none."""
    return agreement(tensor(light, reach))


def agreement(tensor: tuple[Floats, Floats, Floats]) -> Floats:
    """(h, w) in 0..1: how much the contours of a structure tensor agree, see `coherence`."""
    xx, xy, yy = tensor
    return np.asarray(np.sqrt((xx - yy) ** 2 + 4 * xy * xy) / (xx + yy + REST_PULL), np.float32)


def edges(light: Floats, sigma: float = 1.2) -> Floats:
    """(h, w) slope of light per pixel, after a blur of sigma pixels: about 0.02 on texture, above 0.08 on a strong contour."""
    soft = blur(light, sigma)
    across = cv2.Scharr(soft, cv2.CV_32F, 1, 0, scale=1 / 32, borderType=cv2.BORDER_REFLECT)
    down = cv2.Scharr(soft, cv2.CV_32F, 0, 1, scale=1 / 32, borderType=cv2.BORDER_REFLECT)
    return np.asarray(np.hypot(across, down), np.float32)


def busyness(light: Floats, reach: float = 5.0) -> Floats:
    """(h, w) in 0..1: how much small detail lies within `reach` pixels, 0 in a calm sky, 1 in a face's features."""
    return smoothstep(blur(edges(light, 0.8), reach), 0.010, 0.075)


def face_map(photo: Floats, boxes: list[Box]) -> Floats:
    """(h, w) in 0..1: 1 in the middle of every face (x, y, width, height) of `boxes`, falling softly to 0 around its head."""
    h, w = photo.shape[:2]
    result = np.zeros((h, w), np.float32)
    for x, y, width, height in boxes:
        # nothing of a face is further from its middle than that
        middle, centre = x + width / 2, y + height * 0.52
        left, right = max(0, math.floor(middle - 0.84 * width)), min(w, math.ceil(middle + 0.84 * width) + 1)
        top, bottom = max(0, math.floor(centre - 1.02 * height)), min(h, math.ceil(centre + 1.02 * height) + 1)
        across = (np.arange(left, right, dtype=np.float32) - middle) / (0.62 * width)
        down = (np.arange(top, bottom, dtype=np.float32) - centre) / (0.75 * height)
        far = np.hypot(across[None], down[:, None])
        part = result[top:bottom, left:right]
        np.maximum(part, smoothstep(far, 1.35, 0.75), out=part)
    return result


def opened(photo: Floats, median: float = 0.55) -> Floats:
    """(h, w, 3) photo with its dark tones opened until the median of its light is near `median`; a light photo stays as it is.

    The gain follows a smooth map of light that keeps to strong edges (a guided filter, He, Sun & Tang 2013,
    https://doi.org/10.1109/TPAMI.2012.213), so that texture keeps its contrast and no haloes arise. Black stays black."""
    light = np.clip(lightness(photo), 0, 1)
    middle = float(np.median(light))
    if middle >= median:
        return photo
    h, w = light.shape
    around = guided(light, light, max(1, round(0.04 * math.sqrt(h * w))), 0.01)
    around = np.clip(around, 0.01, 1)
    # a power of the surroundings: 1 where they are light anyway, strongest where dark; never more than a square root
    power = np.clip(math.log(median) / math.log(max(middle, 0.02)), 0.45, 1.0)
    wanted = around ** np.float32(power)
    gain = np.clip(wanted / around, 1, 4)
    # noise in black is not worth showing
    gain = 1 + (gain - 1) * smoothstep(around, 0.0, 0.06)
    result = photo * gain[..., None]
    # colours that would leave the gamut give way in light, not in hue
    top = result.max(-1, keepdims=True)
    return np.asarray(np.clip(result * np.where(top > 1, 1 / np.maximum(top, 1), 1), 0, 1), np.float32)


def resized(array: Floats, size: tuple[int, int], how: int = cv2.INTER_AREA) -> Floats:
    """(h, w) or (h, w, n) array at size (W, H)."""
    if (array.shape[1], array.shape[0]) == size:
        return array
    return np.asarray(cv2.resize(array, size, interpolation=how), np.float32)


def numbered(labels: NDArray[np.int32], size: tuple[int, int]) -> NDArray[np.int32]:
    """(h, w) whole numbers, below 2^24, at size (W, H), from the nearest pixels."""
    return np.asarray(cv2.resize(np.asarray(labels, np.float32), size, interpolation=cv2.INTER_NEAREST), np.int32)


def guided(array: Floats, guide: Floats, radius: int, epsilon: float) -> Floats:
    """(h, w) array smoothed within `radius` pixels but not across edges of guide whose variance is well above epsilon."""

    def mean(a: Floats) -> Floats:
        return np.asarray(cv2.blur(a, (2 * radius + 1, 2 * radius + 1), borderType=cv2.BORDER_REFLECT), np.float32)

    g, a = mean(guide), mean(array)
    slope = np.asarray((mean(guide * array) - g * a) / (mean(guide * guide) - g * g + epsilon), np.float32)
    return np.asarray(mean(slope) * guide + mean(np.asarray(a - slope * g, np.float32)), np.float32)


def enlarged(plane: Floats, size: tuple[int, int], top: int, rows: int) -> Floats:
    """Rows top .. top + rows of (h, w) or (h, w, n) enlarged to size (W, H) by straight lines; the same pixels however it is banded.

    It may be read only."""
    h, w = plane.shape[:2]
    if (w, h) == size:
        return np.asarray(plane[top : top + rows], np.float32)
    if (w, h) == (1, 1):
        return np.broadcast_to(np.asarray(plane, np.float32), (rows, size[0], *plane.shape[2:]))
    if plane.ndim == 2 and (edge := plane[0, 0]) == plane.max() == plane.min():
        return np.broadcast_to(np.float32(edge), (rows, size[0]))
    across = np.clip((np.arange(size[0]) + 0.5) * (w / size[0]) - 0.5, 0, w - 1)
    down = np.clip((np.arange(top, top + rows) + 0.5) * (h / size[1]) - 0.5, 0, h - 1)
    x0, y0 = np.floor(across).astype(np.intp), np.floor(down).astype(np.intp)
    x1, y1 = np.minimum(x0 + 1, w - 1), np.minimum(y0 + 1, h - 1)
    deep = (1,) * (plane.ndim - 2)
    fx, fy = (across - x0).astype(np.float32).reshape(-1, *deep), (down - y0).astype(np.float32).reshape(-1, 1, *deep)
    # across first, on the few rows of the plan that are needed
    first = int(y0[0])
    part = plane[first : int(y1[-1]) + 1]
    wide = _between(part.take(x0, 1), part.take(x1, 1), fx)
    return _between(wide.take(y0 - first, 0), wide.take(y1 - first, 0), fy)


def _between(one: Floats, other: Floats, share: Floats) -> Floats:
    """one + share * (other - one), into one."""
    other -= one
    other *= share
    one += other
    return one
