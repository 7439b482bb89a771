"""A style by the base's own weights: what is trained, beside class pictures, and written. The command is `training.train_dreambooth`."""

from __future__ import annotations

import copy
import dataclasses
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from huggingface_hub import snapshot_download
from safetensors.torch import save_file
from torch import nn

from stylekit.adapters import deltas
from stylekit.base import PROMPT_FILE, Base
from stylekit.errors import SettingError
from stylekit.images import GRID
from stylekit.storage import digests
from stylekit.storage.files import told, whole_folder
from training.loop.loop import Compute, Draw
from training.objective import objectives
from training.objective.objectives import Item, Sample, View
from training.objective.perceptual import PerceptualLosses
from training.objective.settings import ObjectiveSettings
from training.pictures import pictures
from training.pictures.pictures import Say
from training.style import style_run, training_set
from training.style.class_pictures import class_pictures, prompt_embeds
from training.style.dreambooth_settings import DreamBoothTraining
from training.style.style_run import Method, Trainee
from training.style.training_set import TrainingSet

BASE_FILES = ["model_index.json", "*/*.json", "*/*.txt", "vae/*.safetensors", "text_encoder/*.safetensors"]  # of a base, but for its UNet
VARIANTS = ["*.fp16.*", "*.non_ema.*"]


@dataclass(frozen=True, kw_only=True)
class ClassSample(Sample):
    """A sample of a class picture."""


class LearnedPrompt(nn.Module):
    """An embedding (tokens, width) that is trained itself. It starts as far from the neutral one as two prompts are."""

    def __init__(self, neutral: torch.Tensor, seed: int) -> None:
        super().__init__()
        noise = torch.randn(neutral.shape, generator=torch.Generator().manual_seed(seed))
        self.embeds = nn.Parameter(neutral + neutral.std() * noise.to(neutral))

    def forward(self) -> torch.Tensor:
        return self.embeds


class SpokenPrompt(nn.Module):
    """What a text encoder that is trained makes of a prompt: (tokens, width)."""

    def __init__(self, tokenizer: Any, encoder: nn.Module, prompt: str) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(True)
        length = tokenizer.model_max_length
        self.ids = tokenizer(prompt, padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids

    def forward(self) -> torch.Tensor:
        return self.encoder(self.ids.to(next(self.encoder.parameters()).device))[0][0].float()


class Prompted(nn.Module):
    """A UNet and a prompt that are trained together. An embedding of NaN stands for the prompt."""

    def __init__(self, unet: nn.Module, prompt: nn.Module) -> None:
        super().__init__()
        self.unet = unet
        self.prompt = prompt

    def forward(self, noisy: torch.Tensor, timesteps: torch.Tensor, encoder_hidden_states: torch.Tensor) -> Any:
        embeds = torch.where(encoder_hidden_states.isnan(), self.prompt(), encoder_hidden_states)
        return self.unet(noisy, timesteps, encoder_hidden_states=embeds)


def check(base: Base, settings: DreamBoothTraining) -> None:
    """SettingError where the base cannot be trained so; before class pictures are made."""
    if not any(settings.trains(name) for name, _ in base.unet.named_parameters()):
        raise SettingError(f"modules is {settings.modules!r}, which names nothing in this base's UNet: try attention, or all.")
    if settings.train_text_encoder and not base.reads_words:
        raise SettingError(f"train_text_encoder is set, but the base {base.name} has no text encoder: leave it out.")
    if base.reads_words and not settings.trigger:
        raise SettingError("trigger is not set: give the instance prompt, such as 'sks style painting'.")


def gather(base: Base, settings: DreamBoothTraining, base_digest: str, say: Say) -> TrainingSet:
    """What the style is learned on, and class pictures."""
    found = training_set.gather(base, settings, base_digest, say)
    if not settings.prior_weight:
        return found
    paths, side, embeds = class_pictures(base, settings, base_digest, found.content, say)
    encoded = pictures.encode_views(
        base, base_digest, paths, size=side, views=1, augmentation=None, seed=settings.seed, cache=settings.folder, say=say
    )
    prior = [Item(views=[View(latents, latents) for latents in one], embeds=embeds) for one in encoded if one]
    if not prior:
        raise SettingError(f"No class picture can be used: give larger ones than {side // 2} pixels, or another --class-pictures folder.")
    say(f"prior preservation: {len(prior)} class pictures, weight {settings.prior_weight:g}")
    return dataclasses.replace(found, prior=prior, digest=digests.of_values([found.digest, encoded]))


def prepare(base: Base, settings: DreamBoothTraining, found: TrainingSet, perceptual: PerceptualLosses, precision: str) -> Trainee:
    """``base.unet`` and the instance prompt, to be trained on `found`."""
    unet, neutral, base_digest = base.unet, found.neutral.to(base.device), deltas.base_digest(base.unet)
    origin = tune(unet, settings)
    style_run.halve_frozen(unet, precision)
    instance = instance_prompt(base, settings)
    if isinstance(instance, nn.Module):
        model: nn.Module = Prompted(unet, instance)
        stand_in = torch.full_like(found.neutral, torch.nan)
    else:
        model, stand_in = unet, instance

    def named(items: Sequence[Item]) -> list[Item]:
        captioned = settings.mode == "style" and not isinstance(instance, nn.Module)
        return [item if captioned else dataclasses.replace(item, embeds=stand_in) for item in items]

    @torch.no_grad()
    def embeds() -> torch.Tensor:
        return instance().detach() if isinstance(instance, nn.Module) else instance

    @contextmanager
    def dial(scale: float) -> Iterator[torch.Tensor]:
        with scaled(unet, origin, scale):
            yield deltas.blended(neutral[None], embeds(), scale)

    def write(path: Path, metadata: Mapping[str, str]) -> None:
        own = deltas.parameters(unet)
        changes = {name: own[name].detach().cpu() - before for name, before in origin.items()}
        words = {} if isinstance(instance, LearnedPrompt) else {deltas.WORDS_KEY: str(settings.trigger)}
        deltas.write_delta(path, changes, embeds(), base_digest, {**metadata, **words})
        if settings.full:
            write_full(base, changes, instance, settings.full)

    draw = objectives.draw_from(named(found.items), stand_in, settings, GRID)
    compute = objectives.OBJECTIVES[settings.mode](base, perceptual, settings, precision)
    if found.prior:
        plain = without_style(settings)
        draw = beside(draw, objectives.draw_from(found.prior, found.neutral, plain, GRID))
        compute = with_prior(compute, objectives.OBJECTIVES[settings.mode](base, perceptual, plain, precision), settings.prior_weight)
    return Trainee(model=model, draw=draw, compute=compute, held_out=named(found.held_out), dial=dial, write=write)


def tune(unet: nn.Module, settings: DreamBoothTraining) -> dict[str, torch.Tensor]:
    """Have the chosen parameters of `unet` want gradients; their values before training, on the CPU."""
    chosen = {name: parameter for name, parameter in unet.named_parameters() if settings.trains(name)}
    for parameter in chosen.values():
        parameter.requires_grad_(True)
    return {name: parameter.detach().cpu().clone() for name, parameter in chosen.items()}


def instance_prompt(base: Base, settings: DreamBoothTraining) -> nn.Module | torch.Tensor:
    """The instance prompt's embedding (tokens, width), or a module that gives it where it is trained."""
    if prompt_embeds(base, settings.class_prompt) is None or settings.trigger is None:
        return LearnedPrompt(base.prompt_embeds()[0], settings.seed).to(base.device)
    if settings.train_text_encoder:
        tokenizer, encoder = base.text_encoder
        return SpokenPrompt(tokenizer, copy.deepcopy(encoder), settings.trigger).to(base.device)
    return base.prompt_embeds(settings.trigger)[0]


@contextmanager
def scaled(unet: nn.Module, origin: Mapping[str, torch.Tensor], scale: float) -> Iterator[None]:
    """Within the block the parameters in `origin` have gone only `scale` of their way."""
    own = {name: parameter for name, parameter in unet.named_parameters() if name in origin}
    trained = {name: parameter.detach().clone() for name, parameter in own.items()}
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(torch.lerp(origin[name].to(parameter), trained[name], scale))
    try:
        yield
    finally:
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(trained[name])


def without_style(settings: DreamBoothTraining) -> ObjectiveSettings:
    """What draws and judges class pictures: no losses on decoded pictures, and every sample starts from its own."""
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(ObjectiveSettings)}
    off = {"again": 0.0, "self_rollout": 0.0, "caption_dropout": 0.0, "perceptual": 0.0, "style_weight": 0.0, "contrast": 0.0}
    return ObjectiveSettings(**(values | off))


def beside(instance: Draw[Sample], prior: Draw[Sample]) -> Draw[Sample]:
    """Samples of both, so that every part of a step has its share of each."""

    def draw(step: int, parts: int, *generators: Any) -> list[Sample]:
        ours, theirs = instance(step, parts, *generators), prior(step, parts, *generators)
        a, b = len(ours) // parts, len(theirs) // parts
        samples: list[Sample] = []
        for i in range(parts):
            samples += ours[i * a : (i + 1) * a]
            samples += [ClassSample(**vars(sample)) for sample in theirs[i * b : (i + 1) * b]]
        return samples

    return draw


def with_prior(instance: Compute[Sample], prior: Compute[Sample], weight: float) -> Compute[Sample]:
    """The loss of the style plus `weight` times the error on class pictures."""

    def compute(model: nn.Module, step: int, samples: Sequence[Sample]) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        loss, terms = instance(model, step, [sample for sample in samples if not isinstance(sample, ClassSample)])
        _, class_terms = prior(model, step, [sample for sample in samples if isinstance(sample, ClassSample)])
        return loss + weight * class_terms["l2"], {**terms, "prior": class_terms["l2"]}

    return compute


def write_full(base: Base, changes: Mapping[str, torch.Tensor], instance: nn.Module | torch.Tensor, folder: Path) -> Path:
    """The tuned base in diffusers layout, made aside, then renamed. A base that ships its one prompt has the instance prompt instead."""
    source = Path(base.source)
    if not source.is_dir():
        source = Path(snapshot_download(base.source, revision=base.revision, allow_patterns=BASE_FILES, ignore_patterns=VARIANTS))
    unet = UNet2DConditionModel.from_pretrained(base.source, subfolder="unet", revision=base.revision, use_safetensors=True)
    with torch.no_grad():
        for name, parameter in unet.named_parameters():
            if name in changes:
                parameter.add_(changes[name].to(parameter))
    with told(folder), whole_folder(folder, replace=True) as part:
        shutil.copytree(source, part, ignore=shutil.ignore_patterns("unet", ".*"), dirs_exist_ok=True)
        unet.save_pretrained(part / "unet")
        if isinstance(instance, SpokenPrompt):
            instance.encoder.save_pretrained(part / "text_encoder")  # type: ignore[operator]
        if (part / PROMPT_FILE).is_file() and isinstance(instance, nn.Module):
            save_file({"prompt_embeds": instance().detach().cpu().contiguous()}, part / PROMPT_FILE)
    return folder


DREAMBOOTH = Method(
    title="DreamBooth",
    kind="dreambooth",
    script="training.train_dreambooth",
    file=deltas.DELTA_FILE,
    gather=gather,
    prepare=prepare,
    check=check,
)
