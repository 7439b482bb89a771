"""What the tools of all hands see of one photo: worked out once, when first asked for, and shared."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import TypeVar

import cv2

from stylekit.hand import analysis
from stylekit.hand.analysis import Box, Floats
from stylekit.hand.subject import animals, contours, faces, figure, foreground, letters, skin, things
from stylekit.hand.subject.features import Features, features

T = TypeVar("T")


class Sight:
    """Of (h, w, 3) float32 sRGB in 0..1. The arrays it returns are shared: none may be written to. Threads may ask at the same time."""

    def __init__(self, photo: Floats) -> None:
        self.photo = photo
        self._slots: dict[Hashable, _Slot] = {}
        self._lock = threading.Lock()

    def opened(self, median: float) -> Floats:
        """(h, w, 3) the photo with its dark tones opened, see `analysis.opened`; a median of 0 leaves it as it is."""
        return self._once(("opened", median), lambda: analysis.opened(self.photo, median)) if median > 0 else self.photo

    def lightness(self, median: float = 0.0) -> Floats:
        """(h, w) luma of the photo opened to `median`."""
        return self._once(("lightness", median), lambda: analysis.lightness(self.opened(median)))

    def found(self) -> list[faces.Face]:
        """Faces, the largest first, see `subject.faces`."""
        return self._once("found", lambda: faces.found(self.photo))

    def haired(self) -> list[faces.Face]:
        """Those of the faces that are found over which hair grows, or a hat is worn."""
        return self._once("haired", lambda: skin.haired(self.opened(figure.OPENED), self.found()))

    def faces(self) -> list[Box]:
        """Boxes of the faces (x, y, width, height), the largest first."""
        return [face.box for face in self.found()]

    def features(self) -> list[Features | None]:
        """Of every face, in the same order, its features; None where it is turned too far away."""
        return self._once("features", lambda: [features(face, self.opened(figure.OPENED)) for face in self.found()])

    def face_map(self) -> Floats:
        """(h, w) in 0..1, see `analysis.face_map`."""
        return self._once("face map", lambda: analysis.face_map(self.photo, self.faces()))

    def figure(self) -> Floats:
        """(h, w) in 0..1: what the photo is of, see `figure.figure`, with all things that are found."""

        def make() -> Floats:
            standing_out = figure.figure(self.photo, self.opened(figure.OPENED), self.foreground())
            return things.in_figure(standing_out, self.things().labels)

        return self._once("figure", make)

    def letters(self) -> letters.Letters:
        """Words, see `letters.letters`."""
        return self._once("letters", lambda: letters.letters(self.opened(figure.OPENED)))

    def things(self) -> things.Things:
        """People, animals and other things that can be told one from another, see `things.things`."""
        return self._once("things", lambda: things.things(self.opened(figure.OPENED), self._ends(), self.faces()))

    def animals(self) -> animals.Animals:
        """What is seen of the faces of those of the things that are animals, see `animals.animals`."""
        return self._once("animals", lambda: animals.animals(self.lightness(figure.OPENED), self.things()))

    def foreground(self) -> Floats:
        """(h, w) in 0..1: how surely each place is part of what stands before the ground, see `foreground.foreground`."""
        return self._once("foreground", lambda: foreground.foreground(self.opened(figure.OPENED), self.faces()))

    def hair(self) -> Floats:
        """(h, w) in 0..1: the hair of the faces that are found, as marks on it need it, see `skin.hair_map`."""

        def make() -> Floats:
            h, w = self.photo.shape[:2]
            half = max(1, w // 2), max(1, h // 2)
            lab = analysis.to_lab(analysis.resized(self.opened(figure.OPENED), half))
            hair = skin.hair_map(self.haired(), half, half[0] / w, self.foreground(), lab)
            return analysis.resized(hair, (w, h), cv2.INTER_LINEAR)

        return self._once("hair", make)

    def skin(self) -> Floats:
        """(h, w) in 0..1: the skin of people whose faces are seen, see `skin.skin_map`."""
        return self._once("skin", lambda: skin.skin_map(self.opened(figure.OPENED), self.found(), self._bodies()))

    def _bodies(self) -> Floats:
        return self.foreground() if self.foreground().any() else self.figure()

    def edges(self, sigma: float, median: float = 0.0) -> Floats:
        """(h, w) slope of the lightness, see `analysis.edges`."""
        return self._once(("edges", sigma, median), lambda: analysis.edges(self.lightness(median), sigma))

    def contours(self) -> Floats:
        """(h, w) in 0..1: how surely a thing ends at each place, see `contours.contours`; most surely around those that are found."""
        return self._once("contours", lambda: things.outlined(self._ends(), self.things().labels))

    def _ends(self) -> Floats:
        return self._once("ends", lambda: contours.contours(self.opened(figure.OPENED)))

    def tensor(self, reach: float, median: float = 0.0, part: int = 1) -> tuple[Floats, Floats, Floats]:
        """Structure tensor of the lightness, see `analysis.tensor`; reach: in pixels of the photo. part: 2 for one of half the size."""
        return self._once(("tensor", reach, median, part), lambda: analysis.smoothed_tensor(self._slopes(median, part), reach / part))

    def _slopes(self, median: float, part: int) -> tuple[Floats, Floats, Floats]:
        if part == 1:
            return self._once(("slopes", median), lambda: analysis.slopes(self.lightness(median)))
        h, w = self.photo.shape[:2]
        xx, xy, yy = self._slopes(median, 1)
        size = w // part, h // part
        return self._once(
            ("slopes", median, part), lambda: (analysis.resized(xx, size), analysis.resized(xy, size), analysis.resized(yy, size))
        )

    def _once(self, key: Hashable, make: Callable[[], T]) -> T:
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
        with slot.lock:
            if not slot.made:
                slot.value, slot.made = make(), True
        return slot.value  # type: ignore[return-value]


class _Slot:
    """A value, and the lock under which it is made."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.made = False
        self.value: object = None
