"""Base: a diffusion model in Stable Diffusion 1.x layout, from this repository, a folder or the Hub.

The embedded pocket base and Stable Diffusion 1.5 go through the same code. What differs between bases is said by a card,
`stylekit.json` in the base's folder: above all what the strength dial means. On Stable Diffusion the dial is the noise level the photo is
taken to; on the pocket base, which restyles at low noise, it is mostly the scale of the adapter. Bases without a card get Stable
Diffusion's (`SD_CARD`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderDC, AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from stylekit.errors import BaseError
from stylekit.images import GRID

POCKET = "pocket"
POCKET_FOLDER = Path(__file__).resolve().parent.parent / "assets" / "pocket"
ALIASES = {"runwayml/stable-diffusion-v1-5": "stable-diffusion-v1-5/stable-diffusion-v1-5"}  # the old id left the Hub in 2024
CARD_FILE = "stylekit.json"
PROMPT_FILE = "prompt_embeds.safetensors"
VAES = {"AutoencoderKL": AutoencoderKL, "AutoencoderDC": AutoencoderDC}

Curve = tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class BaseCard:
    """What a base says about itself.

    dial_timestep and dial_scale: the strength dial (0..1) as points (strength, value), joined by straight lines; the timestep at which
    the photo enters the denoiser, and the factor on every adapter weight. phases: the picture is worked in this many placements on the
    grid of latents at once and the results are averaged ("cycle spinning", Coifman & Donoho 1995,
    https://doi.org/10.1007/978-1-4612-2544-7_9), which cancels the faint 8-pixel weave of a small model; 1, 2 or 4. renoise: how to go
    from step to step (see `stylekit.sampling.sample`).
    """

    title: str
    license: str
    num_inference_steps: int
    dial_timestep: Curve
    dial_scale: Curve
    phases: int = 1
    renoise: bool = False

    def __post_init__(self) -> None:
        for curve in (self.dial_timestep, self.dial_scale):
            xs = [x for x, _ in curve]
            if len(curve) < 2 or xs != sorted(xs) or xs[0] != 0 or xs[-1] != 1:
                raise BaseError(f"A dial of the base {self.title!r} does not run from 0 to 1: mend its {CARD_FILE}.")
        if self.phases not in (1, 2, 4):
            raise BaseError(f"The base {self.title!r} asks for {self.phases} phases, not 1, 2 or 4: mend its {CARD_FILE}.")
        if self.num_inference_steps < 1:
            raise BaseError(f"The base {self.title!r} asks for {self.num_inference_steps} steps: mend its {CARD_FILE}.")

    @classmethod
    def read(cls, path: Path) -> BaseCard:
        try:
            values = json.loads(path.read_text())
            return cls(
                title=str(values["title"]),
                license=str(values["license"]),
                num_inference_steps=int(values["num_inference_steps"]),
                dial_timestep=_curve(values["dial_timestep"]),
                dial_scale=_curve(values["dial_scale"]),
                phases=int(values.get("phases", 1)),
                renoise=bool(values.get("renoise", False)),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BaseError(f"{path} is not a base's card ({type(error).__name__}: {error}): mend or remove it.") from None

    def timestep(self, strength: float) -> int:
        """Timestep at which a photo enters at `strength`; at least 1."""
        return max(1, round(interpolate(self.dial_timestep, strength)))

    def adapter_scale(self, strength: float) -> float:
        return interpolate(self.dial_scale, strength)


SD_CARD = BaseCard(
    title="Stable Diffusion 1.x",
    license="CreativeML OpenRAIL-M",
    num_inference_steps=20,
    dial_timestep=((0.0, 1.0), (1.0, 750.0)),
    dial_scale=((0.0, 1.0), (1.0, 1.0)),
)


def interpolate(curve: Curve, x: float) -> float:
    """Value at `x` of the line through the points of `curve`."""
    for (x0, y0), (x1, y1) in pairwise(curve):
        if x <= x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return curve[-1][1]


def _curve(points: Sequence[Sequence[float]]) -> Curve:
    return tuple((float(x), float(y)) for x, y in points)


@dataclass(kw_only=True)
class Base:
    """A loaded base. Tensors live on `device`; the UNet runs in `dtype`, the autoencoder in float32 where float16 would overflow.

    autocast: whether denoising and decoding run under bfloat16 autocast. On a CPU that has the instructions it takes a third off, and moves
    the pocket base's pictures by less than half a grey level (54 dB).
    """

    name: str
    source: str
    card: BaseCard
    unet: UNet2DConditionModel
    vae: Any  # AutoencoderKL or AutoencoderDC
    scheduler: DDIMScheduler
    device: torch.device
    dtype: torch.dtype
    revision: str | None = None
    autocast: bool = False

    @classmethod
    def open(
        cls, source: str = POCKET, *, device: str | None = None, dtype: torch.dtype | None = None, revision: str | None = None
    ) -> Base:
        """Load "pocket", a folder in diffusers layout, or a Hub repository ("owner/name"). Only safetensors is read.

        device: "cpu", "cuda", ...; by default a GPU if there is one. dtype: by default float16 on a GPU, and on a CPU float32, under
        bfloat16 autocast where the CPU is fast at it.
        """
        where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        kind = dtype or (torch.float16 if where.type == "cuda" else torch.float32)
        location = ALIASES.get(source, source)
        if source == POCKET:
            location = str(POCKET_FOLDER)
        folder = Path(location)
        if source == POCKET and not (folder / "model_index.json").is_file():
            raise BaseError(f"The pocket base is missing from {folder}: clone the whole repository, or run training.train_pocket.")
        if folder.is_dir() and not (folder / "unet" / "config.json").is_file():
            raise BaseError(f"{source} holds no base in diffusers layout (no unet/config.json): name a folder saved by diffusers.")
        if not folder.is_dir() and (location.count("/") != 1 or location.startswith((".", "/", "~"))):
            raise BaseError(f"There is no base {source!r}: use {POCKET}, a folder, or a Hub id such as {next(iter(ALIASES.values()))}.")
        unet = _load(UNet2DConditionModel, location, "unet", source, revision, kind)
        _check_unet(unet, source)
        vae_kind = torch.float32 if kind == torch.float16 else kind
        vae_class = VAES.get(_class_name(location, "vae", source, revision))
        if vae_class is None:
            raise BaseError(f"{source} has an autoencoder that stylekit does not know: use one of {', '.join(VAES)}.")
        vae = _load(vae_class, location, "vae", source, revision, vae_kind)
        scheduler = _load_scheduler(location, source, revision)
        card_path = folder / CARD_FILE
        return cls(
            name=source,
            source=location,
            card=BaseCard.read(card_path) if card_path.is_file() else SD_CARD,
            unet=unet.to(where, memory_format=torch.channels_last).eval().requires_grad_(False),
            vae=vae.to(where, memory_format=torch.channels_last).eval().requires_grad_(False),
            scheduler=scheduler,
            device=where,
            dtype=kind,
            revision=revision,
            autocast=dtype is None and where.type == "cpu" and cpu_has_bfloat16(),
        )

    @property
    def alphas_cumprod(self) -> torch.Tensor:
        """(T,) cumulative signal power of the noise schedule."""
        return self.scheduler.alphas_cumprod

    @property
    def prediction_type(self) -> str:
        return self.scheduler.config.prediction_type

    @property
    def grid(self) -> int:
        """Pixels to whose multiple a picture must be padded: a latent pixel times the UNet's own halvings."""
        return GRID * 2 ** (len(self.unet.config.block_out_channels) - 1)

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) in [-1, 1] -> scaled latents (N, C, H/8, W/8), float32, the mean where the autoencoder is stochastic."""
        encoded = self.vae.encode(pixels.to(self.device, self.vae.dtype).contiguous(memory_format=torch.channels_last))
        latents = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latent
        return (latents * self.vae.config.scaling_factor).float()

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Scaled latents -> float32 pixels (N, 3, H, W), about [-1, 1]."""
        scaled = (latents / self.vae.config.scaling_factor).to(self.device, self.vae.dtype)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            return self.vae.decode(scaled.contiguous(memory_format=torch.channels_last)).sample.float()

    def denoise(self, latents: torch.Tensor, timestep: int, prompt_embeds: torch.Tensor) -> torch.Tensor:
        """One UNet pass: what the model predicts, float32."""
        inputs = latents.to(self.device, self.dtype).contiguous(memory_format=torch.channels_last)
        embeds = prompt_embeds.to(self.device, self.dtype).expand(len(latents), -1, -1)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            return self.unet(inputs, timestep, encoder_hidden_states=embeds).sample.float()

    def prompt_embeds(self, prompt: str | None = None) -> torch.Tensor:
        """(1, tokens, width) embedding of `prompt`; None is the base's neutral embedding.

        The neutral embedding ships with the pocket base. Elsewhere it is that of the empty prompt, computed once and kept in the user's
        cache, so that the text encoder is loaded only for prompts never seen before.
        """
        shipped = Path(self.source) / PROMPT_FILE
        if prompt is None and shipped.is_file():
            return load_file(shipped)["prompt_embeds"].float()[None]
        text = prompt or ""
        key = hashlib.sha256(json.dumps([str(self.source), self.revision, text]).encode()).hexdigest()[:24]
        path = cache_folder() / "prompts" / f"{key}.safetensors"
        if path.is_file():
            try:
                return load_file(path)["prompt_embeds"]
            except SafetensorError:
                path.unlink(missing_ok=True)  # half-written by another program: compute it again
        embeds = self._encode_prompt(text)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        save_file({"prompt_embeds": embeds.contiguous()}, part)
        os.replace(part, path)
        return embeds

    def _encode_prompt(self, prompt: str) -> torch.Tensor:
        tokenizer, encoder = self.text_encoder
        tokens = tokenizer(
            prompt, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
        ).input_ids
        with torch.no_grad():
            return encoder(tokens)[0].float()

    @cached_property
    def text_encoder(self) -> tuple[Any, Any]:
        """(tokenizer, encoder), loaded with the first prompt never seen before."""
        from transformers import CLIPTextModel, CLIPTokenizer

        try:
            tokenizer = CLIPTokenizer.from_pretrained(self.source, subfolder="tokenizer", revision=self.revision)
            encoder = CLIPTextModel.from_pretrained(self.source, subfolder="text_encoder", revision=self.revision, use_safetensors=True)
        except (OSError, ValueError, TypeError):
            raise BaseError(f"The base {self.name} has no text encoder: leave the prompt out.") from None
        return tokenizer, encoder


def cpu_has_bfloat16() -> bool:
    """Whether this CPU computes in bfloat16 itself; where the system does not tell, no."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def cache_folder() -> Path:
    """Where stylekit keeps what it computed once: $STYLEKIT_CACHE, else ~/.cache/stylekit."""
    return Path(os.environ.get("STYLEKIT_CACHE") or Path.home() / ".cache" / "stylekit")


def _load(kind: Any, location: str, subfolder: str, source: str, revision: str | None, dtype: torch.dtype) -> Any:
    try:
        return kind.from_pretrained(location, subfolder=subfolder, revision=revision, use_safetensors=True, torch_dtype=dtype)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise _cannot_load(source, subfolder, error) from error


def _load_scheduler(location: str, source: str, revision: str | None) -> DDIMScheduler:
    try:
        return DDIMScheduler.from_pretrained(location, subfolder="scheduler", revision=revision)
    except (OSError, ValueError) as error:
        raise _cannot_load(source, "scheduler", error) from error


def _class_name(location: str, subfolder: str, source: str, revision: str | None) -> str:
    try:
        config = AutoencoderKL.load_config(location, subfolder=subfolder, revision=revision)
    except (OSError, ValueError) as error:
        raise _cannot_load(source, subfolder, error) from error
    return str(config.get("_class_name", ""))


def _cannot_load(source: str, subfolder: str, error: Exception) -> BaseError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
    if Path(source).is_dir() or source == POCKET:
        return BaseError(f"The {subfolder} of {source} cannot be loaded ({reason}): copy or save the base again.")
    return BaseError(f"{source} cannot be fetched from the Hub ({reason}): check the id, go online once, or use {POCKET}.")


def _check_unet(unet: UNet2DConditionModel, source: str) -> None:
    if unet.config.addition_embed_type is not None:
        raise BaseError(f"{source} is a Stable Diffusion XL base: use a Stable Diffusion 1.x base or {POCKET}.")
    if unet.config.cross_attention_dim == 1024:
        raise BaseError(f"{source} is a Stable Diffusion 2 base: use a Stable Diffusion 1.x base or {POCKET}.")
