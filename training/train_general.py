r"""Train the general adapter of a base: one adapter for every style picture (see `stylekit.style_picture.general`).

    python -m training.train_general --config training/configs/general/pocket.yaml --photos PHOTOS/ --art ART/ --work WORK/

ART holds a folder for each kind of art. Pictures named in the file `left_out` are never trained on: the adapter is judged on those. The
loss is the squared error of the latents; from `polish_from` on also, on decoded pictures, the distance of perceptual features, of their
Gram matrices and of local contrast from the target's own, which win back the marks that a squared error alone gives up.
"""

from __future__ import annotations

import dataclasses
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from PIL import Image, ImageOps
from torch import nn
from torch.nn import functional as F

from stylekit.base import Base
from stylekit.errors import SettingError
from stylekit.features import load_vgg
from stylekit.images import GRID, open_picture, to_picture, to_tensor
from stylekit.pixels.contact_sheet import contact_sheet
from stylekit.sampling import add_noise, predicted_sample
from stylekit.storage import digests
from stylekit.storage.paths import PHOTOS_FOLDER, POCKET_FOLDER
from stylekit.style_picture.general import FILE, GeneralAdapter, PictureReader, save_general
from stylekit.underpainting.ground import lay
from training.loop import claims, config, interrupts, loop, tracking
from training.loop.config import setting
from training.loop.loop import autocast
from training.objective import objectives
from training.objective.objectives import NoisySample
from training.objective.perceptual import PerceptualLosses
from training.objective.settings import LossSettings
from training.pictures import data
from training.style import command, style_run
from training.targets import picture_pairs
from training.targets.picture_pairs import PicturePair

FINE = ("conv_in", "conv_out", "down_blocks.0")  # with the last up block, what works at the latents' own size
BIAS = "time_emb_proj"  # moves whole channels: at one noise level, a style's offsets
TELLING = 0.98  # of the variance of moments, that their whitened code need not exceed
LAST_LAYER = "3_3"
SAMPLE_PHOTOS = 3  # photos in a sample sheet
SAMPLE_SIDE = 384


@dataclass(frozen=True, kw_only=True)
class GeneralTraining(LossSettings):
    """Settings of one run; every field is a flag and a key of the YAML file."""

    out: Path = setting(POCKET_FOLDER / FILE, "the adapter file", free=True)
    photos: Path = dataclasses.field(metadata={"help": "folder of content photos", "free": True})
    split: Path | None = setting(None, "table file, coco_id, split: photos held out of training", free=True)
    art: Path = dataclasses.field(metadata={"help": "folder with a folder for each kind of art", "free": True})
    kinds: str = setting("monet:0.27,vangogh:0.27,ukiyoe:0.2,sketch:0.12,minimalism:0.14", "folders of art and how often each is drawn")
    left_out: Path | None = setting(None, "file of names, one a line, of pictures of art that are not trained on", free=True)
    pairs: int = setting(3000, "pairs made, at the least")
    rank: int = setting(16, "of the layers inside")
    fine_rank: int = setting(56, "of the layers that work at the latents' own size")
    bias_rank: int = setting(8, "of the layers that move whole channels")
    codes: int = setting(80, "numbers that a style picture is summed up in")
    hidden: int = setting(160, "width of the network from those to the factors on ranks")
    resolution: int = setting(256, "side of a training crop in pixels")
    t_min: int = setting(4, "lowest timestep trained")
    t_max: int = setting(12, "highest timestep trained")
    perceptual: float = setting(0.15, "weight of the distance of features")
    gram: float = setting(0.1, "weight of the distance of Gram matrices")
    contrast: float = setting(1.0, "weight of the distance of local contrast")
    polish_from: int = setting(3000, "step after which the losses on decoded pictures begin")
    sample_styles: Path | None = setting(None, "folder of style pictures for the sample sheets", free=True)

    @property
    def picture_weights(self) -> dict[str, float]:
        return {"perceptual": self.perceptual, "style_weight": self.gram, "contrast": self.contrast}

    @property
    def shares(self) -> dict[str, float]:
        try:
            return {kind: float(share) for kind, share in (part.split(":") for part in self.kinds.split(","))}
        except ValueError:
            raise SettingError(f"kinds is {self.kinds!r}: write for example monet:0.5,ukiyoe:0.5.") from None

    @property
    def folder(self) -> Path:
        return self.work or Path("runs") / "general"


class Student(nn.Module):
    """The base with a general adapter beside its layers, for training: every picture of a batch has a style of its own."""

    def __init__(self, base: Base, general: GeneralAdapter) -> None:
        super().__init__()
        self.unet, self.general = base.unet, general
        self.unet.requires_grad_(False)
        self._scales: list[torch.Tensor] = []
        for i, path in enumerate(general.modules_in_order):
            self.unet.get_submodule(path).register_forward_hook(self._beside(i))

    def _beside(self, i: int) -> Callable[..., torch.Tensor]:
        def hook(layer: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            down, up, scale = self.general.downs[i], self.general.ups[i], self._scales[i]
            if isinstance(layer, nn.Conv2d):
                hidden = F.conv2d(inputs[0], down, None, layer.stride, layer.padding, layer.dilation)
                return output + F.conv2d(hidden * scale[:, :, None, None].to(hidden), up)
            hidden = F.linear(inputs[0], down)
            return output + F.linear(hidden * (scale if hidden.ndim == 2 else scale[:, None]).to(hidden), up)

        return hook

    def forward(self, noisy: torch.Tensor, timesteps: torch.Tensor, embeds: torch.Tensor, moments: torch.Tensor) -> torch.Tensor:
        with torch.autocast(noisy.device.type, enabled=False):
            self._scales = self.general.scales(moments)
        return self.unet(noisy, timesteps, encoder_hidden_states=embeds).sample.float()


@dataclass(frozen=True, kw_only=True)
class Sample(NoisySample):
    """With the moments (d,) of its style picture."""

    moments: torch.Tensor


def train(settings: GeneralTraining) -> Path:
    """The whole run: pairs, training, the file. Returns the file."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    accelerator = loop.open_accelerator(settings, settings.folder)
    with claims.claimed({"work": settings.folder}, {"out": settings.out}, main=accelerator.is_main_process):
        return _train(settings, accelerator)


def _train(settings: GeneralTraining, accelerator: Accelerator) -> Path:
    if settings.out.is_dir():
        raise SettingError(f"{settings.out} is a folder: name the adapter file.")
    precision = loop.precision_of(settings, accelerator.device)
    base = style_run.open_base(settings, accelerator.device, precision)
    if settings.split is not None:
        photos, _ = data.split_photos(settings.photos, settings.split)
    else:
        photos = data.list_pictures(settings.photos)
    left_out = settings.left_out.read_text().split() if settings.left_out else []
    art = picture_pairs.find_art(settings.art, settings.shares, left_out)
    with accelerator.main_process_first():  # the others find what it has made
        pairs = picture_pairs.load_pairs(base, photos, art, settings.pairs, settings.seed, settings.folder / "pairs")
    torch.manual_seed(settings.seed)
    general = GeneralAdapter(layer_shapes(base.unet, settings), len(pairs[0].moments), settings.codes, settings.hidden)
    general.mean.copy_(torch.stack([pair.moments.float() for pair in pairs]).mean(0))
    general.axes.copy_(whitening(torch.stack([pair.moments.float() for pair in pairs]), settings.codes))
    student = Student(base, general.to(base.device))
    style_run.halve_frozen(base.unet, precision)
    perceptual = PerceptualLosses(features=load_vgg("embedded", LAST_LAYER).to(base.device).to(memory_format=torch.channels_last))
    identity = config.identity(settings) | {"base weights": digests.of_weights(base.unet, base.vae), "data": digests.of_values(pairs)}
    embeds = base.prompt_embeds().to(base.device)
    with interrupts.held_back() as stop:
        tracking.follow(
            accelerator,
            loop.run(
                accelerator,
                student,
                draw_from(pairs, settings),
                objectives.towards_targets(base, perceptual, settings, precision, asked(embeds)),
                settings=settings,
                folder=settings.folder,
                identity=identity,
                stop=stop,
            ),
            name="general",
            settings=settings,
            folder=settings.folder,
            sample=sampler(base, student, embeds, settings, precision),
        )
    if accelerator.is_main_process:
        card = {
            "stylekit_base": settings.base,
            "stylekit_steps": str(settings.steps),
            "stylekit_pairs": str(len(pairs)),
            "stylekit_art": ", ".join(f"{kind} {len(paths)}" for kind, (_, paths) in art.items()),
        }
        save_general(general, settings.out, card)
    accelerator.end_training()
    return settings.out


def layer_shapes(unet: Any, settings: GeneralTraining) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Module path -> shapes of A and B, for every layer that has a part in the general adapter."""
    last = f"up_blocks.{len(unet.up_blocks) - 1}"
    shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}
    for name, module in unet.named_modules():
        if not isinstance(module, (nn.Linear, nn.Conv2d)) or ("time_" in name and not name.endswith(BIAS)):
            continue
        rank = settings.bias_rank if name.endswith(BIAS) else settings.fine_rank if name.startswith((*FINE, last)) else settings.rank
        shape = tuple(module.weight.shape)
        shapes[name] = (rank, *shape[1:]), (shape[0], rank, *(1,) * (len(shape) - 2))
    return shapes


def whitening(moments: torch.Tensor, codes: int) -> torch.Tensor:
    """(codes, d): the principal axes of moments (n, d), each divided by its standard deviation."""
    centred = (moments - moments.mean(0)).double()
    _, values, axes = torch.linalg.svd(centred, full_matrices=False)
    count = min(codes, len(values))
    deviation = (values[:count] / len(moments) ** 0.5).clamp_min(1e-3)
    white = torch.zeros(codes, moments.shape[1], dtype=torch.float64)
    white[:count] = axes[:count] / deviation[:, None]
    return white.float()


def draw_from(pairs: Sequence[PicturePair], settings: GeneralTraining) -> loop.Draw[Sample]:
    """Draws the samples of a step: crops of pairs of photo and target."""
    side = settings.resolution // GRID

    def draw(step: int, parts: int, rng: random.Random, generator: torch.Generator) -> list[Sample]:
        samples = []
        for noise, timestep in objectives.draw_noise(settings, step, parts, (len(pairs[0].photo), side, side), generator):
            pair = rng.choice(pairs)
            start, target = data.random_crop((pair.photo, pair.target), side, rng, flip=False)
            samples.append(Sample(start=start, target=target, moments=pair.moments, noise=noise, timestep=timestep))
        return samples

    return draw


def asked(embeds: torch.Tensor) -> objectives.Ask[Sample]:
    """How a `Student` is asked for its prediction. embeds: (1, tokens, width), of the neutral prompt."""

    def ask(model: nn.Module, samples: Sequence[Sample], noisy: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        return model(noisy, timesteps, embeds.expand(len(samples), -1, -1), objectives.stacked(samples, "moments", noisy.device))

    return ask


def sampler(
    base: Base, student: Student, embeds: torch.Tensor, settings: GeneralTraining, precision: str
) -> Callable[[], Image.Image] | None:
    """Makes a sheet: style pictures down, photos across, as the adapter is by now; None without style pictures."""
    if settings.sample_styles is None:
        return None
    styles = [open_picture(path) for path in data.list_pictures(settings.sample_styles)]
    shown = data.list_pictures(PHOTOS_FOLDER)
    photos = [
        ImageOps.fit(open_picture(path), (SAMPLE_SIDE,) * 2) for path in shown[1 :: max(1, len(shown) // SAMPLE_PHOTOS)][:SAMPLE_PHOTOS]
    ]
    reader, timestep = PictureReader(), base.card.timestep(1)

    @torch.no_grad()
    def sample() -> Image.Image:
        rows = []
        for style in styles:
            manner = reader.read(style)
            rows.append([ImageOps.contain(style, (SAMPLE_SIDE,) * 2)])
            for photo in photos:
                latents = base.encode(lay(to_tensor(photo), manner.ground, 0))
                noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0)).to(latents)
                alpha = base.alphas_cumprod[timestep].to(latents)
                noisy = add_noise(latents, noise, alpha).contiguous(memory_format=torch.channels_last)
                with autocast(base.device, precision):
                    prediction = student(noisy, torch.tensor([timestep]).to(base.device), embeds, manner.moments[None].to(base.device))
                clean = predicted_sample(prediction, noisy, alpha, base.prediction_type)
                rows[-1].append(to_picture(base.decode(clean)))
        return contact_sheet(rows, gap=0)

    return sample


def main(argv: Sequence[str] | None = None) -> int:
    def run() -> None:
        settings = config.parse(GeneralTraining, argv, "python -m training.train_general", (__doc__ or "").splitlines()[0])
        print(f"adapter written to {train(settings)}")

    return command.run_script("train_general", run)


if __name__ == "__main__":
    sys.exit(main())
