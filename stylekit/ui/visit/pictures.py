"""What can be done with a style picture of the visitor's own: called otherwise, taken off, saved as a file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from stylekit.errors import StyleError
from stylekit.ui.choices import visitor_choices
from stylekit.ui.status import complain, say
from stylekit.ui.visitor_styles import VisitorStyles
from stylekit.ui.worker import PRIVATE

if TYPE_CHECKING:
    from stylekit.ui.stylize_layout import StylizeTab


def connect(tab: StylizeTab) -> None:
    """The tools go with the chosen style."""
    tools = tab.own
    shown = [tools.row, tools.title, tools.export]

    def show(name: str | None, visitor: VisitorStyles) -> Iterator[Any]:
        style = next((style for style in visitor.styles if style.name == name), None)
        if style is None:
            yield {tools.row: gr.Row(visible=False)}
            return
        with tempfile.TemporaryDirectory(prefix="stylekit-") as folder:
            file = Path(folder) / f"{visitor.slug(style.name)}.jpg"
            file.write_bytes(style.picture.jpeg)
            yield {tools.row: gr.Row(visible=True), tools.title: style.title, tools.export: gr.DownloadButton(value=str(file))}

    def rename(name: str, title: str, visitor: VisitorStyles) -> Any:
        if name not in visitor:
            return gr.skip()
        try:
            visitor = visitor.retitled(name, title)
        except StyleError as error:
            return {tab.status: complain(str(error))}
        called = visitor.title(name)
        return {
            tab.visitor_styles: visitor,
            tab.style: gr.HTML(name, mine=visitor_choices(visitor)),
            tools.title: called,
            tab.status: say(f"Your picture is called {called} now."),
        }

    def remove(name: str, visitor: VisitorStyles) -> Any:
        if name not in visitor:
            return gr.skip()
        title, visitor = visitor.title(name), visitor.without(name)
        return {
            tab.visitor_styles: visitor,
            tab.style: gr.HTML(tab.style.value, mine=visitor_choices(visitor)),
            tools.row: gr.Row(visible=False),
            tab.status: say(f"{title} is no longer among the styles."),
        }

    tab.style.change(show, [tab.style, tab.visitor_styles], shown, **PRIVATE)
    changed = [tab.visitor_styles, tab.style, tab.status, tools.row, tools.title]
    gr.on([tools.rename.click, tools.title.submit], rename, [tab.style, tools.title, tab.visitor_styles], changed, **PRIVATE)
    tools.remove.click(remove, [tab.style, tab.visitor_styles], changed, **PRIVATE)
