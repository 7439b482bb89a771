r"""Train the general adapter of a base: one adapter for every style picture (see `stylekit.general`).

    python -m training.train_general --config training/configs/general/pocket.yaml --photos PHOTOS/ --art ART/ --work WORK/

ART holds a folder for each kind of art. Pictures named in the file `left_out` are never trained on: the adapter is judged on those. The
loss is the squared error of the latents; from `polish_from` on also, on decoded pictures, the distance of perceptual features, of their
Gram matrices and of local contrast from the target's own, which win back the marks that a squared error alone gives up.
"""

from __future__ import annotations

import dataclasses
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps
from torch import nn
from torch.nn import functional as F

from stylekit.base import POCKET_FOLDER, Base
from stylekit.errors import SettingError
from stylekit.features import VGGFeatures, gram_matrix, load_vgg
from stylekit.general import FILE, GeneralAdapter, PictureReader, save_general
from stylekit.ground import lay
from stylekit.images import GRID, open_picture, to_picture, to_tensor
from stylekit.sampling import add_noise, predicted_sample
from training import config, data, loop, losses, picture_pairs, records, style_run, tracking
from training.config import setting
from training.loop import RunSettings, autocast
from training.picture_pairs import PicturePair
from training.style_settings import PHOTOS

FINE = ("conv_in", "conv_out", "down_blocks.0")  # with the last up block, what works at the latents' own size
BIAS = "time_emb_proj"  # moves whole channels: at one noise level, a style's offsets
TELLING = 0.98  # of the variance of moments, that their whitened code need not exceed
CRITIC_LAST = "3_3"
SAMPLES = 3  # photos in a sample sheet
SAMPLE_SIDE = 384


@dataclass(frozen=True, kw_only=True)
class GeneralTraining(RunSettings):
    """Settings of one run; every field is a flag and a key of the YAML file."""

    out: Path = setting(POCKET_FOLDER / FILE, "the adapter file", free=True)
    base: str = setting("pocket", "pocket, a folder or a Hub id")
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
    l2: float = setting(1.0, "weight of the squared error of latents")
    perceptual: float = setting(0.15, "weight of the distance of features")
    gram: float = setting(0.1, "weight of the distance of Gram matrices")
    contrast: float = setting(1.0, "weight of the distance of local contrast")
    polish_from: int = setting(3000, "step after which the losses on decoded pictures begin")
    polish_batch: int = setting(2, "samples a step with those losses")
    sample_styles: Path | None = setting(None, "folder of style pictures for the sample sheets", free=True)

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
class Sample:
    start: torch.Tensor
    target: torch.Tensor
    moments: torch.Tensor
    noise: torch.Tensor
    timestep: int


def train(settings: GeneralTraining) -> Path:
    """The whole run: pairs, training, the file. Returns the file."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    accelerator = loop.open_accelerator(settings, settings.folder)
    precision = loop.precision_of(settings, accelerator.device)
    base = Base.open(settings.base, device=str(accelerator.device), dtype=torch.float32)
    base.autocast = precision == "bf16"
    if settings.split is not None:
        photos, _ = data.split_photos(settings.photos, settings.split)
    else:
        photos = data.list_pictures(settings.photos)
    left_out = settings.left_out.read_text().split() if settings.left_out else []
    art = picture_pairs.find_art(settings.art, settings.shares, left_out)
    pairs = picture_pairs.load_pairs(base, photos, art, settings.pairs, settings.seed, settings.folder / "pairs")
    torch.manual_seed(settings.seed)
    general = GeneralAdapter(layer_shapes(base.unet, settings), len(pairs[0].moments), settings.codes, settings.hidden)
    general.mean.copy_(torch.stack([pair.moments.float() for pair in pairs]).mean(0))
    general.axes.copy_(whitening(torch.stack([pair.moments.float() for pair in pairs]), settings.codes))
    student = Student(base, general.to(base.device))
    style_run.halve_frozen(base.unet, precision)
    critic = load_vgg("embedded", CRITIC_LAST).to(base.device).to(memory_format=torch.channels_last)
    identity = config.identity(settings) | {"base weights": records.weights_digest(base.unet, base.vae)}
    embeds = base.prompt_embeds().to(base.device)
    tracking.follow(
        accelerator,
        loop.run(
            accelerator,
            student,
            draw_from(pairs, settings),
            objective(base, critic, embeds, settings, precision),
            settings=settings,
            folder=settings.folder,
            identity=identity,
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
    side = settings.resolution // GRID

    def draw(step: int, parts: int, rng: random.Random, generator: torch.Generator) -> list[Sample]:
        count = (settings.polish_batch if step > settings.polish_from else settings.batch) * parts
        noise = torch.randn((count, len(pairs[0].photo), side, side), generator=generator)
        timesteps = torch.randint(settings.t_min, settings.t_max + 1, (count,), generator=generator).tolist()
        samples = []
        for i in range(count):
            pair = rng.choice(pairs)
            start, target = data.random_crop((pair.photo, pair.target), side, rng, flip=False)
            samples.append(Sample(start=start, target=target, moments=pair.moments, noise=noise[i], timestep=timesteps[i]))
        return samples

    return draw


def objective(base: Base, critic: VGGFeatures, embeds: torch.Tensor, settings: GeneralTraining, precision: str) -> loop.Compute[Sample]:
    weights = {name: getattr(settings, name) for name in ("l2", "perceptual", "gram", "contrast")}

    def compute(model: nn.Module, step: int, samples: Sequence[Sample]) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        def stack(name: str) -> torch.Tensor:
            return torch.stack([getattr(sample, name).float() for sample in samples]).to(base.device)

        start, target, noise, moments = (stack(name) for name in ("start", "target", "noise", "moments"))
        timesteps = torch.tensor([sample.timestep for sample in samples])
        alphas = base.alphas_cumprod[timesteps].view(-1, 1, 1, 1).to(base.device)
        noisy = add_noise(start, noise, alphas).contiguous(memory_format=torch.channels_last)
        with autocast(base.device, precision):
            prediction = model(noisy, timesteps.to(base.device), embeds.expand(len(samples), -1, -1), moments)
        clean = predicted_sample(prediction, noisy, alphas, base.prediction_type)
        terms = {"l2": F.mse_loss(clean, target)}
        if step > settings.polish_from:
            with autocast(base.device, "no" if precision == "fp16" else precision):
                ours = base.decode(clean)
                features = critic(ours)
                with torch.no_grad():
                    theirs = base.decode(target)
                    wanted = critic(theirs)
            terms["perceptual"] = losses.perceptual_loss(features, wanted)
            terms["gram"] = own_style_loss(features, wanted)
            terms["contrast"] = losses.contrast_loss(ours, theirs)
        return torch.stack([weights[name] * term.float() for name, term in terms.items()]).sum(), terms

    return compute


def own_style_loss(ours: losses.Features, theirs: losses.Features) -> torch.Tensor:
    """Squared Gram distance of each picture to its own target, relative to the target's energy, averaged over layers and pictures."""
    terms = []
    for name, feature in ours.items():
        wanted = gram_matrix(theirs[name].float())
        distance = (gram_matrix(feature.float()) - wanted).pow(2).sum((1, 2))
        terms.append((distance / wanted.pow(2).sum((1, 2))).mean())
    return torch.stack(terms).mean()


def sampler(
    base: Base, student: Student, embeds: torch.Tensor, settings: GeneralTraining, precision: str
) -> Callable[[], Image.Image] | None:
    """Makes a sheet: style pictures down, photos across, as the adapter is by now; None without style pictures."""
    if settings.sample_styles is None:
        return None
    styles = [open_picture(path) for path in data.list_pictures(settings.sample_styles)]
    shown = data.list_pictures(PHOTOS)
    photos = [ImageOps.fit(open_picture(path), (SAMPLE_SIDE,) * 2) for path in shown[1 :: max(1, len(shown) // SAMPLES)][:SAMPLES]]
    reader, timestep = PictureReader(), base.card.timestep(1)

    @torch.no_grad()
    def sample() -> Image.Image:
        sheet = Image.new("RGB", ((len(photos) + 1) * SAMPLE_SIDE, len(styles) * SAMPLE_SIDE), "white")
        for row, style in enumerate(styles):
            manner = reader.read(style)
            sheet.paste(ImageOps.contain(style, (SAMPLE_SIDE,) * 2), (0, row * SAMPLE_SIDE))
            for column, photo in enumerate(photos, start=1):
                latents = base.encode(lay(to_tensor(photo), manner.ground, 0))
                noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0)).to(latents)
                alpha = base.alphas_cumprod[timestep].to(latents)
                noisy = add_noise(latents, noise, alpha).contiguous(memory_format=torch.channels_last)
                with autocast(base.device, precision):
                    prediction = student(noisy, torch.tensor([timestep]).to(base.device), embeds, manner.moments[None].to(base.device))
                clean = predicted_sample(prediction, noisy, alpha, base.prediction_type)
                sheet.paste(to_picture(base.decode(clean)), (column * SAMPLE_SIDE, row * SAMPLE_SIDE))
        return sheet

    return sample


def main(argv: Sequence[str] | None = None) -> int:
    def run() -> None:
        settings = config.parse(GeneralTraining, argv, "python -m training.train_general", (__doc__ or "").splitlines()[0])
        print(f"adapter written to {train(settings)}")

    return style_run.run_script("train_general", run)


if __name__ == "__main__":
    sys.exit(main())
