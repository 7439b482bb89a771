"""What the browser keeps of a visit, and how it comes back: nothing of it is believed. The browser's part is keep.js and store.js."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr

from stylekit.errors import StyleError
from stylekit.style_picture.picture import StylePicture
from stylekit.ui.visitor_styles import MOST_STYLES, TITLE_LENGTH, VisitorStyles

FOLDER = Path(__file__).parent
SETTINGS = "stylekit-settings"  # the browser's event that tells keep.js of settings
TEMPLATE = '<p class="sk-quiet" role="status"></p>'


def create_keep(limit: int) -> gr.HTML:
    """The browser's store. Its "input" brings what was kept; "select" tells of a file over `limit` bytes."""
    script = "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in ("store.js", "keep.js"))
    return gr.HTML({}, html_template=TEMPLATE, js_on_load=script, limit=limit, apply_default_css=False, elem_id="keep")


def telling(names: Sequence[str]) -> str:
    """JavaScript that tells keep.js of the settings `names`, whose values are its arguments."""
    return (
        f"(...values) => {{ const names = {json.dumps(list(names))}; document.dispatchEvent(new CustomEvent({SETTINGS!r}, "
        "{detail: Object.fromEntries(names.map((name, i) => [name, values[i]]))})); }"
    )


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What came back. settings: by name, of any type. photo: an uploaded file. example: number of an example photo."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    visitor: VisitorStyles = field(default_factory=VisitorStyles)
    photo: Path | None = None
    example: int | None = None

    @classmethod
    def of(cls, value: Any) -> Kept:
        """As far as it makes sense."""
        given: Mapping[str, Any] = value if isinstance(value, dict) else {}
        settings, photo, example = given.get("settings"), given.get("photo"), given.get("example")
        return cls(
            settings=settings if isinstance(settings, dict) else {},
            visitor=_visitor(given.get("own")),
            photo=Path(photo["path"]) if isinstance(photo, dict) and isinstance(photo.get("path"), str) else None,
            example=example if isinstance(example, int) and not isinstance(example, bool) else None,
        )

    def number(self, name: str, low: float, high: float, default: float) -> float:
        """Between low and high."""
        value = self.settings.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            return default
        return value

    def switch(self, name: str, default: bool) -> bool:
        value = self.settings.get(name)
        return value if isinstance(value, bool) else default

    def one_of(self, name: str, choices: Sequence[Any], default: Any) -> Any:
        value = self.settings.get(name)
        return value if isinstance(value, (str, int, float)) and value in choices else default


def _visitor(value: Any) -> VisitorStyles:
    visitor = VisitorStyles()
    for record in value[:MOST_STYLES] if isinstance(value, list) else ():
        try:
            jpeg, title = record["jpeg"], record.get("title", "")
            if isinstance(jpeg, str) and isinstance(title, str):
                visitor = visitor.add(StylePicture.from_text(jpeg), title[: 2 * TITLE_LENGTH])
        except (StyleError, TypeError, KeyError, AttributeError):
            continue
    return visitor
