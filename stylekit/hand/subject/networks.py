"""The small networks of assets/faces, assets/subject, assets/things, assets/letters and assets/contours, run by OpenCV."""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict

import cv2
import numpy as np

from stylekit.hand.analysis import Floats
from stylekit.storage import digests
from stylekit.storage.paths import ASSETS

KEPT = 48  # answers, of half a megabyte at most: those about a few photos, which are often drawn in one style after another

_turn = threading.Lock()  # a network of OpenCV takes one picture at a time
_answers: OrderedDict[tuple[object, ...], list[Floats]] = OrderedDict()


def run(name: str, picture: Floats, outputs: tuple[str, ...] | None = None) -> list[Floats]:
    """What the network in the file `name` of assets says of an (h, w, 3) picture of the size that it looks at: its `outputs`, or its
    last. The arrays are shared, and cannot be written to: the last answers are kept."""
    blob = np.ascontiguousarray(picture.transpose(2, 0, 1)[None])
    key = name, outputs, blob.shape, digests.of_bytes(blob.tobytes())
    with _turn:
        if key not in _answers:
            network = _network(name)
            network.setInput(blob)
            found = network.forward(outputs) if outputs else [network.forward()]
            _answers[key] = [_kept(out) for out in found]
            while len(_answers) > KEPT:
                _answers.popitem(last=False)
        _answers.move_to_end(key)
        return list(_answers[key])


def _kept(out: object) -> Floats:
    """A copy that nobody can write to."""
    answer = np.array(out, np.float32)
    answer.setflags(write=False)
    return answer


@functools.cache
def _network(name: str) -> cv2.dnn.Net:
    model = str(ASSETS / name)
    if name.endswith(".onnx"):
        return cv2.dnn.readNetFromONNX(model)
    classic = getattr(cv2.dnn, "ENGINE_CLASSIC", None)  # OpenCV 5's other engine shows the last output only
    return cv2.dnn.readNetFromTFLite(model) if classic is None else cv2.dnn.readNetFromTFLite(model, classic)
