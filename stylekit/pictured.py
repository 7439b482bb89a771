"""Style pictures on a base: which way the base at hand takes a picture as a style.

A base with a general adapter beside it (`stylekit.general`; the pocket base has one) makes a LoRA of a picture. Any other, in Stable
Diffusion 1.x layout, looks at the picture while it paints: through an IP-Adapter if one is given (`stylekit.ip_adapter`), else with nothing
but its own attention (`stylekit.reference`).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TypeVar

import torch

from stylekit import ip_adapter, reference
from stylekit.adapters import LoraWeights
from stylekit.base import Base
from stylekit.general import FILE, GeneralAdapter, Manner, PictureReader, load_general
from stylekit.ip_adapter import ImagePrompt, IpAdapter
from stylekit.picture import StylePicture
from stylekit.reference import Denoise, Reference
from stylekit.styles import Adapter

MOST = 32  # pictures whose manner is remembered
MADE = "By the general adapter of the base, from the picture alone."
LOOKED = "No adapter: the base looks at the picture while it paints."

T = TypeVar("T")
Weights = Mapping[str, float | torch.Tensor]


class Pictured:
    """Style pictures on `base`. ip: an IP-Adapter for bases without a general adapter. Loads what it needs with the first picture."""

    def __init__(self, base: Base, ip: IpAdapter | None = None) -> None:
        self.base = base
        self.ip = ip
        self._general: GeneralAdapter | None = None
        self._reader = PictureReader()
        self._manners: dict[str, Manner] = {}
        self._seen: dict[str, torch.Tensor] = {}  # latents, or the image encoder's embedding (1, width)

    @property
    def path(self) -> Path:
        """Where the base's general adapter would lie."""
        return Path(self.base.source) / FILE

    @property
    def has_general(self) -> bool:
        return self.path.is_file()

    def card(self, picture: StylePicture) -> Adapter:
        """What a style card would say of `picture` on this base."""
        general = self.has_general
        return Adapter(
            base=self.base.name,
            kind="lora",
            path=self.path,
            made=MADE if general else LOOKED,
            data=MADE if general else LOOKED,
            license="the picture's",
            underpainting=self._manner(picture).ground if general else None,
        )

    def lora(self, picture: StylePicture) -> LoraWeights:
        """The adapter for `picture`, where the base has a general one."""
        if self._general is None:
            self._general = load_general(self.path)
        return self._general.lora(self._manner(picture), picture.name)

    def looking(
        self, pictures: Mapping[str, StylePicture], weights: Weights, content: torch.Tensor, neutral: torch.Tensor, seed: int
    ) -> tuple[torch.Tensor, AbstractContextManager[Denoise]]:
        """The latents to start from, and what to call within the context in the place of ``base.denoise``.

        content: (N, C, h, w), the photo's clean latents. neutral: embedding of the empty prompt. seed: of the noise.
        """
        if not pictures:
            return content, nullcontext(self.base.denoise)
        if self.ip is not None:
            ip_adapter.check_fits(self.ip, self.base.unet, self.base.name)
            prompts = [ImagePrompt(embeds=self._look(picture), weight=weights[name]) for name, picture in pictures.items()]
            return content, ip_adapter.applied(self.base, self.ip, prompts)
        references = []
        for name, picture in pictures.items():
            weight = weights[name]
            whole = weight if isinstance(weight, torch.Tensor) else min(1.0, weight)  # more than wholly there it cannot be
            references.append(Reference(latents=self._look(picture), weight=whole))
        return reference.adain(content, references), reference.applied(self.base, references, neutral, seed, content)

    def _manner(self, picture: StylePicture) -> Manner:
        if picture.name not in self._manners:
            _forget(self._manners)
            self._manners[picture.name] = self._reader.read(picture)
        return self._manners[picture.name]

    def _look(self, picture: StylePicture) -> torch.Tensor:
        """The picture's latents, or with an IP-Adapter the image encoder's embedding (1, width)."""
        if picture.name not in self._seen:
            _forget(self._seen)
            if self.ip is None:
                self._seen[picture.name] = reference.encode(self.base, picture.picture)
            else:
                self._seen[picture.name] = ip_adapter.embed(self.ip, [picture.picture], self.base.device)
        return self._seen[picture.name]


def _forget(known: dict[str, T]) -> None:
    """Make room for one more: the first that came goes."""
    while len(known) >= MOST:
        del known[next(iter(known))]
