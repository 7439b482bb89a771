"""The web app: settings from the environment, one Stylizer, the tabs, launch."""

from __future__ import annotations

import importlib.util
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
from starlette.middleware import Middleware

from stylekit.errors import SettingError, StyleError
from stylekit.recipe import DEFAULT_SIZE, SIZE_RANGE
from stylekit.storage.paths import ASSETS, PHOTOS_FOLDER, STYLES_FOLDER
from stylekit.studio import Studio
from stylekit.styles import LORA, WEIGHTS, Style
from stylekit.ui import endpoint, evaluation, gallery, stylize, teaching, theme
from stylekit.ui.choices import style_choices
from stylekit.ui.guard import Guard
from stylekit.ui.limits import Limits
from stylekit.ui.many import tab as many
from stylekit.ui.parts.shelf import Shelf
from stylekit.ui.parts.taught import Taught
from stylekit.ui.visit.front import Front
from stylekit.ui.visit.history import keeping
from stylekit.ui.visit.page import create_header
from stylekit.ui.worker import Turn, share_arenas

if TYPE_CHECKING:
    from stylekit.hub import BaseNeeds
    from training.style.teaching_process import TeachingProgress

F = TypeVar("F", bound=Callable[..., Any])

REPORTS = ASSETS / "reports"
EXAMPLES = ("astronaut", "chelsea", "china", "coffee", "flower", "rocket")
QUEUE_SIZE = 20  # requests that wait for each thing that takes long
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
FILE_SIZE = re.compile(r"(\d+) *([kmgt]?)b", re.IGNORECASE)  # as Gradio takes it
CACHE_AGE = 24 * 3600  # seconds that uploads and results stay on the server


def _number(name: str, default: int) -> int:
    """A whole number from the environment."""
    text = os.environ.get(name, "")
    if text and not text.isdigit():
        raise SettingError(f"{name} is {text!r}: give a whole number.")
    return int(text) if text else default


def _switch(name: str, unset: str | None = None) -> bool:
    """on or off; unset, by default on for a machine of one's own and off on a Space, where any visitor could use it."""
    text = os.environ.get(name, "").lower() or unset or ("off" if "SPACE_ID" in os.environ else "on")
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
    accelerator: str | None = field(default_factory=lambda: os.environ.get("STYLEKIT_ACCELERATOR") or None)
    tiny: str | None = field(default_factory=lambda: os.environ.get("STYLEKIT_TINY") or None)
    compiled: bool = field(default_factory=lambda: _switch("STYLEKIT_COMPILE", "off"))
    teach: bool = field(default_factory=lambda: _switch("STYLEKIT_TEACH"))
    choose_base: bool = field(default_factory=lambda: _switch("STYLEKIT_CHOOSE_BASE"))
    host: str | None = field(default_factory=lambda: os.environ.get("STYLEKIT_HOST"))
    port: int | None = field(default_factory=lambda: _number("STYLEKIT_PORT", 0) or None)
    keep: Path | None = field(default_factory=lambda: Path(os.environ["STYLEKIT_KEEP"]) if os.environ.get("STYLEKIT_KEEP") else None)
    max_upload: str = field(default_factory=lambda: os.environ.get("STYLEKIT_MAX_UPLOAD", "20mb"))
    limits: Limits = field(default_factory=lambda: Limits.of(os.environ))

    def __post_init__(self) -> None:
        if not SIZE_RANGE[0] <= self.size <= SIZE_RANGE[1]:
            raise SettingError(f"STYLEKIT_SIZE is {self.size}: choose a number from {SIZE_RANGE[0]} to {SIZE_RANGE[1]}.")
        if self.keep and "SPACE_ID" in os.environ:
            raise SettingError("STYLEKIT_KEEP keeps what visitors make, which a Space must not: leave it out.")
        if self.keep and self.keep.exists() and not self.keep.is_dir():
            raise SettingError(f"STYLEKIT_KEEP is {str(self.keep)!r}, which is a file: name a folder.")
        if self.port is not None and self.port > 65535:
            raise SettingError(f"STYLEKIT_PORT is {self.port}: choose a number up to 65535.")
        if not FILE_SIZE.fullmatch(self.max_upload):
            raise SettingError(f"STYLEKIT_MAX_UPLOAD is {self.max_upload!r}: write for example 20mb.")
        try:
            socket.getaddrinfo(self.host or "127.0.0.1", None)
        except OSError:
            raise SettingError(f"STYLEKIT_HOST is {self.host!r}, which is no address of a machine: use for example 127.0.0.1.") from None

    @property
    def upload_bytes(self) -> int:
        """`max_upload` as a number."""
        number, unit = FILE_SIZE.fullmatch(self.max_upload).groups()  # type: ignore[union-attr]
        return int(number) * UNITS[unit.lower()]


def build(settings: Settings) -> gr.Blocks:
    """The page."""
    studio = Studio(
        settings.base,
        settings.styles,
        settings.hub_styles,
        settings.ip_adapter,
        settings.limits.work,
        accelerator=settings.accelerator,
        tiny=settings.tiny,
        compiled=settings.compiled,
    )
    turn = Turn("model")
    steps = on_zero_gpu(studio.steps)
    run = keeping(steps, settings.keep) if settings.keep else steps
    with gr.Blocks(title="stylekit", analytics_enabled=False, delete_cache=(3600, CACHE_AGE)) as demo:
        create_header()
        with gr.Tabs(selected="stylize") as tabs:
            with gr.Tab("Stylize", id="stylize"):
                tab = stylize.create_tab(
                    styles=lambda: studio.styles,
                    run=run,
                    render=partial(studio.sketch, painted=not on_lent_gpu()),
                    examples=[PHOTOS_FOLDER / f"{name}.jpg" for name in EXAMPLES],
                    base=lambda: studio.base,
                    default_size=settings.size,
                    turn=turn,
                    limit=settings.upload_bytes,
                    tiny=bool(settings.tiny),
                    most_work=settings.limits.work,
                )
            with gr.Tab("Series", id="many") as many_item:
                many.create_tab(
                    many_item,
                    tabs,
                    stylize=tab,
                    styles=lambda: studio.styles,
                    run=run,
                    base=lambda: studio.base,
                    turn=turn,
                    most_photos=settings.limits.photos,
                    most_pictures=settings.limits.sheet,
                    most_work=settings.limits.work,
                )
            with gr.Tab("Gallery", id="gallery"):
                doors = gallery.create_tab(
                    demo,
                    styles=lambda: studio.styles,
                    base=lambda: studio.base,
                    stylize=gallery.Stylize(tabs=tabs, tab_id="stylize", style=tab.style, words=tab.words),
                    choices=lambda styles: style_choices(styles, studio.base),
                    add=studio.add if settings.add_styles else None,
                    taught=Taught(retitle=studio.retitle, discard=studio.discard) if settings.teach else None,
                    needs=base_needs if settings.choose_base else None,
                    choose=studio.choose if settings.choose_base else None,
                    left_out=tuple(studio.library.left_out.values()),
                )
            if settings.teach:
                with gr.Tab("Teach", id="teach"):
                    lesson = partial(teach, studio, settings.styles)
                    teaching.create_tab(teach=lesson, hang=doors.hang, hung=doors.hung, use=doors.use, used=doors.used)
            with gr.Tab("Evaluation", id="evaluation"):
                evaluation.create_tab(
                    reports=REPORTS,
                    styles=[
                        (style.title, style.name) for style in studio.styles if style.hand or any(a.kind == LORA for a in style.adapters)
                    ],
                    methods=evaluated_methods(studio),
                    evaluate=on_zero_gpu(partial(evaluate, studio)),
                    examples=[PHOTOS_FOLDER / f"{name}.jpg" for name in EXAMPLES[:2]],
                    turn=turn,
                )
        endpoint.create_endpoint(
            run=on_zero_gpu(partial(studio.steps, preview=False)),
            check=studio.check,
            base=lambda: studio.base,
            default_size=settings.size,
            limits=settings.limits,
            turn=turn,
        )
    # api_open: nobody goes past the queue, in which pictures wait for their turn
    return demo.queue(max_size=QUEUE_SIZE, api_open=False)


def launch_options(settings: Settings) -> dict[str, Any]:
    """How the page is served: for `demo.launch`."""
    return {
        "max_file_size": settings.max_upload,
        "app_kwargs": {"middleware": [Middleware(Front), Middleware(Shelf), Middleware(Guard, limits=settings.limits)]},
        **theme.launch_options(),
    }


def base_needs(source: str) -> BaseNeeds:
    from stylekit import hub  # with torch and diffusers, which the page came up without

    return hub.base_needs(source)


def teach(
    studio: Studio, styles: Path, title: str, pictures: Sequence[Path], options: Sequence[str] = ()
) -> Iterator[TeachingProgress | Style | None]:
    """A new style in the folder `styles`, which `studio` has from then on. options: see `training.style.teaching_process`."""
    from training.style import teaching_process

    title = title.strip()
    studio.refuse_taken(title)
    with closing(teaching_process.run(teaching_process.style_name(title), pictures, out=styles, title=title, options=options)) as running:
        for event in running:
            if isinstance(event, Style):
                studio.keep(event)
            yield event


def evaluated_methods(studio: Studio) -> list[str]:
    """Those that the Evaluation tab offers."""
    kinds = {adapter.kind for style in studio.styles for adapter in style.adapters}
    drawn = ["hand"] if any(style.hand for style in studio.styles) else []
    return ["identity", "base", *drawn, *(kind for kind in WEIGHTS if kind in kinds), "classical"]


def evaluate(
    studio: Studio, photos: Sequence[Path], styles: Sequence[str], methods: Sequence[str], out: Path
) -> Iterator[tuple[int, int, str]]:
    from eval.run import small_evaluation  # with torch and diffusers too

    yield from small_evaluation(studio, studio.base, photos, styles, methods, out)


def on_zero_gpu(run: F) -> F:
    """`run`, on a Space with ZeroGPU within a turn on the GPU; elsewhere as it is."""
    if not on_lent_gpu():
        return run
    import spaces

    return spaces.GPU(run)


def on_lent_gpu() -> bool:
    """Whether this is a Space with ZeroGPU, whose GPU is lent for single pictures."""
    return importlib.util.find_spec("spaces") is not None


def launch(demo: gr.Blocks, settings: Settings) -> None:
    """Serve the page until the process is ended.

    Gradio asks its own page once and gives it 3 seconds. On a busy machine, while torch is being read beside it, that may not be enough,
    though the page is served: then it is waited for, where Gradio would give up.
    """
    try:
        demo.launch(server_name=settings.host, server_port=settings.port, **launch_options(settings))
    except ValueError as error:
        if not demo.is_running or "localhost is not accessible" not in str(error):
            raise
        logging.getLogger(__name__).warning("The page did not answer within 3 seconds: this machine is busy, or a proxy stands before it.")
        demo.block_thread()


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for client in ("httpx", "httpx2"):  # of huggingface_hub, which tell of every request
        logging.getLogger(client).setLevel(logging.WARNING)
    share_arenas()
    try:
        settings = Settings()
        demo = build(settings)
        launch(demo, settings)
    except StyleError as error:
        sys.exit(f"stylekit: {error}")
    except OSError as error:  # a port in use, or an address that is not this machine's
        sys.exit(f"stylekit: The page could not be opened: choose another STYLEKIT_PORT or STYLEKIT_HOST. ({error})")


if __name__ == "__main__":
    main()
