"""The top of the page, and the script of the page as a whole, page.js."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

SCRIPT = Path(__file__).with_suffix(".js")
HEADER = """<header class="sk-header"><h1>stylekit</h1><p>Turn a photograph into a drawing, a print or a painting.</p></header>"""


def create_header() -> gr.HTML:
    return gr.HTML(HEADER, apply_default_css=False, js_on_load=SCRIPT.read_text(encoding="utf-8"))
