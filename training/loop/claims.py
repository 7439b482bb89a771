"""The places a run writes to: seen to be writable before anything slow is done, and taken by one run at a time.

The lock is the operating system's (`filelock`): it goes with the process that holds it, so a run that was killed is in no one's way.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from stylekit.errors import SettingError, first_line

LOCK = ".lock"
LONGEST = 100  # characters, of the names of files and of folders that a run makes
SHOWN = 160  # characters of a path in a message

Places = Mapping[str, Path]  # by the setting that names them


@contextmanager
def claimed(folders: Places, targets: Places | None = None, *, main: bool = True) -> Iterator[None]:
    """Have these places to oneself within the block; raises SettingError at once where another run has one, or nothing can be written.

    folders: to write into; they are made, and removed at the end if nothing is in them. targets: files and folders that are written aside
    and then renamed, whose parents are made in the same way. main: False does nothing, for the processes of a run that do not write.
    """
    with ExitStack() as held:
        if main:
            for setting, folder in folders.items():
                held.enter_context(_taken(folder, LOCK, folder, setting))
            for setting, target in (targets or {}).items():
                held.enter_context(_taken(target.parent, f".{target.name}{LOCK}", target, setting))
        yield


@contextmanager
def writable(folder: Path, place: Path, setting: str) -> Iterator[None]:
    """`folder`, made where it is missing, and removed at the end if it is empty; SettingError if nothing can be written there.

    place: what is to be written, for the message; its name must not be too long either.
    """
    made: list[Path] = []
    try:
        try:
            made = [path for path in (folder, *folder.parents) if not path.exists()]
            folder.mkdir(parents=True, exist_ok=True)
            _try(folder, LOCK if place == folder else place.name)
        except (OSError, ValueError) as error:  # ValueError: a zero in the name
            raise SettingError(
                f"{_short(place)} cannot be written ({first_line(error)}): choose another --{setting}, or make it writable."
            ) from None
        yield
    finally:
        for path in made:
            with suppress(OSError, ValueError):  # not empty, or never made
                path.rmdir()


@contextmanager
def _taken(folder: Path, name: str, place: Path, setting: str) -> Iterator[None]:
    with writable(folder, place, setting):
        lock = _acquire(folder / name, place, setting)
        try:
            yield
        finally:
            with suppress(OSError):
                (folder / name).unlink()  # while it is held: whoever waits for this file sees that it is gone
            lock.release()


def _acquire(path: Path, place: Path, setting: str) -> FileLock:
    while True:
        lock = FileLock(path, timeout=0, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            raise SettingError(
                f"{_short(place)} is in use by another run: wait until it has ended, or choose another --{setting}."
            ) from None
        except (OSError, NotImplementedError) as error:  # a file system without locks
            raise SettingError(f"{_short(path)} cannot be locked ({first_line(error)}): choose another --{setting}.") from None
        if path.exists():
            return lock
        lock.release()  # of a file that the run before has just removed


def _try(folder: Path, name: str) -> None:
    """Write, as deep and with names as long as a run's, and remove it; OSError where that cannot be."""
    part = f".{name}.{os.getpid()}.part"
    deep = folder / f".{'x' * (LONGEST - 20)}.{os.getpid()}.part"
    try:
        deep.mkdir(exist_ok=True)
        (deep / ("x" * LONGEST)).write_bytes(b"?")
        (folder / part).write_bytes(b"?")
    finally:
        for path in (folder / part, deep / ("x" * LONGEST)):
            with suppress(OSError):
                path.unlink()
        with suppress(OSError):
            deep.rmdir()


def _short(path: Path) -> str:
    text = str(path).replace("\0", "\\0")
    return text if len(text) <= SHOWN else f"{text[: SHOWN // 2]}…{text[-SHOWN // 2 :]}"
