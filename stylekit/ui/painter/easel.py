"""The easel: the photo under a canvas, a palette whose colours are styles, and a brush. Its script is easel.js, its paint paint.py's;
select.js and snap.js, with select.py, look at the photo for it.

Gradio's ImageEditor cannot name a colour, returns what Python put on it without its layers, and is slow with large photos; hence our own.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path

import gradio as gr
from PIL import Image

from stylekit.ui.painter.paint import COLOURS, TRACE, Painting, unmixing

HERE = Path(__file__).parent
# each stands on those before it
SCRIPTS = (
    HERE.parent / "parts" / "zooming.js",
    *(HERE / f"{name}.js" for name in ("easel", "select", "snap")),
)
EASEL_SIDE = 1280  # pixels of the photo's long side on the easel
BLANK = Painting(styles=(None,) * len(COLOURS), amounts=(0.0,) * len(COLOURS))

TEMPLATE = """<section class="sk-painter" aria-label="Paint styles">
<div class="sk-palette" role="group" aria-label="Palette" data-part="palette"></div>
<div class="sk-easel" data-part="easel">
<img alt="Your photo" draggable="false" data-part="photo"><canvas data-part="canvas"></canvas><i data-part="ring"></i>
<p>Choose a photo, then paint on it.</p>
</div>
<div class="sk-hintbar"><p class="sk-hint" role="status" data-part="hint"></p>
<div class="sk-lens" role="group" aria-label="Zoom the photo" data-part="lens">
<button type="button" data-part="out" aria-label="Zoom out of the photo" title="Zoom out" disabled>−</button>
<button type="button" data-part="in" aria-label="Zoom into the photo" title="Zoom in (Ctrl and wheel, or two fingers)">+</button>
</div></div>
<div class="sk-tools">
<label>Brush <input type="range" min="1" max="30" value="8" data-part="size"></label>
<label>Weight <input type="range" min="5" max="100" step="5" value="100" data-part="weight"></label>
<div>
<button type="button" aria-pressed="false" data-part="eraser">Eraser</button>
<button type="button" aria-pressed="false" data-part="snap" title="Strokes end at edges of the photo">Snap</button>
<button type="button" data-part="fill">Fill</button>
<button type="button" data-part="undo">Undo</button>
<button type="button" data-part="redo">Redo</button>
<button type="button" data-part="clear">Clear</button>
<button type="button" aria-pressed="false" data-part="peek">Hide paint</button>
</div></div>
<div class="sk-tools sk-select" role="group" aria-label="Select without painting"><div><span>Select</span>
<button type="button" data-thing="subject">Subject</button>
<button type="button" data-thing="sky">Sky</button>
<button type="button" data-thing="background">Background</button>
<button type="button" aria-pressed="false" data-part="pick">By a click</button>
</div><div class="sk-edge"><span>Edge</span>
<button type="button" data-part="invert" disabled>Invert</button>
<button type="button" data-part="grow" disabled>Grow</button>
<button type="button" data-part="shrink" disabled>Shrink</button>
<button type="button" data-part="soften" disabled>Soften</button>
</div></div>
<template data-part="row"><div class="sk-paint"><input type="radio"><select></select><input type="range" min="0" max="100" step="5">
<output></output><button type="button">×</button></div></template>
<template data-part="adder"><div class="sk-paint sk-adder"><i></i>
<select aria-label="Add a style"><option hidden>Add a style</option></select></div></template>
</section>"""


def create_painter() -> gr.HTML:
    """The painter, hidden. Its value is a `Painting.value`; its photo is set with `gr.HTML(photo=picture_url(photo))`.

    The styles it offers are those of the pictures to choose from (`choices.create_styles`) on the same page, at any time.
    """
    return gr.HTML(
        BLANK.value,
        html_template=TEMPLATE,
        js_on_load="\n".join(script.read_text(encoding="utf-8") for script in SCRIPTS),
        colours=COLOURS,
        unmixing=unmixing(COLOURS).tolist(),
        trace=TRACE,
        photo="",
        found=None,
        apply_default_css=False,
        visible="hidden",
        elem_id="painter",
    )


def picture_url(photo: Image.Image) -> str:
    """A small copy of `photo` to paint on. It travels inside the page; the result is made from the photo itself."""
    copy = photo.copy()
    copy.thumbnail((EASEL_SIDE, EASEL_SIDE), reducing_gap=2.0)
    data = io.BytesIO()
    copy.save(data, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
