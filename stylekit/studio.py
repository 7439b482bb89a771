"""Studio: the Stylizer of an app that runs. It loads beside the app, and while pictures are made its base may change and styles come in."""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from stylekit.errors import BaseError, StyleError
from stylekit.images import open_picture
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.styles import POCKET, Style, StyleLibrary

if TYPE_CHECKING:
    from stylekit.ip_adapter import IpAdapter
    from stylekit.stylizer import Stylized, Stylizer, StylizeStep

log = logging.getLogger(__name__)

Say = Callable[[str, float], None]  # what is being done, and how much of it is done, 0 to 1


class Studio:
    """Loads `base` and the styles of `folder` at once, on a thread; `add` names repositories of the Hub whose styles are wanted too.

    ip: an IP-Adapter, OWNER/NAME or a folder, through which bases without a general adapter take style pictures.
    """

    def __init__(self, base: str, folder: Path, add: Sequence[str] = (), ip: str | None = None) -> None:
        self._ip = ip
        self.library = StyleLibrary.open(folder)
        self._own_base = self._base = base
        self._changing = threading.Lock()
        pool = ThreadPoolExecutor(1, "load")
        self._stylizer: Future[Stylizer] = pool.submit(self._load)
        for source in add:
            pool.submit(self._try_to_add, source)
        pool.shutdown(wait=False)

    @property
    def styles(self) -> tuple[Style, ...]:
        return self.library.styles

    @property
    def base(self) -> str:
        """Name of the base in use."""
        return self._base

    def steps(self, photo: Image.Image, recipe: Recipe) -> Iterator[StylizeStep | Stylized]:
        """As `Stylizer.steps`, on the base in use, whatever the recipe's."""
        stylizer = self._stylizer.result()
        yield from stylizer.steps(photo, recipe.with_(base=stylizer.base.name))

    def stylize(self, photo: Image.Image, recipe: Recipe) -> Stylized:
        stylizer = self._stylizer.result()
        return stylizer.stylize(photo, recipe.with_(base=stylizer.base.name))

    def add(self, source: str, say: Say | None = None) -> Style:
        """The style in the repository `source`, from now on among the styles.

        One without a picture gets one, of the photo that the others are shown on, where the base in use makes it in a moment.
        """
        from stylekit import hub

        say = say or (lambda *_: None)
        style = hub.pull(source, say=say)
        self._put(style)
        if style.preview is None:
            say(f"Trying {style.title}", 1.0)
            style = self._pictured(style)
            self._put(style)
        return style

    def keep(self, style: Style) -> None:
        """Have `style`, which has just come into the styles folder, from now on among the styles."""
        self._put(style)

    def choose(self, base: str, say: Say) -> None:
        """Take another base into use: the app's own, "pocket" or a Hub id. The one before stays until it is loaded, and if it fails."""
        from stylekit import hub
        from stylekit.base import ALIASES, Base
        from stylekit.stylizer import Stylizer

        base = ALIASES.get(base, base)
        if base not in (self._own_base, POCKET):
            if Path(base).exists():
                raise BaseError(f"{base!r} is not a base of the Hub: name one as OWNER/NAME.")
            hub.fetch_base(base, say=say)
        say(f"Loading {base}", 1.0)
        with self._changing:
            loaded: Future[Stylizer] = Future()
            loaded.set_result(Stylizer(Base.open(base), self.library, ip=self._open_ip()))
            self._stylizer, self._base = loaded, base

    def _put(self, style: Style) -> None:
        with self._changing:
            self.library = self.library.plus(style)
            self._stylizer.result().library = self.library

    def _pictured(self, style: Style) -> Style:
        """`style` with its preview, kept in the cache; as it is where none can be made."""
        from stylekit.base import cache_folder

        base = self._stylizer.result().base
        before = next((known.before for known in self.styles if known.before), None)
        if before is None or not (base.name == POCKET or base.device.type == "cuda"):
            return style
        path = cache_folder() / "previews" / f"{style.source}-on-{base.name}.jpg".replace("/", "--")
        try:
            if not path.is_file():
                picture = self.stylize(open_picture(before), Recipe(mix=StyleMix.of(style.name))).image
                path.parent.mkdir(parents=True, exist_ok=True)
                part = path.with_name(f".{path.name}.{os.getpid()}.part")
                picture.save(part, "JPEG", quality=90)
                os.replace(part, path)
        except (StyleError, OSError) as error:
            log.warning("%s has no preview: %s", style.name, error)
            return style
        return dataclasses.replace(style, preview=path, before=before)

    def _load(self) -> Stylizer:
        try:
            from stylekit.base import Base
            from stylekit.stylizer import Stylizer

            return Stylizer(Base.open(self._own_base), self.library, ip=self._open_ip())
        except StyleError as error:
            log.error("No picture can be made. %s", error)
            raise
        except Exception:
            log.exception("The model could not be loaded: no picture can be made.")
            raise

    def _open_ip(self) -> IpAdapter | None:
        from stylekit.ip_adapter import IpAdapter

        return IpAdapter.open(self._ip) if self._ip else None

    def _try_to_add(self, source: str) -> None:
        try:
            self.add(source)
        except StyleError as error:
            log.warning("%s is left out. %s", source, error)
