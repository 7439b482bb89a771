"""A picture as the style of Stable Diffusion 1.5 through an IP-Adapter, a download of 2.6 GB, nearly all of it CLIP's picture encoder.

IP-Adapter (Ye et al. 2023, https://arxiv.org/abs/2308.06721) turns CLIP's embedding of a picture into four tokens, and adds attention over
them to the UNet's attention over the prompt. Only some blocks carry style (InstantStyle, Wang et al. 2024,
https://arxiv.org/abs/2404.02733); the others would bring the picture's subject and layout along. The paper finds them for Stable Diffusion
XL. For 1.5 its authors name ``up_blocks.1``, "experimental, not obvious as SDXL", and ``down_blocks.2`` with ``mid_block`` for layout
(infer_style_sd15.py in https://github.com/instantX-research/InstantStyle). ComfyUI_IPAdapter_plus, by one of them, takes all blocks but
``down_blocks.2`` and ``up_blocks.1`` for "style transfer" with 1.5 (`BROAD_BLOCKS`).

The mathematics are diffusers' `IPAdapterAttnProcessor2_0`. It stays beside the UNet and is called by forward hooks: processors and
configuration of the UNet are never touched, and blocks without style cost nothing. A weight, a number or a map, says how far a picture
acts: ``own + weight * (styled - own)`` at every such layer's output, summed over pictures. diffusers' masks are not used: they are shrunk
without averaging, and for some sizes (7 x 18 tokens) laid out with a wrong number of rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention_processor import Attention, IPAdapterAttnProcessor2_0
from diffusers.models.embeddings import ImageProjection
from huggingface_hub import HfApi
from PIL import Image
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.utils.hooks import RemovableHandle

from stylekit import hub
from stylekit.adapters import families
from stylekit.adapters.weight_maps import hook_on
from stylekit.base import Base
from stylekit.errors import AdapterError, SettingError, first_line
from stylekit.storage.untrusted import name_problem, shown
from stylekit.style_picture.reference import Denoise, Weight, Weights, check_weight, is_present

REPO = "h94/IP-Adapter"
WEIGHTS_FILE = "models/ip-adapter_sd15.safetensors"  # 45 MB
ENCODER_FOLDER = "models/image_encoder"  # 2.5 GB; OpenCLIP's ViT-H/14
ENCODER_FILES = (f"{ENCODER_FOLDER}/config.json", f"{ENCODER_FOLDER}/model.safetensors")
STYLE_BLOCKS = ("up_blocks.1",)
BROAD_BLOCKS = ("down_blocks.0", "down_blocks.1", "mid_block", "up_blocks.2", "up_blocks.3")
TOKENS = 4  # into which a plain IP-Adapter turns a picture
PROJECTION = {f"{old}.{part}": f"{new}.{part}" for old, new in (("proj", "image_embeds"), ("norm", "norm")) for part in ("weight", "bias")}
LAYER_KEY = re.compile(r"ip_adapter\.(\d*[13579])\.to_([kv])_ip\.weight")
MAX_BYTES = 2**30
USE_PLAIN = f"use {WEIGHTS_FILE} of {REPO}"


@dataclass(frozen=True, kw_only=True)
class IpAdapter:
    """A plain IP-Adapter: the projection by diffusers' names, and keys and values (inner width, prompt width) of every cross-attention.

    layers: in the order of ``unet.attn_processors``. folder: holds `WEIGHTS_FILE` and `ENCODER_FOLDER`. Make one with `IpAdapter.open`.
    """

    folder: Path
    projection: Mapping[str, torch.Tensor]
    layers: Sequence[tuple[torch.Tensor, torch.Tensor]]

    @classmethod
    def open(cls, source: str | Path = REPO, *, cache: Path | None = None, endpoint: str | None = None) -> IpAdapter:
        """From a folder laid out as `REPO` is, or a repository of the Hub, fetched unless it is in the cache. Only safetensors is read.

        Raises HubError if it cannot be had, and AdapterError if the file is no plain IP-Adapter.
        """
        folder = Path(source)
        if name_problem(source):
            raise hub.HubError(f"The IP-Adapter {shown(str(source))} {name_problem(source)}: check the path, or use {REPO}.")
        if not folder.is_dir():
            folder = _fetch(str(source), cache, endpoint)
        projection, layers = _read(folder / WEIGHTS_FILE)
        return cls(folder=folder, projection=projection, layers=layers)

    @property
    def image_width(self) -> int:
        """Numbers in CLIP's embedding of a picture."""
        return self.projection["image_embeds.weight"].shape[1]

    @property
    def prompt_width(self) -> int:
        """Numbers in a token of the prompt."""
        return self.projection["norm.weight"].shape[0]


@dataclass(frozen=True, kw_only=True)
class ImagePrompt:
    """What a style picture is to an IP-Adapter: its embedding (1, image width) by `embed`, and its weight. SettingError for a bad one."""

    embeds: torch.Tensor
    weight: Weight

    def __post_init__(self) -> None:
        check_weight(self.weight)


def embed(adapter: IpAdapter, pictures: Sequence[Image.Image], device: torch.device | str = "cpu") -> torch.Tensor:
    """CLIP's embeddings (len(pictures), image width), float32, of RGB pictures; the middle square of each is looked at.

    The encoder is 2.5 GB: it is loaded for this and let go, so keep what this gives.
    """
    from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

    folder = adapter.folder / ENCODER_FOLDER
    try:
        encoder, report = CLIPVisionModelWithProjection.from_pretrained(folder, use_safetensors=True, output_loading_info=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise AdapterError(f"The image encoder in {folder} cannot be loaded ({first_line(error)}): fetch {REPO} again.") from error
    if report["missing_keys"]:  # they would be random
        raise AdapterError(f"The image encoder in {folder} lacks {sorted(report['missing_keys'])[0]}: fetch {REPO} again.")
    if encoder.config.projection_dim != adapter.image_width:
        raise AdapterError(
            f"The image encoder in {folder} gives {encoder.config.projection_dim} numbers, where the IP-Adapter takes "
            f"{adapter.image_width}: use {ENCODER_FOLDER} of {REPO}."
        )
    side = encoder.config.image_size
    pixels = CLIPImageProcessor(size={"shortest_edge": side}, crop_size=side)(list(pictures), return_tensors="pt").pixel_values
    with torch.inference_mode():
        return encoder.to(device, torch.float32).eval()(pixels.to(device)).image_embeds


def check_fits(adapter: IpAdapter, unet: nn.Module, base: str = "this base") -> None:
    """AdapterError unless `adapter` was made for UNets of this shape."""
    layers = _cross_attention(unet)
    theirs = [tuple(keys.shape) for keys, _ in adapter.layers]
    ours = [(layer.inner_dim, layer.cross_attention_dim) for layer in layers.values()]
    width = ours[0][1] if ours else 0
    if theirs != ours or adapter.prompt_width != width:
        family = families.OTHER_WIDTHS.get(adapter.prompt_width, f"{len(theirs)} layers of prompts {adapter.prompt_width} wide")
        raise AdapterError(
            f"The IP-Adapter is for {family} and does not fit {base}, which has {len(ours)} layers of prompts {width} wide: {USE_PLAIN}."
        )


@contextmanager
def applied(
    base: Base,
    adapter: IpAdapter,
    prompts: Sequence[ImagePrompt],
    *,
    blocks: Sequence[str] = STYLE_BLOCKS,
    paint: Denoise | None = None,
) -> Iterator[Denoise]:
    """Gives what to call within the block in the place of `paint`, by default ``base.denoise``; afterwards the UNet is as before, whatever
    happened.

    prompts: their maps are over the pictures of the batch, H and W in the ratio of its latents. blocks: where the pictures act, starts of
    layers' paths. With guidance the pictures act on both passes, so that it strengthens the words alone. Adapters may be active.
    """
    prompts = [prompt for prompt in prompts if is_present(prompt.weight)]
    paint = paint or base.denoise
    if not prompts:
        yield paint
        return
    check_fits(adapter, base.unet, base.name)
    starts = tuple(f"{block}." for block in blocks)
    chosen = {path: i for i, path in enumerate(_cross_attention(base.unet)) if path.startswith(starts)}
    if not chosen:
        raise SettingError(f"The base {base.name} has no attention to the prompt in {', '.join(blocks)}: choose other blocks.")
    tokens = _tokens(adapter, torch.cat([prompt.embeds for prompt in prompts])).to(base.device, base.dtype)
    weights = Weights([prompt.weight for prompt in prompts])
    handles: list[RemovableHandle] = []
    try:
        for path, i in chosen.items():
            processor = _processor(*adapter.layers[i]).to(base.device, base.dtype)
            handles.append(hook_on(base.unet, base.unet.get_submodule(path), _brush(processor, tokens, weights), with_kwargs=True))
        yield paint
    finally:
        for handle in handles:
            handle.remove()


Hook = Callable[[Attention, tuple[torch.Tensor, ...], dict[str, Any], torch.Tensor], torch.Tensor]


def _brush(processor: IPAdapterAttnProcessor2_0, tokens: torch.Tensor, weights: Weights) -> Hook:
    def look(layer: Attention, inputs: tuple[torch.Tensor, ...], kwargs: dict[str, Any], own: torch.Tensor) -> torch.Tensor:
        prompt, mask = kwargs["encoder_hidden_states"], kwargs.get("attention_mask")
        rows = (row.expand(len(own), 1, -1, -1) for row in tokens)  # (N, one picture, tokens, prompt width)
        return weights.laid_on(own, (processor(layer, inputs[0], (prompt, [row]), mask) for row in rows))

    return look


def _processor(keys: torch.Tensor, values: torch.Tensor) -> IPAdapterAttnProcessor2_0:
    with torch.device("meta"):  # else it would be filled with random numbers first
        processor = IPAdapterAttnProcessor2_0(keys.shape[0], keys.shape[1], num_tokens=(TOKENS,))
    processor.load_state_dict({"to_k_ip.0.weight": keys, "to_v_ip.0.weight": values}, assign=True)
    return processor.requires_grad_(False)


def _tokens(adapter: IpAdapter, embeds: torch.Tensor) -> torch.Tensor:
    """(pictures, image width) -> (pictures, tokens, prompt width), float32."""
    with torch.device("meta"):
        projection = ImageProjection(adapter.image_width, adapter.prompt_width, TOKENS)
    projection.load_state_dict(adapter.projection, assign=True)
    return projection.requires_grad_(False)(embeds.cpu().float())


def _cross_attention(unet: nn.Module) -> dict[str, Attention]:
    """Path -> layer that sees the prompt, in the order in which IP-Adapters number them."""
    named: Any = unet
    paths = [path.removesuffix(".processor") for path in named.attn_processors]
    return {path: named.get_submodule(path) for path in paths if path.endswith(".attn2")}


def _fetch(repo: str, cache: Path | None, endpoint: str | None) -> Path:
    if not hub.SOURCE.fullmatch(repo):
        raise hub.HubError(f"There is no folder {repo}: check the path, or name a repository of the Hub, such as {REPO}.")
    wanted = [WEIGHTS_FILE, *ENCODER_FILES]
    name, _, revision = repo.partition("@")
    with hub.told(name):
        folder = Path(HfApi(endpoint=endpoint).snapshot_download(name, revision=revision or None, cache_dir=cache, allow_patterns=wanted))
    missing = [file for file in wanted if not (folder / file).is_file()]
    if missing:  # the Hub has none, or it cannot be reached and the cache holds another part of the repository
        raise hub.HubError(f"{missing[0]} of {repo} cannot be had: go online once, or use {REPO}.")
    return folder


def _read(path: Path) -> tuple[dict[str, torch.Tensor], list[tuple[torch.Tensor, torch.Tensor]]]:
    """(projection by diffusers' names, keys and values by layer) of a file, checked."""
    if not path.is_file():
        raise AdapterError(f"There is no IP-Adapter at {path}: {USE_PLAIN}.")
    if path.stat().st_size > MAX_BYTES:
        raise AdapterError(f"The IP-Adapter {path.name} is over {MAX_BYTES >> 30} GB: {USE_PLAIN}.")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise AdapterError(f"The IP-Adapter {path.name} cannot be read ({error}): fetch it again.") from None
    projection: dict[str, torch.Tensor] = {}
    halves: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        layer, part = LAYER_KEY.fullmatch(key), PROJECTION.get(key.removeprefix("image_proj."))
        if layer is None and (part is None or not key.startswith("image_proj.")):
            raise AdapterError(f"{path.name} holds {key!r}, which is no part of a plain IP-Adapter: {USE_PLAIN}.")
        if not torch.isfinite(tensor).all():
            raise AdapterError(f"The IP-Adapter {path.name} holds NaN or infinite numbers at {key}: fetch it again.")
        if layer is not None:
            halves.setdefault(int(layer[1]), {})[layer[2]] = tensor
        elif part is not None:
            projection[part] = tensor
    numbers = range(1, 2 * len(halves), 2)  # those between are self-attention's
    lacking = [key for key, part in PROJECTION.items() if part not in projection]
    lacking += [f"{i}.to_{half}_ip.weight" for i in numbers for half in "kv" if half not in halves.get(i, {})]
    if lacking or not halves:
        raise AdapterError(f"{path.name} lacks {lacking[0] if lacking else 'its layers'}, so it is no plain IP-Adapter: {USE_PLAIN}.")
    layers = [(halves[i]["k"], halves[i]["v"]) for i in numbers]
    width, images = projection["norm.weight"].shape[0], projection["image_embeds.weight"].shape[-1]
    shapes = {"image_embeds.weight": (TOKENS * width, images), "image_embeds.bias": (TOKENS * width,), "norm.bias": (width,)}
    wrong = [name for name, shape in shapes.items() if tuple(projection[name].shape) != shape]
    wrong += [f"layer {i}" for i, (k, v) in zip(numbers, layers, strict=True) if k.ndim != 2 or k.shape != v.shape or k.shape[1] != width]
    if wrong:
        raise AdapterError(f"The IP-Adapter {path.name} has a wrong shape at {wrong[0]}: {USE_PLAIN}.")
    return projection, layers
