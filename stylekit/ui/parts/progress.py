"""How far a picture is: its stages, the share of time that each takes, and the time to go, as learned from the pictures before it."""

from __future__ import annotations

import html
import threading
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

READING, LAYING, PAINTING, DRAWING, SAVING = STAGES = ("Reading", "Laying in", "Painting", "The hand", "Saving")
# seconds for a picture of 0.3 million pixels on two quiet cores: what is believed before the first one
FIRST: Mapping[str, float] = {READING: 0.1, LAYING: 0.5, PAINTING: 2.5, DRAWING: 2.0, SAVING: 0.3}
LEARNING = 0.5  # weight of the newest picture
NEARLY = 0.97  # of its expected time is the most that a stage counts for before it is over
MOST_KINDS = 200  # of pictures whose pace is kept


class Pace:
    """Seconds that the stages took, for each kind of picture (its styles, size and the like). For several threads."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, dict[str, float]] = {}
        self._latest = dict(FIRST)
        self._lock = threading.Lock()

    def expected(self, kind: Hashable) -> dict[str, float]:
        """Of this kind; of the last picture, where there was none of it."""
        with self._lock:
            return dict(self._kept.get(kind, self._latest))

    def learn(self, kind: Hashable, took: Mapping[str, float]) -> None:
        """took: seconds of each stage; one that was left out takes none."""
        with self._lock:
            before = self._kept.pop(kind, None)
            now = {stage: took.get(stage, 0.0) for stage in STAGES}
            if before:
                now = {stage: LEARNING * seconds + (1 - LEARNING) * before[stage] for stage, seconds in now.items()}
            self._kept[kind] = now
            self._latest = {stage: seconds or self._latest[stage] for stage, seconds in now.items()}
            if len(self._kept) > MOST_KINDS:
                del self._kept[next(iter(self._kept))]


@dataclass(kw_only=True)
class Stopwatch:
    """One picture's way through the stages. expected: seconds of each; times are on one clock."""

    expected: Mapping[str, float]
    stage: str = READING
    since: float = 0.0
    part: float = 0.0
    took: dict[str, float] = field(default_factory=dict)

    def enter(self, stage: str, now: float) -> None:
        """Begin `stage`, if another one is under way."""
        if stage != self.stage:
            self.took[self.stage] = now - self.since
            self.stage, self.since, self.part = stage, now, 0.0

    def seconds(self, now: float) -> dict[str, float]:
        """What each stage takes, as far as one can tell: what it took, what it will, or is expected to."""
        at, told = STAGES.index(self.stage), {}
        for index, stage in enumerate(STAGES):
            told[stage] = self.took.get(stage, 0.0) if index < at else self.expected[stage]
        spent = now - self.since
        told[self.stage] = spent / self.part if self.part > 0.1 else max(told[self.stage], spent / NEARLY)
        return told

    def shares(self, now: float) -> list[tuple[str, float, float]]:
        """(stage, its share of the whole time, how much of it is done), 0 to 1 each."""
        told, at = self.seconds(now), STAGES.index(self.stage)
        whole = sum(told.values()) or 1.0
        within = min(NEARLY, max(self.part, (now - self.since) / max(told[self.stage], 1e-6)))
        return [(stage, told[stage] / whole, 1.0 if i < at else within if i == at else 0.0) for i, stage in enumerate(STAGES)]

    def done(self, now: float) -> float:
        return sum(share * part for _, share, part in self.shares(now))

    def to_go(self, now: float) -> float:
        """Seconds."""
        return sum(self.seconds(now).values()) * (1 - self.done(now))


def to_go(seconds: float) -> str:
    """1 to 9 s as they are, 10 to 59 s to the next 5, above to the half minute."""
    if seconds < 10:
        return f"about {max(1, round(seconds))} s to go"
    if seconds < 60:
        return f"about {5 * round(seconds / 5)} s to go"
    return f"about {round(seconds / 30) / 2:g} min to go"


def bar(shares: list[tuple[str, float, float]]) -> str:
    """The stages as one bar, each as wide as its share."""
    parts = "".join(
        f'<i style="flex-grow:{share:.3f};--sk-done:{done:.3f}" title="{html.escape(stage)}, {share:.0%}"></i>'
        for stage, share, done in shares
        if share > 0
    )
    done = sum(share * part for _, share, part in shares)
    return f'<span class="sk-stages" role="progressbar" aria-label="Progress" aria-valuenow="{100 * done:.0f}">{parts}</span>'
