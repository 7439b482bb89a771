"""The history of a visit: every result as a strip under the frame, kept by the browser. Script: history.js, behind zip.js and store.js."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr
from PIL import Image

from stylekit.errors import StyleError
from stylekit.images import save_png
from stylekit.recipe import Recipe
from stylekit.storage.naming import safe_name

if TYPE_CHECKING:
    from stylekit.stylizer import Stylized, StylizeStep

log = logging.getLogger(__name__)

SCRIPTS = tuple(Path(__file__).with_name(name) for name in ("store.js", "zip.js", "history.js"))
TEMPLATE = """<section class="sk-history" aria-label="Results of this visit" hidden>
<header><h2 class="sk-heading">Your results <span data-part="count"></span></h2>
<div><button type="button" data-part="compare" disabled>Compare two</button>
<button type="button" data-part="all">Download all</button>
<button type="button" data-part="clear">Forget all</button></div></header>
<ul data-part="list"></ul>
<button type="button" data-part="more" hidden></button>
<p role="status" data-part="said"></p>
<template data-part="item"><li><button type="button" data-part="look"><img alt=""></button>
<span data-part="title"></span><small data-part="details"></small>
<div><label><input type="checkbox" data-part="pick">Compare</label>
<button type="button" data-part="on">Go on</button>
<button type="button" data-part="forget">×</button></div></li></template>
</section>"""

Run = Callable[[Image.Image, Recipe], "Iterator[StylizeStep | Stylized]"]


def create_history() -> gr.HTML:
    """The strip. It listens to what hangs in the frame and hangs what is clicked there; the server has no part in it."""
    script = "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS)
    return gr.HTML("", html_template=TEMPLATE, js_on_load=script, apply_default_css=False, elem_id="history")


def keeping(run: Run, folder: Path) -> Run:
    """`run`, whose results are kept in `folder` too, as PNG with their recipes. One that cannot be written is told in the log."""

    def steps(photo: Image.Image, recipe: Recipe) -> Generator[StylizeStep | Stylized, None, None]:
        from stylekit.stylizer import Stylized

        with closing(run(photo, recipe)) as events:  # type: ignore[type-var]
            for event in events:
                if isinstance(event, Stylized):
                    _keep(event, folder)
                yield event

    return steps


def _keep(result: Stylized, folder: Path) -> None:
    names = safe_name("-".join(result.recipe.mix.names).replace(":", "-"), "picture", most=100)
    name = f"{datetime.datetime.now():%Y-%m-%d-%H%M%S-%f}-{names}.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_png(result.image, folder / name, result.recipe)
    except (StyleError, OSError) as error:
        log.warning("A result was not kept in %s. %s", folder, error)
