"""The Stylize tab: a photo, a style chosen by its picture or painted on the photo, and the result beside the photo.

The tab receives the function it calls, so it runs with a fake as well as with the engine. That function's generator runs on a thread of
its own and the listener only watches it, which is why Cancel, or closing the page, stops it after the step at hand.
"""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import gradio as gr

from stylekit.errors import PictureError, SettingError, StyleError
from stylekit.images import open_picture
from stylekit.recipe import DEFAULT_SIZE
from stylekit.results.carriers import Named, is_settings
from stylekit.storage import digests
from stylekit.style_picture.picture import StylePicture
from stylekit.ui.choices import visitor_choices
from stylekit.ui.home.controls import dials, recipe_inputs, recipe_of
from stylekit.ui.home.settings import brought, told
from stylekit.ui.home.take import GONE, ITS_PHOTO, Wanted, resaved
from stylekit.ui.making import Order, Run, make, photo_digest, save_display
from stylekit.ui.painter import select
from stylekit.ui.painter.easel import picture_url
from stylekit.ui.painter.paint import Painting
from stylekit.ui.parts.frame import BACK, Hanging, served
from stylekit.ui.parts.progress import Pace
from stylekit.ui.restore import Restored, check_here, read_file
from stylekit.ui.scripts import BRUSH, DICE, IDLE, NAME_GO, PAINT, PICK, REPAINT, busy
from stylekit.ui.status import complain, say
from stylekit.ui.stylize_layout import (
    DETAILS,
    GUIDANCES,
    MAX_STEPS,
    SAMPLER_CHOICES,
    SIZES,
    StylizeTab,
    example,
    guidance_choices,
    lay_out,
    size_choices,
    step_choices,
)
from stylekit.ui.underway import UnderWay
from stylekit.ui.visit import pictures, tiles
from stylekit.ui.visit.keep import Kept, telling
from stylekit.ui.visit.tiles import Render, Tiles
from stylekit.ui.visitor_styles import VisitorStyles
from stylekit.ui.worker import PRIVATE, Turn

if TYPE_CHECKING:
    from stylekit.styles import Style

log = logging.getLogger(__name__)
Updates = dict[Any, Any]  # component -> its new value; components left out stay as they are
NO_PHOTO = "There is no photo yet: upload one, or click an example."
PHOTO_GONE = "The photo is no longer on the server, which keeps uploads for a while only: upload it again."
VISITOR_EXAMPLE = "Your picture: the photo is painted in its manner."
BACK_AGAIN = "Welcome back: your photo and settings are as you left them."
AT_ONCE = 20  # visitors who wait for their turn, each told how many come before
CANCELLED = "Cancelled. Your photo and settings are still here."
FAILED = "Something went wrong on the server and is in its log. Your photo and settings are still here: try again."


def create_tab(
    *,
    styles: Callable[[], Sequence[Style]],
    run: Run,
    examples: Sequence[Path] = (),
    base: Callable[[], str] = lambda: "pocket",
    default_size: int = DEFAULT_SIZE,
    turn: Turn | None = None,
    limit: int = 20_000_000,
    render: Render | None = None,
    most_work: float = math.inf,
    tiny: bool = False,
) -> StylizeTab:
    """Lay out the tab in the current Blocks and connect it.

    styles: the cards to choose from, now. run: photo and Recipe -> StylizeSteps, then one Stylized; closing it must cancel. examples:
    photos to try. base: name of the base in use, now, for the Recipe. default_size: working size chosen at the start, in pixels.
    turn: where the engine runs; None for one of the tab's own. limit: bytes of an upload. render: a small photo in a style, for the styles'
    tiles; None leaves them as they are. most_work: as for `create_take`. tiny: whether there is a small
    autoencoder to decode by.
    """
    turn = turn or Turn()
    tab = lay_out(styles(), examples, default_size, limit, base(), most_work, tiny)
    actions = _Actions(tab, styles, run, examples, base, turn)

    views = [tab.painter, tab.frame, tab.repaint]
    settings = list(dials(tab).values())
    photo_parts = [tab.drop, tab.photo, tab.change, tab.photo_path, tab.status, *views, tab.hung]
    restored_parts = [*photo_parts, tab.style, tab.visitor_styles, tab.painting, *settings, tab.restored, tab.dropped]
    for upload in (tab.drop, tab.change):
        upload.upload(
            actions.take_upload, [upload, tab.photo_path, tab.painting, tab.dropped, tab.visitor_styles], restored_parts, **PRIVATE
        )
    tab.examples.select(actions.take_example, tab.painting, photo_parts, **PRIVATE)
    tab.bring_style.upload(
        actions.take_style,
        [tab.bring_style, tab.visitor_styles, tab.photo_path, tab.hung, tab.painting, tab.painter],
        [tab.visitor_styles, tab.style, tab.bring_style, tab.status, tab.frame],
        **PRIVATE,
    )
    tab.style.change(actions.show_style, [tab.style, tab.visitor_styles, tab.hung], tab.frame, **PRIVATE)
    tab.style.change(None, [tab.style, tab.painting], None, js=PICK, **PRIVATE)
    for chosen in (tab.style, tab.painting):
        chosen.change(None, [tab.style, tab.painting], tab.go, js=NAME_GO, **PRIVATE)
    tab.painter.input(None, [tab.painter, tab.style], tab.style, js=BRUSH, **PRIVATE)
    tab.painting.input(None, [tab.painting, tab.style], views, js=PAINT, **PRIVATE)
    select.connect(tab.painter, tab.photo_path)
    tab.repaint.click(None, None, views, js=REPAINT, **PRIVATE)
    tab.dice.click(None, None, tab.seed, js=DICE, **PRIVATE)

    # what the browser keeps of the visit
    kept = {"style": tab.style, "painting": tab.painting, "painter": tab.painter} | dials(tab)
    gr.on([part.change for part in kept.values()], None, list(kept.values()), None, js=telling(list(kept)), **PRIVATE)
    tab.keep.input(actions.bring_back, [tab.keep, tab.photo_path], [*restored_parts, tab.keep], **PRIVATE)
    tab.keep.select(actions.refuse_large, tab.keep, [tab.status, tab.keep], **PRIVATE)

    # presets, links and files of settings
    tab.settings.submit(actions.give_settings, {tab.settings, *recipe_inputs(tab)}, [tab.settings, tab.status], **PRIVATE)
    tab.settings.select(
        actions.bring_settings, [tab.settings, tab.photo_path, tab.visitor_styles], [*restored_parts, tab.settings], **PRIVATE
    )

    # the browser answers the click at once; the queue may take its time
    waiting = busy(say("Getting ready", "busy"))
    clicked = tab.go.click(None, None, [tab.status, tab.go, tab.cancel, tab.painting], js=waiting, **PRIVATE)
    running = clicked.then(
        actions.make_picture,
        {tab.photo_path, *recipe_inputs(tab)},
        [tab.status, *views, tab.hung],
        concurrency_id="stylize",
        concurrency_limit=AT_ONCE,
        **PRIVATE,
    )
    # the result in another format, or drawn for a print
    asked = tab.take.submit(None, None, [tab.status, tab.go, tab.cancel, tab.painting], js=waiting, **PRIVATE)
    taking = asked.then(
        actions.take_home,
        [tab.take, tab.photo_path, tab.painting, tab.visitor_styles],
        [tab.take, tab.status, *views, tab.hung],
        concurrency_id="stylize",
        concurrency_limit=AT_ONCE,
        **PRIVATE,
    )
    # however the run ended, even refused by a full queue, the buttons come back
    for run_ in (running, taking):
        run_.then(None, None, [tab.go, tab.cancel, tab.painting], js=IDLE, **PRIVATE)
    # a run that still waits for its turn in the queue is Gradio's to end
    cancelled = tab.cancel.click(actions.cancel, None, None, concurrency_limit=AT_ONCE, **PRIVATE)
    unqueued = cancelled.then(None, None, None, cancels=[running, taking], **PRIVATE)
    unqueued.then(actions.after_cancel, tab.painting, [tab.status, *views], **PRIVATE)
    pictures.connect(tab)
    if render is not None:
        tiles.connect(Tiles(render, styles, base, turn), tab, begin=[running.then], stop=[tab.go.click])
    return tab


class _Actions:
    """What the listeners do."""

    def __init__(
        self,
        tab: StylizeTab,
        styles: Callable[[], Sequence[Style]],
        run: Run,
        examples: Sequence[Path],
        base: Callable[[], str],
        turn: Turn,
    ) -> None:
        self.tab = tab
        self.library = styles
        self.run = run
        self.examples = tuple(examples)
        self.base = base
        self.turn = turn
        self.pace = Pace()
        self.under_way = UnderWay()

    @property
    def styles(self) -> dict[str, Style]:
        return {style.name: style for style in self.library()}

    def take_upload(
        self, path: str | None, photo: str | None, painting: bool, dropped: str | None, visitor: VisitorStyles, request: gr.Request
    ) -> Iterator[Updates]:
        """Take an upload if it is a picture; else say why not, and leave what was before it in place.

        A PNG that stylekit wrote sets the controls to its recipe instead; dropped once more, it is the photo.
        """
        try:
            if not path:
                return
            digest = digests.of_file(Path(path))
            named = None if digest == dropped else read_file(Path(path), self.styles, self.base())
            if named:
                said = {self.tab.dropped: digest}
                yield self._restore(named, Path(path).name, bool(photo), visitor, again=not is_settings(Path(path))) | said
            else:
                yield from self._place(Path(path), Path(path).name, painting, "upload", request)
        except StyleError as error:
            yield {self.tab.drop: None, self.tab.status: complain(str(error))}

    def take_example(self, painting: bool, event: gr.EventData, request: gr.Request) -> Iterator[Updates]:
        """Put an example photo where an upload would be."""
        index = getattr(event, "index", None)
        if isinstance(index, int) and 0 <= index < len(self.examples):
            yield from self._place_example(index, painting, f"example{index}", request)

    def _place_example(self, index: int, painting: bool, source: str, request: gr.Request) -> Iterator[Updates]:
        path = self.examples[index]
        yield from self._place(path, path.stem.replace("_", " "), painting, source, request)

    def bring_back(self, value: Any, photo: str | None, request: gr.Request) -> Iterator[Updates]:
        """The page as the browser has kept it, as far as that still makes sense; a photo that has come meanwhile stays."""
        tab, updates = self.tab, {self.tab.keep: {"brought": True}}
        try:
            kept = Kept.of(value)
            painting = kept.switch("painting", False)
            updates |= self._kept_settings(kept, painting)
            placing: Iterator[Updates] = iter(())
            if not photo and kept.photo and kept.photo.is_file():
                placing = self._place(kept.photo, kept.photo.name, painting, "kept", request)
            elif not photo and kept.example is not None and 0 <= kept.example < len(self.examples):
                placing = self._place_example(kept.example, painting, "kept", request)
            for placed in placing:
                yield placed | {tab.status: say(BACK_AGAIN)}
        except StyleError as error:
            log.info("What the browser kept could not be brought back: %s", error)
        yield updates

    def _kept_settings(self, kept: Kept, painting: bool) -> Updates:
        tab = self.tab
        names = [*self.styles, *(style.name for style in kept.visitor.styles)]
        now = {name: part.value for name, part in dials(tab).items()}
        steps = int(kept.one_of("steps", range(MAX_STEPS + 1), now["steps"]))
        try:
            painted = Painting.from_value(kept.settings.get("painter"))
            known = all(name is None or name in names for name in painted.styles)
        except SettingError:
            known = False
        return {
            tab.visitor_styles: kept.visitor,
            tab.style: gr.HTML(kept.one_of("style", names, tab.style.value), mine=visitor_choices(kept.visitor)),
            tab.painting: painting,
            tab.painter: gr.HTML(**({"value": kept.settings["painter"]} if known else {}), visible=painting or "hidden"),
            tab.frame: gr.HTML(visible=not painting or "hidden"),
            tab.strength: kept.number("strength", 0, 1, now["strength"]),
            tab.detail: kept.number("detail", *DETAILS, now["detail"]),
            tab.hand: kept.switch("hand", now["hand"]),
            tab.structure: kept.number("structure", 0, 1, now["structure"]),
            tab.keep_colours: kept.number("keep_colours", 0, 1, now["keep_colours"]),
            tab.feather: kept.number("feather", 0, tab.feather.maximum, now["feather"]),
            tab.match_border: kept.switch("match_border", now["match_border"]),
            tab.seed: int(kept.number("seed", 0, 2**53, now["seed"])),
            tab.steps: gr.Dropdown(step_choices(steps), value=steps),
            tab.size: kept.one_of("size", SIZES, now["size"]),
            tab.guidance: kept.one_of("guidance", (0, *GUIDANCES), now["guidance"]),
            tab.sampler: kept.one_of("sampler", [value for _, value in SAMPLER_CHOICES], now["sampler"]),
            tab.quick: kept.switch("quick", now["quick"]),
        }

    def refuse_large(self, asked: Any) -> Updates:
        """Say that a file is over the limit; the browser has not sent it."""
        name, size = (asked.get("name"), asked.get("size")) if isinstance(asked, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(size, int):
            return {self.tab.keep: {}}
        most = f"{self.tab.limit / 1e6:g} MB"
        said = f"{name[:80]} has {size / 1e6:.1f} MB, over the {most} that are taken: make it smaller."
        return {self.tab.keep: {}, self.tab.status: complain(said)}

    def _place(self, path: Path, name: str, painting: bool, source: str, request: gr.Request) -> Iterator[Updates]:
        notes: list[str] = []
        tab, photo = self.tab, open_picture(path, say=notes.append)
        size = f"{photo.width} × {photo.height} pixels"
        with tempfile.TemporaryDirectory(prefix="stylekit-") as folder:
            display = save_display(photo, Path(folder) / "photo.jpg")
            hanging = Hanging(
                kind="photo",
                before=display,
                title="Your photo",
                details=f"{name}, {size}",
                alt=name,
                photo=photo_digest(path),
                source=source,
            )
            said = say(" ".join([f"{name}, {size}.", *notes]))
            self.under_way.end(request.session_hash, said)
            yield self._show("painter" if painting else "frame", hanging) | {
                tab.drop: gr.File(None, visible=False),
                tab.photo: gr.HTML(served(display), visible=True),
                tab.change: gr.UploadButton(value=None, visible=True),
                tab.photo_path: str(path),
                tab.painter: gr.HTML(photo=picture_url(photo), visible=painting or "hidden"),
                tab.status: said,
                tab.hung: "photo",
            }

    def _restore(self, named: Named, name: str, has_photo: bool, visitor: VisitorStyles, again: bool = False) -> Updates:
        """The controls as a recipe has them that came by `name`; a photo that is there stays. again: whether it can be the photo itself."""
        tab, recipe = self.tab, named.recipe
        restored = Restored.of(recipe)
        painting, steps = not restored.is_simple, recipe.num_inference_steps or 0
        for picture in recipe.pictures:
            visitor = visitor.add(picture, named.titles.get(picture.name, ""), taken=recipe.mix.names)
        said = f"Settings restored from {name}"
        said += "; the photo stays." if has_photo else ": now choose a photo."
        if recipe.older:
            said += f" {recipe.older}"
        if recipe.prompt:
            said += " Its prompt is left out, since the page has none."
        return self._show("painter" if painting else "frame") | {
            tab.drop: None,
            tab.visitor_styles: visitor,
            tab.style: gr.HTML(recipe.mix.names[0] if recipe.mix.names else None, mine=visitor_choices(visitor)),
            tab.painting: painting,
            tab.painter: gr.HTML(restored.painting, visible=painting or "hidden"),
            tab.strength: restored.strength,
            tab.detail: gr.Slider(min(DETAILS[0], recipe.detail), max(DETAILS[1], recipe.detail), recipe.detail),
            tab.hand: recipe.hand,
            tab.structure: recipe.structure,
            tab.keep_colours: recipe.keep_colours,
            tab.feather: round(100 * recipe.feather, 6),
            tab.match_border: recipe.match_border,
            tab.seed: recipe.seed,
            tab.steps: gr.Dropdown(step_choices(steps), value=steps),
            tab.size: gr.Dropdown(size_choices(recipe.size), value=recipe.size),
            tab.guidance: gr.Dropdown(guidance_choices(recipe.guidance_scale or 0), value=recipe.guidance_scale or 0),
            tab.sampler: recipe.sampler or "",
            tab.quick: recipe.tiny_decoder,
            tab.restored: restored,
            tab.status: say(f"{said} Drop {name} once more to use it as the photo." if again else said),
        }

    def take_style(self, path: str | None, visitor: VisitorStyles, photo: str | None, hung: str, painting: bool, painted: Any) -> Any:
        """Have a picture as one more style and choose it; if it is none, say why not and change nothing."""
        tab = self.tab
        notes: list[str] = []
        try:
            if not path:
                return gr.skip()
            picture = StylePicture.of(path, say=notes.append)
            known = picture.name in visitor
            visitor = visitor.add(picture, Path(path).stem, taken=[name for name in Painting.from_value(painted).styles if name])
        except StyleError as error:
            return {tab.status: complain(str(error))}
        title = visitor.title(picture.name)
        said = f"{title} is here already" if known else f"{title} is one of the styles now"
        said += ", to paint with." if painting else ", and chosen." if photo else ", and chosen: now choose a photo."
        return self._example(picture.name, visitor, hung) | {
            tab.visitor_styles: visitor,
            tab.style: gr.HTML(picture.name, mine=visitor_choices(visitor)),
            tab.bring_style: gr.UploadButton(value=None),
            tab.status: say(" ".join([said, *notes])),
        }

    def show_style(self, name: str | None, visitor: VisitorStyles, hung: str) -> Any:
        """Until there is a photo, the frame shows what the chosen style does to its own."""
        return self._example(name, visitor, hung) or gr.skip()  # Gradio takes an empty dict for a missing value

    def _example(self, name: str | None, visitor: VisitorStyles, hung: str) -> Updates:
        tab, styles = self.tab, self.styles
        if hung != "example" or not name:
            return {}
        if name in visitor:  # nobody has seen yet what it does
            (choice,) = [choice for choice in visitor_choices(visitor) if choice["name"] == name]
            title = visitor.title(name) or name
            hanging = Hanging(kind="example", after=choice["whole"], title=title, details=VISITOR_EXAMPLE, alt=title, most=384)
            return {tab.frame: hanging.value}
        return {tab.frame: example(styles[name]).value} if name in styles else {}

    def make_picture(self, values: dict[Any, Any], request: gr.Request) -> Iterator[Updates]:
        """Run the engine and show its steps; whatever fails is said, and the photo and settings stay."""
        tab, path, visitor = self.tab, values[self.tab.photo_path], values[self.tab.visitor_styles]
        try:
            if not path:
                raise PictureError(NO_PHOTO)
            if not Path(path).exists():
                raise PictureError(PHOTO_GONE)
            recipe = recipe_of(tab, values, self.base())
            order = self._order(Path(path), Named(recipe=recipe, titles=visitor.titles(recipe.mix.names)), visitor)
            yield from self._made(order, values[tab.painting], request)
        except StyleError as error:
            yield self._at_rest(values[tab.painting]) | {tab.status: complain(str(error))}
        except Exception:
            log.exception("A picture could not be made.")
            yield self._at_rest(values[tab.painting]) | {tab.status: complain(FAILED)}

    def take_home(self, asked: Any, path: str | None, painting: bool, visitor: VisitorStyles, request: gr.Request) -> Iterator[Updates]:
        """The result in another format, or drawn anew for a print."""
        tab = self.tab
        try:
            wanted = Wanted.of(asked)
            named = read_file(wanted.file, self.styles, self.base())
            if named is None:
                raise PictureError(GONE)
            if wanted.paper is None:
                with closing(resaved(wanted, self.turn)) as saving:
                    for taken in saving:
                        yield {tab.status: say("Saving", "busy")} if taken is None else {tab.take: taken, tab.status: say("Saved.")}
                return
            if not path or not Path(path).exists() or photo_digest(Path(path)) != wanted.photo:
                raise PictureError(ITS_PHOTO)
            order = replace(self._order(Path(path), named, visitor), kind=wanted.kind, paper=wanted.paper)
            yield from self._made(order, painting, request)
        except StyleError as error:
            yield self._at_rest(painting) | {tab.status: complain(str(error))}
        except Exception:
            log.exception("A result could not be taken home.")
            yield self._at_rest(painting) | {tab.status: complain(FAILED)}

    def _order(self, path: Path, named: Named, visitor: VisitorStyles) -> Order:
        titles = named.titles
        return Order(
            path=path,
            recipe=named.recipe,
            title=lambda name: titles.get(name) or self._title(name, visitor),
            slug=visitor.slug,
            titles=titles,
        )

    def _made(self, order: Order, painting: bool, request: gr.Request) -> Iterator[Updates]:
        """What the page shows while a picture is made, and at last the picture. Raises StyleError."""
        tab = self.tab
        with self.under_way.begin(request.session_hash) as mine:
            for line, hanging, _ in mine.until_ended(make(order, self.run, self.turn, self.pace)):
                updates: Updates = {tab.status: line}
                if hanging:
                    updates |= self._show("frame", hanging)
                    if hanging.kind == "result":
                        updates |= {tab.hung: "result", tab.repaint: gr.Button(visible=painting)}
                yield updates
            if mine.ended:
                rest = self._at_rest(painting) if mine.back else self._show("painter" if painting else "frame") | {tab.hung: "photo"}
                yield rest | {tab.status: mine.ended}

    def give_settings(self, values: dict[Any, Any]) -> Updates:
        """The settings of now, for what the browser wants them."""
        tab = self.tab
        asked = values[tab.settings]
        try:
            recipe = recipe_of(tab, values, self.base())
            return {tab.settings: told(asked.get("want"), recipe, values[tab.visitor_styles].titles(recipe.mix.names))}
        except StyleError as error:
            return {tab.settings: {"complaint": str(error)}}

    def bring_settings(self, value: Any, photo: str | None, visitor: VisitorStyles) -> Updates:
        """A preset or a link."""
        tab = self.tab
        try:
            named, what = brought(value)
            check_here(named.recipe, what, self.styles, self.base())
            return self._restore(named, what[0].lower() + what[1:], bool(photo), visitor)
        except StyleError as error:
            return {tab.status: complain(str(error))}

    def cancel(self, request: gr.Request) -> None:
        """End the visit's run, which says so itself."""
        self.under_way.cancel(request.session_hash, say(CANCELLED), back=True)

    def after_cancel(self, painting: bool) -> Updates:
        """The frame as it was before the run."""
        return self._at_rest(painting) | {self.tab.status: say(CANCELLED)}

    def _at_rest(self, painting: bool) -> Updates:
        return self._show("painter" if painting else "frame") | {self.tab.frame: gr.HTML(BACK, visible=not painting or "hidden")}

    def _show(self, view: Literal["painter", "frame"], hanging: Hanging | None = None) -> Updates:
        """The painter or the frame, with `hanging` in it, seen or not."""
        tab = self.tab
        visible: Any = view == "frame" or "hidden"
        return {
            tab.painter: gr.HTML(visible=view == "painter" or "hidden"),
            tab.frame: gr.HTML(hanging.value, visible=visible) if hanging else gr.HTML(visible=visible),
            tab.repaint: gr.Button(visible=False),
        }

    def _title(self, name: str, visitor: VisitorStyles) -> str:
        return self.styles[name].title if name in self.styles else visitor.title(name) or name
