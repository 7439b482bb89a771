"""Paint whose colours are styles: from what a brush left on a photo to a StyleMix, and back.

A brush of opacity a lays its colour over what is there, c <- a * colour + (1 - a) * c, alike in every channel and in alpha. So whatever
was painted over whatever, with soft edges and see-through strokes, a pixel with premultiplied alpha is sum_i w_i * (colour_i, 1), and the
weights w_i are the shares of the styles. Four colours that span a tetrahedron make this a square system with one solution: hence four.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from stylekit.errors import SettingError
from stylekit.maps import Floats, WeightMap
from stylekit.mix import BUDGET, WEIGHT_LIMIT, StyleMix

Colour = tuple[int, int, int]

# red, blue, green, yellow: apart for the eye, and so far apart in RGB that rounding to 8 bits moves a weight by 0.02 at most
COLOURS: tuple[Colour, ...] = ((230, 52, 42), (31, 95, 232), (18, 160, 92), (255, 210, 31))
TRACE = 0.03  # a weight that rounding alone can make; less of a style is none, unless there is no other
MAX_SIDE = 2048  # pixels of a painting
MAX_TEXT = 12_000_000  # characters of a painting's data URL
TINY = np.float32(1e-9)  # in place of a 0 to divide by
LEAST_SPOT = 9  # pixels; fewer are a slip of the hand
URL_HEAD = "data:image/png;base64,"

NO_STYLE = "There is no style on the palette: choose one."
NO_AMOUNT = "The amount of every style is 0: raise one."
NOTHING_PAINTED = "Everything is wiped off: paint where the styles should be, or clear the painting to have them everywhere."
BROKEN = "The painting did not arrive whole: reload the page and paint again."


@dataclass(frozen=True, kw_only=True)
class Painting:
    """What is on the painter: a style (or None) and an amount for each of `COLOURS`, and the paint (RGBA), None before the first stroke.

    The paint belongs to a picture of any size, as a map does.
    """

    styles: tuple[str | None, ...]
    amounts: tuple[float, ...]
    paint: Image.Image | None = None

    def __post_init__(self) -> None:
        if len(self.styles) != len(COLOURS) or len(self.amounts) != len(COLOURS):
            raise SettingError(BROKEN)
        if not all(0 <= amount <= WEIGHT_LIMIT for amount in self.amounts):
            raise SettingError(f"An amount is not from 0 to {WEIGHT_LIMIT:g}: move its slider.")

    @classmethod
    def from_value(cls, value: Any) -> Painting:
        """From the painter's value, {"slots": [{"style", "amount"} or None, ...], "paint": PNG as data URL, or None}."""
        try:
            slots, url = value["slots"], value.get("paint")
            styles = tuple(str(slot["style"]) if slot else None for slot in slots)
            amounts = tuple(float(slot["amount"]) if slot else 0.0 for slot in slots)
        except (TypeError, KeyError, ValueError, AttributeError):
            raise SettingError(BROKEN) from None
        return cls(styles=styles, amounts=amounts, paint=from_url(url) if url else None)

    @classmethod
    def of(cls, mix: StyleMix) -> Painting:
        """What paints `mix` again. A map's greatest weight becomes the style's amount, unless maps overlap so far that the paint would not
        hold it."""
        if len(mix.weights) > len(COLOURS):
            raise SettingError(f"The recipe mixes {len(mix.weights)} styles and the page holds {len(COLOURS)}: use the command line.")
        spare = len(COLOURS) - len(mix.weights)
        amounts = tuple(weight.extremes[1] if isinstance(weight, WeightMap) else weight for _, weight in mix.weights)
        paint = None
        if mix.has_maps:
            size = max((weight.size for _, weight in mix.weights if isinstance(weight, WeightMap)), key=lambda size: size[0] * size[1])
            weights = [
                weight.at(size) if isinstance(weight, WeightMap) else np.full(size[::-1], weight, np.float32) for _, weight in mix.weights
            ]
            layers: Floats = np.stack(weights)
            shares: Floats = (layers / np.maximum(np.array(amounts), TINY)[:, None, None]).astype(np.float32)
            if shares.sum(0).max() > BUDGET + 0.5 / 255:
                shares, amounts = layers, (1.0,) * len(amounts)
            paint = encode(shares, COLOURS[: len(layers)])
        return cls(styles=(*mix.names, *[None] * spare), amounts=(*amounts, *[0.0] * spare), paint=paint)

    @property
    def value(self) -> dict[str, Any]:
        """Undo `from_value`."""
        pairs = zip(self.styles, self.amounts, strict=True)
        slots = [{"style": style, "amount": round(amount, 4)} if style else None for style, amount in pairs]
        return {"slots": slots, "paint": _to_url(self.paint) if self.paint else None}

    @property
    def mix(self) -> StyleMix:
        """The styles where they are painted, or everywhere if nothing is. Raises SettingError if that leaves nothing to do."""
        chosen = [(style, amount, colour) for style, amount, colour in zip(self.styles, self.amounts, COLOURS, strict=True) if style]
        if not chosen:
            raise SettingError(NO_STYLE)
        if self.paint is None:
            mix = StyleMix(weights=tuple((style, amount) for style, amount, _ in chosen))
        else:
            painted = np.count_nonzero(np.asarray(self.paint.getchannel("A")))
            if not painted:
                raise SettingError(NOTHING_PAINTED)
            if painted < LEAST_SPOT:
                raise SettingError(f"Only {painted} pixel{'s are' if painted > 1 else ' is'} painted: paint a larger spot.")
            layers = decode(self.paint, [colour for *_, colour in chosen])
            used = [(style, np.minimum(layer * amount, 1)) for (style, amount, _), layer in zip(chosen, layers, strict=True) if layer.any()]
            mix = StyleMix(weights=tuple((style, WeightMap.of(layer)) for style, layer in used))
        if not mix.present:
            raise SettingError(NO_AMOUNT)
        return mix


def decode(paint: Image.Image, colours: Sequence[Colour]) -> Floats:
    """Weights (len(colours), H, W) from 0 to 1 of a picture painted in up to four `colours`; their sum is the picture's alpha.

    A colour that no mixture of `colours` makes counts as one nearby.
    """
    rgba = np.asarray(paint.convert("RGBA"), np.float32) / np.float32(255)
    alpha = rgba[..., 3]
    premultiplied = np.concatenate([rgba[..., :3] * alpha[..., None], alpha[..., None]], axis=-1)
    weights = np.maximum(np.moveaxis(premultiplied @ unmixing(colours), -1, 0), 0)
    weights[(weights < TRACE) & (weights < weights.max(0))] = 0
    return weights * (alpha / np.maximum(weights.sum(0), TINY))


def encode(weights: Floats, colours: Sequence[Colour]) -> Image.Image:
    """Undo `decode`: the picture (RGBA) whose alpha is the sum of `weights` (len(colours), H, W), where it is over 1 scaled down to it."""
    total = weights.sum(0)
    shares = weights / np.maximum(total, TINY)
    rgb = np.tensordot(shares, np.array(colours, np.float32), axes=(0, 0))
    alpha = np.minimum(total, BUDGET) * 255
    return Image.fromarray(np.concatenate([rgb, alpha[..., None]], axis=-1).round().clip(0, 255).astype(np.uint8), "RGBA")


def unmixing(colours: Sequence[Colour]) -> Floats:
    """Matrix (4, len(colours)) that takes premultiplied RGBA from 0 to 1 to the weights of `colours`."""
    mixing = np.column_stack([np.array(colours, np.float64) / 255, np.ones(len(colours))])
    return np.linalg.pinv(mixing).astype(np.float32)


def from_url(url: Any) -> Image.Image:
    """A picture (RGBA) that the painter sent, at most `MAX_SIDE` pixels long. Raises SettingError."""
    if not isinstance(url, str) or not url.startswith(URL_HEAD) or len(url) > MAX_TEXT:
        raise SettingError(BROKEN)
    try:
        with Image.open(io.BytesIO(base64.b64decode(url[len(URL_HEAD) :], validate=True)), formats=("PNG",)) as picture:
            if max(picture.size) > MAX_SIDE:
                raise SettingError(BROKEN)
            return picture.convert("RGBA")
    except (binascii.Error, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise SettingError(BROKEN) from None


def _to_url(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return URL_HEAD + base64.b64encode(file.getvalue()).decode()
