"""Training pictures: listing, splitting, scaling and cropping.

Folders hold ordinary image files. A split file (tab-separated, columns ``file``, ``coco_id``, ``split``) names the photos that are
held out of all training: the first ``HELD_OUT`` COCO validation photos by ascending COCO id.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from PIL import Image

from stylekit import images
from stylekit.formats import list_pictures
from stylekit.storage.paths import PHOTOS_FOLDER

BORDER = 0.04  # of a side, cut off scans
TELLING = ("astronaut", "china", "coffee", "raccoon")  # a face, a building under the sky, a still life, fur and leaves
HELD_OUT = 120  # COCO val photos kept out of every training run


def shipped_photos() -> tuple[list[Path], list[Path]]:
    """This repository's photos: those to train on, and `TELLING`, which are held out of every training and shown as it goes."""
    paths = list_pictures(PHOTOS_FOLDER)
    return [path for path in paths if path.stem not in TELLING], [path for path in paths if path.stem in TELLING]


def held_out_ids(split_file: Path, count: int = HELD_OUT) -> list[int]:
    """COCO ids of the held-out photos: the `count` smallest ids of the val2017 rows of `split_file`."""
    with Path(split_file).open(newline="") as rows:
        ids = {int(row["coco_id"]) for row in csv.DictReader(rows, delimiter="\t") if row["split"] == "val2017"}
    return sorted(ids)[:count]


def split_photos(folder: Path, split_file: Path) -> tuple[list[Path], list[Path]]:
    """(training photos, held-out photos) below `folder`; one file per COCO id, unknown files go to neither side."""
    with Path(split_file).open(newline="") as rows:
        ids = {row["file"]: int(row["coco_id"]) for row in csv.DictReader(rows, delimiter="\t")}
    held = set(held_out_ids(split_file))
    train: dict[int, Path] = {}
    test: dict[int, Path] = {}
    for path in list_pictures(folder):
        if path.name in ids:
            side = test if ids[path.name] in held else train
            side.setdefault(ids[path.name], path)
    return list(train.values()), list(test.values())


def open_art(path: Path) -> Image.Image:
    """A work of art without its scan border, and the printed caption (bottom 12 %) off `speed__*` plates."""
    return without_border(images.open_picture(path), 0.12 if path.name.startswith("speed__") else BORDER)


def without_border(picture: Image.Image, bottom: float = BORDER) -> Image.Image:
    """`picture` less what is often not the work on a scan: 4 % of every side, or `bottom` of the height below."""
    w, h = picture.size
    return picture.crop((round(w * BORDER), round(h * BORDER), round(w * (1 - BORDER)), round(h * (1 - bottom))))


def scale_to(picture: Image.Image, long_side: int, multiple: int = 8) -> Image.Image:
    """`picture` resized so that its long side is `long_side`, then cropped at the centre to a multiple of `multiple`."""
    w, h = picture.size
    k = long_side / max(w, h)
    w, h = max(multiple, round(w * k)), max(multiple, round(h * k))
    picture = picture.resize((w, h), Image.Resampling.LANCZOS)
    cw, ch = w // multiple * multiple, h // multiple * multiple
    left, top = (w - cw) // 2, (h - ch) // 2
    return picture.crop((left, top, left + cw, top + ch))


def to_tensor(picture: Image.Image) -> torch.Tensor:
    """(3, H, W) float32 in [-1, 1]."""
    return images.to_tensor(picture)[0]


def random_crop(stack: Sequence[torch.Tensor], size: int, rng: random.Random, flip: bool = True) -> list[torch.Tensor]:
    """The same random `size` x `size` crop (and mirror) of every (C, H, W) tensor in `stack`."""
    _, h, w = stack[0].shape
    top, left = rng.randint(0, h - size), rng.randint(0, w - size)
    crops = [t[:, top : top + size, left : left + size] for t in stack]
    if flip and rng.random() < 0.5:
        crops = [t.flip(-1) for t in crops]
    return crops


def small_ones(paths: Sequence[Path], side: int) -> list[tuple[Path, tuple[int, int]]]:
    """Those of `paths` whose short side is under `side` pixels, the smallest first; by their headers alone."""
    found = []
    for path in paths:
        try:
            with Image.open(path) as picture:
                found.append((path, picture.size))
        except (OSError, ValueError, Image.DecompressionBombError):
            continue  # said when it is opened
    return sorted(((path, size) for path, size in found if min(size) < side), key=lambda one: min(one[1]))


def batches_of(items: Iterable[torch.Tensor]) -> torch.Tensor:
    """Stack into one float32 batch."""
    return torch.stack([item.float() for item in items])
