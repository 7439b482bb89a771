"""Studio: the Stylizer of an app that runs. It loads beside the app, and while pictures are made its base may change and styles come in."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from stylekit.base_card import POCKET
from stylekit.errors import BaseError, SettingError, StyleError
from stylekit.images import open_picture, save_jpeg
from stylekit.maps import Size
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.storage import taught
from stylekit.storage.files import write_whole
from stylekit.styles import Style, StyleLibrary

if TYPE_CHECKING:
    from stylekit.base import Base
    from stylekit.style_picture.ip_adapter import IpAdapter
    from stylekit.stylizer import Stylized, Stylizer, StylizeStep

log = logging.getLogger(__name__)

Say = Callable[[str, float], None]  # what is being done, and how much of it is done, 0 to 1


class Studio:
    """Loads `base` and the styles of `folder` at once, on a thread; `add` names repositories of the Hub whose styles are wanted too.

    ip: an IP-Adapter, OWNER/NAME or a folder, through which bases without a general adapter take style pictures. most_work: millions of
    pixels times denoising steps, and of pixels that are drawn, that one picture may take; None for no limit. accelerator: a LoRA of few
    steps, tiny: a small autoencoder for previews, compiled: whether torch compiles the UNet, each for bases in Stable Diffusion 1.x layout.
    """

    def __init__(
        self,
        base: str,
        folder: Path,
        add: Sequence[str] = (),
        ip: str | None = None,
        most_work: float | None = None,
        accelerator: str | None = None,
        tiny: str | None = None,
        compiled: bool = False,
    ) -> None:
        self._ip, self._accelerator, self._tiny, self._compiled = ip, accelerator, tiny, compiled
        self.most_work = most_work
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

    def check(self, size: Size, recipe: Recipe) -> None:
        """Before anything is done: raises StyleError for styles that are not here, and for more work than one picture may take.

        size: (width, height) of the photo.
        """
        self._checked(size, recipe)

    def steps(self, photo: Image.Image, recipe: Recipe, preview: bool = True) -> Generator[StylizeStep | Stylized, None, None]:
        """As `Stylizer.steps`, on the base in use, whatever the recipe's, after `check`."""
        stylizer, recipe = self._checked(photo.size, recipe)
        yield from stylizer.steps(photo, recipe, preview)

    def stylize(self, photo: Image.Image, recipe: Recipe) -> Stylized:
        stylizer, recipe = self._checked(photo.size, recipe)
        return stylizer.stylize(photo, recipe)

    def sketch(self, photo: Image.Image, recipe: Recipe, painted: bool = True) -> Image.Image | None:
        """A small picture, if it is there in a moment: the model is small or on a GPU, or has no part in it. painted: whether it may."""
        stylizer, recipe = self._checked(photo.size, recipe)
        if stylizer.paints(recipe) and not (painted and _is_fast(stylizer.base)):
            return None
        return stylizer.stylize(photo, recipe).image

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
            style = self._with_preview(style)
            self._put(style)
        return style

    def keep(self, style: Style) -> None:
        """Have `style`, which has just come into the styles folder, from now on among the styles."""
        self._put(style)

    def retitle(self, name: str, title: str) -> Style:
        """A style that was taught here, under another title. Raises StyleError."""
        with self._changing:
            self.refuse_taken(title, but=name)
            style = taught.retitle(self.library[name], title)
            self._put_in(self.library.minus(name).plus(style))
        return style

    def discard(self, name: str) -> None:
        """Remove a style that was taught here, with its folder. Raises StyleError."""
        with self._changing:
            taught.discard(self.library[name])
            self._put_in(self.library.minus(name))

    def refuse_taken(self, title: str, but: str = "") -> None:
        """SettingError if a style here has this title, other than the style `but`."""
        wanted = " ".join(title.split()).casefold()
        if any(style.title.casefold() == wanted and style.name != but for style in self.library):
            raise SettingError(f"There is a style called {title.strip()} already: choose another name.")

    def choose(self, base: str, say: Say) -> None:
        """Take another base into use: the app's own, "pocket" or a Hub id. The one before stays until it is loaded, and if it fails."""
        from stylekit import hub
        from stylekit.base_card import ALIASES

        base = ALIASES.get(base, base)
        if base not in (self._own_base, POCKET):
            if Path(base).exists():
                raise BaseError(f"{base!r} is not a base of the Hub: name one as OWNER/NAME.")
            hub.fetch_base(base, say=say)
        say(f"Loading {base}", 1.0)
        with self._changing:
            loaded: Future[Stylizer] = Future()
            loaded.set_result(self._open(base))
            self._stylizer, self._base = loaded, base

    def _checked(self, size: Size, recipe: Recipe) -> tuple[Stylizer, Recipe]:
        """The Stylizer, and `recipe` for its base."""
        stylizer = self._stylizer.result()
        tiny = recipe.tiny_decoder and stylizer.base.tiny is not None
        recipe = recipe.with_(base=stylizer.base.name, accelerator=stylizer.accelerator, tiny_decoder=tiny)
        work = stylizer.work(size, recipe)
        if self.most_work is not None and work > self.most_work:
            raise SettingError(
                f"The picture takes {work:.3g} million pixels times steps, over the {self.most_work:g} allowed here: "
                "choose a smaller photo or size, or fewer steps."
            )
        return stylizer, recipe

    def _put(self, style: Style) -> None:
        with self._changing:
            self._put_in(self.library.plus(style))

    def _put_in(self, library: StyleLibrary) -> None:
        self.library = library
        self._stylizer.result().library = library

    def _with_preview(self, style: Style) -> Style:
        """`style` with its preview, kept in the cache; as it is where none can be made."""
        from stylekit.base import cache_folder

        base = self._stylizer.result().base
        before = next((known.before for known in self.styles if known.before), None)
        if before is None or not _is_fast(base):
            return style
        path = cache_folder() / "previews" / f"{style.source}-on-{base.name}.jpg".replace("/", "--")
        try:
            if not path.is_file():
                picture = self.stylize(open_picture(before), Recipe(mix=StyleMix.of(style.name))).image
                write_whole(path, lambda part: save_jpeg(picture, part, quality=90))
        except (StyleError, OSError) as error:
            log.warning("%s has no preview: %s", style.name, error)
            return style
        return dataclasses.replace(style, preview=path, before=before)

    def _load(self) -> Stylizer:
        try:
            return self._open(self._own_base)
        except StyleError as error:
            log.error("No picture can be made. %s", error)
            raise
        except Exception:
            log.exception("The model could not be loaded: no picture can be made.")
            raise

    def _open(self, base: str) -> Stylizer:
        from stylekit.base import Base
        from stylekit.inference.accelerator import Accelerator
        from stylekit.stylizer import Stylizer

        light = base == POCKET  # which has neither, nor needs them
        accelerator = Accelerator.open(self._accelerator) if self._accelerator and not light else None
        opened = Base.open(base, tiny=None if light else self._tiny, compiled=self._compiled and not light)
        return Stylizer(opened, self.library, ip=self._open_ip(), accelerator=accelerator)

    def _open_ip(self) -> IpAdapter | None:
        from stylekit.style_picture.ip_adapter import IpAdapter

        return IpAdapter.open(self._ip) if self._ip else None

    def _try_to_add(self, source: str) -> None:
        try:
            self.add(source)
        except StyleError as error:
            log.warning("%s is left out. %s", source, error)


def _is_fast(base: Base) -> bool:
    """Whether it makes a picture in seconds."""
    return base.name == POCKET or base.device.type == "cuda"
