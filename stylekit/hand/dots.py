"""Ben-Day dots: round dots of a few inks on a turned grid, large where the tone is in the middle, none in lights and darks.

Every dot takes its size and its ink from the photo at its own centre and is drawn whole, so that the dots are clean at any size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from stylekit.errors import SettingError
from stylekit.hand.analysis import Floats, blur, resized, smoothstep, to_lab
from stylekit.hand.areas.regions import calmed
from stylekit.hand.fields import WORK_AREA, work_size
from stylekit.hand.palettes import colour_of
from stylekit.hand.view import Layer, Nothing, View
from stylekit.ranges import check, ranged

LEAST = 62.0  # units; the side of a square as large as the smallest area that is chosen for dots
SHARE, WHOLE = 0.4, 0.7  # of the picture: the most that is given dots, and the largest area that is when it is the only one
FEW, EMPTY = 0.04, 0.15  # share of the picture that dots have where there are too few, and that one colour for fading ones has
CALM = 0.012  # slope of light per unit in such an area
FADING = 0.8, 0.06  # strength of its dots at the top and at the bottom
BEFORE = 0.5  # how much less worth an area of what the photo is of is
SCENE = 0.45  # share of the picture up to which what it is of is left plain, before a ground of dots
INKS = 2  # of a ground that are given dots at most: dots stand for a colour
OPENED = 0.55  # median light of the photo whose tones are looked at
SMALL = 10.0  # pixels; dots of a smaller radius are drawn larger at first
SHIFT = 5  # bits behind the point in the places of dots


@dataclass(frozen=True, kw_only=True)
class Dots:
    """warm, cool: inks "#rrggbb" of dots on warm places and on all others. pitch: distance between dots in units. angle: of the grid in
    degrees. largest: share of the ground the largest dots cover. light, dark: CIE lightness between which there are dots; they are largest
    halfway. opacity: of the ink. clean: 0..1, how far whole large areas of one colour are given dots, evenly, and all others, faces and
    skin among them, none."""

    warm: str = "#e0303a"
    cool: str = "#1d4fb4"
    pitch: float = ranged(7.5, 1.5, 40)
    angle: float = ranged(45.0, -180, 180)
    largest: float = ranged(0.5, 0.02, 1)
    light: float = ranged(80.0, 30, 100)
    dark: float = ranged(34.0, 0, 70)
    opacity: float = ranged(1.0, 0, 1)
    clean: float = ranged(0.0, 0, 1)

    def __post_init__(self) -> None:
        check(self, "The dots' ")
        if self.dark >= self.light:
            raise SettingError(f"The dots' dark is {self.dark!r}, not below light, {self.light!r}: choose a smaller number for dark.")
        for name in ("warm", "cool"):
            colour_of(getattr(self, name), f"The dots' {name}")


def plan_dots(view: View, settings: Dots, colours: Floats) -> Layer:
    """Dots whose sizes follow the light of the view's photo, on a ground of `colours` (h, w, 3), sRGB in 0..1.

    A dot takes the ink of the hue of its ground; where that ink would hardly show, or the ground is darker than it, there is none."""
    if not view.amount.any() or settings.opacity == 0:
        return Nothing()
    h, w = view.photo.shape[:2]
    unit = view.unit * view.detail
    pitch = settings.pitch * unit
    smaller, small = work_size(view, WORK_AREA)
    tone = calmed(to_lab(resized(view.sight.opened(OPENED), small)), 2.2 * unit * smaller)[..., 0]
    ground = to_lab(blur(colours, 0.7 * unit))
    turn = math.radians(settings.angle)
    reach = math.hypot(h, w) / 2 + 2 * pitch
    steps = np.arange(-math.ceil(reach / pitch), math.ceil(reach / pitch) + 1)
    across, down = (steps[None] * pitch, steps[:, None] * pitch)
    x = (w / 2 + across * math.cos(turn) - down * math.sin(turn)).ravel()
    y = (h / 2 + across * math.sin(turn) + down * math.cos(turn)).ravel()
    near = (x > -pitch) & (x < w + pitch) & (y > -pitch) & (y < h + pitch)
    x, y = x[near], y[near]
    column, row = np.clip(x - 0.5, 0, w - 1).round().astype(int), np.clip(y - 0.5, 0, h - 1).round().astype(int)
    under = ground[row, column]
    # a photo without darks or lights is seen from its own darkest to its own lightest tone
    low, high = np.percentile(tone[::3, ::3], (3, 97))
    low, high = min(float(low), 15.0), max(float(high), 92.0)
    tone = 15 + (tone - low) * np.float32(77 / (high - low))
    # a place is in the middle tones if most of what a dot covers is: the blurred edge of a white thing is not
    middle = resized(
        smoothstep(blur(midtones(tone, settings.dark, settings.light), 0.6 * pitch * smaller), 0.2, 0.9), (w, h), cv2.INTER_LINEAR
    )
    inks = np.stack([colour_of(settings.warm, ""), colour_of(settings.cool, "")])
    pigments = to_lab(inks[None])[0]
    warm, shows = _on(pigments, under)
    if settings.clean:
        _, seen = _on(pigments, to_lab(colours))
        middle = middle + np.float32(settings.clean) * (chosen(view, colours, middle, seen, unit) - middle)
    share = settings.largest * middle[row, column]
    radius = pitch * np.sqrt(share * np.clip(view.amount[row, column], 0, 1) / math.pi)
    radius = radius * shows
    kept = radius > 0.13 * pitch
    return DotLayer(
        places=np.stack([x / w, y / h], 1)[kept].astype(np.float64),
        radii=(radius[kept] * view.scale).astype(np.float64),
        warm=warm[kept],
        inks=inks,
        opacity=settings.opacity,
        size=view.size,
    )


def _on(inks: Floats, ground: Floats) -> tuple[NDArray[np.bool_], Floats]:
    """Whether the first of (2, 3) inks is laid on (..., 3) ground, all CIE Lab, for it is warm, and, 0..1, how well the ink shows there."""
    warm = (ground[..., 1] + 0.6 * ground[..., 2] > 6) & (ground[..., 1] > -12)
    own = inks[np.where(warm, 0, 1)]
    shows = smoothstep(np.sqrt(((own - ground) ** 2).sum(-1)), 22, 40) * smoothstep(ground[..., 0] - own[..., 0], 20, 30)
    return warm, np.asarray(shows, np.float32)


def chosen(view: View, ground: Floats, middle: Floats, shows: Floats, unit: float) -> Floats:
    """(h, w) in 0..1: the strength of dots on the areas of one colour of (h, w, 3) ground that are large, calm, of a middle tone and not
    skin, those of one or two colours, of the ground, and of what the photo is of only where that fills it; even over each area, but for a
    slow change of its tone. Where hardly any is of a middle tone, the most that another colour has gets dots that run out downwards, as a
    sky does. middle, shows: (h, w) in 0..1, how much each place is of a middle tone, and how well dots show there."""
    middle = middle * shows
    packed = (ground * 255).astype(np.int32) @ np.array([65536, 256, 1], np.int32)
    _, numbers = np.unique(packed, return_inverse=True)
    labels = np.asarray(numbers.reshape(packed.shape), np.int32)
    clear = (1 - view.sight.skin()) * (1 - view.sight.face_map()) * (1 - view.sight.letters().place())
    behind = 1 - BEFORE * view.sight.figure()
    scene = view.sight.figure().mean() < SCENE
    busy = view.sight.edges(1.2, OPENED) * np.float32(view.unit)
    wide = blur(middle, 30 * unit)
    result = np.zeros(middle.shape, np.float32)
    found: list[tuple[float, list[tuple[int, NDArray[np.bool_], float]]]] = []
    open_ground = np.zeros(middle.shape, bool)
    for label in range(int(labels.max()) + 1):
        _, parts, stats, _ = cv2.connectedComponentsWithStats(np.asarray(labels == label, np.uint8), connectivity=4)
        large = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] > (LEAST * unit) ** 2)
        worth, whole, own = 0.0, 0, []
        empty = np.zeros(middle.shape, bool)
        for number in large[large > 0].tolist():
            mask = parts == number
            area = int(stats[number, cv2.CC_STAT_AREA])
            tone, free, rough = float(middle[mask].mean()), float(clear[mask].mean()), float(busy[mask].mean())
            ahead = float(behind[mask].mean())
            if min(free, 2 * ahead - 1, float(shows[mask].mean())) > 0.8 and rough < CALM:
                empty |= mask
            if tone > 0.22 and free > 0.8 and (ahead > 1 - 0.5 * BEFORE or not scene):
                # of two areas the calmer and the more in the middle
                worth, whole = worth + area * tone * free * ahead / (0.01 + rough), whole + area
                own.append((area, mask, tone))
        if own:
            found.append((worth / whole, own))
        open_ground = max(open_ground, empty, key=np.count_nonzero)
    room, left = SHARE * middle.size, INKS
    for _, own in sorted(found, key=lambda one: -one[0]):
        taken = False
        for area, mask, tone in sorted(own, key=lambda one: -one[0]):
            # one large sky may be more, but then it is all
            if area <= (WHOLE * middle.size if left == INKS and not taken else room):
                taken, room = True, room - area
                result[mask] = np.clip(0.55 + 0.45 * tone + 0.8 * (wide[mask] - tone), 0.3, 1)
        left -= taken
        if left == 0:
            break
    if open_ground.mean() > EMPTY and (result > 0).mean() < FEW:
        rows = np.flatnonzero(open_ground.any(1))
        down = (np.arange(len(result), dtype=np.float32) - rows[0]) / len(rows)
        fading = np.broadcast_to((FADING[0] + down * (FADING[1] - FADING[0]))[:, None], result.shape)
        result[open_ground] = fading[open_ground]
    # whole dots only: none that would be cut by a face
    return np.asarray(result * (clear > 0.5), np.float32)


def midtones(light: Floats, dark: float, bright: float) -> Floats:
    """0..1: 0 up to dark and from bright on, 1 halfway, for CIE lightness."""
    middle = (dark + bright) / 2
    rise = (middle - dark) * 0.8
    return np.asarray(smoothstep(light, dark, dark + rise) * smoothstep(light, bright, bright - (bright - middle) * 0.9), np.float32)


@dataclass(frozen=True, kw_only=True)
class DotLayer:
    """places: (n, 2) centres in parts of the result's sides. radii: (n,) in pixels of the result. warm: (n,) which of the two inks. inks:
    (2, 3) sRGB. size: (W, H) of the result."""

    places: np.ndarray
    radii: np.ndarray
    warm: np.ndarray
    inks: Floats
    opacity: float
    size: tuple[int, int]

    def apply(self, canvas: Floats, top: int) -> Floats:
        result = np.array(canvas, np.float32)
        width, height = self.size
        times = int(np.clip(round(SMALL / max(float(np.max(self.radii, initial=1)), 1)), 1, 8))
        x, y = self.places[:, 0] * width - 0.5, self.places[:, 1] * height - 0.5
        for ink, mine in ((0, self.warm), (1, ~self.warm)):
            here = mine & (y + self.radii > top - 2) & (y - self.radii < top + len(canvas) + 2)
            if not here.any():
                continue
            # drawn larger and averaged down: small dots stay round
            # with room above and below, for a dot cut by the edge of a picture is not drawn quite as a whole one
            room = 2 * math.ceil(float(self.radii[here].max())) + 3
            mask = np.zeros(((len(canvas) + 2 * room) * times, width * times), np.uint8)
            places = np.stack([(x[here] + 0.5) * times - 0.5, (y[here] - top + room + 0.5) * times - 0.5, self.radii[here] * times], 1)
            for across, down, radius in np.round(places * 2**SHIFT).astype(int).tolist():
                cv2.circle(mask, (across, down), radius, 255, -1, cv2.LINE_8 if times > 1 else cv2.LINE_AA, SHIFT)
            mask = np.ascontiguousarray(mask[room * times : (room + len(canvas)) * times])
            drawn = np.asarray(cv2.resize(mask, (width, len(canvas)), interpolation=cv2.INTER_AREA) if times > 1 else mask)
            result += drawn[..., None] * np.float32(self.opacity / 255) * (self.inks[ink] - result)
        return result
