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
from stylekit.storage.files import told, whole
from training.loop.loop import TrainStep
from training.loop.settings import RunSettings

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
    before the first step and every `settings.sample_interval` steps, to ``folder/samples/step-000200.png``. Raises KeyboardInterrupt where
    `steps` end before the last: they were asked to stop.
    """
    last = settings.steps
    if not accelerator.is_main_process:
        for done in steps:
            last = done.step
        _refuse_the_end(last, settings.steps)
        return
    means: dict[str, float] = {}
    path = folder / METRICS_FILE
    file = None
    every = settings.sample_interval
    if sample and every and not (folder / "samples" / _sample_name(0)).is_file():
        _keep_sample(accelerator, sample(), folder, 0, tqdm.write)  # even where a run goes on: what it saved is not read yet
    bar = tqdm(total=settings.steps, desc=name, mininterval=5, unit="step", smoothing=0.1, disable=None)
    try:
        for done in steps:
            last = done.step
            if file is None:
                if done.step > 1:
                    bar.write(f"going on from step {done.step - 1} of {done.total}")
                _forget_from(path, done.step)
                _start_trackers(accelerator, name, settings, done.step)
                begin_at(bar, done.step - 1)
                with told(path):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    file = path.open("a", buffering=1)
            bar.update(done.step - bar.n)
            bar.set_postfix(loss=f"{done.loss:.4f}", refresh=False)
            record: dict[str, Any] = asdict(done)
            if check and (done.step % settings.check_every == 0 or done.step == done.total):
                record["held_out"] = dict(check())
                bar.write(f"step {done.step} held out: {_text(record['held_out'])}")
            with told(path):
                file.write(json.dumps(record) + "\n")
            _log(accelerator, record)
            for term, value in done.terms.items():
                means[term] = MEMORY * means.get(term, value) + (1 - MEMORY) * value
            if done.step % settings.log_every == 0 or done.step == done.total:
                bar.write(f"step {done.step}/{done.total} {_text(means)} lr {done.lr:.2e} {done.seconds:.0f} s")
            if sample and every and (done.step % every == 0 or done.step == done.total):
                _keep_sample(accelerator, sample(), folder, done.step, bar.write)
        if file is None:
            begin_at(bar, settings.steps)
            bar.write(f"all {settings.steps} steps are trained already: a larger --steps goes on from there")
    finally:
        bar.close()
        if file:
            file.close()
        for tracker in accelerator.trackers:
            tracker.finish()
        accelerator.trackers.clear()
    _refuse_the_end(last, settings.steps)


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


def curve(folder: Path, points: int = 50) -> list[dict[str, float]]:
    """The loss over the run in at most `points` spans, from ``folder/metrics.jsonl``: the last step of each, seconds since the start, mean
    loss, and the held-out loss where one was measured in it."""
    lines = _lines(folder / METRICS_FILE)
    spans = [[lines[i] for i in part] for part in np.array_split(np.arange(len(lines)), min(points, len(lines)) or 1) if len(part)]
    result = []
    for span in spans:
        point = {"step": span[-1]["step"], "seconds": round(span[-1]["seconds"], 1)}
        point["loss"] = round(float(np.mean([line["loss"] for line in span])), 5)
        held_out = [line["held_out"]["loss"] for line in span if line.get("held_out")]
        result.append(point | ({"held_out": round(held_out[-1], 5)} if held_out else {}))
    return result


def begin_at(bar: tqdm, step: int) -> None:
    """Have `bar` count from `step`, with what was done before left out of its speed."""
    bar.initial = bar.n = bar.last_print_n = step


def _refuse_the_end(last: int, total: int) -> None:
    if last < total:
        raise KeyboardInterrupt(f"stopped at step {last} of {total}, which is saved")


def _start_trackers(accelerator: Accelerator, name: str, settings: RunSettings, step: int) -> None:
    """Once the first step is done: a run that is refused leaves no entry. TensorBoard drops what an earlier start had from `step`."""
    values = {key: value if isinstance(value, (int, float, bool)) else str(value) for key, value in asdict(settings).items()}
    try:
        # TensorBoard would keep the settings as an entry of its own at every start
        config = None if "tensorboard" in map(str, accelerator.log_with) else values
        accelerator.init_trackers(name, config=config, init_kwargs={"tensorboard": {"purge_step": step}})
    except Exception as error:  # wandb and trackio have many; a run of hours should not need them
        raise StyleError(f"{settings.track} could not be started ({error}): mend it, or choose another --track.") from error


def _log(accelerator: Accelerator, record: Mapping[str, Any]) -> None:
    values = {key: record[key] for key in ("loss", "lr", "grad_norm")}
    values |= {f"train/{term}": value for term, value in record["terms"].items()}
    values |= {f"held_out/{term}": value for term, value in record.get("held_out", {}).items()}
    accelerator.log(values, step=record["step"])


def _sample_name(step: int) -> str:
    return f"step-{step:06d}.png"


def _keep_sample(accelerator: Accelerator, grid: Image.Image, folder: Path, step: int, say: Callable[[str], object]) -> None:
    try:
        say(f"step {step} in pictures: {save_png(grid, folder / 'samples' / _sample_name(step))} (the adapter alone, without the hand)")
    except PictureError as error:  # a picture less is no reason to stop
        say(f"no sample: {error}")
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
        with whole(path) as part:
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
