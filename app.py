"""The web app: settings from the environment, one Stylizer, the tabs, launch."""

from __future__ import annotations

import logging
import os
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr

from stylekit.errors import SettingError, StyleError
from stylekit.recipe import DEFAULT_SIZE
from stylekit.styles import STYLES_FOLDER, StyleLibrary
from stylekit.ui import stylize, theme

if TYPE_CHECKING:
    from stylekit.stylizer import Stylizer

PHOTOS = Path(__file__).resolve().parent / "assets" / "photos"
EXAMPLES = ("astronaut", "chelsea", "china", "coffee", "flower", "rocket")
CACHE_AGE = 24 * 3600  # seconds that uploads and results stay on the server


def _number(name: str, default: int) -> int:
    """A whole number from the environment."""
    text = os.environ.get(name, "")
    if text and not text.isdigit():
        raise SettingError(f"{name} is {text!r}: give a whole number.")
    return int(text) if text else default


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the environment can change. Gradio's own names for host and port work too."""

    base: str = field(default_factory=lambda: os.environ.get("STYLEKIT_BASE", "pocket"))
    size: int = field(default_factory=lambda: _number("STYLEKIT_SIZE", DEFAULT_SIZE))
    styles: Path = field(default_factory=lambda: Path(os.environ.get("STYLEKIT_STYLES", STYLES_FOLDER)))
    host: str | None = field(default_factory=lambda: os.environ.get("STYLEKIT_HOST"))
    port: int | None = field(default_factory=lambda: _number("STYLEKIT_PORT", 0) or None)
    max_upload: str = field(default_factory=lambda: os.environ.get("STYLEKIT_MAX_UPLOAD", "20mb"))


def load(settings: Settings) -> Future[Stylizer]:
    """Start loading the model beside the page, once; importing the engine takes seconds too."""

    def open_stylizer() -> Stylizer:
        try:
            from stylekit.stylizer import Stylizer

            return Stylizer.open(settings.base, settings.styles)
        except Exception:
            logging.exception("The model could not be loaded: no picture can be made.")
            raise

    return ThreadPoolExecutor(1, "load").submit(open_stylizer)


def build(settings: Settings) -> gr.Blocks:
    """The page."""
    stylizer = load(settings)
    with gr.Blocks(title="stylekit", analytics_enabled=False, delete_cache=(3600, CACHE_AGE)) as demo:
        gr.HTML(theme.HEADER, apply_default_css=False, js_on_load=None)
        with gr.Tab("Stylize"):
            stylize.create_tab(
                styles=StyleLibrary.open(settings.styles).styles,
                run=lambda photo, recipe: stylizer.result().steps(photo, recipe),
                examples=[PHOTOS / f"{name}.jpg" for name in EXAMPLES],
                base=settings.base,
                default_size=settings.size,
            )
    return demo


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        settings = Settings()
        demo = build(settings)
    except StyleError as error:
        sys.exit(f"stylekit: {error}")
    demo.queue(max_size=20).launch(
        server_name=settings.host, server_port=settings.port, max_file_size=settings.max_upload, **theme.launch_options()
    )


if __name__ == "__main__":
    main()
