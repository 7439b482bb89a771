"""Files and folders that are whole or not there: written aside, then renamed."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from stylekit.errors import StyleError, first_line

PART = ".part"  # how the name of what is being written ends


@contextmanager
def aside(path: str | Path) -> Iterator[Path]:
    """A place beside `path` to write a file to; renamed to `path` at the end, gone if anything fails. Raises what the system raises."""
    path = Path(path)
    # short, since the path's own name may be as long as allowed; of its own for each of many threads and processes
    part = path.with_name(f".stylekit-{uuid.uuid4().hex[:12]}{PART}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        if part.is_file():
            part.chmod(part.stat().st_mode | 0o044)  # safetensors lets nobody else read what it writes
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """As `aside`, but StyleError where the disk will not take the file."""
    with told(path), aside(path) as part:
        yield part


def write_whole(path: str | Path, write: Callable[[Path], Any]) -> Path:
    """`write` a file aside, then rename it; see `whole`."""
    with whole(path) as part:
        write(part)
    return Path(path)


@contextmanager
def whole_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """A new folder aside to fill; renamed to `path` at the end, gone if anything fails. replace: a folder at `path` goes first.

    Its name is always the same, so that what a killed program has left goes with the next one. Raises what the system raises.
    """
    part = path.with_name(f".{path.name}{PART}")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        yield part
        if replace:
            shutil.rmtree(path, ignore_errors=True)
        os.replace(part, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def told(path: str | Path) -> Iterator[None]:
    """Turns what writing `path` may raise into a sentence."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:  # torch.save reports a full disk as RuntimeError
        raise StyleError(
            f"{path} could not be written ({first_line(error)}): free some space or choose another place, and run it again; "
            "nothing was overwritten."
        ) from error
