"""How the page looks: paper, ink and one seal red, like a small print room. Fonts are Gradio's own local files, so nothing is fetched.

`launch_options()` goes to `launch()`; the style sheets lie in look/. Classes of our own start with ``sk-``; the rest is addressed by the
elem_id that the tabs give, never by Gradio's generated class names.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import themes

WORDS = {"common.upload": "Add files"}  # which Gradio's own words lack: it would show the key
LOOK = Path(__file__).with_name("look")
SHEETS = (
    "page",
    "choices",
    "painter",
    "frame",
    "studio",
    "gallery",
    "teaching",
    "evaluation",
    "visit",
    "home",
    "many",
    "zoom",
    "screens",
)  # in this order, the later one wins


def launch_options() -> dict[str, Any]:
    """Keyword arguments for `launch()`: theme and css, no links out, no runs kept in the browser, no Node beside the server."""
    return {"theme": theme(), "css": css(), "i18n": gr.I18n(en=WORDS), "footer_links": [], "run_history": False, "ssr_mode": False}


def theme() -> themes.Base:
    """Light and dark."""
    # Of Gradio's local fonts many (Lora, Source Sans 3, Lexend, ...) hold no lower-case letters; this one is whole at these weights.
    text = themes.LocalFont("Source Sans Pro", weights=(400, 700))
    return themes.Base(
        primary_hue=themes.colors.stone,
        secondary_hue=themes.colors.stone,
        neutral_hue=themes.colors.stone,
        font=(text, "system-ui", "sans-serif"),
        font_mono=("ui-monospace", "monospace"),
        radius_size=themes.sizes.radius_sm,
        text_size=themes.sizes.text_md,
    ).set(
        body_background_fill="#f6f3ec",
        body_background_fill_dark="#171512",
        body_text_color="#26221c",
        body_text_color_dark="#ece6da",
        body_text_color_subdued="#6b6459",
        body_text_color_subdued_dark="#a79f91",
        background_fill_primary="#fdfcf9",
        background_fill_primary_dark="#201d19",
        background_fill_secondary="#f0ece3",
        background_fill_secondary_dark="#2a2621",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_border_width="0px",
        block_shadow="none",
        block_shadow_dark="none",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_label_border_width="0px",
        block_title_text_weight="600",
        block_title_text_color="*body_text_color",
        block_title_text_color_dark="*body_text_color",
        block_info_text_color="*body_text_color_subdued",
        block_info_text_color_dark="*body_text_color_subdued",
        block_padding="0px",
        layout_gap="16px",
        border_color_primary="#dcd5c7",
        border_color_primary_dark="#3a352e",
        border_color_accent="#b23a22",
        border_color_accent_dark="#d9694f",
        color_accent="#b23a22",
        color_accent_soft="#f3e2da",
        color_accent_soft_dark="#3b2620",
        link_text_color="#b23a22",
        link_text_color_dark="#e58a73",
        slider_color="#26221c",
        slider_color_dark="#ece6da",
        input_background_fill="#fdfcf9",
        input_background_fill_dark="#201d19",
        input_border_width="1px",
        input_placeholder_color="*body_text_color_subdued",
        input_placeholder_color_dark="*body_text_color_subdued",
        button_primary_background_fill="#26221c",
        button_primary_background_fill_hover="#423b31",
        button_primary_text_color="#fdfcf9",
        button_primary_background_fill_dark="#ece6da",
        button_primary_background_fill_hover_dark="#ffffff",
        button_primary_text_color_dark="#171512",
        button_secondary_background_fill="transparent",
        button_secondary_background_fill_hover="#f0ece3",
        button_secondary_background_fill_dark="transparent",
        button_secondary_background_fill_hover_dark="#2a2621",
        button_secondary_border_color="#b9b0a0",
        button_secondary_border_color_dark="#5a5248",
        button_border_width="1px",
        button_large_text_weight="600",
        checkbox_label_background_fill="transparent",
        checkbox_label_background_fill_dark="transparent",
        checkbox_label_background_fill_selected="*color_accent_soft",
        checkbox_label_background_fill_selected_dark="*color_accent_soft",
        checkbox_label_text_color_selected="*body_text_color",
        checkbox_background_color_selected="*color_accent",
        checkbox_background_color_selected_dark="*color_accent",
        # what shows where a control is, 3:1 against the page (WCAG 1.4.11)
        checkbox_border_color="#8a7f6d",
        checkbox_border_color_dark="#8d8374",
        input_border_color="#8f8472",
        input_border_color_dark="#857b6c",
        checkbox_label_padding="6px 12px",
    )


@functools.cache
def css() -> str:
    """All style sheets of `LOOK`, one after the other."""
    return "\n".join((LOOK / f"{name}.css").read_text(encoding="utf-8") for name in SHEETS)
