"""What can be done with a style that was taught here, beside its picture in the gallery: called otherwise, taken away, saved as a file."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from stylekit.errors import StyleError
from stylekit.storage import taught
from stylekit.styles import Style
from stylekit.ui.parts import style_tools
from stylekit.ui.parts.style_tools import StyleTools
from stylekit.ui.status import complain, say
from stylekit.ui.worker import PRIVATE

QUESTION = "Remove this style and its files from this machine? Save it first, if you may want it again."
SURE = f"(name) => [name, confirm({json.dumps(QUESTION)})]"


@dataclass(frozen=True, kw_only=True)
class Taught:
    """retitle: a style's name and its new title -> the style. discard: takes a style away."""

    retitle: Callable[[str, str], Style]
    discard: Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class TaughtTools(StyleTools):
    status: gr.HTML
    sure: gr.Checkbox


def create_tools() -> TaughtTools:
    """Hidden while no taught style hangs large."""
    tools = style_tools.create_tools("taught", "Name of the style")
    with tools.row:
        status = gr.HTML(say(""), apply_default_css=False, js_on_load=None, elem_id="taught-status")
    sure = gr.Checkbox(False, visible=False)  # answers, which a State would not bring along from the browser
    return TaughtTools(**vars(tools), status=status, sure=sure)


def connect(
    tools: TaughtTools,
    can: Taught,
    wall: gr.HTML,
    find: Callable[[str | None], Style | None],
    hang: Callable[[str | None], dict[Any, Any]],
    outputs: list[Any],
) -> None:
    """wall: its value is the name of the style that hangs large. hang: that style, and all others, shown anew, in `outputs`."""

    def show(name: str | None) -> Iterator[Any]:
        style = find(name)
        if style is None or not taught.is_taught(style):
            yield {tools.row: gr.Row(visible=False)}
            return
        with tempfile.TemporaryDirectory(prefix="stylekit-") as folder:
            try:
                file = taught.pack(style, Path(folder))
            except StyleError:
                yield {tools.row: gr.Row(visible=False)}
                return
            export = gr.DownloadButton(value=str(file))
            yield {tools.row: gr.Row(visible=True), tools.title: style.title, tools.export: export, tools.status: say("")}

    def rename(name: str | None, title: str) -> Any:
        try:
            style = can.retitle(name or "", title)
        except StyleError as error:
            return {tools.status: complain(str(error))}
        return hang(style.name) | {tools.status: say(f"It is called {style.title} now.")}

    def remove(name: str | None, sure: bool) -> Any:
        if not sure:
            return gr.skip()
        try:
            can.discard(name or "")
        except StyleError as error:
            return {tools.status: complain(str(error))}
        return hang(None) | {tools.row: gr.Row(visible=False)}

    wall.change(show, wall, [tools.row, tools.title, tools.export, tools.status], **PRIVATE)
    shown = [*outputs, tools.status, tools.row]
    gr.on([tools.rename.click, tools.title.submit], rename, [wall, tools.title], shown, **PRIVATE)
    tools.remove.click(remove, [wall, tools.sure], shown, js=SURE, **PRIVATE)
