"""The training loop, over accelerate: a generator of TrainStep. Progress, held-out loss and samples live in `training.loop.tracking`.

Every process draws the whole step's samples with the same generators and works its own slice, and gradients are averaged over processes
and accumulated parts. So two processes with batch 2, or two parts of 2, take the same steps as one process with batch 4.

A run is saved with every random generator in it, so that a resumed run equals an uninterrupted one. It may also be lengthened: more
`steps` than it was begun with go on from where it is.
"""

from __future__ import annotations

import importlib
import math
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from diffusers.training_utils import EMAModel
from torch import nn

from stylekit.base import cpu_has_bfloat16
from stylekit.errors import SettingError, StyleError
from training.loop import checkpoints, config
from training.loop.settings import CHECKPOINTS, RunSettings

FLOOR = 0.01  # share of the peak learning rate at which a falling schedule ends
PATIENCE = timedelta(hours=12)  # how long other processes wait while the first one prepares data

S = TypeVar("S")
# (step, parts, rng, generator) -> samples of the whole step, the same in every process, in a number divisible by `parts`
Draw = Callable[[int, int, random.Random, torch.Generator], Sequence[S]]
# (model, step, samples) -> loss and each term before weighting, means over the samples
Compute = Callable[[nn.Module, int, Sequence[S]], tuple[torch.Tensor, Mapping[str, torch.Tensor]]]


@dataclass(frozen=True, kw_only=True)
class TrainStep:
    """Step `step` of `total` is done: its loss, each term before weighting, learning rate, gradient norm, and seconds trained in all."""

    step: int
    total: int
    loss: float
    terms: Mapping[str, float]
    lr: float
    grad_norm: float
    seconds: float


class NonFiniteLossError(StyleError):
    """Training went astray; the last checkpoint is good."""


def run(
    accelerator: Accelerator,
    model: nn.Module,
    draw: Draw[S],
    compute: Compute[S],
    *,
    settings: RunSettings,
    folder: Path,
    identity: Mapping[str, str],
    average: EMAModel | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[TrainStep]:
    """Train the parameters of `model` that want gradients; yields after every step, and saves to ``folder/checkpoints`` before it does.

    identity: names base, data and settings; a folder left by another run is refused. average: takes part if given, see `make_average`.
    stop: asked after every step; where it says True, in any process, the run is saved there and ends.
    """
    parameters = trained(model)
    optimizer = make_optimizer(parameters, settings)
    scaler = torch.amp.GradScaler(accelerator.device.type, enabled=precision_of(settings, accelerator.device) == "fp16")
    rng, generator = random.Random(settings.seed), torch.Generator().manual_seed(settings.seed)
    state = _State(parameters=parameters, optimizer=optimizer, scaler=scaler, rng=rng, generator=generator, average=average)
    parts = accelerator.num_processes * settings.accumulate
    identity = _of_all(identity, accelerator.num_processes)
    saved = checkpoints.newest(folder / CHECKPOINTS, identity, config.lengths(settings))
    if saved:
        state.restore(saved)
    start, before, begun = (saved["step"] if saved else 0), (saved["seconds"] if saved else 0.0), time.perf_counter()
    prepared = accelerator.prepare(model)
    for step in range(start + 1, settings.steps + 1):
        rate = learning_rate(settings, step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        loss, terms = _backward(accelerator, prepared, step, draw(step, parts, rng, generator), compute, scaler, settings.accumulate)
        scaler.unscale_(optimizer)
        norm = float(nn.utils.clip_grad_norm_(parameters, settings.clip or math.inf))
        overflow = scaler.is_enabled() and not math.isfinite(norm)  # of a loss scale too high: the scaler leaves the step out and lowers it
        if not math.isfinite(loss) or not (math.isfinite(norm) or overflow):
            raise NonFiniteLossError(
                f"The loss is {loss} and its gradient {norm} at step {step}: lower the learning rate in a new --work folder; "
                f"the checkpoints in {folder / CHECKPOINTS} are good."
            )
        scaler.step(optimizer)
        scaler.update()
        if average:
            average.step(parameters)
        seconds = before + time.perf_counter() - begun
        due = step % settings.save_every == 0 or step == settings.steps
        if accelerator.is_main_process and due:
            checkpoints.save(folder / CHECKPOINTS, step, identity, state.to_dict() | {"seconds": seconds}, settings.keep)
        yield TrainStep(step=step, total=settings.steps, loss=loss, terms=terms, lr=rate, grad_norm=norm, seconds=seconds)
        if step < settings.steps and _any(accelerator, stop()):
            if accelerator.is_main_process and not due:
                checkpoints.save(folder / CHECKPOINTS, step, identity, state.to_dict() | {"seconds": seconds}, settings.keep)
            return


def refuse_another_run(folder: Path, identity: Mapping[str, str], settings: RunSettings, processes: int) -> None:
    """StyleError if `folder` holds checkpoints of another run than this."""
    checkpoints.newest(folder / CHECKPOINTS, _of_all(identity, processes), config.lengths(settings))


def _of_all(identity: Mapping[str, str], processes: int) -> dict[str, str]:
    return {**identity, "processes": str(processes)}


def open_accelerator(settings: RunSettings, folder: Path) -> Accelerator:
    """Processes and devices as `accelerate launch` made them (one, without it), with the tracker that is wanted and there.

    Mixed precision is the passes' own affair (`autocast`): accelerate's would rewrite the model's forward.
    """
    tracker: str | None = settings.track
    if settings.track in ("none", "auto"):
        tracker = "tensorboard" if settings.track == "auto" and is_installed("tensorboard") else None
    elif not is_installed(settings.track):
        raise SettingError(f"track is {settings.track!r}, which is not installed: run `pip install {settings.track}`, or choose none.")
    return Accelerator(
        mixed_precision="no",
        cpu=settings.device == "cpu",
        log_with=tracker,
        project_dir=str(folder / "curves"),
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
    )


def precision_of(settings: RunSettings, device: torch.device) -> str:
    """no, fp16 or bf16, on this device."""
    wanted, gpu = settings.precision, device.type == "cuda"
    if wanted == "auto":
        launched = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
        if launched in ("fp16", "bf16"):
            wanted = launched
        elif torch.cuda.is_bf16_supported() if gpu else cpu_has_bfloat16():
            wanted = "bf16"
        else:
            wanted = "fp16" if gpu else "no"
    if wanted == "fp16" and not gpu:
        raise SettingError("precision is fp16, which needs a GPU: choose bf16 or no.")
    return wanted


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """The context for passes in `precision`."""
    if precision == "no":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if precision == "bf16" else torch.float16)


def learning_rate(settings: RunSettings, step: int) -> float:
    """At step 1, 2, ..., `settings.steps`."""
    rest = 1 - (step - 1) / settings.steps
    shape = {"linear": max(FLOOR, rest), "cosine": FLOOR + (1 - FLOOR) * 0.5 * (1 - math.cos(math.pi * rest)), "constant": 1.0}
    return settings.lr * min(1.0, step / max(1, settings.warmup)) * shape[settings.schedule]


def make_optimizer(parameters: Sequence[nn.Parameter], settings: RunSettings) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101), its moments in 8 bits if so asked."""
    kind: Any = torch.optim.AdamW
    if settings.optimizer == "adamw8bit":
        if not is_installed("bitsandbytes"):
            raise SettingError("optimizer is adamw8bit, which needs bitsandbytes: run `pip install bitsandbytes`, or choose adamw.")
        kind = importlib.import_module("bitsandbytes").optim.AdamW8bit
    return kind(parameters, lr=settings.lr, betas=(0.9, settings.beta2), weight_decay=settings.weight_decay)


def make_average(model: nn.Module, settings: RunSettings) -> EMAModel | None:
    """The moving average of the weights, None where it is off. Its decay climbs to `settings.ema` as (1 + n) / (10 + n)."""
    return EMAModel(trained(model), decay=settings.ema, foreach=True) if settings.ema else None


@contextmanager
def averaged(model: nn.Module, average: EMAModel | None) -> Iterator[None]:
    """Within the block `model` has the averaged weights, if there are any."""
    if average is None:
        yield
        return
    average.store(trained(model))
    average.copy_to(trained(model))
    try:
        yield
    finally:
        average.restore(trained(model))


def trained(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that want gradients."""
    return [p for p in model.parameters() if p.requires_grad]


def is_installed(package: str) -> bool:
    try:
        importlib.import_module(package)
    except Exception:  # a package can be there and not work, bitsandbytes above all
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class _State:
    """Everything of a run that changes."""

    parameters: Sequence[nn.Parameter]
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    rng: random.Random
    generator: torch.Generator
    average: EMAModel | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "parameters": [p.detach() for p in self.parameters],
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "rng": self.rng.getstate(),
            "generator": self.generator.get_state(),
            "average": self.average.state_dict() if self.average else None,
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        for parameter, value in zip(self.parameters, saved["parameters"], strict=True):
            parameter.data.copy_(value)
        self.optimizer.load_state_dict(saved["optimizer"])
        self.scaler.load_state_dict(saved["scaler"])
        version, numbers, gauss = saved["rng"]
        self.rng.setstate((version, tuple(numbers), gauss))
        self.generator.set_state(saved["generator"])
        if self.average:
            self.average.load_state_dict(saved["average"])
            self.average.to(device=self.parameters[0].device)


def _any(accelerator: Accelerator, here: bool) -> bool:
    """Whether it is so in any process."""
    if accelerator.num_processes == 1:
        return here
    found = accelerator.reduce(torch.tensor(float(here), device=accelerator.device), reduction="sum")
    return bool(found > 0)  # type: ignore[operator]


def _backward(
    accelerator: Accelerator,
    model: nn.Module,
    step: int,
    samples: Sequence[S],
    compute: Compute[S],
    scaler: torch.amp.GradScaler,
    accumulate: int,
) -> tuple[float, dict[str, float]]:
    """Gradients of the mean loss over `samples`, of which this process works its slice; that loss and the means of its terms."""
    size = len(samples) // (accelerator.num_processes * accumulate)
    total: dict[str, torch.Tensor] = {}
    for i in range(accumulate):
        begin = (accelerator.process_index * accumulate + i) * size
        last = i == accumulate - 1
        with nullcontext() if last else accelerator.no_sync(model):
            loss, terms = compute(model, step, samples[begin : begin + size])
            scaler.scale(loss / accumulate).backward()
        for name, value in {"loss": loss, **terms}.items():
            total[name] = total.get(name, 0) + value.detach().float() / accumulate
    means = accelerator.reduce(torch.stack(list(total.values())), reduction="mean").tolist()
    named = dict(zip(total, means, strict=True))
    return named.pop("loss"), named
