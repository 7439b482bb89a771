"""Safetensors files whose bytes depend on nothing but what is in them."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

SUFFIX = ".safetensors"


def is_safetensors(name: str | Path) -> bool:
    """By the name's ending, in whatever case."""
    return str(name).lower().endswith(SUFFIX)


def write_tensors(tensors: Mapping[str, torch.Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Save `tensors` and `metadata` at `path`, readable for whoever may read the folder's other files; the caller renames it.

    safetensors writes the metadata in another order every time. Here they are sorted, so that the same content is the same file.
    """
    save_file(dict(tensors), path, metadata=dict(metadata))
    with path.open("r+b") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(length))
        ordered = {"__metadata__": dict(sorted(metadata.items()))} | {key: value for key, value in header.items() if key != "__metadata__"}
        text = json.dumps(ordered, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) > length:
            raise ValueError(f"the header of {path.name} has {len(text)} bytes instead of {length}")
        file.seek(8)
        file.write(text.ljust(length))
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)  # safetensors lets nobody else read it
