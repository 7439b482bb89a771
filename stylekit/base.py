"""Base: a diffusion model in Stable Diffusion 1.x layout, from this repository, a folder or the Hub.

The embedded pocket base and Stable Diffusion 1.5 go through the same code. What differs between bases is said by the base's card (see
`stylekit.base_card`).
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderDC, AutoencoderKL, AutoencoderTiny, DDIMScheduler, UNet2DConditionModel
from diffusers.models.embeddings import get_timestep_embedding
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from stylekit.adapters import text_encoder
from stylekit.adapters.text_encoder import TextChange
from stylekit.base_card import ALIASES, CARD_FILE, LCM, POCKET, SD_CARD, TAESD, BaseCard
from stylekit.errors import BaseError, first_line
from stylekit.images import GRID
from stylekit.inference import codec, memory, weights
from stylekit.inference.compiled import compile_blocks
from stylekit.storage import digests
from stylekit.storage.files import write_whole
from stylekit.storage.paths import POCKET_FOLDER
from stylekit.storage.untrusted import name_problem, shown

INPAINTING_CHANNELS = 9  # of a UNet's input: latents, the latents of what is kept, and the mask
PROMPT_FILE = "prompt_embeds.safetensors"
VAES = {"AutoencoderKL": AutoencoderKL, "AutoencoderDC": AutoencoderDC}
LARGE = 100_000_000  # parameters of a UNet from which on casting its weights anew in every pass costs more than it saves
DISTILLED_GUIDANCE = 8.5  # that a distilled base is told of: what diffusers' LatentConsistencyModelImg2ImgPipeline takes
DISTILLED_CARD = replace(SD_CARD, title="Stable Diffusion 1.x, distilled", num_inference_steps=4, sampler=LCM, few_steps=True)

log = logging.getLogger(__name__)

# of what a base's files may hold, diffusers raises all of these
LOADING_ERRORS = (OSError, ValueError, RuntimeError, TypeError, AttributeError, KeyError, SafetensorError)


@dataclass(kw_only=True)
class Base:
    """A loaded base. Tensors live on `device`; UNet and autoencoder run in `dtype` until they overflow.

    autocast: whether denoising and decoding run under bfloat16 autocast. On a CPU that has the instructions it takes a third off, and moves
    the pocket base's pictures by less than half a grey level (54 dB). tiny: a small autoencoder of the same latents, for previews and
    where it is asked for. offload: whether UNet and autoencoder take turns on the device, since it has no room for both.
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
    tiny: Any = None  # AutoencoderTiny
    offload: bool = False

    @classmethod
    def open(
        cls,
        source: str = POCKET,
        *,
        device: str | None = None,
        dtype: torch.dtype | None = None,
        revision: str | None = None,
        tiny: str | None = None,
        compiled: bool = False,
    ) -> Base:
        """Load "pocket", a folder in diffusers layout, or a Hub repository ("owner/name"). Only safetensors is read.

        device: "cpu", "cuda", "mps"; by default a GPU if there is one. dtype: by default float16 on a GPU. On a CPU that is fast at
        bfloat16, large bases have such weights and small ones run under its autocast; elsewhere float32. tiny: a folder or a Hub repository
        with an AutoencoderTiny, such as `TAESD`. compiled: whether the UNet is compiled (see `stylekit.inference.compiled`).
        """
        where = torch.device(device or best_device())
        location = ALIASES.get(source, source)
        if source == POCKET:
            location = str(POCKET_FOLDER)
        folder = Path(location)
        problem = name_problem(location)
        if problem:
            raise BaseError(f"The base {shown(source)} {problem}: use {POCKET}, a folder, or a Hub id.")
        if source == POCKET and not (folder / "model_index.json").is_file():
            raise BaseError(f"The pocket base is missing from {folder}: clone the whole repository, or run training.train_pocket.")
        if folder.is_dir() and not (folder / "unet" / "config.json").is_file():
            raise BaseError(f"{source} holds no base in diffusers layout (no unet/config.json): name a folder saved by diffusers.")
        if not folder.is_dir() and (location.count("/") != 1 or location.startswith((".", "/", "~"))):
            raise BaseError(f"There is no base {source!r}: use {POCKET}, a folder, or a Hub id such as {next(iter(ALIASES.values()))}.")
        kind = dtype or torch.float16
        if dtype is None and where.type == "cpu":
            halved = cpu_has_bfloat16() and _count_parameters(location, revision) >= LARGE
            kind = torch.bfloat16 if halved else torch.float32
        unet = _load(UNet2DConditionModel, location, "unet", source, revision, kind)
        _check_unet(unet, source)
        vae_class = VAES.get(_class_name(location, "vae", source, revision))
        if vae_class is None:
            raise BaseError(f"{source} has an autoencoder that stylekit does not know: use one of {', '.join(VAES)}.")
        vae = _load(vae_class, location, "vae", source, revision, kind)
        scheduler = _load_scheduler(location, source, revision)
        card_path = folder / CARD_FILE
        plain = SD_CARD if unet.config.time_cond_proj_dim is None else DISTILLED_CARD
        sizes = [parameter.numel() * parameter.element_size() for network in (unet, vae) for parameter in network.parameters()]
        offload = memory.crowded(sum(sizes), memory.free(where))
        if offload:
            log.warning("The GPU has no room for the UNet and the autoencoder at once: they take turns, which is slower.")
        if memory.wants_slices(where):
            memory.slice_attention(unet)
        if compiled:
            compile_blocks(unet, cache_folder() / "compiled")
        return cls(
            name=source,
            source=location,
            card=BaseCard.read(card_path) if card_path.is_file() else plain,
            offload=offload,
            unet=unet.to("cpu" if offload else where, memory_format=torch.channels_last).eval().requires_grad_(False),
            vae=vae.to(where, memory_format=torch.channels_last).eval().requires_grad_(False),
            scheduler=scheduler,
            device=where,
            dtype=kind,
            revision=revision,
            autocast=dtype is None and kind == torch.float32 and cpu_has_bfloat16(),
            tiny=open_tiny(tiny, where, kind, vae) if tiny else None,
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

    def encode(self, pixels: torch.Tensor, tiny: bool = False) -> torch.Tensor:
        """(N, 3, H, W) in [-1, 1] -> scaled latents (N, C, H/8, W/8), float32, the mean where the autoencoder is stochastic.

        tiny: by the small autoencoder, which must be there.
        """
        if not tiny:
            self._take_turn(self.vae)
        return codec.encode(self.tiny if tiny else self.vae, pixels.to(self.device))

    def decode(self, latents: torch.Tensor, tiny: bool = False) -> torch.Tensor:
        """Scaled latents -> float32 pixels (N, 3, H, W), about [-1, 1]. tiny: by the small autoencoder, which must be there."""
        if not tiny:
            self._take_turn(self.vae)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            return codec.decode(self.tiny if tiny else self.vae, latents.to(self.device), GRID)

    def preview(self, latents: torch.Tensor) -> torch.Tensor:
        """What `decode` would show, roughly and at once: by a small autoencoder, or as the colours that latents stand for, smoothed."""
        if self.tiny is not None:
            return self.decode(latents, tiny=True)
        if codec.is_cheap(self.vae):
            return self.decode(latents)
        colours = codec.colours_of(latents.float().cpu(), self._latent_colours)
        return torch.nn.functional.interpolate(colours, scale_factor=GRID, mode="bicubic").clamp(-1, 1)

    @cached_property
    def _latent_colours(self) -> torch.Tensor:
        self._take_turn(self.vae)
        return codec.latent_colours(self.vae)

    def denoise(self, latents: torch.Tensor, timestep: int, prompt_embeds: torch.Tensor) -> torch.Tensor:
        """One UNet pass: what the model predicts, float32."""
        self._take_turn(self.unet)
        inputs = latents.to(self.device, self.dtype).contiguous(memory_format=torch.channels_last)
        embeds = prompt_embeds.to(self.device, self.dtype).expand(len(latents), -1, -1)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            result = self.unet(inputs, timestep, encoder_hidden_states=embeds, timestep_cond=self._guidance_embeds).sample.float()
        if self.dtype == torch.float16 and not torch.isfinite(result).all() and torch.isfinite(latents).all():
            log.warning("The UNet overflows in float16 and goes on in bfloat16.")
            self.unet.to(torch.bfloat16)
            self.dtype = torch.bfloat16
            return self.denoise(latents, timestep, prompt_embeds)
        return result

    def _take_turn(self, needed: torch.nn.Module) -> None:
        if self.offload:
            memory.take_turn(needed, [self.vae if needed is self.unet else self.unet], self.device)

    @property
    def _guidance_embeds(self) -> torch.Tensor | None:
        """What tells a base that was distilled with guidance how much there is (1, width); None for any other."""
        width = self.unet.config.time_cond_proj_dim
        if width is None:
            return None
        scale = torch.tensor([1000 * (DISTILLED_GUIDANCE - 1)])
        return get_timestep_embedding(scale, width).to(self.device, self.dtype)

    @property
    def reads_words(self) -> bool:
        """Whether it is one to give a prompt to; a base that ships its neutral embedding, and no text encoder, is none."""
        folder = Path(self.source)
        return (folder / "text_encoder").is_dir() or not (folder / PROMPT_FILE).is_file()

    def prompt_embeds(self, prompt: str | None = None) -> torch.Tensor:
        """(1, tokens, width) embedding of `prompt`; None is the base's neutral embedding.

        The neutral embedding ships with the pocket base. Elsewhere it is that of the empty prompt.
        """
        shipped = Path(self.source) / PROMPT_FILE
        if prompt is None and shipped.is_file():
            return load_file(shipped)["prompt_embeds"].float()[None]
        return self.embed([prompt or ""])[0]

    def embed(self, prompts: Sequence[str], change: TextChange | None = None) -> list[torch.Tensor]:
        """(1, tokens, width) embedding of each of `prompts`, computed once and kept in the user's cache.

        The text encoder is loaded only for words never seen before, and let go when all of them are read. change: what an adapter makes of
        it first.
        """
        changed = [] if change is None else [change.digest, repr(change.scale)]
        paths = {prompt: _cached_embedding([str(self.source), self.revision, prompt, *changed]) for prompt in prompts}
        known = {prompt: embeds for prompt, path in paths.items() if (embeds := _read_embedding(path)) is not None}
        if len(known) < len(paths):
            tokenizer, encoder = self.load_text_encoder()
            if change is not None:
                text_encoder.add_to(encoder, change)
            for prompt, path in paths.items():
                if prompt not in known:
                    known[prompt] = _encode_prompt(tokenizer, encoder, prompt)
                    _keep_embedding(path, known[prompt])
        return [known[prompt] for prompt in prompts]

    @cached_property
    def text_encoder(self) -> tuple[Any, Any]:
        """(tokenizer, encoder), kept: for a training."""
        return self.load_text_encoder()

    def load_text_encoder(self) -> tuple[Any, Any]:
        from transformers import CLIPTextModel, CLIPTokenizer

        where = {"pretrained_model_name_or_path": self.source, "revision": self.revision}
        try:
            tokenizer = CLIPTokenizer.from_pretrained(**where, subfolder="tokenizer")
            try:
                encoder = CLIPTextModel.from_pretrained(**where, subfolder="text_encoder", use_safetensors=True)
            except OSError:  # some have it in half the size alone
                encoder = CLIPTextModel.from_pretrained(**where, subfolder="text_encoder", use_safetensors=True, variant="fp16").float()
        except (OSError, ValueError, TypeError):
            raise BaseError(f"The base {self.name} has no text encoder that can be read: get it whole, or leave the prompt out.") from None
        return tokenizer, encoder


def _cached_embedding(facts: Sequence[str | None]) -> Path:
    """Where the embedding that these facts lead to is kept."""
    return cache_folder() / "prompts" / f"{digests.of_bytes(json.dumps(list(facts)).encode(), 24)}.safetensors"


def _read_embedding(path: Path) -> torch.Tensor | None:
    if not path.is_file():
        return None
    try:
        return load_file(path)["prompt_embeds"]
    except (SafetensorError, KeyError):
        path.unlink(missing_ok=True)  # half-written by another program: compute it again
        return None


def _keep_embedding(path: Path, embeds: torch.Tensor) -> None:
    write_whole(path, lambda part: save_file({"prompt_embeds": embeds.contiguous()}, part))


def _encode_prompt(tokenizer: Any, encoder: Any, prompt: str) -> torch.Tensor:
    tokens = tokenizer(prompt, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt").input_ids
    with torch.no_grad():
        return encoder(tokens)[0].float()


def cpu_has_bfloat16() -> bool:
    """Whether this CPU computes in bfloat16 itself; where the system does not tell, no."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def best_device() -> str:
    """cuda, mps or cpu: the first of them that torch sees."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def open_tiny(source: str, device: torch.device, dtype: torch.dtype, vae: Any) -> Any:
    """The AutoencoderTiny in a folder or a Hub repository. BaseError if there is none, or it is of other latents than `vae`'s."""
    problem = name_problem(source)
    if problem:
        raise BaseError(f"The tiny autoencoder {shown(source)} {problem}: use a folder, or a Hub id such as {TAESD}.")
    if not Path(source).is_dir() and (source.count("/") != 1 or source.startswith((".", "/", "~"))):
        raise BaseError(f"There is no tiny autoencoder {shown(source)}: use a folder, or a Hub id such as {TAESD}.")
    try:
        tiny = AutoencoderTiny.from_pretrained(source, use_safetensors=True, torch_dtype=dtype)
    except LOADING_ERRORS as error:
        raise BaseError(
            f"The tiny autoencoder {shown(source)} cannot be loaded ({first_line(error)}): use a folder, or a Hub id such as {TAESD}."
        ) from error
    if tiny.config.latent_channels != vae.config.latent_channels:
        raise BaseError(
            f"The tiny autoencoder {shown(source)} has latents of {tiny.config.latent_channels} channels, the base has "
            f"{vae.config.latent_channels}: use one for Stable Diffusion 1.x, such as {TAESD}."
        )
    return tiny.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)


def cache_folder() -> Path:
    """Where stylekit keeps what it computed once: $STYLEKIT_CACHE, else ~/.cache/stylekit."""
    return Path(os.environ.get("STYLEKIT_CACHE") or Path.home() / ".cache" / "stylekit")


def _load(kind: Any, location: str, subfolder: str, source: str, revision: str | None, dtype: torch.dtype) -> Any:
    try:
        return weights.load(kind, location, subfolder, revision, dtype)
    except LOADING_ERRORS as error:
        raise _cannot_load(source, subfolder, error) from error


def _count_parameters(location: str, revision: str | None) -> int:
    """Of the UNet, by its configuration alone; 0 where that cannot be had, of which loading it will tell."""
    try:
        with torch.device("meta"):
            unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(location, subfolder="unet", revision=revision))
    except LOADING_ERRORS:
        return 0
    return sum(parameter.numel() for parameter in unet.parameters())


def _load_scheduler(location: str, source: str, revision: str | None) -> DDIMScheduler:
    try:
        return DDIMScheduler.from_pretrained(location, subfolder="scheduler", revision=revision)
    except LOADING_ERRORS as error:
        raise _cannot_load(source, "scheduler", error) from error


def _class_name(location: str, subfolder: str, source: str, revision: str | None) -> str:
    try:
        config = AutoencoderKL.load_config(location, subfolder=subfolder, revision=revision)
        return str(config.get("_class_name", ""))
    except LOADING_ERRORS as error:
        raise _cannot_load(source, subfolder, error) from error


def _cannot_load(source: str, subfolder: str, error: Exception) -> BaseError:
    reason = first_line(error)
    if "file named" in reason and reason.partition("file named")[2].strip().startswith(f"{weights.NAME}.safetensors"):
        return BaseError(f"{source} has no safetensors for its {subfolder}, and pickle is not read: choose another base.")
    if Path(source).is_dir() or source == POCKET:
        return BaseError(f"The {subfolder} of {source} cannot be loaded ({reason}): copy or save the base again.")
    return BaseError(f"{source} cannot be fetched from the Hub ({reason}): check the id, go online once, or use {POCKET}.")


def _check_unet(unet: UNet2DConditionModel, source: str) -> None:
    if unet.config.in_channels == INPAINTING_CHANNELS:
        raise BaseError(f"{source} is an inpainting base, which takes a mask as input: use a Stable Diffusion 1.x base or {POCKET}.")
    if unet.config.addition_embed_type is not None:
        raise BaseError(f"{source} is a Stable Diffusion XL base: use a Stable Diffusion 1.x base or {POCKET}.")
    if unet.config.cross_attention_dim == 1024:
        raise BaseError(f"{source} is a Stable Diffusion 2 base: use a Stable Diffusion 1.x base or {POCKET}.")
