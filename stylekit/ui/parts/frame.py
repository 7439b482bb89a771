"""The frame on the wall: a picture, or a photo and what was made of it behind a line that mouse, finger and keys move. Script: frame.js.

Gradio's ImageSlider takes the wheel and a finger's swipe for itself, cannot be moved by keys, and knows no caption; hence our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from stylekit.errors import SettingError

SCRIPTS = tuple(Path(__file__).with_name(name) for name in ("zooming.js", "frame.js", "zoom.js"))  # each stands on those before
Kind = Literal["example", "photo", "live", "result", "back"]

TEMPLATE = """<figure class="sk-frame" data-part="frame">
<div class="sk-mat"><div class="sk-hung" data-part="hung"><img alt="" data-part="before"><img alt="" data-part="after"><i></i>
<input type="range" min="0" max="100" value="50" data-part="at" aria-label="Compare, the photo left of the line">
</div>
<button type="button" class="sk-whole" data-part="whole" aria-label="Full screen" title="Full screen"></button>
<div class="sk-zoom" role="group" aria-label="Zoom" data-part="zoom"><span role="status" data-part="level"></span>
<button type="button" data-part="out" aria-label="Zoom out" title="Zoom out" disabled>−</button>
<button type="button" data-part="actual" aria-label="Actual size" title="Actual size">1:1</button>
<button type="button" data-part="in" aria-label="Zoom in" title="Zoom in (Ctrl and wheel, or two fingers)">+</button></div></div>
<figcaption class="sk-label"><div><b data-part="title"></b><span data-part="details"></span></div>
<a class="sk-download" data-part="download">Download PNG</a></figcaption>
</figure>"""


@dataclass(frozen=True, kw_only=True)
class Hanging:
    """What hangs in a frame. before, after: picture files, or addresses on the shelf; with both there is a line to move.

    kind: "live" is shown only until the next thing, and "back" brings back what hung before it. file: what is downloaded, called `name`.
    photo: which photo it is, or was made of; a picture of another photo than the last one of kind "photo" does not hang. source: where that
    came from, "upload", "kept" or "example" and its number, so that the browser can keep it. most: pixels of the width.
    """

    kind: Kind
    before: Path | str | None = None
    after: Path | str | None = None
    title: str = ""
    details: str = ""
    alt: str = ""
    file: Path | None = None
    name: str = ""
    photo: str = ""
    source: str = ""
    most: int = 0

    def __post_init__(self) -> None:
        if self.kind in ("photo", "live", "result") and not (self.before or self.after):
            raise SettingError(f"There is nothing to hang as {self.kind}: give a picture.")

    @property
    def value(self) -> dict[str, Any]:
        """For the frame's value: Gradio serves what is marked as a file."""
        return {name: served(given) for name, given in vars(self).items()}


def create_frame(first: Hanging, elem_id: str, **more: Any) -> gr.HTML:
    """A frame in which `first` hangs."""
    return gr.HTML(
        first.value,
        html_template=TEMPLATE,
        js_on_load="\n".join(script.read_text(encoding="utf-8") for script in SCRIPTS),
        apply_default_css=False,
        elem_id=elem_id,
        **more,
    )


def served(given: Any) -> Any:
    """A file as Gradio serves it; anything else as it is."""
    return gr.FileData(path=str(given)).model_dump() if isinstance(given, Path) else given


BACK = Hanging(kind="back").value
