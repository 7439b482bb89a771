"""How far a style can be taken while the brief's targets hold: SSIM to the photo over 0.7 and LPIPS under 0.3, both as means over photos.

For each style the strongest setting of the dial at which both hold, in hundredths, and what of the style is reached there. The pictures are
those that the app makes (`eval.methods.finished_method`). The dial is looked at from above in quarters; within the quarter where the
targets begin to hold the setting is found by halving, which takes for granted that there a stronger setting is farther from the photo.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eval.methods import Stylizes, finished_method
from eval.scores import Fault, Plan, Score, score_photos
from eval.table import COLUMNS
from stylekit.errors import StyleError

LIMIT_PHOTOS = 12  # photos that are looked at by default
DIAL_STEPS = 100  # of the dial
COARSE = (100, 75, 50, 25, 0)  # settings that are looked at first
TARGETS = {column.key: column for column in COLUMNS if column.key in ("ssim", "lpips")}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting of the dial: strength 0 to 1, means over `photos` pictures. reached: None without references."""

    strength: float
    photos: int
    ssim: float
    lpips: float
    reached: float | None

    @property
    def misses(self) -> tuple[str, ...]:
        """Keys of the targets that do not hold."""
        return tuple(key for key, column in TARGETS.items() if not column.passes(getattr(self, key)))


@dataclass(frozen=True, kw_only=True)
class Limit:
    """at: the strongest setting of `style` at which both targets hold. full: the dial at 1. beyond: keys of the targets that a setting a
    hundredth stronger misses, none where `at` is `full`. photo_reached: where the photos themselves lie on the line to the style."""

    style: str
    at: Setting
    full: Setting
    beyond: tuple[str, ...] = ()
    photo_reached: float | None = None

    @property
    def share(self) -> float | None:
        """How much of the way from the photos to the full style is gone; None without references, or where the full style is no way."""
        if self.at.reached is None or self.full.reached is None or self.photo_reached is None:
            return None
        way = self.full.reached - self.photo_reached
        return (self.at.reached - self.photo_reached) / way if way > 0 else None

    def values(self) -> dict[str, float | int | str | None]:
        """As a row of the report."""
        return {
            "style": self.style,
            "strength": self.at.strength,
            "photos": self.at.photos,
            "ssim": self.at.ssim,
            "lpips": self.at.lpips,
            "reached": self.at.reached,
            "share": self.share,
            "ssim_full": self.full.ssim,
            "lpips_full": self.full.lpips,
            "reached_full": self.full.reached,
            "beyond": ", ".join(TARGETS[key].title.removesuffix(" to content") for key in self.beyond),
        }


def find_limits(photos: Sequence[Path], plan: Plan, engine: Stylizes, base: str) -> Iterator[tuple[str, float, Limit | None]]:
    """Style by style: (style, strength that was looked at, None), then (style, its limit's strength, the limit).

    Every picture is kept in the plan's cache. A style that nothing makes on `base` is left out, and so are photos that fail.
    """
    for style in plan.styles:
        if finished_method("", engine, base).lacks(style):
            continue
        seen: dict[int, Setting] = {}
        for step in COARSE:
            seen[step] = _measured(photos, plan, engine, base, style, step)
            yield style, seen[step].strength, None
            if not seen[step].misses:
                break
        holds, fails = step, step + DIAL_STEPS // 4
        while step < DIAL_STEPS and fails - holds > 1:
            middle = (holds + fails) // 2
            seen[middle] = _measured(photos, plan, engine, base, style, middle)
            yield style, seen[middle].strength, None
            holds, fails = (holds, middle) if seen[middle].misses else (middle, fails)
        limit = Limit(
            style=style,
            at=seen[holds],
            full=seen[DIAL_STEPS],
            beyond=seen[fails].misses if holds < DIAL_STEPS else (),
            photo_reached=_measured(photos, plan, engine, base, style, 0).reached,
        )
        yield style, limit.at.strength, limit


def _measured(photos: Sequence[Path], plan: Plan, engine: Stylizes, base: str, style: str, step: int) -> Setting:
    """The mean over the photos at `step` hundredths of the dial."""
    method = finished_method(f"dial{step:03}", engine, base, step / DIAL_STEPS)
    wanted = Plan(styles=[style], methods=[method], backbone=plan.backbone, references=plan.references, cache=plan.cache, looks=plan.looks)
    found = list(score_photos(photos, wanted))
    scores = [event for event in found if isinstance(event, Score)]
    if not scores:
        reasons = "; ".join(sorted({event.reason for event in found if isinstance(event, Fault)}))
        raise StyleError(f"No photo could be measured in the style {style} ({reasons}): name other photos.")
    reached = [score.to_style[style]["reached"] for score in scores if "reached" in score.to_style.get(style, {})]
    return Setting(
        strength=step / DIAL_STEPS,
        photos=len(scores),
        ssim=float(np.mean([score.ssim for score in scores])),
        lpips=float(np.mean([score.lpips for score in scores])),
        reached=float(np.mean(reached)) if reached else None,
    )
