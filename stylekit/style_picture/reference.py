"""A picture as the style of any base in Stable Diffusion 1.x layout, without training and without a download beyond the base.

After StyleID (Chung, Hyun & Heo 2024, https://arxiv.org/abs/2312.09008). In the later half of the UNet's decoder, self-attention asks with
the photo's queries and is answered with keys and values of the style picture, which come from that picture's own pass at the same
timestep: every place is put together from those parts of the style picture that look like it. `GAMMA` holds the queries to the photo's own;
`TAU` sharpens the attention, which is spread too wide over another picture; and the latents that sampling starts from take over the style
picture's means and deviations (`adain`). Departures from the paper:

- Photo and style picture are not inverted by DDIM but noised with one seed (SDEdit), as our sampler does it. So `adain` acts on the
  clean latents, before the noise.
- The photo's queries, too, come from a pass at the same timestep over the noised photo, instead of from its inversion.
- The style picture may have any size. The paper crops both to 512x512.
- A weight, a number or a map, says how far a picture acts: ``own + weight * (styled - own)`` at the output of every such layer, summed over
  pictures. The statistics of `adain` are then those of the weighted region.

A step costs one pass more for the photo and one for each size of style picture. Everything is done by forward hooks, which see adapters in
the layers as they are and leave nothing behind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from diffusers.models.attention_processor import Attention
from PIL import Image
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from stylekit import images, sampling
from stylekit.adapters.weight_maps import WeightMaps, unpainted
from stylekit.base import Base
from stylekit.errors import BaseError, SettingError

GAMMA = 0.75  # the paper's; part of the photo's own query in the one that asks
TAU = 1.5  # the paper's; factor on the scores before the softmax
LEAST_STD = 1e-5  # of a channel of latents; a flat one is not stretched beyond

Weight = float | torch.Tensor  # a number, or a map (N, 1, H, W) over the N pictures of the batch
Denoise = Callable[[torch.Tensor, int, torch.Tensor], torch.Tensor]  # (noisy, timestep, prompt embedding) -> what the model predicts


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What a style picture is to the UNet: its clean scaled latents (1, C, h, w), and its weight. Raises SettingError for a bad weight."""

    latents: torch.Tensor
    weight: Weight

    def __post_init__(self) -> None:
        if self.latents.ndim != 4 or len(self.latents) != 1:
            raise ValueError(f"latents of one picture are (1, C, h, w), not {tuple(self.latents.shape)}")
        check_weight(self.weight)


class Weights:
    """The weights of several pictures at the resolution of any layer. Every map has the same size (N, 1, H, W)."""

    def __init__(self, weights: Sequence[Weight]) -> None:
        self.count = len(weights)
        self.numbers = {i: weight for i, weight in enumerate(weights) if not isinstance(weight, torch.Tensor)}
        maps = {str(i): weight for i, weight in enumerate(weights) if isinstance(weight, torch.Tensor)}
        self.maps = WeightMaps(keys=tuple(maps), maps=torch.cat(list(maps.values()), 1).float()) if maps else None

    def at(self, index: int, size: tuple[int, int], like: torch.Tensor) -> Weight:
        """Weight of picture `index`: a number, or its map (N, 1, h, w) averaged down to `size` (h, w)."""
        if self.maps is None or index in self.numbers:
            return self.numbers[index]
        return self.maps.at({str(index): 1}, size, like)

    def laid_on(self, own: torch.Tensor, styled: Iterable[torch.Tensor]) -> torch.Tensor:
        """``own + weight * (styled - own)`` over all pictures, (N, tokens, channels); where a weight is 0 it is `own` exactly."""
        result = own
        for i, other in enumerate(styled):
            weight = self.at(i, self.maps.tokens(own.shape[1]) if self.maps else (1, own.shape[1]), own)
            if isinstance(weight, torch.Tensor):
                weight = weight.flatten(2).transpose(1, 2)
            result = result + weight * (other.to(own) - own)
        return result


def check_weight(weight: Weight) -> None:
    """SettingError unless `weight` is a finite number from 0 on, or a map (N, 1, H, W) of such."""
    if isinstance(weight, torch.Tensor):
        if weight.ndim != 4 or weight.shape[1] != 1:
            raise SettingError(f"The weight of a style picture is a map of shape {tuple(weight.shape)}: give (N, 1, H, W) or a number.")
        right = bool(torch.isfinite(weight).all() and (weight >= 0).all())
    else:
        right = math.isfinite(weight) and weight >= 0
    if not right:
        shown = "a map with values below 0 or not finite" if isinstance(weight, torch.Tensor) else weight
        raise SettingError(f"The weight of a style picture is {shown}: give 0 to 1.")


def is_present(weight: Weight) -> bool:
    """Whether `weight` is anywhere above 0."""
    return bool(weight.any()) if isinstance(weight, torch.Tensor) else weight != 0


def encode(base: Base, picture: Image.Image) -> torch.Tensor:
    """Clean scaled latents (1, C, h, w) of a style picture at its own size, mirrored out to the grid of `base`."""
    return base.encode(images.place_on_grid(images.to_tensor(picture), base.grid))


def adain(latents: torch.Tensor, references: Sequence[Reference]) -> torch.Tensor:
    """`latents` (N, C, h, w) with each channel's mean and deviation moved to the references', as far as their weights say.

    Adaptive instance normalisation (Huang & Belongie 2017, https://arxiv.org/abs/1703.06868), each picture of the batch by itself. Under a
    map mean and deviation are those of the region it covers; where every weight is 0 the latents stay as they are, bit for bit.
    """
    references = [reference for reference in references if is_present(reference.weight)]
    weights = Weights([reference.weight for reference in references])
    size = (latents.shape[-2], latents.shape[-1])
    moved = latents
    for i, reference in enumerate(references):
        weight = weights.at(i, size, latents)
        mean, std = _statistics(latents, weight if isinstance(weight, torch.Tensor) else torch.ones_like(latents[:, :1]))
        other = reference.latents.to(latents)
        other_mean, other_std = _statistics(other, torch.ones_like(other[:, :1]))
        moved = moved + weight * ((latents - mean) * (other_std / std) + other_mean - latents)
    return moved


@contextmanager
def applied(
    base: Base,
    references: Sequence[Reference],
    prompt_embeds: torch.Tensor,
    noise_seed: int,
    content: torch.Tensor,
    *,
    gamma: float = GAMMA,
    tau: float = TAU,
    paint: Denoise | None = None,
) -> Iterator[Denoise]:
    """Gives what to call within the block in the place of `paint`, by default ``base.denoise``; afterwards the UNet is as before, whatever
    happened.

    references: their maps are over the pictures of the batch, H and W in the ratio of its latents. content: the photo's clean latents
    (N, C, h, w). prompt_embeds: (1, tokens, width) under which photo and style pictures are looked at. noise_seed: that of the sampler.
    Adapters may be active, changed between timesteps, and painted: what is painted on the photo is not painted on the style pictures.
    """
    if not 0 <= gamma <= 1 or not tau > 0:
        raise SettingError(f"A style picture is taken in with gamma {gamma} and tau {tau}: gamma goes from 0 to 1, tau is above 0.")
    references = [reference for reference in references if is_present(reference.weight)]
    paint = paint or base.denoise
    if not references:
        yield paint
        return
    layers = style_layers(base)
    exchange = _Exchange(weights=Weights([reference.weight for reference in references]), gamma=gamma, tau=tau)
    recorded: int | None = None

    def at_level(latents: torch.Tensor, timestep: int) -> torch.Tensor:
        noise = torch.randn(latents.shape, generator=torch.Generator("cpu").manual_seed(noise_seed)).to(latents)
        return sampling.add_noise(latents, noise, base.alphas_cumprod[timestep].to(latents))

    def record(timestep: int) -> None:
        noised = [at_level(reference.latents, timestep) for reference in references]
        with unpainted(base.unet):
            for size in dict.fromkeys(latents.shape for latents in noised):
                exchange.looked_at = [i for i, latents in enumerate(noised) if latents.shape == size]
                exchange.run(
                    exchange.keep_answers, base.denoise, torch.cat([noised[i] for i in exchange.looked_at]), timestep, prompt_embeds
                )
        exchange.run(exchange.keep_question, base.denoise, at_level(content, timestep), timestep, prompt_embeds)

    def denoise(noisy: torch.Tensor, timestep: int, embeds: torch.Tensor) -> torch.Tensor:
        nonlocal recorded
        if recorded != timestep:  # guidance asks twice at one timestep
            record(timestep)
            recorded = timestep
        return exchange.run(exchange.ask, paint, noisy, timestep, embeds)

    handles: list[RemovableHandle] = []
    try:
        for path, layer in layers.items():
            handles.append(layer.register_forward_hook(exchange.hook(path)))
        yield denoise
    finally:
        for handle in handles:
            handle.remove()


def style_layers(base: Base) -> dict[str, Attention]:
    """Path -> self-attention layer that takes the style in: in Stable Diffusion 1.x the paper's, the 7th to the 12th of the decoder."""
    count = len(base.unet.up_blocks)
    late = tuple(f"up_blocks.{i}." for i in range(count // 2, count))
    layers = {
        path: module
        for path, module in base.unet.named_modules()
        if isinstance(module, Attention) and path.startswith(late) and path.endswith(".attn1")
    }
    if not layers:
        raise BaseError(f"The base {base.name} has no self-attention late in its decoder, where a style picture acts: use another base.")
    return layers


Task = Callable[[str, Attention, torch.Tensor, torch.Tensor], "torch.Tensor | None"]  # (path, layer, input, output) -> another output


@dataclass(kw_only=True)
class _Exchange:
    """What the passes at one timestep leave for each other, by layer. task: what a layer does in the pass that runs now."""

    weights: Weights
    gamma: float
    tau: float
    task: Task | None = None
    looked_at: list[int] = field(default_factory=list)  # the pictures in the batch of the pass that keeps answers
    answers: dict[tuple[str, int], tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)  # keys and values of each picture
    questions: dict[str, torch.Tensor] = field(default_factory=dict)  # the photo's queries

    def run(self, task: Task, denoise: Denoise, latents: torch.Tensor, timestep: int, embeds: torch.Tensor) -> torch.Tensor:
        self.task = task
        try:
            return denoise(latents, timestep, embeds)
        finally:
            self.task = None

    def hook(self, path: str) -> Callable[[Attention, tuple[torch.Tensor, ...], torch.Tensor], torch.Tensor | None]:
        return lambda layer, inputs, output: self.task(path, layer, inputs[0], output) if self.task else None

    def keep_answers(self, path: str, layer: Attention, hidden: torch.Tensor, _: torch.Tensor) -> None:
        keys, values = layer.to_k(hidden), layer.to_v(hidden)
        for row, picture in enumerate(self.looked_at):
            self.answers[path, picture] = keys[row : row + 1], values[row : row + 1]

    def keep_question(self, path: str, layer: Attention, hidden: torch.Tensor, _: torch.Tensor) -> None:
        self.questions[path] = layer.to_q(hidden)

    def ask(self, path: str, layer: Attention, hidden: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        query = self.gamma * self.questions[path] + (1 - self.gamma) * layer.to_q(hidden)
        answers = (self.answers[path, picture] for picture in range(self.weights.count))
        return self.weights.laid_on(own, (_attended(layer, query, keys, values, self.tau) for keys, values in answers))


def _attended(layer: Attention, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, tau: float) -> torch.Tensor:
    """Output (N, tokens, channels) of `layer` for this query (N, tokens, inner width), and key and value (1, other tokens, inner width)."""

    def by_head(x: torch.Tensor) -> torch.Tensor:
        return x.expand(len(query), -1, -1).unflatten(-1, (layer.heads, -1)).transpose(1, 2)

    attended = F.scaled_dot_product_attention(by_head(query), by_head(key), by_head(value), scale=tau * layer.scale)
    return layer.to_out[0](attended.transpose(1, 2).flatten(2)) / layer.rescale_output_factor


def _statistics(latents: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation (N, C, 1, 1) of `latents` (N, C, h, w), each place counted by `weight` (N or 1, 1, h, w)."""
    total = weight.sum((2, 3), keepdim=True).clamp_min(torch.finfo(latents.dtype).tiny)
    mean = (weight * latents).sum((2, 3), keepdim=True) / total
    variance = (weight * (latents - mean).square()).sum((2, 3), keepdim=True) / total
    return mean, variance.sqrt().clamp_min(LEAST_STD)
