"""Settings of any training run. They need no torch, so that a command can read and check them before anything slow is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stylekit.ranges import check
from training.loop.config import FROM_ONE, FROM_ZERO, UNDER_ONE, setting

SCHEDULES = ("cosine", "linear", "constant")
OPTIMIZERS = ("adamw", "adamw8bit")
PRECISIONS = ("auto", "no", "fp16", "bf16")
TRACKERS = ("auto", "none", "tensorboard", "wandb", "trackio")
CHECKPOINTS = "checkpoints"  # folder, in the work folder
SAMPLE_GRIDS = 10  # sample grids of a run, but for the first


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Settings of any training run. What is trained, and on what, subclasses add."""

    work: Path | None = setting(
        None, "folder of checkpoints, caches, curves and samples, where a rerun resumes; runs/STYLE, or runs/STYLE.dreambooth", free=True
    )
    steps: int = setting(6000, "training steps; a run that has fewer goes on", length=True, allowed=FROM_ONE)
    batch: int = setting(4, "samples a step in each process", allowed=FROM_ONE)
    accumulate: int = setting(1, "batches a step, worked one after another", allowed=FROM_ONE)
    lr: float = setting(1e-4, "peak learning rate", allowed=FROM_ZERO)
    schedule: str = setting(
        "cosine", "of the learning rate after warm-up: cosine, linear (both to 1 % of the peak) or constant", choices=SCHEDULES
    )
    warmup: int = setting(100, "steps of linear warm-up", allowed=FROM_ZERO)
    optimizer: str = setting("adamw", "adamw, or adamw8bit (needs bitsandbytes)", choices=OPTIMIZERS)
    weight_decay: float = setting(0.01, "AdamW's weight decay", allowed=FROM_ZERO)
    beta2: float = setting(0.999, "AdamW's second beta", allowed=UNDER_ONE)
    clip: float = setting(1.0, "largest norm of the gradient; 0 for any", allowed=FROM_ZERO)
    ema: float = setting(
        0.999, "decay of the average of the weights, which is what is written; 0 writes the last weights", allowed=UNDER_ONE
    )
    precision: str = setting(
        "auto",
        "of the passes: no (float32), fp16, bf16; auto is what accelerate says, else bf16 where there is hardware",
        choices=PRECISIONS,
    )
    gradient_checkpointing: bool = setting(False, "spend time to save memory: compute activations twice", free=True)
    seed: int = setting(0, "seed of everything random")
    device: str = setting("auto", "auto is a GPU if there is one; or cpu", free=True, choices=("auto", "cpu"))
    threads: int | None = setting(None, "CPU threads", free=True)
    save_every: int = setting(200, "steps between checkpoints", free=True, allowed=FROM_ONE)
    keep: int = setting(2, "checkpoints kept", free=True, allowed=FROM_ONE)
    log_every: int = setting(100, "steps between lines of the log", free=True, allowed=FROM_ONE)
    check_every: int = setting(200, "steps between held-out losses", free=True, allowed=FROM_ONE)
    sample_every: int | None = setting(
        None, "steps between sample grids, by default a tenth of the run; 0 for none", free=True, allowed=FROM_ZERO
    )
    track: str = setting(
        "auto", "curves: tensorboard, wandb, trackio or none; auto is tensorboard where it is installed", free=True, choices=TRACKERS
    )

    def __post_init__(self) -> None:
        check(self)

    @property
    def sample_interval(self) -> int:
        """Steps between sample grids; 0 for none."""
        return max(1, self.steps // SAMPLE_GRIDS) if self.sample_every is None else self.sample_every
