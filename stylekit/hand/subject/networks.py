"""The small networks of assets/faces, assets/subject and assets/contours, run by OpenCV."""

from __future__ import annotations

import functools
import threading

import cv2
import numpy as np

from stylekit.hand.analysis import Floats
from stylekit.storage.paths import ASSETS

_turn = threading.Lock()  # a network of OpenCV takes one picture at a time


def run(name: str, picture: Floats, outputs: tuple[str, ...] | None = None) -> list[Floats]:
    """What the network in the file `name` of assets says of an (h, w, 3) picture of the size that it looks at: its `outputs`, or its
    last."""
    with _turn:
        network = _network(name)
        network.setInput(np.ascontiguousarray(picture.transpose(2, 0, 1)[None]))
        found = network.forward(outputs) if outputs else [network.forward()]
        return [np.asarray(out, np.float32) for out in found]


@functools.cache
def _network(name: str) -> cv2.dnn.Net:
    model = str(ASSETS / name)
    if name.endswith(".onnx"):
        return cv2.dnn.readNetFromONNX(model)
    classic = getattr(cv2.dnn, "ENGINE_CLASSIC", None)  # OpenCV 5's other engine shows the last output only
    return cv2.dnn.readNetFromTFLite(model) if classic is None else cv2.dnn.readNetFromTFLite(model, classic)
