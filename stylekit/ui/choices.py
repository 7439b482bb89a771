"""Pictures to choose from: styles, example photos."""

from __future__ import annotations

import base64
import functools
import html
import io
import logging
from collections.abc import Container, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr
from PIL import Image, ImageOps

from stylekit.errors import PictureError
from stylekit.images import open_picture
from stylekit.styles import DREAMBOOTH
from stylekit.ui.parts.shelf import shelve

if TYPE_CHECKING:
    from stylekit.styles import Style
    from stylekit.ui.visitor_styles import VisitorStyles

log = logging.getLogger(__name__)

THUMBNAIL = (240, 160)  # pixels: a tile is at most 120 wide, on screens of two dots a pixel
HEADS = (0.5, 0.2)  # where a picture is cut: heads are above the middle
SMALL = (112, 112)  # of example photos
QUALITY = 76  # of the copies, as WebP: half of what JPEG takes

STYLE_TEMPLATE = """<fieldset class="sk-pictures">
<legend>Style${Object.keys(renderings).length ? " <span>on your photo</span>" : ""}</legend>
<div class="sk-grid">
${[...choices, ...mine].filter((c) => !c.twin || c.name === value)
.map((c) => `<label ${c.missing ? `class="sk-away" title="${c.missing}"` : ""}>
<input type="radio" name="style" value="${c.name}" ${c.name === value ? "checked" : ""} ${c.missing ? "disabled" : ""}>
${renderings[c.name] || c.picture ? `<img src="${renderings[c.name] || c.picture}" alt="">` : `<div class="sk-blank"></div>`}\
<span>${c.title}${c.missing ? `<small>Not on this base</small>` : ""}</span></label>`).join("")}
</div></fieldset>"""
STYLE_SCRIPT = """
element.addEventListener("change", ({target: {value}}) => {
  props.value = value;
  trigger("input");
  document.dispatchEvent(new CustomEvent("stylekit-chosen", {detail: value})); // the brush has it at once
});
// when the pictures change too: Gradio reuses the inputs, and one that was touched no longer minds its attribute
watch(["value", "choices", "mine"], () => {
  for (const input of element.querySelectorAll("input")) input.checked = input.value === props.value;
});
watch("mine", () => {  // for the browser's store
  const plain = (text) => new DOMParser().parseFromString(text, "text/html").body.textContent;
  const detail = props.mine.map((c) => ({title: plain(c.title), jpeg: c.whole.split(",")[1]}));
  document.dispatchEvent(new CustomEvent("stylekit-own", {detail}));
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


def create_styles(styles: Sequence[Style], base: str) -> gr.HTML:
    """The styles by their pictures; the value is the name of the chosen one, at first the first that `base` can make a picture in.

    mine, beside choices: the visitor's (`visitor_choices`), which stay when the styles change. renderings: the visitor's photo
    in styles, by name, instead of their pictures.
    """
    return gr.HTML(
        next((style.name for style in styles if style.usable_on(base)), None),
        html_template=STYLE_TEMPLATE,
        js_on_load=STYLE_SCRIPT,
        choices=style_choices(styles, base),
        mine=[],
        renderings={},
        apply_default_css=False,
        elem_id="style",
    )


def style_choices(styles: Sequence[Style], base: str) -> list[dict[str, str]]:
    """What `create_styles` shows, for a page whose styles or base have changed. A twin is shown while it is chosen.

    Those that `base` makes no picture in come last, greyed, and say what would make them work.
    """
    names = {style.name for style in styles}
    found = []
    for style in sorted(styles, key=lambda style: not style.usable_on(base)):
        missing = "" if style.usable_on(base) else f"Not on {base}: {style.missing(base)}."
        twin = {"twin": "yes"} if is_twin(style, names) else {}
        found.append(_choice(style.name, style.title, style.preview, missing) | twin)
    return found


def is_twin(style: Style, names: Container[str]) -> bool:
    """Whether it is a style of `names` learned another way, by DreamBooth, for comparison."""
    ending = f"-{DREAMBOOTH}"
    learned = {adapter.kind for adapter in style.adapters} == {DREAMBOOTH}
    return learned and style.hand is None and style.name.endswith(ending) and style.name.removesuffix(ending) in names


def visitor_choices(visitor: VisitorStyles) -> list[dict[str, str]]:
    """The `mine` of `create_styles`; whole: the picture, and what the browser keeps of it."""
    return [
        _choice(style.name, style.title, style.picture.picture) | {"whole": f"data:image/jpeg;base64,{style.picture.text}"}
        for style in visitor.styles
    ]


def create_examples(photos: Sequence[Path]) -> gr.HTML:
    """A row of example photos; its select event carries the index of the one clicked."""
    return gr.HTML(
        html_template=EXAMPLES_TEMPLATE,
        js_on_load=EXAMPLES_SCRIPT,
        choices=[_choice(path.stem, path.stem.replace("_", " "), path, size=SMALL) for path in photos],
        visible=bool(photos),
        apply_default_css=False,
        elem_id="examples",
    )


@functools.lru_cache(maxsize=512)
def _address(path: Path, changed: int, side: int, crop: tuple[int, int] | None) -> str:
    try:
        picture = open_picture(path)
    except PictureError as error:
        log.warning("%s", error)
        return ""
    if crop:
        picture = ImageOps.fit(picture, crop, centering=HEADS)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    picture.convert("RGB").save(data, "WEBP", quality=QUALITY)
    return shelve(data.getvalue())


def picture_address(path: Path | None, side: int, crop: tuple[int, int] | None = None) -> str:
    """Where the page finds a copy of one of the server's pictures, at most `side` pixels long; empty for none, or a bad one.

    crop: cut to this shape first.
    """
    return _address(path, path.stat().st_mtime_ns, side, crop) if path and path.is_file() else ""


def _jpeg(picture: Image.Image) -> bytes:
    data = io.BytesIO()
    picture.convert("RGB").save(data, "JPEG", quality=85)
    return data.getvalue()


def _choice(
    name: str, title: str, picture: Path | Image.Image | None, missing: str = "", size: tuple[int, int] = THUMBNAIL
) -> dict[str, str]:
    """A picture to choose, for the templates: the server's by its address, a visitor's own inside the page."""
    source = ""
    if isinstance(picture, Image.Image):
        source = f"data:image/jpeg;base64,{base64.b64encode(_jpeg(ImageOps.fit(picture, THUMBNAIL, centering=HEADS))).decode()}"
    elif picture is not None:
        source = picture_address(picture, max(size), size)
    return {"name": html.escape(name), "title": html.escape(title), "picture": source, "missing": html.escape(missing)}
