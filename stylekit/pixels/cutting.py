"""Cutting a thing out of a picture along its edges (GrabCut: Rother, Kolmogorov & Blake 2004, https://doi.org/10.1145/1015706.1015720)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def cut_out(rgb: NDArray[np.uint8], guess: NDArray[np.uint8], rounds: int) -> NDArray[np.bool_]:
    """(h, w): what is in front in (h, w, 3) sRGB, by a guess (h, w) of opencv's GC_BGD, GC_FGD, GC_PR_BGD and GC_PR_FGD.

    Its colour models begin at random, always alike. Where the guess is sure of one side alone, it is the answer."""
    mask = guess.copy()
    cv2.setRNGSeed(0)
    try:
        cv2.grabCut(  # type: ignore[call-overload]  # a rectangle is not asked for
            cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), mask, None, np.zeros((1, 65)), np.zeros((1, 65)), rounds, cv2.GC_INIT_WITH_MASK
        )
    except cv2.error:
        mask = guess
    return np.asarray((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD))
