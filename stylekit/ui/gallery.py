"""The Gallery tab: every style on the wall, before and after; a larger look with its label; styles of the Hub; the choice of the base.

The tab receives the functions it calls. Pictures travel inside the page, so no file of the server has to be opened to visitors.
"""

from __future__ import annotations

import base64
import functools
import html
import io
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import gradio as gr
from PIL import Image

from stylekit.errors import PictureError, StyleError, UnknownStyleError
from stylekit.images import open_picture
from stylekit.styles import POCKET, Style
from stylekit.ui.choices import before_and_after
from stylekit.ui.status import complain, say
from stylekit.ui.worker import BEAT, watch

if TYPE_CHECKING:
    from stylekit.hub import BaseNeeds
    from stylekit.styles import Adapter

log = logging.getLogger(__name__)

T = TypeVar("T")


class Progress(Protocol):
    """How far a lesson is. done: 0..1. eta: seconds to go. preview: the style as it is by now, at times."""

    @property
    def doing(self) -> str: ...
    @property
    def eta(self) -> float: ...
    @property
    def preview(self) -> Image.Image | None: ...
    @property
    def done(self) -> float: ...


Teach = Callable[[str, Sequence[Path]], "Iterator[Progress | Style | None]"]  # title, pictures -> what happens, and at last the style
Say = Callable[[str, float], None]  # what is being done, and how much of it is done, 0 to 1
Updates = dict[Any, Any]

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
HUB_QUEUE = "hub"  # concurrency_id of what talks to the Hub
CARD_SIDE = 420  # pixels
WALL_SIDE = 1024  # pixels
SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
KINDS = {"lora": "LoRA", "dreambooth": "DreamBooth"}
FAILED = "Something went wrong on the server and is in its log: try again."
MOST_PICTURES = 20  # that a style is taught from
TEACH_HINT = "From 1 to 20 pictures in one manner, in about three minutes on two quiet processor cores. Keep this page open."
TAUGHT_NOTHING = "Stopped: nothing was kept."
TAUGHT_KEPT = "is here: it is on the wall, and stays."
ADD_HINT = "A repository with a LoRA for Stable Diffusion 1.x or the pocket base. It is checked before it is used."
NO_ADAPTER = "No adapter for"

WALL_TEMPLATE = """<div class="sk-wall">
<div class="sk-wallbar"><h2 class="sk-heading">All styles</h2>
<label class="sk-search"><span>Search</span><input type="search" placeholder="a name, a time, a licence" autocomplete="off"></label></div>
<div class="sk-cards">${cards.map((c) => `<article class="sk-card" data-name="${c.name}" data-words="${c.words}">
<button type="button" class="sk-pair" aria-label="Look at ${c.title}" ${c.name === value ? 'aria-current="true"' : ""}>
${c.before ? `<img src="${pictures[c.before]}" alt="">` : ""}
${c.after ? `<img class="sk-after" src="${pictures[c.after]}" alt="">` : `<span class="sk-blank">No picture in its card</span>`}</button>
<div class="sk-label"><b>${c.title}</b><span>${c.period}</span></div>
<footer><small>${c.note}</small><button type="button" class="sk-use" ${c.available ? "" : "disabled"}
aria-label="Use ${c.title}">Use it</button></footer></article>`).join("")}</div>
<p class="sk-none" role="status" hidden>No style matches that.</p></div>"""
WALL_SCRIPT = """
const name = (event) => event.target.closest(".sk-card")?.dataset.name;
element.addEventListener("click", (event) => {
  if (event.target.closest(".sk-use")) trigger("submit", {name: name(event)});
  else if (event.target.closest(".sk-pair")) {
    trigger("select", {name: name(event)});
    document.getElementById("piece").scrollIntoView({behavior: "smooth", block: "start"});
  }
});
element.addEventListener("pointermove", (event) => {  // the line between before and after follows the pointer
  const pair = event.target.closest(".sk-pair");
  if (!pair || event.pointerType === "touch") return;
  const box = pair.getBoundingClientRect();
  pair.style.setProperty("--sk-at", Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)));
});
element.addEventListener("pointerout", (event) => event.target.closest(".sk-pair")?.style.removeProperty("--sk-at"));
element.addEventListener("input", (event) => {
  if (event.target.type !== "search") return;
  event.stopPropagation();
  const words = event.target.value.toLowerCase().split(/\\s+/).filter(Boolean);
  let shown = 0;
  element.querySelectorAll(".sk-card").forEach((card) => {
    card.hidden = !words.every((word) => card.dataset.words.includes(word));
    shown += !card.hidden;
  });
  element.querySelector(".sk-none").hidden = shown > 0;
});
"""


@dataclass(frozen=True, kw_only=True)
class GalleryTab:
    """The tab's components. wall: all styles, its value the name of the one that hangs large in comparison, with its label."""

    wall: gr.HTML
    comparison: gr.ImageSlider
    label: gr.HTML
    use: gr.Button
    source: gr.Textbox
    add: gr.Button
    add_status: gr.HTML
    pictures: gr.File
    title: gr.Textbox
    teach: gr.Button
    stop: gr.Button
    teach_status: gr.HTML
    taught: gr.Image
    base: gr.Dropdown
    look: gr.Button
    fetch: gr.Button
    base_status: gr.HTML


@dataclass(frozen=True, kw_only=True)
class Stylize:
    """Where "use it" leads: the tabs, the id of the Stylize tab, and its choice of a style, whose value is a style's name."""

    tabs: gr.Tabs
    tab_id: str
    style: gr.HTML


def create_tab(
    page: gr.Blocks,
    *,
    styles: Callable[[], Sequence[Style]],
    base: Callable[[], str],
    stylize: Stylize,
    choices: Callable[[Sequence[Style]], list[dict[str, str]]],
    add: Callable[[str, Say], Style] | None = None,
    teach: Teach | None = None,
    needs: Callable[[str], BaseNeeds] | None = None,
    choose: Callable[[str, Say], None] | None = None,
) -> GalleryTab:
    """Lay out the tab in `page` and connect it.

    styles: the cards as they are by now. base: name of the base in use. choices: the styles as the Stylize tab's choice takes them. add:
    repository of the Hub -> its style, which is among `styles` from then on; None leaves that part out. teach: makes a style of pictures,
    which is among `styles` from then on; closing it must stop it; None leaves that part out. needs, choose: what a base wants,
    and take it into use; None leaves the choice out.
    """
    tab = _lay_out(styles(), base(), add is not None, teach is not None, choose is not None and needs is not None)
    actions = _Actions(tab, styles, base, stylize, choices)
    piece = [tab.wall, tab.comparison, tab.label, tab.use]
    tab.wall.select(actions.show, None, piece, **PRIVATE)
    tab.wall.submit(actions.use_from_wall, None, [stylize.tabs, stylize.style], **PRIVATE)
    tab.use.click(actions.use, tab.wall, [stylize.tabs, stylize.style], **PRIVATE)
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
    if teach is not None:
        learning = gr.on(
            [tab.teach.click, tab.title.submit],
            functools.partial(actions.teach, teach),
            [tab.title, tab.pictures],
            [*piece, tab.teach, tab.stop, tab.teach_status, tab.taught, stylize.style],
            concurrency_limit=None,  # a second one is told so at once
            **PRIVATE,
        )
        stopped = tab.stop.click(None, None, None, cancels=[learning], **PRIVATE)
        stopped.then(actions.stopped, None, [tab.teach, tab.stop, tab.teach_status, tab.taught], **PRIVATE)
    if needs is not None and choose is not None:
        wants = functools.partial(actions.tell_needs, needs)
        gr.on([tab.look.click, tab.base.input], wants, tab.base, [tab.base_status, tab.fetch], **PRIVATE)
        tab.fetch.click(
            functools.partial(actions.choose, choose),
            [tab.base, tab.wall],
            [*piece, tab.fetch, tab.look, tab.base_status],
            concurrency_id="base",
            concurrency_limit=1,
            **PRIVATE,
        )
    # what others have added since the page was made
    page.load(actions.refresh, tab.wall, [*piece, stylize.style, tab.base], **PRIVATE)
    return tab


def _lay_out(styles: Sequence[Style], base: str, can_add: bool, can_teach: bool, can_choose: bool) -> GalleryTab:
    first = styles[0] if styles else None
    with gr.Row(elem_id="piece"):
        with gr.Column(scale=6, min_width=300):
            comparison = gr.ImageSlider(
                before_and_after(first, WALL_SIDE),
                show_label=False,
                interactive=False,
                buttons=["fullscreen"],
                max_height=620,
                elem_id="piece-picture",
            )
        with gr.Column(scale=5, min_width=300):
            label = gr.HTML(_label(first, base), apply_default_css=False, js_on_load=None, elem_id="piece-label")
            use = gr.Button("Use it", variant="primary", interactive=_available(first, base), elem_id="use")
    wall = gr.HTML(
        first.name if first else None,
        html_template=WALL_TEMPLATE,
        js_on_load=WALL_SCRIPT,
        apply_default_css=False,
        elem_id="wall",
        **_cards(styles, base),
    )
    with gr.Row(elem_id="storeroom", visible=can_add or can_choose):
        with gr.Column(min_width=300, visible=can_add):
            gr.HTML('<h2 class="sk-heading">Add from the Hub</h2>', apply_default_css=False, js_on_load=None)
            with gr.Row(elem_classes="sk-ask"):
                source = gr.Textbox(
                    placeholder="OWNER/NAME or OWNER/NAME@revision", show_label=False, label="Repository", max_lines=1, elem_id="source"
                )
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
    with gr.Row(elem_id="school", visible=can_teach):
        with gr.Column(scale=6, min_width=300):
            gr.HTML('<h2 class="sk-heading">Teach a style</h2>', apply_default_css=False, js_on_load=None)
            pictures = gr.File(
                file_count="multiple",
                file_types=["image"],
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
            teach_status = gr.HTML(say(TEACH_HINT), apply_default_css=False, js_on_load=None, elem_id="teach-status")
        with gr.Column(scale=5, min_width=300):
            taught = gr.Image(
                visible=False, show_label=False, label="The style by now", interactive=False, buttons=[], height=384, elem_id="taught"
            )
    return GalleryTab(
        wall=wall,
        comparison=comparison,
        label=label,
        use=use,
        source=source,
        add=add,
        add_status=add_status,
        pictures=pictures,
        title=title,
        teach=teach,
        stop=stop,
        teach_status=teach_status,
        taught=taught,
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
        style = self._find(name)
        if style is None or not _available(style, self.base()):
            return gr.skip()
        return {self.stylize.tabs: gr.Tabs(selected=self.stylize.tab_id), self.stylize.style: style.name}

    def refresh(self, name: str | None) -> Updates:
        """What has changed since the page was made, for one that has just been opened."""
        styles, base = self.styles(), self.base()
        if (styles, base) == self.made_of:  # an update without its properties would leave a wall that is not drawn yet without them
            return {self.tab.wall: gr.HTML(**_cards(styles, base))}
        known = list(dict.fromkeys((base, POCKET, SD15)))
        return self._hang(name, restock=True) | {
            self.stylize.style: gr.HTML(choices=self.choices(styles)),
            self.tab.base: gr.Dropdown(known, value=base),
        }

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
            adapter = _adapter(style, self.base())
            ready = "it is on the wall." if _available(style, self.base()) else f"it needs the base {adapter.base if adapter else ''}."
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

    def teach(self, teach: Teach, title: str, pictures: Sequence[str] | None) -> Iterator[Updates]:
        """Make a style of the pictures, shown as it learns, and hang it; whatever fails is said, and the pictures stay."""
        tab = self.tab
        asleep = {tab.teach: gr.Button(interactive=False), tab.stop: gr.Button(interactive=True)}
        awake = {tab.teach: gr.Button(interactive=True), tab.stop: gr.Button(interactive=False)}
        try:
            if not pictures:
                raise PictureError(f"There is no picture yet: choose from 1 to {MOST_PICTURES}.")
            said, done, started = "Getting ready", 0.0, time.monotonic()
            yield asleep | {tab.teach_status: say(said, "busy", done)}
            style: Style | None = None
            for event in watch(lambda: teach(title, [Path(picture) for picture in pictures]), threading.Lock()):
                if isinstance(event, Style):
                    style = event
                    continue
                seen: Updates = {}
                if event is not None:
                    said, done = f"{event.doing}; {_to_go(event.eta)}", event.done
                    if event.preview:
                        seen = {tab.taught: gr.Image(event.preview, visible=True)}
                yield seen | {tab.teach_status: say(said, "busy", done, time.monotonic() - started)}
            assert style is not None
            yield (
                self._hang(style.name, restock=True)
                | awake
                | {
                    tab.taught: gr.Image(visible=False),
                    tab.teach_status: say(f"{style.title} {TAUGHT_KEPT}"),
                    self.stylize.style: gr.HTML(choices=self.choices(self.styles())),
                }
            )
        except StyleError as error:
            yield awake | {tab.teach_status: complain(str(error)), tab.taught: gr.Image(visible=False)}
        except Exception:
            log.exception("A style could not be taught.")
            yield awake | {tab.teach_status: complain(FAILED), tab.taught: gr.Image(visible=False)}

    def stopped(self) -> Updates:
        """After a lesson was cancelled."""
        tab = self.tab
        return {
            tab.teach: gr.Button(interactive=True),
            tab.stop: gr.Button(interactive=False),
            tab.teach_status: say(TAUGHT_NOTHING),
            tab.taught: gr.Image(visible=False),
        }

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
            ready = sum(_available(style, self.base()) for style in self.styles())
            said = f"{self.base()} is in use. {ready} of {len(self.styles())} styles have an adapter for it."
            yield (
                self._hang(shown, restock=True)
                | awake
                | {tab.fetch: gr.Button(visible=False, interactive=True), tab.base_status: say(said)}
            )
        except StyleError as error:
            yield awake | {tab.base_status: complain(str(error))}
        except Exception:
            log.exception("A base could not be taken into use.")
            yield awake | {tab.base_status: complain(FAILED)}

    def _find(self, name: str | None) -> Style | None:
        return next((style for style in self.styles() if style.name == name), None)

    def _hang(self, name: str | None, restock: bool = False) -> Updates:
        """The style `name` large; restock: with the wall drawn anew, in case of other styles or another base."""
        tab, styles, base = self.tab, self.styles(), self.base()
        style = self._find(name) or (styles[0] if styles and restock else None)
        if style is None:
            return {}
        wall = gr.HTML(style.name, **_cards(styles, base)) if restock else style.name
        return {
            tab.wall: wall,
            tab.comparison: before_and_after(style, WALL_SIDE),
            tab.label: _label(style, base),
            tab.use: gr.Button(interactive=_available(style, base)),
        }


def describe_needs(needs: BaseNeeds, gpu: str | None) -> str:
    """One sentence or two about what a base wants on this machine. gpu: its name, None without one."""
    if needs.source == POCKET:
        return "The pocket base is here already and runs on any CPU."
    size = f"{needs.download / 1e9:.1f} GB to download" if needs.download else "Downloaded already"
    there = f", {needs.present / 1e9:.1f} GB are here" if needs.download and needs.present > 1e8 else ""
    memory = f"{needs.memory / 1e9:.1f} GB of GPU memory for its weights, and some to work in"
    where = f"This machine has one: {gpu}." if gpu else "This machine has none, so that a picture takes minutes."
    return f"{size}{there}. It wants a GPU: {memory}. {where} Licence: {needs.license}"


def _to_go(seconds: float) -> str:
    """1 to 59 s to the next 5, above to the minute and half."""
    if seconds < 60:
        return f"about {max(5, 5 * round(seconds / 5))} s to go"
    return f"about {round(seconds / 30) / 2:g} min to go"


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


def _adapter(style: Style, base: str) -> Adapter | None:
    """The adapter that the page shows: the one for `base`, else the first."""
    for kind in dict.fromkeys(adapter.kind for adapter in style.adapters):
        try:
            return style.adapter(base, kind)
        except UnknownStyleError:
            continue
    return style.adapters[0] if style.adapters else None


def _available(style: Style | None, base: str) -> bool:
    """Whether the engine can use it: it takes a LoRA for the base."""
    if style is None:
        return False
    try:
        style.adapter(base)
    except UnknownStyleError:
        return False
    return True


def _cards(styles: Sequence[Style], base: str) -> dict[str, Any]:
    """What the wall's template shows. Styles share the picture of a photo that they share."""
    pictures: dict[str, str] = {}

    def key(path: Path | None) -> str:
        url = _picture_url(path, path.stat().st_mtime_ns) if path and path.is_file() else ""
        if not url:
            return ""
        found = next((name for name, known in pictures.items() if known == url), f"p{len(pictures)}")
        pictures[found] = url
        return found

    cards = []
    for style in styles:
        adapter = _adapter(style, base)
        facts = _facts(style, adapter)
        available = _available(style, base)
        brief = " · ".join(facts[name] for name in ("Base", "Size", "Licence") if name in facts)
        words = " ".join((style.name, style.title, style.blurb, style.period, *facts.values())).lower()
        cards.append(
            {
                "name": html.escape(style.name),
                "title": html.escape(style.title),
                "period": html.escape(style.period),
                "note": html.escape(brief if available or adapter is None else f"{NO_ADAPTER} {base}; it is for {adapter.base}"),
                "words": html.escape(words),
                "available": available,
                "before": key(style.before),
                "after": key(style.preview),
            }
        )
    return {"cards": cards, "pictures": pictures}


def _facts(style: Style, adapter: Adapter | None) -> dict[str, str]:
    """What is known of a style, and nothing that is not."""
    facts = {"Period": style.period}
    if adapter is not None:
        size = adapter.path.stat().st_size if adapter.path.is_file() else 0
        others = dict.fromkeys(other.base for other in style.adapters if other.base != adapter.base)
        facts |= {
            "Base": adapter.base,
            "Also for": ", ".join(others),
            "Kind": KINDS.get(adapter.kind, adapter.kind),
            "Size": f"{size / 1e6:.1f} MB" if size else "",
            "Licence": adapter.license,
            "Made": adapter.made,
            "Data": adapter.data,
            "Trigger": adapter.trigger,
        }
        facts |= {name: f"{value:.4g}" for name, value in adapter.metrics.items()}
    repo, at, commit = style.source.partition("@")
    facts["From"] = f"{repo} at {commit[:8]}" if at else repo
    return {name: value for name, value in facts.items() if value}


def _label(style: Style | None, base: str) -> str:
    """What hangs beside the large picture."""
    if style is None:
        return '<div class="sk-plate"><p>There are no styles yet: add one.</p></div>'
    adapter = _adapter(style, base)
    missing = "" if _available(style, base) else f'<p class="sk-missing">{NO_ADAPTER} {html.escape(base)}, the base in use.</p>'
    rows = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in _facts(style, adapter).items())
    dial = _picture_url(style.dial, style.dial.stat().st_mtime_ns, WALL_SIDE) if style.dial and style.dial.is_file() else ""
    strip = f'<figure><img src="{dial}" alt=""><figcaption>Strength 0, 0.2, 0.5, 0.8 and 1</figcaption></figure>' if dial else ""
    return (
        f'<div class="sk-plate"><h2>{html.escape(style.title)}</h2><p>{html.escape(style.blurb)}</p>{missing}{strip}'
        f'<dl class="sk-facts">{rows}</dl></div>'
    )


@functools.lru_cache(maxsize=256)
def _picture_url(path: Path, changed: int, side: int = CARD_SIDE) -> str:
    """A small copy as a data URL; empty for a file that is no picture. changed: its time stamp, so that a new file is read anew."""
    try:
        picture = open_picture(path)
    except PictureError as error:
        log.warning("%s", error)
        return ""
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=84)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"


def _gpu() -> str | None:
    """Name of this machine's GPU, if torch sees one."""
    import torch  # the engine has it loaded by the time anyone asks

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
