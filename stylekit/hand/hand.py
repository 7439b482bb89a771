"""A hand: an ordered mix of tools, read from a style card. Pictures are drawn with one or several of them in hand/drawing.py."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stylekit.errors import SettingError
from stylekit.hand.analysis import Floats
from stylekit.hand.dots import Dots, plan_dots
from stylekit.hand.engraving import Engraving, plan_engraving
from stylekit.hand.fields import Fields, plan_fields
from stylekit.hand.glass import Glass, plan_glass
from stylekit.hand.hatching import Hatching, plan_hatching
from stylekit.hand.linework.ink import Ink, plan_ink
from stylekit.hand.linework.lines import Lines, plan_lines
from stylekit.hand.linework.outlines import Outlines, plan_outlines
from stylekit.hand.linework.pattern import Pattern, plan_pattern
from stylekit.hand.strokes import Strokes, plan_strokes
from stylekit.hand.surface import Surface, plan_surface
from stylekit.hand.tone import Tone, toned
from stylekit.hand.view import Layer, View
from stylekit.hand.wash import Wash, plan_wash
from stylekit.hand.woodblock import Woodblock, plan_woodblock

MODEL, PHOTO = "model", "photo"  # where a hand's colours come from


def _always(settings: Any) -> bool:
    return True


def _never(settings: Any) -> bool:
    return False


@dataclass(frozen=True)
class Tool:
    """settings: class of a tool's settings. recolour: what it makes of the colours before marks are planned. plan: its marks, for one or
    several settings. One of the two is None. rank: place among the tools of several hands drawn together, the lowest first."""

    settings: type
    rank: int
    recolour: Callable[[View, Any, Floats], Floats] | None = None
    plan: Callable[[View, Any, Floats], Layer] | None = None
    together: bool = False  # all settings of the tool are planned at once, for they look at one another
    alone: Callable[[Any], bool] = _never  # whether it looks at the photo only, not at colours, and can be planned beside other tools
    covers: bool = False  # where it is wanted wholly, nothing of what lies below shows


TOOLS: dict[str, Tool] = {
    "tone": Tool(Tone, 0, recolour=toned),
    "fields": Tool(Fields, 1, plan=plan_fields, covers=True),
    "glass": Tool(Glass, 1, plan=plan_glass, covers=True),
    "woodblock": Tool(Woodblock, 1, plan=plan_woodblock, covers=True),
    "wash": Tool(Wash, 1, plan=plan_wash, covers=True),
    "strokes": Tool(Strokes, 2, plan=plan_strokes, together=True, covers=True),
    "hatching": Tool(Hatching, 3, plan=plan_hatching, alone=_always, covers=True),
    "engraving": Tool(Engraving, 3, plan=plan_engraving, alone=_always, covers=True),
    "dots": Tool(Dots, 4, plan=plan_dots),
    "ink": Tool(Ink, 5, plan=plan_ink, alone=_always),
    "lines": Tool(Lines, 5, plan=plan_lines, alone=lambda lines: not (lines.beside or lines.relief or lines.reserve)),
    "outlines": Tool(Outlines, 5, plan=plan_outlines),
    "pattern": Tool(Pattern, 5, plan=plan_pattern, alone=_always),
    "surface": Tool(Surface, 6, plan=plan_surface, alone=_always),
}


@dataclass(frozen=True, kw_only=True)
class Hand:
    """tools: name of a tool and its settings, several for several layers, in the order in which they are used. colours: what the marks
    take theirs from, the model's picture or the photo itself; a hand of the second kind needs no model."""

    tools: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    colours: str = MODEL

    def __post_init__(self) -> None:
        if self.colours not in (MODEL, PHOTO):
            raise SettingError(f"The hand's colours are {self.colours!r}: choose {MODEL} or {PHOTO}.")
        for name, settings in self.tools:
            tool = tool_of(name)
            if not settings or not all(isinstance(s, tool.settings) for s in settings):
                raise SettingError(f"The hand's tool {name} has no settings of its own kind: give it at least one table.")

    @classmethod
    def from_card(cls, table: Mapping[str, Any]) -> Hand:
        """The hand of a card's table: for every tool a table of settings, or a list of tables. SettingError where it is not so."""
        if not isinstance(table, Mapping):
            raise SettingError(f"The card's hand is {table!r}: give a table with a tool such as strokes or lines on every line.")
        tools = tuple((name, tuple(_read(name, value))) for name, value in table.items() if name != "colours")
        return cls(tools=tools, colours=table.get("colours", MODEL))

    def to_card(self) -> dict[str, Any]:
        """What from_card reads: only settings that differ from a tool's own."""
        result: dict[str, Any] = {} if self.colours == MODEL else {"colours": self.colours}
        for name, settings in self.tools:
            tables = [_written(s) for s in settings]
            result[name] = tables if len(tables) > 1 or tool_of(name).together else tables[0]
        return result


def tool_of(name: str) -> Tool:
    """SettingError for a name that no tool has."""
    if name not in TOOLS:
        raise SettingError(f"The hand's tool {name!r} is unknown: choose from {', '.join(TOOLS)}.")
    return TOOLS[name]


def _read(name: str, value: Any) -> list[Any]:
    tool = tool_of(name)
    tables = value if isinstance(value, (list, tuple)) else [value]
    if not tables or not all(isinstance(t, Mapping) for t in tables):
        raise SettingError(f"The hand's {name} is {value!r}: give a table of settings, or a list of tables.")
    return [_settings(name, tool, t) for t in tables]


def _settings(name: str, tool: Tool, table: Mapping[str, Any]) -> Any:
    fields = {f.name: f for f in dataclasses.fields(tool.settings)}
    for key in table:
        if key not in fields:
            raise SettingError(f"The hand's {name} has no setting {key!r}: choose from {', '.join(fields)}.")
    missing = [n for n, f in fields.items() if n not in table and f.default is dataclasses.MISSING]
    if missing:
        raise SettingError(f"The hand's {name} lacks {missing[0]!r}: give it a value.")
    return tool.settings(**{k: tuple(v) if isinstance(v, list) else v for k, v in table.items()})


def _written(settings: Any) -> dict[str, Any]:
    result = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if value != field.default:
            result[field.name] = list(value) if isinstance(value, tuple) else value
    return result
