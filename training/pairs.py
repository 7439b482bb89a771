"""Content-style pairs: training photos, each with its target picture, as cached latents.

The target of a photo is made by a procedure of `training.procedural`, painted over its underpainting by a painter of
`training.brushwork`, made by the teacher (`training.teacher`), or read from a folder with a picture of the same name.
"""

from __future__ import annotations

import hashlib
import inspect
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from tqdm import tqdm

from stylekit import brush, fields, filters, ink
from stylekit.base import Base
from stylekit.errors import PictureError, StyleError, UnknownStyleError
from stylekit.fields import Fields, flatten
from stylekit.images import open_picture, to_picture, to_tensor
from stylekit.ink import lay_ink
from stylekit.underpainting import Underpainting
from training import brushwork, checkpoints, data, procedural, teacher
from training.brushwork import PAINTERS, paint
from training.pictures import content_digest, usable
from training.procedural import PROCEDURES
from training.teacher import Teacher, load_teacher

PROCEDURE = "procedure:"
TEACHER = "teacher"
TARGETS = (*PROCEDURES, *PAINTERS)
FLAT = {"minimalism": Fields(width=2.5, passes=8), "ukiyoe": Fields(width=0.9, passes=5, ink=0.9), TEACHER: Fields(width=0.9, passes=4)}
LONG_SIDES = (448, 544, 640)
SIZES = 2  # of LONG_SIDES, for each photo
UNIT = 1.15  # pixels; width of a fine line at every size (see training.procedural)
TEACHER_PICTURES = 64  # pictures, evenly from all, whose manner is averaged
TEACHER_SIDE = 512  # pixels of a square; the app's usual working size, so that marks are as broad as the teacher means them
TEACHER_ZOOM = 0.6  # smallest share of a photo's short side that the teacher is shown
MAKERS = (brush, fields, filters, ink, brushwork, procedural, teacher)  # modules whose change makes other targets

Made = tuple[torch.Tensor, torch.Tensor]


class Pair(NamedTuple):
    """Latents (C, h, w) float16 of a photo, with its underpainting if the style has one, and of its target."""

    photo: torch.Tensor
    target: torch.Tensor


def make_pair(photo: Path, long_side: int, targets: str, phase: tuple[int, int] = (0, 0), seed: int = 0) -> Made:
    """Pixels (1, 3, H, W) in [-1, 1] of a photo, underpainted if the style asks for it, and of its target; sides are multiples of 8.

    seed: of the strokes. phase: pixels cut off at the top and left, so that edges meet the autoencoder's 8x8 patches anywhere. It is cut
    before the target is made, because some procedures put things into the patches themselves.
    """
    picture = open_picture(photo)
    picture = data.scale_to(picture, min(long_side, max(picture.size)))
    w, h = ((n - cut) // 8 * 8 for n, cut in zip(picture.size, phase[::-1], strict=True))
    box = (phase[1], phase[0], phase[1] + w, phase[0] + h)
    cut = picture.crop(box)
    name = targets.removeprefix(PROCEDURE) if targets.startswith(PROCEDURE) else None
    if name in PAINTERS:
        pixels, painting = paint(np.asarray(cut), seed, PAINTERS[name])
        return pixels, to_tensor(Image.fromarray(painting))
    if name in FLAT:
        flat = flatten(to_tensor(cut), replace(FLAT[name], ink=0.0))
        target = to_tensor(Image.fromarray(PROCEDURES[name](np.asarray(to_picture(flat)), unit=UNIT)))
        black = FLAT[name].ink
        return (lay_ink(flat, black), lay_ink(target, black, flat)) if black else (flat, target)
    if name:
        return to_tensor(cut), to_tensor(Image.fromarray(PROCEDURES[name](np.asarray(cut), unit=UNIT)))
    path = next((p for p in data.list_pictures(Path(targets)) if p.stem == photo.stem), None)
    if path is None:
        raise StyleError(f"{targets} has no target for {photo.name}: name it {photo.stem}.png.")
    return to_tensor(cut), to_tensor(open_picture(path).resize(picture.size, Image.Resampling.LANCZOS).crop(box))


def underpainting_of(targets: str | None) -> Underpainting | None:
    """What `targets` want to be laid on a photo first."""
    name = (targets or "").removeprefix(PROCEDURE)
    return PAINTERS[name].brush if name in PAINTERS else FLAT.get(name)


def taught_pair(photo: Path, teach: Teacher, rng: random.Random) -> Made:
    """Pixels (1, 3, H, W) in [-1, 1] of a random square out of a photo, as often as not mirrored and in flat fields, and of what the
    teacher makes of it."""
    picture = open_picture(photo)
    side = rng.uniform(TEACHER_ZOOM, 1) * min(picture.size)
    left, top = (rng.uniform(0, n - side) for n in picture.size)
    square = picture.resize((TEACHER_SIDE,) * 2, Image.Resampling.LANCZOS, box=(left, top, left + side, top + side))
    square = ImageOps.mirror(square) if rng.random() < 0.5 else square
    pixels = flatten(to_tensor(square), FLAT[TEACHER])  # what is too fine to foretell from the photo would be learned as a blur
    return pixels, to_tensor(teach(to_picture(pixels)))


def load_pairs(base: Base, photos: Sequence[Path], targets: str, seed: int, cache: Path, crop: int, base_digest: str) -> list[Pair]:
    """Latent pairs of all `photos` at `SIZES` sizes each; made once and kept under `cache`. Bad photos are reported and left out.

    crop: side of the smallest that are of use, in latents. base_digest: of the base's weights.
    """
    if targets.startswith(PROCEDURE) and targets.removeprefix(PROCEDURE) not in TARGETS:
        raise UnknownStyleError(f"There is no procedure {targets!r}: choose from {', '.join(TARGETS)}.")
    rng = random.Random(seed)
    sides = [(photo, side) for photo in photos for side in rng.sample(LONG_SIDES, SIZES)]
    phases = [(rng.randrange(8), rng.randrange(8)) for _ in sides]
    jobs = [partial(make_pair, *one, targets, phase, i) for i, (one, phase) in enumerate(zip(sides, phases, strict=True))]
    files = [*photos, *(data.list_pictures(Path(targets)) if Path(targets).is_dir() else [])]
    return _kept(base, jobs, cache, crop, (base_digest, [content_digest(path) for path in files], targets, seed))


def load_taught_pairs(
    base: Base, photos: Sequence[Path], style: Sequence[Path], seed: int, cache: Path, crop: int, base_digest: str
) -> list[Pair]:
    """Latent pairs of a random square out of each of `photos`, which may repeat, in the manner that the pictures `style` share."""
    teach, rng = load_teacher(usable(style, TEACHER_PICTURES)), random.Random(seed)
    jobs = [partial(taught_pair, photo, teach, rng) for photo in photos]
    return _kept(base, jobs, cache, crop, (base_digest, [content_digest(path) for path in (*photos, *style)], TEACHER, seed))


def _kept(base: Base, jobs: Sequence[Callable[[], Made]], cache: Path, crop: int, key: tuple[object, ...]) -> list[Pair]:
    """The pairs that `jobs` make, from `cache` if they are there. key: what they are made from."""
    code = "".join(inspect.getsource(module) for module in MAKERS)
    path = cache / f"pairs-{hashlib.sha256(repr((key, crop, code)).encode()).hexdigest()[:12]}.pt"
    if path.exists():
        return [Pair(*pair) for pair in torch.load(path)]
    pairs: list[Pair] = []
    with torch.inference_mode():
        for job in tqdm(jobs, desc="pairs", mininterval=5):
            try:
                made = job()
            except (StyleError, PictureError) as error:
                tqdm.write(f"left out: {error}")
                continue
            pair = Pair(*(base.encode(pixels)[0].half() for pixels in made))
            if min(pair.photo.shape[1:]) >= crop:
                pairs.append(pair)
    if not pairs:
        raise StyleError(f"No training pair is left: give photos of at least {crop * 8} x {crop * 8} pixels.")
    with checkpoints.whole(path) as part:
        torch.save([tuple(pair) for pair in pairs], part)
    return pairs
