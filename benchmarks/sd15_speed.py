"""Whole pictures on Stable Diffusion 1.5: stock diffusers and stylekit in turn, seconds, their ratio, peak memory. Printed, never asserted.

    python benchmarks/sd15_speed.py
    python benchmarks/sd15_speed.py --width reduced --size 128 --rounds 1

Stock is StableDiffusionImg2ImgPipeline as its users run it on a CPU: float32, 20 steps at strength 0.6, guidance 7.5. Every engine is a
process of its own, loaded before the first second counts; in every round each makes one picture, so that load from elsewhere falls on
all. The weights are random, at Stable Diffusion 1.5's exact classes and shapes: times and memory do not depend on them, pictures do.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

PROMPT, NEGATIVE, GUIDANCE, STEPS, STRENGTH = "a cat", "a", 7.5, 20, 0.6
STOCK = "diffusers, float32, 20 steps"
ACCELERATOR = "few"  # of the same modules as LCM-LoRA, rank 64


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way of stylekit's to a picture."""

    label: str
    steps: int
    words: bool
    sampler: str = "ddim"
    accelerator: bool = False
    tiny: bool = False

    @property
    def passes(self) -> int:
        return self.steps * (2 if self.words and not self.accelerator else 1)


WAYS = (
    Way(label="ddim, words, 12 steps", steps=12, words=True),
    Way(label="dpm++, words, 6 steps", steps=6, words=True, sampler="dpm++"),
    Way(label="dpm++, words, 4 steps, tiny decoder", steps=4, words=True, sampler="dpm++", tiny=True),
    Way(label="accelerator, words, 4 steps", steps=4, words=True, accelerator=True),
    Way(label="accelerator, words, 4 steps, tiny decoder", steps=4, words=True, accelerator=True, tiny=True),
)


def prepare(folder: Path, width: str) -> None:
    """The random base, small autoencoder and accelerator, unless they are there."""
    import torch
    from diffusers import AutoencoderTiny, UNet2DConditionModel
    from safetensors.torch import save_file

    from benchmarks.sd15_models import WIDTHS, save_model

    base = folder / width
    if not base.is_dir():
        print(f"writing a random model to {base}", file=sys.stderr)
        base.mkdir(parents=True)
        save_model(base, WIDTHS[width])
    AutoencoderTiny().save_pretrained(folder / "tiny")
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(base / "unet"))
    generator, tensors = torch.Generator().manual_seed(0), {}
    for name, layer in unet.named_modules():
        if isinstance(layer, (torch.nn.Linear, torch.nn.Conv2d)) and "conv_in" not in name and "conv_out" not in name:
            rows, *rest = layer.weight.shape
            rank = min(64, rows, rest[0])
            key = f"unet.{name}"
            tensors[f"{key}.lora_A.weight"] = 0.01 * torch.randn(rank, *rest, generator=generator)
            tensors[f"{key}.lora_B.weight"] = 0.01 * torch.randn(rows, rank, *[1] * (len(rest) - 1), generator=generator)
    save_file(tensors, folder / f"{ACCELERATOR}-{width}.safetensors")


def photo(size: int) -> Any:
    from PIL import Image

    return Image.open(ROOT / "assets" / "photos" / "astronaut.jpg").convert("RGB").resize((size, size))


def stock(folder: Path, width: str, size: int) -> Any:
    """A function that makes a picture."""
    import torch
    from diffusers import StableDiffusionImg2ImgPipeline

    pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(folder / width, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    picture = photo(size)
    settings = {"strength": STRENGTH, "num_inference_steps": STEPS, "guidance_scale": GUIDANCE}
    return lambda: pipeline(PROMPT, picture, negative_prompt=NEGATIVE, generator=torch.Generator().manual_seed(0), **settings)


def ours(folder: Path, width: str, size: int, way: Way, precision: str) -> Any:
    import torch

    from stylekit.adapters.lora_file import read_lora
    from stylekit.base import Base
    from stylekit.conditioning.words import Words
    from stylekit.inference.accelerator import Accelerator
    from stylekit.mix import StyleMix
    from stylekit.recipe import Recipe
    from stylekit.styles import PROMPT as KIND
    from stylekit.styles import Adapter, Style, StyleLibrary
    from stylekit.stylizer import Stylizer

    dtype = {"auto": None, "bf16": torch.bfloat16, "float32": torch.float32}[precision]
    base = Base.open(str(folder / width), device="cpu", dtype=dtype, tiny=str(folder / "tiny") if way.tiny else None)
    accelerator = None
    if way.accelerator:
        lora = read_lora(folder / f"{ACCELERATOR}-{width}.safetensors", ACCELERATOR)
        accelerator = Accelerator(source=ACCELERATOR, lora=lora)
    words = Words(positive=PROMPT, negative=NEGATIVE, guidance=GUIDANCE)
    card = Adapter(base=base.name, kind=KIND, path=Path("style.toml"), made="", data="", license="", words=words)
    style = Style(name="words", title="Words", blurb="", period="", license="", adapters=(card,))
    stylizer = Stylizer(base, StyleLibrary(styles=(style,)), accelerator=accelerator)
    recipe = Recipe(
        mix=StyleMix.of("words"),
        base=base.name,
        strength=STRENGTH / 0.75,  # the dial goes to timestep 750
        size=size,
        num_inference_steps=way.steps,
        sampler=None if way.accelerator else way.sampler,
        tiny_decoder=way.tiny,
    )
    picture = photo(size)
    return lambda: stylizer.stylize(picture, recipe)


def serve(make: Any) -> None:
    """Answer every line with the seconds that a picture took, and the peak of this process's memory in GB."""
    print("ready", flush=True)
    for _ in sys.stdin:
        began, cpu = time.perf_counter(), time.process_time()
        make()
        values = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu, "memory": peak_memory()}
        print(json.dumps(values), flush=True)


def peak_memory() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


class Engine:
    """A process that makes pictures when asked. number: of its way, None for stock."""

    def __init__(self, args: argparse.Namespace, number: int | None) -> None:
        command = [sys.executable, __file__, "--serve", "stock" if number is None else str(number)]
        command += ["--folder", str(args.folder), "--width", args.width, "--size", str(args.size)]
        command += ["--precision", args.precision]
        self.label = STOCK if number is None else WAYS[number].label
        self.passes = 2 * int(STEPS * STRENGTH) if number is None else WAYS[number].passes
        self.answers: list[dict[str, float]] = []
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ)
        self._read("ready")

    def picture(self) -> dict[str, float]:
        assert self.process.stdin
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        answer = json.loads(self._read("{"))
        self.answers.append(answer)
        return answer

    def _read(self, begins: str) -> str:
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith(begins):
                return line
        raise SystemExit(f"{self.label} ended")

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def table(stock_engine: Engine, others: Sequence[Engine]) -> str:
    """stock_engine: whom the others are compared with."""
    lines = [
        f"| | passes | seconds a picture | times {stock_engine.label}, of medians | the same by CPU seconds | peak memory, GB |",
        "|---|---|---|---|---|---|",
    ]
    median = {engine.label: statistics.median(a["seconds"] for a in engine.answers) for engine in (stock_engine, *others)}
    cpu = {engine.label: statistics.median(a["cpu"] for a in engine.answers) for engine in (stock_engine, *others)}
    for engine in (stock_engine, *others):
        seconds = ", ".join(f"{a['seconds']:.1f}" for a in engine.answers)
        memory = max(a["memory"] for a in engine.answers)
        by_wall, by_cpu = (values[stock_engine.label] / values[engine.label] for values in (median, cpu))
        lines.append(f"| {engine.label} | {engine.passes} | {seconds} | {by_wall:.1f} | {by_cpu:.1f} | {memory:.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--width", choices=("full", "reduced"), default="full")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", type=int, nargs="*", default=list(range(len(WAYS))), help="numbers of stylekit's ways; all of them")
    parser.add_argument("--warm", action=argparse.BooleanOptionalAction, default=True, help="a picture of each first, not counted")
    parser.add_argument(
        "--precision", choices=("auto", "bf16", "float32"), default="auto", help="of stylekit's weights; auto is its own choice"
    )
    parser.add_argument(
        "--stock", action=argparse.BooleanOptionalAction, default=True, help="diffusers too; else all are beside the first way"
    )
    parser.add_argument("--folder", type=Path, help="where the random model is kept; by default nowhere")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(
            stock(args.folder, args.width, args.size)
            if args.serve == "stock"
            else ours(args.folder, args.width, args.size, WAYS[int(args.serve)], args.precision)
        )
        return
    import diffusers
    import torch

    with tempfile.TemporaryDirectory(prefix="sd15-speed-") as temporary:
        args.folder = args.folder or Path(temporary)
        os.environ.setdefault("STYLEKIT_CACHE", temporary)
        prepare(args.folder, args.width)
        engines = [Engine(args, number) for number in (*([None] if args.stock else []), *args.ways)]
        try:
            for number in range(args.rounds + args.warm):
                for engine in engines:
                    answer = engine.picture()
                    print(f"round {number}: {engine.label}: {answer['seconds']:.1f} s", file=sys.stderr)
                    if number < args.warm:
                        engine.answers.clear()
        finally:
            for engine in engines:
                engine.close()
    versions = f"torch {torch.__version__}, diffusers {diffusers.__version__}"
    print(f"{args.width} width, {args.size} px; {platform.machine()}, {torch.get_num_threads()} thread(s), {versions}.\n")
    print(table(engines[0], engines[1:]))


if __name__ == "__main__":
    main()
