"""Settings to come back to: presets with names in the browser, a link, a small file. All of them are recipes. Script: settings.js."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from stylekit.errors import SettingError, StyleError
from stylekit.recipe import Recipe
from stylekit.results.carriers import Named, known_titles
from stylekit.results.links import link_text, read_link

LINK = "The link"
TEMPLATE = """<details><summary>Presets and links</summary><div class="sk-presets">
<ul data-part="list"></ul>
<p class="sk-quiet" data-part="none">No presets yet: set the page as you like it and give it a name.</p>
<div><label>Name <input type="text" maxlength="40" data-part="name" autocomplete="off"></label>
<button type="button" data-part="save">Save preset</button></div>
<div><button type="button" data-part="link">Copy link</button><button type="button" data-part="file">Save as file</button></div>
<input type="text" readonly data-part="address" aria-label="Link to these settings" hidden>
<p role="status" data-part="said"></p>
<template data-part="item"><li><button type="button" data-part="use"></button>
<button type="button" data-part="rename">Rename</button><button type="button" data-part="remove">Remove</button></li></template>
</div></details>"""


def create_settings() -> gr.HTML:
    """In a fold of its own, since Gradio's accordion leaves out what it hides, and a link is read at once.

    Its "submit" wants the settings of now, {"want": what for}; "select" brings some back, see `brought`.
    """
    script = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
    return gr.HTML({}, html_template=TEMPLATE, js_on_load=script, apply_default_css=False, elem_id="presets")


def told(want: Any, recipe: Recipe, titles: dict[str, str]) -> dict[str, Any]:
    """The component's value that gives the browser `recipe` for what it wants: "preset", "file" or "link". Raises StyleError."""
    text = link_text(recipe) if want == "link" else recipe.to_json()
    return {"gave": want, "text": text, "titles": titles, "styles": list(recipe.mix.names)}


def brought(value: Any) -> tuple[Named, str]:
    """What the browser brings back, and what to call it: {"link": text} or {"preset": name, "text": JSON, "titles"}. Raises StyleError."""
    given = value if isinstance(value, dict) else {}
    if "link" in given:
        return Named(recipe=read_link(str(given["link"]))), LINK
    name, text = given.get("preset"), given.get("text")
    if not isinstance(name, str) or not isinstance(text, str):
        raise SettingError("The preset did not arrive whole: save it again.")
    called = f"The preset {name[:40]}"
    try:
        return Named(recipe=Recipe.from_json(text), titles=known_titles(given.get("titles"))), called
    except StyleError as error:
        raise SettingError(f"{called} cannot be used. {error}") from None
