"""The things in a photo, one by one: people, animals, vehicles and other things of everyday life.

A network that looks at the whole photo at once (NanoDet of Lyu 2020, Apache License 2.0, assets/things) says in which boxes there are
things of 80 names; what is cut out of each box is told by the network that sees what a photo is of (subject/figure.py), which looks into
that box alone. Things end where the network of subject/contours.py sees an end near by.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import watershed

from stylekit.hand.analysis import Box, Floats, blur, numbered, resized
from stylekit.hand.subject import networks
from stylekit.hand.subject.figure import FILE as CUTTER
from stylekit.hand.subject.figure import MEAN, SPREAD
from stylekit.hand.subject.foreground import AREA, SMALLEST

FILE, SIDE = "things/things.onnx", 416  # in assets, and the side of the square it looks at
BLUE_FIRST = np.array([[103.53, 116.28, 123.675], [57.375, 57.12, 58.395]], np.float32)  # mean and spread of what it was trained on
LEVELS, BINS = (8, 16, 32), 11  # pixels from place to place, and lengths, in these, of which it says how likely each is
# fmt: off
NAMES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic-light", "hydrant", "stop-sign",
    "meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella",
    "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "ball", "kite", "bat", "glove", "skateboard", "surfboard", "racket",
    "bottle", "wineglass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli", "carrot",
    "hotdog", "pizza", "doughnut", "cake", "chair", "couch", "plant", "bed", "table", "toilet", "screen", "laptop", "mouse", "remote",
    "keyboard", "phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy", "dryer",
    "toothbrush",
)
# fmt: on
SEATS = frozenset(("bench", "chair", "couch", "bed", "table"))  # in their boxes sits what stands out more
# whose hides are none but natural colours
FURRED = frozenset(("cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "teddy"))
# which have one colour, whatever light falls on them
SOLID = frozenset(("tie", "frisbee", "ball", "surfboard", "snowboard", "skateboard"))
PEOPLE = frozenset(("person", "tie"))
# whose surfaces are smooth: what is seen on them is shine, and no texture
# fmt: off
SMOOTH = frozenset((
    "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "stop-sign", "hydrant", "meter", "suitcase", "frisbee", "ball",
    "bottle", "wineglass", "cup", "toilet", "screen", "laptop", "mouse", "remote", "phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "clock", "vase", "umbrella", "kite", "banana", "apple", "orange",
))
# fmt: on
SURE = 0.4  # what it says of a box of which it is sure
NEARLY = 0.7  # of what is said of a person, for an animal in the same place
SAME, ALIKE = 0.5, 0.65  # overlap of two boxes of one thing, and of one thing under two names
LEAST, MANY = 0.0015, 8  # share of the picture of the smallest box, and most things
LOOK, MARGIN = 192, 0.15  # side of the square that is cut out of, and what of a box is looked at around it
IN, OUT = 0.75, 0.25  # of the second network: surely the thing, surely not
FILLED = 0.18  # share of its box that a thing has at least
SCRAP = 0.1  # of the largest piece of a thing; a smaller one is none
CROWD = 0.04  # share of the picture of the largest box; where it is smaller and there are more boxes than MANY, no one is told apart
TINY = 0.015  # share of the picture
LEFT = 0.4  # share of what was cut out that is left of a thing when the others have theirs
CENTRED, CLEARLY = 0.6, 1.4  # how much less a place counts for a thing at the rim of what is cut out; by how much it is one's sooner
WEAK = 0.25  # mean of how surely a thing ends along a border that is none
PERSON, HELD = 1.25, 1.8  # how much more a person counts than what is ridden, and more still what is held or worn
WITHIN, LARGER = 0.8, 4.0  # of what is held: share of its box that lies in that of another, which is so many times as large
BORDER = 0.9  # how sure the outline of a thing is, as an end of one


@dataclass(frozen=True, kw_only=True)
class Thing:
    """name: one of NAMES. sure: 0..1. box: (x, y, width, height) in pixels of the photo."""

    name: str
    sure: float
    box: Box


@dataclass(frozen=True, kw_only=True)
class Things:
    """found: the largest first. labels: (h, w) the number of the one at each place, from 1; 0 for none."""

    found: tuple[Thing, ...]
    labels: NDArray[np.int32]

    def of(self, names: frozenset[str]) -> Floats:
        """(h, w) 1 where one of these names is, 0 elsewhere."""
        chosen = np.array([False, *(thing.name in names for thing in self.found)], np.float32)
        return chosen[self.labels]

    def tiny(self) -> Floats:
        """(h, w) 1 where something is that is so small that each of its corners tells what it is, 0 elsewhere."""
        share = np.bincount(self.labels.ravel(), minlength=len(self.found) + 1) / self.labels.size
        return np.asarray((share < TINY) & (np.arange(len(share)) > 0), np.float32)[self.labels]


def things(photo: Floats, ends: Floats, faces: Sequence[Box] = ()) -> Things:
    """Of (h, w, 3) sRGB with its dark tones opened, those that can be cut out. ends: (h, w) in 0..1, see `contours.contours`. faces: of
    people, (x, y, width, height)."""
    h, w = photo.shape[:2]
    nothing = Things(found=(), labels=np.zeros((h, w), np.int32))
    if min(h, w) < SMALLEST:
        return nothing
    boxes = [thing for thing in boxed(photo, faces) if thing.name not in SEATS]
    if not boxes or (len(boxes) > MANY and boxes[0].box[2] * boxes[0].box[3] < CROWD * h * w):
        return nothing
    boxes = boxes[:MANY]
    smaller = min(1.0, math.sqrt(AREA / (h * w)))
    size = max(1, round(w * smaller)), max(1, round(h * smaller))
    small = np.clip(resized(photo, size), 0, 1)
    told = np.stack([_cut(small, thing, smaller) for thing in boxes])
    kept = _parted(told, boxes, smaller, resized(ends, size))
    numbers, labels = np.unique(kept, return_inverse=True)
    labels = labels.reshape(kept.shape) + (numbers[0] > 0)
    found = tuple(boxes[n - 1] for n in numbers if n > 0)
    return Things(found=found, labels=numbered(labels, (w, h)))


def boxed(photo: Floats, faces: Sequence[Box] = ()) -> list[Thing]:
    """What is in (h, w, 3) sRGB, the largest first. faces: those of people (x, y, width, height), of which no animal has one."""
    h, w = photo.shape[:2]
    square = np.clip(resized(photo, (SIDE, SIDE)), 0, 1)[..., ::-1] * 255
    scores, lengths = networks.run(FILE, np.asarray((square - BLUE_FIRST[0]) / BLUE_FIRST[1], np.float32), ("scores", "boxes"))
    best = scores[0].max(1)
    sure = np.flatnonzero(best > NEARLY * SURE)
    if not len(sure):
        return []
    likely = np.exp(lengths[0][sure].reshape(-1, 4, BINS))
    reach = likely @ np.arange(BINS, dtype=np.float32) / likely.sum(-1)
    steps = np.concatenate([np.full((SIDE // step) ** 2, step) for step in LEVELS])
    rows, columns = np.concatenate([np.divmod(np.arange((SIDE // step) ** 2), SIDE // step) for step in LEVELS], 1)
    step, middle = steps[sure], (np.stack([columns, rows], 1)[sure] + 0.5) * steps[sure][:, None]
    corners = np.concatenate([middle - reach[:, :2] * step[:, None], middle + reach[:, 2:] * step[:, None]], 1)
    corners = np.clip(corners / SIDE, 0, 1) * np.array([w, h, w, h])
    names = scores[0][sure].argmax(1)
    fur = scores[0][sure][:, [NAMES.index(name) for name in sorted(FURRED)]]
    result: list[tuple[NDArray[np.float64], Thing]] = []
    for i in np.argsort(-best[sure], kind="stable").tolist():
        x0, y0, x1, y1 = corners[i]
        if best[sure[i]] < SURE:
            break
        name = NAMES[names[i]]
        if name == "person" and not any(_within(face, corners[i]) for face in faces):
            # an animal's face close by is taken for a person
            here = [overlap(corners[i], other) > ALIKE for other in corners]
            near = fur[here].max(0)
            name = sorted(FURRED)[int(near.argmax())] if near.max() > NEARLY * best[sure[i]] else name
        if (x1 - x0) * (y1 - y0) < LEAST * w * h:
            continue
        if all(overlap(corners[i], other) < (SAME if thing.name == name else ALIKE) for other, thing in result):
            box = round(x0), round(y0), max(1, round(x1 - x0)), max(1, round(y1 - y0))
            result.append((corners[i], Thing(name=name, sure=float(best[sure[i]]), box=box)))
    return [thing for _, thing in sorted(result, key=lambda found: -found[1].box[2] * found[1].box[3])]


def _within(face: Box, corners: NDArray[np.float64]) -> bool:
    """Whether the middle of a face (x, y, width, height) lies in a box (left, top, right, bottom)."""
    x, y, width, height = face
    return bool(corners[0] < x + width / 2 < corners[2] and corners[1] < y + height / 2 < corners[3])


def overlap(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Of two boxes (left, top, right, bottom), what both have against what either has."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    both = float(np.prod(np.maximum(sides, 0)))
    return both / max(float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2])) - both, 1e-9)


def _cut(small: Floats, thing: Thing, smaller: float) -> Floats:
    """(h, w) in 0..1: how surely each place of a small copy of the photo is part of the thing."""
    h, w = small.shape[:2]
    x, y, width, height = (v * smaller for v in thing.box)
    across, down = MARGIN * width + 3, MARGIN * height + 3
    left, top = math.floor(max(0, x - across)), math.floor(max(0, y - down))
    right, bottom = math.ceil(min(w, x + width + across)), math.ceil(min(h, y + height + down))
    part = resized(small[top:bottom, left:right], (LOOK, LOOK), cv2.INTER_LINEAR)
    told = networks.run(CUTTER, np.asarray((part / max(float(part.max()), 0.05) - MEAN) / SPREAD, np.float32))[0].reshape(LOOK, LOOK)
    result = np.zeros((h, w), np.float32)
    result[top:bottom, left:right] = np.clip(resized(np.nan_to_num(told), (right - left, bottom - top), cv2.INTER_LINEAR), 0, 1)
    xs, ys = np.arange(w, dtype=np.float32)[None], np.arange(h, dtype=np.float32)[:, None]
    out = np.maximum(np.abs(xs + 0.5 - x - width / 2) - width / 2, np.abs(ys + 0.5 - y - height / 2) - height / 2)
    return np.asarray(result * np.clip(1 - out / (0.5 * min(across, down)), 0, 1), np.float32)


def _parted(told: Floats, boxes: list[Thing], smaller: float, ends: Floats) -> NDArray[np.int32]:
    """(h, w) the number of the thing at each place, from 1 in the order of the boxes; told: (n, h, w) how surely it is part of each."""
    held = [any(_holds(other.box, thing.box) for other in boxes) for thing in boxes]
    counts = [HELD if held[i] else PERSON if thing.name == "person" else 1 for i, thing in enumerate(boxes)]
    marks = np.stack([count * _centred(plane) for plane, count in zip(told, counts, strict=True)])
    first = marks.argmax(0)
    for i, thing in enumerate(boxes):
        cut = told[i] > 0.5
        room = thing.box[2] * thing.box[3] * smaller**2
        if cut.sum() < FILLED * room or (cut & (first == i)).sum() < LEFT * cut.sum():
            marks[i] = 0
    order = np.sort(np.concatenate([marks, np.zeros_like(marks[:1])]), 0)
    first = marks.argmax(0)
    sure = np.where(order[-1] > 0, np.take_along_axis(told, first[None], 0)[0], 0)
    # a place that two might have is given to neither: ends decide
    markers = np.where((sure > IN) & (order[-1] > CLEARLY * order[-2]), first + 2, np.where(sure < OUT, 1, 0))
    labels = np.asarray(watershed(ends, np.asarray(_open(markers), np.int32)), np.int32) - 1
    joined = _joined(labels, ends)
    scraps = _scraps(joined)
    return np.asarray(watershed(ends, np.where(scraps, 0, joined + 1)), np.int32) - 1 if scraps.any() else joined


def _scraps(labels: NDArray[np.int32]) -> NDArray[np.bool_]:
    """(h, w) pieces of a thing that are small beside its largest."""
    result = np.zeros(labels.shape, bool)
    for number in range(1, int(labels.max()) + 1):
        _, pieces, stats, _ = cv2.connectedComponentsWithStats(np.asarray(labels == number, np.uint8), connectivity=4)
        area = stats[:, cv2.CC_STAT_AREA]
        area[0] = area.max()
        result |= (area < SCRAP * area[1:].max(initial=0))[pieces]
    return result


def _open(markers: NDArray[np.int64]) -> NDArray[np.int64]:
    """(h, w) the same numbers, but 0 in the last pixels of a thing before another."""
    square, inner = np.ones((3, 3), np.uint8), np.where(markers > 1, markers, 0).astype(np.float32)
    return np.where((cv2.dilate(inner, square) != inner) & (inner > 0), 0, markers)


def _joined(labels: NDArray[np.int32], ends: Floats) -> NDArray[np.int32]:
    """(h, w) the same numbers, but things between which hardly any end is seen are one."""
    result = labels.copy()
    pairs = []
    for one, other in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        at = np.nonzero((one != other) & (one > 0) & (other > 0))
        seen = np.maximum(ends[at], ends[at[0] + (one.shape[0] < len(labels)), at[1] + (one.shape[0] == len(labels))])
        pairs.append(np.column_stack([np.minimum(one[at], other[at]), np.maximum(one[at], other[at]), seen]))
    for low, high in np.unique(np.concatenate(pairs)[:, :2], axis=0).astype(int).tolist():
        border = [part[(part[:, 0] == low) & (part[:, 1] == high), 2] for part in pairs]
        if np.concatenate(border).mean() < WEAK:
            result[result == result[labels == high][0]] = result[labels == low][0]
    return result


def _holds(one: Box, other: Box) -> bool:
    """Whether the other lies within the one and is much smaller."""
    sides = (min(one[i] + one[i + 2], other[i] + other[i + 2]) - max(one[i], other[i]) for i in (0, 1))
    both = math.prod(max(0, side) for side in sides)
    room = other[2] * other[3]
    return both > WITHIN * room and one[2] * one[3] > LARGER * room


def _centred(plane: Floats) -> Floats:
    """(h, w) the less the further away from the middle, above all to the sides: in a row of people each is nearest to their own."""
    inside = plane > 0.5
    if not inside.any():
        return np.zeros_like(plane)
    h, w = plane.shape
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    across = (np.arange(w) - (columns[0] + columns[-1]) / 2) / max(1.0, (columns[-1] - columns[0]) / 2)
    down = (np.arange(h) - (rows[0] + rows[-1]) / 2) / max(1.0, (rows[-1] - rows[0]) / 2)
    far = np.clip(across[None] ** 2 + 0.3 * down[:, None] ** 2, 0, 1)
    return np.asarray(plane * (1 - CENTRED * far), np.float32)


def outlined(ends: Floats, labels: NDArray[np.int32]) -> Floats:
    """(h, w) in 0..1: where things end, (h, w) `ends`, and the outlines of those that `labels` number."""
    if not labels.any():
        return ends
    h, w = ends.shape
    plane = np.asarray(labels, np.float32)
    border = np.asarray(cv2.dilate(plane, np.ones((3, 3), np.uint8)) > cv2.erode(plane, np.ones((3, 3), np.uint8)), np.float32)
    breadth = max(0.7, 0.0022 * math.sqrt(h * w))
    line = blur(border, breadth)
    return np.maximum(ends, np.float32(BORDER) * np.clip(line * np.float32(1.25 * breadth), 0, 1))


def in_figure(figure: Floats, labels: NDArray[np.int32]) -> Floats:
    """(h, w) in 0..1: the figure, with all that `labels` number as it is cut out, and no thin rims beside that."""
    if not labels.any():
        return figure
    h, w = figure.shape
    side = 2 * max(1, round(0.012 * math.sqrt(h * w))) + 1
    pixel, disc = np.ones((3, 3), np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    own = np.asarray(labels > 0, np.uint8)
    rest = cv2.morphologyEx(np.asarray((figure > 0.5) & (labels == 0), np.uint8), cv2.MORPH_OPEN, disc)
    kept = (cv2.dilate(rest, pixel) > 0) | (cv2.dilate(own, np.ones((side, side), np.uint8)) == 0)
    soft = blur(own.astype(np.float32), max(0.7, 0.002 * math.sqrt(h * w)))
    return np.asarray(np.maximum(soft, np.where(kept, figure, 0)), np.float32)
