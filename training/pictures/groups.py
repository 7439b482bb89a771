"""Pictures told apart by palette and mark, so that a style is made of those that are alike and not of the mean of all.

What pictures look like is the pocket base's general adapter's to say: the first numbers of its code for a picture's manner, in which works
of one hand lie close together. What is flat, as a print is, is parted from what is painted first, where there is much of both; then they
are parted in two (Ward 1963, https://doi.org/10.1080/01621459.1963.10500845) as long as the two explain enough of how they differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist

from stylekit import features
from stylekit.errors import PictureError, SettingError
from stylekit.images import open_picture, save_png
from stylekit.pixels.contact_sheet import contact_sheet
from stylekit.storage import digests
from stylekit.storage.paths import POCKET_FOLDER
from stylekit.style_picture import general, measured
from stylekit.style_picture.general import FILE, PictureReader, load_general
from stylekit.style_picture.measured import FLAT, measure
from training.loop import caches
from training.pictures.pictures import usable

GENERAL = POCKET_FOLDER / FILE
NUMBERS = 6  # of the code, the first of which tell most; with more, ten Monets and ten prints were one cloud
SHOWN, SHOWN_SIDE = 10, 128  # pictures of a group in its row, and their side in pixels
MARGIN = 88  # pixels, for the words
FEWEST = 8  # pictures that are parted
# two groups of n pictures must explain UNLIKE + CHANCE / n of the variance. Of sets of one painter 1 to 2 % do with ten pictures, 5 to 10 %
# with thirty; of sets half Monet, half prints 45 % with twenty, 83 % with thirty
UNLIKE, CHANCE = 0.16, 4.2
BOTH = 0.3  # share of the pictures that is flat, and that is not, from which on the two are parted; and three at least


def groups(paths: Sequence[Path], cache: Path) -> list[list[Path]]:
    """`paths` in groups of what is alike, the largest first; what cannot be read is in none. What was seen is kept under `cache`."""
    facts = (digests.of_code(features, general, measured, codes), caches.file_digest(GENERAL), caches.file_facts(paths))
    found = caches.kept(cache / f"manners-{digests.of_values(facts)}.pt", lambda: codes(paths))
    seen = [(path, code) for path, code in zip(paths, found, strict=True) if len(code)]
    if not seen:
        return []
    points = np.stack([code.numpy() for _, code in seen])
    parts = parted(points[:, :NUMBERS], points[:, NUMBERS] > FLAT)
    return [[seen[i][0] for i in part] for part in parts]


def sheet(found: Sequence[Sequence[Path]], folder: Path) -> Path:
    """A picture in `folder` with the first of each group in a row, and beside it which group it is and how many pictures it has."""
    rows = [[ImageOps.fit(picture, (SHOWN_SIDE,) * 2, Image.Resampling.LANCZOS) for picture in usable(part, SHOWN)] for part in found]
    names = [f"group {i + 1}\n{len(part)} pictures" for i, part in enumerate(found)]
    return save_png(contact_sheet(rows, names=names, margin=MARGIN), folder / "groups.png")


def codes(paths: Sequence[Path]) -> list[torch.Tensor]:
    """(NUMBERS + 1,) of each picture: its manner, about standard normal, and how flat it is, 0..1; empty for one that cannot be read."""
    model, reader, found = load_general(GENERAL), PictureReader(), []
    for path in paths:
        try:
            picture = open_picture(path)
            manner = model.code(reader.read(picture).moments[None])[0, :NUMBERS]
            found.append(torch.cat([manner, torch.tensor([measure(picture).flat], dtype=manner.dtype)]))
        except (PictureError, SettingError):
            found.append(torch.empty(0))
    return found


def parted(points: NDArray[np.float32], flat: NDArray[np.bool_]) -> list[list[int]]:
    """Indices of `points` (n, d) in groups, the largest first; of two alike in size that with the first point.

    flat: (n,) which are flat."""
    kinds = [np.flatnonzero(flat == kind).tolist() for kind in (True, False)]
    if len(points) < FEWEST or min(map(len, kinds)) < max(3, BOTH * len(points)):
        kinds = [list(range(len(points)))]
    parts = [part for kind in kinds for part in _parted(points, kind)]
    return sorted(parts, key=lambda part: (-len(part), part[0]))


def _parted(points: NDArray[np.float32], part: list[int]) -> list[list[int]]:
    if len(part) < FEWEST:
        return [part]
    some = points[part]
    labels = fcluster(linkage(pdist(some), "ward"), 2, "maxclust")
    halves = [[i for i, label in zip(part, labels, strict=True) if label == one] for one in (1, 2)]
    if not all(halves):
        return [part]
    within = sum(float(np.square(points[half] - points[half].mean(0)).sum()) for half in halves)
    whole = float(np.square(some - some.mean(0)).sum())
    if whole <= 0 or 1 - within / whole < UNLIKE + CHANCE / len(part):
        return [part]
    return [found for half in halves for found in _parted(points, half)]
