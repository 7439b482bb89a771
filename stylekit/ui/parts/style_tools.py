"""The row of tools for a style of the visitor's, taught or a picture; what they do is in parts/taught.py and visit/pictures.py."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr


@dataclass(frozen=True, kw_only=True)
class StyleTools:
    row: gr.Row
    title: gr.Textbox
    rename: gr.Button
    export: gr.DownloadButton
    remove: gr.Button


def create_tools(prefix: str, label: str) -> StyleTools:
    """Hidden while none is chosen. prefix: of the elements' ids. label: of the field for its title."""
    with gr.Row(visible=False, elem_id=f"{prefix}-tools", elem_classes="sk-tools-row") as row:
        title = gr.Textbox(label=label, show_label=False, max_lines=1, min_width=120, elem_id=f"{prefix}-title")
        rename = gr.Button("Rename", size="sm", scale=0, min_width=80, elem_id=f"{prefix}-rename")
        export = gr.DownloadButton("Save", size="sm", scale=0, min_width=70, elem_id=f"{prefix}-export")
        remove = gr.Button("Remove", size="sm", scale=0, min_width=80, elem_id=f"{prefix}-remove")
    return StyleTools(row=row, title=title, rename=rename, export=export, remove=remove)
