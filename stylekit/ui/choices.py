"""Pictures to choose from: styles, example photos. They travel inside the page, so no file of the server has to be opened to visitors."""

from __future__ import annotations

import base64
import html
import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr
from PIL import Image, ImageOps

from stylekit.errors import PictureError
from stylekit.images import open_picture

if TYPE_CHECKING:
    from stylekit.styles import Style
    from stylekit.ui.own import OwnStyles

log = logging.getLogger(__name__)

THUMBNAIL = (300, 200)  # pixels

STYLE_TEMPLATE = """<fieldset class="sk-pictures"><legend>Style</legend><div class="sk-grid">
${[...choices, ...mine].map((c) => `<label><input type="radio" name="style" value="${c.name}" ${c.name === value ? "checked" : ""}>
${c.picture ? `<img src="${c.picture}" alt="">` : `<div class="sk-blank"></div>`}<span>${c.title}</span></label>`).join("")}
</div></fieldset>"""
STYLE_SCRIPT = """
element.addEventListener("change", (event) => { props.value = event.target.value; trigger("input"); });
// when the pictures change too: Gradio reuses the inputs, and one that was touched no longer minds its attribute
watch(["value", "choices", "mine"], () => {
  for (const input of element.querySelectorAll("input")) input.checked = input.value === props.value;
});
"""
EXAMPLES_TEMPLATE = """<div class="sk-examples"><span>Or try</span>
${choices.map((c, i) => `<button type="button" data-index="${i}" aria-label="Example photo: ${c.title}">
<img src="${c.picture}" alt=""></button>`).join("")}</div>"""
EXAMPLES_SCRIPT = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) trigger("select", {index: Number(button.dataset.index)});
});
"""


def create_styles(styles: Sequence[Style]) -> gr.HTML:
    """The styles by their pictures; the value is the name of the chosen one, at first the first.

    mine, beside choices: the visitor's own (`own_choices`), which stay when the styles change.
    """
    return gr.HTML(
        styles[0].name if styles else None,
        html_template=STYLE_TEMPLATE,
        js_on_load=STYLE_SCRIPT,
        choices=style_choices(styles),
        mine=[],
        apply_default_css=False,
        elem_id="style",
    )


def style_choices(styles: Sequence[Style]) -> list[dict[str, str]]:
    """What `create_styles` shows, for a page whose styles have changed."""
    return [_choice(style.name, style.title, style.preview) for style in styles]


def own_choices(own: OwnStyles) -> list[dict[str, str]]:
    """The `mine` of `create_styles`."""
    return [_choice(style.name, style.title, style.picture.picture) for style in own.styles]


def create_examples(photos: Sequence[Path]) -> gr.HTML:
    """A row of example photos; its select event carries the index of the one clicked."""
    return gr.HTML(
        html_template=EXAMPLES_TEMPLATE,
        js_on_load=EXAMPLES_SCRIPT,
        choices=[_choice(path.stem, path.stem.replace("_", " "), path) for path in photos],
        visible=bool(photos),
        apply_default_css=False,
        elem_id="examples",
    )


def before_and_after(style: Style | None, side: int) -> tuple[Image.Image, Image.Image] | None:
    """The style's photo and what it makes of it, at most `side` pixels long; None for a style without these pictures."""
    if style is None or style.before is None or style.preview is None:
        return None
    try:
        pair = open_picture(style.before), open_picture(style.preview)
    except PictureError as error:
        log.warning("%s", error)
        return None
    for picture in pair:
        picture.thumbnail((side, side))
    return pair


def _choice(name: str, title: str, picture: Path | Image.Image | None) -> dict[str, str]:
    """A picture to choose, for the templates."""
    source = ""
    if picture is not None:
        try:
            square = ImageOps.fit(open_picture(picture), THUMBNAIL)
        except PictureError as error:
            log.warning("%s", error)
        else:
            data = io.BytesIO()
            square.save(data, "JPEG", quality=85)
            source = f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
    return {"name": html.escape(name), "title": html.escape(title), "picture": source}
