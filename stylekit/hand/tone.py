"""Tone and palette by rule: dark photos opened, light, colourfulness and hues led to where a painter has them. In CIE Lab.

Shade, midtone and light each have a colour of their own. A photo's own hue is pulled to the nearest pigment; what is grey takes the colour
of its tone, so that a grey photo gets the style's colours.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import cv2
import numpy as np

from stylekit.errors import SettingError
from stylekit.hand.analysis import Floats, blur, opened, resized, smoothstep, to_lab, to_rgb
from stylekit.hand.marks.form import Form
from stylekit.hand.view import View
from stylekit.ranges import check, ranged

COARSE_AREA = 256 * 256  # pixels; above it colour is worked out at half the size
FACE_LIGHT = 0.5  # lightness 0..1
SKIN = 0.7  # share of a face's hue that is the photo's
APART, LEAN = 0.26, 0.01  # lightness by which figure and ground differ where they meet; what a figure is lighter by if nothing tells
BESIDE, GIVES = 10.0, 0.3  # units on each side of the border that are compared; share of the way that the figure moves
SKY_LIGHT, HORIZON = 0.84, 0.5  # lightness 0..1 of such a sky, and where, from the top, it has the colour of light
FACE_CONTRAST = 0.6  # share by which the modelling of a face is made stronger


@dataclass(frozen=True, kw_only=True)
class Tone:
    """median: light to which dark photos are opened, 0 leaves them. low, high: lightness 0..1 of the darkest and the lightest paint.
    contrast: around the middle. chroma: factor on colourfulness. shade, midtone, light: colours as #rrggbb that tone takes, by `tint` 0..1;
    grey takes twice as much. sky: #rrggbb that a sky without a hue of its own has high up, lower down it has that of light; "" for none.
    pigments: #rrggbb, hues to which the photo's own are pulled, by `pull` 0..1. counterchange: 0..1, how far what
    the photo is of is parted from the ground beside it, light against dark, where both are of one tone."""

    median: float = ranged(0.5, 0, 0.9)
    low: float = ranged(0.0, 0, 0.4)
    high: float = ranged(1.0, 0.6, 1)
    contrast: float = ranged(1.0, 0.5, 2)
    chroma: float = ranged(1.0, 0, 3)
    shade: str = "#404040"
    midtone: str = "#808080"
    light: str = "#f0f0f0"
    tint: float = ranged(0.0, 0, 1)
    sky: str = ""
    pigments: tuple[str, ...] = ()
    pull: float = ranged(0.0, 0, 1)
    counterchange: float = ranged(0.0, 0, 1)

    def __post_init__(self) -> None:
        check(self, "The tone's ")
        if not isinstance(self.pigments, (list, tuple)):
            raise SettingError(f"The tone's pigments are {self.pigments!r}: give a list of colours such as #2a52be.")
        object.__setattr__(self, "pigments", tuple(self.pigments))
        for name, value in (
            ("shade", self.shade),
            ("midtone", self.midtone),
            ("light", self.light),
            *((("sky", self.sky),) if self.sky != "" else ()),
            *(("pigment", p) for p in self.pigments),
        ):
            if not isinstance(value, str) or not re.fullmatch(r"#[0-9a-fA-F]{6}", value):
                raise SettingError(f"The tone's {name} is {value!r}: give a colour such as #2a52be.")


def lab_of(colour: str) -> Floats:
    """(3,) Lab of #rrggbb."""
    rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)], np.float32)
    return to_lab(rgb[None, None])[0, 0]


def toned(view: View, tone: Tone, colours: Floats) -> Floats:
    """`colours` (h, w, 3) in 0..1 in the light and palette of `tone`."""
    x = opened(colours, tone.median) if tone.median > 0 else colours
    lab = to_lab(x)
    h, w = lab.shape[:2]
    light = lab[..., 0] * np.float32(0.01)
    dark, bright = (float(v) for v in np.percentile(light[::2, ::2], [1, 99]))
    spread = max(bright - dark, 0.25)
    t = np.clip((light - dark) * np.float32(1 / spread), -0.05, 1.05)
    # the scale of tones is kept open in the middle, too: skies stay airy
    middle = float(np.clip(np.median(t[::2, ::2]), 0.05, 0.95))
    if middle < tone.median:
        t = np.maximum(t, 0) ** np.float32(max(0.7, math.log(tone.median) / math.log(middle)))
    # an s-shaped curve through the middle, flat at the ends, so that lights and shades are kept apart from paper and ink
    if tone.contrast != 1:
        t = t + np.float32((tone.contrast - 1) * 0.3) * np.sin(np.float32(2 * math.pi) * np.clip(t - 0.5, -0.5, 0.5))
    new: Floats = np.asarray(tone.low + np.float32(tone.high - tone.low) * np.clip(t, 0, 1), np.float32)
    face = view.sight.face_map()
    if tone.median > 0:
        new = np.asarray(new + _faces_lit(face, new), np.float32)
    new = _modelled(view, face, new)
    if tone.counterchange and view.sight.figure().any():
        new = _parted(view, face, new, tone.counterchange)
    overcast = _overcast(view) if tone.sky else None
    if overcast is not None:
        high = smoothstep(np.linspace(0, 1, h, dtype=np.float32)[:, None], HORIZON, 0.1)
        new = np.asarray(new - overcast * high * np.maximum(new - SKY_LIGHT, 0), np.float32)
    # the eye sees colour less sharply than light: half the size does
    small = (max(1, w // 2), max(1, h // 2)) if h * w > COARSE_AREA else (w, h)
    unit = view.unit * small[0] / w
    own = resized(np.ascontiguousarray(lab[..., 1:]), small)
    if face.any():
        own = _skin(own, resized(new, small), resized(view.photo, small), resized(face, small))
    ab = _coloured(tone, resized(new, small), resized(t, small), own, resized(face, small), unit)
    if overcast is not None:
        above, below = lab_of(tone.sky)[1:], lab_of(tone.light)[1:]
        high = resized(np.broadcast_to(high, (h, w)), small)[..., None]
        ab = ab + resized(overcast, small)[..., None] * (below + high * (above - below) - ab)
    return to_rgb(np.dstack([100 * new, resized(ab, (w, h), cv2.INTER_LINEAR)]))


def _overcast(view: View) -> Floats | None:
    """(h, w) in 0..1: where there is sky without a hue of its own, or next to none and a cool one; None where there is none."""
    sky = Form.of(view.sight, view.unit).sky
    if sky.max() < 0.3:
        return None
    h, w = view.photo.shape[:2]
    seen = to_lab(view.photo)
    strength = blur(np.hypot(seen[..., 1], seen[..., 2]), 2 * view.unit)
    pale = np.maximum(smoothstep(strength, 9, 4), smoothstep(strength, 16, 11) * smoothstep(seen[..., 2], 2, -2))
    pale = blur(np.asarray(pale * smoothstep(seen[..., 0], 60, 75), np.float32), 1.5 * view.unit)
    return np.asarray(resized(sky, (w, h), cv2.INTER_LINEAR) * pale, np.float32)


def _coloured(tone: Tone, new: Floats, t: Floats, ab: Floats, face: Floats, unit: float) -> Floats:
    """(h, w, 2) Lab a and b for `ab` (h, w, 2). new: (h, w) the lightness 0..1 that the place gets. t: its place in the scale of tones."""
    strength = np.hypot(ab[..., 0], ab[..., 1])
    # a faint hue gains most: a pale sky is blue, a brown is brown; next to none at all is grey, or the noise of a grey photo
    faint = 1.2 * np.exp(strength * np.float32(-1 / 14)) * smoothstep(strength, 1.0, 3.5)
    ab = np.asarray(ab * (np.float32(tone.chroma) * (1 + np.float32(tone.chroma > 1) * faint))[..., None], np.float32)
    if tone.pigments and tone.pull > 0:
        # skin keeps its own warmth
        much = np.float32(tone.pull) * smoothstep(strength, 1.5, 8) * (1 - 0.6 * face)
        ab = ab + much[..., None] * (_nearest(new, ab, tone.pigments) - ab)
    if tone.tint > 0:
        shade, midtone, lit = (lab_of(c) for c in (tone.shade, tone.midtone, tone.light))
        low, high = smoothstep(t, 0.5, 0.08)[..., None], smoothstep(t, 0.5, 0.95)[..., None]
        wanted = low * shade[1:] + high * lit[1:] + (1 - low - high) * midtone[1:]
        # greyness of a place, not of a pixel: no mottled shades
        strength = blur(strength, 3 * unit)
        grey = smoothstep(strength, 11, 1)[..., None]
        much = np.clip(np.float32(tone.tint) * (0.5 + 1.5 * grey), 0, 1) * (1 - 0.85 * smoothstep(strength, 1.5, 5) * face)[..., None]
        ab = ab + much * (wanted - ab * (0.25 + 0.75 * grey))
    # more colour than a tone can carry turns neon or clips
    room = np.float32(128 * 0.8) * (0.35 + 0.65 * np.sqrt(np.clip(4 * new * (1 - new), 0, 1)))
    size = np.hypot(ab[..., 0], ab[..., 1]) + np.float32(1e-6)
    return np.asarray(ab * (room * np.tanh(size / room) / size)[..., None], np.float32)


def _skin(ab: Floats, light: Floats, photo: Floats, face: Floats) -> Floats:
    """(h, w, 2) ab led back, on faces, to the hue that skin has in the photo: what a model paints dark skin with is the colour of shade."""
    seen = to_lab(photo)
    strength = np.hypot(seen[..., 1], seen[..., 2])
    # dark colours are faint ones: as light comes, colour comes
    gain = np.clip(light / np.maximum(seen[..., 0] * np.float32(0.01), 0.05), 1, 2)
    share = SKIN * face * smoothstep(strength, 3, 8)
    return np.asarray(ab + share[..., None] * (seen[..., 1:] * gain[..., None] - ab), np.float32)


def _modelled(view: View, face: Floats, light: Floats) -> Floats:
    """(h, w) light whose dark faces have more contrast inside: lights, half-tones and darks stay apart where the face is a single tone."""
    widths = [box[2] for box in view.sight.faces()]
    if not widths:
        return light
    face = face * smoothstep(view.sight.lightness(), 0.6, 0.3)
    apart = np.clip(light - blur(light, 0.22 * float(np.mean(widths))), -0.25, 0.25)
    return np.asarray(np.clip(light + FACE_CONTRAST * face * apart, 0, 1), np.float32)


def _parted(view: View, face: Floats, light: Floats, much: float) -> Floats:
    """(h, w) light where the figure differs from the ground along its border, each side going on from there to its own light."""
    h, w = light.shape
    figure = view.sight.figure()
    size = (max(1, w // 4), max(1, h // 4)) if min(h, w) >= 64 else (w, h)
    part, inside, reach = resized(light, size), resized(figure, size), BESIDE * view.unit * size[0] / w
    near = blur(inside, reach)
    ahead = blur(inside * part, reach) / np.maximum(near, 1e-3)
    behind = blur((1 - inside) * part, reach) / np.maximum(1 - near, 1e-3)
    apart = np.asarray(ahead - behind, np.float32)
    border = np.asarray(near * (1 - near), np.float32)
    # a long stretch of the border leans one way
    lean = blur(border * apart, 4 * reach) / np.maximum(blur(border, 4 * reach), 1e-4)
    way = np.tanh((lean + LEAN) / 0.025)
    push = np.asarray(much * way * np.clip(APART - way * apart, 0, APART), np.float32)
    wide = blur(inside, 2.5 * reach)
    ground = resized(push * np.minimum(2 * wide, 1), (w, h), cv2.INTER_LINEAR)
    thing = resized(push * np.minimum(2 * (1 - wide), 1), (w, h), cv2.INTER_LINEAR)
    moved = GIVES * figure * (1 - face) * thing - (1 - GIVES) * (1 - figure) * ground
    return np.asarray(np.clip(light + moved, 0, 1), np.float32)


def _faces_lit(face: Floats, light: Floats) -> Floats:
    """What to add to (h, w) light so that the middle tone of faces is at least FACE_LIGHT; face: (h, w) 0..1, where they are."""
    inside = face > 0.8
    if not inside.any():
        return np.zeros_like(light)
    lack = max(0.0, FACE_LIGHT - float(np.median(light[inside])))
    if lack == 0:
        return np.zeros_like(light)
    # midtones move, black and white stay
    return np.asarray(face * lack * np.sin(math.pi * np.clip(light, 0.001, 0.999)) ** 0.7, np.float32)


def _nearest(light: Floats, ab: Floats, pigments: tuple[str, ...]) -> Floats:
    """(h, w, 2): `ab` turned to the hue of the pigments near it, softly, at its own colourfulness or the pigment's, between the two."""
    labs = np.stack([lab_of(p) for p in pigments])
    size = np.hypot(ab[..., 0], ab[..., 1]) + np.float32(1e-6)
    a, b = ab[..., 0], ab[..., 1]
    total_a, total_b, weights = np.zeros_like(a), np.zeros_like(a), np.full(size.shape, 1e-6, np.float32)
    for pigment in labs:
        norm = float(np.linalg.norm(pigment[1:])) + 1e-6
        # hue counts most, then lightness: 1 at the same hue, next to nothing at a right angle
        near = (a * pigment[1] + b * pigment[2]) / (size * np.float32(norm / 7))
        weight = np.exp(near - np.abs(light - pigment[0] / 100) * np.float32(2.5) - np.float32(7))
        total_a += weight * pigment[1]
        total_b += weight * pigment[2]
        weights += weight
    strong = np.hypot(total_a, total_b) / weights + np.float32(1e-6)
    # as strong as the pigment where there is some colour at all, and never stronger
    wanted = np.minimum(size, strong) + np.float32(0.6) * np.maximum(strong - size, 0) * np.clip(size * np.float32(1 / 30), 0, 1)
    wanted /= strong * weights
    return np.stack([total_a * wanted, total_b * wanted], -1)
