"""Content-style pairs: training photos, each with its target picture, as cached latents.

The target of a photo is made by a procedure of `training.procedural`, or read from a folder with a picture of the same name.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from stylekit.base import Base
from stylekit.errors import PictureError, StyleError, UnknownStyleError
from stylekit.images import open_picture, to_tensor
from training import data
from training.procedural import PROCEDURES

Pair = tuple[torch.Tensor, torch.Tensor]  # latents of the photo and of its target, (C, h, w) float16
LONG_SIDES = (448, 544, 640)
UNIT = 1.15  # pixels; width of a fine line at every size (see training.procedural)


def make_pair(photo: Path, targets: str, long_side: int, phase: tuple[int, int] = (0, 0)) -> tuple[np.ndarray, np.ndarray]:
    """Photo and target as uint8 RGB arrays of the same size, a multiple of 8.

    phase: pixels cut off at the top and left, so that edges meet the autoencoder's 8x8 patches anywhere. It is cut before the target is
    made, because some procedures put things into the patches themselves.
    """
    picture = open_picture(photo)
    picture = data.scale_to(picture, min(long_side, max(picture.size)))
    w, h = ((n - cut) // 8 * 8 for n, cut in zip(picture.size, phase[::-1], strict=True))
    box = (phase[1], phase[0], phase[1] + w, phase[0] + h)
    array = np.asarray(picture.crop(box))
    if targets.startswith("procedure:"):
        return array, PROCEDURES[targets.removeprefix("procedure:")](array, unit=UNIT)
    path = next((p for p in data.list_pictures(Path(targets)) if p.stem == photo.stem), None)
    if path is None:
        raise StyleError(f"{targets} has no target for {photo.name}: name it {photo.stem}.png.")
    return array, np.asarray(open_picture(path).resize(picture.size, Image.Resampling.LANCZOS).crop(box))


def _make(job: tuple[Path, str, int, tuple[int, int]]) -> tuple[np.ndarray, np.ndarray] | str:
    import cv2

    cv2.setNumThreads(1)
    try:
        return make_pair(*job)
    except (StyleError, PictureError) as error:
        return str(error)


def load_pairs(base: Base, photos: Sequence[Path], targets: str, seed: int, cache: Path, crop: int) -> list[Pair]:
    """Latent pairs of all `photos` at three sizes; made once and kept under `cache`. Bad photos are reported and left out."""
    if targets.startswith("procedure:") and targets.removeprefix("procedure:") not in PROCEDURES:
        raise UnknownStyleError(f"There is no procedure {targets!r}: choose from {', '.join(PROCEDURES)}.")
    key = hashlib.sha256(repr((base.source, [p.name for p in photos], targets, seed)).encode()).hexdigest()[:12]
    path = cache / f"pairs-{key}.pt"
    if path.exists():
        return torch.load(path)
    rng = random.Random(seed)
    jobs = [(photo, targets, side, (rng.randrange(8), rng.randrange(8))) for photo in photos for side in rng.sample(LONG_SIDES, 2)]
    pairs: list[Pair] = []
    workers = max(1, (os.cpu_count() or 2) // 2)
    with ProcessPoolExecutor(workers) as pool, torch.inference_mode():
        for made in tqdm(pool.map(_make, jobs, chunksize=8), total=len(jobs), desc="pairs", mininterval=5):
            if isinstance(made, str):
                tqdm.write(f"left out: {made}")
                continue
            both = (to_tensor(Image.fromarray(array)) for array in made)
            first, second = (base.encode(pixels)[0].half() for pixels in both)
            if min(first.shape[1:]) >= crop:
                pairs.append((first, second))
    if not pairs:
        raise StyleError(f"No training pair is left: give photos of at least {crop * 8} x {crop * 8} pixels.")
    cache.mkdir(parents=True, exist_ok=True)
    torch.save(pairs, path.with_suffix(".part"))
    os.replace(path.with_suffix(".part"), path)
    return pairs
