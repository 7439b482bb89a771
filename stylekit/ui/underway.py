"""Runs that are under way on the server, so that whoever began one can end it."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
PATIENCE = 5.0  # seconds that Cancel waits for a run to say that it ended


@dataclass(eq=False)
class Mine:
    """A run. ended: what the page says in its place, once it was cancelled or another photo is there. back: whether the frame goes back to
    what hung in it before."""

    visit: str | None
    ended: str = ""
    back: bool = False

    def until_ended(self, steps: Generator[T, Any, Any]) -> Iterator[T]:
        """Those steps, which are closed at the end or once the run was ended: none of them comes after that."""
        with closing(steps):
            for step in steps:
                if self.ended:
                    return
                yield step


class UnderWay:
    """The runs of one kind that are under way, so that Cancel or another photo ends those of its visit.

    A run that was ended says the last word itself, and none of its steps comes after that. Gradio's own way, a listener's `cancels`, works
    from the browser: a step that was on its way then stands over what is said instead, for good. It is for runs that still wait in
    Gradio's queue.
    """

    def __init__(self) -> None:
        self._runs: set[Mine] = set()

    @contextmanager
    def begin(self, visit: str | None) -> Iterator[Mine]:
        mine = Mine(visit)
        self._runs.add(mine)
        try:
            yield mine
        finally:
            self._runs.discard(mine)

    def end(self, visit: str | None, said: str, back: bool = False) -> None:
        """The runs of that visit; they stop within a quarter of a second, the engine after the step at hand."""
        for run in self._of(visit):
            run.ended, run.back = said, back

    def wait(self, visit: str | None) -> None:
        """Until that visit has no run under way, or for `PATIENCE`."""
        until = time.monotonic() + PATIENCE
        while self._of(visit) and time.monotonic() < until:
            time.sleep(0.05)

    def cancel(self, visit: str | None, said: str, back: bool = False) -> None:
        """End the runs of that visit, and wait until they are."""
        self.end(visit, said, back)
        self.wait(visit)

    def _of(self, visit: str | None) -> list[Mine]:
        return [run for run in tuple(self._runs) if run.visit == visit]
