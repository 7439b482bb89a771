"""A series of pictures, one after another: how far each is, what could not be made, and what is done so far."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stylekit.errors import StyleError
from stylekit.ui.making import Order, Run, make
from stylekit.ui.parts import progress
from stylekit.ui.parts.frame import Hanging, served
from stylekit.ui.parts.progress import Pace
from stylekit.ui.status import say
from stylekit.ui.worker import Turn

log = logging.getLogger(__name__)
FAILED = "Something went wrong on the server and is in its log."
NOT_MADE = "Not made."


@dataclass(kw_only=True)
class Piece:
    """One picture of a series. done: how much of it, 0 to 1. said: what became of it. hanging: as for a frame, its files in the cache."""

    name: str
    state: Literal["waiting", "busy", "done", "left"] = "waiting"
    done: float = 0.0
    said: str = ""
    hanging: dict[str, Any] | None = None

    @property
    def value(self) -> dict[str, Any]:
        """For the browser."""
        return dict(vars(self))


def make_series(
    orders: Sequence[tuple[str, Order]], run: Run, turn: Turn, pace: Pace, keep: Callable[[Path], str]
) -> Generator[tuple[str, list[dict[str, Any]]], None, None]:
    """(status line, the pieces' values) again and again. orders: names and pictures.

    A picture that cannot be made is named with the reason and does not stop the others. keep: copies a file to where the page serves it,
    since those that hang are gone when the next one is made.
    """
    pieces = [Piece(name=name) for name, _ in orders]
    started = time.monotonic()
    for piece, (_, order) in zip(pieces, orders, strict=True):
        piece.state = "busy"
        began = time.monotonic()
        try:
            with closing(make(order, run, turn, pace)) as making:
                for said in making:
                    piece.done = max(piece.done, round(said.done, 3))
                    if said.hanging and said.hanging.kind == "result":
                        piece.hanging = _kept(said.hanging, keep)
                        piece.state, piece.done, piece.said = "done", 1.0, f"{time.monotonic() - began:.1f} s"
                    yield _line(pieces, started), [one.value for one in pieces]
        except StyleError as error:
            piece.state, piece.said = "left", str(error)
        except Exception:
            log.exception("A picture of a series could not be made.")
            piece.state, piece.said = "left", FAILED
    yield _end(pieces, time.monotonic() - started), [one.value for one in pieces]


def stopped(value: Any) -> tuple[str, list[dict[str, Any]]]:
    """As `make_series` says it, of a series that was cancelled. value: of the pieces, as the browser had them last."""
    pieces = [dict(piece) for piece in value if isinstance(piece, dict)] if isinstance(value, list) else []
    for piece in pieces:
        if piece.get("state") not in ("done", "left"):
            piece |= {"state": "left", "said": NOT_MADE}
    count = sum(piece["state"] == "done" for piece in pieces)
    return say(f"Cancelled. {_pictures(count)} done, and still here."), pieces


def _kept(hanging: Hanging, keep: Callable[[Path], str]) -> dict[str, Any]:
    return {name: served(Path(keep(given))) if isinstance(given, Path) else given for name, given in vars(hanging).items()}


def _line(pieces: Sequence[Piece], started: float) -> str:
    number = next((i for i, piece in enumerate(pieces, start=1) if piece.state == "busy"), len(pieces))
    done = sum(1.0 if piece.state in ("done", "left") else piece.done for piece in pieces) / len(pieces)
    seconds = time.monotonic() - started
    rest = f"; {progress.to_go(seconds / done - seconds)}" if done > 0.05 else ""
    return say(f"Picture {number} of {len(pieces)}, {pieces[number - 1].name}{rest}", "busy", done=done, seconds=seconds)


def _end(pieces: Sequence[Piece], seconds: float) -> str:
    made, left = sum(piece.state == "done" for piece in pieces), sum(piece.state == "left" for piece in pieces)
    text = f"{_pictures(made)} done in {seconds:.1f} seconds."
    if left:
        text += f" {left} could not be made: the reasons stand beside {'it' if left == 1 else 'them'}."
    return say(text, "error" if left and not made else "quiet")


def _pictures(count: int) -> str:
    return f"{count} picture{' is' if count == 1 else 's are'}"
