"""Grain that repeats without a seam: of drawing paper, of a woodblock. Made once per seed and size, looked up everywhere."""

from __future__ import annotations

import functools

import numpy as np
import scipy.fft

from stylekit.hand.analysis import Floats

SALT = 7005  # added to the seed: randomness of the paper alone
GRAIN_SIDE = 768  # pixels of the result after which the grain repeats


@functools.lru_cache(maxsize=8)
def grain(seed: int, octaves: tuple[tuple[float, float, float], ...]) -> Floats:
    """(GRAIN_SIDE, GRAIN_SIDE) noise with mean 0 and standard deviation 1: a sum of octaves (sigma across, sigma down in pixels, share)."""
    noise = np.random.default_rng(seed).standard_normal((GRAIN_SIDE, GRAIN_SIDE)).astype(np.float32)
    spectrum = scipy.fft.rfft2(noise)
    across = (2 * np.pi * scipy.fft.rfftfreq(GRAIN_SIDE)) ** 2 / 2
    down = (2 * np.pi * scipy.fft.fftfreq(GRAIN_SIDE)) ** 2 / 2
    total = np.zeros(spectrum.shape, np.float64)
    for wide, high, share in octaves:
        gain = np.exp(-down[:, None] * high**2) * np.exp(-across[None] * wide**2)
        # each octave alone has a standard deviation of its share
        total += share * gain / max(float(np.sqrt((gain**2).mean())), 1e-9)
    result = scipy.fft.irfft2(spectrum * total.astype(np.float32), s=(GRAIN_SIDE, GRAIN_SIDE))
    result = np.asarray(result - result.mean(), np.float32)
    result /= max(float(result.std()), 1e-9)
    result.setflags(write=False)
    return result


def rows(square: Floats, top: int, count: int, columns: tuple[int, int]) -> Floats:
    """Rows top .. top + count and columns (from, to) of a square repeated over and over."""
    return square[np.ix_(np.arange(top, top + count) % len(square), np.arange(*columns) % len(square))]


def tooth(seed: int, unit: float) -> Floats:
    """The tooth of drawing paper: much of it as fine as the result shows, some as coarse as strokes. unit: in pixels of the result."""
    return grain(
        seed + SALT, tuple((max(0.45, s * unit), max(0.45, s * unit), share) for s, share in ((0.13, 1.0), (0.4, 0.7), (1.4, 0.35)))
    )


def caught(cover: Floats, paper: Floats, share: float, top: int) -> Floats:
    """(rows, W) cover, 0..1, of rows from top on, less what does not reach the hollows of the paper: most where little is laid on."""
    rough = rows(paper, top, len(cover), (0, cover.shape[1]))
    hollow = np.clip(0.45 + 0.45 * rough - 0.55 * cover * cover, 0, 1)
    return np.asarray(cover * (1 - np.float32(share) * hollow), np.float32)
