"""The Stylize tab: a photo, a style chosen by its picture, and the result beside the photo.

The tab receives the function it calls, so it runs with a fake as well as with the engine. That function's generator runs on a thread of
its own and the listener only watches it, which is why Cancel, or closing the page, stops it after the step at hand.
"""

from __future__ import annotations

import base64
import html
import io
import json
import logging
import queue
import re
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import gradio as gr
from PIL import Image, ImageOps

from stylekit.errors import PictureError, SettingError, StyleError
from stylekit.images import open_picture, save_png
from stylekit.mix import StyleMix
from stylekit.recipe import DEFAULT_SIZE, Recipe

if TYPE_CHECKING:
    from stylekit.styles import Style
    from stylekit.stylizer import Stylized, StylizeStep

log = logging.getLogger(__name__)

T = TypeVar("T")
Run = Callable[[Image.Image, Recipe], "Iterator[StylizeStep | Stylized]"]
Updates = dict[Any, Any]  # component -> its new value; components left out stay as they are

MODEL_QUEUE = "model"  # concurrency_id of every listener that touches the model, in every tab
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
BEAT = 0.25  # seconds between signs of life; Gradio can stop a listener only at one
DISPLAY_SIDE = 1280  # pixels the browser gets to see; the download is whole
THUMBNAIL = (300, 200)  # pixels
MAX_STEPS = 8
SIZES = (512, 768, 1024)  # pixels
SEEDS = 2**31  # range of the dice

NO_PHOTO = "There is no photo yet: upload one, or click an example."
PHOTO_GONE = "The photo is no longer on the server, which keeps uploads for a while only: upload it again."
WELCOME = "Choose a photo and a style."
CANCELLED = "Cancelled. Your photo and settings are still here."
FAILED = "Something went wrong on the server and is in its log. Your photo and settings are still here: try again."

STYLE_TEMPLATE = """<fieldset class="sk-pictures"><legend>Style</legend><div class="sk-grid">
${choices.map((c) => `<label><input type="radio" name="style" value="${c.name}" ${c.name === value ? "checked" : ""}>
${c.picture ? `<img src="${c.picture}" alt="">` : `<div class="sk-blank"></div>`}<span>${c.title}</span></label>`).join("")}
</div></fieldset>"""
STYLE_SCRIPT = """
element.addEventListener("change", (event) => { props.value = event.target.value; trigger("input"); });
watch("value", () => element.querySelectorAll("input").forEach((input) => { input.checked = input.value === props.value; }));
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
BUSY_SCRIPT = """() => {
  const result = document.getElementById("result");
  if (matchMedia("(max-width: 768px)").matches) setTimeout(() => result.scrollIntoView({behavior: "smooth"}), 500);
  return [%s, {interactive: false, __type__: "update"}, {interactive: true, __type__: "update"}];
}"""
IDLE_SCRIPT = """() => [{interactive: true, __type__: "update"}, {interactive: false, __type__: "update"}]"""
DICE_SCRIPT = f"() => Math.floor(Math.random() * {SEEDS})"


@dataclass(frozen=True, kw_only=True)
class StylizeTab:
    """The tab's components, for tabs that set a photo or a style here.

    photo shows the file at photo_path, small; drop stands in its place before there is one. comparison: the result, or before the first
    one an example of the style. wall_label: what hangs under it, the label and the download.
    """

    drop: gr.File
    photo: gr.Image
    change: gr.UploadButton
    photo_path: gr.State
    examples: gr.HTML
    style: gr.HTML
    strength: gr.Slider
    seed: gr.Number
    dice: gr.Button
    steps: gr.Dropdown
    size: gr.Dropdown
    go: gr.Button
    cancel: gr.Button
    status: gr.HTML
    live: gr.Image
    comparison: gr.ImageSlider
    wall_label: gr.Row
    label: gr.HTML
    download: gr.DownloadButton
    has_result: gr.State


def create_tab(
    *, styles: Sequence[Style], run: Run, examples: Sequence[Path] = (), base: str = "pocket", default_size: int = DEFAULT_SIZE
) -> StylizeTab:
    """Lay out the tab in the current Blocks and connect it.

    styles: the cards to choose from. run: photo and Recipe -> StylizeSteps, then one Stylized; closing it must cancel. examples: photos
    to try. base: name of the loaded base, for the Recipe. default_size: working size chosen at the start, in pixels.
    """
    tab = _lay_out(styles, examples, default_size)
    actions = _Actions(tab, styles, run, examples, base)

    photo_parts = [tab.drop, tab.photo, tab.change, tab.photo_path, tab.status]
    tab.drop.upload(actions.take_upload, tab.drop, photo_parts, **PRIVATE)
    tab.change.upload(actions.take_upload, tab.change, photo_parts, **PRIVATE)
    tab.examples.select(actions.take_example, None, photo_parts, **PRIVATE)
    tab.style.input(actions.show_style, [tab.style, tab.has_result], [tab.comparison, tab.label], **PRIVATE)
    tab.dice.click(None, None, tab.seed, js=DICE_SCRIPT, **PRIVATE)

    # the browser answers the click at once; the queue may take its time
    busy = BUSY_SCRIPT % json.dumps(_say("Waiting for a free turn", "busy"))
    clicked = tab.go.click(None, None, [tab.status, tab.go, tab.cancel], js=busy, **PRIVATE)
    running = clicked.then(
        actions.stylize,
        [tab.photo_path, tab.style, tab.strength, tab.seed, tab.steps, tab.size],
        [tab.status, tab.live, tab.comparison, tab.wall_label, tab.label, tab.download, tab.has_result],
        concurrency_id=MODEL_QUEUE,
        concurrency_limit=1,
        **PRIVATE,
    )
    # however the run ended, even refused by a full queue, the buttons come back
    running.then(None, None, [tab.go, tab.cancel], js=IDLE_SCRIPT, **PRIVATE)
    # only once the run is gone, lest a late step paint over what is said
    cancelled = tab.cancel.click(None, None, None, cancels=[running], **PRIVATE)
    cancelled.then(actions.after_cancel, None, [tab.status, tab.live, tab.comparison, tab.wall_label], **PRIVATE)
    return tab


def _lay_out(styles: Sequence[Style], examples: Sequence[Path], default_size: int) -> StylizeTab:
    first = styles[0] if styles else None
    with gr.Row(elem_id="studio"):
        with gr.Column(scale=4, min_width=300):
            gr.HTML('<h2 class="sk-heading">Photo</h2>', apply_default_css=False, js_on_load=None)
            # gr.Image would open an upload itself and answer a broken one with a traceback; gr.File hands the file over unopened
            drop = gr.File(file_types=["image"], label="Photo", show_label=False, height=190, elem_id="drop")
            photo = gr.Image(visible=False, label="Photo", show_label=False, interactive=False, height=190, buttons=[], elem_id="photo")
            with gr.Row(elem_id="more-photos"):
                choices = [_choice(path.stem, path.stem.replace("_", " "), path) for path in examples]
                example_row = gr.HTML(
                    html_template=EXAMPLES_TEMPLATE,
                    js_on_load=EXAMPLES_SCRIPT,
                    choices=choices,
                    visible=bool(choices),
                    apply_default_css=False,
                    elem_id="examples",
                )
                change = gr.UploadButton("Change photo", file_types=["image"], visible=False, size="sm", scale=0, elem_id="change")
            style = gr.HTML(
                first.name if first else None,
                html_template=STYLE_TEMPLATE,
                js_on_load=STYLE_SCRIPT,
                choices=[_choice(style.name, style.title, style.preview) for style in styles],
                apply_default_css=False,
                elem_id="style",
            )
            with gr.Row(elem_id="dials"):
                strength = gr.Slider(0, 1, 1, step=0.05, label="Strength", buttons=[], min_width=120, scale=3, elem_id="strength")
                seed = gr.Number(0, precision=0, label="Seed", min_width=80, scale=1, elem_id="seed")
                dice = gr.Button("Random seed", min_width=44, scale=0, elem_id="dice")
            with gr.Accordion("Advanced", open=False, elem_id="advanced"), gr.Row():
                counts = [("Auto", 0), *((str(n), n) for n in range(1, MAX_STEPS + 1))]
                steps = gr.Dropdown(counts, value=0, label="Steps", min_width=100, elem_id="steps")
                sizes = [(f"{n} px", n) for n in sorted({*SIZES, default_size})]
                size = gr.Dropdown(sizes, value=default_size, label="Working size", min_width=100, elem_id="size")
            with gr.Row(elem_id="actions"):
                go = gr.Button("Stylize", variant="primary", elem_id="go")
                cancel = gr.Button("Cancel", interactive=False, elem_id="cancel")
        with gr.Column(scale=6, min_width=300, elem_id="result"):
            status = gr.HTML(_say(WELCOME), apply_default_css=False, js_on_load=None, elem_id="status")
            live = gr.Image(visible=False, label="Preview", show_label=False, interactive=False, buttons=[], elem_id="live")
            comparison = gr.ImageSlider(
                _example_pair(first), show_label=False, interactive=False, buttons=["fullscreen"], max_height=560, elem_id="comparison"
            )
            with gr.Row(elem_id="wall-label") as wall_label:
                label = gr.HTML(_example_label(first), apply_default_css=False, js_on_load=None, elem_id="label", scale=1)
                download = gr.DownloadButton("Download PNG", visible=False, elem_id="download", size="md")
    return StylizeTab(
        drop=drop,
        photo=photo,
        change=change,
        photo_path=gr.State(None),
        examples=example_row,
        style=style,
        strength=strength,
        seed=seed,
        dice=dice,
        steps=steps,
        size=size,
        go=go,
        cancel=cancel,
        status=status,
        live=live,
        comparison=comparison,
        wall_label=wall_label,
        label=label,
        download=download,
        has_result=gr.State(False),
    )


class _Actions:
    """What the listeners do."""

    def __init__(self, tab: StylizeTab, styles: Sequence[Style], run: Run, examples: Sequence[Path], base: str) -> None:
        self.tab = tab
        self.styles = {style.name: style for style in styles}
        self.run = run
        self.examples = tuple(examples)
        self.base = base
        self.turn = threading.Lock()

    def take_upload(self, path: str | None) -> Iterator[Updates]:
        """Take an upload if it is a picture; else say why not, and leave the photo before it in place."""
        try:
            if path:
                yield from self._place(Path(path), Path(path).name)
        except PictureError as error:
            yield {self.tab.drop: None, self.tab.status: _complain(str(error))}

    def take_example(self, event: gr.EventData) -> Iterator[Updates]:
        """Put an example photo where an upload would be."""
        index = getattr(event, "index", None)
        if isinstance(index, int) and 0 <= index < len(self.examples):
            yield from self._place(self.examples[index], self.examples[index].stem.replace("_", " "))

    def _place(self, path: Path, name: str) -> Iterator[Updates]:
        tab, photo = self.tab, open_picture(path)
        with tempfile.TemporaryDirectory(prefix="stylekit-") as folder:
            yield {
                tab.drop: gr.File(None, visible=False),
                tab.photo: gr.Image(_save_display(photo, Path(folder) / "photo.jpg"), visible=True),
                tab.change: gr.UploadButton(value=None, visible=True),
                tab.photo_path: str(path),
                tab.status: _say(f"{name}, {photo.width} × {photo.height} pixels."),
            }

    def show_style(self, name: str | None, has_result: bool) -> Updates:
        """Until there is a result, the frame shows what the chosen style does to its own photo."""
        if has_result or name not in self.styles:
            return {}
        return {self.tab.comparison: _example_pair(self.styles[name]), self.tab.label: _example_label(self.styles[name])}

    def stylize(self, path: str | None, style: str | None, strength: float, seed: int | None, steps: int, size: int) -> Iterator[Updates]:
        """Run the engine and show its steps; whatever fails is said, and the photo and settings stay."""
        tab = self.tab
        try:
            if not path:
                raise PictureError(NO_PHOTO)
            if not Path(path).exists():
                raise PictureError(PHOTO_GONE)
            recipe = self._recipe(style, strength, seed, steps, size)
            photo = open_picture(path)
            # Gradio copies the files it is given, so they are needed only while they are yielded
            with tempfile.TemporaryDirectory(prefix="stylekit-") as name:
                yield from self._paint(photo, recipe, Path(path).stem, Path(name))
        except StyleError as error:
            yield self._at_rest() | {tab.status: _complain(str(error))}
        except Exception:
            log.exception("A picture could not be made.")
            yield self._at_rest() | {tab.status: _complain(FAILED)}

    def after_cancel(self) -> Updates:
        """The frame as it was before the run that Gradio has just cancelled."""
        return self._at_rest() | {self.tab.status: _say(CANCELLED)}

    def _at_rest(self) -> Updates:
        tab = self.tab
        return {tab.live: gr.Image(visible=False), tab.comparison: gr.ImageSlider(visible=True), tab.wall_label: gr.Row(visible=True)}

    def _recipe(self, style: str | None, strength: float, seed: int | None, steps: int, size: int) -> Recipe:
        if not style:
            raise SettingError("There is no style yet: choose one by its picture.")
        if seed is None:
            raise SettingError("The seed is empty: give a whole number, or roll the dice.")
        return Recipe(
            mix=StyleMix(weights=((style, 1.0),)),
            strength=strength,
            num_inference_steps=steps or None,
            seed=seed,
            size=size,
            base=self.base,
        )

    def _paint(self, photo: Image.Image, recipe: Recipe, stem: str, folder: Path) -> Iterator[Updates]:
        tab, started = self.tab, time.monotonic()
        before = _save_display(photo, folder / "before.jpg")
        said, done = "Getting ready", 0.0
        yield {
            tab.status: _say(said, "busy", done),
            tab.live: gr.Image(before, visible=True),
            tab.comparison: gr.ImageSlider(visible=False),
            tab.wall_label: gr.Row(visible=False),
        }
        from stylekit.stylizer import Stylized  # brings torch and diffusers along; the page came up without waiting for them

        for event in watch(lambda: self.run(photo, recipe), self.turn):
            seconds = time.monotonic() - started
            if event is None:
                yield {tab.status: _say(said, "busy", done, seconds)}
            elif isinstance(event, Stylized):
                yield {tab.status: _say("Saving", "busy", 1.0, seconds)}
                yield self._hang(event, before, stem, folder)
                return
            else:
                said, done = f"Step {event.step} of {event.total}", event.step / event.total
                shown = {tab.live: _save_display(event.preview, folder / f"step-{event.step}.jpg")} if event.preview else {}
                yield {tab.status: _say(said, "busy", done, seconds)} | shown
        raise RuntimeError("The engine ended without a picture.")

    def _hang(self, result: Stylized, before: str, stem: str, folder: Path) -> Updates:
        tab, recipe = self.tab, result.recipe
        style = recipe.mix.names[0]
        title = self.styles[style].title if style in self.styles else style
        file = save_png(result.image, folder / f"{re.sub(r'[^A-Za-z0-9_-]+', '-', stem)[:60] or 'photo'}-{style}.png", recipe)
        details = f"Strength {recipe.strength:g} · seed {recipe.seed} · {result.image.width} × {result.image.height} pixels"
        return self._at_rest() | {
            tab.status: _say(f"Done in {result.seconds:.1f} seconds."),
            tab.comparison: gr.ImageSlider((before, _save_display(result.image, folder / "after.jpg")), visible=True),
            tab.label: _wall_label(title, details),
            tab.download: gr.DownloadButton(value=str(file), visible=True),
            tab.has_result: True,
        }


def watch(start: Callable[[], Iterator[T]], turn: threading.Lock) -> Generator[T | None, None, None]:
    """Iterate `start()` on a thread of its own: its items, and None every `BEAT` seconds between them; its exception, if it raises one.

    The thread holds `turn` while it works, so two never work at once. Closing this only sets a flag, because Gradio closes listeners on
    its event loop; the thread then closes the iterator after the step at hand, and only then lets go of `turn`.
    """
    items: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()
    stop = threading.Event()

    def work() -> None:
        while not turn.acquire(timeout=BEAT):
            if stop.is_set():
                return
        try:
            if stop.is_set():
                return
            iterator = start()
            try:
                while not stop.is_set():
                    items.put((next(iterator), None))
            finally:
                close = getattr(iterator, "close", None)
                if close:
                    close()
        except BaseException as error:
            items.put((None, error))
        finally:
            turn.release()

    threading.Thread(target=work, name="stylize", daemon=True).start()
    try:
        while True:
            try:
                item, error = items.get(timeout=BEAT)
            except queue.Empty:
                yield None
                continue
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item
    finally:
        stop.set()


def _choice(name: str, title: str, picture: Path | None) -> dict[str, str]:
    """A picture to choose, for the templates. It travels inside the page, so no file of the server has to be opened to visitors."""
    source = ""
    if picture is not None:
        try:
            square = ImageOps.fit(open_picture(picture), THUMBNAIL)
        except PictureError as error:
            log.warning("%s", error)
        else:
            data = io.BytesIO()
            square.save(data, "JPEG", quality=85)
            source = f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
    return {"name": html.escape(name), "title": html.escape(title), "picture": source}


def _example_pair(style: Style | None) -> tuple[Image.Image, Image.Image] | None:
    if style is None or style.before is None or style.preview is None:
        return None
    try:
        pair = open_picture(style.before), open_picture(style.preview)
    except PictureError as error:
        log.warning("%s", error)
        return None
    for picture in pair:
        picture.thumbnail((DISPLAY_SIDE, DISPLAY_SIDE))
    return pair


def _example_label(style: Style | None) -> str:
    if style is None:
        return ""
    return _wall_label(style.title, f"{style.blurb} An example: drag the line." if style.before and style.preview else style.blurb)


def _wall_label(title: str, details: str) -> str:
    return f'<div class="sk-label"><b>{html.escape(title)}</b><span>{html.escape(details)}</span></div>'


def _save_display(picture: Image.Image, path: Path) -> str:
    """A copy for the screen: encoding a whole 12 MP picture would take seconds."""
    copy = picture.copy()
    copy.thumbnail((DISPLAY_SIDE, DISPLAY_SIDE), reducing_gap=2.0)
    copy.save(path, "JPEG", quality=90)
    return str(path)


def _say(text: str, state: str = "quiet", done: float | None = None, seconds: float | None = None) -> str:
    """The status line. Its clock is kept from screen readers, which would read it out four times a second."""
    clock = f'<i aria-hidden="true">{seconds:.1f} s</i>' if seconds is not None else ""
    bar = f'<progress max="1" value="{done:.3f}" aria-label="Progress"></progress>' if done is not None else ""
    return f'<div class="sk-status" data-state="{state}"><span role="status">{html.escape(text)}</span>{bar}{clock}</div>'


def _complain(sentence: str) -> str:
    """Show a user's mistake as a note that pops up; the status line that keeps it."""
    gr.Warning(html.escape(sentence))
    return _say(sentence, "error")
