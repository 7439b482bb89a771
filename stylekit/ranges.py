"""Ranges and choices of settings: declared with the field, checked in one place.

@dataclass(frozen=True, kw_only=True)
class Surface:
    kind: str = choice("canvas", ("canvas", "paper"))
    size: float = ranged(2.0, 0.5, 12)

    def __post_init__(self) -> None:
        check(self, "The surface's ")
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

from stylekit.errors import SettingError
from stylekit.storage.untrusted import shown

REQUIRED: Any = dataclasses.MISSING  # for a setting without a default


@dataclass(frozen=True, kw_only=True)
class Range:
    """Finite numbers from `low` to `high`. over, below: without the one, or the other. whole: whole numbers only."""

    low: float
    high: float = math.inf
    over: bool = False
    below: bool = False
    whole: bool = False

    def __contains__(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, float)):
            return False
        above = self.low < value if self.over else self.low <= value
        return above and (value < self.high if self.below or self.high == math.inf else value <= self.high)

    def __str__(self) -> str:
        """What to do about a number that is not one of these."""
        low, high = (str(end) if isinstance(end, int) else f"{end:g}" for end in (self.low, self.high))
        if self.high == math.inf:
            return "it must be 0 or more" if self.low == 0 else f"it must be at least {low}"
        if self.below:
            return f"it must be from {low} to less than {high}"
        if self.over:
            return f"it must be over {low} and at most {high}"
        return f"choose a {'whole ' if self.whole else ''}number from {low} to {high}"


def ranged(default: Any, low: float, high: float = math.inf, *, over: bool = False, below: bool = False, whole: bool = False) -> Any:
    """A field for a number in a `Range`. `default` may lie outside, as a value with a meaning of its own, such as None."""
    return dataclasses.field(default=default, metadata={"range": Range(low=low, high=high, over=over, below=below, whole=whole)})


def choice(default: Any, choices: Sequence[str]) -> Any:
    """A field for one of `choices`."""
    return dataclasses.field(default=default, metadata={"choices": tuple(choices)})


def check(settings: Any, whose: str = "", leave: Container[str] = ()) -> None:
    """SettingError, in a sentence that begins with `whose`, for the first field of a dataclass that is not as it was declared.

    leave: fields that are not looked at. A subclass that gives a field another default need not declare its range again.
    """
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if field.name in leave or (value == field.default and not isinstance(value, bool)):
            continue
        allowed: Range | None = _declared(settings, field.name, "range")
        choices: tuple[str, ...] | None = _declared(settings, field.name, "choices")
        if allowed is not None and value not in allowed:
            raise SettingError(f"{whose}{field.name} is {shown(value)}: {allowed}.")
        if choices is not None and value not in choices:
            names = " or ".join(choices) if len(choices) == 2 else f"from {', '.join(choices)}"
            raise SettingError(f"{whose}{field.name} is {shown(value)}: choose {names}.")


def _declared(settings: Any, name: str, what: str) -> Any:
    """What the class of `settings`, or the nearest of its parents that does, declares of a field."""
    fields = (kind.__dict__.get("__dataclass_fields__", {}).get(name) for kind in type(settings).__mro__)
    return next((field.metadata[what] for field in fields if field is not None and what in field.metadata), None)
