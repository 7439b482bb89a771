"""What a step costs by LoRA and by DreamBooth: parameters trained, seconds, peak memory, bytes on disk.

    python benchmarks/dreambooth_cost.py --base pocket --steps 8
    python benchmarks/dreambooth_cost.py --base full --resolution 256 --steps 3 --methods lora attention

Each method runs in a process of its own, one after another, on the trainer's own steps. `full` and `reduced` are random models of Stable
Diffusion 1.5's classes, see `sd15_training`: times, memory and sizes do not depend on the weights. Prints a Markdown table; ``--out`` keeps
it, and the numbers as JSON.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from benchmarks.sd15_models import WIDTHS, save_model  # noqa: E402
from benchmarks.sd15_training import PHOTOS, peak_memory  # noqa: E402
from stylekit.base_card import POCKET  # noqa: E402
from stylekit.errors import StyleError  # noqa: E402

WARM_UP = 1  # steps that are not counted
PICTURES = 2
METHODS = {"lora": "LoRA", "attention": "DreamBooth, attention", "default": "DreamBooth, as trained", "all": "DreamBooth, whole UNet"}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What one process is to do."""

    method: str
    base: str
    work: str
    resolution: int
    batch: int
    steps: int
    device: str
    threads: int
    precision: str
    checkpointing: bool


def measure(options: Options) -> dict[str, Any]:
    """Takes the steps of one method and gives its figures."""
    from training.loop import loop
    from training.objective.perceptual import PerceptualLosses
    from training.style import dreambooth, lora, style_run
    from training.style.dreambooth_settings import DreamBoothTraining
    from training.style.dreambooth_settings import defaults as dreambooth_defaults
    from training.style.lora_settings import LoraTraining, defaults

    work = Path(options.work)
    given: dict[str, Any] = {
        "style": "benchmark",
        "base": options.base,
        "out": work / "out",
        "work": work,
        "resolution": options.resolution,
        "batch": options.batch,
        "steps": options.steps + WARM_UP,
        "precision": options.precision,
        "device": "auto" if options.device == "cuda" else options.device,
        "gradient_checkpointing": options.checkpointing,
        "limit": PICTURES,
        "views": 1,
        "held_out": 0,
        "save_every": options.steps + WARM_UP + 1,
        "track": "none",
    }
    given |= {"photos": PHOTOS, "targets": "procedure:sketch", "own": 0.0} if options.base == POCKET else {"style_pictures": PHOTOS}
    is_lora = options.method == "lora"
    if not is_lora:  # class pictures are made once, whatever the method: not what is measured
        given |= {"class_count": PICTURES, "class_pictures": PHOTOS}
        given |= {} if options.method == "default" else {"modules": options.method}
    fallback = (defaults if is_lora else dreambooth_defaults)(given)
    settings = (LoraTraining if lora else DreamBoothTraining)(**{**fallback, **given})
    method: Any = lora.LORA if lora else dreambooth.DREAMBOOTH
    accelerator = loop.open_accelerator(settings, work)
    precision = loop.precision_of(settings, accelerator.device)
    base = style_run.open_base(settings, accelerator.device, precision)
    training_set = method.gather(base, settings, "benchmark", lambda _: None)
    trainee = method.prepare(base, settings, training_set, PerceptualLosses(), precision)
    seconds, cpu = [], []
    steps = style_run.training_steps(accelerator, trainee, settings, {})
    for _ in range(settings.steps):
        begun, begun_cpu = time.perf_counter(), time.process_time()
        next(steps)
        if options.device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
        cpu.append(time.process_time() - begun_cpu)
    peak = torch.cuda.max_memory_allocated() if options.device == "cuda" else peak_memory()["peak"]
    trainee.write(settings.out / method.file, {})
    return {
        "method": options.method,
        "precision": precision,
        "parameters": sum(p.numel() for p in loop.trained(trainee.model)),
        "seconds": seconds[WARM_UP:],
        "cpu": cpu[WARM_UP:],
        "peak": peak,
        "bytes": (settings.out / method.file).stat().st_size,
    }


def work(connection: Connection, options: Options) -> None:
    """A process of its own, so that its memory goes with it."""
    torch.set_num_threads(options.threads)
    os.environ["STYLEKIT_CACHE"] = str(Path(options.work) / "cache")
    try:
        connection.send(measure(options))
    except StyleError as error:
        connection.send({"error": str(error)})


def report(results: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> str:
    """The figures as Markdown."""
    lines = [
        f"{facts['base']}, {facts['resolution']} px, {facts['batch']} samples a step (DreamBooth: and as many class pictures), "
        f"median of {facts['steps']} steps after {WARM_UP}; {facts['machine']}, {facts['threads']} thread(s), torch {facts['torch']}.",
        "",
        "| what | parameters trained | file | seconds a step (CPU seconds) | peak memory |",
        "|---|---|---|---|---|",
    ]
    for result in results:
        seconds, cpu = statistics.median(result["seconds"]), statistics.median(result["cpu"])
        lines.append(
            f"| {METHODS[result['method']]} ({result['precision']}) | {result['parameters']:,} | {result['bytes'] / 1e6:.1f} MB "
            f"| {seconds:.2f} ({cpu:.2f}) | {result['peak'] / 1e9:.2f} GB |"
        )
    return "\n".join([*lines, ""])


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--base", choices=(POCKET, *WIDTHS), default=POCKET)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["lora", "default", "all"])
    parser.add_argument("--resolution", type=int, default=256, metavar="PX")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, choices=range(1, 1001), default=5, metavar="N")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precision", choices=("auto", "no", "bf16", "fp16"), default="auto")
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--out", type=Path, metavar="STEM", help="keep STEM.json and STEM.md")
    args = parser.parse_args(argv)
    facts = {key: getattr(args, key) for key in ("base", "resolution", "batch", "steps", "threads", "device")}
    facts |= {"machine": torch.cuda.get_device_name() if args.device == "cuda" else f"{os.cpu_count()} CPU cores"}
    facts |= {"torch": torch.__version__, "load average": os.getloadavg()}
    context = multiprocessing.get_context("spawn")
    results = []
    with tempfile.TemporaryDirectory() as folder:
        base = args.base
        if base != POCKET:
            saving = context.Process(target=save_model, args=(Path(folder) / "base", WIDTHS[base]))
            saving.start()
            saving.join()
            base = str(Path(folder) / "base")
        for method in args.methods:
            own = Path(folder) / method
            own.mkdir()
            options = Options(
                method=method,
                base=base,
                work=str(own),
                resolution=args.resolution,
                batch=args.batch,
                steps=args.steps,
                device=args.device,
                threads=args.threads,
                precision=args.precision,
                checkpointing=args.gradient_checkpointing,
            )
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=work, args=(theirs, options))
            process.start()
            theirs.close()
            try:
                result = ours.recv()
            except EOFError:
                result = {"error": f"{METHODS[method]} did not get through (exit code {process.exitcode}): it may need more memory."}
            process.join()
            if "error" in result:
                print(f"dreambooth_cost: {result['error']}", file=sys.stderr)
                return 2
            results.append(result)
            if args.out:  # after every method: they take long
                args.out.with_suffix(".json").write_text(json.dumps({**facts, "results": results}, indent=1) + "\n")
                args.out.with_suffix(".md").write_text(report(results, facts))
    print(report(results, facts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
