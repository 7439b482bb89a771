"""Content-style pairs: training photos, each with its target picture, as cached latents.

The target of a photo is made by a procedure of `training.procedural`, painted over its underpainting by a painter of
`training.brushwork`, or read from a folder with a picture of the same name.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from stylekit.base import Base
from stylekit.errors import PictureError, StyleError, UnknownStyleError
from stylekit.images import open_picture, to_tensor
from training import data
from training.brushwork import PAINTERS, paint
from training.procedural import PROCEDURES

PROCEDURE = "procedure:"
TARGETS = (*PROCEDURES, *PAINTERS)
LONG_SIDES = (448, 544, 640)
UNIT = 1.15  # pixels; width of a fine line at every size (see training.procedural)


class Pair(NamedTuple):
    """Latents (C, h, w) float16 of a photo, with its underpainting if the style has one, and of its target."""

    photo: torch.Tensor
    target: torch.Tensor


def make_pair(
    photo: Path, targets: str, long_side: int, phase: tuple[int, int] = (0, 0), seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels (1, 3, H, W) in [-1, 1] of a photo, underpainted if the style asks for it, and of its target; sides are multiples of 8.

    seed: of the strokes. phase: pixels cut off at the top and left, so that edges meet the autoencoder's 8x8 patches anywhere. It is cut
    before the target is made, because some procedures put things into the patches themselves.
    """
    picture = open_picture(photo)
    picture = data.scale_to(picture, min(long_side, max(picture.size)))
    w, h = ((n - cut) // 8 * 8 for n, cut in zip(picture.size, phase[::-1], strict=True))
    box = (phase[1], phase[0], phase[1] + w, phase[0] + h)
    cut = picture.crop(box)
    name = targets.removeprefix(PROCEDURE)
    if targets.startswith(PROCEDURE) and name in PAINTERS:
        pixels, painting = paint(np.asarray(cut), seed, PAINTERS[name])
        return pixels, to_tensor(Image.fromarray(painting))
    if targets.startswith(PROCEDURE):
        return to_tensor(cut), to_tensor(Image.fromarray(PROCEDURES[name](np.asarray(cut), unit=UNIT)))
    path = next((p for p in data.list_pictures(Path(targets)) if p.stem == photo.stem), None)
    if path is None:
        raise StyleError(f"{targets} has no target for {photo.name}: name it {photo.stem}.png.")
    return to_tensor(cut), to_tensor(open_picture(path).resize(picture.size, Image.Resampling.LANCZOS).crop(box))


def load_pairs(base: Base, photos: Sequence[Path], targets: str, seed: int, cache: Path, crop: int) -> list[Pair]:
    """Latent pairs of all `photos` at three sizes; made once and kept under `cache`. Bad photos are reported and left out."""
    if targets.startswith(PROCEDURE) and targets.removeprefix(PROCEDURE) not in TARGETS:
        raise UnknownStyleError(f"There is no procedure {targets!r}: choose from {', '.join(TARGETS)}.")
    key = hashlib.sha256(repr((base.source, [p.name for p in photos], targets, seed)).encode()).hexdigest()[:12]
    path = cache / f"pairs-{key}.pt"
    if path.exists():
        return [Pair(*pair) for pair in torch.load(path)]
    rng = random.Random(seed)
    sides = [(photo, side) for photo in photos for side in rng.sample(LONG_SIDES, 2)]
    jobs = [(photo, targets, side, (rng.randrange(8), rng.randrange(8)), i) for i, (photo, side) in enumerate(sides)]
    pairs: list[Pair] = []
    with torch.inference_mode():
        for job in tqdm(jobs, desc="pairs", mininterval=5):
            try:
                made = make_pair(*job)
            except (StyleError, PictureError) as error:
                tqdm.write(f"left out: {error}")
                continue
            pair = Pair(*(base.encode(pixels)[0].half() for pixels in made))
            if min(pair.photo.shape[1:]) >= crop:
                pairs.append(pair)
    if not pairs:
        raise StyleError(f"No training pair is left: give photos of at least {crop * 8} x {crop * 8} pixels.")
    cache.mkdir(parents=True, exist_ok=True)
    torch.save([tuple(pair) for pair in pairs], path.with_suffix(".part"))
    os.replace(path.with_suffix(".part"), path)
    return pairs
