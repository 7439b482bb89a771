r"""Train a LoRA style adapter on any base in Stable Diffusion 1.x layout. Which of three ways follows from what is given:

    style      pictures of the style alone     --style-pictures DIR, or --dataset OWNER/NAME
    pairs      photos and their targets        --photos DIR --targets DIR, or --dataset with --target-column
    transfer   photos and style pictures       --photos DIR --style-pictures DIR

    python -m training.train_lora --config training/configs/sd15/monet.yaml --style-pictures DIR --out styles/monet/sd15
    accelerate launch --multi_gpu --num_processes 2 -m training.train_lora ...    (on CPUs: torchrun --nproc_per_node 2 -m ...)

On the pocket base pictures of a style come with the photos of this repository, unless --photos says otherwise (none, for denoising alone).

The loss is a weighted sum, whose every term is logged:

    l2 * error + perceptual * LPIPS + style_weight * Gram + contrast * local spread

where `error` is that of the latents, or for style pictures alone that of what the base predicts (see `training.objectives`). Interrupt it
when you like: the same command goes on from the last checkpoint.
"""

from __future__ import annotations

import dataclasses
import errno
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from peft import LoraConfig, inject_adapter_in_model
from PIL import Image
from torch import nn
from tqdm import tqdm

from stylekit import adapters
from stylekit.base import Base
from stylekit.errors import SettingError, StyleError
from stylekit.images import GRID
from training import checkpoints, config, data, loop, objectives, pictures, records, tracking
from training.brushwork import PAINTERS
from training.critic import Critic, load_critic
from training.lora_settings import LoraTraining, defaults
from training.material import Material, gather
from training.pairs import PROCEDURE
from training.samples import sample_grid

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
HELD_OUT_SAMPLES = 16  # at the least
SAMPLE_PHOTOS = 4


def train(settings: LoraTraining) -> Path:
    """The whole run: data, training with a progress bar, the adapter file and its records. Returns the adapter file."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    adapter, card = settings.out / adapters.WEIGHTS_FILE, records.card_path(settings.out, settings.card)
    accelerator = loop.open_accelerator(settings, settings.folder)
    precision = loop.precision_of(settings, accelerator.device)
    base = open_base(settings, accelerator.device, precision)
    base_digest = records.weights_digest(base.unet, base.vae)

    def say(text: str) -> None:
        if accelerator.is_main_process:
            tqdm.write(text)

    with accelerator.main_process_first():  # the others find what it has cached
        material = gather(base, settings, base_digest, say)
    critic = load_critic(
        list(settings.weights),
        backbone=settings.backbone,
        distance=settings.distance,
        content=material.content,
        style=material.style,
        side=2 * settings.resolution,
        device=base.device,
        say=say,
    )
    identity = config.identity(settings) | {"base weights": base_digest, "data": material.digest}
    run = records.run_digest(identity)
    if not settings.overwrite:
        records.refuse_another_runs_adapter(adapter, run)
    parameters = add_adapter(base.unet, settings)
    average = loop.make_average(base.unet, settings)
    use = adapter_use(base, settings)
    say(
        f"{settings.style}: {len(material.items)} to train on, {len(material.held_out)} held out; "
        f"{sum(p.numel() for p in parameters):,} parameters on {base.name}, {base.prediction_type} prediction, precision {precision}, "
        f"{accelerator.num_processes} x {settings.accumulate} x {settings.batch} samples a step\n"
        f"loss = {' + '.join(f'{weight:g} * {name}' for name, weight in settings.weights.items())}"
    )
    tracking.follow(
        accelerator,
        training_steps(accelerator, base, settings, material, critic, identity, average),
        name=settings.style,
        settings=settings,
        folder=settings.folder,
        check=held_out_check(base, settings, material, critic, precision, average),
        sample=sampler(base, settings, use, precision, average),
    )
    if accelerator.is_main_process:
        with loop.averaged(base.unet, average):
            write(base, settings, material, base_digest, run)
        if card:
            say(write_card(card, settings, material, adapter, use))
    accelerator.end_training()
    return adapter


def open_base(settings: LoraTraining, device: torch.device, precision: str) -> Base:
    """The base to train on, in float32; decoding runs in `precision` where that is bf16."""
    base = Base.open(settings.base, device=str(device), dtype=torch.float32)
    base.autocast = precision == "bf16"
    if settings.resolution % base.grid:
        raise SettingError(f"resolution is {settings.resolution}: on the base {settings.base} it must be a multiple of {base.grid}.")
    if settings.gradient_checkpointing:
        for model in (base.unet, base.vae):
            if getattr(model, "_supports_gradient_checkpointing", False):
                model.enable_gradient_checkpointing()
    return base


def add_adapter(unet: Any, settings: LoraTraining) -> list[nn.Parameter]:
    """A fresh adapter in `unet`, alpha = rank so that its own scale is 1; its parameters, which alone want gradients."""
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
    for name, parameter in unet.named_parameters():
        parameter.requires_grad_("lora_" in name)
    return loop.trained(unet)


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


def halve_frozen(unet: nn.Module, precision: str) -> None:
    """Layers that run in half precision and are not trained hold their weights in it: the same numbers, cast once instead of every pass."""
    for module in unet.modules():
        if precision != "no" and isinstance(module, (nn.Linear, nn.Conv2d)) and not module.weight.requires_grad:
            module.to(torch.bfloat16 if precision == "bf16" else torch.float16)


def training_steps(
    accelerator: Accelerator,
    base: Base,
    settings: LoraTraining,
    material: Material,
    critic: Critic,
    identity: Mapping[str, str],
    average: EMAModel | None = None,
) -> Iterator[loop.TrainStep]:
    """Train the adapter inside ``base.unet``; one TrainStep a step."""
    precision = loop.precision_of(settings, accelerator.device)
    halve_frozen(base.unet, precision)
    return loop.run(
        accelerator,
        base.unet,
        objectives.draw_from(material.items, material.neutral, settings, GRID),
        objectives.OBJECTIVES[settings.mode](base, critic, settings, precision),
        settings=settings,
        folder=settings.folder,
        identity=identity,
        average=average,
    )


def held_out_check(
    base: Base, settings: LoraTraining, material: Material, critic: Critic, precision: str, average: EMAModel | None
) -> Callable[[], Mapping[str, float]] | None:
    """The loss and its terms on held-out pictures, at crops, timesteps and noise that never change; None where nothing is held out."""
    if not material.held_out:
        return None
    plain = dataclasses.replace(settings, again=0.0, own=0.0, caption_dropout=0.0)
    batch = settings.polish_batch if settings.polishes_at(settings.steps) else settings.batch
    draw = objectives.draw_from(material.held_out, material.neutral, plain, GRID)
    samples = draw(
        settings.steps, -(-HELD_OUT_SAMPLES // batch), random.Random(settings.seed), torch.Generator().manual_seed(settings.seed)
    )
    compute = objectives.OBJECTIVES[settings.mode](base, critic, plain, precision)

    def check() -> Mapping[str, float]:
        with loop.averaged(base.unet, average):
            return objectives.fixed_terms(compute, base.unet, settings.steps, samples, batch)

    return check


def adapter_use(base: Base, settings: LoraTraining) -> records.AdapterUse:
    """What the style's card must say: the trained timesteps, if the base's dial ends outside them, and the strokes that were laid first."""
    full, painter = base.card.timestep(1), PAINTERS.get((settings.targets or "").removeprefix(PROCEDURE))
    return records.AdapterUse(
        timestep=None if settings.t_min <= full <= settings.t_max else max(1, (settings.t_min + settings.t_max) // 2),
        # the texture that a Gram loss teaches takes to the grid of latents, so it is averaged over all placements
        phases=4 if settings.mode == "transfer" and base.card.phases > 1 else None,
        underpainting=painter.brush if painter else None,
    )


def sampler(
    base: Base, settings: LoraTraining, use: records.AdapterUse, precision: str, average: EMAModel | None
) -> Callable[[], Image.Image] | None:
    """Makes the grid of sample photos as the adapter is by now; None where there are no photos."""
    photos = list(pictures.usable(data.list_pictures(settings.sample_photos), SAMPLE_PHOTOS))
    if not photos:
        return None

    def sample() -> Image.Image:
        with loop.averaged(base.unet, average):
            return sample_grid(base, photos, settings.resolution, use, precision, settings.seed)

    return sample


def write(base: Base, settings: LoraTraining, material: Material, base_digest: str, run: str) -> None:
    """The adapter file and `training.json`."""
    path = settings.out / adapters.WEIGHTS_FILE
    base_name = Path(settings.base).name if Path(settings.base).is_absolute() else settings.base  # the files are for others' eyes
    metadata = {"stylekit_base": base_name, "stylekit_steps": str(settings.steps), records.RUN_KEY: run}
    with checkpoints.told(path):
        adapters.write_lora(base.unet, settings.style, path, metadata)
    last = tracking.last_record(settings.folder)
    facts = {
        "base": base_name,
        "base_digest": base_digest,
        "mode": settings.mode,
        "pictures": len(material.content) + len(material.style),
        "items": len(material.items),
        "seconds": round(last.get("seconds", 0.0), 1),
        "terms": tracking.mean_terms(settings.folder),
        "held_out": last.get("held_out"),
        "sources": material.sources,
        "run": run,
    }
    records.write_record(settings.out, settings, facts)


def write_card(path: Path, settings: LoraTraining, material: Material, adapter: Path, use: records.AdapterUse) -> str:
    """A first card of the style, honest about how it was made; a sentence about what is there now."""
    made = {
        "pairs": f"LoRA trained on {len(material.items)} pairs of photo and target ({settings.targets or settings.dataset}).",
        "transfer": f"LoRA trained on {len(material.items)} photos with a Gram style loss to {len(material.style)} pictures.",
        "style": f"LoRA trained by denoising {len(material.items)} pictures of the style.",
    }[settings.mode]
    title = path.parent.name.replace("-", " ").replace("_", " ").capitalize()
    return records.write_card(
        path,
        title=title,
        blurb=f"{title}, trained with stylekit.",
        license=settings.license,
        base=settings.base,
        adapter=adapter,
        made=f"{made} {settings.steps} steps with training.train_lora.",
        data=material.sources,
        use=use,
    )


def main(argv: Sequence[str] | None = None) -> int:
    try:
        settings = config.parse(LoraTraining, argv, "python -m training.train_lora", (__doc__ or "").splitlines()[0], defaults)
        print(f"adapter written to {train(settings)}")
    except StyleError as error:
        print(f"train_lora: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        print(
            f"train_lora: {error.filename or 'a file'} could not be written ({error.strerror}): make room and run it again.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("train_lora: stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
