"""Every style on the visitor's photo: small renderings that take the place of the styles' pictures, one after another, in idle time.

A rendering waits for every picture that somebody asked for, so at most one small one is ever in its way.
"""

from __future__ import annotations

import base64
import contextlib
import html
import io
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import gradio as gr
from PIL import Image

from stylekit.errors import StyleError
from stylekit.images import open_picture
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.storage import digests
from stylekit.styles import Style
from stylekit.ui.choices import is_twin
from stylekit.ui.visitor_styles import VisitorStyles
from stylekit.ui.worker import PRIVATE, Turn, watch

if TYPE_CHECKING:
    from stylekit.ui.stylize_layout import StylizeTab

log = logging.getLogger(__name__)

SIDE = 256  # pixels of a rendering's long side: a tile is 130 wide, on screens of two dots a pixel
MOST_TILES = 40  # of one photo
MOST_KEPT = 1000  # renderings, of 10 kB each
MOST_AT_ONCE = 8  # visitors whose tiles are being filled; they take turns, and the next ones wait

T = TypeVar("T")

Event = Callable[..., Any]  # of a component, or "then" of an event
Render = Callable[[Image.Image, Recipe], Image.Image | None]  # None where it would take long


class Tiles:
    """render: a small photo in a style. styles, base: those that are here, and the name of the base in use, now."""

    def __init__(self, render: Render, styles: Callable[[], Sequence[Style]], base: Callable[[], str], turn: Turn) -> None:
        self.render = render
        self.styles = styles
        self.base = base
        self.turn = turn
        self._kept: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._lock = threading.Lock()

    def fill(self, path: str | None, visitor: VisitorStyles) -> Iterator[dict[str, str] | None]:
        """Renderings of the photo at `path`, style -> data URL: more of them each time, and None as a sign of life."""
        photo = _small(path)
        if photo is None:
            yield {}
            return
        digest = digests.of_bytes(photo.tobytes() + repr(photo.size).encode())
        recipes = self._recipes(visitor)
        keys = {name: (digest, recipe.to_json()) for name, recipe in recipes.items()}
        with self._lock:
            shown = {name: self._kept[key] for name, key in keys.items() if key in self._kept}
        yield dict(shown)
        for name in [name for name in recipes if name not in shown]:
            picture: Image.Image | None = None
            try:
                job = partial(self._rendered, photo, recipes[name])
                with contextlib.closing(watch(job, self.turn, idle=True)) as events:
                    for event in events:
                        picture = event or picture
                        yield None
            except StyleError as error:  # the style keeps its own picture
                log.info("%s has no rendering: %s", name, error)
            if picture is not None:
                shown[name] = self._keep(keys[name], picture)
                yield dict(shown)

    def _rendered(self, photo: Image.Image, recipe: Recipe) -> Iterator[Image.Image | None]:
        yield self.render(photo, recipe)

    def _recipes(self, visitor: VisitorStyles) -> dict[str, Recipe]:
        styles, base = self.styles(), self.base()
        names = {style.name for style in styles}
        chosen = [style.name for style in styles if not is_twin(style, names)]
        recipes = {name: Recipe(mix=StyleMix.of({name: 1.0}), size=SIDE, base=base) for name in chosen}
        for own in visitor.styles:
            recipes[own.name] = Recipe(mix=StyleMix.of({own.name: 1.0}), size=SIDE, base=base, pictures=(own.picture,))
        return dict(list(recipes.items())[:MOST_TILES])

    def _keep(self, key: tuple[str, str], picture: Image.Image) -> str:
        data = io.BytesIO()
        picture.save(data, "JPEG", quality=82)
        url = f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
        with self._lock:
            self._kept[key] = url
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return url


def newest(fillings: dict[str, object], visit: str, filling: Iterator[T]) -> Iterator[T]:
    """`filling`, until another one begins for the same visit. fillings: visit -> the one that runs; kept up here."""
    mine = fillings[visit] = object()
    try:
        for event in filling:
            if fillings.get(visit) is not mine:
                return
            yield event
    finally:
        if fillings.get(visit) is mine:
            del fillings[visit]


def connect(tiles: Tiles, tab: StylizeTab, begin: Sequence[Event], stop: Sequence[Event]) -> None:
    """Fill the tiles of `tab` when it has another photo or style picture, and on events of `begin`; those of `stop` end it.

    stop: no event that brings a photo. Gradio goes through the listeners of one event one after the other: by the time it came to end the
    filling for the photo before, it could meet the one for the photo just brought. A filling ends by itself when the next one begins.
    """
    fillings: dict[str, object] = {}

    def fill(path: str | None, visitor: VisitorStyles, request: gr.Request) -> Iterator[Any]:
        try:
            for renderings in newest(fillings, str(request.session_hash), tiles.fill(path, visitor)):
                yield gr.skip() if renderings is None else gr.HTML(renderings={html.escape(n): url for n, url in renderings.items()})
        except Exception:
            log.exception("The tiles could not be filled.")

    options: dict[str, Any] = PRIVATE | {"trigger_mode": "multiple"}
    filling = [
        event(
            fill,
            [tab.photo_path, tab.visitor_styles],
            tab.style,
            concurrency_id="tiles",
            concurrency_limit=MOST_AT_ONCE,
            **options,
        )
        for event in (tab.photo_path.change, tab.visitor_styles.change, *begin)
    ]
    for event in stop:
        event(None, None, None, cancels=filling, **options)


def _small(path: str | None) -> Image.Image | None:
    """The photo at `path`, small; None for one that is not there, or no picture."""
    try:
        photo = open_picture(path, say=log.debug) if path and Path(path).is_file() else None
    except StyleError:
        return None
    if photo is not None:
        photo.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return photo
