"""Long work beside the page: an iterator on a thread of its own, watched by a listener that can be closed at any moment."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

T = TypeVar("T")

MODEL_QUEUE = "model"  # concurrency_id of every listener that touches the model, in every tab
BEAT = 0.25  # seconds between signs of life; Gradio can stop a listener only at one


def watch(start: Callable[[], Iterator[T]], turn: threading.Lock) -> Generator[T | None, None, None]:
    """Iterate `start()` on a thread of its own: its items, and None every `BEAT` seconds between them; its exception, if it raises one.

    The thread holds `turn` while it works, so two never work at once. Closing this only sets a flag, because Gradio closes listeners on
    its event loop; the thread then closes the iterator after the step at hand, and only then lets go of `turn`.
    """
    items: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()
    stop = threading.Event()

    def work() -> None:
        while not turn.acquire(timeout=BEAT):
            if stop.is_set():
                return
        try:
            if stop.is_set():
                return
            iterator = start()
            try:
                while not stop.is_set():
                    items.put((next(iterator), None))
            finally:
                close = getattr(iterator, "close", None)
                if close:
                    close()
        except BaseException as error:
            items.put((None, error))
        finally:
            turn.release()

    threading.Thread(target=work, name="stylize", daemon=True).start()
    try:
        while True:
            try:
                item, error = items.get(timeout=BEAT)
            except queue.Empty:
                yield None
                continue
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item
    finally:
        stop.set()
