"""Long work beside the page: an iterator on a thread of its own, watched by a listener that can be closed at any moment."""

from __future__ import annotations

import ctypes
import itertools
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

# options of a listener that is no part of the API, and whose outputs stay clear while it runs
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
MODEL_QUEUE = "model"  # concurrency_id of every listener that touches the model, in every tab
ARENAS = 2
M_ARENA_MAX = -8  # of glibc's malloc.h
BEAT = 0.25  # seconds between signs of life; Gradio can stop a listener only at one


class Turn:
    """One thread that does what it is given, one after the other. It lives as long as the process, and never keeps it from ending.

    Always the same thread, because torch and the C library keep memory for every thread that ever worked: with a new one for each picture,
    or with the 40 of Gradio's pool, a server grows to the largest picture times the number of threads. What nobody waits for is done only
    while nothing else is to be done.
    """

    def __init__(self, name: str = "turn") -> None:
        self.name = name
        self._jobs: queue.PriorityQueue[tuple[bool, int, Callable[[], None]]] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._given = self._done = 0  # of what is not idle

    def give(self, job: Callable[[], None], idle: bool = False) -> int:
        """job: must not raise. idle: it comes after all that is not, given before it or later. Its number, for `ahead`."""
        with self._starting:
            self._jobs.put((idle, next(self._numbers), job))
            self._given += not idle
            number = self._given
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=self.name, daemon=True)
                self._thread.start()
        return number

    def ahead(self, number: int) -> int:
        """How many jobs come before that one, the one under way among them; below 0 once it is done."""
        return number - self._done - 1

    def _work(self) -> None:
        while True:
            idle, _, job = self._jobs.get()
            job()
            self._done += not idle
            release_memory()


def watch(
    start: Callable[[], Iterator[T]], turn: Turn, idle: bool = False, wait: Callable[[int], None] | None = None
) -> Generator[T | None, None, None]:
    """Iterate `start()` on the thread of `turn`: its items, and None every `BEAT` seconds between them; its exception, if it raises one.

    Closing this only sets a flag, because Gradio closes listeners on its event loop; the thread then closes the iterator after the step at
    hand, and only then goes on to what it was given next. idle: as for `Turn.give`.
    wait: told before each None how many jobs come before this one.
    """
    items: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()
    stop = threading.Event()

    def work() -> None:
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

    number = turn.give(work, idle)
    try:
        while True:
            try:
                item, error = items.get(timeout=BEAT)
            except queue.Empty:
                if wait:
                    wait(turn.ahead(number))
                yield None
                continue
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item
    finally:
        stop.set()


def release_memory() -> None:
    """Give the system back what the C library keeps of freed memory, where it is glibc: freed pieces between live ones otherwise stay."""
    trim = _glibc("malloc_trim")
    if trim is not None:
        trim(0)


def share_arenas() -> None:
    """Have all threads take their memory from `ARENAS` arenas of the C library, where it is glibc; to be called before there are threads.

    Otherwise each thread that ever worked has one, which keeps pieces of the largest picture.
    """
    mallopt = _glibc("mallopt")
    if mallopt is not None:
        mallopt(M_ARENA_MAX, ARENAS)


def _glibc(name: str) -> Callable[..., int] | None:
    """A function of glibc; None where that is not the C library."""
    try:
        library = ctypes.CDLL(None)
        return library[name] if hasattr(library, "gnu_get_libc_version") else None
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return None
