"""The thread that the engine works on does not wait for the page."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from stylekit.ui.worker import Turn, watch


def test_the_engine_goes_on_and_lets_its_lock_go_while_a_preview_is_shown() -> None:
    lock, begun, ended = threading.Lock(), threading.Event(), threading.Event()

    def steps() -> Iterator[int]:
        with lock:
            begun.set()
            yield from range(5)
        ended.set()

    watched = watch(steps, Turn("test"))
    first = next(item for item in watched if item is not None)
    assert begun.is_set()
    assert ended.wait(10)  # though nobody has taken more than the first
    assert not lock.locked()
    assert [first, *(item for item in watched if item is not None)] == [0, 1, 2, 3, 4]
