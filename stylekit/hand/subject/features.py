"""What a draughtsman draws of a face: lids, irises, brows, nose, lips, as curves and shapes.

Their places are points of MediaPipe's face mesh (subject/faces.py), named by number as in its canonical model; where an eye looks, whether
a mouth shows teeth, and whether glasses hide an eye, is seen in the photo.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stylekit.hand.analysis import Floats, lightness, to_lab
from stylekit.hand.marks import pen
from stylekit.hand.subject.faces import Face

# of both eyes: outer corner to inner along the upper lid, back along the lower
UPPER = (33, 246, 161, 160, 159, 158, 157, 173, 133), (263, 466, 388, 387, 386, 385, 384, 398, 362)
LOWER = (33, 7, 163, 144, 145, 153, 154, 155, 133), (263, 249, 390, 373, 374, 380, 381, 382, 362)
# from the temple to the nose, above and below
BROWS = ((70, 63, 105, 66, 107), (46, 53, 52, 65, 55)), ((300, 293, 334, 296, 336), (276, 283, 282, 295, 285))
LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
UPPER_LIP = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)  # its lower edge, from corner to corner
LOWER_LIP = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)  # its upper edge
OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
JAW = (454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234)
RIDGE = (168, 6, 197, 195, 5, 4, 1)  # of the nose, from between the eyes to its tip
SIDES = (193, 122, 196, 236, 198), (417, 351, 419, 456, 420)  # the sides of the nose, down to the wing
WINGS = (129, 64, 98), (358, 294, 327)  # round the wing of the nose
BASE = (98, 97, 2, 326, 327)
CHEEKS = (50, 205, 187, 280, 425, 411)
BELOW = (110, 24, 23, 22), (339, 254, 253, 252)  # skin under the eyes
CLOSED = 0.13  # height of an eye in parts of its width below which it is shut
PARTED = 0.10  # height of a mouth's opening in parts of its width from which it is open
TURNED, PROFILE = 0.3, 0.88  # from which a face is seen from the side, and so far from it that points behind are guesses; see `turn`
SEEN = 34.0  # pixels across a face from which on glasses are told
COVERED = 0.5  # light under an eye, in parts of the cheeks', below which dark glasses lie on it
RED = 12.0  # CIE Lab: how much redder lips are that are painted
IRIS = 0.2  # its radius in parts of an eye's width


@dataclass(frozen=True, kw_only=True)
class Eye:
    """upper, lower: (9, 2) the lids from the outer corner to the inner. iris: x, y and radius. open: whether it is."""

    upper: Floats
    lower: Floats
    iris: tuple[float, float, float]
    open: bool

    @property
    def outline(self) -> Floats:
        """(n, 2) closed."""
        return np.concatenate([self.upper, self.lower[-2:0:-1]])

    def seen_iris(self) -> Floats:
        """(n, 2) closed: the iris, as far as the lids leave it free."""
        x, y, radius = self.iris
        along = self.upper[-1] - self.upper[0]
        along = along / max(float(np.linalg.norm(along)), 1e-6)
        ways = np.stack([along, np.array([-along[1], along[0]], np.float32)], 1)  # across the eye, and down
        middle = (np.array([x, y], np.float32) - self.upper[0]) @ ways
        across = np.linspace(-0.98, 0.98, 13, dtype=np.float32) * radius
        lids = [np.interp(middle[0] + across, *((lid - self.upper[0]) @ ways).T) for lid in (self.upper, self.lower)]
        above, below = np.sort(np.stack(lids), 0)
        chord = np.sqrt(np.maximum(radius**2 - across**2, 0))
        top, bottom = np.maximum(above, middle[1] - chord), np.minimum(below, middle[1] + chord)
        bottom = np.maximum(top, bottom)
        edge = np.concatenate([np.stack([middle[0] + across, top], 1), np.stack([middle[0] + across, bottom], 1)[::-1]])
        return np.asarray(edge @ ways.T + self.upper[0], np.float32)


@dataclass(frozen=True, kw_only=True)
class Features:
    """In pixels of the photo. width: of the face. eyes: those that are seen. shades: (n, 2), closed, where dark glasses hide one. brows,
    lips: (n, 2), closed. opening: of the mouth, (n, 2), closed, or None. seam: (n, 2) where the lips meet. teeth: whether the opening is
    light. nose: curves (n, 2). jaw: (n, 2) from ear to ear, None in profile. outline: (n, 2) of the face, closed. red: whether the lips
    are much redder than the cheeks."""

    width: float
    eyes: tuple[Eye, ...]
    shades: tuple[Floats, ...]
    brows: tuple[Floats, ...]
    lips: Floats
    opening: Floats | None
    seam: Floats
    teeth: bool
    nose: tuple[Floats, ...]
    jaw: Floats | None
    outline: Floats
    red: bool


def features(face: Face, photo: Floats) -> Features | None:
    """Those of a face in (h, w, 3) sRGB; None where it is turned too far away to tell."""
    points = face.points
    if points is None:
        return None
    light = lightness(photo)
    width = max(float(face.box[2]), float(np.ptp(points[list(OVAL), 0])))
    cheek = float(np.median(_at(light, points[list(CHEEKS)])))
    side = turn(points)
    seen: list[int] = []
    shades: list[int] = []
    for i in (0, 1):
        # an eye behind the nose is not drawn
        across = np.linalg.norm(points[UPPER[i][0]] - points[UPPER[i][-1]])
        other = np.linalg.norm(points[UPPER[1 - i][0]] - points[UPPER[1 - i][-1]])
        dark = width > SEEN and float(np.median(_at(light, points[list(BELOW[i])]))) < COVERED * cheek
        if across > (0.33 if abs(side) < PROFILE else 1) * other:
            (shades if dark else seen).append(i)
    opening = smooth(np.concatenate([points[list(UPPER_LIP)], points[list(LOWER_LIP)][-2:0:-1]]), closed=True)
    mouth = points[UPPER_LIP[0]] - points[UPPER_LIP[-1]]
    gap = float(np.linalg.norm(points[13] - points[14])) / max(float(np.linalg.norm(mouth)), 1e-6)
    teeth = float(np.percentile(_at(light, opening.mean(0) + 0.6 * (opening - opening.mean(0))), 60)) > 0.72 * cheek
    return Features(
        width=width,
        eyes=tuple(_eye(points, i, light) for i in seen),
        shades=tuple(_glass(points, i) for i in shades),
        brows=tuple(_brow(points, i) for i in seen),
        lips=smooth(points[list(LIPS)], closed=True),
        opening=opening if gap > PARTED else None,
        seam=smooth(0.5 * (points[list(UPPER_LIP)] + points[list(LOWER_LIP)])),
        teeth=teeth,
        nose=_nose(points, side, light),
        jaw=smooth(points[list(JAW)]) if abs(side) < PROFILE else None,
        outline=smooth(points[list(OVAL)], closed=True),
        red=_redness(photo, points) > RED,
    )


def _redness(photo: Floats, points: Floats) -> float:
    """How much redder, in CIE Lab, the lips are than the cheeks."""
    lower = 0.5 * (points[list(LIPS[11:20])] + points[list(LOWER_LIP[1:-1])])
    lips, cheeks = (to_lab(np.ascontiguousarray(_at(photo, p))[None])[0] for p in (lower, points[list(CHEEKS)]))
    return float(np.median(lips[:, 1]) - np.median(cheeks[:, 1]))


def turn(points: Floats) -> float:
    """-1..1: how far (468, 2) points of a face look to the left (-) or right (+) of the picture, 0 for a face from the front."""
    left, right, tip = points[234], points[454], points[1]
    along = right - left
    return float(np.clip(2 * ((tip - left) @ along) / max(float(along @ along), 1e-6) - 1, -1, 1))


def smooth(points: Floats, *, closed: bool = False, times: int = 2) -> Floats:
    """(n, 2) points as a rounder curve through the same places, each span cut in four (Catmull & Rom 1974)."""
    p = np.asarray(points, np.float32)
    ring = np.concatenate([p[-1:], p, p[:2]]) if closed else np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    a, b, c, d = ring[:-3], ring[1:-2], ring[2:-1], ring[3:]
    steps = np.arange(2**times, dtype=np.float32) / 2**times
    t = steps[None, :, None]
    curve = 0.5 * (2 * b + np.zeros(1, np.float32))[:, None] + 0.5 * (
        (c - a)[:, None] * t + (2 * a - 5 * b + 4 * c - d)[:, None] * t**2 + (3 * b - a - 3 * c + d)[:, None] * t**3
    )
    result = curve.reshape(-1, 2)
    return np.asarray(result if closed else np.concatenate([result, p[-1:]]), np.float32)


def _eye(points: Floats, i: int, light: Floats) -> Eye:
    upper, lower = points[list(UPPER[i])], points[list(LOWER[i])]
    corner = upper[-1] - upper[0]
    width = float(np.linalg.norm(corner))
    height = float(np.linalg.norm(upper[4] - lower[4]))
    middle = 0.25 * (upper[3] + upper[5] + lower[3] + lower[5])
    radius = max(IRIS * width, 0.4 * height)
    # it looks where the eye is dark, between its corners
    shares = np.linspace(0.22, 0.78, 25, dtype=np.float32)
    places = 0.5 * (upper[0] + lower[0]) + shares[:, None] * corner
    lift = middle - (upper[0] + 0.5 * corner)
    places = places + lift * (1 - (2 * shares[:, None] - 1) ** 2)
    soft = np.asarray(cv2.GaussianBlur(_patch(light, middle, 1.2 * width), (0, 0), max(0.6, 0.5 * radius)), np.float32)
    inside = places - np.floor(middle - 1.2 * width)
    dark = _at(soft, inside) + 0.12 * np.abs(shares - 0.5)
    x, y = places[int(dark.argmin())].tolist()
    return Eye(upper=smooth(upper), lower=smooth(lower), iris=(x, y, radius), open=height > CLOSED * width)


def _glass(points: Floats, i: int) -> Floats:
    around = points[[*UPPER[i], *LOWER[i], *BELOW[i], *BROWS[i][1]]]
    hull = cv2.convexHull(np.asarray(around, np.float32))[:, 0]
    return smooth(np.asarray(hull.mean(0) + 1.12 * (hull - hull.mean(0)), np.float32), closed=True)


def _brow(points: Floats, i: int) -> Floats:
    above, below = points[list(BROWS[i][0])], points[list(BROWS[i][1])]
    # broad towards the nose, thin at the temple
    share = np.array([0.18, 0.44, 0.55, 0.62, 0.58], np.float32)[:, None]
    middle = 0.5 * (above + below)
    above, below = middle + share * (above - middle), middle + share * (below - middle)
    return smooth(np.concatenate([above, below[::-1]]), closed=True)


def _nose(points: Floats, side: float, light: Floats) -> tuple[Floats, ...]:
    base = smooth(points[list(BASE)])
    wings = [smooth(points[list(wing)]) for wing in WINGS]
    if abs(side) > TURNED:
        # its ridge is an outline; the wing on the near side
        near = 1 if side < 0 else 0
        if abs(side) > PROFILE:
            return (wings[near],)
        ridge = smooth(np.concatenate([points[list(RIDGE[1:])], points[[2]]]))
        return ridge, wings[near]
    # from the front the side in shade is drawn, and what is below
    dark = [float(np.mean(_at(light, points[list(s)][1:4]))) for s in SIDES]
    shaded = int(dark[1] < dark[0]) if abs(side) < 0.1 else (1 if side > 0 else 0)
    return smooth(points[list(SIDES[shaded][2:])]), wings[0], wings[1], base


def _patch(plane: Floats, middle: Floats, reach: float) -> Floats:
    """The square of (h, w) from `reach` pixels before `middle` on, the border repeated."""
    corner = np.floor(middle - reach).astype(int)
    side = int(2 * reach) + 2
    ys = np.clip(np.arange(corner[1], corner[1] + side), 0, plane.shape[0] - 1)
    xs = np.clip(np.arange(corner[0], corner[0] + side), 0, plane.shape[1] - 1)
    return np.ascontiguousarray(plane[np.ix_(ys, xs)])


def _at(plane: Floats, points: NDArray[Any]) -> Floats:
    return np.asarray(pen.sampled(plane, points), np.float32)
