"""One run that teaches a base a style: data, training, held-out loss, samples, the adapter file and its records.

What is trained, and how it is written, a `Method` says: `training.train_lora` and `training.train_dreambooth` have one each.
"""

from __future__ import annotations

import dataclasses
import errno
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from PIL import Image
from torch import nn
from tqdm import tqdm

from stylekit.base import Base
from stylekit.errors import SettingError, StyleError
from stylekit.images import GRID
from training import checkpoints, config, data, loop, objectives, pictures, push, records, tracking
from training.critic import Critic, load_critic
from training.loop import Compute, Draw
from training.material import Material, gather
from training.objectives import Item, Sample
from training.pairs import underpainting_of
from training.pictures import Say
from training.records import AdapterUse
from training.samples import Dial, sample_grid
from training.style_settings import StyleTraining

HELD_OUT_SAMPLES = 16  # at the least
SAMPLE_PHOTOS = 4

Settings = TypeVar("Settings", bound=StyleTraining)


@dataclass(frozen=True, kw_only=True)
class Trainee:
    """What is trained.

    model: takes the place of the base's UNet; those of its parameters that want gradients are trained. draw and compute: see
    `training.loop`. held_out: for the held-out loss. dial: see `training.samples`. write: saves the adapter to a path, with metadata.
    """

    model: nn.Module
    draw: Draw[Sample]
    compute: Compute[Sample]
    held_out: Sequence[Item]
    dial: Dial
    write: Callable[[Path, Mapping[str, str]], object]


@dataclass(frozen=True, kw_only=True)
class Method(Generic[Settings]):
    """A way to teach a base a style.

    title: for people. kind: as style cards say it. script: the module that is run. file: name of the adapter file. gather: see
    `training.material`. prepare: makes `base` trainable.
    """

    title: str
    kind: str
    script: str
    file: str
    prepare: Callable[[Base, Settings, Material, Critic, str], Trainee]
    gather: Callable[[Base, Settings, str, Say], Material] = gather


def train(settings: Settings, method: Method[Settings]) -> Path:
    """The whole run: data, training with a progress bar, the adapter file and its records. Returns the adapter file."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    adapter, card = settings.out / method.file, records.card_path(settings.out, settings.card)
    if settings.push_to_hub:
        push.check_repo(settings.push_to_hub)
        if not card:
            raise SettingError("push_to_hub needs a style card: give --card, or an --out folder such as styles/NAME/KIND.")
    accelerator = loop.open_accelerator(settings, settings.folder)
    precision = loop.precision_of(settings, accelerator.device)
    base = open_base(settings, accelerator.device, precision)
    base_digest = records.weights_digest(base.unet, base.vae)

    def say(text: str) -> None:
        if accelerator.is_main_process:
            tqdm.write(text)

    with accelerator.main_process_first():  # the others find what it has cached
        material = method.gather(base, settings, base_digest, say)
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
    trainee = method.prepare(base, settings, material, critic, precision)
    average = loop.make_average(trainee.model, settings)
    use = adapter_use(base, settings)
    say(
        f"{settings.style}: {len(material.items)} to train on, {len(material.held_out)} held out; "
        f"{sum(p.numel() for p in loop.trained(trainee.model)):,} parameters on {base.name}, {base.prediction_type} prediction, "
        f"precision {precision}, {accelerator.num_processes} x {settings.accumulate} x {settings.batch} samples a step\n"
        f"loss = {' + '.join(f'{weight:g} * {name}' for name, weight in settings.weights.items())}"
    )
    tracking.follow(
        accelerator,
        training_steps(accelerator, trainee, settings, identity, average),
        name=settings.style,
        settings=settings,
        folder=settings.folder,
        check=held_out_check(base, settings, material, critic, trainee, precision, average),
        sample=sampler(base, settings, use, trainee, precision, average),
    )
    if accelerator.is_main_process:
        with loop.averaged(trainee.model, average):
            write(base, settings, material, base_digest, run, adapter, trainee)
        if card:
            say(write_card(card, settings, material, adapter, use, method))
        if card and settings.push_to_hub:
            say(push.push_trained(card, adapter, settings.push_to_hub))
    accelerator.end_training()
    return adapter


def open_base(settings: StyleTraining, device: torch.device, precision: str) -> Base:
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


def halve_frozen(unet: nn.Module, precision: str) -> None:
    """Layers that run in half precision and are not trained hold their weights in it: the same numbers, cast once instead of every pass."""
    for module in unet.modules():
        if precision != "no" and isinstance(module, (nn.Linear, nn.Conv2d)) and not module.weight.requires_grad:
            module.to(torch.bfloat16 if precision == "bf16" else torch.float16)


def training_steps(
    accelerator: Accelerator, trainee: Trainee, settings: StyleTraining, identity: Mapping[str, str], average: EMAModel | None = None
) -> Iterator[loop.TrainStep]:
    """Train; one TrainStep a step."""
    return loop.run(
        accelerator,
        trainee.model,
        trainee.draw,
        trainee.compute,
        settings=settings,
        folder=settings.folder,
        identity=identity,
        average=average,
    )


def held_out_check(
    base: Base, settings: StyleTraining, material: Material, critic: Critic, trainee: Trainee, precision: str, average: EMAModel | None
) -> Callable[[], Mapping[str, float]] | None:
    """The loss and its terms on held-out pictures, at crops, timesteps and noise that never change; None where nothing is held out."""
    if not trainee.held_out:
        return None
    plain = dataclasses.replace(settings, again=0.0, own=0.0, caption_dropout=0.0)
    batch = settings.polish_batch if settings.polishes_at(settings.steps) else settings.batch
    draw = objectives.draw_from(trainee.held_out, material.neutral, plain, GRID)
    samples = draw(
        settings.steps, -(-HELD_OUT_SAMPLES // batch), random.Random(settings.seed), torch.Generator().manual_seed(settings.seed)
    )
    compute = objectives.OBJECTIVES[settings.mode](base, critic, plain, precision)

    def check() -> Mapping[str, float]:
        with loop.averaged(trainee.model, average):
            return objectives.fixed_terms(compute, trainee.model, settings.steps, samples, batch)

    return check


def adapter_use(base: Base, settings: StyleTraining) -> AdapterUse:
    """What the style's card must say: the trained timesteps, if the base's dial ends outside them, and the strokes that were laid first."""
    full = base.card.timestep(1)
    return AdapterUse(
        timestep=None if settings.t_min <= full <= settings.t_max else max(1, (settings.t_min + settings.t_max) // 2),
        # the texture that a Gram loss teaches takes to the grid of latents, so it is averaged over all placements
        phases=4 if settings.mode == "transfer" and base.card.phases > 1 else None,
        underpainting=underpainting_of(settings.targets),
    )


def sampler(
    base: Base, settings: StyleTraining, use: AdapterUse, trainee: Trainee, precision: str, average: EMAModel | None
) -> Callable[[], Image.Image] | None:
    """Makes the grid of sample photos as the adapter is by now; None where there are no photos."""
    photos = list(pictures.usable(data.list_pictures(settings.sample_photos), SAMPLE_PHOTOS))
    if not photos:
        return None

    def sample() -> Image.Image:
        with loop.averaged(trainee.model, average):
            return sample_grid(base, trainee.dial, photos, settings.resolution, use, precision, settings.seed)

    return sample


def write(base: Base, settings: StyleTraining, material: Material, base_digest: str, run: str, adapter: Path, trainee: Trainee) -> None:
    """The adapter file and `training.json`."""
    base_name = Path(settings.base).name if Path(settings.base).is_absolute() else settings.base  # the files are for others' eyes
    with checkpoints.told(adapter):
        trainee.write(adapter, {"stylekit_base": base_name, "stylekit_steps": str(settings.steps), records.RUN_KEY: run})
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


def write_card(path: Path, settings: StyleTraining, material: Material, adapter: Path, use: AdapterUse, method: Method) -> str:
    """A first card of the style, honest about how it was made; a sentence about what is there now."""
    made = {
        "pairs": f"{method.title} trained on {len(material.items)} pairs of photo and target ({settings.targets or settings.dataset}).",
        "transfer": f"{method.title} trained on {len(material.items)} photos with a Gram style loss to {len(material.style)} pictures.",
        "style": f"{method.title} trained by denoising {len(material.items)} pictures of the style.",
    }[settings.mode]
    title = path.parent.name.replace("-", " ").replace("_", " ").capitalize()
    return records.write_card(
        path,
        title=title,
        blurb=f"{title}, trained with stylekit.",
        license=settings.license,
        base=settings.base,
        adapter=adapter,
        made=f"{made} {settings.steps} steps with {method.script}.",
        data=material.sources,
        use=use,
        kind=method.kind,
    )


def run_script(name: str, run: Callable[[], object]) -> int:
    """The exit code of `run`, with what a user can mend told in one sentence."""
    try:
        run()
    except StyleError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        print(f"{name}: {error.filename or 'a file'} could not be written ({error.strerror}): make room and run it again.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{name}: stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    return 0
