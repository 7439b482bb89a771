"""Content-style pairs: training photos, each with its target picture, as cached latents.

The target of a photo is made by a procedure of `training.targets.procedural`, painted over its underpainting by a painter of
`training.targets.brushwork`, coloured after a set of paintings (`training.targets.palette`), made by the teacher
(`training.targets.teacher`), or read from a folder with a picture of the same name.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from tqdm import tqdm

from stylekit import images
from stylekit.base import Base
from stylekit.errors import PictureError, StyleError, UnknownStyleError
from stylekit.images import open_picture, to_picture, to_tensor
from stylekit.pixels import colour, filters, srgb
from stylekit.pixels.colour import from_oklab, to_oklab
from stylekit.storage import digests
from stylekit.style_picture import measured
from stylekit.underpainting import brush, ink, kuwahara
from stylekit.underpainting.ink import lay_ink
from stylekit.underpainting.kuwahara import flatten
from stylekit.underpainting.settings import Kuwahara, Underpainting
from training.loop import caches
from training.pictures import data
from training.pictures.pictures import usable
from training.targets import brushwork, palette, places, procedural, table, teacher
from training.targets.brushwork import PAINTERS, paint
from training.targets.names import MEASURED, PALETTE, PALETTES, PROCEDURE, TEACHER
from training.targets.palette import MANNERS, Palette
from training.targets.procedural import PROCEDURES
from training.targets.teacher import Teacher, load_teacher, teacher_version

TARGETS = (*PROCEDURES, *PAINTERS)
FLAT = {
    "minimalism": Kuwahara(width=2.5, passes=8),
    "ukiyoe": Kuwahara(width=0.9, passes=5, ink=0.9),
    TEACHER: Kuwahara(width=0.9, passes=4),
}
LONG_SIDES = (448, 544, 640)
SIZES = 2  # of LONG_SIDES, for each photo
UNIT = 1.15  # pixels; width of a fine line at every size (see training.targets.procedural)
PALETTE_PICTURES = 64  # pictures, evenly from all, whose light and tones are measured
PALETTE_PHOTOS = 250  # evenly from all, whose colours are compared with the paintings
TEACHER_PICTURES = 64  # pictures, evenly from all, whose manner is averaged
TEACHER_SIDE = 512  # pixels of a square; the app's usual working size, so that marks are as broad as the teacher means them
VARIED_SIDE = 448  # pixels of a square that is recoloured
TEACHER_ZOOM = 0.6  # smallest share of a photo's short side that the teacher is shown
MAKERS = (
    brush,
    colour,
    measured,
    kuwahara,
    filters,
    images,
    ink,
    brushwork,
    data,
    palette,
    places,
    procedural,
    srgb,
    table,
    teacher,
    sys.modules[__name__],
)  # whose change makes other pairs

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
    picture, box = _laid_out(photo, long_side, phase)
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


def _laid_out(photo: Path, long_side: int, phase: tuple[int, int]) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """A photo at a size, and the box of it that starts at `phase` and whose sides are multiples of 8."""
    picture = open_picture(photo)
    picture = data.scale_to(picture, min(long_side, max(picture.size)))
    w, h = ((n - cut) // 8 * 8 for n, cut in zip(picture.size, phase[::-1], strict=True))
    return picture, (phase[1], phase[0], phase[1] + w, phase[0] + h)


def recoloured_pair(photo: Path, long_side: int, colours: Palette, phase: tuple[int, int] = (0, 0)) -> Made:
    """Pixels (1, 3, H, W) in [-1, 1] of a photo, and of what the palette `colours` makes of the whole of it, cut as `make_pair` does."""
    picture, box = _laid_out(photo, long_side, phase)
    target = Image.fromarray(colours.recolour(np.asarray(picture)))
    return to_tensor(picture.crop(box)), to_tensor(target.crop(box))


def varied_pair(photo: Path, colours: Palette, rng: random.Random) -> Made:
    """Pixels (1, 3, H, W) in [-1, 1] of a random square out of a photo, as often as not mirrored and in another light, and of what the
    palette `colours` makes of it. So a few photos stand for many."""
    picture = open_picture(photo)
    side = rng.uniform(TEACHER_ZOOM, 1) * min(picture.size)
    left, top = (rng.uniform(0, n - side) for n in picture.size)
    square = picture.resize((VARIED_SIDE,) * 2, Image.Resampling.LANCZOS, box=(left, top, left + side, top + side))
    square = ImageOps.mirror(square) if rng.random() < 0.5 else square
    square = recast(square, rng) if rng.random() < 0.5 else square
    return to_tensor(square), to_tensor(Image.fromarray(colours.recolour(np.asarray(square))))


def recast(picture: Image.Image, rng: random.Random) -> Image.Image:
    """`picture` in another light: its hues turned, its colours stronger or paler, brighter or darker."""
    lab = to_oklab(to_tensor(picture))
    angle, chroma, light = rng.uniform(0, 2 * math.pi), rng.uniform(0.5, 1.5), rng.uniform(0.7, 1.4)
    turn = chroma * torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    turned = torch.einsum("ij,njhw->nihw", turn, lab[:, 1:])
    return to_picture(from_oklab(torch.cat([lab[:, :1].clamp(0, 1) ** light, turned], 1)).clamp(-1, 1))


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
    jobs = [partial(make_pair, photo, side, targets, phase, i) for i, (photo, side, phase) in enumerate(_views(photos, seed))]
    drawn = data.list_pictures(Path(targets)) if Path(targets).is_dir() else []
    facts = (base_digest, caches.file_facts(photos), targets, caches.file_facts(drawn), seed, LONG_SIDES, SIZES, UNIT, FLAT)
    return _kept(base, lambda: jobs, cache, crop, facts)


def _views(photos: Sequence[Path], seed: int) -> list[tuple[Path, int, tuple[int, int]]]:
    """Each of `photos` at `SIZES` long sides, and where its pixels meet the grid of latents."""
    rng = random.Random(seed)
    sides = [(photo, side) for photo in photos for side in rng.sample(LONG_SIDES, SIZES)]
    return [(photo, side, (rng.randrange(8), rng.randrange(8))) for photo, side in sides]


def load_recoloured_pairs(
    base: Base,
    photos: Sequence[Path],
    learners: Sequence[Path],
    style: Sequence[Path],
    manner: str,
    seed: int,
    cache: Path,
    crop: int,
    base_digest: str,
) -> list[Pair]:
    """Latent pairs of `photos` in the colours of the pictures `style`, taken in the manner of that name. learners: the photos whose
    colours are compared with theirs."""
    if manner not in PALETTES:
        raise UnknownStyleError(f"There is no palette {manner!r}: choose from {', '.join(PALETTES)}.")
    own = f"{PALETTE}{manner}" == MEASURED

    def jobs() -> list[Callable[[], Made]]:
        some = learners[:: max(1, -(-len(learners) // PALETTE_PHOTOS))]
        paintings = palette.small_paintings(style)
        if own:
            followed = palette.measured_manner([np.asarray(data.without_border(one)) for one in usable(style, PALETTE_PICTURES)])
            colours = palette.learn(palette.small_photos(some), paintings, followed, seed)
            return [partial(varied_pair, photo, colours, random.Random(f"{seed} {i}")) for i, photo in enumerate(photos)]
        colours = palette.learn(palette.small_photos(some), paintings, MANNERS[manner], seed)
        return [partial(recoloured_pair, photo, side, colours, phase) for photo, side, phase in _views(photos, seed)]

    files = [caches.file_facts(paths) for paths in (photos, learners, style)]
    return _kept(base, jobs, cache, crop, (base_digest, PALETTE, manner, files, seed, LONG_SIDES, SIZES, PALETTE_PHOTOS))


def load_taught_pairs(
    base: Base, photos: Sequence[Path], style: Sequence[Path], seed: int, cache: Path, crop: int, base_digest: str
) -> list[Pair]:
    """Latent pairs of a random square out of each of `photos`, which may repeat, in the manner that the pictures `style` share."""

    def jobs() -> list[Callable[[], Made]]:
        teach = load_teacher(usable(style, TEACHER_PICTURES))
        return [partial(taught_pair, photo, teach, random.Random(f"{seed} {i}")) for i, photo in enumerate(photos)]

    files = [caches.file_digest(path) for path in photos], [caches.file_digest(path) for path in style]
    facts = (base_digest, TEACHER, files, seed, TEACHER_PICTURES, TEACHER_SIDE, TEACHER_ZOOM, FLAT[TEACHER], teacher_version())
    return _kept(base, jobs, cache, crop, facts)


def _kept(base: Base, jobs: Callable[[], Sequence[Callable[[], Made]]], cache: Path, crop: int, facts: tuple[object, ...]) -> list[Pair]:
    """The pairs that `jobs` make, from `cache` if they are there. facts: what they are made from."""
    path = cache / f"pairs-{digests.of_values((digests.of_code(*MAKERS), facts, crop))}.pt"
    made = caches.kept_each(path, lambda: [partial(_encoded, base, job, crop) for job in jobs()], "pairs")
    if not any(made):
        raise StyleError(f"No training pair is left: give photos of at least {crop * 8} x {crop * 8} pixels.")
    return [Pair(*pair) for pair in made if pair]


@torch.inference_mode()
def _encoded(base: Base, job: Callable[[], Made], crop: int) -> list[torch.Tensor]:
    """Latents of what `job` makes; nothing where that cannot be used, which is said if it is the photo's fault."""
    try:
        made = job()
    except (StyleError, PictureError) as error:
        tqdm.write(f"left out: {error}")
        return []
    photo, target = (base.encode(pixels)[0].half().clone() for pixels in made)
    return [photo, target] if min(photo.shape[1:]) >= crop else []
