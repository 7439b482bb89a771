"""Faces in a photo, from any side, and the points of their features.

Found by BlazeFace (Bazarevsky et al. 2019, https://arxiv.org/abs/1907.05047) on squares of several sizes; 468 points of each by MediaPipe's
face mesh (Kartynnik et al. 2019, https://arxiv.org/abs/1907.06724), which also says whether it is a face. Both lie in assets/faces and are
run by OpenCV.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from stylekit.hand.analysis import Box, Floats, resized, to_lab
from stylekit.hand.subject import networks

FOUND = "faces/face_detection_short_range.tflite", 128  # its file in assets, and the side of the square it looks at
MESH = "faces/face_landmark.tflite", 192
SIDE = 768  # pixels; faces are looked for in a copy of this longer side
SQUARES = 1.0, 0.62, 0.38  # sides of the squares that are looked at, in parts of the photo's shorter side
STEP = 0.62  # from one square to the next, in parts of its side
LEAST = 56  # pixels of the photo: a smaller square holds no face worth drawing
LIKELY = 0.55  # score from which a place may be a face; the mesh tells
SURE = 0.82, 8  # score of a face without a mesh, such as one in profile, and how many of the network's boxes say so
CLEAR = (40.0, 110.0), (0.62, 0.84)  # score from which a place is a face, for boxes of so many pixels
MESHED = 0.8  # score from which the points are those of a face
ROOM = 1.5  # side of the square that the mesh looks at, in parts of the face's box
SMALLEST = 11.0  # pixels of the photo across a face


@dataclass(frozen=True, kw_only=True)
class Face:
    """box: x, y, width, height in pixels of the photo, from the middle of the forehead to the chin. points: (468, 2) x, y in pixels, in the
    order of MediaPipe's mesh; None where the face is turned too far away to tell."""

    box: Box
    points: Floats | None = field(default=None, repr=False)


def found(photo: Floats) -> list[Face]:
    """Faces in (h, w, 3) sRGB in 0..1, the largest first."""
    h, w = photo.shape[:2]
    smaller = min(1.0, SIDE / max(h, w))
    if min(h, w) * smaller < LEAST:
        return []
    small = resized(photo, (max(1, round(w * smaller)), max(1, round(h * smaller))))
    packed = np.asarray(np.clip(small * 255 + 0.5, 0, 255), np.uint8)
    result = []
    for (x, y, width, height), points in _found(packed.tobytes(), *packed.shape[:2]):
        box = round(x / smaller), round(y / smaller), round(width / smaller), round(height / smaller)
        result.append(Face(box=box, points=None if points is None else np.asarray(points / np.float32(smaller), np.float32)))
    return result


@functools.lru_cache(maxsize=8)
def _found(packed: bytes, h: int, w: int) -> tuple[tuple[tuple[float, float, float, float], Floats | None], ...]:
    """Boxes and points in an 8-bit picture; every style that draws the same photo asks for them."""
    picture = np.asarray(np.frombuffer(packed, np.uint8).reshape(h, w, 3).astype(np.float32) / np.float32(255), np.float32)
    likely = [one for square in _squares(picture) for one in _looked(picture, square)]
    likely.sort(key=lambda one: -one[0])
    coloured = float(np.hypot(*to_lab(resized(picture, (32, 32)))[..., 1:].transpose(2, 0, 1)).mean()) > 8
    groups: list[list[tuple[float, Floats, Floats]]] = []
    for one in likely:
        near = next((group for group in groups if _overlap(one[1], group[0][1]) > 0.3), None)
        if near is None:
            groups.append([one])
        else:
            near.append(one)
    result: list[tuple[tuple[float, float, float, float], Floats | None]] = []
    taken: list[Floats] = []
    for group in groups:
        score, box, eyes = group[0]
        if box[2] < SMALLEST or any(_inside(box, other) > 0.5 for other in taken):
            continue
        certain, points = _meshed(picture, box, eyes)
        # a large face is an easy one: what is not clearly one is an animal's
        clear = certain >= MESHED and score > float(np.interp(box[2], *CLEAR))
        if not clear and (score < SURE[0] or len(group) < SURE[1] or not _may_be_skin(picture, box, coloured)):
            continue
        taken.append(box)
        x, y, width, height = (float(v) for v in box)
        # half of the forehead is part of a face
        result.append(((x, y - 0.08 * height, width, height), points if clear else None))
    return tuple(sorted(result, key=lambda one: (-one[0][2] * one[0][3], one[0])))


def _squares(picture: Floats) -> Iterator[tuple[float, float, float]]:
    """x, y and side of the squares that are looked at, the small ones only where there may be skin."""
    h, w = picture.shape[:2]
    long, short = max(h, w), min(h, w)
    if long > short:
        yield (w - long) / 2, (h - long) / 2, float(long)
    warm = _warmth(picture)
    for share in SQUARES:
        side = share * short
        if side < LEAST:
            break
        across, down = (np.linspace(0, d - side, max(1, math.ceil((d - side) / (STEP * side)) + 1)) for d in (w, h))
        for y in down if len(down) > 1 else ((h - side) / 2,):
            for x in across if len(across) > 1 else ((w - side) / 2,):
                if share < 0.5:
                    k = warm.shape[1] / w
                    part = warm[round(y * k) : round((y + side) * k) + 1, round(x * k) : round((x + side) * k) + 1]
                    if part.sum() < 0.012 * part.size:
                        continue
                yield float(x), float(y), side


def _warmth(picture: Floats) -> NDArray[np.bool_]:
    """(h, w) of a small copy: whether a place has a colour that skin may have, in some light."""
    h, w = picture.shape[:2]
    k = min(1.0, 160 / max(h, w))
    lab = to_lab(resized(picture, (max(1, round(w * k)), max(1, round(h * k)))))
    light, a, b = lab[..., 0], lab[..., 1], lab[..., 2]
    return np.asarray((light > 8) & (a > -2) & (b > -12) & (np.hypot(a, b) < 60), np.bool_)


def _looked(picture: Floats, square: tuple[float, float, float]) -> list[tuple[float, Floats, Floats]]:
    """Score, box (x, y, width, height) and eyes (2, 2) of what may be faces in a square."""
    x, y, side = square
    name, size = FOUND
    k = side / size
    scores, boxes = networks.run(
        name, _cut(picture, np.array([[k, 0, x], [0, k, y]], np.float64), size) * 2 - 1, ("classificators", "regressors")
    )
    score = 1 / (1 + np.exp(-np.clip(scores.ravel(), -80, 80)))
    result = []
    for i in np.flatnonzero(score > LIKELY).tolist():
        at = np.tile(_anchors()[i], 4) + boxes.reshape(-1, 16)[i, :8] / size
        width, height = boxes.reshape(-1, 16)[i, 2:4] / size
        box = np.array([at[0] - width / 2, at[1] - height / 2, width, height], np.float32) * side + np.array([x, y, 0, 0], np.float32)
        result.append((float(score[i]), box, np.asarray(at[4:].reshape(2, 2) * side + [x, y], np.float32)))
    return result


@functools.cache
def _anchors() -> Floats:
    """(896, 2) places in 0..1 that the boxes of the network are counted from: two each on a grid of 16 x 16, six on one of 8 x 8."""
    grids = []
    for n, many in ((16, 2), (8, 6)):
        at = (np.arange(n, dtype=np.float32) + 0.5) / n
        grids.append(np.stack(np.meshgrid(at, at), -1).reshape(-1, 2).repeat(many, 0))
    return np.concatenate(grids)


def _meshed(picture: Floats, box: Floats, eyes: Floats) -> tuple[float, Floats]:
    """How certain it is, 0..1, that a box with eyes (2, 2) is a face, and its points (468, 2)."""
    name, size = MESH
    turn = math.atan2(*(eyes[1] - eyes[0])[::-1].tolist())
    k = ROOM * float(max(box[2:])) / size
    ways = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]) * k
    corner = box[:2] + box[2:] / 2 - ways @ np.full(2, size / 2)
    points, certain = networks.run(name, _cut(picture, np.column_stack([ways, corner]), size), ("conv2d_21", "conv2d_31"))
    flat = points.reshape(468, 3)[:, :2]
    return 1 / (1 + math.exp(-float(np.clip(certain.ravel()[0], -80, 80)))), np.asarray(flat @ ways.T + corner, np.float32)


def _cut(picture: Floats, way: NDArray[np.float64], size: int) -> Floats:
    """(size, size, 3) of the picture; way: (2, 3) from a place in the cut to one in the picture."""
    k = math.hypot(way[0, 0], way[1, 0])
    half = max(1, int(k))
    source = picture
    if half > 1:  # not to see every other pixel only
        source = resized(picture, (max(1, picture.shape[1] // half), max(1, picture.shape[0] // half)))
        way = way * np.array([[source.shape[1] / picture.shape[1]], [source.shape[0] / picture.shape[0]]])
    return np.asarray(
        cv2.warpAffine(source, way, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_CONSTANT), np.float32
    )


def _may_be_skin(picture: Floats, box: Floats, coloured: bool) -> bool:
    """Whether the middle of a box is neither yellow, as fur is, nor green or blue, nor grey in a photo with colours."""
    x, y, width, height = (round(float(v)) for v in box)
    part = picture[max(0, y + height // 5) : y + height, max(0, x + width // 6) : x + width - width // 6]
    if not part.size:
        return False
    _, a, b = np.median(to_lab(np.ascontiguousarray(part)).reshape(-1, 3), 0)
    turn, chroma = math.degrees(math.atan2(b, a)), math.hypot(a, b)
    return not (chroma > 10 and not -45 < turn < 62) and not (coloured and chroma < 4)


def _inside(one: Floats, other: Floats) -> float:
    """Share of the smaller box that lies in the other."""
    return _shared(one, other) / max(1e-6, float(min(one[2] * one[3], other[2] * other[3])))


def _overlap(one: Floats, other: Floats) -> float:
    """Area that two boxes share, in parts of what they cover together."""
    both = _shared(one, other)
    return both / max(1e-6, float(one[2] * one[3] + other[2] * other[3]) - both)


def _shared(one: Floats, other: Floats) -> float:
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    return float(max(across, 0) * max(down, 0))
