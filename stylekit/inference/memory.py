"""Memory: what is done where there is little of it, and the sentence that is said where there is too little."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

from stylekit.errors import StyleError

OUT_OF_MEMORY = (torch.OutOfMemoryError, MemoryError, RuntimeError)  # of which torch raises the last on CPUs and Macs
SAYS_SO = re.compile(r"out of memory|can't allocate memory|not enough memory", re.IGNORECASE)

ACTIVATIONS = 2 * 2**30  # bytes beside the weights, of a picture of 512 x 512 in half precision
SLICES_BELOW = 64 * 2**30  # of a Mac's memory: diffusers' own advice


def free(device: torch.device) -> int | None:
    """Bytes that a GPU has left; None where nobody tells."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return max(0, int(torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()))
    return None


def crowded(weights: int, free: int | None) -> bool:
    """Whether networks with so many bytes of weights cannot all stay on a GPU with so many bytes left."""
    return free is not None and weights + ACTIVATIONS > free


def take_turn(needed: nn.Module, others: Iterable[nn.Module], device: torch.device) -> None:
    """Have `needed` on `device`, and `others` wait in the machine's own memory."""
    if next(needed.parameters()).device.type == device.type:
        return
    for other in others:
        other.to("cpu")
    release(device)
    needed.to(device)


def wants_slices(device: torch.device, total: int | None = None) -> bool:
    """Whether attention is to be worked slice by slice: on a Mac with less than 64 GB (`total`). Elsewhere torch's own takes no more."""
    if device.type != "mps":
        return False
    return (total or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) < SLICES_BELOW


def slice_attention(unet: Any) -> None:
    unet.set_attention_slice("auto")


def is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or bool(SAYS_SO.search(str(error)))


def release(device: torch.device) -> None:
    """Give back what torch keeps of freed memory on a GPU."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


@contextlib.contextmanager
def told(device: torch.device, size: tuple[int, int]) -> Iterator[None]:
    """Within the block memory that runs out is a StyleError. size: (W, H) at which the model works."""
    try:
        yield
    except OUT_OF_MEMORY as error:
        if not is_out_of_memory(error):
            raise
        release(device)
        where = "The GPU" if device.type in ("cuda", "mps") else "The machine"
        raise StyleError(
            f"{where} has too little memory for a picture of {size[0]} x {size[1]}: choose a smaller working size, or close other programs."
        ) from None
