"""The photo's structure, kept where strong noise would lose it: features and self-attention of its own pass, put into the picture's.

After Plug-and-Play (Tumanyan et al. 2023, https://arxiv.org/abs/2211.12572). The layout of a picture is in the features of a coarse
residual block of the UNet's decoder, and in the queries and keys of its self-attention, which say what belongs together; its colours and
brushwork are not. So a pass over the photo, noised to the same timestep and under no words, is looked at first, and the pass that paints
takes over what it showed, ``own + amount * (photo's - own)``: with 0 nothing is done, with 1 they are the photo's own. Features are held on
to for most of the way, attention for half of it, as in the paper. Departures from it:

- The photo is not inverted by DDIM but noised with the sampler's seed (SDEdit), as our sampler does it.
- The paper's parts of the way (0.8 and 0.5 of all steps) are parts of the way from the timestep at which the photo enters.

A step costs one pass more, for as long as something is taken over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from stylekit import sampling
from stylekit.base import Base

FEATURES_UNTIL = 0.2  # of the timestep at which the photo enters; below, features are the picture's own
ATTENTION_UNTIL = 0.5  # the same, of queries and keys

Take = Callable[[str, torch.Tensor], "torch.Tensor | None"]  # (path, output of a layer) -> another output
Denoise = Callable[[torch.Tensor, int, torch.Tensor], torch.Tensor]  # as `Base.denoise`


class Structure:
    """What the photo's own pass shows at the timestep at hand. The UNet is other than it was only within a pass.

    amount: over 0, up to 1. content: the photo's clean latents (N, C, h, w). neutral: (1, tokens, width), what its pass is told. start: the
    timestep at which it enters. seed: of the sampler's noise.
    """

    def __init__(self, base: Base, amount: float, content: torch.Tensor, neutral: torch.Tensor, start: int, seed: int) -> None:
        self.base = base
        self.amount = amount
        self.content = content
        self.neutral = neutral
        self.start = start
        self.noise = torch.randn(content.shape, generator=torch.Generator("cpu").manual_seed(seed)).to(content)
        self.features, self.attention = injected_layers(base.unet)
        self._photo: dict[str, torch.Tensor] = {}

    def look(self, timestep: int) -> None:
        """Run the photo's pass at `timestep`, and keep what `paint` takes over."""
        self._photo = {}
        layers = self._layers(timestep)
        if layers:
            noised = sampling.add_noise(self.content, self.noise, self.base.alphas_cumprod[timestep].to(self.content))
            with _hooked(self.base.unet, layers, self._keep):
                self.base.denoise(noised, timestep, self.neutral)

    def paint(self, denoise: Denoise) -> Denoise:
        """`denoise`, whose pass takes over what `look` kept."""

        def run(noisy: torch.Tensor, timestep: int, embeds: torch.Tensor) -> torch.Tensor:
            with _hooked(self.base.unet, tuple(self._photo), self._take):
                return denoise(noisy, timestep, embeds)

        return run

    def _layers(self, timestep: int) -> tuple[str, ...]:
        features = self.features if timestep >= FEATURES_UNTIL * self.start else ()
        return (*features, *(self.attention if timestep >= ATTENTION_UNTIL * self.start else ()))

    def _keep(self, path: str, output: torch.Tensor) -> None:
        self._photo[path] = output

    def _take(self, path: str, own: torch.Tensor) -> torch.Tensor:
        photo = torch.cat([self._photo[path]] * (len(own) // len(self.content)))  # guidance asks twice in one batch
        return photo if self.amount == 1 else torch.lerp(own, photo.to(own), self.amount)


def injected_layers(unet: nn.Module) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(paths of the blocks whose features are taken over, paths of the layers that make queries and keys).

    In Stable Diffusion 1.x the paper's: the second residual block of the decoder's second level, and self-attention from there on.
    """
    names = [name for name, _ in unet.named_modules()]
    levels = sorted({name for name in names if name.count(".") == 1 and name.startswith("up_blocks.")})
    deep = levels[min(1, len(levels) - 1)]
    later = tuple(f"{level}." for level in levels if level >= deep)
    attention = tuple(
        name
        for name in names
        if name.startswith(later) and name.endswith((".attn1.to_q", ".attn1.to_k")) and not name.startswith(f"{deep}.attentions.0.")
    )
    return (f"{deep}.resnets.1",), attention


@contextmanager
def _hooked(unet: nn.Module, paths: tuple[str, ...], take: Take) -> Iterator[None]:
    """Within the block `take` sees the outputs of these layers, after whatever else has changed them."""
    handles = []
    try:
        for path in paths:
            handles.append(unet.get_submodule(path).register_forward_hook(lambda _, __, output, path=path: take(path, output)))
        yield
    finally:
        for handle in handles:
            handle.remove()
