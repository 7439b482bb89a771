"""Ranges and choices that settings declare with their fields."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest

from stylekit.errors import SettingError
from stylekit.ranges import REQUIRED, Range, check, choice, ranged


@dataclass(frozen=True, kw_only=True)
class Wash:
    width: float = ranged(REQUIRED, 0.5, 12)
    layers: int = ranged(None, 1, 6, whole=True)
    gap: float = ranged(0.0, 0.8, 64)
    share: float = ranged(0.5, 0, 1, below=True)
    zoom: float = ranged(1.0, 0, 1, over=True)
    steps: int = ranged(8, 1)
    kind: str = choice("wet", ("wet", "dry"))
    tool: str = choice("pen", ("pen", "reed", "brush"))

    def __post_init__(self) -> None:
        check(self, "The wash's ")


@dataclass(frozen=True, kw_only=True)
class Glaze(Wash):
    steps: int = 2  # another default, the parent's range


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"width": 0.4}, "The wash's width is 0.4: choose a number from 0.5 to 12."),
        ({"width": "wide"}, "The wash's width is 'wide': choose a number from 0.5 to 12."),
        ({"width": True}, "The wash's width is True: choose a number from 0.5 to 12."),
        ({"width": math.nan}, "The wash's width is nan: choose a number from 0.5 to 12."),
        ({"layers": 2.0}, "The wash's layers is 2.0: choose a whole number from 1 to 6."),
        ({"gap": 0.5}, "The wash's gap is 0.5: choose a number from 0.8 to 64."),
        ({"gap": False}, "The wash's gap is False: choose a number from 0.8 to 64."),
        ({"share": 1.0}, "The wash's share is 1.0: it must be from 0 to less than 1."),
        ({"zoom": 0}, "The wash's zoom is 0: it must be over 0 and at most 1."),
        ({"steps": 0}, "The wash's steps is 0: it must be at least 1."),
        ({"steps": math.inf}, "The wash's steps is inf: it must be at least 1."),
        ({"kind": "oily"}, "The wash's kind is 'oily': choose wet or dry."),
        ({"tool": ["pen"]}, "The wash's tool is ['pen']: choose from pen, reed, brush."),
    ],
)
def test_what_is_not_as_declared_is_told(wrong: dict[str, object], told: str) -> None:
    for kind in (Wash, Glaze):
        with pytest.raises(SettingError) as refused:
            kind(**{"width": 1.0} | wrong)  # type: ignore[arg-type]
        assert str(refused.value) == told


def test_ends_belong_and_defaults_are_always_right() -> None:
    for width in (0.5, 12):
        assert Wash(width=width).width == width
    Wash(width=1, gap=0, layers=None, share=0, zoom=1, steps=10**6, tool="brush")
    assert 0 in Range(low=0)
    assert math.inf not in Range(low=0)
