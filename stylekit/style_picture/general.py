"""The general adapter: one adapter of a base for every style picture.

It is a LoRA whose ranks have a say of their own: a small network reads the manner of a style picture off its perceptual features and tells
every rank of every layer how much it counts, as conditional instance normalisation does for the channels of a style network (Dumoulin et
al. 2017, https://arxiv.org/abs/1610.07629; Ghiasi et al. 2017, https://arxiv.org/abs/1705.06830). For one picture the factors go into the
matrices, and what is left is an ordinary LoRA: weights, maps and mixes apply to it as to any other, at the same cost.

The colours do not pass through it. They are laid on the photo first (`stylekit.underpainting.ground`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from torch import nn

from stylekit.adapters.lora_weights import LoraWeights
from stylekit.errors import AdapterError, first_line
from stylekit.features import VGGFeatures, load_vgg, moments
from stylekit.images import to_tensor
from stylekit.storage.files import write_whole
from stylekit.storage.tensorfile import write_tensors
from stylekit.storage.untrusted import Source, parse_json
from stylekit.style_picture.picture import StylePicture
from stylekit.underpainting.ground import ground_of
from stylekit.underpainting.settings import Ground

FILE = "style_picture.safetensors"  # beside the base it is for
LAYERS = ("1_1", "2_1", "3_1", "4_1")  # whose moments are the manner
LOOK = 256  # pixels; a picture is looked at in an area of LOOK x LOOK, whatever its shape
LEAST_LOOK = 32  # pixels; of a side, however narrow the picture
FAR = 3.0  # standard deviations; a picture unlike all that were trained on is taken for one at this distance


@dataclass(frozen=True, kw_only=True)
class Manner:
    """What is read off a style picture: (d,) moments of its features, and the ground it asks for."""

    moments: torch.Tensor
    ground: Ground


class GeneralAdapter(nn.Module):
    """shapes: module path of the base's UNet -> (shape of A's weight, shape of B's). dimensions: d, of the moments.

    Its parts: mean (d,) and axes (codes, d) turn moments into a whitened code, `factors` turns that into one number a rank; downs and ups
    are A and B.
    """

    mean: torch.Tensor
    axes: torch.Tensor

    def __init__(self, shapes: Mapping[str, tuple[Iterable[int], Iterable[int]]], dimensions: int, codes: int, hidden: int) -> None:
        super().__init__()
        self.modules_in_order = tuple(shapes)
        self.downs = nn.ParameterList([nn.Parameter(torch.empty(*shapes[name][0])) for name in self.modules_in_order])
        self.ups = nn.ParameterList([nn.Parameter(torch.zeros(*shapes[name][1])) for name in self.modules_in_order])
        for down in self.downs:
            nn.init.kaiming_uniform_(down, a=math.sqrt(5))
        self.ranks = [len(down) for down in self.downs]
        self.register_buffer("mean", torch.zeros(dimensions))
        self.register_buffer("axes", torch.zeros(codes, dimensions))
        self.factors = nn.Sequential(nn.Linear(codes, hidden), nn.SiLU(), nn.Linear(hidden, sum(self.ranks)))
        last = self.factors[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.bias)

    def code(self, moments: torch.Tensor) -> torch.Tensor:
        """(N, d) -> (N, codes), about standard normal."""
        return ((moments.to(self.mean) - self.mean) @ self.axes.T).clamp(-FAR, FAR)

    def scales(self, moments: torch.Tensor) -> list[torch.Tensor]:
        """Factors (N, rank) on the ranks of each module, in order."""
        return list((1 + self.factors(self.code(moments))).split(self.ranks, 1))

    @torch.no_grad()
    def lora(self, manner: Manner, name: str) -> LoraWeights:
        """The ordinary LoRA for one picture."""
        scales = self.scales(manner.moments[None])
        parts = zip(self.modules_in_order, self.downs, self.ups, scales, strict=True)
        modules = {
            module: (down.detach().clone(), up.detach() * scale[0].view(1, -1, *(1,) * (up.ndim - 2))) for module, down, up, scale in parts
        }
        alphas = {module: float(down.shape[0]) for module, (down, _) in modules.items()}
        return LoraWeights(name=name, modules=modules, alphas=alphas, metadata={})


class PictureReader:
    """Reads pictures with the embedded perceptual network; loaded with the first picture."""

    def __init__(self) -> None:
        self._vgg: VGGFeatures | None = None

    def read(self, picture: StylePicture | Image.Image) -> Manner:
        if self._vgg is None:
            self._vgg = load_vgg("embedded", LAYERS[-1])
        pixels = to_tensor(_looked_at(picture.picture if isinstance(picture, StylePicture) else picture))
        with torch.inference_mode():
            found = moments(self._vgg(pixels), LAYERS)[0].float()
        return Manner(moments=found, ground=ground_of(pixels))


def save_general(model: GeneralAdapter, path: Path, card: Mapping[str, str]) -> None:
    """Write `model` in float16, with `card` as metadata; written aside, then renamed."""
    tensors = {name: value.detach().half().contiguous() for name, value in model.state_dict().items()}
    write_whole(path, lambda part: write_tensors(tensors, part, {**card, "modules": json.dumps(model.modules_in_order)}))


def load_general(path: Path) -> GeneralAdapter:
    """A file of `save_general`, frozen, in float32."""
    source = Source(what=f"The adapter for style pictures, {path.name},", remedy="get the file again", kind=AdapterError)
    try:
        with safe_open(path, "pt") as file:
            names = parse_json((file.metadata() or {})["modules"], source)
            stored = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (it is no dict)
        shapes = {name: (stored[f"downs.{i}"].shape, stored[f"ups.{i}"].shape) for i, name in enumerate(names)}
        codes, dimensions = stored["axes"].shape
        model = GeneralAdapter(shapes, dimensions, codes, len(stored["factors.0.bias"]))
        model.load_state_dict(stored)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        source.refuse(f"cannot be read ({first_line(error)})")
    return model.eval().requires_grad_(False)


def _looked_at(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    factor = LOOK / math.sqrt(width * height)
    return picture.resize((max(LEAST_LOOK, round(width * factor)), max(LEAST_LOOK, round(height * factor))), Image.Resampling.LANCZOS)
