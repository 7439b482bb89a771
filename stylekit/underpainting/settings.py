"""Settings of the underpaintings: what a style's card says of them. How they are laid, the modules of their names know."""

from __future__ import annotations

import math
from dataclasses import dataclass

from stylekit.errors import SettingError
from stylekit.ranges import REQUIRED, check, ranged


@dataclass(frozen=True, kw_only=True)
class Brush:
    """width, length: of a stroke in pixels. flow: reach of the direction field in pixels. rest: direction where the photo has none, in
    degrees from horizontal. amount: how thickly the strokes lie, in units of [-1, 1]. respect: 0..1, how much fine detail is spared."""

    width: float = ranged(REQUIRED, 2, 64)
    length: float = ranged(REQUIRED, 2, 256)
    flow: float = ranged(REQUIRED, 1, 64)
    rest: float = ranged(0.0, -180, 180)
    amount: float = ranged(0.15, 0, 1)
    respect: float = ranged(0.5, 0, 1)

    def __post_init__(self) -> None:
        check(self, "The brush's ")


@dataclass(frozen=True, kw_only=True)
class Kuwahara:
    """width: of a sector in pixels, which goes with the smallest thing that stays. passes: how often. contrast: differences below it, in
    units of [-1, 1], are no border. ink: how black key lines lie on the borders, 0 for none."""

    width: float = ranged(REQUIRED, 0.5, 16)
    passes: int = ranged(REQUIRED, 1, 32)
    contrast: float = ranged(0.1, 0.001, 1)
    ink: float = ranged(0.0, 0, 1)

    def __post_init__(self) -> None:
        check(self, "The flat fields' ")


@dataclass(frozen=True, kw_only=True)
class Ground:
    """mean (3), covariance (6: its upper half, row by row) of the picture's colours in Oklab. strokes: 0..1, how much it is brushwork."""

    mean: tuple[float, ...]
    covariance: tuple[float, ...]
    strokes: float

    def __post_init__(self) -> None:
        for name, count in (("mean", 3), ("covariance", 6)):
            values = getattr(self, name)
            if not isinstance(values, (list, tuple)) or len(values) != count or not all(_is_number(value) for value in values):
                raise SettingError(f"The ground's {name} is {values!r}: give {count} numbers.")
            object.__setattr__(self, name, tuple(float(value) for value in values))
        if not _is_number(self.strokes) or not 0 <= self.strokes <= 1:
            raise SettingError(f"The ground's strokes are {self.strokes!r}: choose a number from 0 to 1.")


Underpainting = Brush | Kuwahara | Ground


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
