"""Perceptual losses on decoded pictures: features, LPIPS where its weights can be had, Gram matrices of the style, local contrast."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import nn

from stylekit.errors import BaseError, SettingError, StyleError
from stylekit.features import LAYERS, VGGFeatures, load_vgg, patience
from training.objective import losses
from training.pictures import data
from training.pictures.pictures import Say, usable

CALIBRATION = (24, 384)  # pictures of each kind, long side in pixels
STYLE_PICTURES = 64  # pictures, evenly from all, whose Gram matrices are averaged


@dataclass(frozen=True, kw_only=True)
class PerceptualLosses:
    """VGG features, the style's Gram matrices, and LPIPS, which replaces the features for the perceptual distance where it is there.

    Without Gram matrices of a style those of each picture's own target count.
    """

    features: VGGFeatures | None = None
    grams: Mapping[str, torch.Tensor] | None = None
    lpips: nn.Module | None = None

    def terms(
        self, pixels: torch.Tensor, wanted: torch.Tensor | None, names: Sequence[str], weights: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Those of perceptual, contrast and style_weight in `names`, for `pixels` (N, 3, H, W) in [-1, 1].

        wanted: the pictures to compare with, for all but the style. weights: (N,), weigh the style of each picture.
        """
        found: dict[str, torch.Tensor] = {}
        by_features = "perceptual" in names and self.lpips is None
        by_style = "style_weight" in names
        ours = self.features(pixels) if self.features is not None and (by_features or by_style) else {}
        theirs: losses.Features = {}
        if self.features is not None and wanted is not None and (by_features or (by_style and self.grams is None)):
            with torch.no_grad():
                theirs = self.features(wanted)
        if "perceptual" in names and wanted is not None:
            if self.lpips is not None:
                found["perceptual"] = self.lpips(pixels, wanted).mean()
            elif theirs:
                found["perceptual"] = losses.perceptual_loss(ours, theirs)
        if "contrast" in names and wanted is not None:
            found["contrast"] = losses.contrast_loss(pixels, wanted)
        grams = losses.grams(theirs) if self.grams is None else self.grams
        if by_style and grams:
            found["style_weight"] = losses.style_loss(ours, grams, weights)
        return found


def load_perceptual_losses(
    names: Sequence[str],
    *,
    backbone: str,
    distance: str,
    content: Sequence[Path],
    style: Sequence[Path],
    side: int,
    device: torch.device,
    say: Say,
) -> PerceptualLosses:
    """What the terms in `names` need. content and style: pictures that calibrate the features; the Gram matrices of the latter, at long
    side `side`, are the style. Says which distance and which backbone are in use."""
    lpips = load_lpips(distance, say) if "perceptual" in names and distance != "features" else None
    if "style_weight" not in names and (lpips is not None or "perceptual" not in names):
        return PerceptualLosses(lpips=None if lpips is None else lpips.to(device))
    features = load_features(backbone, say).to(device).to(memory_format=torch.channels_last)
    most, long_side = CALIBRATION
    # over both: a channel that photos hardly stir, but the style does, would drown all others in its Gram matrices
    features.calibrate([_pixels(picture, long_side, device) for paths in (content, style) for picture in usable(paths, most)])
    grams: dict[str, torch.Tensor] | None = None
    if "style_weight" in names:
        grams = style_grams(features, style, side, device)
    return PerceptualLosses(features=features, grams=grams, lpips=None if lpips is None else lpips.to(device))


def load_lpips(distance: str, say: Say) -> nn.Module | None:
    """LPIPS (Zhang et al. 2018, https://arxiv.org/abs/1801.03924) on VGG16; None where its weights cannot be had, unless insisted on."""
    try:
        import lpips

        with patience(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it calls torchvision in an old way
            model = lpips.LPIPS(net="vgg", verbose=False)
    except Exception as error:  # a missing package, no network, a broken download: whatever it is, training can go on without
        reason = str(error) or type(error).__name__
        if distance == "lpips":
            raise SettingError(
                f"distance is lpips, which cannot be had ({reason}): `pip install lpips`, go online once, or choose auto."
            ) from error
        say(f"perceptual distance: the project's own features (LPIPS cannot be had: {reason})")
        return None
    say("perceptual distance: LPIPS on VGG16")
    return model.eval().requires_grad_(False)


def load_features(backbone: str, say: Say) -> VGGFeatures:
    """VGG features on `backbone`; auto is VGG16 of ImageNet, else that of the edge detector."""
    if backbone != "auto":
        say(f"perceptual features: {backbone}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # random weights too are to be the same in every process, and when a run is resumed
            return load_vgg(backbone, last=LAYERS[-1])
    reasons = []
    for name in ("vgg16", "hed"):
        try:
            with patience():
                features = load_vgg(name, last=LAYERS[-1])
        except (BaseError, ImportError, OSError, RuntimeError) as error:
            reasons.append(str(error))
        else:
            say(f"perceptual features: {name}")
            return features
    raise StyleError(f"There is no perceptual network for this loss. {' '.join(reasons)}")


@torch.no_grad()
def style_grams(features: VGGFeatures, paths: Sequence[Path], side: int, device: torch.device) -> dict[str, torch.Tensor]:
    """Gram matrices averaged over pictures at long side `side` pixels."""
    total: dict[str, torch.Tensor] = {}
    count = 0
    for picture in usable(paths, STYLE_PICTURES):
        count += 1
        for name, gram in losses.mean_grams(features(_pixels(picture, side, device))).items():
            total[name] = total.get(name, torch.zeros_like(gram)) + gram
    if not count:
        raise StyleError("No style picture can be read: name a folder of pictures.")
    return {name: gram / count for name, gram in total.items()}


def _pixels(picture: Image.Image, side: int, device: torch.device) -> torch.Tensor:
    return data.to_tensor(data.scale_to(picture, side))[None].to(device)
