"""The networks that metrics read pictures with. A number is only worth comparing with numbers of the same networks, so each has a name.

- ``standard``: LPIPS on AlexNet (package ``lpips``), VGG16 of torchvision for Gram matrices, content and CFSD, and FID's Inception (package
  ``pytorch-fid``). Their weights are downloads, made on first use and kept in torch's cache.
- ``embedded``: the project's own compressed VGG16 (`stylekit.features`), which is always there. LPIPS uses the learned heads of lpips for
  VGG16 on the layers it has; the vector for FID and KID is the mean of layer 4_3 over the picture.
- ``random``: random weights of the embedded network's shape, for tests.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import torch
from safetensors import safe_open

from eval.metrics.perceptual import lpips_distance
from stylekit.errors import BaseError, StyleError
from stylekit.features import EMBEDDED_FILE, VGGFeatures, load_vgg, patience
from stylekit.images import open_picture, to_tensor, working_size
from stylekit.storage.paths import PHOTOS_FOLDER

NAMES = ("standard", "embedded", "random")
STYLE_LAYERS = ("1_1", "2_1", "3_1", "4_1")
CONTENT_LAYER = "4_2"
PATCH_LAYER = "3_1"  # of CFSD
LAST = "4_3"
CALIBRATION_SIDE = 384  # pixels

log = logging.getLogger(__name__)
Pixels = torch.Tensor  # (N, 3, H, W) in [-1, 1]
Features = Mapping[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """vgg: calibrated features up to `LAST`. lpips: pictures, pictures and both their features -> (N,). embed: pictures and their features
    -> one vector each, (N, d). label: what the networks are, for a report."""

    name: str
    label: str
    vgg: VGGFeatures
    lpips: Callable[[Pixels, Pixels, Features, Features], torch.Tensor]
    embed: Callable[[Pixels, Features], torch.Tensor]

    @property
    def device(self) -> torch.device:
        return self.vgg.input_scale.device

    @property
    def standard(self) -> bool:
        """Whether published numbers may be compared with."""
        return self.name == "standard"


def load_backbone(name: str = "auto", device: str = "cpu") -> Backbone:
    """The backbone `name`; auto is standard where its weights can be had, else embedded."""
    if name == "auto":
        try:
            return load_backbone("standard", device)
        except StyleError as error:
            log.info("%s The embedded network is used.", error)
            return load_backbone("embedded", device)
    if name == "standard":
        return _standard(device)
    if name == "embedded":
        heads = read_heads(EMBEDDED_FILE)
        return _of_one_network("embedded", _embedded_label(), load_vgg("embedded", LAST).to(device), heads)
    if name == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            vgg = load_vgg("random", LAST).to(device)
        heads = {layer: torch.ones(getattr(vgg, f"rms_{layer}").shape) for layer in ("1_2", "2_2", "3_3", "4_3")}
        return _of_one_network("random", "random weights: for tests only", vgg, heads)
    raise StyleError(f"There is no backbone {name!r}: use auto, {', '.join(NAMES)}.")


def read_heads(path: Path) -> dict[str, torch.Tensor]:
    """Layer -> (C,): the heads of LPIPS stored beside a compressed network."""
    with safe_open(path, "pt") as file:
        names = [key for key in file.keys() if key.startswith("lpips_")]  # noqa: SIM118 (it is no dict)
        return {key.removeprefix("lpips_"): file.get_tensor(key).float() for key in names}


def _of_one_network(name: str, label: str, vgg: VGGFeatures, heads: dict[str, torch.Tensor]) -> Backbone:
    def raw(features: Features) -> dict[str, torch.Tensor]:
        return {layer: features[layer] * getattr(vgg, f"rms_{layer}").view(1, -1, 1, 1) for layer in heads}

    weights = {layer: head.to(vgg.input_scale.device) for layer, head in heads.items()}
    return Backbone(
        name=name,
        label=label,
        vgg=vgg,
        lpips=lambda _x, _y, ours, theirs: lpips_distance(raw(ours), raw(theirs), weights),
        embed=lambda _x, features: features[LAST].float().mean((2, 3)),
    )


def _embedded_label() -> str:
    with safe_open(EMBEDDED_FILE, "pt") as file:
        teacher = file.metadata()["teacher"]
    source = {"vgg16": "VGG16 of ImageNet", "hed": "the VGG16 body of the HED edge detector"}.get(teacher, teacher)
    return f"embedded network, compressed from {source}"


def _standard(device: str) -> Backbone:
    try:
        import lpips
        from pytorch_fid.inception import InceptionV3
    except ImportError as error:
        raise BaseError(f"The standard backbone needs the package {error.name}: run `pip install lpips pytorch-fid`.") from None
    try:
        with patience(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # lpips calls torchvision in an old way
            vgg = load_vgg("vgg16", LAST)
            distance = lpips.LPIPS(net="alex", verbose=False).eval().requires_grad_(False).to(device)
            inception = InceptionV3([InceptionV3.BLOCK_INDEX_BY_DIM[2048]]).eval().requires_grad_(False).to(device)
    except (OSError, URLError, RuntimeError, BaseError) as error:
        raise BaseError(f"The standard backbone's weights cannot be had ({error}): go online once, or use embedded.") from None
    photos = [open_picture(path) for path in sorted(PHOTOS_FOLDER.glob("*.jpg"))]
    pixels = [to_tensor(photo.resize(working_size(photo.size, CALIBRATION_SIDE))).to(device) for photo in photos]
    return standard_of(vgg.to(device), distance, inception, pixels)


def standard_of(vgg: VGGFeatures, distance: torch.nn.Module, inception: torch.nn.Module, photos: Sequence[Pixels]) -> Backbone:
    """The standard backbone of these networks. The features of `vgg` are calibrated on `photos`."""
    vgg.calibrate(photos)
    return Backbone(
        name="standard",
        label="LPIPS on AlexNet, VGG16 of ImageNet, FID's Inception",
        vgg=vgg,
        lpips=lambda x, y, _ours, _theirs: distance(x, y).flatten(),
        embed=lambda x, _features: inception((x + 1) / 2)[0].float().flatten(1),  # it resizes to 299 x 299 by itself
    )
