"""What is made once and kept: files named by all that their content follows from, and made anew where they are not whole.

A name is a digest of the inputs, the settings and the code that makes the content, so that nothing made from other pictures, with another
seed or by an older procedure is ever taken for it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from tqdm import tqdm

from stylekit.storage import digests
from stylekit.storage.files import whole

T = TypeVar("T")


def kept(path: Path, make: Callable[[], T]) -> T:
    """What `make` gives, from `path` if it is there, else made and put there; tensors in lists, tuples and dicts.

    A file that a crash, a full disk or a copy has damaged is said and made anew: it holds the digest of its own content.
    """
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        if saved["digest"] == digests.of_values(saved["value"]):
            return saved["value"]
        reason = "its content has changed"
    except FileNotFoundError:
        reason = ""
    except Exception as error:  # torch.load raises many kinds on a damaged file
        reason = type(error).__name__
    if reason:
        tqdm.write(f"made anew: {path} is not whole ({reason})")
    value = make()
    with whole(path) as part:
        torch.save({"digest": digests.of_values(value), "value": value}, part)
    return value


def kept_each(path: Path, makes: Callable[[], Sequence[Callable[[], T]]], title: str) -> list[T]:
    """What each of `makes` gives, from `path` as `kept` has it; until all are there each has a file of its own in a folder beside it.

    So a run that is killed while they are made has lost one at the most. makes: asked for only where something is lacking; each must give
    the same whatever was made before it.
    """
    folder = path.with_suffix(".parts")

    def make() -> list[T]:
        jobs = makes()
        there = sum(1 for _ in folder.glob("*.pt")) if folder.is_dir() else 0
        if there:
            tqdm.write(f"going on with {title}: {there} of {len(jobs)} are there")
        return [kept(folder / f"{i:06d}.pt", job) for i, job in enumerate(tqdm(jobs, desc=title, mininterval=5, disable=None))]

    values = kept(path, make)
    shutil.rmtree(folder, ignore_errors=True)
    return values


def file_facts(paths: Iterable[Path]) -> list[tuple[str, str]]:
    """(name, digest of the content) of each file."""
    return [(path.name, file_digest(path)) for path in paths]


def file_digest(path: Path) -> str:
    """Of the file's content; of nothing where it cannot be read."""
    try:
        return digests.of_file(path)
    except OSError:
        return ""
