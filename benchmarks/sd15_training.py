"""LoRA training on Stable Diffusion 1.5's shapes: this project's trainer beside the settings of diffusers' own example script.

    python benchmarks/sd15_training.py --width full --resolution 256 --steps 5 --out docs/sd15

A model of Stable Diffusion 1.5's classes and blocks is made of random weights, saved, and trained from that folder by two processes: one
runs `training.train_lora`'s steps on cached latents and prompt embeddings, the other the steps of diffusers' `train_text_to_image_lora.py`
(encode the pictures, encode the captions, UNet forward and backward; AdamW, rank 4 on the attention layers, no gradient checkpointing). The
two take turns, step by step, so that whatever else the machine does hits both alike. Prints a Markdown report; ``--out`` keeps it, and
the numbers as JSON.

Nothing here says anything about quality: the weights are random. Times, memory and sizes do not depend on the weights.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from diffusers import AutoencoderKL, UNet2DConditionModel  # noqa: E402
from transformers import CLIPTextModel, CLIPTokenizer  # noqa: E402

from benchmarks.sd15_models import WIDTHS, save_model  # noqa: E402
from stylekit.errors import StyleError  # noqa: E402

PHOTOS = ROOT / "assets" / "photos"
RANK = 4
LEARNING_RATE = 1e-4
CAPTION = "a cat"
WARM_UP = 1  # steps that are not counted


@dataclass(frozen=True, kw_only=True)
class Options:
    """What one process is to do."""

    model: str
    work: str
    resolution: int
    batch: int
    steps: int
    device: str
    threads: int
    precision: str


@dataclass(frozen=True, kw_only=True)
class Side:
    """A trainer that is ready: takes a step and gives its loss, and saves its adapter."""

    step: Callable[[], float]
    save: Callable[[], Path]
    parameters: int
    prepared: float  # seconds spent once on caches


def our_side(options: Options) -> Side:
    """`training.train_lora` on pictures of a style, up to the point where its steps begin."""
    from stylekit.adapters import lora_file
    from training.loop import loop
    from training.objective.perceptual import PerceptualLosses
    from training.style import lora, style_run
    from training.style.lora_settings import LoraTraining
    from training.style.training_set import gather

    work = Path(options.work)
    settings = LoraTraining(
        style="benchmark",
        base=options.model,
        style_pictures=PHOTOS,
        out=work / "out",
        work=work,
        resolution=options.resolution,
        batch=options.batch,
        steps=options.steps,
        lr=LEARNING_RATE,
        rank=RANK,
        precision=options.precision,
        device="auto" if options.device == "cuda" else options.device,
        views=1,
        held_out=0,
        caption_dropout=0.0,
        save_every=options.steps + 1,
        track="none",
    )
    accelerator = loop.open_accelerator(settings, work)
    precision = loop.precision_of(settings, accelerator.device)
    base = style_run.open_base(settings, accelerator.device, precision)
    begun = time.perf_counter()
    training_set = gather(base, settings, "benchmark", _quiet)
    prepared = time.perf_counter() - begun
    trainee = lora.prepare(base, settings, training_set, PerceptualLosses(), precision)
    average = loop.make_average(base.unet, settings)
    steps = style_run.training_steps(accelerator, trainee, settings, {}, average)
    return Side(
        step=lambda: next(steps).loss,
        save=lambda: lora_file.write_lora(base.unet, settings.style, settings.out / lora_file.WEIGHTS_FILE),
        parameters=sum(p.numel() for p in loop.trained(base.unet)),
        prepared=prepared,
    )


def their_side(options: Options) -> Side:
    """The steps of diffusers' example, whose defaults these are, on pixels that are decoded and cropped already."""
    from diffusers import DDPMScheduler, StableDiffusionPipeline
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict
    from PIL import Image, ImageOps
    from torch.nn import functional as F

    from stylekit.images import to_tensor

    device, half = options.device, options.precision == "bf16"
    kind = torch.bfloat16 if half else torch.float32
    model = Path(options.model)
    noise_scheduler = DDPMScheduler.from_pretrained(model / "scheduler")
    tokenizer = CLIPTokenizer.from_pretrained(model / "tokenizer")
    text_encoder = CLIPTextModel.from_pretrained(model / "text_encoder").requires_grad_(False).to(device, kind)
    vae = AutoencoderKL.from_pretrained(model / "vae").requires_grad_(False).to(device, kind)
    unet = UNet2DConditionModel.from_pretrained(model / "unet").requires_grad_(False).to(device, kind)
    targets = ["to_k", "to_q", "to_v", "to_out.0"]
    unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, init_lora_weights="gaussian", target_modules=targets))
    unet.train()
    parameters = [p for p in unet.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, betas=(0.9, 0.999), weight_decay=1e-2, eps=1e-8)
    photos = [Image.open(path).convert("RGB") for path in sorted(PHOTOS.glob("*.jpg"))]
    pixels = torch.cat([to_tensor(ImageOps.fit(photo, (options.resolution, options.resolution))) for photo in photos])
    words = tokenizer(CAPTION, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt").input_ids

    def step() -> float:
        batch = pixels[torch.randint(len(pixels), (options.batch,))].to(device, kind)
        latents = vae.encode(batch).latent_dist.sample() * vae.config.scaling_factor
        noise = torch.randn_like(latents)
        timesteps = torch.randint(0, noise_scheduler.config.num_train_timesteps, (options.batch,), device=device)
        noisy = noise_scheduler.add_noise(latents, noise, timesteps)
        embeds = text_encoder(words.repeat(options.batch, 1).to(device), return_dict=False)[0]
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=half):
            prediction = unet(noisy, timesteps, embeds, return_dict=False)[0]
        loss = F.mse_loss(prediction.float(), noise.float())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    def save() -> Path:
        layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(unet.to(torch.float32)))
        StableDiffusionPipeline.save_lora_weights(options.work, unet_lora_layers=layers)
        return Path(options.work) / "pytorch_lora_weights.safetensors"

    return Side(step=step, save=save, parameters=sum(p.numel() for p in parameters), prepared=0.0)


SIDES = {"stylekit": our_side, "diffusers": their_side}


def work(connection: Connection, name: str, options: Options) -> None:
    """A process: makes itself ready, takes a step whenever told, and at the end saves and reports."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    os.environ["STYLEKIT_CACHE"] = str(Path(options.work) / "cache")
    try:
        side = SIDES[name](options)
    except StyleError as error:
        connection.send({"error": str(error)})
        return
    connection.send({"parameters": side.parameters, "prepared": side.prepared})
    while connection.recv():
        wall, cpu = time.perf_counter(), time.process_time()
        loss = side.step()
        if options.device == "cuda":
            torch.cuda.synchronize()
        connection.send({"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "loss": loss})
    memory = {"peak": torch.cuda.max_memory_allocated(), "mapped": 0} if options.device == "cuda" else peak_memory()
    connection.send({**memory, "bytes": side.save().stat().st_size})


def compare(model: Path, precisions: tuple[str, str], args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Steps of both sides in turn, at these precisions of ours and of theirs: side -> its figures."""
    context = multiprocessing.get_context("spawn")
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        links: dict[str, Connection] = {}
        processes = []
        for name, precision in zip(SIDES, precisions, strict=True):
            own = Path(folder) / name
            own.mkdir()
            options = Options(
                model=str(model),
                work=str(own),
                resolution=args.resolution,
                batch=args.batch,
                steps=args.steps + WARM_UP,
                device=args.device,
                threads=args.threads,
                precision=precision,
            )
            links[name], theirs = context.Pipe()
            process = context.Process(target=work, args=(theirs, name, options), daemon=True)
            process.start()
            theirs.close()
            processes.append(process)
            found[name] = {"precision": precision, **links[name].recv(), "steps": []}
            if "error" in found[name]:
                raise StyleError(found[name]["error"])
        for i in range(args.steps + WARM_UP):
            for name, link in links.items():
                link.send(True)
                done = link.recv()
                text = f"{done['seconds']:.2f} s, {done['cpu']:.2f} s of CPU, loss {done['loss']:.3f}"
                print(f"{name} {precisions} step {i + 1}: {text}", file=sys.stderr, flush=True)
                if i >= WARM_UP:
                    found[name]["steps"].append(done)
        for name, link in links.items():
            link.send(False)
            found[name] |= link.recv()
        for process in processes:
            process.join()
    return found


def report(results: Sequence[Mapping[str, Mapping[str, Any]]], facts: Mapping[str, Any]) -> str:
    """The figures as Markdown."""
    lines = [
        f"{facts['width']} width, {facts['resolution']} px, batch {facts['batch']}, rank {RANK} on the attention layers, "
        f"{facts['steps']} steps of each after {WARM_UP} not counted; {facts['machine']}, {facts['threads']} thread(s), "
        f"torch {facts['torch']}, diffusers {facts['diffusers']}.",
        "",
        "| trainer | precision | seconds a step: median (all) | CPU seconds | peak memory (mapped files) | parameters | adapter on disk |",
        "|---|---|---|---|---|---|---|",
    ]
    ratios = []
    for result in results:
        for name, side in result.items():
            seconds = [step["seconds"] for step in side["steps"]]
            cpu = statistics.median(step["cpu"] for step in side["steps"])
            lines.append(
                f"| {name} | {side['precision']} | {statistics.median(seconds):.2f} ({', '.join(f'{s:.2f}' for s in seconds)}) | {cpu:.2f} "
                f"| {side['peak'] / 1e9:.1f} GB ({side['mapped'] / 1e9:.1f}) | {side['parameters']:,} | {side['bytes'] / 1e6:.2f} MB |"
            )
        ours, theirs = result["stylekit"], result["diffusers"]
        ratios.append(
            f"- {ours['precision']} beside {theirs['precision']}: {_ratio(result, 'seconds'):.2f} x the steps per second "
            f"(by CPU seconds {_ratio(result, 'cpu'):.2f} x); once before the first step {ours['prepared']:.1f} s for the caches."
        )
    return "\n".join([*lines, "", *ratios, ""])


def peak_memory() -> dict[str, int]:
    """Bytes: peak, which this process has held at most; mapped, the part held now that is files, which the system may drop at any time."""
    try:
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        # VmHWM is of this program alone; ru_maxrss remembers what the process was before it
        return {name: int(status[key].split()[0]) * 1024 for name, key in (("peak", "VmHWM"), ("mapped", "RssFile"))}
    except (OSError, KeyError):
        unit = 1 if sys.platform == "darwin" else 1024
        return {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, "mapped": 0}


def _ratio(result: Mapping[str, Mapping[str, Any]], what: str) -> float:
    """Median over the turns of theirs by ours."""
    return statistics.median(
        theirs[what] / ours[what] for ours, theirs in zip(result["stylekit"]["steps"], result["diffusers"]["steps"], strict=True)
    )


def _machine() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"{os.cpu_count()} x {line.partition(':')[2].strip()}"
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _quiet(_: str) -> None:
    """The trainer's remarks on the data say nothing here."""


def main(argv: Sequence[str] | None = None) -> int:
    import diffusers

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--width", choices=WIDTHS, default="full")
    parser.add_argument("--resolution", type=int, default=512, metavar="PX")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, choices=range(1, 1001), default=5, metavar="N")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    pairs = [f"{ours}:{theirs}" for ours in ("no", "bf16", "auto") for theirs in ("no", "bf16")]
    parser.add_argument("--precisions", nargs="+", choices=pairs, default=["no:no", "auto:no"], help="OURS:THEIRS, one comparison each")
    parser.add_argument("--out", type=Path, metavar="STEM", help="keep STEM.json and STEM.md")
    args = parser.parse_args(argv)
    facts = {
        **{key: getattr(args, key) for key in ("width", "resolution", "batch", "steps", "threads", "device")},
        "machine": torch.cuda.get_device_name() if args.device == "cuda" else _machine(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "load average": os.getloadavg(),
    }
    with tempfile.TemporaryDirectory() as folder:
        saving = multiprocessing.get_context("spawn").Process(target=save_model, args=(Path(folder), WIDTHS[args.width]))
        saving.start()  # in a process of its own, so that its memory goes with it
        saving.join()
        if saving.exitcode:
            return saving.exitcode
        results = []
        for pair in args.precisions:
            ours, theirs = pair.split(":")
            try:
                results.append(compare(Path(folder), (ours, theirs), args))
            except StyleError as error:
                print(f"sd15_training: {error}", file=sys.stderr)
                return 2
            if args.out:  # after every comparison: they take long
                args.out.with_suffix(".json").write_text(json.dumps({**facts, "results": results}, indent=1) + "\n")
                args.out.with_suffix(".md").write_text(report(results, facts))
    print(report(results, facts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
