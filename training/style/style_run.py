"""One run that teaches a base a style: data, training, held-out loss, samples, the adapter file and its records.

What is trained, and how it is written, a `Method` says: `training.train_lora` and `training.train_dreambooth` have one each.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
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
from stylekit.base_card import ALIASES, POCKET
from stylekit.errors import SettingError
from stylekit.hand.hand import Hand
from stylekit.images import GRID
from stylekit.storage import digests
from stylekit.storage.paths import PHOTOS_FOLDER
from stylekit.style_picture import measured
from stylekit.style_picture.measured import described
from stylekit.styles import LORA, Style
from training.loop import claims, config, interrupts, loop, tracking
from training.loop.loop import Compute, Draw
from training.objective import objectives
from training.objective.objectives import Item, Sample
from training.objective.perceptual import PerceptualLosses, load_perceptual_losses
from training.objective.settings import LossSettings
from training.pictures import data, pictures
from training.pictures.pictures import Say
from training.style import command, first_look, hanging, records
from training.style.records import AdapterUse
from training.style.samples import Dial, sample_grid
from training.style.settings import StyleTraining
from training.style.training_set import TrainingSet, gather
from training.targets.names import MEASURED
from training.targets.pairs import underpainting_of

HELD_OUT_SAMPLES = 16  # at the least
SAMPLE_PHOTOS = 4
MOST_MEASURED = 40  # pictures, evenly from all, from which a hand is measured

Settings = TypeVar("Settings", bound=StyleTraining)


@dataclass(frozen=True, kw_only=True)
class Trainee:
    """What is trained.

    model: takes the place of the base's UNet; those of its parameters that want gradients are trained. draw and compute: see
    `training.loop`. held_out: for the held-out loss. dial: see `training.style.samples`. write: saves the adapter to a path, with metadata.
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
    `training.style.training_set`. prepare: makes `base` trainable. check: raises SettingError where a base cannot be trained so.
    """

    title: str
    kind: str
    script: str
    file: str
    prepare: Callable[[Base, Settings, TrainingSet, PerceptualLosses, str], Trainee]
    gather: Callable[[Base, Settings, str, Say], TrainingSet] = gather
    check: Callable[[Base, Settings], None] = lambda base, settings: None


def train(settings: Settings, method: Method[Settings], places: Mapping[str, Path] | None = None) -> Path:
    """The whole run: data, training with a progress bar, the adapter file and its records. Returns the adapter file.

    places: what else it writes, by the setting that names it. All its places are its own while it runs (see `training.loop.claims`).
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    adapter, card = settings.out / method.file, records.card_path(settings.out, settings.card)
    if settings.push_to_hub and not card:
        raise SettingError("push_to_hub needs a style card: give --card, or an --out folder such as styles/NAME/KIND.")
    accelerator = loop.open_accelerator(settings, settings.folder)
    with ExitStack() as held:
        held.enter_context(claims.claimed({"work": settings.folder}, {"out": adapter, **(places or {})}, main=accelerator.is_main_process))
        if card and accelerator.is_main_process:
            held.enter_context(claims.writable(card.parent, card, "out"))
        return _train(settings, method, accelerator, adapter, card)


def _train(settings: Settings, method: Method[Settings], accelerator: Accelerator, adapter: Path, card: Path | None) -> Path:
    if adapter.is_dir():
        raise SettingError(f"{adapter} is a folder, and the adapter would be a file of that name: choose another --out folder.")
    precision = loop.precision_of(settings, accelerator.device)
    base = open_base(settings, accelerator.device, precision)
    method.check(base, settings)
    base_digest = digests.of_weights(base.unet, base.vae)

    def say(text: str) -> None:
        if accelerator.is_main_process:
            tqdm.write(text)

    with accelerator.main_process_first():  # the others find what it has cached
        training_set = method.gather(base, settings, base_digest, say)
    perceptual = load_perceptual_losses(
        list(settings.weights),
        backbone=settings.backbone,
        distance=settings.distance,
        content=training_set.content,
        style=training_set.style,
        side=2 * settings.resolution,
        device=base.device,
        say=say,
    )
    identity = config.identity(settings) | {"base weights": base_digest, "data": training_set.digest}
    lengths = config.lengths(settings)
    run = digests.of_facts(sorted((name, value) for name, value in identity.items() if name not in lengths))
    if not settings.overwrite:
        records.refuse_another_runs_adapter(adapter, run)
    trainee = method.prepare(base, settings, training_set, perceptual, precision)
    average = loop.make_average(trainee.model, settings)
    use = adapter_use(base, settings, method.kind)
    say(
        f"{settings.style}: {len(training_set.items)} to train on, {len(training_set.held_out)} held out; "
        f"{sum(p.numel() for p in loop.trained(trainee.model)):,} parameters on {base.name}, {base.prediction_type} prediction, "
        f"precision {precision}, {accelerator.num_processes} x {settings.accumulate} x {settings.batch} samples a step\n"
        f"loss = {' + '.join(f'{weight:g} * {name}' for name, weight in settings.weights.items())}"
        f"{f'; it starts from {settings.begun_from}' if settings.begun_from else ''}"
    )
    if accelerator.is_main_process:
        hint = command.busy_hint(settings.threads) if accelerator.device.type == "cpu" else ""
        if hint:
            say(hint)
        loop.refuse_another_run(settings.folder, identity, settings, accelerator.num_processes)
        first_look.sign(settings, method.kind)
    with interrupts.held_back() as stop:
        tracking.follow(
            accelerator,
            training_steps(accelerator, trainee, settings, identity, average, stop),
            name=settings.style,
            settings=settings,
            folder=settings.folder,
            check=held_out_check(base, settings, training_set, perceptual, trainee, precision, average),
            sample=sampler(base, settings, use, trainee, precision, average),
        )
    if accelerator.is_main_process:
        with loop.averaged(trainee.model, average):
            ours = hanging.written(settings.out)
            write(base, settings, training_set, base_digest, run, adapter, trainee)
        say(f"adapter written to {adapter}")
        if not card and settings.card is None:
            places = "/".join(adapter.resolve().parts[-4:-1])
            say(f"without a style card, for it lies in {places}: --out styles/NAME/KIND, or --card, writes one, and the app shows it then")
        if card:
            hand, why = measured_hand(settings, training_set)
            if why:
                say(why)
            say(hanging.hang(card, settings, adapter, first_card(settings, training_set, adapter, use, method, hand), ours))
    accelerator.end_training()
    return adapter


def open_base(settings: LossSettings, device: torch.device, precision: str) -> Base:
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
    accelerator: Accelerator,
    trainee: Trainee,
    settings: StyleTraining,
    identity: Mapping[str, str],
    average: EMAModel | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[loop.TrainStep]:
    """Train; one TrainStep a step. stop: see `training.loop.loop.run`."""
    return loop.run(
        accelerator,
        trainee.model,
        trainee.draw,
        trainee.compute,
        settings=settings,
        folder=settings.folder,
        identity=identity,
        average=average,
        stop=stop,
    )


def held_out_check(
    base: Base,
    settings: StyleTraining,
    training_set: TrainingSet,
    perceptual: PerceptualLosses,
    trainee: Trainee,
    precision: str,
    average: EMAModel | None,
) -> Callable[[], Mapping[str, float]] | None:
    """The loss and its terms on held-out pictures, at crops, timesteps and noise that never change; None where nothing is held out."""
    if not trainee.held_out:
        return None
    plain = dataclasses.replace(settings, again=0.0, self_rollout=0.0, caption_dropout=0.0)
    batch = settings.polish_batch if settings.polishes_at(settings.steps) else settings.batch
    draw = objectives.draw_from(trainee.held_out, training_set.neutral, plain, GRID)
    samples = draw(
        settings.steps, -(-HELD_OUT_SAMPLES // batch), random.Random(settings.seed), torch.Generator().manual_seed(settings.seed)
    )
    compute = objectives.OBJECTIVES[settings.mode](base, perceptual, plain, precision)

    def check() -> Mapping[str, float]:
        with loop.averaged(trainee.model, average):
            return objectives.fixed_terms(compute, trainee.model, settings.steps, samples, batch)

    return check


def adapter_use(base: Base, settings: StyleTraining, kind: str = LORA) -> AdapterUse:
    """What the style's card must say: the trained timesteps, if the base's dial ends outside them, the strokes that were laid first,
    and the trigger, if it was in the prompts."""
    full = base.card.timestep(1)
    return AdapterUse(
        timestep=None if settings.t_min <= full <= settings.t_max else max(1, (settings.t_min + settings.t_max) // 2),
        # the texture that a Gram loss teaches takes to the grid of latents, so it is averaged over all placements
        phases=4 if settings.mode == "transfer" and base.card.phases > 1 else None,
        underpainting=underpainting_of(settings.targets),
        # photos are trained under no words, and DreamBooth's file brings its prompt along
        trigger=settings.trigger if kind == LORA and settings.mode == "style" else None,
    )


def sampler(
    base: Base, settings: StyleTraining, use: AdapterUse, trainee: Trainee, precision: str, average: EMAModel | None
) -> Callable[[], Image.Image] | None:
    """Makes the grid of sample photos as the adapter is by now; None where there are no photos."""
    ours = settings.sample_photos.resolve() == PHOTOS_FOLDER
    photos = list(pictures.usable(data.shipped_photos()[1] if ours else data.list_pictures(settings.sample_photos), SAMPLE_PHOTOS))
    if not photos:
        return None

    def sample() -> Image.Image:
        with loop.averaged(trainee.model, average):
            return sample_grid(base, trainee.dial, photos, settings.resolution, use, precision, settings.seed)

    return sample


def write(
    base: Base, settings: StyleTraining, training_set: TrainingSet, base_digest: str, run: str, adapter: Path, trainee: Trainee
) -> None:
    """The adapter file and `training.json`."""
    base_name = Path(settings.base).name if Path(settings.base).is_absolute() else settings.base  # the files are for others' eyes
    trainee.write(adapter, {"stylekit_base": base_name, "stylekit_steps": str(settings.steps), records.RUN_KEY: run})
    last = tracking.last_record(settings.folder)
    facts = {
        "base": base_name,
        "base_digest": base_digest,
        "mode": settings.mode,
        "pictures": len(training_set.content) + len(training_set.style),
        "items": len(training_set.items),
        "seconds": round(last.get("seconds", 0.0), 1),
        "terms": tracking.mean_terms(settings.folder),
        "held_out": last.get("held_out"),
        "curve": tracking.curve(settings.folder),
        "sources": training_set.sources,
        "run": run,
    }
    records.write_record(settings.out, settings, facts)


def first_card(
    settings: StyleTraining, training_set: TrainingSet, adapter: Path, use: AdapterUse, method: Method, hand: Hand | None
) -> Style:
    """The style as a first card has it, honest about how it was made. Its pictures are not there yet."""
    made = {
        "pairs": f"{method.title} trained on {len(training_set.items)} pairs of photo and target ({settings.targets or settings.dataset}).",
        "transfer": f"{method.title} trained on {len(training_set.items)} photos with a Gram style loss to "
        f"{len(training_set.style)} pictures.",
        "style": f"{method.title} trained by denoising {len(training_set.items)} pictures of the style.",
    }[settings.mode]
    folder = adapter.resolve().parent.parent
    title = folder.name.replace("-", " ").replace("_", " ").capitalize()
    entry = dataclasses.replace(
        use.card,
        base=ALIASES.get(settings.base, settings.base),
        kind=method.kind,
        path=adapter.resolve(),
        made=f"{made} {settings.steps} steps with {method.script}{f', from {settings.begun_from}' if settings.begun_from else ''}.",
        data=training_set.sources,
        trigger=use.trigger or "",
    )
    return Style(
        name=folder.name,
        title=title,
        blurb=f"{title}, trained with stylekit.",
        period="",
        license=settings.license,
        adapters=(entry,),
        hand=hand,
        drawn=described(hand) if hand else "",
    )


def measured_hand(settings: StyleTraining, training_set: TrainingSet) -> tuple[Hand | None, str]:
    """The hand that the pictures of the style ask for, and why; None without them, or on a base whose own marks are fine enough."""
    if ALIASES.get(settings.base, settings.base) != POCKET:
        return None, ""
    found = [measured.measure(picture) for picture in pictures.usable(training_set.style, MOST_MEASURED)]
    if not found:
        return None, ""
    hand = (measured.bold_hand_from if settings.targets == MEASURED else measured.hand_from)(measured.pooled(found))
    return hand, measured.reason(found, hand)
