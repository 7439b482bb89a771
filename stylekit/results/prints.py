"""Sizes of paper: how large a picture is for a print, at 300 dots per inch.

The hand draws at the size of what it is given, so a photo that is enlarged first gets the same marks, drawn finer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image

from stylekit.errors import SettingError
from stylekit.maps import Size

DPI = 300
INCH = 25.4  # millimetres


@dataclass(frozen=True, kw_only=True)
class Paper:
    """sides: long and short one in millimetres."""

    name: str
    title: str
    sides: tuple[int, int]

    def fit(self, size: Size) -> Size:
        """(width, height) in pixels of a picture of the shape of `size`, as large as the paper holds, which lies as the picture does."""
        long, short = self._dots
        k = min(long / max(size), short / min(size))
        width, height = (max(1, round(side * k)) for side in size)
        return width, height

    @property
    def pixels(self) -> int:
        """Of the whole sheet, the most that `fit` gives."""
        return math.prod(self._dots)

    @property
    def _dots(self) -> Size:
        long, short = (round(side * DPI / INCH) for side in self.sides)
        return long, short


PAPERS: Mapping[str, Paper] = {
    paper.name: paper
    for paper in (
        Paper(name="postcard", title="Postcard", sides=(148, 105)),
        Paper(name="a5", title="A5", sides=(210, 148)),
        Paper(name="a4", title="A4", sides=(297, 210)),
        Paper(name="a3", title="A3", sides=(420, 297)),
        Paper(name="a2", title="A2", sides=(594, 420)),
    )
}


def find_paper(name: str) -> Paper:
    """Raises SettingError for one that is not in `PAPERS`."""
    if name not in PAPERS:
        raise SettingError(f"The print size is {name!r}: choose one of {', '.join(PAPERS)}.")
    return PAPERS[name]


def for_print(photo: Image.Image, paper: Paper | None) -> Image.Image:
    """The photo at the size in which it is drawn and printed; as it is without a paper."""
    return photo if paper is None else photo.resize(paper.fit(photo.size), Image.Resampling.LANCZOS, reducing_gap=3.0)
