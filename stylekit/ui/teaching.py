"""The Teach tab: pictures in one manner become a style, which is seen as it learns.

The tab receives the function that teaches.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import gradio as gr
from PIL import Image

from stylekit.errors import PictureError, StyleError
from stylekit.formats import FILE_TYPES
from stylekit.styles import Style
from stylekit.ui.scripts import LAND
from stylekit.ui.status import FAILED, complain, say
from stylekit.ui.underway import UnderWay
from stylekit.ui.worker import PRIVATE, Turn, watch

log = logging.getLogger(__name__)


class Progress(Protocol):
    """How far the teaching of a style is. done: 0..1. eta: seconds to go. loss: of a step. preview: the style as it is by now, at times."""

    @property
    def doing(self) -> str: ...
    @property
    def eta(self) -> float: ...
    @property
    def loss(self) -> float | None: ...
    @property
    def preview(self) -> Image.Image | None: ...
    @property
    def done(self) -> float: ...


Teach = Callable[[str, Sequence[Path]], "Iterator[Progress | Style | None]"]  # title, pictures -> what happens, and at last the style
Updates = dict[Any, Any]

MOST_PICTURES = 20  # that a style is taught from
ABOUT = (
    "A style of your own, from paintings, prints or drawings in one manner. It learns here, on this machine, in one to two minutes on two "
    "quiet processor cores; then it is among the styles, and stays."
)
ADVICE = (
    "<ul><li>Pictures by one hand, or of one school: it learns their colours, their marks and how flat they are.</li>"
    "<li>A few that agree rather than many that do not. One is enough, and three or more tell it what stays the same.</li>"
    "<li>Whole works, in focus, without frame, caption or wall. The motifs may differ from your photos.</li>"
    "<li>What is yours to use: your own work, or works in the public domain.</li></ul>"
)
HINT = "Choose the pictures, write a name, and keep this page open."
NOTHING_KEPT = "Stopped: nothing was kept."
KEPT = "is here: it is on the wall, and stays."


@dataclass(frozen=True, kw_only=True)
class TeachTab:
    """The tab's components. learned: name of the style that was taught last. use: shown once there is one."""

    pictures: gr.File
    title: gr.Textbox
    teach: gr.Button
    stop: gr.Button
    status: gr.HTML
    seen: gr.Image
    learned: gr.State
    use: gr.Button


def create_tab(
    *, teach: Teach, hang: Callable[[str | None], Updates], hung: Sequence[Any], use: Callable[[str | None], Updates], used: Sequence[Any]
) -> TeachTab:
    """Lay out the tab in the current Blocks and connect it.

    teach: makes a style of pictures; closing it must stop it. hang: shows the style of that name, and all others, in `hung`. use: picks
    it, in `used`.
    """
    tab = _lay_out()
    actions = _Actions(tab, teach, hang)
    learning = gr.on(
        [tab.teach.click, tab.title.submit],
        actions.teach,
        [tab.title, tab.pictures],
        [tab.teach, tab.stop, tab.status, tab.seen, tab.learned, tab.use, *hung],
        concurrency_limit=None,  # a second one is told so at once
        **PRIVATE,
    )
    stopped = tab.stop.click(actions.stop, None, None, concurrency_limit=None, **PRIVATE)
    # one that still waits for its turn in the queue is Gradio's to end
    unqueued = stopped.then(None, None, None, cancels=[learning], **PRIVATE)
    unqueued.then(actions.stopped, None, [tab.teach, tab.stop, tab.status, tab.seen], **PRIVATE)
    tab.pictures.upload(lambda: say(HINT), None, tab.status, **PRIVATE)  # what was said of none is over
    tab.use.click(use, tab.learned, list(used), **PRIVATE).then(None, None, None, js=LAND, **PRIVATE)
    return tab


def _lay_out() -> TeachTab:
    with gr.Row(elem_id="school"):
        with gr.Column(scale=6, min_width=300):
            gr.HTML(f'<h2 class="sk-heading">Teach a style</h2><p>{ABOUT}</p>', apply_default_css=False, js_on_load=None)
            pictures = gr.File(
                file_count="multiple",
                file_types=[*FILE_TYPES],
                label=f"Pictures, at most {MOST_PICTURES}",
                height=190,
                elem_id="teach-pictures",
            )
            with gr.Row(elem_classes="sk-ask"):
                title = gr.Textbox(
                    placeholder="A name for it", show_label=False, label="Name", max_lines=1, min_width=120, elem_id="teach-title"
                )
                teach = gr.Button("Teach", variant="primary", scale=0, min_width=90, elem_id="teach")
                stop = gr.Button("Cancel", interactive=False, scale=0, min_width=90, elem_id="teach-cancel")
            status = gr.HTML(say(HINT), apply_default_css=False, js_on_load=None, elem_id="teach-status")
            use = gr.Button("Use it", visible=False, elem_id="teach-use")
        with gr.Column(scale=5, min_width=300):
            gr.HTML(f'<h2 class="sk-heading">What it learns well from</h2>{ADVICE}', apply_default_css=False, js_on_load=None)
            seen = gr.Image(
                visible=False, show_label=False, label="The style by now", interactive=False, buttons=[], height=384, elem_id="taught"
            )
    return TeachTab(pictures=pictures, title=title, teach=teach, stop=stop, status=status, seen=seen, learned=gr.State(None), use=use)


class _Actions:
    """What the listeners do."""

    def __init__(self, tab: TeachTab, teach: Teach, hang: Callable[[str | None], Updates]) -> None:
        self.tab = tab
        self.lesson = teach
        self.hang = hang
        self.under_way = UnderWay()
        self.turn = Turn("teach")

    def teach(self, title: str, pictures: Sequence[str] | None, request: gr.Request) -> Iterator[Updates]:
        """Make a style of the pictures, shown as it learns, and hang it; whatever fails is said, and the pictures stay."""
        tab = self.tab
        awake = {tab.teach: gr.Button(interactive=True), tab.stop: gr.Button(interactive=False), tab.seen: gr.Image(visible=False)}
        try:
            if not pictures:
                raise PictureError(f"There is no picture yet: choose from 1 to {MOST_PICTURES}.")
            with self.under_way.begin(request.session_hash) as mine:
                style: Style | None = None
                for event in mine.until_ended(self._learning(title, [Path(picture) for picture in pictures])):
                    if isinstance(event, Style):
                        style = event
                    else:
                        yield event
                if style is None:
                    yield self.stopped()
                    return
            use = gr.Button(f"Use {style.title}", visible=True)
            yield self.hang(style.name) | awake | {tab.status: say(f"{style.title} {KEPT}"), tab.learned: style.name, tab.use: use}
        except StyleError as error:
            yield awake | {tab.status: complain(str(error))}
        except Exception:
            log.exception("A style could not be taught.")
            yield awake | {tab.status: complain(FAILED)}

    def _learning(self, title: str, pictures: Sequence[Path]) -> Generator[Updates | Style, None, None]:
        """What the page shows meanwhile, and at last the style."""
        tab = self.tab
        said, done, started = "Getting ready", 0.0, time.monotonic()
        asleep = {tab.teach: gr.Button(interactive=False), tab.stop: gr.Button(interactive=True), tab.use: gr.Button(visible=False)}
        yield asleep | {tab.status: say(said, "busy", done)}
        with closing(watch(lambda: self.lesson(title, pictures), self.turn)) as learning:
            for event in learning:
                if isinstance(event, Style):
                    yield event
                    continue
                seen: Updates = {}
                if event is not None:
                    loss = "" if event.loss is None else f", loss {event.loss:.3f}"
                    said, done = f"{event.doing}{loss}; {_to_go(event.eta)}", event.done
                    if event.preview:
                        seen = {tab.seen: gr.Image(event.preview, visible=True)}
                yield seen | {tab.status: say(said, "busy", done, time.monotonic() - started)}

    def stop(self, request: gr.Request) -> None:
        """End the visit's lesson, which says so itself."""
        self.under_way.cancel(request.session_hash, NOTHING_KEPT)

    def stopped(self) -> Updates:
        """After teaching was cancelled."""
        tab = self.tab
        return {
            tab.teach: gr.Button(interactive=True),
            tab.stop: gr.Button(interactive=False),
            tab.status: say(NOTHING_KEPT),
            tab.seen: gr.Image(visible=False),
        }


def _to_go(seconds: float) -> str:
    """1 to 59 s to the next 5, above to the minute and half."""
    if seconds < 60:
        return f"about {max(5, 5 * round(seconds / 5))} s to go"
    return f"about {round(seconds / 30) / 2:g} min to go"
