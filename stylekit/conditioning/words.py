"""Words: what a style's card tells a base with a text encoder, in the place of a prompt by the user."""

from __future__ import annotations

from dataclasses import dataclass

from stylekit.errors import StyleError
from stylekit.storage.untrusted import UNUSABLE, shown

GUIDANCE = 7.5  # diffusers' own
GUIDANCE_RANGE = (1.0, 30.0)
MOST_LETTERS = 1000  # of words; text encoders read 77 tokens, which is 300 to 400 letters


@dataclass(frozen=True, kw_only=True)
class Words:
    """positive: what a picture in the style is. negative: what it is not. guidance: how far the model is led from these to those, 1 for not
    at all (classifier-free guidance, Ho & Salimans 2022, https://arxiv.org/abs/2207.12598)."""

    positive: str
    negative: str = ""
    guidance: float = GUIDANCE

    def __post_init__(self) -> None:
        for text in (self.positive, self.negative):
            if len(text) > MOST_LETTERS:
                raise StyleError(f"The words {shown(text)} have {len(text)} letters: text encoders read the first 400 or so, so cut them.")
            if UNUSABLE.search(text):
                raise StyleError(f"The words {shown(text)} have characters that cannot be shown: take them out.")
        if not self.positive.strip():
            raise StyleError("The words are empty: say what a picture in the style is.")
        if not GUIDANCE_RANGE[0] <= self.guidance <= GUIDANCE_RANGE[1]:
            raise StyleError(f"The guidance is {self.guidance:g}: choose a number from {GUIDANCE_RANGE[0]:g} to {GUIDANCE_RANGE[1]:g}.")

    def to_card(self, trigger: str = "") -> dict[str, str | float]:
        """As keys of a style card. trigger: the words at the beginning that the card names apart."""
        rest = self.positive.removeprefix(trigger.strip()).removeprefix(", ").strip()
        said: dict[str, str | float] = {"words": rest} if rest else {}
        if self.negative:
            said["negative"] = self.negative
        return said | {"guidance": self.guidance}
