"""Prints of a brush: how opaque, how thick and how streaked paint lies along and across one stroke."""

from __future__ import annotations

import functools

import cv2
import numpy as np

from stylekit.hand.analysis import Floats, smoothstep

PRINTS = 24  # different prints of the brush
PRINT = (384, 96)  # pixels along and across of a print


def prints(dry: float, taper: float, along: float, across: float) -> tuple[Floats, int, int]:
    """All prints of the brush below one another: (3, PRINTS * rows, columns) opacity, height, streak of colour; rows, columns."""
    columns, rows = (int(np.clip(round(v), low, high)) for v, low, high in ((along, 12, PRINT[0]), (across, 6, PRINT[1])))
    sheets = [cv2.resize(sheet, (columns, rows), interpolation=cv2.INTER_AREA) for sheet in _masters(dry, taper)]
    return np.ascontiguousarray(np.concatenate(sheets, 0).transpose(2, 0, 1)), rows, columns


@functools.lru_cache(maxsize=16)
def _masters(dry: float, taper: float) -> tuple[Floats, ...]:
    """Prints of a brush at their finest, (rows, columns, 3) each."""
    rng = np.random.default_rng(90125)
    u, v = np.meshgrid(np.linspace(0, 1, PRINT[0], dtype=np.float32), np.linspace(-1, 1, PRINT[1], dtype=np.float32))

    def smooth(points: int, thick: float) -> Floats:
        """Noise of unit variance with `points` knots along, and `thick` pixels across."""
        noise = cv2.GaussianBlur(rng.standard_normal((PRINT[1], points)).astype(np.float32), (0, 0), sigmaX=0.6, sigmaY=thick)
        noise = cv2.resize(noise, PRINT, interpolation=cv2.INTER_CUBIC)
        return np.asarray((noise - noise.mean()) / (noise.std() + 1e-6), np.float32)

    return tuple(_print(u, v, dry, taper, (smooth(5, 1.3), smooth(5, 4.0), smooth(4, 5.0), smooth(9, 40))) for _ in range(PRINTS))


def _print(u: Floats, v: Floats, dry: float, taper: float, noises: tuple[Floats, Floats, Floats, Floats]) -> Floats:
    """One print: u 0..1 along, v -1..1 across."""
    hair, hairs, mixed, wobble = noises
    begin = np.sqrt(np.clip(u / 0.10, 0, 1))
    end = (1 - taper * smoothstep(u, 0.45, 1.0)) * np.sqrt(np.clip((1 - u) / 0.07, 0, 1))
    edge = (0.45 + 0.55 * begin) * end * (0.9 + 0.07 * wobble)
    body = smoothstep(edge - np.abs(v), 0.0, 0.10)
    ragged = 0.5 * hair + 0.8 * hairs
    body = body * smoothstep(u - 0.03 - dry * 0.05 * ragged, 0.0, 0.02)
    body = body * smoothstep((1 - u) - dry * (0.08 + 0.09 * ragged), 0.0, 0.03)
    # the brush runs dry: gaps between the hairs towards the end
    gaps = smoothstep(hair + 0.7 * hairs + 2.4 - dry * (0.3 + 2.1 * u), -0.35, 0.35)
    body = body * (1 - dry * (1 - gaps))
    ridge = np.exp(-(((np.abs(v) / np.maximum(edge, 0.05) - 0.82) / 0.16) ** 2))
    blob = np.exp(-(((u - 0.9) / 0.07) ** 2))
    height = np.clip(0.45 + 0.09 * hair + 0.13 * hairs + 0.40 * ridge + 0.25 * blob, 0, 1.4) * body
    return np.asarray(np.stack([body, height, mixed + 0.5 * hair], -1), np.float32)
