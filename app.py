"""The web app: settings from the environment, one Stylizer, the tabs, launch."""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import gradio as gr

from stylekit.errors import SettingError, StyleError
from stylekit.recipe import DEFAULT_SIZE, SIZE_RANGE
from stylekit.studio import Studio
from stylekit.styles import STYLES_FOLDER, Style
from stylekit.ui import endpoint, evaluation, gallery, stylize, theme
from stylekit.ui.choices import style_choices

if TYPE_CHECKING:
    from stylekit.hub import BaseNeeds
    from training.lessons import Lesson

F = TypeVar("F", bound=Callable[..., Any])

PHOTOS = Path(__file__).resolve().parent / "assets" / "photos"
REPORTS = PHOTOS.parent / "reports"
EXAMPLES = ("astronaut", "chelsea", "china", "coffee", "flower", "rocket")
CACHE_AGE = 24 * 3600  # seconds that uploads and results stay on the server


def _number(name: str, default: int) -> int:
    """A whole number from the environment."""
    text = os.environ.get(name, "")
    if text and not text.isdigit():
        raise SettingError(f"{name} is {text!r}: give a whole number.")
    return int(text) if text else default


def _switch(name: str) -> bool:
    """on or off; unset, on for a machine of one's own and off on a Space, where any visitor could use it."""
    text = os.environ.get(name, "").lower() or ("off" if "SPACE_ID" in os.environ else "on")
    if text not in ("on", "off"):
        raise SettingError(f"{name} is {text!r}: give on or off.")
    return text == "on"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the environment can change. Gradio's own names for host and port work too."""

    base: str = field(default_factory=lambda: os.environ.get("STYLEKIT_BASE", "pocket"))
    size: int = field(default_factory=lambda: _number("STYLEKIT_SIZE", DEFAULT_SIZE))
    styles: Path = field(default_factory=lambda: Path(os.environ.get("STYLEKIT_STYLES", STYLES_FOLDER)))
    hub_styles: tuple[str, ...] = field(default_factory=lambda: tuple(os.environ.get("STYLEKIT_HUB_STYLES", "").split()))
    add_styles: bool = field(default_factory=lambda: _switch("STYLEKIT_ADD_STYLES"))
    ip_adapter: str | None = field(default_factory=lambda: os.environ.get("STYLEKIT_IP_ADAPTER") or None)
    teach: bool = field(default_factory=lambda: _switch("STYLEKIT_TEACH"))
    choose_base: bool = field(default_factory=lambda: _switch("STYLEKIT_CHOOSE_BASE"))
    host: str | None = field(default_factory=lambda: os.environ.get("STYLEKIT_HOST"))
    port: int | None = field(default_factory=lambda: _number("STYLEKIT_PORT", 0) or None)
    max_upload: str = field(default_factory=lambda: os.environ.get("STYLEKIT_MAX_UPLOAD", "20mb"))

    def __post_init__(self) -> None:
        if not SIZE_RANGE[0] <= self.size <= SIZE_RANGE[1]:
            raise SettingError(f"STYLEKIT_SIZE is {self.size}: choose a number from {SIZE_RANGE[0]} to {SIZE_RANGE[1]}.")
        if self.port is not None and self.port > 65535:
            raise SettingError(f"STYLEKIT_PORT is {self.port}: choose a number up to 65535.")
        if not re.fullmatch(r"\d+ *[kmgt]?b", self.max_upload, re.IGNORECASE):
            raise SettingError(f"STYLEKIT_MAX_UPLOAD is {self.max_upload!r}: write for example 20mb.")
        try:
            socket.getaddrinfo(self.host or "127.0.0.1", None)
        except OSError:
            raise SettingError(f"STYLEKIT_HOST is {self.host!r}, which is no address of a machine: use for example 127.0.0.1.") from None


def build(settings: Settings) -> gr.Blocks:
    """The page."""
    studio = Studio(settings.base, settings.styles, settings.hub_styles, settings.ip_adapter)
    with gr.Blocks(title="stylekit", analytics_enabled=False, delete_cache=(3600, CACHE_AGE)) as demo:
        gr.HTML(theme.HEADER, apply_default_css=False, js_on_load=None)
        with gr.Tabs(selected="stylize") as tabs:
            with gr.Tab("Stylize", id="stylize"):
                tab = stylize.create_tab(
                    styles=lambda: studio.styles,
                    run=on_zero_gpu(studio.steps),
                    examples=[PHOTOS / f"{name}.jpg" for name in EXAMPLES],
                    base=lambda: studio.base,
                    default_size=settings.size,
                )
            with gr.Tab("Gallery", id="gallery"):
                gallery.create_tab(
                    demo,
                    styles=lambda: studio.styles,
                    base=lambda: studio.base,
                    stylize=gallery.Stylize(tabs=tabs, tab_id="stylize", style=tab.style),
                    choices=style_choices,
                    add=studio.add if settings.add_styles else None,
                    teach=partial(teach, studio, settings.styles) if settings.teach else None,
                    needs=base_needs if settings.choose_base else None,
                    choose=studio.choose if settings.choose_base else None,
                )
            with gr.Tab("Evaluation", id="evaluation"):
                evaluation.create_tab(
                    reports=REPORTS,
                    styles=[(style.title, style.name) for style in studio.styles if any(a.kind == "lora" for a in style.adapters)],
                    methods=evaluated_methods(studio),
                    evaluate=on_zero_gpu(partial(evaluate, studio)),
                    examples=[PHOTOS / f"{name}.jpg" for name in EXAMPLES[:2]],
                )
        endpoint.create_endpoint(run=on_zero_gpu(studio.stylize), base=lambda: studio.base, default_size=settings.size)
    return demo


def base_needs(source: str) -> BaseNeeds:
    from stylekit import hub  # with torch and diffusers, which the page came up without

    return hub.base_needs(source)


def teach(
    studio: Studio, styles: Path, title: str, pictures: Sequence[Path], options: Sequence[str] = ()
) -> Iterator[Lesson | Style | None]:
    """A new style in the folder `styles`, which `studio` has from then on. options: see `training.lessons`."""
    from training import lessons

    title = title.strip()
    with closing(lessons.lessons(lessons.style_name(title), pictures, out=styles, title=title, options=options)) as running:
        for event in running:
            if isinstance(event, Style):
                studio.keep(event)
            yield event


def evaluated_methods(studio: Studio) -> list[str]:
    """Those that the Evaluation tab offers."""
    kinds = {adapter.kind for style in studio.styles for adapter in style.adapters}
    return ["identity", "base", *(kind for kind in ("lora", "dreambooth") if kind in kinds), "classical"]


def evaluate(
    studio: Studio, photos: Sequence[Path], styles: Sequence[str], methods: Sequence[str], out: Path
) -> Iterator[tuple[int, int, str]]:
    from eval.run import small_evaluation  # with torch and diffusers too

    yield from small_evaluation(studio, studio.base, photos, styles, methods, out)


def on_zero_gpu(run: F) -> F:
    """`run`, on a Space with ZeroGPU within a turn on the GPU; elsewhere as it is."""
    try:
        import spaces
    except ImportError:
        return run
    return spaces.GPU(run)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        settings = Settings()
        demo = build(settings)
        demo.queue(max_size=20).launch(
            server_name=settings.host, server_port=settings.port, max_file_size=settings.max_upload, **theme.launch_options()
        )
    except StyleError as error:
        sys.exit(f"stylekit: {error}")
    except OSError as error:  # a port in use, or an address that is not this machine's
        sys.exit(f"stylekit: The page could not be opened: choose another STYLEKIT_PORT or STYLEKIT_HOST. ({error})")


if __name__ == "__main__":
    main()
