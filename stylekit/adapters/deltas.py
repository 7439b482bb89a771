"""Deltas: what DreamBooth has changed in a base, read from files, put into a UNet beside LoRAs and taken out without a trace.

DreamBooth (Ruiz et al. 2023, https://arxiv.org/abs/2208.12242) trains the base's own weights. A file holds only the difference to the
base, in float16: keys ``unet.<parameter>``, and ``instance_embeds``, the embedding of the instance prompt, so that no text encoder is
needed. A difference is meaningless on other weights, so the file says which it belongs to (`base_digest`).

Every layer of the UNet that has weights is linear in them. So where a style's weight is a number, the difference times it is added into the
layer's own weights (`fused`); where it is a map, the layer is run once more with the difference alone, and ``map * result`` is added to its
output (`painted`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from stylekit.adapters.lora_settings import UNET_PREFIX
from stylekit.adapters.weight_maps import PROMPT_LAYER, Hook, WeightMaps, hook_on, normalise_by_region
from stylekit.errors import AdapterError, first_line
from stylekit.storage import digests
from stylekit.storage.files import write_whole
from stylekit.storage.tensorfile import write_tensors
from stylekit.storage.untrusted import name_problem

Alone = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (input, output) of a layer -> what is added to the output

DELTA_FILE = "dreambooth.safetensors"
INSTANCE = "instance_embeds"
KIND_KEY, KIND = "stylekit_kind", "dreambooth"
BASE_KEY, DIGEST_KEY = "stylekit_base", "stylekit_base_digest"
WORDS_KEY = "stylekit_instance_prompt"  # where the prompt is words, and its embedding was not learned
MAX_BYTES = 4 * 2**30
SPOKEN = 0.5  # weight from which a style's prompt is given in full
WRAPPED = ".base_layer"  # what peft puts between the name of a layer it has wrapped and its parameter's
SLOT = "stylekit_deltas"  # attribute of the UNet
REMEMBERED = "_stylekit_base_digest"


@dataclass(frozen=True, kw_only=True)
class Delta:
    """Parameter of the UNet -> what is added to it; (tokens, width) embedding of the instance prompt, None to leave the prompt alone.

    base and base_digest: name and weights of the base it was trained on, as the file says them.
    """

    name: str
    tensors: Mapping[str, torch.Tensor]
    instance: torch.Tensor | None
    base: str
    base_digest: str
    metadata: Mapping[str, str]

    def __post_init__(self) -> None:
        if not self.tensors:
            raise AdapterError(f"The DreamBooth file {self.name} changes no weights: train it again.")
        for parameter, tensor in self.tensors.items():
            if not torch.isfinite(tensor).all():
                raise AdapterError(f"The DreamBooth file {self.name} holds NaN or infinite numbers at {parameter}: train it again.")


def is_delta(path: str | Path) -> bool:
    """Whether `path` is a file that `write_delta` wrote."""
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get(KIND_KEY) == KIND
    except (SafetensorError, OSError):
        return False


def read_delta(path: str | Path, name: str | None = None) -> Delta:
    """Read and check a file that `write_delta` wrote. Only safetensors is read, never pickle."""
    path = Path(path)
    if name_problem(path) or not path.is_file():
        raise AdapterError(f"The DreamBooth file {path.name[:80]} does not exist: check the style's card.")
    if path.stat().st_size > MAX_BYTES:
        raise AdapterError(f"The DreamBooth file {path.name} is over {MAX_BYTES >> 30} GB: that is no difference to a UNet of this kind.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise AdapterError(f"The DreamBooth file {path.name} cannot be read ({first_line(error)}): download or train it again.") from None
    if metadata.get(KIND_KEY) != KIND or DIGEST_KEY not in metadata:
        raise AdapterError(f"{path.name} is no DreamBooth file of stylekit's: use one that training.train_dreambooth wrote.")
    instance = tensors.pop(INSTANCE, None)
    strange = next((key for key in tensors if not key.startswith(UNET_PREFIX)), None)
    if strange is not None or (instance is not None and not (instance.ndim == 2 and torch.isfinite(instance).all())):
        raise AdapterError(f"The DreamBooth file {path.name} holds {strange or INSTANCE!r}, which cannot be used: train it again.")
    return Delta(
        name=name or path.stem,
        tensors={key.removeprefix(UNET_PREFIX): tensor for key, tensor in tensors.items()},
        instance=None if instance is None else instance.float(),
        base=metadata.get(BASE_KEY, "an unnamed base"),
        base_digest=metadata[DIGEST_KEY],
        metadata=metadata,
    )


def write_delta(
    path: str | Path, tensors: Mapping[str, torch.Tensor], instance: torch.Tensor | None, base_digest: str, metadata: Mapping[str, str]
) -> Path:
    """Save differences (parameter -> tensor) and the instance prompt's embedding as float16; written aside, then renamed."""
    halves = {f"{UNET_PREFIX}{name}": tensor.detach().half().cpu().contiguous() for name, tensor in tensors.items()}
    if instance is not None:
        halves[INSTANCE] = instance.detach().half().cpu().contiguous()
    facts = {"format": "pt", KIND_KEY: KIND, DIGEST_KEY: base_digest, **metadata}
    return write_whole(path, lambda part: write_tensors(halves, part, facts))


def base_digest(unet: nn.Module) -> str:
    """Short digest of names, shapes and evenly spaced numbers of the base's weights as float16, whatever adapters are inside `unet`."""
    if REMEMBERED in unet.__dict__:
        return str(unet.__dict__[REMEMBERED])
    return digests.of_tensors(sorted(parameters(unet).items()), torch.float16)


def remember_digest(unet: nn.Module) -> None:
    """Have `base_digest` say what it says now, whatever is done to the weights."""
    unet.__dict__[REMEMBERED] = base_digest(unet)


def parameters(unet: nn.Module) -> dict[str, nn.Parameter]:
    """The base's own parameters by their own names, whatever adapters are inside `unet`."""
    return {name.replace(WRAPPED, ""): p for name, p in unet.named_parameters() if "lora_" not in name}


def check_fits(delta: Delta, unet: nn.Module, base: str = "this base") -> None:
    """AdapterError unless every parameter of `delta` is one of `unet`'s, of the same shape. `unet` may be on the meta device."""
    own = parameters(unet)
    for name, tensor in delta.tensors.items():
        if name not in own or own[name].shape != tensor.shape:
            there = f"has {tuple(own[name].shape)}" if name in own else "has none"
            raise AdapterError(
                f"The DreamBooth style {delta.name} was trained on {delta.base} and does not fit {base}: it changes {name} "
                f"{tuple(tensor.shape)}, where {base} {there}. Open {delta.base} as the base."
            )


def inject(unet: nn.Module, delta: Delta) -> None:
    """Have `delta` ready in `unet`, which stays as it is. AdapterError, and nothing is changed, if it belongs to another base."""
    check_fits(delta, unet)
    # float16 is what a GPU runs in, and what a digest is taken of; bfloat16 has lost too much to tell
    if next(unet.parameters()).dtype != torch.bfloat16 and base_digest(unet) != delta.base_digest:
        raise AdapterError(
            f"The DreamBooth style {delta.name} is a difference to the weights of {delta.base}, and this base has others: "
            f"open {delta.base} as the base, or turn it into a LoRA with training.extract."
        )
    resident(unet)[delta.name] = delta


def eject(unet: nn.Module, name: str) -> None:
    """Forget delta `name`, if it is there."""
    resident(unet).pop(name, None)


def resident(unet: nn.Module) -> dict[str, Delta]:
    """Name -> delta, of those ready in `unet`."""
    if SLOT not in unet.__dict__:
        unet.__dict__[SLOT] = {}
    return unet.__dict__[SLOT]


@contextmanager
def fused(unet: nn.Module, numbers: Mapping[str, float]) -> Iterator[None]:
    """Within the block ``number * delta`` is in the layers' own weights, at no cost to a pass; then they are bit for bit as before."""
    originals: list[tuple[nn.Parameter, torch.Tensor]] = []
    own = parameters(unet) if numbers else {}
    try:
        with torch.no_grad():
            for name, number in numbers.items():
                for parameter, tensor in resident(unet)[name].tensors.items():
                    weight = own[parameter]
                    originals.append((weight, weight.detach().clone()))
                    weight.copy_(weight.float().add_(tensor.to(weight.device, torch.float32), alpha=number))  # rounded once
        yield
    finally:
        with torch.no_grad():
            for changed, original in reversed(originals):
                changed.copy_(original)


def painted(unet: nn.Module, names: Mapping[str, str], weight_maps: WeightMaps) -> list[RemovableHandle]:
    """Hooks that add ``map * delta`` pixel by pixel, after those of group normalisation. names: delta -> its key in `weight_maps`."""
    handles = []
    modules = {name.replace(WRAPPED, ""): module for name, module in unet.named_modules() if not hasattr(module, "base_layer")}
    for name, key in names.items():
        changes: dict[str, dict[str, torch.Tensor]] = {}
        for parameter, tensor in resident(unet)[name].tensors.items():
            module, _, part = parameter.rpartition(".")
            changes.setdefault(module, {})[part] = tensor
        for path, change in changes.items():
            run = _alone(modules[path], change, path, weight_maps)
            handles.append(hook_on(unet, modules[path], _brush(run, key, weight_maps, PROMPT_LAYER.search(path) is not None)))
    return handles


def prompt_embeds(unet: nn.Module, neutral: torch.Tensor, weights: Mapping[str, float | torch.Tensor]) -> torch.Tensor:
    """The prompt (1, tokens, width) for a mix: `neutral`, moved towards the instance prompts of the deltas in it.

    From the weight `SPOKEN` on the move is the whole way: half the difference under half the prompt would be hardly any style. One pass
    has one prompt. So a map counts with its mean, each pixel weighed by the sum of all maps there.
    """
    maps = [weight for weight in weights.values() if isinstance(weight, torch.Tensor)]
    total = torch.stack(maps).sum(0) if maps else torch.zeros(1)
    embeds = neutral
    for name, delta in resident(unet).items():
        weight = weights.get(name, 0.0)
        if isinstance(weight, torch.Tensor):
            weight = float((weight * total).sum() / total.sum()) if total.any() else 0.0
        if weight and delta.instance is not None:
            embeds = embeds + blended(neutral, delta.instance, weight) - neutral
    return embeds


def blended(neutral: torch.Tensor, instance: torch.Tensor, weight: float) -> torch.Tensor:
    """The prompt (1, tokens, width) for one style alone at `weight`."""
    return neutral + min(1.0, weight / SPOKEN) * (instance.to(neutral) - neutral)


def _alone(layer: nn.Module, change: Mapping[str, torch.Tensor], path: str, weight_maps: WeightMaps) -> Alone:
    """(input, output) -> what `layer` makes of the input with `change` as its weights."""
    like = layer.get_parameter("weight")
    weight = change["weight"].to(like) if "weight" in change else torch.zeros_like(like)
    bias = change["bias"].to(like) if "bias" in change else None
    if isinstance(layer, nn.Linear):
        return lambda x, _: F.linear(x, weight, bias)
    if isinstance(layer, nn.Conv2d):
        weight = weight.contiguous(memory_format=torch.channels_last)
        return lambda x, _: F.conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation)
    if isinstance(layer, nn.LayerNorm):
        return lambda x, _: F.layer_norm(x, layer.normalized_shape, weight, bias, layer.eps)
    if isinstance(layer, nn.GroupNorm):
        changed = nn.GroupNorm(layer.num_groups, layer.num_channels, layer.eps, device=like.device, dtype=like.dtype).requires_grad_(False)
        changed.weight.copy_(weight)
        changed.bias.copy_(bias if bias is not None else torch.zeros_like(like))
        normalise = normalise_by_region(changed, weight_maps)
        return lambda x, output: normalise(changed, (x,), output)
    raise AdapterError(f"A DreamBooth style that changes {path} ({type(layer).__name__}) cannot be painted: give it one weight everywhere.")


def _brush(run: Alone, key: str, weight_maps: WeightMaps, sees_prompt: bool) -> Hook:
    def paint(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        added = run(inputs[0], output)
        if output.ndim == 4:
            size: tuple[int, int] | None = (output.shape[-2], output.shape[-1])
            return output + (added * weight_maps.at({key: 1}, size, added)).to(output)
        size = None if sees_prompt or output.ndim < 3 else weight_maps.tokens(output.shape[1])
        scale = weight_maps.at({key: 1}, size, added).flatten(2).transpose(1, 2)  # (N, tokens, 1)
        return output + (added * (scale if output.ndim == 3 else scale[:, 0])).to(output)

    return paint
