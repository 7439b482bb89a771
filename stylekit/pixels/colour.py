"""Colour kept and tone matched, on pictures (1, 3, H, W) in [-1, 1].

Lightness and colour are taken apart in Oklab (Ottosson 2020, https://bottosson.github.io/posts/oklab/), where equal numbers look equal.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

TO_LMS = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
TO_LAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)
GAMUT_STEPS = 8  # halvings in the search for the strongest colour that fits
DETAIL = 8  # pixels; what is finer is not tone


def keep_colours(styled: torch.Tensor, photo: torch.Tensor, amount: float) -> torch.Tensor:
    """The lightness of `styled` with `amount` (0..1) of the way to the colours of `photo`; 1 is a style of lightness only.

    A colour that is too strong for its new lightness is weakened, hue unchanged, until it can be shown; clipping would shift it.
    """
    light, colour = _split(to_oklab(styled))
    wanted = torch.lerp(colour, _split(to_oklab(photo))[1], amount)
    low = _in_gamut(light, wanted).to(light)
    high = torch.ones_like(light)
    for _ in range(GAMUT_STEPS):
        middle = (low + high) / 2
        fits = _in_gamut(light, wanted * middle)
        low, high = torch.where(fits, middle, low), torch.where(fits, high, middle)
    return from_oklab(torch.cat([light, wanted * low], 1)).clamp(-1, 1)


def match_border(styled: torch.Tensor, photo: torch.Tensor, rim: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
    """`styled` with its tone bent to meet that of `photo` where the painted part ends.

    rim: (1, 1, H, W), over 0 along the inside of the border; there the difference of the two is read, without its detail, and carried
    smoothly into the inside, as a membrane would (Pérez et al. 2003, https://doi.org/10.1145/882262.882269), by averages over ever larger
    neighbourhoods (Gortler et al. 1996, https://doi.org/10.1145/237170.237200). near: (1, 1, H, W), how much of it is felt, from 1 at the
    border to 0 where the style is to keep its own tone.
    """
    if not (rim > 0).any():
        return styled
    known = _shrunk(rim, DETAIL)
    mean = _shrunk((photo - styled) * rim, DETAIL) / known.clamp_min(1e-6)
    offset = _spread(mean, known / known.max())
    return styled + near * F.interpolate(offset, styled.shape[-2:], mode="bilinear", align_corners=False)


def to_oklab(pixels: torch.Tensor) -> torch.Tensor:
    """sRGB (N, 3, H, W) in [-1, 1] to Oklab: lightness 0..1, then green-red and blue-yellow about -0.4..0.4."""
    value = ((pixels + 1) / 2).clamp(0, 1)
    linear = torch.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055).pow(2.4))
    return _times(TO_LAB, _times(TO_LMS, linear).clamp_min(0).pow(1 / 3))


def from_oklab(lab: torch.Tensor) -> torch.Tensor:
    """Undo `to_oklab`; colours that sRGB cannot show come out beyond [-1, 1]."""
    linear = _linear(lab)
    value = torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp_min(0.0031308).pow(1 / 2.4) - 0.055)
    return value * 2 - 1


def _linear(lab: torch.Tensor) -> torch.Tensor:
    return _times(_inverse(TO_LMS), _times(_inverse(TO_LAB), lab).pow(3))


def _in_gamut(light: torch.Tensor, colour: torch.Tensor) -> torch.Tensor:
    linear = _linear(torch.cat([light, colour], 1))
    return ((linear >= -1e-3) & (linear <= 1 + 1e-3)).all(1, keepdim=True)


def _split(lab: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return lab[:, :1], lab[:, 1:]


def _times(matrix: object, pixels: torch.Tensor) -> torch.Tensor:
    return torch.einsum("ij,njhw->nihw", torch.as_tensor(matrix, dtype=pixels.dtype, device=pixels.device), pixels)


def _inverse(matrix: object) -> torch.Tensor:
    return torch.linalg.inv(torch.tensor(matrix, dtype=torch.float64))


def _spread(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """`values` known as well as `weight` (0..1) says, filled in smoothly elsewhere."""
    h, w = values.shape[-2:]
    if max(h, w) <= 2:
        return (values * weight).sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True).clamp_min(1e-6) + torch.zeros_like(values)
    known = _shrunk(weight, 2)
    mean = _shrunk(values * weight, 2) / known.clamp_min(1e-6)
    coarse = F.interpolate(_spread(mean, (2 * known).clamp_max(1)), (h, w), mode="bilinear", align_corners=False)
    return weight * values + (1 - weight) * coarse


def _shrunk(values: torch.Tensor, factor: int) -> torch.Tensor:
    return F.avg_pool2d(values, factor, ceil_mode=True, count_include_pad=False)
