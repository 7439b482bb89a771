"""Checkpoints: `step-000200.pt` files in a folder, each written whole or not at all, of which the newest few are kept.

A checkpoint holds everything a run needs to go on bit for bit: parameters, their average, optimizer, random generators, seconds spent; and
the run's identity, so that a folder left by another run is refused instead of mixed in.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from stylekit.errors import StyleError

NAME = re.compile(r"step-(\d{6,})\.pt")


def save(folder: Path, step: int, identity: Mapping[str, str], state: Mapping[str, Any], keep: int) -> Path:
    """Write ``folder/step-NNNNNN.pt``, then remove all but the newest `keep`."""
    path = folder / f"step-{step:06d}.pt"
    with whole(path) as part:
        torch.save({"step": step, "identity": dict(identity), **state}, part)
    for old in steps(folder)[:-keep]:
        old.unlink(missing_ok=True)
    return path


def newest(folder: Path, identity: Mapping[str, str]) -> dict[str, Any] | None:
    """The newest whole checkpoint of this very run, None if there is none; StyleError if the folder is another run's."""
    for path in reversed(steps(folder)):
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            theirs = dict(state["identity"])
        except Exception as error:  # torch.load raises many kinds on a file that a crash or a copy cut short
            print(f"passed over: {path} is not whole ({type(error).__name__})")
            continue
        other = [
            f"{name}: {theirs.get(name, 'unset')} there, {identity.get(name, 'unset')} here"
            for name in sorted({*theirs, *identity})
            if theirs.get(name) != identity.get(name)
        ]
        if other:
            raise StyleError(
                f"{folder} holds a run with another base, data or settings ({'; '.join(other)}): "
                "choose another --work folder, or set it back."
            )
        return state
    return None


def steps(folder: Path) -> list[Path]:
    """Checkpoints in `folder`, oldest first."""
    return sorted((p for p in folder.glob("step-*.pt") if NAME.fullmatch(p.name)), key=lambda p: int(p.stem.removeprefix("step-")))


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A place aside to write to; renamed to `path` at the end, gone if anything fails. StyleError where the disk will not take it."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield part
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turns what writing `path` may raise into a sentence."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:  # torch.save reports a full disk as RuntimeError
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise StyleError(
            f"{path} could not be written ({reason}): free some space and run the same command again; nothing was overwritten."
        ) from error
