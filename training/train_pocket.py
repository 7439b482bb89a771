"""Train the pocket base: `autoencoder`, then `unet`, then `export` to assets/pocket in diffusers layout.

    python -m training.train_pocket autoencoder --photos DIR --split FILE --art DIR... --work runs/pocket
    python -m training.train_pocket unet        --photos DIR --split FILE --art DIR... --work runs/pocket
    python -m training.train_pocket export      --work runs/pocket --out assets/pocket

The denoiser predicts the clean latents themselves (`prediction_type="sample"`): with a v- or noise-target the step from a photo at low
noise to a drawing would need a huge output. An interrupted `unet` goes on from --work; `autoencoder` starts anew.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers import AutoencoderDC, DDIMScheduler
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from tqdm import tqdm

from stylekit import images
from stylekit.base import cpu_has_bfloat16
from stylekit.errors import StyleError
from stylekit.features import VGGFeatures, load_vgg
from stylekit.pixels import srgb
from stylekit.storage import digests
from stylekit.storage.files import whole
from training.loop import caches, checkpoints, claims
from training.pictures import data
from training.pocket import autoencoder
from training.pocket.unet import PROMPT_TOKENS, PROMPT_WIDTH, build_unet
from training.style import command
from training.targets import procedural

TUNED = "tuned.safetensors"  # beside the autoencoder, with the decoder as it is by now
AUTOENCODER_CROP = 128  # pixels
LATENT_CROP = 32  # latent pixels, 256 image pixels
NUM_TRAIN_TIMESTEPS = 1000
SHARD = "9MB"  # a Space pushed by git refuses plain files over 10 MB

# What the strength dial means on this base: it restyles at low noise, so the dial is mostly the adapter's scale (stylekit.base.BaseCard).
CARD = {
    "title": "pocket",
    "license": "MIT",
    "num_inference_steps": 1,
    "dial_timestep": [[0.0, 1.0], [1.0, 8.0]],
    "dial_scale": [[0.0, 0.0], [1.0, 1.0]],
    "phases": 2,
    "renoise": True,
}


def make_scheduler() -> DDIMScheduler:
    """Stable Diffusion 1.5's noise schedule, with the clean sample as the prediction target."""
    return DDIMScheduler(
        num_train_timesteps=NUM_TRAIN_TIMESTEPS,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="sample",
    )


def load_pictures(paths: Sequence[Path], opener: Callable, sizes: Sequence[int], rng: random.Random) -> list[torch.Tensor]:
    """uint8 (3, H, W) tensors; each picture at a long side drawn from `sizes`, never enlarged."""
    pictures = []
    for path in tqdm(paths, desc="pictures", leave=False):
        picture = opener(path)
        long_side = min(max(picture.size), rng.choice(list(sizes)))
        tensor = data.to_tensor(data.scale_to(picture, long_side))
        if min(tensor.shape[1:]) >= AUTOENCODER_CROP:
            pictures.append(((tensor + 1) * 127.5).round().to(torch.uint8))
    return pictures


def autoencoder_steps(
    vae: AutoencoderDC, vgg: VGGFeatures, pictures: list[torch.Tensor], steps: int, lr: float, seed: int
) -> Iterator[tuple[int, float, float]]:
    """Fine-tune the decoder: L1 + 0.5 MSE + 0.1 perceptual on random crops. Yields (step, L1, perceptual)."""
    rng, halved = random.Random(seed), cpu_has_bfloat16()
    parameters = list(vae.decoder.parameters())
    vae.requires_grad_(False)
    vae.decoder.requires_grad_(True)
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=0.0, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min(1, (s + 1) / 50) * 0.5 * (1 + math.cos(math.pi * s / steps)) + 1e-3
    )
    for step in range(1, steps + 1):
        crops = [data.random_crop([rng.choice(pictures)], AUTOENCODER_CROP, rng)[0] for _ in range(8)]
        pixels = data.batches_of(crops) / 127.5 - 1
        with torch.no_grad():
            latents = autoencoder.project(vae, pixels)
            # the denoiser's output is never exactly a latent of a picture: teach the decoder to bear small errors
            latents = latents + torch.randn_like(latents) * 0.03 * torch.rand(len(latents), 1, 1, 1)
        with torch.autocast("cpu", torch.bfloat16, enabled=halved):
            decoded = autoencoder.decode(vae, latents.contiguous(memory_format=torch.channels_last))
        decoded = decoded.float()
        l1 = F.l1_loss(decoded, pixels)
        with torch.autocast("cpu", torch.bfloat16, enabled=halved):
            ours, theirs = vgg(decoded[:4]), vgg(pixels[:4])
        perceptual = torch.stack([F.l1_loss(ours[n].float(), theirs[n].float()) for n in ("1_2", "2_2", "3_1")]).mean()
        loss = l1 + 0.5 * F.mse_loss(decoded, pixels) + 0.1 * perceptual
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        yield step, float(l1.detach()), float(perceptual.detach())


@torch.no_grad()
def held_out_psnr(vae: AutoencoderDC, photos: Sequence[Path], long_side: int = 512) -> float:
    """Mean PSNR in dB over `photos` at `long_side` pixels."""
    values = []
    for path in photos:
        pixels = data.to_tensor(data.scale_to(images.open_picture(path), long_side))[None]
        decoded = autoencoder.decode(vae, autoencoder.encode(vae, pixels))
        values.append(autoencoder.psnr(pixels, decoded))
    return sum(values) / len(values)


def train_autoencoder(args: argparse.Namespace) -> None:
    rng = random.Random(args.seed)
    torch.manual_seed(args.seed)
    train, held_out = data.split_photos(args.photos, args.split)
    art = [path for folder in args.art for path in data.list_pictures(folder)]
    rng.shuffle(art)
    pictures = load_pictures(train, images.open_picture, (384, 512, 640), rng)
    pictures += load_pictures(art[:250], data.open_art, (384, 512, 640), rng)
    patches = []
    for picture in pictures:
        columns = autoencoder.patches_of(picture[None].float() / 127.5 - 1)[0].flatten(1).T
        patches.append(columns[torch.randperm(len(columns))[:600]])
    vae = autoencoder.build_autoencoder(*autoencoder.principal_components(torch.cat(patches)))
    vae = vae.to(memory_format=torch.channels_last)
    start = held_out_psnr(vae, held_out)
    print(f"PCA start: {start:.2f} dB on {len(held_out)} held-out photos", flush=True)
    (args.work / "vae" / TUNED).unlink(missing_ok=True)  # an earlier autoencoder's
    vae.save_pretrained(args.work / "vae")  # the latent space is fixed from here on
    vgg = load_vgg(args.backbone, last="3_1").to(memory_format=torch.channels_last)
    vgg.calibrate([p[None].float() / 127.5 - 1 for p in pictures[:20]])
    for module in vae.decoder.modules():  # wake the silent residual branches
        if type(module).__name__ == "ResBlock":
            module.norm.weight.data.fill_(0.02)
    begun = time.time()
    bar = tqdm(autoencoder_steps(vae, vgg, pictures, args.steps, args.lr, args.seed), total=args.steps)
    for step, l1, perceptual in bar:
        bar.set_postfix(l1=f"{l1:.4f}", perceptual=f"{perceptual:.3f}")
        if step % 250 == 0 or step == args.steps:
            value = held_out_psnr(vae, held_out[:20])
            print(f"step {step}: {value:.2f} dB on 20 held-out photos, {time.time() - begun:.0f} s", flush=True)
            vae.save_pretrained(args.work / "vae-part")
            os.replace(args.work / "vae-part" / "diffusion_pytorch_model.safetensors", args.work / "vae" / TUNED)
    final = held_out_psnr(vae, held_out)
    print(f"tuned: {final:.2f} dB on {len(held_out)} held-out photos", flush=True)
    (args.work / "autoencoder.json").write_text(
        json.dumps({"psnr_pca_db": round(start, 2), "psnr_db": round(final, 2), "steps": args.steps})
    )


def open_autoencoder(work: Path) -> AutoencoderDC:
    """The one of the stage `autoencoder`, its decoder as it was before tuning."""
    if not (work / "vae" / "config.json").is_file():
        raise StyleError(f"{work} holds no autoencoder: run the stage autoencoder first, or name its --work folder.")
    return AutoencoderDC.from_pretrained(work / "vae").eval()


def load_latents(vae: AutoencoderDC, args: argparse.Namespace) -> dict[str, list[torch.Tensor]]:
    """fp16 latents (32, h, w) of the training pictures in three pools: photos, art, and photos stylised by procedure. Made once."""
    photos, _ = data.split_photos(args.photos, args.split)
    art = [p for folder in args.art for p in data.list_pictures(folder)]
    if not photos:
        raise StyleError(f"{args.photos} holds no training photos: name a folder of the photos in {args.split}.")
    code = digests.of_code(images, srgb, data, procedural, autoencoder, _encode)
    facts = (code, digests.of_weights(vae.encoder), caches.file_facts(photos), caches.file_facts(art), args.seed, LATENT_CROP)
    path = args.work / f"latents-{digests.of_values(facts)}.pt"
    return caches.kept(path, lambda: _encode(vae, photos, art, random.Random(args.seed)))


def _encode(vae: AutoencoderDC, photos: Sequence[Path], art: Sequence[Path], rng: random.Random) -> dict[str, list[torch.Tensor]]:
    pools: dict[str, list[torch.Tensor]] = {"photos": [], "art": [], "stylised": []}

    def add(pool: str, picture, long_side: int) -> None:
        phase = rng.randrange(8), rng.randrange(8)
        picture = picture.crop((phase[0], phase[1], picture.width, picture.height))
        pixels = data.to_tensor(data.scale_to(picture, long_side))[None]
        if min(pixels.shape[2:]) >= LATENT_CROP * 8:
            with torch.no_grad():
                pools[pool].append(autoencoder.project(vae, pixels)[0].half().clone())

    for photo in tqdm(photos, desc="photo latents"):
        picture = images.open_picture(photo)
        for long_side in (400, 512, 640):
            add("photos", picture, long_side)
        small = data.scale_to(picture, 512)
        for procedure in procedural.PROCEDURES.values():
            add("stylised", Image.fromarray(procedure(np.asarray(small))), 512)
    for work in tqdm(art, desc="art latents"):
        picture = data.open_art(work)
        for long_side in (rng.choice((320, 400)), rng.choice((512, 640))):
            add("art", picture, min(long_side, 2 * max(picture.size)))
    return pools


def draw_timesteps(count: int, generator: torch.Generator) -> torch.Tensor:
    """Half from 0..80, where a photo enters the denoiser; the rest over the whole schedule."""
    u, v = torch.rand(2, count, generator=generator)
    low, middle, high = v * 80, 50 + v * 450, 500 + v * 450
    return torch.where(u < 0.5, low, torch.where(u < 0.88, middle, high)).long()


def linear_error(variance: torch.Tensor, alphas_cumprod: torch.Tensor) -> torch.Tensor:
    """(T,) mean squared error of the best per-channel linear denoiser for Gaussian latents of `variance` (C,)."""
    signal, noise = alphas_cumprod[:, None], 1 - alphas_cumprod[:, None]
    return (variance * noise / (signal * variance + noise)).mean(1)


def train_unet(args: argparse.Namespace) -> None:
    rng, halved = random.Random(args.seed), cpu_has_bfloat16()
    generator = torch.Generator().manual_seed(args.seed)
    vae = open_autoencoder(args.work)
    pools = load_latents(vae, args)
    identity = {"data": digests.of_values(pools), "seed": str(args.seed), "lr": str(args.lr), "batch": str(args.batch)}
    print({name: len(pool) for name, pool in pools.items()}, flush=True)
    sample = torch.cat([z.float().flatten(1)[:, ::37] for z in pools["photos"][::5]], 1)
    variance = sample.var(1)
    scheduler = make_scheduler()
    alphas = scheduler.alphas_cumprod
    weight = 1 / (linear_error(variance, alphas) + 0.02)
    unet = build_unet(args.seed).to(memory_format=torch.channels_last)
    prompt = torch.nn.Parameter(torch.randn(PROMPT_TOKENS, PROMPT_WIDTH, generator=generator) * 0.5)
    parameters = [*unet.parameters(), prompt]
    ema = [p.detach().clone() for p in parameters]
    optimizer = torch.optim.AdamW(parameters, lr=args.lr, betas=(0.9, 0.99), weight_decay=0.0)
    start, path = 0, args.work / "unet.pt"
    state = checkpoints.read(path, identity)
    if state:
        start = state["step"]
        for p, value in zip(parameters, state["parameters"], strict=True):
            p.data.copy_(value)
        ema = state["ema"]
        optimizer.load_state_dict(state["optimizer"])
        generator.set_state(state["generator"])
        rng.setstate(state["rng"])
        print(f"resumed at step {start}", flush=True)
    run = torch.compile(unet) if args.compile else unet
    names, shares = ("photos", "art", "stylised"), (0.5, 0.2, 0.3)
    bar = tqdm(range(start + 1, args.steps + 1), initial=start, total=args.steps, mininterval=5)
    error: dict[str, float] = {}
    for step in bar:
        rate = args.lr * min(1.0, step / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / args.steps)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        crops = [
            data.random_crop([rng.choice(pools[rng.choices(names, shares)[0]])], LATENT_CROP, rng, flip=False)[0] for _ in range(args.batch)
        ]
        clean = data.batches_of(crops)
        timesteps = draw_timesteps(args.batch, generator)
        noise = torch.randn(clean.shape, generator=generator)
        noisy = scheduler.add_noise(clean, noise, timesteps).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=halved):
            predicted = run(noisy, timesteps, prompt.expand(args.batch, -1, -1)).sample
        each = (predicted.float() - clean).pow(2).mean((1, 2, 3))
        loss = (each * weight[timesteps]).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        decay = min(0.999, (1 + step) / (20 + step))
        with torch.no_grad():
            torch._foreach_lerp_(ema, [p.detach() for p in parameters], 1 - decay)
        for t, value in zip(timesteps.tolist(), each.tolist(), strict=True):
            band = "<80" if t < 80 else "<250" if t < 250 else "<500" if t < 500 else "<950"
            error[band] = 0.98 * error.get(band, value) + 0.02 * value
        if step % 100 == 0:
            print(f"step {step} " + " ".join(f"{b}: {e:.4f}" for b, e in sorted(error.items())), flush=True)
        if step % 500 == 0 or step == args.steps:
            with whole(path) as part:
                state = {
                    "step": step,
                    "identity": identity,
                    "parameters": [p.detach() for p in parameters],
                    "ema": ema,
                    "optimizer": optimizer.state_dict(),
                    "generator": generator.get_state(),
                    "rng": rng.getstate(),
                }
                torch.save(state, part)


def export(args: argparse.Namespace) -> None:
    """Write the averaged weights as fp16 safetensors, sharded below `SHARD`, with scheduler and prompt embedding."""
    vae = open_autoencoder(args.work)
    tuned = args.work / "vae" / TUNED
    if tuned.exists():
        vae.load_state_dict(load_file(tuned))
    state = checkpoints.read(args.work / "unet.pt", None)
    if state is None:
        raise StyleError(f"{args.work} holds no trained denoiser: run the stage unet first, or name its --work folder.")
    unet = build_unet()
    with torch.no_grad():
        for p, average in zip([*unet.parameters()], state["ema"][:-1], strict=True):
            p.copy_(average)
    out = args.out
    unet.half().save_pretrained(out / "unet", max_shard_size=SHARD)
    vae.half().save_pretrained(out / "vae", max_shard_size=SHARD)
    make_scheduler().save_pretrained(out / "scheduler")
    for path in out.glob("*/*config.json"):  # diffusers notes where a model was loaded from: nobody's business
        config = {key: value for key, value in json.loads(path.read_text()).items() if key != "_name_or_path"}
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    save_file({"prompt_embeds": state["ema"][-1].half().contiguous()}, out / "prompt_embeds.safetensors")
    index = {
        "_class_name": "StableDiffusionImg2ImgPipeline",
        "_diffusers_version": diffusers.__version__,
        "scheduler": ["diffusers", "DDIMScheduler"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderDC"],
        "text_encoder": [None, None],
        "tokenizer": [None, None],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
    }
    (out / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
    if args.split:
        ids = data.held_out_ids(args.split)
        (out / "held_out.txt").write_text("\n".join(str(i) for i in ids) + "\n")
    (out / "stylekit.json").write_text(json.dumps(CARD, indent=2) + "\n")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.train_pocket", description=(__doc__ or "").splitlines()[0])
    stages = parser.add_subparsers(dest="stage", required=True)
    for name, run, steps, lr in (("autoencoder", train_autoencoder, 1500, 4e-4), ("unet", train_unet, 8000, 6e-4)):
        stage = stages.add_parser(name)
        stage.set_defaults(run=run)
        stage.add_argument("--photos", type=Path, required=True, help="folder of content photos")
        stage.add_argument("--split", type=Path, required=True, help="table file, coco_id, split: names the held-out photos")
        stage.add_argument("--art", type=Path, nargs="+", required=True, help="folders of public-domain art")
        stage.add_argument("--work", type=Path, default=Path("runs/pocket"), help="checkpoints; a rerun resumes here")
        stage.add_argument("--steps", type=int, default=steps)
        stage.add_argument("--lr", type=float, default=lr)
        stage.add_argument("--seed", type=int, default=0)
        stage.add_argument("--threads", type=int, default=torch.get_num_threads())
    stages.choices["autoencoder"].add_argument("--backbone", default="hed", choices=("hed", "vgg16", "random"))
    stages.choices["unet"].add_argument("--batch", type=int, default=4)
    stages.choices["unet"].add_argument("--compile", action="store_true", help="compile the denoiser (needs a C++ compiler)")
    stage = stages.add_parser("export")
    stage.set_defaults(run=export)
    stage.add_argument("--work", type=Path, default=Path("runs/pocket"))
    stage.add_argument("--out", type=Path, default=Path("assets/pocket"))
    stage.add_argument("--split", type=Path, help="write the ids of the held-out photos beside the weights")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    if "threads" in args:
        torch.set_num_threads(args.threads)

    def run() -> None:
        with claims.claimed({"work": args.work} | ({"out": args.out} if "out" in args else {})):
            args.run(args)

    return command.run_script("train_pocket", run)


if __name__ == "__main__":
    sys.exit(main())
