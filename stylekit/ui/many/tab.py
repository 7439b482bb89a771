"""The tab of many pictures: many photos by the settings of the Stylize tab, and a sheet of one photo in many ways. Script: many.js."""

from __future__ import annotations

import html
import json
import math
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.processing_utils import save_file_to_cache

from stylekit.batch.grid import EXAMPLES, read_values, variants
from stylekit.errors import PictureError, SettingError, StyleError
from stylekit.formats import FILE_TYPES
from stylekit.images import open_picture, save_png
from stylekit.maps import WeightMap
from stylekit.recipe import Recipe
from stylekit.results.prints import find_paper
from stylekit.ui.choices import is_twin
from stylekit.ui.home.controls import recipe_inputs, recipe_of
from stylekit.ui.home.take import KINDS, paper_choices
from stylekit.ui.making import Order, Run, mix_title
from stylekit.ui.many.series import make_series, stopped
from stylekit.ui.parts.progress import Pace
from stylekit.ui.scripts import LAND
from stylekit.ui.status import complain, say
from stylekit.ui.underway import UnderWay
from stylekit.ui.worker import PRIVATE, Turn

if TYPE_CHECKING:
    from stylekit.styles import Style
    from stylekit.ui.stylize_layout import StylizeTab
    from stylekit.ui.visitor_styles import VisitorStyles

CELL = 512  # pixels of the long side of a picture on a sheet
AT_ONCE = 4  # visitors whose series are made; their pictures take turns
SETTINGS = {"Strength": "strength", "Seed": "seed", "Detail": "detail"}
FIRST_STYLES = 3
CANCELLED = "Cancelled."
NO_PHOTOS = "There are no photos yet: add some."
NO_PHOTO = "There is no photo yet: choose one on the Stylize tab."
SCRIPT = Path(__file__).with_name("many.js")
TEMPLATE = """<section class="sk-many" data-mode="${mode}" aria-label="${label}">
<p class="sk-quiet" data-part="none">${none}</p>
<div data-part="pieces"></div>
<div data-part="tools" hidden><button type="button" data-part="all">${mode === "list" ? "Download all" : "Download the sheet"}</button>
<span role="status" data-part="said"></span></div>
</section>"""
# a click is answered at once
_SET = "const set = (interactive) => ({interactive, __type__: 'update'});"
BUSY = f"() => {{ {_SET} return [{json.dumps(say('Getting ready', 'busy'))}, set(false), set(true)]; }}"
IDLE = f"() => {{ {_SET} return [set(true), set(false)]; }}"


@dataclass(frozen=True, kw_only=True)
class Series:
    """What runs one."""

    go: gr.Button
    cancel: gr.Button
    status: gr.HTML
    under_way: UnderWay


def create_tab(
    item: gr.Tab,
    tabs: gr.Tabs,
    *,
    stylize: StylizeTab,
    styles: Callable[[], Sequence[Style]],
    run: Run,
    base: Callable[[], str],
    turn: Turn,
    most_photos: int,
    most_pictures: int,
    most_work: float = math.inf,
) -> None:
    """Lay out the tab in the current Blocks and connect it. item, tabs: where it is.

    stylize: the tab with the settings and the photo. run, base, styles, turn: as there. most_photos: in one go. most_pictures: on a sheet.
    """
    with gr.Row(elem_id="many"):
        with gr.Column(scale=4, min_width=300):
            gr.HTML('<h2 class="sk-heading">Many photos, one recipe</h2>', apply_default_css=False, js_on_load=None)
            line = gr.HTML("", apply_default_css=False, js_on_load=None, elem_id="many-settings")
            photos = gr.File(
                file_count="multiple", file_types=[*FILE_TYPES], label="Photos", show_label=False, height=180, elem_id="many-photos"
            )
            with gr.Row():
                kind = gr.Dropdown(
                    [(title, name) for name, title in KINDS.items()], value="png", label="Format", min_width=120, elem_id="many-format"
                )
                papers = [("As the photo", ""), *((title, name) for name, title in paper_choices(most_work))]
                paper = gr.Dropdown(papers, value="", label="Size", min_width=120, elem_id="many-size")
            many = _series("many", "Stylize all")
        with gr.Column(scale=6, min_width=300):
            taken = f"Up to {most_photos} photos, up to {stylize.limit / 1e6:g} MB each. What is done appears here, and among your results."
            many_pieces = _pieces("list", "Pictures made of many photos", taken, "many-pieces", stylize.limit)
    with gr.Row(elem_id="ways"):
        with gr.Column(scale=4, min_width=300):
            gr.HTML('<h2 class="sk-heading">One photo, many ways</h2>', apply_default_css=False, js_on_load=None)
            chosen = gr.CheckboxGroup([], label="Styles, one a row", elem_id="ways-styles")
            setting = gr.Radio(list(SETTINGS), value="Strength", label="What changes along a row", elem_id="ways-setting")
            values = gr.Textbox(EXAMPLES["strength"], label="Values", max_lines=1, elem_id="ways-values")
            ways = _series("ways", "Make the sheet")
        with gr.Column(scale=6, min_width=300):
            about = f"A sheet of the photo on the Stylize tab, up to {most_pictures} pictures. Click one to go on with its settings."
            ways_pieces = _pieces("grid", "One photo in many ways", about, "ways-pieces", stylize.limit)
    cells = gr.State([])  # (style, setting, value) of the sheet's pictures
    pace = Pace()

    def title(name: str, visitor: VisitorStyles) -> str:
        return next((style.title for style in styles() if style.name == name), None) or visitor.title(name) or name

    def order(path: Path, recipe: Recipe, visitor: VisitorStyles) -> Order:
        titles = visitor.titles(recipe.mix.names)
        return Order(path=path, recipe=recipe, title=lambda name: title(name, visitor), slug=visitor.slug, titles=titles)

    def offered(visitor: VisitorStyles) -> list[tuple[str, str]]:
        """(title, name) of each style to tick, in the order of the boxes."""
        names = {style.name for style in styles()}
        found = [(style.title, style.name) for style in styles() if style.usable_on(base()) and not is_twin(style, names)]
        return found + [(own.title, own.name) for own in visitor.styles]

    def arrive(given: dict[Any, Any]) -> dict[Any, Any]:
        visitor = given[stylize.visitor_styles]
        choices = offered(visitor)
        known = [name for _, name in choices]
        kept = [name for name in given[chosen] if name in known]
        first = list(dict.fromkeys([given[stylize.style], *known]))[:FIRST_STYLES]
        return {
            line: _describe(given, stylize, base(), lambda name: title(name, visitor)),
            chosen: gr.CheckboxGroup(choices, value=kept or [name for name in first if name in known]),
        }

    def make_many(given: dict[Any, Any], request: gr.Request) -> Iterator[dict[Any, Any]]:
        try:
            paths = [Path(path) for path in given[photos] or []]
            if not paths:
                raise PictureError(NO_PHOTOS)
            if len(paths) > most_photos:
                raise PictureError(f"There are {len(paths)} photos, over the {most_photos} that are taken in one go: take some away.")
            recipe = recipe_of(stylize, given, base())
            if given[kind] not in KINDS:
                raise SettingError("The format is not one of PNG, JPEG and WebP: choose again.")
            sheet = find_paper(given[paper]) if given[paper] else None
            plain = [(path.name, order(path, recipe, given[stylize.visitor_styles])) for path in paths]
            orders = [(name, replace(one, kind=given[kind], paper=sheet)) for name, one in plain]
        except StyleError as error:
            yield {many.status: complain(str(error))}
            return
        making = make_series(orders, run, turn, pace, _keeper(many_pieces))
        for said, pieces in _until_cancelled(many, making, request):
            yield {many.status: said, many_pieces: gr.HTML(pieces)}

    def make_ways(given: dict[Any, Any], request: gr.Request) -> Iterator[dict[Any, Any]]:
        with tempfile.TemporaryDirectory(prefix="stylekit-") as folder:
            try:
                path = given[stylize.photo_path]
                if not path or not Path(path).is_file():
                    raise PictureError(NO_PHOTO)
                name, visitor = SETTINGS.get(given[setting], ""), given[stylize.visitor_styles]
                ticked = [style for _, style in offered(visitor) if style in given[chosen]]  # they come in the order of the clicks
                if not ticked:
                    raise SettingError("There is no style yet: tick some.")
                numbers = read_values(name, given[values] or "", most_pictures)
                if len(numbers) * len(ticked) > most_pictures:
                    count = len(numbers) * len(ticked)
                    raise SettingError(
                        f"The sheet would have {count} pictures, over the {most_pictures} allowed: tick fewer styles or values."
                    )
                small = open_picture(path, say=lambda _: None)
                small.thumbnail((CELL, CELL), reducing_gap=2.0)
                copy = save_png(small, Path(folder) / f"{Path(path).stem}.png")
                dials = recipe_of(stylize, {**given, stylize.painting: False, stylize.style: ticked[0]}, base())
                rows = variants(dials, ticked, name, numbers, visitor.pictures(ticked))
                orders = [
                    (f"{title(style, visitor)}, {given[setting].lower()} {number:g}", order(copy, recipe, visitor))
                    for style, row in zip(ticked, rows, strict=True)
                    for number, recipe in zip(numbers, row, strict=True)
                ]
            except StyleError as error:
                yield {ways.status: complain(str(error))}
                return
            down, across = [title(style, visitor) for style in ticked], [f"{given[setting]} {number:g}" for number in numbers]
            made = [(style, name, number) for style in ticked for number in numbers]
            yield {ways_pieces: gr.HTML([], rows=down, columns=across), cells: made}
            making = make_series(orders, run, turn, pace, _keeper(ways_pieces))
            for said, pieces in _until_cancelled(ways, making, request):
                yield {ways.status: said, ways_pieces: gr.HTML(pieces, rows=down, columns=across)}

    def go_on(made: list[tuple[str, str, float]], event: gr.EventData) -> dict[Any, Any]:
        index = getattr(event, "index", None)
        if not isinstance(index, int) or not 0 <= index < len(made):
            return {stylize.status: gr.skip()}
        style, name, number = made[index]
        said = f"Settings of the sheet: {name} {number:g}."
        dial = getattr(stylize, name)
        return {tabs: gr.Tabs(selected="stylize"), stylize.style: style, stylize.painting: False, dial: number, stylize.status: say(said)}

    item.select(arrive, {chosen, *recipe_inputs(stylize)}, [line, chosen], **PRIVATE)
    setting.change(lambda name: EXAMPLES[SETTINGS[name]], setting, values, **PRIVATE)
    inputs = recipe_inputs(stylize)
    _connect(many, many_pieces, make_many, {photos, kind, paper, *inputs}, [])
    _connect(ways, ways_pieces, make_ways, {stylize.photo_path, chosen, setting, values, *inputs}, [cells])
    moved = [getattr(stylize, name) for name in SETTINGS.values()]
    landed = ways_pieces.select(go_on, cells, [tabs, stylize.style, stylize.painting, *moved, stylize.status], **PRIVATE)
    landed.then(None, None, None, js=LAND, **PRIVATE)


def _series(prefix: str, label: str) -> Series:
    with gr.Column(elem_classes="sk-run"):
        status = gr.HTML(say(""), apply_default_css=False, js_on_load=None, elem_id=f"{prefix}-status")
        with gr.Row(elem_classes="sk-buttons"):
            go = gr.Button(label, variant="primary", elem_id=f"{prefix}-go")
            cancel = gr.Button("Cancel", interactive=False, elem_id=f"{prefix}-cancel")
    return Series(go=go, cancel=cancel, status=status, under_way=UnderWay())


def _pieces(mode: str, label: str, none: str, elem_id: str, limit: int) -> gr.HTML:
    return gr.HTML(
        [],
        html_template=TEMPLATE,
        js_on_load=SCRIPT.read_text(encoding="utf-8"),
        mode=mode,
        label=label,
        none=none,
        rows=[],
        columns=[],
        limit=limit,
        apply_default_css=False,
        elem_id=elem_id,
    )


def _connect(series: Series, pieces: gr.HTML, work: Callable[..., Any], inputs: set[Any], more: list[Any]) -> None:
    """Run and cancel; what is done stays."""
    buttons = [series.go, series.cancel]
    clicked = series.go.click(None, None, [series.status, *buttons], js=BUSY, **PRIVATE)
    outputs = [series.status, pieces, *more]
    running = clicked.then(work, inputs, outputs, concurrency_id="series", concurrency_limit=AT_ONCE, **PRIVATE)
    running.then(None, None, buttons, js=IDLE, **PRIVATE)

    def cancel(request: gr.Request) -> None:
        series.under_way.cancel(request.session_hash, CANCELLED)

    # a run that still waits for its turn in the queue is Gradio's to end
    cancelled = series.cancel.click(cancel, None, None, concurrency_limit=AT_ONCE, **PRIVATE)
    unqueued = cancelled.then(None, None, None, cancels=[running], **PRIVATE)
    unqueued.then(stopped, pieces, [series.status, pieces], **PRIVATE).then(None, None, buttons, js=IDLE, **PRIVATE)


def _until_cancelled(
    series: Series, making: Generator[tuple[str, list[dict[str, Any]]], None, None], request: gr.Request
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """What is said of a series and its pieces; of one that was cancelled at last what is done and what is not."""
    pieces: list[dict[str, Any]] = []
    with series.under_way.begin(request.session_hash) as mine:
        for said, pieces in mine.until_ended(making):
            yield said, pieces
        if mine.ended:
            yield stopped(pieces)


def _keeper(part: gr.HTML) -> Callable[[Path], str]:
    return lambda path: save_file_to_cache(path, part.GRADIO_CACHE)


def _describe(given: dict[Any, Any], stylize: StylizeTab, base: str, title: Callable[[str], str]) -> str:
    """The recipe in a line."""
    try:
        recipe = recipe_of(stylize, given, base)
    except StyleError as error:
        return f'<p class="sk-quiet">{html.escape(str(error))}</p>'
    strength = "as painted" if isinstance(recipe.strength, WeightMap) else f"{recipe.strength:g}"
    painted = " Painted areas are laid on every photo." if recipe.has_maps else ""
    dials = f"strength {strength}, seed {recipe.seed}: the settings of the Stylize tab."
    return f'<p class="sk-quiet"><b>{html.escape(mix_title(recipe, title))}</b>, {dials}{painted}</p>'
