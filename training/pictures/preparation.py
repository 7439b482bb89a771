"""Settings of `training.prepare`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from stylekit.errors import SettingError
from stylekit.ranges import Range, check
from stylekit.styles import is_name
from training.loop.config import FROM_ONE, OVER_ZERO, setting
from training.pictures.captions import one_line

CROPS = ("none", "center", "smart")
SHAPES = ("auto", "coco", "wikiart", "plain")
SPLITS = ("train", "held_out")


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """Settings of one data set; every field but `sources` is a flag. What is not free may not change while pictures are added."""

    sources: tuple[Path, ...] = field(metadata={"free": True})
    out: Path = field(metadata={"help": "folder to make", "free": True})
    style: str = field(metadata={"help": "name of the style: lower-case letters, digits, - and _"})
    trigger: str | None = setting(None, 'words that every caption begins with (default: "NAME style")', free=True)
    size: int = setting(512, "short side of the prepared pictures in pixels", allowed=Range(low=16))
    trim: tuple[float, ...] = setting((0.0,), "percent to cut off first, as scans need: every side, or top,right,bottom,left")
    crop: str = setting("none", "none (keep the aspect), center, or smart: the square with most edges", choices=CROPS)
    enlarge: float = setting(1.0, "largest factor by which a small picture may be enlarged", allowed=Range(low=1, high=8))
    split: float = setting(0.9, "expected share of training pictures; the others are held out", allowed=OVER_ZERO)
    seed: int = setting(0, "seed of the split and of --limit")
    near: int = setting(
        6,
        "bits of 64 in which the perceptual hashes of near duplicates may differ; -1 keeps near duplicates",
        allowed=Range(low=-1, high=32),
    )
    license: str = setting("unknown", "licence of pictures whose folder does not tell", free=True)
    artist: str = setting("", "artist of pictures whose folder does not tell", free=True)
    shape: str = setting("auto", "auto, coco, wikiart or plain", free=True, choices=SHAPES)
    limit: int | None = setting(None, "take only so many pictures, chosen by the seed", free=True, allowed=FROM_ONE)
    workers: int = setting(min(8, os.cpu_count() or 1), "threads", free=True, allowed=FROM_ONE)

    def __post_init__(self) -> None:
        if not is_name(self.style):
            raise SettingError(f"style is {self.style!r}: use lower-case letters, digits, - and _.")
        check(self)
        if len(self.trim) not in (1, 4) or not all(0 <= part <= 40 for part in self.trim):
            raise SettingError(f"trim is {','.join(map(str, self.trim))}: give one number or four, from 0 to 40 percent.")

    @property
    def words(self) -> str:
        return f"{self.style} style" if self.trigger is None else one_line(self.trigger)

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) of what is left after trimming."""
        top, right, bottom, left = (part / 100 for part in (self.trim * 4)[:4])
        return round(width * left), round(height * top), round(width * (1 - right)), round(height * (1 - bottom))

    def scaled(self, width: int, height: int) -> tuple[int, int]:
        """Width and height with the short side at `size`, or less where that would enlarge more than `enlarge` times."""
        factor = min(self.size / min(width, height), self.enlarge)
        return max(1, round(width * factor)), max(1, round(height * factor))
