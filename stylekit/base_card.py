"""A base's card: what differs between bases, above all what the strength dial means.

On Stable Diffusion the dial is the noise level the photo is taken to; on the pocket base, which restyles at low noise, it is mostly the
scale of the adapter. The card is `stylekit.json` in the base's folder; bases without one get Stable Diffusion's (`SD_CARD`). This module
is light: it can be asked without loading torch or diffusers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from stylekit.errors import BaseError, first_line
from stylekit.storage.untrusted import Source, as_table, parse_json, read_text

POCKET = "pocket"
ALIASES = {"runwayml/stable-diffusion-v1-5": "stable-diffusion-v1-5/stable-diffusion-v1-5"}  # the old id left the Hub in 2024
CARD_FILE = "stylekit.json"
LCM_LORA = "latent-consistency/lcm-lora-sdv1-5"
TAESD = "madebyollin/taesd"

DDIM, DPM, UNIPC, LCM, TCD = "ddim", "dpm++", "unipc", "lcm", "tcd"
SAMPLERS = (DDIM, DPM, UNIPC, LCM, TCD)
DISTILLED = (LCM, TCD)  # samplers of models that were distilled for few steps
DISTILLED_SPACING = 20  # timesteps between those they were distilled on: 19, 39, ... 999

Curve = tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class BaseCard:
    """What a base says about itself.

    dial_timestep and dial_scale: the strength dial (0..1) as points (strength, value), joined by straight lines; the timestep at which
    the photo enters the denoiser, and the factor on every adapter weight. phases: the picture is worked in this many placements on the
    grid of latents at once and the results are averaged ("cycle spinning", Coifman & Donoho 1995,
    https://doi.org/10.1007/978-1-4612-2544-7_9), which cancels the faint 8-pixel weave of a small model; 1, 2 or 4. renoise: how to go
    from step to step (see `stylekit.sampling.sample`). sampler: of `SAMPLERS`. few_steps: whether the base was made, or is accelerated, for
    `num_inference_steps` so few that styles which ask for more of them do not get them, and that guidance is in its weights.
    """

    title: str
    license: str
    num_inference_steps: int
    dial_timestep: Curve
    dial_scale: Curve
    phases: int = 1
    renoise: bool = False
    sampler: str = DDIM
    few_steps: bool = False

    def __post_init__(self) -> None:
        for curve in (self.dial_timestep, self.dial_scale):
            xs = [x for x, _ in curve]
            if len(curve) < 2 or xs != sorted(xs) or xs[0] != 0 or xs[-1] != 1:
                raise BaseError(f"A dial of the base {self.title!r} does not run from 0 to 1: mend its {CARD_FILE}.")
        if self.phases not in (1, 2, 4):
            raise BaseError(f"The base {self.title!r} asks for {self.phases} phases, not 1, 2 or 4: mend its {CARD_FILE}.")
        if self.num_inference_steps < 1:
            raise BaseError(f"The base {self.title!r} asks for {self.num_inference_steps} steps: mend its {CARD_FILE}.")
        if self.sampler not in SAMPLERS:
            raise BaseError(
                f"The base {self.title!r} asks for the sampler {self.sampler!r}, not one of {', '.join(SAMPLERS)}: mend its {CARD_FILE}."
            )

    @classmethod
    def read(cls, path: Path) -> BaseCard:
        source = Source(what=f"The base's card {path.parent.name}/{path.name}", remedy="mend or remove it", kind=BaseError)
        values = as_table(parse_json(read_text(path, source), source), source)
        try:
            return cls(
                title=str(values["title"]),
                license=str(values["license"]),
                num_inference_steps=int(values["num_inference_steps"]),
                dial_timestep=_curve(values["dial_timestep"]),
                dial_scale=_curve(values["dial_scale"]),
                phases=int(values.get("phases", 1)),
                renoise=bool(values.get("renoise", False)),
                sampler=str(values.get("sampler", DDIM)),
                few_steps=bool(values.get("few_steps", False)),
            )
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            source.refuse(f"cannot be used ({type(error).__name__}: {first_line(error)})")

    def timestep(self, strength: float) -> int:
        """Timestep at which a photo enters at `strength`; at least 1."""
        return max(1, round(interpolate(self.dial_timestep, strength)))

    def adapter_scale(self, strength: float) -> float:
        return interpolate(self.dial_scale, strength)

    @property
    def dial_is_noise(self) -> bool:
        """Whether the strength dial acts through the noise alone, as Stable Diffusion's does."""
        return len({scale for _, scale in self.dial_scale}) == 1


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
