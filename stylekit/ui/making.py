"""A picture in the making: its stages on the status line, what it looks like by now in the frame, and how it hangs at the end."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from stylekit.images import open_picture, save_jpeg
from stylekit.maps import WeightMap
from stylekit.recipe import Recipe
from stylekit.results.carriers import Named
from stylekit.results.prints import DPI, Paper, for_print
from stylekit.results.saving import ENDINGS, save
from stylekit.storage import digests
from stylekit.storage.naming import safe_name
from stylekit.ui.parts import progress
from stylekit.ui.parts.frame import Hanging
from stylekit.ui.parts.progress import Pace, Stopwatch
from stylekit.ui.status import say
from stylekit.ui.stylize_layout import DISPLAY_SIDE
from stylekit.ui.worker import Turn, watch

if TYPE_CHECKING:
    from stylekit.stylizer import Stylized, StylizeStep

log = logging.getLogger(__name__)
Run = Callable[[Image.Image, Recipe], "Iterator[StylizeStep | Stylized]"]


class Said(NamedTuple):
    """line: for the status. hanging: from now on, if anything else. done: how much of the picture, 0 to 1."""

    line: str
    hanging: Hanging | None
    done: float


@dataclass(frozen=True, kw_only=True)
class Order:
    """One picture to make. title, slug: what a style of its mix is called for people, and within a file's name.

    titles: of the visitor's pictures, for the file. kind, paper: its format, and the paper it is drawn for.
    """

    path: Path
    recipe: Recipe
    title: Callable[[str], str]
    slug: Callable[[str], str]
    titles: Mapping[str, str] = field(default_factory=dict)
    kind: str = "png"
    paper: Paper | None = None


def make(order: Order, run: Run, turn: Turn, pace: Pace) -> Generator[Said, None, None]:
    """What happens, and at last the picture. The files that hang are there only while they are yielded. Raises StyleError."""
    started = time.monotonic()
    kind = (order.recipe.mix.names, order.recipe.size, order.recipe.num_inference_steps, order.path, order.paper)
    watch_ = Stopwatch(expected=pace.expected(kind), since=started)
    place = [0]

    def work() -> Iterator[Image.Image | StylizeStep | Stylized]:
        photo = for_print(open_picture(order.path, say=log.debug), order.paper)  # what there is to say was told when it was placed
        yield photo
        yield from run(photo, order.recipe)

    def told(hanging: Hanging | None = None, doing: str = "") -> Said:
        now = time.monotonic()
        if place[0] > 0:
            others = "one picture comes" if place[0] == 1 else f"{place[0]} pictures come"
            return Said(say(f"In the queue: {others} before yours", "busy", seconds=now - started), hanging, 0.0)
        text = f"{doing or watch_.stage}; {progress.to_go(watch_.to_go(now))}"
        return Said(say(text, "busy", seconds=now - started, stages=watch_.shares(now)), hanging, watch_.done(now))

    def wait(ahead: int) -> None:
        if place[0] > 0 >= ahead:
            watch_.since = time.monotonic()
        place[0] = ahead

    with tempfile.TemporaryDirectory(prefix="stylekit-") as name:
        folder, before, doing = Path(name), Path(), ""
        photo_id = photo_digest(order.path)
        yield told()
        from stylekit.stylizer import DRAWING, Stylized  # brings torch and diffusers along; the page came up without waiting for them

        for event in watch(work, turn, wait=wait):
            now = time.monotonic()
            if event is None:
                yield told(doing=doing)
            elif isinstance(event, Image.Image):
                place[0] = 0
                before = save_display(event, folder / "before.jpg")
                watch_.enter(progress.LAYING, now)
                yield told(Hanging(kind="live", after=before, alt="The photo, being painted", photo=photo_id))
            elif isinstance(event, Stylized):
                watch_.enter(progress.SAVING, now)
                yield told()
                finished = _finished(order, event, before, folder, photo_id)
                now = time.monotonic()
                watch_.took[progress.SAVING] = now - watch_.since
                pace.learn(kind, watch_.took)
                yield Said(say(f"Done in {now - started:.1f} seconds."), finished, 1.0)
                return
            else:
                watch_.enter(progress.DRAWING if event.stage == DRAWING else progress.PAINTING, now)
                watch_.part = event.step / event.total
                many = event.stage != DRAWING and event.total > 1
                doing = f"{watch_.stage}, step {min(event.step + 1, event.total)} of {event.total}" if many else ""
                seen = save_display(event.preview, folder / f"step-{event.step}.jpg") if event.preview else None
                hanging = Hanging(kind="live", after=seen, alt="The picture by now", photo=photo_id) if seen else None
                yield told(hanging, doing)
    raise RuntimeError("The engine ended without a picture.")


def photo_digest(path: Path) -> str:
    """A name for the photo at `path`: uploads lie in folders that are named by their content."""
    return digests.of_bytes("/".join(path.parts[-2:]).encode())


def save_display(picture: Image.Image, path: Path) -> Path:
    """A copy for the screen: encoding a whole 12 MP picture would take seconds."""
    copy = picture.copy()
    copy.thumbnail((DISPLAY_SIDE, DISPLAY_SIDE), reducing_gap=2.0)
    return save_jpeg(copy, path, quality=90)


def mix_title(recipe: Recipe, title: Callable[[str], str]) -> str:
    """The styles of a picture; with their weights where those say something: "Monet 20 %, Van Gogh 100 %"."""
    weights = dict(recipe.mix.weights)
    names = recipe.mix.present or recipe.mix.names
    numbers = {name: weight for name in names if not isinstance(weight := weights[name], WeightMap)}
    plain = recipe.has_maps or list(numbers.values()) in ([], [1.0])
    return ", ".join(title(name) if plain or name not in numbers else f"{title(name)} {100 * numbers[name]:.3g} %" for name in names)


def _finished(order: Order, result: Stylized, before: Path, folder: Path, photo_id: str) -> Hanging:
    recipe = result.recipe
    names = recipe.mix.present or recipe.mix.names
    words = [safe_name(order.path.stem, "photo"), *map(order.slug, names), *([order.paper.name] if order.paper else [])]
    called = f"{safe_name('-'.join(words), 'photo', most=150)}{ENDINGS[order.kind]}"
    title = mix_title(recipe, order.title)
    strength = "painted" if isinstance(recipe.strength, WeightMap) else f"{recipe.strength:g}"
    printed = [f"{order.paper.title} at {DPI} dots per inch"] if order.paper else []
    size = f"{result.image.width} × {result.image.height} pixels"
    named = Named(recipe=recipe, titles=order.titles)
    return Hanging(
        kind="result",
        before=before,
        after=save_display(result.image, folder / "after.jpg"),
        title=f"Made with {title}" if title else "Made without a style",
        details=" · ".join([f"Strength {strength}", f"seed {recipe.seed}", *printed, size]),
        alt=f"{order.path.stem} made with {title}",
        file=save(result.image, folder / called, named, dpi=DPI if order.paper else None),
        name=called,
        photo=photo_id,
    )
