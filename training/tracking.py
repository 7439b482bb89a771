"""What is seen of a run: a progress bar, a log, `metrics.jsonl`, curves in TensorBoard, wandb or trackio, held-out losses, sample grids."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from PIL import Image
from tqdm import tqdm

from stylekit.errors import PictureError, StyleError
from stylekit.images import save_png
from training import checkpoints
from training.loop import RunSettings, TrainStep

METRICS_FILE = "metrics.jsonl"
MEMORY = 0.98  # of the running means in the log


def follow(
    accelerator: Accelerator,
    steps: Iterable[TrainStep],
    *,
    name: str,
    settings: RunSettings,
    folder: Path,
    check: Callable[[], Mapping[str, float]] | None = None,
    sample: Callable[[], Image.Image] | None = None,
) -> None:
    """Run `steps` to the end and show how they go; only the main process looks, the others work.

    ``folder/metrics.jsonl`` gets a line a step. check: the held-out terms, every `settings.check_every` steps. sample: a grid of pictures,
    every `settings.sample_every` steps, to ``folder/samples/step-000200.png``.
    """
    if not accelerator.is_main_process:
        for _ in steps:
            pass
        return
    _start_trackers(accelerator, name, settings)
    means: dict[str, float] = {}
    path = folder / METRICS_FILE
    file = None
    bar = tqdm(total=settings.steps, desc=name, mininterval=5, unit="step")
    try:
        for done in steps:
            if file is None:
                _forget_from(path, done.step)
                bar.reset(settings.steps)
                bar.initial = bar.n = done.step - 1
                with checkpoints.told(path):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    file = path.open("a", buffering=1)
            bar.update(done.step - bar.n)
            record: dict[str, Any] = asdict(done)
            if check and (done.step % settings.check_every == 0 or done.step == done.total):
                record["held_out"] = dict(check())
                bar.write(f"step {done.step} held out: {_text(record['held_out'])}")
            with checkpoints.told(path):
                file.write(json.dumps(record) + "\n")
            _log(accelerator, record)
            for term, value in done.terms.items():
                means[term] = MEMORY * means.get(term, value) + (1 - MEMORY) * value
            if done.step % settings.log_every == 0 or done.step == done.total:
                bar.write(f"step {done.step}/{done.total} {_text(means)} lr {done.lr:.2e} {done.seconds:.0f} s")
            if sample and settings.sample_every and (done.step % settings.sample_every == 0 or done.step == done.total):
                _keep_sample(accelerator, sample(), folder, done.step, bar)
    finally:
        bar.close()
        if file:
            file.close()
        for tracker in accelerator.trackers:
            tracker.finish()
        accelerator.trackers.clear()


def last_record(folder: Path) -> dict[str, Any]:
    """The newest line of ``folder/metrics.jsonl``; empty where there is none."""
    lines = _lines(folder / METRICS_FILE)
    return lines[-1] if lines else {}


def mean_terms(folder: Path) -> dict[str, float]:
    """Mean of each term over the last tenth of the run, from ``folder/metrics.jsonl``."""
    lines = _lines(folder / METRICS_FILE)
    tail = lines[-max(1, len(lines) // 10) :]
    names = tail[-1]["terms"] if tail else {}
    return {name: float(np.mean([line["terms"][name] for line in tail if name in line["terms"]])) for name in names}


def _start_trackers(accelerator: Accelerator, name: str, settings: RunSettings) -> None:
    values = {key: value if isinstance(value, (int, float, bool)) else str(value) for key, value in asdict(settings).items()}
    try:
        accelerator.init_trackers(name, config=values)
    except Exception as error:  # wandb and trackio have many; a run of hours should not need them
        raise StyleError(f"{settings.track} could not be started ({error}): mend it, or choose another --track.") from error


def _log(accelerator: Accelerator, record: Mapping[str, Any]) -> None:
    values = {key: record[key] for key in ("loss", "lr", "grad_norm")}
    values |= {f"train/{term}": value for term, value in record["terms"].items()}
    values |= {f"held_out/{term}": value for term, value in record.get("held_out", {}).items()}
    accelerator.log(values, step=record["step"])


def _keep_sample(accelerator: Accelerator, grid: Image.Image, folder: Path, step: int, bar: tqdm) -> None:
    try:
        save_png(grid, folder / "samples" / f"step-{step:06d}.png")
    except PictureError as error:  # a picture less is no reason to stop
        bar.write(f"no sample: {error}")
    pixels = {"samples": np.asarray(grid)[None]}
    for tracker in accelerator.trackers:
        if tracker.name == "tensorboard":
            tracker.log_images(pixels, step=step, dataformats="NHWC")  # type: ignore[attr-defined]
        elif tracker.name == "wandb":
            tracker.log_images(pixels, step=step)  # type: ignore[attr-defined]


def _forget_from(path: Path, step: int) -> None:
    """Drop the lines of steps that were trained after the checkpoint a run resumes from."""
    lines = _lines(path)
    kept = [line for line in lines if line["step"] < step]
    if len(kept) < len(lines):
        with checkpoints.whole(path) as part:
            part.write_text("".join(json.dumps(line) + "\n" for line in kept))


def _lines(path: Path) -> list[dict[str, Any]]:
    lines = []
    for text in path.read_text().splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(text))
        except ValueError:
            break  # cut off in the middle of a line
    return lines


def _text(values: Mapping[str, float]) -> str:
    return " ".join(f"{name} {value:.4f}" for name, value in values.items())
