"""The training loop: a generator of TrainStep. Logging, samples and stopping live in the caller.

State is saved whole (aside, then renamed) with every random generator in it, so that a resumed run equals an uninterrupted one.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from stylekit.errors import StyleError

STATE_FILE = "state.pt"


@dataclass(frozen=True, kw_only=True)
class TrainStep:
    """Step `step` of `total` is done: its loss, the value of each term before weighting, and the learning rate."""

    step: int
    total: int
    loss: float
    terms: Mapping[str, float]
    lr: float


class LossIsNaN(StyleError):
    """Training went astray; the last checkpoint is good."""


# what one step computes: (step, rng, generator) -> (loss, terms)
StepFunction = Callable[[int, random.Random, torch.Generator], tuple[torch.Tensor, dict[str, float]]]


def run(
    parameters: Sequence[torch.nn.Parameter],
    compute: StepFunction,
    *,
    steps: int,
    lr: float,
    warmup: int,
    seed: int,
    folder: Path,
    fingerprint: str,
    save_every: int,
    clip: float = 1.0,
) -> Iterator[TrainStep]:
    """Adam with linear warm-up and decay to zero; yields after every step and saves to ``folder/state.pt`` as it goes.

    fingerprint: names base, data and settings; a folder left by another run is refused, not overwritten.
    """
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(parameters, lr=lr, betas=(0.9, 0.99))
    start = restore(folder / STATE_FILE, parameters, optimizer, rng, generator, fingerprint)
    for step in range(start + 1, steps + 1):
        rate = lr * min(1.0, step / max(1, warmup)) * max(0.01, 1 - (step - 1) / steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss, terms = compute(step, rng, generator)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise LossIsNaN(f"The loss is {value} at step {step}: lower the learning rate and resume from {folder}.")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        if step % save_every == 0 or step == steps:
            save(folder / STATE_FILE, step, parameters, optimizer, rng, generator, fingerprint)
        yield TrainStep(step=step, total=steps, loss=value, terms=terms, lr=rate)


def save(
    path: Path,
    step: int,
    parameters: Sequence[torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    rng: random.Random,
    generator: torch.Generator,
    fingerprint: str,
) -> None:
    """Write the whole state of a run; the old file stays until the new one is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    state = {
        "step": step,
        "fingerprint": fingerprint,
        "parameters": [p.detach() for p in parameters],
        "optimizer": optimizer.state_dict(),
        "rng": rng.getstate(),
        "generator": generator.get_state(),
    }
    try:
        torch.save(state, part)
        os.replace(part, path)
    except (OSError, RuntimeError) as error:
        part.unlink(missing_ok=True)
        raise StyleError(
            f"The checkpoint {path} could not be written ({error}): free some space and resume; the last one is whole."
        ) from error


def restore(
    path: Path,
    parameters: Sequence[torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    rng: random.Random,
    generator: torch.Generator,
    fingerprint: str,
) -> int:
    """Load the state at `path`, if there is one; the step it was saved after, or 0."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    if state["fingerprint"] != fingerprint:
        raise StyleError(f"{path.parent} holds a run with another base, data or settings: choose another --work folder.")
    for parameter, value in zip(parameters, state["parameters"], strict=True):
        parameter.data.copy_(value)
    optimizer.load_state_dict(state["optimizer"])
    version, numbers, gauss = state["rng"]
    rng.setstate((version, tuple(numbers), gauss))
    generator.set_state(state["generator"])
    return int(state["step"])
