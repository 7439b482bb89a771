"""Style pictures on a base: which way the base at hand takes a picture as a style.

A base with a general adapter beside it (`general`; the pocket base has one) makes a LoRA of a picture. Any other, in Stable
Diffusion 1.x layout, looks at the picture while it paints: through an IP-Adapter if one is given (`ip_adapter`), else with nothing
but its own attention (`reference`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TypeVar

import torch
from PIL import Image

from stylekit.adapters.lora_weights import LoraWeights
from stylekit.base import Base
from stylekit.hand.hand import Hand
from stylekit.images import GRID
from stylekit.style_picture import ip_adapter, reference
from stylekit.style_picture.general import FILE, GeneralAdapter, Manner, PictureReader, load_general
from stylekit.style_picture.ip_adapter import ImagePrompt, IpAdapter
from stylekit.style_picture.measured import hand_of
from stylekit.style_picture.picture import StylePicture
from stylekit.style_picture.reference import Denoise, Reference
from stylekit.styles import Adapter

MOST_MANNERS = 32  # pictures whose manner is remembered
MADE = "By the general adapter of the base, from the picture alone."
LOOKED = "No adapter: the base looks at the picture while it paints."

T = TypeVar("T")
Weights = Mapping[str, float | torch.Tensor]


class PictureDispatch:
    """Style pictures on `base`. ip: an IP-Adapter for bases without a general adapter. Loads what it needs with the first picture."""

    def __init__(self, base: Base, ip: IpAdapter | None = None) -> None:
        self.base = base
        self.ip = ip
        self._general: GeneralAdapter | None = None
        self._reader = PictureReader()
        self._manners: dict[str, Manner] = {}
        self._hands: dict[str, Hand] = {}
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

    def hand(self, picture: StylePicture) -> Hand | None:
        """The hand measured from `picture`, which draws on what the general adapter paints; None on a base without one."""
        if not self.has_general:
            return None
        if picture.name not in self._hands:
            _forget(self._hands)
            self._hands[picture.name] = hand_of([picture.picture])
        return self._hands[picture.name]

    def looking(
        self,
        pictures: Mapping[str, Sequence[StylePicture]],
        weights: Weights,
        content: torch.Tensor,
        neutral: torch.Tensor,
        seed: int,
        paint: Denoise,
    ) -> tuple[torch.Tensor, AbstractContextManager[Denoise]]:
        """The latents to start from, and what to call within the context in the place of `paint`, which is ``base.denoise`` or wraps it.

        pictures: style -> those it looks like, each by its share of the style's weight. content: (N, C, h, w), the photo's clean latents.
        neutral: embedding of the empty prompt. seed: of the noise.
        """
        if not pictures:
            return content, nullcontext(paint)
        if self.ip is not None:
            ip_adapter.check_fits(self.ip, self.base.unet, self.base.name)
            prompts = [
                ImagePrompt(embeds=self._embedding(picture, self.ip), weight=weights[name] / len(some))
                for name, some in pictures.items()
                for picture in some
            ]
            return content, ip_adapter.applied(self.base, self.ip, prompts, paint=paint)
        references = []
        side = GRID * max(content.shape[-2:])  # no larger than the picture that is painted, whose passes it would outweigh
        for name, some in pictures.items():
            weight = weights[name]
            whole = weight if isinstance(weight, torch.Tensor) else min(1.0, weight)  # more than wholly there it cannot be
            references += [Reference(latents=self._latents(picture, side), weight=whole / len(some)) for picture in some]
        return reference.adain(content, references), reference.applied(self.base, references, neutral, seed, content, paint=paint)

    def _manner(self, picture: StylePicture) -> Manner:
        if picture.name not in self._manners:
            _forget(self._manners)
            self._manners[picture.name] = self._reader.read(picture)
        return self._manners[picture.name]

    def _latents(self, picture: StylePicture, side: int) -> torch.Tensor:
        """(1, C, h, w) of the picture at no more than `side` pixels."""
        seen = picture.whole
        seen.thumbnail((side, side), Image.Resampling.LANCZOS)
        key = f"{picture.name}-{seen.width}"
        if key not in self._seen:
            _forget(self._seen)
            self._seen[key] = reference.encode(self.base, seen)
        return self._seen[key]

    def _embedding(self, picture: StylePicture, ip: IpAdapter) -> torch.Tensor:
        """(1, width) of the IP-Adapter's image encoder."""
        if picture.name not in self._seen:
            _forget(self._seen)
            self._seen[picture.name] = ip_adapter.embed(ip, [picture.picture], self.base.device)
        return self._seen[picture.name]


def _forget(known: dict[str, T]) -> None:
    """Make room for one more: the first that came goes."""
    while len(known) >= MOST_MANNERS:
        del known[next(iter(known))]
