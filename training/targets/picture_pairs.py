"""Pairs for the general adapter: a photo on the ground of a style picture, and what the teacher makes of it in that picture's manner.

Style pictures are works of art cut, mirrored and, half of them, with other colours, so that a few hundred stand for many. The teacher
(`training.targets.teacher`) is given the photo on its ground, strokes and all: so what it paints follows from what the adapter will see.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image, ImageFilter, ImageOps
from tqdm import tqdm

from stylekit import features, images
from stylekit.base import Base
from stylekit.errors import PictureError, StyleError
from stylekit.images import open_picture, to_picture, to_tensor
from stylekit.pixels import colour, srgb
from stylekit.pixels.colour import from_oklab, to_oklab
from stylekit.storage import digests
from stylekit.style_picture import general
from stylekit.style_picture.general import PictureReader
from stylekit.underpainting import ground
from stylekit.underpainting.ground import lay
from training.loop import caches
from training.pictures import data
from training.targets import teacher
from training.targets.teacher import load_teacher, teacher_version

SHARD = 50  # style pictures whose pairs are kept in one file
PHOTOS_EACH = 3  # photos for each style picture
SQUARE_SIDE = 512  # pixels of a photo's square
STYLE_SIDE = 256  # pixels of a style picture's
ZOOM = 0.6  # smallest share of a picture's short side that is shown
SHARPEN = ImageFilter.UnsharpMask(1.2, 70, 0)  # the teacher works at 384 pixels, and enlarged its marks are soft
MAKERS = (colour, data, features, general, ground, images, srgb, teacher, sys.modules[__name__])  # modules whose change makes other pairs

Made = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class PicturePair(NamedTuple):
    """Latents (C, h, w) float16 of the photo on its ground and of its target; moments (d,) float16 of the style picture."""

    photo: torch.Tensor
    target: torch.Tensor
    moments: torch.Tensor


def load_pairs(
    base: Base, photos: Sequence[Path], art: Mapping[str, tuple[float, Sequence[Path]]], count: int, seed: int, folder: Path
) -> list[PicturePair]:
    """At least `count` pairs, made in files of `SHARD` style pictures that are kept in `folder`, where a rerun goes on.

    art: name of a kind -> how often it is drawn, and its pictures. StyleError where none of them, or none of `photos`, can be used.
    """
    if not photos:
        raise StyleError("There is no photo to make pairs of: name a folder of photos.")
    pairs: list[PicturePair] = []
    shards = -(-count // (SHARD * PHOTOS_EACH))
    reader = PictureReader()
    drawn = [(kind, share, caches.file_facts(paths)) for kind, (share, paths) in art.items()]
    constants = (
        SHARD,
        PHOTOS_EACH,
        SQUARE_SIDE,
        STYLE_SIDE,
        ZOOM,
        vars(SHARPEN),
        teacher_version(),
        caches.file_digest(features.EMBEDDED_FILE),
    )
    weights = digests.of_weights(base.unet, base.vae)
    facts = (digests.of_code(*MAKERS), constants, weights, caches.file_facts(photos), drawn, seed)
    key = digests.of_values(facts)
    for shard in tqdm(range(shards), desc="pairs", unit="shard"):
        make = partial(_make, base, reader, photos, art, random.Random(seed + shard))
        pairs += [PicturePair(*pair) for pair in caches.kept(folder / f"pairs-{key}-{shard:03d}.pt", make)]
    if not pairs:
        raise StyleError("No pair is left to train on: give photos and art that can be read.")
    return pairs


def _make(
    base: Base, reader: PictureReader, photos: Sequence[Path], art: Mapping[str, tuple[float, Sequence[Path]]], rng: random.Random
) -> list[Made]:
    """Latents of the photo and its target, and moments, of `SHARD` style pictures; those that cannot be read are said and left out."""
    made: list[Made] = []
    shares = [share for share, _ in art.values()]
    for _ in range(SHARD):
        _, paths = rng.choices(list(art.values()), shares)[0]
        try:
            picture = variant(data.open_art(rng.choice(paths)), rng)
            manner, teach = reader.read(picture), load_teacher([picture])
            for _ in range(PHOTOS_EACH):
                square = random_square(open_picture(rng.choice(photos)), SQUARE_SIDE, ZOOM, rng)
                with torch.inference_mode():
                    photo = lay(to_tensor(square), manner.ground, rng.randrange(10**6))
                    target = to_tensor(teach(to_picture(photo)).filter(SHARPEN))
                    both = base.encode(torch.cat([photo, target])).half()
                made.append((both[0].clone(), both[1].clone(), manner.moments.half()))
        except PictureError as error:
            tqdm.write(f"left out: {error}")
    return made


def variant(picture: Image.Image, rng: random.Random) -> Image.Image:
    """A square of `picture`, mirrored or not; half of them in the picture's own colours, the rest turned, paled, dimmed or inverted."""
    square = random_square(picture, STYLE_SIDE, ZOOM if min(picture.size) > STYLE_SIDE else 0.85, rng)
    kind = rng.random()
    if kind < 0.5:
        return square
    lab = to_oklab(to_tensor(square))
    light, colour = lab[:, :1], lab[:, 1:]
    if kind < 0.8:
        angle, chroma = rng.uniform(0, 2 * math.pi), rng.uniform(0.6, 1.4)
        turn = chroma * torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        colour = torch.einsum("ij,njhw->nihw", turn, colour)
        if rng.random() < 0.15:
            light = 1 - 0.95 * light
    elif kind < 0.88:
        colour = colour * rng.uniform(0, 0.3)
    else:
        light = ((light - 0.5) * rng.uniform(0.7, 1.2) + 0.5 + rng.uniform(-0.1, 0.1)).clamp(0, 1)
    return to_picture(from_oklab(torch.cat([light, colour], 1)).clamp(-1, 1))


def find_art(folder: Path, shares: Mapping[str, float], left_out: Sequence[str]) -> dict[str, tuple[float, list[Path]]]:
    """Kind -> its share and its pictures, those named in `left_out` not among them; a folder a kind in `folder`."""
    art = {kind: (share, [p for p in data.list_pictures(folder / kind) if p.name not in left_out]) for kind, share in shares.items()}
    empty = next((kind for kind, (_, paths) in art.items() if not paths), None)
    if empty is not None:
        raise StyleError(f"{folder / empty} holds no pictures: name a folder with one folder for each of {', '.join(shares)}.")
    return art


def random_square(picture: Image.Image, side: int, zoom: float, rng: random.Random) -> Image.Image:
    """A square of `side` pixels, anywhere in `picture`, of at least the share `zoom` of its short side, mirrored or not."""
    shown = rng.uniform(zoom, 1) * min(picture.size)
    left, top = (rng.uniform(0, length - shown) for length in picture.size)
    square = picture.resize((side, side), Image.Resampling.LANCZOS, box=(left, top, left + shown, top + shown))
    return ImageOps.mirror(square) if rng.random() < 0.5 else square
