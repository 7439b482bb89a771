"""The skin of people whose faces are seen: what has the colour of a face, in it and elsewhere."""

from __future__ import annotations

import math

import cv2
import numpy as np

from stylekit.hand.analysis import Box, Floats, blur, resized, smoothstep, to_lab
from stylekit.hand.areas.regions import Labels
from stylekit.hand.subject.faces import Face
from stylekit.hand.subject.features import BROWS, JAW, LIPS, LOWER, OVAL, UPPER, turn

BROAD = 0.07  # of a face's width, half the width of the thinnest arm
KNOWN = 0.6  # share of a face that is among people who are known
WIDER = 1.4  # how much further than most hair some goes
ITS_COLOUR = 24.0  # CIE Lab; hair is as much alike
UNLIKE_SKIN = 10.0  # CIE Lab by which hair differs from its face
SCALP = 0.6  # share of what lies over a forehead that has the hue of the face and is no darker, where no hair grows
HAIR_BROWN = np.array([38.0, 16.0, 26.0], np.float32)  # CIE Lab of brown hair
FAIR = np.array([76.0, 6.0, 48.0], np.float32)  # CIE Lab of fair hair
# lightness of hair beside its face's from which it may be brown, if it is clearly warm, brown, grey and fair
WARM_FROM, BROWN_FROM, GREY_FROM, FAIR_FROM = 0.45, 0.6, 0.72, 0.86
WARM, CLEARLY_WARM = 3.0, 10.0  # CIE Lab b from which hair is brown and not black, and from which it may be darker and brown
YELLOWER = 18.0  # degrees of hue by which fair hair differs from its face
DARK = 0.75  # of its light that dark hair keeps
HAIR = 0.6  # of its chroma that dark hair keeps
AREA = 300 * 300  # pixels of the copy that is looked at


def tone_of(lab: Floats, box: Box | tuple[float, float, float, float]) -> Floats | None:
    """(3,) CIE Lab of the skin of a face (x, y, width, height) in (h, w, 3) Lab: the lighter half of its middle; None outside of it."""
    x, y, width, height = box
    middle = lab[
        max(0, round(y + 0.4 * height)) : max(1, round(y + 0.75 * height)), max(0, round(x + 0.28 * width)) : round(x + 0.72 * width)
    ].reshape(-1, 3)
    if not len(middle):
        return None
    light = middle[:, 0]
    return np.asarray(np.median(middle[light >= np.median(light)], 0), np.float32)


def lit(lab: Floats, faces: list[Face], smaller: float) -> float | None:
    """CIE lightness of the lit parts of the skin in all faces, in (h, w, 3) Lab that is so many times smaller; None without any."""
    mask = np.zeros(lab.shape[:2], np.uint8)
    for one in faces:
        x, y, width, height = (v * smaller for v in one.box)
        shape = one.points[list(OVAL)] * np.float32(smaller) if one.points is not None else None
        if shape is None:
            corners = np.array([[0.2, 0.25], [0.8, 0.25], [0.8, 0.9], [0.2, 0.9]], np.float32)
            shape = np.asarray(corners * [width, height] + [x, y], np.float32)
        cv2.fillPoly(mask, [np.round(shape * 16).astype(np.int32)], 1, cv2.LINE_8, 4)
    return float(np.percentile(lab[mask > 0, 0], 75)) if mask.any() else None


def skin_map(photo: Floats, faces: list[Face], figure: Floats) -> Floats:
    """(h, w) in 0..1 of (h, w, 3) sRGB. figure: (h, w) in 0..1, what the photo is of.

    In a face all is skin but what is much darker than it; elsewhere what has its hue, in light and shade."""
    h, w = photo.shape[:2]
    if not faces:
        return np.zeros((h, w), np.float32)
    smaller, size = _copy(h, w)
    calm = _calm(photo, size)
    inside = resized(figure, size)
    ys, xs = np.mgrid[0 : size[1], 0 : size[0]].astype(np.float32)
    result = np.zeros((size[1], size[0]), np.float32)
    near_faces = np.zeros_like(result)
    bald = 1 - hair_map([one for one in faces if not _is_bald(calm, one, smaller)], size, smaller)
    for one in faces:
        x, y, width, height = (v * smaller for v in one.box)
        own = tone_of(calm, (x, y, width, height))
        if own is None:
            continue
        light, a, b = calm[..., 0], calm[..., 1], calm[..., 2]
        # what lies in shade has less chroma, in proportion to its light
        shade = np.asarray(np.clip((light + 8) / (own[0] + 8), 0.3, 1.25), np.float32)
        off = np.asarray(np.hypot(a - own[1] * shade, b - own[2] * shade), np.float32)
        # brighter than the face a little, darker a good deal
        lit = smoothstep(light, own[0] * 0.36, own[0] * 0.52) * smoothstep(light, own[0] + 45, own[0] + 30)
        # next to a pale face, white cloth in shade is not far off
        strong = float(np.hypot(own[1], own[2]))
        alike = smoothstep(off, max(2.0, min(23.0, 0.95 * strong)), max(1.0, min(13.0, 0.55 * strong))) * lit
        face = np.hypot((xs - x - width / 2) / (0.5 * width), (ys - y - 0.52 * height) / (0.62 * height))
        near = smoothstep(off, 36, 22) * smoothstep(light, own[0] * 0.4, own[0] * 0.58)
        # grey or dark skin tells little, wood may be like it: only near the face
        away = np.asarray(np.hypot((xs - x - width / 2) / width, (ys - y - height) / height), np.float32)
        close = np.hypot((xs - x - width / 2) / (0.5 * width), (ys - y - 0.65 * height) / (0.8 * height))
        told = smoothstep(np.hypot(own[1], own[2])[None, None], 9, 16) * smoothstep(own[0][None, None], 42, 58)
        reach = smoothstep(away, 8, 5) * (told + (1 - told) * smoothstep(close, 1.2, 1.0))
        within = smoothstep(face, 1.15, 0.9)
        if one.points is not None:
            shape, lower, sure = _shapes(one.points * np.float32(smaller), result.shape)
            within = np.maximum(within * smoothstep(blur(shape, 0.1 * width), 0.05, 0.3), shape)
            # from the eyes down, light and shade are skin, whatever their hue
            below = smoothstep(off, 75, 60) * smoothstep(light, own[0] * 0.25, own[0] * 0.4)
            # hair over a forehead may be of its hue, but is seldom as light
            above = smoothstep(off, 26, 15) * smoothstep(light, own[0] * 0.55, own[0] * 0.75)
            above = np.maximum(above, smoothstep(off, 60, 45) * smoothstep(light, own[0] * 0.8, own[0] * 0.95))
            near = lower * below + (1 - lower) * above
            result = np.maximum(result, sure)
        alike = np.maximum(alike * bald, _neck(calm, own, one, smaller, xs, ys) * lit)
        near_faces = np.maximum(near_faces, smoothstep(face, 1.6, 1.3))
        result = np.maximum(result, np.maximum(near * within, alike * reach * smoothstep(inside, 0.25, 0.6)))
    result = np.maximum(_broad(result, float(np.median([one.box[2] for one in faces])) * smaller), result * near_faces)
    soft = blur(result, 1.5)
    return resized(smoothstep(soft, 0.3, 0.7), (w, h), cv2.INTER_LINEAR)


def haired(photo: Floats, faces: list[Face]) -> list[Face]:
    """Those of the faces in (h, w, 3) sRGB over which hair grows, or a hat is worn."""
    if not faces:
        return []
    smaller, size = _copy(*photo.shape[:2])
    calm = _calm(photo, size)
    return [one for one in faces if not _is_bald(calm, one, smaller)]


def _copy(h: int, w: int) -> tuple[float, tuple[int, int]]:
    """How many times smaller than (h, w) the copy is that is looked at, and its size (W, H)."""
    smaller = min(1.0, math.sqrt(AREA / (h * w)))
    return smaller, (max(1, round(w * smaller)), max(1, round(h * smaller)))


def _calm(photo: Floats, size: tuple[int, int]) -> Floats:
    """CIE Lab of the photo at size (W, H) without its texture."""
    return np.asarray(cv2.bilateralFilter(to_lab(resized(photo, size)), 7, 14.0, 3.0), np.float32)


def _broad(skin: Floats, face: float) -> Floats:
    """(h, w) without what is thin beside a face `face` pixels wide, such as a strap, or small: no arm or hand is."""
    side = 2 * round(BROAD * face) + 1
    if side < 3:
        return skin
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return np.asarray(cv2.morphologyEx(skin, cv2.MORPH_OPEN, disc), np.float32)


def hair_map(faces: list[Face], size: tuple[int, int], smaller: float, people: Floats | None = None, lab: Floats | None = None) -> Floats:
    """(h, w) in 0..1 of size (W, H): where the hair of faces may be, see `_hair`; faces are so many times larger. people: (h, w) in 0..1 of
    any size; hair is a part of those whose faces are among them. lab: (h, w, 3) of that size, by which the hair of the others is told."""
    ys, xs = np.mgrid[0 : size[1], 0 : size[0]].astype(np.float32)
    result = np.zeros((size[1], size[0]), np.float32)
    seen = resized(people, size) if people is not None and people.any() else None
    for one in faces:
        zone = _hair(one, smaller, xs, ys)
        if seen is not None:
            x, y, width, height = (round(v * smaller) for v in one.box)
            face = seen[max(0, y) : y + height, max(0, x) : x + width]
            if lab is None or (face.size and float(face.mean()) > KNOWN):
                known = np.minimum(zone, seen)
                np.maximum(result, known, out=result)
                if lab is not None:
                    wide = np.minimum(_hair(one, smaller, xs, ys, WIDER), seen)
                    np.maximum(result, _grown(lab, one, smaller, known, wide), out=result)
                continue
        np.maximum(result, zone if lab is None else _of_its_colour(lab, one, smaller, xs, ys) * zone, out=result)
    return result


def nearest(faces: list[Face], size: tuple[int, int], smaller: float) -> Labels | None:
    """(h, w) of size (W, H): the number of the face that is nearest, in widths of it; faces are so many times larger. None without any."""
    if not faces:
        return None
    ys, xs = np.mgrid[0 : size[1], 0 : size[0]].astype(np.float32)
    far = []
    for one in faces:
        across, along, width, height = _upright(one, smaller, xs, ys)
        far.append(np.hypot(across / max(width, 1e-6), along / max(height, 1e-6)))
    return np.asarray(np.argmin(far, 0), np.int32)


def hair_of(hair: Floats, lab: Floats, faces: list[Face], smaller: float, at: Floats) -> Floats:
    """(n, 3) CIE Lab of what is to be drawn for each of (n, 3) Lab of hair, by how light it is beside the face in (h, w, 3) Lab next to its
    place (n, 2): darker than it is, `HAIR_BROWN`, `FAIR`, or, where it is grey, as it is; nan where it is none but a hat."""
    tones = [
        (tone, x + width / 2, y + height / 2)
        for one in faces
        for x, y, width, height in [_scaled(one, smaller)]
        if (tone := tone_of(lab, (x, y, width, height))) is not None
    ]
    if not tones:
        return hair
    skin = np.stack([tone for tone, *_ in tones])
    middle = np.array([place for _, *place in tones], np.float32)
    skin = skin[np.hypot(*(at[:, None] - middle[None]).transpose(2, 0, 1)).argmin(1)]
    beside = (hair[:, 0] + 4) / (skin[:, 0] + 4)
    chroma, turn_of = np.hypot(hair[:, 1], hair[:, 2]), np.degrees(np.arctan2(hair[:, 2], hair[:, 1]))
    warm, colour = np.degrees(np.arctan2(skin[:, 2], skin[:, 1])), np.hypot(skin[:, 1], skin[:, 2])
    brown = (beside >= BROWN_FROM) & (hair[:, 2] >= WARM) | (beside >= WARM_FROM) & (hair[:, 2] >= CLEARLY_WARM)
    result = np.where(brown[:, None], HAIR_BROWN, hair * [DARK, HAIR, HAIR])
    result = np.where((beside > FAIR_FROM)[:, None], hair, result)
    result = np.where(((beside > FAIR_FROM) & (turn_of > warm + YELLOWER))[:, None], FAIR, result)
    grey = (beside > GREY_FROM) & (chroma < np.maximum(np.minimum(7, 0.4 * colour), 2))
    result = np.where(grey[:, None], hair, result)
    hat = (chroma > 24) & (np.abs((turn_of - warm + 180) % 360 - 180) > 60) | (beside > 1.2) & (hair[:, 0] > 70) & (chroma < 10)
    return np.asarray(np.where(hat[:, None], np.nan, result), np.float32)


def _scaled(one: Face, smaller: float) -> tuple[float, float, float, float]:
    x, y, width, height = one.box
    return x * smaller, y * smaller, width * smaller, height * smaller


def _grown(lab: Floats, one: Face, smaller: float, known: Floats, wide: Floats) -> Floats:
    """(h, w) in 0..1: what lies in `wide` and has the colour of the hair that is known, in (h, w, 3) Lab: the crown and the back of it."""
    own = tone_of(lab, _scaled(one, smaller))
    inside = known > 0.5
    if own is None or not inside.any():
        return known
    parts_of = np.array([0.4, 1, 1], np.float32)
    hair = lab[inside]
    hair = hair[np.sqrt((((hair - own) * parts_of) ** 2).sum(1)) > 0.5 * UNLIKE_SKIN]
    if len(hair) < 0.1 * inside.sum():
        return known
    far = np.sqrt((((lab - np.median(hair, 0)) * parts_of) ** 2).sum(-1))
    return np.asarray(wide * smoothstep(far, ITS_COLOUR, 0.6 * ITS_COLOUR), np.float32)


def _is_bald(lab: Floats, one: Face, smaller: float) -> bool:
    """Whether what lies over a forehead is of the face's hue and catches as much light as it, in (h, w, 3) Lab: skin, however short its
    hair. Fair hair is of that hue too, but darker than a face, as it is rough."""
    own = tone_of(lab, _scaled(one, smaller))
    ys, xs = np.mgrid[0 : lab.shape[0], 0 : lab.shape[1]].astype(np.float32)
    across, along, width, height = _upright(one, smaller, xs, ys)
    over = lab[(np.abs(across) < 0.3 * width) & (along > -0.72 * height) & (along < -0.52 * height)]
    if own is None or not len(over) or np.hypot(own[1], own[2]) < UNLIKE_SKIN:
        return False
    like = (np.hypot(*(over[:, 1:] - own[1:]).T) < UNLIKE_SKIN) & (over[:, 0] > own[0] - 18) & (over[:, 0] < own[0] + 35)
    light, *colour = np.median(over, 0)
    return bool(like.mean() > SCALP and light > own[0] + 2 and np.hypot(*colour) > 0.85 * np.hypot(*own[1:]))


def _of_its_colour(lab: Floats, one: Face, smaller: float, xs: Floats, ys: Floats) -> Floats:
    """(h, w) in 0..1: what has the colour that lies above a forehead and is none of the skin's, in (h, w, 3) Lab, joined to there."""
    across, along, width, height = _upright(one, smaller, xs, ys)
    own = tone_of(lab, _scaled(one, smaller))
    band = (np.abs(across) < 0.32 * width) & (along > -0.82 * height) & (along < -0.52 * height)
    nothing = np.zeros(lab.shape[:2], np.float32)
    if own is None or not band.any():
        return nothing
    parts_of = np.array([0.7, 1, 1], np.float32)
    over = lab[band]
    over = over[np.sqrt((((over - own) * parts_of) ** 2).sum(1)) > UNLIKE_SKIN]
    if len(over) < 0.18 * band.sum():
        return nothing
    middle = np.median(over, 0)
    far = blur(np.asarray(((lab - middle) * parts_of) ** 2, np.float32), max(0.5, 0.03 * width)).sum(-1)
    like = (far < ((lab - own) ** 2 * parts_of).sum(-1)) & (far < ITS_COLOUR**2)
    like &= np.hypot(across / (0.8 * width), (along + 0.15 * height) / (0.92 * height)) < 1
    side = 2 * max(1, round(0.08 * width)) + 1
    closed = cv2.morphologyEx(np.asarray(like, np.uint8), cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    _, parts = cv2.connectedComponents(np.asarray(closed, np.uint8), connectivity=4)
    joined = np.bincount(parts[band], minlength=int(parts.max()) + 1)
    joined[0] = 0
    return np.asarray(joined[parts] > 0.1 * band.sum(), np.float32)


def _neck(lab: Floats, own: Floats, one: Face, smaller: float, xs: Floats, ys: Floats) -> Floats:
    """(h, w) in 0..1: under a chin, where what has the hue of the face's skin, in any strength, is skin in shade."""
    across, along, width, height = _upright(one, smaller, xs, ys)
    strong = max(float(np.hypot(own[1], own[2])), 1e-6)
    hue = own[1:] / strong
    much, off = lab[..., 1] * hue[0] + lab[..., 2] * hue[1], np.abs(lab[..., 2] * hue[0] - lab[..., 1] * hue[1])
    alike = smoothstep(much, 0.4 * strong, 0.65 * strong) * smoothstep(off, 30, 18) * smoothstep(np.full((1, 1), strong, np.float32), 7, 11)
    place = smoothstep(np.abs(across), 0.6 * width, 0.5 * width) * smoothstep(along, 0.3 * height, 0.4 * height)
    return np.asarray(alike * place * smoothstep(along, 1.25 * height, 1.0 * height), np.float32)


def _hair(one: Face, smaller: float, xs: Floats, ys: Floats, wider: float = 1.0) -> Floats:
    """(h, w) in 0..1: round a face, from the cheeks up, where what has the colour of skin is hair, or an ear at most."""
    across, along, width, height = _upright(one, smaller, xs, ys)
    if one.points is not None:
        # the back of a head that is turned lies behind its face
        across = across + np.float32(0.45 * width * turn(one.points))
    head = np.hypot(across / (0.95 * wider * width), (along + 0.12 * height) / (0.95 * wider * height))
    return np.asarray(smoothstep(head, 1.05, 0.95) * smoothstep(along, 0.32 * height, 0.2 * height), np.float32)


def _upright(one: Face, smaller: float, xs: Floats, ys: Floats) -> tuple[Floats, Floats, float, float]:
    """(h, w) pixels from the middle of a face across it and down it, as it is held; its width and height."""
    x, y, width, height = (v * smaller for v in one.box)
    down = np.array([0, 1], np.float32)
    centre = np.array([x + width / 2, y + 0.5 * height], np.float32)
    if one.points is not None:
        points = one.points * np.float32(smaller)
        down = points[152] - points[10]
        height = float(np.linalg.norm(down))
        down = down / max(height, 1e-6)
        centre = 0.5 * (points[152] + points[10])
    across = (xs - centre[0]) * down[1] - (ys - centre[1]) * down[0]
    along = (xs - centre[0]) * down[0] + (ys - centre[1]) * down[1]
    return np.asarray(across, np.float32), np.asarray(along, np.float32), width, height


def _shapes(points: Floats, shape: tuple[int, ...]) -> tuple[Floats, Floats, Floats]:
    """(h, w) of the given shape thrice, 0..1: within the outline of a face with (468, 2) points, below its eyes, and round its eyes and its
    mouth, which are dark or white and yet not holes in it."""
    face, lower, sure = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    fixed = np.round(points * 16).astype(np.int32)
    room = max(1, round(0.2 * float(np.ptp(points[list(OVAL), 0]))))
    cv2.fillPoly(lower, [fixed[list(JAW)]], 1, cv2.LINE_8, 4)
    cv2.fillPoly(face, [fixed[list(OVAL)]], 1, cv2.LINE_8, 4)
    for part in (LIPS, *((*UPPER[i], *LOWER[i], *BROWS[i][0], *BROWS[i][1]) for i in (0, 1))):
        hull = cv2.convexHull(fixed[list(part)])
        cv2.fillConvexPoly(sure, hull, 1, cv2.LINE_8, 4)
        cv2.polylines(sure, [hull], True, 1, room, cv2.LINE_8, 4)  # and the rim of glasses
    return face.astype(np.float32), lower.astype(np.float32), (sure & face).astype(np.float32)
