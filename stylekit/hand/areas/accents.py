"""Small dark and light things that flat areas would lose: eyes and mouths, and what stands alone."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from stylekit.hand.analysis import Box, Floats, blur, numbered, resized, smoothstep, to_lab
from stylekit.hand.areas.regions import windows
from stylekit.hand.sight import Sight
from stylekit.hand.subject.features import Features

SMALL_FACE = 30.0  # pixels of the photo across a face of which only eyes and mouth are drawn
LARGE_FACE = 80.0  # pixels of the photo across a face whose features may be guessed
GUESSED = 9.0  # per cent of it that are dark then, at most
BESIDE_LETTERS, READ = 0.2, 25.0  # of the height of letters, what around them is of one ink; CIE lightness that parts them from it
WHITES = 14.0  # pixels of the fine map: an eye less wide has no white


@dataclass(frozen=True, kw_only=True)
class Portrait:
    """Numbers of the inks of features: dark, for brows and irises; light, for the white of eyes and teeth, None to leave both dark; lips,
    None to leave them skin."""

    dark: int
    light: int | None
    lips: int | None


def painted(numbers: NDArray[np.uint16], sight: Sight, inks: Portrait) -> None:
    """Draws the features of faces into (fine h, fine w) numbers of inks: brows, eyes, lips, and what an open mouth shows."""
    h, w = sight.photo.shape[:2]
    per = np.array([numbers.shape[1] / w, numbers.shape[0] / h], np.float32)
    fine = float(per.mean())
    for one in sight.features():
        if one is None:
            continue

        def fill(points: Floats, ink: int | None) -> None:
            if ink is not None:
                cv2.fillPoly(numbers, [_fixed(points, per)], ink, cv2.LINE_8, 4)

        room = max(1, round(0.022 * one.width * fine))
        if one.width < SMALL_FACE:
            # of a small face little is seen: eyes and a mouth, not a mask
            for eye in one.eyes:
                fill(eye.seen_iris(), inks.dark)
            line = one.seam if one.opening is None else one.opening[: len(one.opening) // 2]
            cv2.polylines(numbers, [_fixed(line, per)], False, inks.dark, max(1, round(0.6 * room)), cv2.LINE_8, 4)
            continue
        for brow in one.brows:
            fill(brow, inks.dark)
        for eye in one.eyes:
            large = float(np.linalg.norm(eye.upper[-1] - eye.upper[0])) * fine > WHITES and eye.open
            if large and inks.light is not None:
                fill(eye.outline, inks.light)
                fill(eye.seen_iris(), inks.dark)
            elif eye.open:
                fill(eye.outline, inks.dark)
            cv2.polylines(numbers, [_fixed(eye.upper, per)], False, inks.dark, room, cv2.LINE_8, 4)
        if one.red:
            fill(one.lips, inks.lips)
        if one.opening is not None:
            fill(one.opening, inks.light if one.teeth and inks.light is not None else inks.dark)
        if one.opening is None or not one.red:
            line = one.seam if one.opening is None else one.opening[: len(one.opening) // 2]
            cv2.polylines(numbers, [_fixed(line, per)], False, inks.dark, max(1, round(0.6 * room)), cv2.LINE_8, 4)


def _darken(marks: NDArray[np.bool_], one: Features, per: Floats) -> None:
    """Marks brows, eyes and what parts the lips in (fine h, fine w) marks."""
    plane = marks.view(np.uint8)
    room = 0.022 * one.width * float(per.mean())
    if one.width < SMALL_FACE:
        shapes, lines = [eye.seen_iris() for eye in one.eyes], [(one.seam, 0.6)]
    else:
        opening = () if one.opening is None else (one.opening,)
        shapes = [*one.brows, *one.shades, *(eye.outline for eye in one.eyes), *opening]
        lines = [*((eye.upper, 1.0) for eye in one.eyes), (one.seam, 0.6)]
    for points in shapes:
        cv2.fillPoly(plane, [_fixed(points, per)], 1, cv2.LINE_8, 4)
    for line, much in lines:
        cv2.polylines(plane, [_fixed(line, per)], False, 1, max(1, round(much * room)), cv2.LINE_8, 4)


def lettered(numbers: NDArray[np.uint16], sight: Sight, light: Floats, dark: int, pale: int) -> None:
    """Draws the words of a photo into (fine h, fine w) numbers of inks, on the ink that is most about them: letters in the number `dark`,
    or `pale` where they are lighter than their ground, but the other where that would not show. light: (n,) CIE lightness of the inks."""
    words = sight.letters()
    if not words.light:
        return
    size = numbers.shape[1], numbers.shape[0]
    fine = numbers.shape[1] / words.lines.shape[1]
    lines = numbered(words.lines, size)
    shapes = blur(resized(words.ink, size, cv2.INTER_CUBIC), 0.4 * fine) > 0.5
    for number, box in windows(lines, 0):
        inside = lines[box] == number
        letter = inside & shapes[box]
        around = inside & ~letter
        if number == 0 or not letter.any() or not around.any():
            continue
        part = numbers[box]
        ground = int(np.bincount(part[around]).argmax())
        reach = 2 * max(1, round(BESIDE_LETTERS * words.high[number - 1] * fine)) + 1
        near = cv2.dilate(np.asarray(letter, np.uint8), np.ones((reach, reach), np.uint8)) > 0
        part[near & inside] = ground
        inks = (pale, dark) if words.light[number - 1] else (dark, pale)
        part[letter] = inks[0] if abs(light[inks[0]] - light[ground]) > READ else inks[1]


def _fixed(points: Floats, per: Floats) -> NDArray[np.int32]:
    return np.asarray(np.round((points * per - 0.5) * 16), np.int32)


def features(sight: Sight, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """(fine h, fine w), of the given shape: eyes and noses of animals; brows, eyes and mouths of faces, or, of a large one whose features
    are not known, what is dark in it; of a small one such a guess looks like a mask."""
    photo = sight.photo
    h, w = photo.shape[:2]
    result = sight.animals().spots(shape)
    for box, known in zip(sight.faces(), sight.features(), strict=True):
        if known is not None:
            _darken(result, known, np.array([shape[1] / w, shape[0] / h], np.float32))
        elif box[2] > LARGE_FACE:
            _guess(result, photo, box)
    return result


def _guess(marks: NDArray[np.bool_], photo: Floats, box: Box) -> None:
    """Marks in (fine h, fine w) what is dark within a face (x, y, width, height) of (h, w, 3) sRGB against what is around it."""
    h, w = photo.shape[:2]
    x, y, width, height = box
    x0, x1 = max(0, x - width // 6), min(w, x + width + width // 6)
    y0, y1 = max(0, y - height // 6), min(h, y + height + height // 4)
    if min(x1 - x0, y1 - y0) < 8:
        return
    left, right = round(x0 * marks.shape[1] / w), round(x1 * marks.shape[1] / w)
    upper, lower = round(y0 * marks.shape[0] / h), round(y1 * marks.shape[0] / h)
    fine = (right - left) / (x1 - x0)
    part = resized(to_lab(photo[y0:y1, x0:x1])[..., 0], (right - left, lower - upper), cv2.INTER_CUBIC)
    dark = blur(part, 0.10 * width * fine) - blur(part, max(0.5, 0.016 * width) * fine)
    across = x0 + (np.arange(right - left) + 0.5) / fine - x - 0.5 * width
    down = y0 + (np.arange(lower - upper) + 0.5) / fine - y - 0.55 * height
    inside = np.hypot(across[None] / (0.40 * width), down[:, None] / (0.50 * height)) < 1
    if not inside.any():
        return
    bar = max(5.0, float(np.percentile(dark[inside], 100 - GUESSED)))
    _, spots, stats, _ = cv2.connectedComponentsWithStats(np.asarray((dark > bar) & inside, np.uint8), connectivity=8)
    part_of = stats[:, cv2.CC_STAT_AREA] / (width * fine) ** 2
    keep = (part_of >= 0.004) & (part_of <= 0.03)  # more is the shade of a brow or a cheek
    keep[0] = False
    marks[upper:lower, left:right] |= keep[spots]


def details(light: Floats, face: Floats, unit: float, fine: int, much: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(fine h, fine w) twice: where small things are dark, and where they are light, against what is around them, in (h, w) CIE lightness.

    Only what stands alone counts: on texture, in faces and in the crowd nothing is drawn."""
    h, w = light.shape
    apart = blur(light, 6 * unit) - blur(light, 0.8 * unit)
    bar = 17 - 7 * much
    crowd = blur(np.asarray(np.abs(apart) > 0.7 * bar, np.float32), 16 * unit)
    apart = apart * smoothstep(crowd, 0.34, 0.2) * (1 - face)
    up = resized(apart, (w * fine, h * fine), cv2.INTER_CUBIC)
    found = []
    for sign in (1, -1):
        mask = np.asarray(sign * apart > bar, np.uint8)
        _, parts, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        area = stats[:, cv2.CC_STAT_AREA] / unit**2
        strongest = np.zeros(len(area), np.float32)
        ys, xs = np.nonzero(mask)
        np.maximum.at(strongest, np.asarray(parts[ys, xs], np.intp), np.abs(apart[ys, xs]))
        keep = (area > 70) & (area < 900) & (strongest > 1.8 * bar)
        keep[0] = False
        # a pixel more than the part, so that its outline is that of the enlarged light
        near = cv2.dilate(np.asarray(keep[parts], np.uint8), np.ones((3, 3), np.uint8))
        found.append((sign * up > bar) & (cv2.resize(near, (w * fine, h * fine), interpolation=cv2.INTER_NEAREST) > 0))
    return found[0], found[1]


def structures(light: Floats, face: Floats, unit: float, fine: int) -> NDArray[np.bool_]:
    """(fine h, fine w) where long thin things, such as masts and cables, are dark on a calm ground, in (h, w) CIE lightness.

    Each is drawn whole, at least three units wide, or not at all."""
    h, w = light.shape
    soft = blur(light, 0.5 * unit)
    side = 2 * max(1, round(5.5 * unit)) + 1
    hat = cv2.morphologyEx(soft, cv2.MORPH_BLACKHAT, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))) * (1 - face)
    weak = np.asarray(hat > 7, np.uint8)
    crowd = blur(weak.astype(np.float32), 24 * unit)
    weak[crowd > 0.16] = 0
    # the frame of a picture is none
    rim = max(2, round(6 * unit))
    weak[:rim], weak[-rim:], weak[:, :rim], weak[:, -rim:] = 0, 0, 0, 0
    weak = np.asarray(cv2.morphologyEx(weak, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)), np.uint8)
    count, parts, stats, _ = cv2.connectedComponentsWithStats(weak, connectivity=8)
    long = np.hypot(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT])
    strong = np.bincount(parts.ravel(), (hat > 16).ravel(), count)
    keep = (long > 110 * unit) & (stats[:, cv2.CC_STAT_AREA] < 11 * unit * long) & (strong > 2 * long)
    keep[0] = False
    # a little wider than they are: no part of a line may be thinner than a line
    size = w * fine, h * fine
    near = cv2.dilate(np.asarray(keep[parts], np.uint8), np.ones((3, 3), np.uint8))
    up = blur(resized(np.asarray(keep[parts], np.float32), size, cv2.INTER_CUBIC), 1.1 * unit * fine)
    return (up > 0.38) & (cv2.resize(near, size, interpolation=cv2.INTER_NEAREST) > 0)
