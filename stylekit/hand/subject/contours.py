"""Where things end: how surely the border of a thing runs through each place of a photo, and not an edge of texture or of shade.

Told by a small network of our own that looks at the whole photo at once, trained on the answers of an edge detector
(training/train_contours.py, assets/contours).
"""

from __future__ import annotations

import cv2
import numpy as np

from stylekit.hand.analysis import Floats, resized
from stylekit.hand.subject import networks

FILE, SIDE = "contours/contours.onnx", 384  # in assets, and the side of the square it looks at
SMALLEST = 16  # pixels; in a smaller photo nothing is looked for


def contours(photo: Floats) -> Floats:
    """(h, w) in 0..1 of (h, w, 3) sRGB with its dark tones opened: high on lines some pixels wide, the surer the higher."""
    h, w = photo.shape[:2]
    if min(h, w) < SMALLEST:
        return np.zeros((h, w), np.float32)
    told = networks.run(FILE, np.clip(resized(photo, (SIDE, SIDE)), 0, 1))[0].reshape(SIDE, SIDE)
    return np.clip(resized(np.nan_to_num(told), (w, h), cv2.INTER_LINEAR), 0, 1)
