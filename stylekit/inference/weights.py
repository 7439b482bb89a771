"""A network's weights, read straight into the precision they will have: never twice in memory, never mapped into it as a file.

diffusers maps the whole file and casts afterwards, so that Stable Diffusion's UNet takes 5.9 GB on the way to 1.7.
"""

from __future__ import annotations

import json
import math
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging
from huggingface_hub import hf_hub_download

NAME = "diffusion_pytorch_model"
VARIANTS = (None, "fp16")  # of the files of one network; the second where there is no other
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}
ONE_AT_A_TIME = threading.Lock()  # while diffusers loads, modules that other threads make have no weights
HEADER_BYTES = 100 * 2**20  # safetensors' own limit


def load(kind: Any, location: str, subfolder: str, revision: str | None, dtype: torch.dtype) -> Any:
    """A network of diffusers' class `kind` in `dtype`, from a folder or the Hub; only safetensors is read.

    Raises what diffusers raises. What is not one plain file with the names of today goes diffusers' own way.
    """
    with ONE_AT_A_TIME:
        return _load(kind, location, subfolder, revision, dtype)


def _load(kind: Any, location: str, subfolder: str, revision: str | None, dtype: torch.dtype) -> Any:
    path, variant = _file(location, subfolder, revision)
    if path is not None:
        state = _read(path, dtype)
        with torch.device("meta"):
            model = kind.from_config(kind.load_config(location, subfolder=subfolder, revision=revision))
        if {name: tensor.shape for name, tensor in model.state_dict().items()} == {name: tensor.shape for name, tensor in state.items()}:
            model.load_state_dict(state, assign=True)
            if not any(buffer.is_meta for buffer in model.buffers()):  # one that is in no file
                return model
        del state
    with _quiet():
        return kind.from_pretrained(
            location, subfolder=subfolder, revision=revision, use_safetensors=True, torch_dtype=dtype, variant=variant
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without diffusers' bar of shards, which are read in a moment."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _file(location: str, subfolder: str, revision: str | None) -> tuple[Path | None, str | None]:
    """The file with the weights, None where there is not exactly one; and the variant it is."""
    for variant in VARIANTS:
        name = f"{subfolder}/{NAME}{f'.{variant}' if variant else ''}.safetensors"
        if Path(location).is_dir():
            if (Path(location) / name).is_file():
                return Path(location) / name, variant
            continue
        try:
            return Path(hf_hub_download(location, name, revision=revision)), variant
        except (OSError, ValueError):  # not there, or no Hub: diffusers says which, in its own words
            continue
    return None, None


def _read(path: Path, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file as `dtype`, one after the other. Raises ValueError for a file that is not whole."""
    tensors: dict[str, torch.Tensor] = {}
    size = path.stat().st_size
    with path.open("rb") as file:
        length = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))[0]
        if length > min(HEADER_BYTES, size - 8):
            raise ValueError(f"{path.name} is cut off or no safetensors file")
        header = {name: entry for name, entry in json.loads(file.read(length)).items() if name != "__metadata__"}
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            begin, end = entry["data_offsets"]
            own = DTYPES[entry["dtype"]]
            if not 0 <= begin <= end <= size - 8 - length or end - begin != math.prod(entry["shape"]) * own.itemsize:
                raise ValueError(f"{path.name} is cut off or no safetensors file")
            data = bytearray(end - begin)
            file.seek(8 + length + begin)
            file.readinto(data)
            tensor = (torch.frombuffer(data, dtype=own) if data else torch.empty(0, dtype=own)).view(entry["shape"]).to(dtype)
            tensors[name] = tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
    return tensors
