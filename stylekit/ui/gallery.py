"""The Gallery tab: every style on the wall, before and after; a larger look with its label; styles of the Hub; the choice of the base.

The tab receives the functions it calls.
"""

from __future__ import annotations

import functools
import html
import logging
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import gradio as gr

from stylekit.base_card import POCKET
from stylekit.errors import StyleError
from stylekit.styles import Style
from stylekit.ui.choices import picture_address
from stylekit.ui.parts import taught as tools
from stylekit.ui.parts.frame import Hanging, create_frame
from stylekit.ui.parts.taught import Taught, TaughtTools
from stylekit.ui.parts.wall import SCRIPT, WALL_SIDE, WALL_TEMPLATE, is_available, plate, shown_adapter, wall_cards
from stylekit.ui.scripts import LAND
from stylekit.ui.status import FAILED, complain, say
from stylekit.ui.worker import BEAT, PRIVATE

if TYPE_CHECKING:
    from stylekit.hub import BaseNeeds

log = logging.getLogger(__name__)

T = TypeVar("T")


Say = Callable[[str, float], None]  # what is being done, and how much of it is done, 0 to 1
Updates = dict[Any, Any]

HUB_QUEUE = "hub"  # concurrency_id of what talks to the Hub
SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
ADD_HINT = (
    "A repository with a LoRA for Stable Diffusion 1.x or the pocket base; OWNER/NAME@REVISION for one revision of it. "
    "It is checked before it is used."
)


@dataclass(frozen=True, kw_only=True)
class GalleryTab:
    """The tab's components. wall: all styles, its value the name of the one that hangs large in the frame, with its label."""

    wall: gr.HTML
    frame: gr.HTML
    label: gr.HTML
    use: gr.Button
    tools: TaughtTools
    source: gr.Textbox
    add: gr.Button
    add_status: gr.HTML
    base: gr.Dropdown
    look: gr.Button
    fetch: gr.Button
    base_status: gr.HTML


@dataclass(frozen=True, kw_only=True)
class Doors:
    """What other tabs do here. hang: shows the style of that name, and all others anew, in `hung`. use: picks it on the Stylize tab, in
    `used`."""

    hang: Callable[[str | None], Updates]
    hung: tuple[Any, ...]
    use: Callable[[str | None], Updates]
    used: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Stylize:
    """Where "use it" leads: the tabs, the id of the Stylize tab, its choice of a style, whose value is a style's name, and what it shows
    only on bases that read words."""

    tabs: gr.Tabs
    tab_id: str
    style: gr.HTML
    words: gr.Row


def create_tab(
    page: gr.Blocks,
    *,
    styles: Callable[[], Sequence[Style]],
    base: Callable[[], str],
    stylize: Stylize,
    choices: Callable[[Sequence[Style]], list[dict[str, str]]],
    add: Callable[[str, Say], Style] | None = None,
    taught: Taught | None = None,
    needs: Callable[[str], BaseNeeds] | None = None,
    choose: Callable[[str, Say], None] | None = None,
    left_out: Sequence[str] = (),
) -> Doors:
    """Lay out the tab in `page` and connect it.

    styles: the cards as they are by now. base: name of the base in use. choices: the styles as the Stylize tab's choice takes them. add:
    repository of the Hub -> its style, which is among `styles` from then on; None leaves that part out. taught: what can be done with
    styles that were taught here. needs, choose: what a base wants, and take it into use; None leaves the choice out. left_out: sentences
    about styles whose cards are bad.
    """
    if left_out:
        gr.HTML(_notice(left_out), apply_default_css=False, js_on_load=None, elem_id="left-out")
    tab = _lay_out(styles(), base(), add is not None, choose is not None and needs is not None)
    actions = _Actions(tab, styles, base, stylize, choices)
    piece = [tab.wall, tab.frame, tab.label, tab.use]
    tab.wall.select(actions.show, None, piece, **PRIVATE)
    picked, everything = [stylize.tabs, stylize.style], [*piece, stylize.style, stylize.words]
    for used in (
        tab.wall.submit(actions.use_from_wall, None, picked, **PRIVATE),
        tab.use.click(actions.use, tab.wall, picked, **PRIVATE),
    ):
        used.then(None, None, None, js=LAND, **PRIVATE)
    if add is not None:
        gr.on(
            [tab.add.click, tab.source.submit],
            functools.partial(actions.add, add),
            tab.source,
            [*piece, tab.add, tab.add_status, stylize.style],
            concurrency_id=HUB_QUEUE,
            concurrency_limit=2,
            **PRIVATE,
        )
    if taught is not None:
        tools.connect(tab.tools, taught, tab.wall, actions.find, actions.hang_anew, everything)
    if needs is not None and choose is not None:
        wants = functools.partial(actions.tell_needs, needs)
        gr.on([tab.look.click, tab.base.input], wants, tab.base, [tab.base_status, tab.fetch], **PRIVATE)
        tab.fetch.click(
            functools.partial(actions.choose, choose),
            [tab.base, tab.wall],
            [*everything, tab.fetch, tab.look, tab.base_status],
            concurrency_id="base",
            concurrency_limit=1,
            **PRIVATE,
        )
    # what others have added since the page was made
    page.load(actions.refresh, tab.wall, [*everything, tab.base], **PRIVATE)
    return Doors(hang=actions.hang_anew, hung=tuple(everything), use=actions.use, used=tuple(picked))


def _notice(left_out: Sequence[str]) -> str:
    """What keeps styles out of the gallery, for whoever can mend it."""
    return "".join(f'<p class="sk-quiet">A style is left out. {html.escape(sentence)}</p>' for sentence in left_out)


def _lay_out(styles: Sequence[Style], base: str, can_add: bool, can_choose: bool) -> GalleryTab:
    first = styles[0] if styles else None
    with gr.Row(elem_id="piece"):
        with gr.Column(scale=6, min_width=300):
            frame = create_frame(_large(first), "piece-picture")
        with gr.Column(scale=5, min_width=300):
            label = gr.HTML(plate(first, base), apply_default_css=False, js_on_load=None, elem_id="piece-label")
            own_tools = tools.create_tools()
            use = gr.Button("Use it", variant="primary", interactive=is_available(first, base), elem_id="use")
    wall = gr.HTML(
        first.name if first else None,
        html_template=WALL_TEMPLATE,
        js_on_load=SCRIPT.read_text(encoding="utf-8"),
        apply_default_css=False,
        elem_id="wall",
        **wall_cards(styles, base),
    )
    with gr.Row(elem_id="storeroom", visible=can_add or can_choose):
        with gr.Column(min_width=300, visible=can_add):
            gr.HTML('<h2 class="sk-heading">Add from the Hub</h2>', apply_default_css=False, js_on_load=None)
            with gr.Row(elem_classes="sk-ask"):
                source = gr.Textbox(placeholder="OWNER/NAME", show_label=False, label="Repository", max_lines=1, elem_id="source")
                add = gr.Button("Add", scale=0, min_width=90, elem_id="add")
            add_status = gr.HTML(say(ADD_HINT), apply_default_css=False, js_on_load=None, elem_id="add-status")
        with gr.Column(min_width=300, visible=can_choose):
            gr.HTML('<h2 class="sk-heading">Base</h2>', apply_default_css=False, js_on_load=None)
            with gr.Row(elem_classes="sk-ask"):
                chosen = gr.Dropdown(
                    list(dict.fromkeys((base, POCKET, SD15))),
                    value=base,
                    allow_custom_value=True,
                    show_label=False,
                    label="Base",
                    elem_id="base",
                )
                look = gr.Button("What it needs", scale=0, min_width=130, elem_id="look")
            base_status = gr.HTML(say(f"{base} is in use."), apply_default_css=False, js_on_load=None, elem_id="base-status")
            fetch = gr.Button("Use this base", visible=False, elem_id="fetch")
    return GalleryTab(
        wall=wall,
        frame=frame,
        label=label,
        use=use,
        tools=own_tools,
        source=source,
        add=add,
        add_status=add_status,
        base=chosen,
        look=look,
        fetch=fetch,
        base_status=base_status,
    )


class _Actions:
    """What the listeners do."""

    def __init__(
        self,
        tab: GalleryTab,
        styles: Callable[[], Sequence[Style]],
        base: Callable[[], str],
        stylize: Stylize,
        choices: Callable[[Sequence[Style]], list[dict[str, str]]],
    ) -> None:
        self.tab = tab
        self.styles = styles
        self.base = base
        self.stylize = stylize
        self.choices = choices
        self.made_of = styles(), base()

    def show(self, event: gr.EventData) -> Updates:
        """Hang the clicked style large."""
        return self._hang(getattr(event, "name", None)) or gr.skip()

    def use_from_wall(self, event: gr.EventData) -> Updates:
        return self.use(getattr(event, "name", None))

    def use(self, name: str | None) -> Updates:
        """Go to the Stylize tab with this style picked."""
        style = self.find(name)
        if style is None or not is_available(style, self.base()):
            return gr.skip()
        return {self.stylize.tabs: gr.Tabs(selected=self.stylize.tab_id), self.stylize.style: style.name}

    def refresh(self, name: str | None) -> Updates:
        """What has changed since the page was made, for one that has just been opened."""
        styles, base = self.styles(), self.base()
        if (styles, base) == self.made_of:  # an update without its properties would leave a wall that is not drawn yet without them
            return {self.tab.wall: gr.HTML(**wall_cards(styles, base))}
        known = list(dict.fromkeys((base, POCKET, SD15)))
        return (
            self._hang(name, restock=True)
            | self._offered()
            | {
                self.tab.base: gr.Dropdown(known, value=base),
            }
        )

    def add(self, add: Callable[[str, Say], Style], source: str) -> Iterator[Updates]:
        """Fetch the style and hang it; a refusal is said, and everything stays."""
        tab = self.tab
        try:
            if not source.strip():
                raise StyleError("There is no repository yet: write OWNER/NAME.")
            yield {tab.add: gr.Button(interactive=False)}
            style: Style | None = None
            for event in _beside(lambda tell: add(source.strip(), tell)):
                if isinstance(event, tuple):
                    yield {tab.add_status: say(event[0], "busy", event[1])}
                else:
                    style = event
            assert style is not None
            adapter = shown_adapter(style, self.base())
            ready = "it is on the wall." if is_available(style, self.base()) else f"it needs the base {adapter.base if adapter else ''}."
            yield self._hang(style.name, restock=True) | {
                tab.add: gr.Button(interactive=True),
                tab.add_status: say(f"{style.title} is here; {ready}"),
                self.stylize.style: gr.HTML(choices=self.choices(self.styles())),
            }
        except StyleError as error:
            yield {tab.add: gr.Button(interactive=True), tab.add_status: complain(str(error))}
        except Exception:
            log.exception("A style could not be added.")
            yield {tab.add: gr.Button(interactive=True), tab.add_status: complain(FAILED)}

    def tell_needs(self, needs: Callable[[str], BaseNeeds], source: str | None) -> Updates:
        """Say what a base wants, before anything is fetched."""
        tab = self.tab
        try:
            wants = needs((source or "").strip())
        except StyleError as error:
            return {tab.base_status: complain(str(error)), tab.fetch: gr.Button(visible=False)}
        in_use = wants.source == self.base()
        said = f"{wants.source} is in use." if in_use else describe_needs(wants, _gpu())
        return {tab.base_status: say(said), tab.fetch: gr.Button(visible=not in_use)}

    def choose(self, choose: Callable[[str, Say], None], source: str | None, shown: str | None) -> Iterator[Updates]:
        """Take the base into use; the one before stays if that fails."""
        tab = self.tab
        asleep = {tab.fetch: gr.Button(interactive=False), tab.look: gr.Button(interactive=False)}
        awake = {tab.fetch: gr.Button(interactive=True), tab.look: gr.Button(interactive=True)}
        try:
            yield asleep
            for event in _beside(lambda tell: choose((source or "").strip(), tell)):
                if isinstance(event, tuple):
                    yield {tab.base_status: say(event[0], "busy", event[1])}
            ready = sum(is_available(style, self.base()) for style in self.styles())
            said = f"{self.base()} is in use. {ready} of {len(self.styles())} styles work on it."
            yield (
                self._hang(shown, restock=True)
                | self._offered()
                | awake
                | {tab.fetch: gr.Button(visible=False, interactive=True), tab.base_status: say(said)}
            )
        except StyleError as error:
            yield awake | {tab.base_status: complain(str(error))}
        except Exception:
            log.exception("A base could not be taken into use.")
            yield awake | {tab.base_status: complain(FAILED)}

    def _offered(self) -> Updates:
        """What the Stylize tab offers on the base in use."""
        return {
            self.stylize.style: gr.HTML(choices=self.choices(self.styles())),
            self.stylize.words: gr.Row(visible=self.base() != POCKET),
        }

    def find(self, name: str | None) -> Style | None:
        return next((style for style in self.styles() if style.name == name), None)

    def hang_anew(self, name: str | None) -> Updates:
        """The style `name`, or another one, with the wall and the Stylize tab's choice as they are by now."""
        return self._hang(name, restock=True) | self._offered()

    def _hang(self, name: str | None, restock: bool = False) -> Updates:
        """The style `name` large; restock: with the wall drawn anew, in case of other styles or another base."""
        tab, styles, base = self.tab, self.styles(), self.base()
        style = self.find(name) or (styles[0] if styles and restock else None)
        if style is None:
            return {}
        wall = gr.HTML(style.name, **wall_cards(styles, base)) if restock else style.name
        return {
            tab.wall: wall,
            tab.frame: _large(style).value,
            tab.label: plate(style, base),
            tab.use: gr.Button(interactive=is_available(style, base)),
        }


def _large(style: Style | None) -> Hanging:
    """A style's photo and what it makes of it; nothing for a style without these pictures."""
    before, after = (picture_address(path, WALL_SIDE) for path in ((style.before, style.preview) if style else (None, None)))
    title = style.title if style else ""
    return Hanging(kind="example", before=before, after=after, alt=f"The example photo in the style {title}")


def describe_needs(needs: BaseNeeds, gpu: str | None) -> str:
    """One sentence or two about what a base wants on this machine. gpu: its name, None without one."""
    if needs.source == POCKET:
        return "The pocket base is here already and runs on any CPU."
    size = f"{needs.download / 1e9:.1f} GB to download" if needs.download else "Downloaded already"
    there = f", {needs.present / 1e9:.1f} GB are here" if needs.download and needs.present > 1e8 else ""
    memory = f"{needs.memory / 1e9:.1f} GB of GPU memory for its weights, and some to work in"
    where = f"This machine has one: {gpu}." if gpu else "This machine has none, so that a picture takes minutes."
    return f"{size}{there}. It wants a GPU: {memory}. {where} Licence: {needs.license}"


def _beside(work: Callable[[Say], T]) -> Iterator[tuple[str, float] | T]:
    """What `work` says while it runs on a thread of its own, and at last its result; its exception, if it raises one."""
    said: queue.SimpleQueue[tuple[str, float]] = queue.SimpleQueue()
    pool = ThreadPoolExecutor(1, "hub")
    running = pool.submit(work, lambda text, done: said.put((text, done)))
    pool.shutdown(wait=False)  # takes no more, and nobody who closes this has to wait for it
    while not running.done():
        time.sleep(BEAT)
        latest = None
        while not said.empty():
            latest = said.get()
        if latest is not None:
            yield latest
    yield running.result()


def _gpu() -> str | None:
    """Name of this machine's GPU, if torch sees one."""
    import torch  # the engine has it loaded by the time anyone asks

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
