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

HELD_OUT = 120  # COCO val photos kept out of every training run


def list_pictures(folder: Path) -> list[Path]:
    """Every picture file below `folder` that is not hidden, sorted by path."""
    files = (p for p in Path(folder).rglob("*") if p.suffix.lower() in images.SUFFIXES and not p.name.startswith("."))
    return sorted(p for p in files if p.is_file())


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
    """A work of art without its scan border: 4 % off every side, and the printed caption (bottom 12 %) off `speed__*` plates."""
    picture = images.open_picture(path)
    w, h = picture.size
    bottom = 0.12 if path.name.startswith("speed__") else 0.04
    return picture.crop((round(w * 0.04), round(h * 0.04), round(w * 0.96), round(h * (1 - bottom))))


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


def batches_of(items: Iterable[torch.Tensor]) -> torch.Tensor:
    """Stack into one float32 batch."""
    return torch.stack([item.float() for item in items])
