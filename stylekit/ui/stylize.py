"""The Stylize tab: a photo, a style chosen by its picture or painted on the photo, and the result beside the photo.

The tab receives the function it calls, so it runs with a fake as well as with the engine. That function's generator runs on a thread of
its own and the listener only watches it, which is why Cancel, or closing the page, stops it after the step at hand.
"""

from __future__ import annotations

import hashlib
import html
import logging
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import gradio as gr
from PIL import Image

from stylekit.errors import PictureError, SettingError, StyleError
from stylekit.images import open_picture, save_png
from stylekit.maps import WeightMap
from stylekit.mix import StyleMix
from stylekit.picture import StylePicture
from stylekit.recipe import DEFAULT_FEATHER, DEFAULT_SIZE, FEATHER_LIMIT, Recipe
from stylekit.ui.choices import before_and_after, create_examples, create_styles, own_choices
from stylekit.ui.own import OwnStyles
from stylekit.ui.paint import Painting
from stylekit.ui.painter import create_painter, picture_url
from stylekit.ui.restore import Restored, read_recipe
from stylekit.ui.scripts import BRUSH, DICE, DROP, IDLE, PAINT, PICK, REPAINT, busy
from stylekit.ui.status import complain, say
from stylekit.ui.worker import MODEL_QUEUE, watch

if TYPE_CHECKING:
    from stylekit.styles import Style
    from stylekit.stylizer import Stylized, StylizeStep

log = logging.getLogger(__name__)

Run = Callable[[Image.Image, Recipe], "Iterator[StylizeStep | Stylized]"]
Updates = dict[Any, Any]  # component -> its new value; components left out stay as they are

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
DISPLAY_SIDE = 1280  # pixels the browser gets to see; the download is whole
MAX_STEPS = 8
SIZES = (512, 768, 1024)  # pixels


NO_PHOTO = "There is no photo yet: upload one, or click an example."
PHOTO_GONE = "The photo is no longer on the server, which keeps uploads for a while only: upload it again."
OWN_EXAMPLE = "Your picture: the photo is painted in its manner."
WELCOME = "Choose a photo and a style."
CANCELLED = "Cancelled. Your photo and settings are still here."
FAILED = "Something went wrong on the server and is in its log. Your photo and settings are still here: try again."


@dataclass(frozen=True, kw_only=True)
class StylizeTab:
    """The tab's components, for tabs that set a photo or a style here.

    photo shows the file at photo_path, small; drop stands in its place before there is one. style: the chosen one, by name; while painting
    is ticked, the brush's, and what counts is the painter's palette and paint. own_style: brings a picture as a style, one more of own.
    comparison: the result, or before the first one an example of the style. wall_label: what hangs under it, the label and the download.
    restored: what a dropped PNG set the controls to; dropped: that PNG's digest.
    """

    drop: gr.File
    photo: gr.Image
    change: gr.UploadButton
    photo_path: gr.State
    examples: gr.HTML
    style: gr.HTML
    own_style: gr.UploadButton
    own: gr.State
    painting: gr.Checkbox
    painter: gr.HTML
    strength: gr.Slider
    structure: gr.Slider
    keep_colours: gr.Slider
    feather: gr.Slider
    match_border: gr.Checkbox
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
    repaint: gr.Button
    download: gr.DownloadButton
    has_result: gr.State
    restored: gr.State
    dropped: gr.State


def create_tab(
    *,
    styles: Callable[[], Sequence[Style]],
    run: Run,
    examples: Sequence[Path] = (),
    base: Callable[[], str] = lambda: "pocket",
    default_size: int = DEFAULT_SIZE,
) -> StylizeTab:
    """Lay out the tab in the current Blocks and connect it.

    styles: the cards to choose from, now. run: photo and Recipe -> StylizeSteps, then one Stylized; closing it must cancel. examples:
    photos to try. base: name of the base in use, now, for the Recipe. default_size: working size chosen at the start, in pixels.
    """
    tab = _lay_out(styles(), examples, default_size)
    actions = _Actions(tab, styles, run, examples, base)

    frame = [tab.painter, tab.comparison, tab.wall_label]
    settings = [tab.strength, tab.structure, tab.keep_colours, tab.feather, tab.match_border, tab.seed, tab.steps, tab.size]
    photo_parts = [tab.drop, tab.photo, tab.change, tab.photo_path, tab.status, *frame, tab.live]
    restored_parts = [*photo_parts, tab.style, tab.own, tab.painting, *settings, tab.repaint, tab.restored, tab.dropped]
    for upload in (tab.drop, tab.change):
        upload.upload(actions.take_upload, [upload, tab.photo_path, tab.painting, tab.dropped, tab.own], restored_parts, **PRIVATE)
    tab.examples.select(actions.take_example, tab.painting, photo_parts, **PRIVATE)
    example = [tab.comparison, tab.label]
    tab.own_style.upload(
        actions.take_style,
        [tab.own_style, tab.own, tab.photo_path, tab.has_result, tab.painting, tab.painter],
        [tab.own, tab.style, tab.own_style, tab.status, *example],
        **PRIVATE,
    )
    tab.style.input(actions.show_style, [tab.style, tab.own, tab.has_result], example, **PRIVATE)
    tab.style.change(None, [tab.style, tab.painting], None, js=PICK, **PRIVATE)
    tab.painter.input(None, [tab.painter, tab.style], tab.style, js=BRUSH, **PRIVATE)
    tab.painting.input(None, [tab.painting, tab.style], [*frame, tab.repaint], js=PAINT, **PRIVATE)
    tab.repaint.click(None, None, frame, js=REPAINT, **PRIVATE)
    tab.dice.click(None, None, tab.seed, js=DICE, **PRIVATE)

    # the browser answers the click at once; the queue may take its time
    waiting = busy(say("Waiting for a free turn", "busy"))
    clicked = tab.go.click(None, None, [tab.status, tab.go, tab.cancel, tab.painting], js=waiting, **PRIVATE)
    running = clicked.then(
        actions.make_picture,
        {tab.photo_path, tab.style, tab.own, tab.painting, tab.painter, *settings, tab.restored},
        [tab.status, tab.live, *frame, tab.label, tab.download, tab.has_result],
        concurrency_id=MODEL_QUEUE,
        concurrency_limit=1,
        **PRIVATE,
    )
    # however the run ended, even refused by a full queue, the buttons come back
    running.then(None, None, [tab.go, tab.cancel, tab.painting], js=IDLE, **PRIVATE)
    # only once the run is gone, lest a late step paint over what is said
    cancelled = tab.cancel.click(None, None, None, cancels=[running], **PRIVATE)
    cancelled.then(actions.after_cancel, tab.painting, [tab.status, tab.live, *frame], **PRIVATE)
    return tab


def _lay_out(styles: Sequence[Style], examples: Sequence[Path], default_size: int) -> StylizeTab:
    first = styles[0] if styles else None
    dial: dict[str, Any] = {"buttons": [], "min_width": 120}
    with gr.Row(elem_id="studio"):
        with gr.Column(scale=4, min_width=300):
            gr.HTML('<h2 class="sk-heading">Photo</h2>', apply_default_css=False, js_on_load=DROP)
            # gr.Image would open an upload itself and answer a broken one with a traceback; gr.File hands the file over unopened
            drop = gr.File(file_types=["image"], label="Photo", show_label=False, height=190, elem_id="drop")
            photo = gr.Image(visible=False, label="Photo", show_label=False, interactive=False, height=190, buttons=[], elem_id="photo")
            with gr.Row(elem_id="more-photos"):
                example_row = create_examples(examples)
                change = gr.UploadButton("Change photo", file_types=["image"], visible=False, size="sm", scale=0, elem_id="change")
            style = create_styles(styles)
            with gr.Row(elem_id="own-style"):
                own_style = gr.UploadButton("Style from a picture", file_types=["image"], size="sm", scale=0, elem_id="add-style")
                gr.HTML('<span class="sk-aside">or drop it on the styles</span>', apply_default_css=False, js_on_load=None)
            painting = gr.Checkbox(False, label="Paint or mix styles", elem_id="painting")
            with gr.Row(elem_id="dials"):
                strength = gr.Slider(0, 1, 1, step=0.01, label="Strength", scale=3, elem_id="strength", **dial)
                seed = gr.Number(0, precision=0, label="Seed", min_width=80, scale=1, elem_id="seed")
                dice = gr.Button("Random seed", min_width=44, scale=0, elem_id="dice")
            with gr.Accordion("Advanced", open=False, elem_id="advanced"):
                with gr.Row():
                    structure = gr.Slider(0, 1, 0, step=0.01, label="Structure", info="The photo's own detail", **dial)
                    keep_colours = gr.Slider(0, 1, 0, step=0.01, label="Keep colours", info="The photo's own colours", **dial)
                with gr.Row():
                    most = 100 * FEATHER_LIMIT
                    feather = gr.Slider(
                        0, most, 100 * DEFAULT_FEATHER, step=0.1, label="Feather", info="Soft borders of paint, in %", **dial
                    )
                    match_border = gr.Checkbox(False, label="Match border", info="Paint meets the photo's tone", min_width=120)
                with gr.Row():
                    steps = gr.Dropdown(_step_choices(0), value=0, label="Steps", min_width=100, elem_id="steps")
                    size = gr.Dropdown(_size_choices(default_size), value=default_size, label="Working size", min_width=100, elem_id="size")
            with gr.Row(elem_id="actions"):
                go = gr.Button("Stylize", variant="primary", elem_id="go")
                cancel = gr.Button("Cancel", interactive=False, elem_id="cancel")
        with gr.Column(scale=6, min_width=300, elem_id="result"):
            status = gr.HTML(say(WELCOME), apply_default_css=False, js_on_load=None, elem_id="status")
            live = gr.Image(visible=False, label="Preview", show_label=False, interactive=False, buttons=[], elem_id="live")
            painter = create_painter()
            comparison = gr.ImageSlider(
                before_and_after(first, DISPLAY_SIDE),
                show_label=False,
                interactive=False,
                buttons=["fullscreen"],
                max_height=560,
                elem_id="comparison",
            )
            with gr.Row(elem_id="wall-label") as wall_label:
                label = gr.HTML(_example_label(first), apply_default_css=False, js_on_load=None, elem_id="label", scale=1)
                repaint = gr.Button("Back to painting", visible=False, elem_id="repaint", size="md")
                download = gr.DownloadButton("Download PNG", visible=False, elem_id="download", size="md")
    return StylizeTab(
        drop=drop,
        photo=photo,
        change=change,
        photo_path=gr.State(None),
        examples=example_row,
        style=style,
        own_style=own_style,
        own=gr.State(OwnStyles()),
        painting=painting,
        painter=painter,
        strength=strength,
        structure=structure,
        keep_colours=keep_colours,
        feather=feather,
        match_border=match_border,
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
        repaint=repaint,
        download=download,
        has_result=gr.State(False),
        restored=gr.State(None),
        dropped=gr.State(None),
    )


class _Actions:
    """What the listeners do."""

    def __init__(
        self, tab: StylizeTab, styles: Callable[[], Sequence[Style]], run: Run, examples: Sequence[Path], base: Callable[[], str]
    ) -> None:
        self.tab = tab
        self.library = styles
        self.run = run
        self.examples = tuple(examples)
        self.base = base
        self.turn = threading.Lock()

    @property
    def styles(self) -> dict[str, Style]:
        return {style.name: style for style in self.library()}

    def take_upload(self, path: str | None, photo: str | None, painting: bool, dropped: str | None, own: OwnStyles) -> Iterator[Updates]:
        """Take an upload if it is a picture; else say why not, and leave what was before it in place.

        A PNG that stylekit wrote sets the controls to its recipe instead; dropped once more, it is the photo.
        """
        try:
            if not path:
                return
            digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            recipe = None if digest == dropped else read_recipe(Path(path), self.styles, self.base())
            if recipe:
                yield self._restore(recipe, Path(path).name, bool(photo), own) | {self.tab.dropped: digest}
            else:
                yield from self._place(Path(path), Path(path).name, painting)
        except StyleError as error:
            yield {self.tab.drop: None, self.tab.status: complain(str(error))}

    def take_example(self, painting: bool, event: gr.EventData) -> Iterator[Updates]:
        """Put an example photo where an upload would be."""
        index = getattr(event, "index", None)
        if isinstance(index, int) and 0 <= index < len(self.examples):
            yield from self._place(self.examples[index], self.examples[index].stem.replace("_", " "), painting)

    def _place(self, path: Path, name: str, painting: bool) -> Iterator[Updates]:
        tab, photo = self.tab, open_picture(path)
        with tempfile.TemporaryDirectory(prefix="stylekit-") as folder:
            yield (self._show("painter") if painting else {}) | {
                tab.drop: gr.File(None, visible=False),
                tab.photo: gr.Image(_save_display(photo, Path(folder) / "photo.jpg"), visible=True),
                tab.change: gr.UploadButton(value=None, visible=True),
                tab.photo_path: str(path),
                tab.painter: gr.HTML(photo=picture_url(photo), visible=painting or "hidden"),
                tab.status: say(f"{name}, {photo.width} × {photo.height} pixels."),
            }

    def _restore(self, recipe: Recipe, name: str, has_photo: bool, own: OwnStyles) -> Updates:
        """The controls as `recipe` has them; a photo that is there stays."""
        tab, restored = self.tab, Restored.of(recipe)
        painting, steps = not restored.is_simple, recipe.num_inference_steps or 0
        for picture in recipe.pictures:
            own = own.add(picture, taken=recipe.mix.names)
        said = f"Settings restored from {name}"
        said += "; the photo stays." if has_photo else ": now choose a photo."
        if recipe.prompt or recipe.guidance_scale != 1:
            said += " Its prompt and guidance are left out, since the page has none."
        return self._show("painter" if painting else "result") | {
            tab.drop: None,
            tab.own: own,
            tab.style: gr.HTML(recipe.mix.names[0] if recipe.mix.names else None, mine=own_choices(own)),
            tab.painting: painting,
            tab.painter: gr.HTML(restored.painting, visible=painting or "hidden"),
            tab.strength: restored.strength,
            tab.structure: recipe.structure,
            tab.keep_colours: recipe.keep_colours,
            tab.feather: round(100 * recipe.feather, 6),
            tab.match_border: recipe.match_border,
            tab.seed: recipe.seed,
            tab.steps: gr.Dropdown(_step_choices(steps), value=steps),
            tab.size: gr.Dropdown(_size_choices(recipe.size), value=recipe.size),
            tab.repaint: gr.Button(visible=painting),
            tab.restored: restored,
            tab.status: say(f"{said} Drop {name} once more to use it as the photo."),
        }

    def take_style(self, path: str | None, own: OwnStyles, photo: str | None, has_result: bool, painting: bool, painted: Any) -> Any:
        """Have a picture as one more style and choose it; if it is none, say why not and change nothing."""
        tab = self.tab
        try:
            if not path:
                return gr.skip()
            picture = StylePicture.of(path)
            known = picture.name in own
            own = own.add(picture, Path(path).stem, taken=[name for name in Painting.from_value(painted).styles if name])
        except StyleError as error:
            return {tab.status: complain(str(error))}
        title = own.title(picture.name)
        said = f"{title} is here already" if known else f"{title} is one of the styles now"
        said += ", to paint with." if painting else ", and chosen." if photo else ", and chosen: now choose a photo."
        return self._example(picture.name, own, has_result) | {
            tab.own: own,
            tab.style: gr.HTML(picture.name, mine=own_choices(own)),
            tab.own_style: gr.UploadButton(value=None),
            tab.status: say(said),
        }

    def show_style(self, name: str | None, own: OwnStyles, has_result: bool) -> Any:
        """Until there is a result, the frame shows what the chosen style does to its own photo."""
        return self._example(name, own, has_result) or gr.skip()  # Gradio takes an empty dict for a missing value

    def _example(self, name: str | None, own: OwnStyles, has_result: bool) -> Updates:
        tab, styles = self.tab, self.styles
        if has_result or not name:
            return {}
        if name in own:  # nobody has seen yet what it does
            (picture,) = own.pictures([name])
            label = _wall_label(own.title(name) or name, OWN_EXAMPLE, "sk-own")
            return {tab.comparison: (picture.picture, picture.picture), tab.label: label}
        if name not in styles:
            return {}
        return {tab.comparison: before_and_after(styles[name], DISPLAY_SIDE), tab.label: _example_label(styles[name])}

    def make_picture(self, values: dict[Any, Any]) -> Iterator[Updates]:
        """Run the engine and show its steps; whatever fails is said, and the photo and settings stay."""
        tab, path = self.tab, values[self.tab.photo_path]
        try:
            if not path:
                raise PictureError(NO_PHOTO)
            if not Path(path).exists():
                raise PictureError(PHOTO_GONE)
            recipe = self._recipe(values)
            photo = open_picture(path)
            # Gradio copies the files it is given, so they are needed only while they are yielded
            with tempfile.TemporaryDirectory(prefix="stylekit-") as name:
                yield from self._paint(photo, recipe, values[tab.own], Path(path).stem, Path(name))
        except StyleError as error:
            yield self._at_rest(values[tab.painting]) | {tab.status: complain(str(error))}
        except Exception:
            log.exception("A picture could not be made.")
            yield self._at_rest(values[tab.painting]) | {tab.status: complain(FAILED)}

    def after_cancel(self, painting: bool) -> Updates:
        """The frame as it was before the run that Gradio has just cancelled."""
        return self._at_rest(painting) | {self.tab.status: say(CANCELLED)}

    def _at_rest(self, painting: bool) -> Updates:
        return self._show("painter" if painting else "result")

    def _show(self, view: Literal["painter", "live", "result"]) -> Updates:
        """What hangs in the frame."""
        tab = self.tab
        return {
            tab.painter: gr.HTML(visible=view == "painter" or "hidden"),
            tab.live: gr.Image(visible=view == "live"),
            tab.comparison: gr.ImageSlider(visible=view == "result"),
            tab.wall_label: gr.Row(visible=view == "result"),
        }

    def _recipe(self, values: dict[Any, Any]) -> Recipe:
        tab = self.tab
        style, painted, restored = values[tab.style], values[tab.painter], values[tab.restored]
        strength: float | WeightMap = values[tab.strength]
        if not values[tab.painting]:
            if not style:
                raise SettingError("There is no style yet: choose one by its picture.")
            mix = StyleMix.of({style: 1.0})
        elif restored and restored.repeats(painted, values[tab.strength]):
            mix, strength = restored.recipe.mix, restored.recipe.strength
        else:
            mix = Painting.from_value(painted).mix
        if values[tab.seed] is None:
            raise SettingError("The seed is empty: give a whole number, or roll the dice.")
        return Recipe(
            mix=mix,
            strength=strength,
            num_inference_steps=values[tab.steps] or None,
            seed=values[tab.seed],
            size=values[tab.size],
            base=self.base(),
            structure=values[tab.structure],
            keep_colours=float(values[tab.keep_colours]),
            match_border=values[tab.match_border],
            feather=values[tab.feather] / 100,
            pictures=values[tab.own].pictures(mix.names),
        )

    def _paint(self, photo: Image.Image, recipe: Recipe, own: OwnStyles, stem: str, folder: Path) -> Iterator[Updates]:
        tab, started = self.tab, time.monotonic()
        before = _save_display(photo, folder / "before.jpg")
        said, done = "Getting ready", 0.0
        yield self._show("live") | {tab.status: say(said, "busy", done), tab.live: gr.Image(before, visible=True)}
        from stylekit.stylizer import Stylized  # brings torch and diffusers along; the page came up without waiting for them

        for event in watch(lambda: self.run(photo, recipe), self.turn):
            seconds = time.monotonic() - started
            if event is None:
                yield {tab.status: say(said, "busy", done, seconds)}
            elif isinstance(event, Stylized):
                yield {tab.status: say("Saving", "busy", 1.0, seconds)}
                yield self._hang(event, own, before, stem, folder)
                return
            else:
                said, done = f"Step {event.step} of {event.total}", event.step / event.total
                shown = {tab.live: _save_display(event.preview, folder / f"step-{event.step}.jpg")} if event.preview else {}
                yield {tab.status: say(said, "busy", done, seconds)} | shown
        raise RuntimeError("The engine ended without a picture.")

    def _hang(self, result: Stylized, own: OwnStyles, before: str, stem: str, folder: Path) -> Updates:
        tab, recipe = self.tab, result.recipe
        names = recipe.mix.present or recipe.mix.names
        title = ", ".join(self.styles[name].title if name in self.styles else own.title(name) or name for name in names)
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", stem)[:60] or "photo"
        file = save_png(result.image, folder / f"{'-'.join([stem, *map(own.slug, names)])}.png", recipe)
        strength = "painted" if isinstance(recipe.strength, WeightMap) else f"{recipe.strength:g}"
        details = f"Strength {strength} · seed {recipe.seed} · {result.image.width} × {result.image.height} pixels"
        return self._show("result") | {
            tab.status: say(f"Done in {result.seconds:.1f} seconds."),
            tab.comparison: gr.ImageSlider((before, _save_display(result.image, folder / "after.jpg")), visible=True),
            tab.label: _wall_label(title, details),
            tab.download: gr.DownloadButton(value=str(file), visible=True),
            tab.has_result: True,
        }


def _step_choices(steps: int) -> list[tuple[str, int]]:
    """The usual numbers of steps, and `steps`."""
    return [("Auto", 0), *((str(n), n) for n in sorted({*range(1, MAX_STEPS + 1), steps} - {0}))]


def _size_choices(size: int) -> list[tuple[str, int]]:
    """The usual working sizes, and `size`."""
    return [(f"{n} px", n) for n in sorted({*SIZES, size})]


def _example_label(style: Style | None) -> str:
    if style is None:
        return ""
    return _wall_label(style.title, f"{style.blurb} An example: drag the line." if style.before and style.preview else style.blurb)


def _wall_label(title: str, details: str, kind: str = "") -> str:
    return f'<div class="sk-label {kind}"><b>{html.escape(title)}</b><span>{html.escape(details)}</span></div>'


def _save_display(picture: Image.Image, path: Path) -> str:
    """A copy for the screen: encoding a whole 12 MP picture would take seconds."""
    copy = picture.copy()
    copy.thumbnail((DISPLAY_SIDE, DISPLAY_SIDE), reducing_gap=2.0)
    copy.save(path, "JPEG", quality=90)
    return str(path)
