"""Checkpoints: `step-000200.pt` files in a folder, each written whole or not at all, of which the newest few are kept.

A checkpoint holds everything a run needs to go on bit for bit: parameters, their average, optimizer, random generators, seconds spent; and
the run's identity, so that a folder left by another run is refused instead of mixed in.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from stylekit.errors import StyleError
from stylekit.storage.files import whole

NAME = re.compile(r"step-(\d{6,})\.pt")


def save(folder: Path, step: int, identity: Mapping[str, str], state: Mapping[str, Any], keep: int) -> Path:
    """Write ``folder/step-NNNNNN.pt``, then remove all but the newest `keep`."""
    path = folder / f"step-{step:06d}.pt"
    with whole(path) as part:
        torch.save({"step": step, "identity": dict(identity), **state}, part)
    for old in steps(folder)[:-keep]:
        old.unlink(missing_ok=True)
    return path


def newest(folder: Path, identity: Mapping[str, str], lengths: Collection[str] = ()) -> dict[str, Any] | None:
    """The newest whole checkpoint of this very run, None if there is none; StyleError if the folder is another run's.

    lengths: what of the identity may differ from a run that this one lengthens: one of fewer ``steps``.
    """
    return next((state for path in reversed(steps(folder)) if (state := read(path, identity, lengths))), None)


def read(path: Path, identity: Mapping[str, str] | None, lengths: Collection[str] = ()) -> dict[str, Any] | None:
    """What was saved to `path`, None if it is not there or not whole; StyleError if it is not the run `identity`'s. None: of any run."""
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        theirs = dict(state["identity"])
    except Exception as error:  # torch.load raises many kinds on a file that a crash or a copy cut short
        print(f"passed over: {path} is not whole ({type(error).__name__})")
        return None
    if identity is None:
        return state
    other = [name for name in sorted({*theirs, *identity}) if theirs.get(name) != identity.get(name)]
    if other and not (set(other) <= set(lengths) and int(identity.get("steps", 0)) > int(theirs.get("steps", 0))):
        told_apart = "; ".join(f"{name}: {theirs.get(name, 'unset')} there, {identity.get(name, 'unset')} here" for name in other)
        raise StyleError(
            f"{path.parent} holds a run with another base, data or settings ({told_apart}): choose another --work folder, or set it back."
        )
    return state


def steps(folder: Path) -> list[Path]:
    """Checkpoints in `folder`, oldest first."""
    return sorted((p for p in folder.glob("step-*.pt") if NAME.fullmatch(p.name)), key=lambda p: int(p.stem.removeprefix("step-")))
