"""The eyes and noses of animals: small dark spots, each alone in lighter fur, that tell a face from a patch of hide."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from stylekit.hand.analysis import Floats, blur, resized
from stylekit.hand.subject.things import FURRED, Things

# a cat's eyes are light, and stripes and patches are what these are known by
EYED = FURRED - {"cat", "zebra", "giraffe"}
LEAST_ANIMAL = 24.0  # parts of the picture's side over 512: the side of a square as large as an animal of which spots are seen
AROUND, SOFT = 0.16, 0.012  # of that side: as far as a spot is compared, and what is finer is no spot
DARKER, DEVIATIONS = 0.10, 0.9  # than what is around it: in light, and in its standard deviations
DARKEST, LARGER, COMMON = 0.2, 12.0, 0.01  # somewhere in it; the more, the more of the animal it is than usual
RIM = 0.02  # of the side: nearer to the outline it is the shade of what lies behind
SMALLEST, LARGEST = 0.0008, 0.03  # share of the animal
FACE, FAIR = 2, 0.42  # spots of a face that they tell, and median light of a hide on which they show
LONGEST, FILLED = 2.6, 0.7  # how long against its breadth, and share of its convex hull


@dataclass(frozen=True, kw_only=True)
class Animals:
    """darker: (h, w), above 0 where an eye or a nose is. told: (h, w) 1 where a fair animal is whose face these tell, 0 elsewhere;
    in others no spot is sure to be an eye."""

    darker: Floats
    told: Floats

    def spots(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """(fine h, fine w), of the given shape: where eyes and noses are."""
        size = shape[1], shape[0]
        # a pixel more than a spot, so that its outline is that of the enlarged light
        near = cv2.dilate(np.asarray(self.darker > 0, np.uint8), np.ones((3, 3), np.uint8))
        return (resized(self.darker, size, cv2.INTER_CUBIC) > 0) & (cv2.resize(near, size, interpolation=cv2.INTER_NEAREST) > 0)


def animals(light: Floats, things: Things) -> Animals:
    """Those of the things, in (h, w) lightness in 0..1 of a photo whose dark tones are opened."""
    darker, told = np.zeros_like(light), np.zeros_like(light)
    least = LEAST_ANIMAL / 512 * math.sqrt(light.size)
    for thing, number, box in zip(things.found, range(1, len(things.found) + 1), find_objects(things.labels), strict=False):
        if thing.name not in EYED or box is None:
            continue
        own = things.labels[box] == number
        side = math.sqrt(own.sum())
        if side < least:
            continue
        over, many = _darker(light[box], own, side)
        if many >= FACE and float(np.median(light[box][own])) > FAIR:
            darker[box] = np.where(own, over, darker[box])
            told[box][own] = 1
    return Animals(darker=darker, told=told)


def _darker(light: Floats, own: NDArray[np.bool_], side: float) -> tuple[Floats, int]:
    """(h, w) how much darker than a spot has to be each place of one animal is, `own` in a part of the picture, below 0 where no spot is;
    and how many spots there are."""
    inside = own.astype(np.float32)
    soft = blur(light, max(0.7, SOFT * side))
    weight = blur(inside, AROUND * side) + np.float32(1e-4)
    mean = blur(soft * inside, AROUND * side) / weight
    darker = np.asarray((mean - soft) * inside, np.float32)
    deviation = np.sqrt(np.maximum(blur(darker * darker, AROUND * side) / weight, 0))
    over = np.asarray(darker - np.maximum(DARKER, DEVIATIONS * deviation), np.float32)
    reach = 2 * max(1, round(RIM * side)) + 1
    inner = cv2.erode(np.pad(own, reach).astype(np.uint8), np.ones((reach, reach), np.uint8))[reach:-reach, reach:-reach]
    _, parts, stats, _ = cv2.connectedComponentsWithStats(np.asarray((over > 0) & (inner > 0), np.uint8), connectivity=4)
    kept = np.zeros(len(stats), bool)
    for number in range(1, len(stats)):
        left, top, width, height, area = (int(v) for v in stats[number])
        here = slice(top, top + height), slice(left, left + width)
        spot = parts[here] == number
        outlines, _ = cv2.findContours(spot.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        hull = cv2.contourArea(cv2.convexHull(np.concatenate(outlines)))
        share = area / side**2
        alone = float(darker[here][spot].max()) > DARKEST + LARGER * max(0.0, share - COMMON)
        compact = max(width, height) < LONGEST * min(width, height) and area > FILLED * hull
        kept[number] = alone and compact and SMALLEST < share < LARGEST
    return np.where(kept[parts], over, -np.abs(over)), int(kept.sum())
