"""Selecting on the painter: what a click, or the name of a thing, asks for, as a mask. The browser's part is select.js."""

from __future__ import annotations

import base64
import io
import logging
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from stylekit.errors import PictureError, StyleError
from stylekit.images import open_picture
from stylekit.ui.painter.paint import from_url
from stylekit.ui.status import FAILED
from stylekit.ui.worker import PRIVATE

if TYPE_CHECKING:
    from stylekit.selection import Things

log = logging.getLogger(__name__)

MOST_PHOTOS = 8  # whose things are kept, 2 MB each
AT_ONCE = 2  # selections that are worked out side by side
NO_PHOTO = "There is no photo yet: choose one first."
BAD_REQUEST = "The selection did not arrive whole: click again."


class Selector:
    """The things of the last photos."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Things] = OrderedDict()
        self._lock = threading.Lock()

    def mask(self, path: str | None, asked: Any) -> Image.Image:
        """asked: thing, or x and y in parts of the width and height, with grow, soften and invert as in `selection.Edge`; or a stroke as a
        PNG's data URL, and the width of its brush as a part of the long side. Raises StyleError."""
        from stylekit.selection import Edge  # with OpenCV and scikit-image, which the page came up without

        if not path or not Path(path).is_file():
            raise PictureError(NO_PHOTO)
        stroke = getattr(asked, "stroke", None)
        if stroke is not None:
            return self._things(path).snapped(from_url(stroke).getchannel("A"), asked.width)
        thing, point = getattr(asked, "thing", None), (getattr(asked, "x", None), getattr(asked, "y", None))
        edge = Edge(grow=asked.grow, soften=asked.soften, invert=asked.invert)
        things = self._things(path)
        if isinstance(thing, str):
            return edge.of(things.thing(thing))
        return edge.of(things.at(*(float(part) for part in point)))  # type: ignore[arg-type]

    def _things(self, path: str) -> Things:
        from stylekit.selection import Things

        with self._lock:
            if path in self._kept:
                self._kept.move_to_end(path)
                return self._kept[path]
        things = Things(open_picture(path, say=log.debug))
        with self._lock:
            self._kept[path] = things
            while len(self._kept) > MOST_PHOTOS:
                self._kept.popitem(last=False)
        return things

    def answer(self, path: str | None, event: gr.EventData) -> Any:
        """For the painter's `found`: a picture whose alpha is the mask, or what is wrong, under the number of the request."""
        found: dict[str, Any] = {"number": getattr(event, "number", 0)}
        try:
            found["mask"] = _url(self.mask(path, event))
        except StyleError as error:
            found["said"] = str(error)
        except (AttributeError, TypeError, ValueError):
            found["said"] = BAD_REQUEST
        except Exception:
            log.exception("A selection could not be made.")
            found["said"] = FAILED
        return gr.HTML(found=found)


def connect(painter: gr.HTML, photo_path: gr.State) -> None:
    """Answer what `painter` asks of the photo."""
    options: dict[str, Any] = PRIVATE | {"trigger_mode": "multiple"}
    painter.select(Selector().answer, photo_path, painter, concurrency_id="select", concurrency_limit=AT_ONCE, **options)


def _url(mask: Image.Image) -> str:
    data = io.BytesIO()
    Image.merge("LA", (Image.new("L", mask.size), mask)).save(data, "PNG")
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"
