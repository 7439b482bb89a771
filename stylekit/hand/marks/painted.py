"""Brush strokes rendered by numbers: every piece of a stroke is filled once with its number; place along and across the stroke, and with
them the print of the brush, its colour and its thickness, are looked up afterwards for all pixels at once. Layers are laid from the top
down, so that what later paint hides is not looked up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from stylekit.hand.analysis import Floats, band_rows, blur, enlarged, fineness, resized
from stylekit.hand.marks.prints import prints
from stylekit.hand.view import View

HIDDEN = 0.02  # of what lies below shows; less of it is not painted
STRAIGHT = 0.25  # bend of a piece in half widths, up to which it is filled as a convex shape
SHORT_PIECE = 16.0  # pixels drawn; shorter pieces need fewer corners
LAMP = (-0.7071, -0.7071)  # where the light comes from, across and down


@dataclass(frozen=True)
class Pieces:
    """Pieces of strokes in order of painting, in pixels of the plan. shape: (n, 10) middle x, y, direction x, y, bend, half length,
    half width, start along the stroke 0..1, its share of it, number of the print. ribbon: (n, 10, 2) outline. colour: (n, 3) sRGB.
    body: (n, 2) opacity, thickness in units. dry, taper: of the brush, see `Strokes`."""

    shape: Floats
    ribbon: Floats
    colour: Floats
    body: Floats
    dry: float
    taper: float


def pieces_of(path: Floats, half: Floats, colour: Floats, body: Floats, number: NDArray, dry: float, taper: float) -> Pieces:
    """Strokes along (n, 4 k + 1, 2) paths as parabolas, one for every four steps, with an outline within the paint: an empty rim would
    hide the stroke below. half, number: (n,) half width and print. colour, body: (n, 3) and (n, 2)."""
    n, count = len(path), path.shape[1] // 4
    parts = [path[:, 4 * i : 4 * i + 5] for i in range(count)]
    lines = np.stack(parts, 1).reshape(-1, 5, 2)  # the pieces of a stroke follow one another
    ends = lines[:, -1] - lines[:, 0]
    reach = np.maximum(np.hypot(ends[:, 0], ends[:, 1]), np.float32(1e-3))
    way = ends / reach[:, None]
    # a stroke stopped at once has no direction of its own
    way[reach <= 1e-3] = (1, 0)
    side = np.stack([-way[:, 1], way[:, 0]], 1)
    middle = 0.5 * (lines[:, 0] + lines[:, -1])
    bend = ((lines[:, 2] - middle) * side).sum(1)
    wide = np.repeat(half, count)
    # dabs stopped at once still leave the print of the brush
    long = np.maximum(0.5 * reach, 0.55 * wide)
    start = np.tile(np.arange(count, dtype=np.float32) / count, n)
    shape = np.column_stack([middle, way, bend, long, wide, start, np.full(n * count, 1 / count), np.repeat(number, count)])
    t = np.linspace(-1, 1, 5, dtype=np.float32)[None, :, None]
    curve = middle[:, None] + way[:, None] * (t * long[:, None, None]) + side[:, None] * (bend[:, None, None] * (1 - t * t))
    out = side[:, None] * (0.92 * wide)[:, None, None]
    ribbon = np.concatenate([curve + out, (curve - out)[:, ::-1]], 1)
    colours, bodies = np.repeat(colour, count, 0).astype(np.float32), np.repeat(body, count, 0).astype(np.float32)
    return Pieces(shape.astype(np.float32), ribbon.astype(np.float32), colours, bodies, dry, taper)


def no_pieces() -> Pieces:
    none = [np.zeros(shape, np.float32) for shape in ((0, 10), (0, 10, 2), (0, 3), (0, 2))]
    return Pieces(none[0], none[1], none[2], none[3], 0.0, 0.0)


def roughly(painted: Floats, pieces: Pieces, scale: float) -> Floats:
    """`painted` (h, w, 3), -1 where it is bare, with the pieces in flat colour. scale: pixels of it per pixel of the plan."""
    ids = np.zeros(painted.shape[:2], np.int32)
    _fill(ids, pieces, np.full(2, scale, np.float32), 0)
    hit = np.flatnonzero(ids)
    result = painted.copy()
    result.reshape(-1, 3)[hit] = pieces.colour[ids.ravel()[hit] - 1]
    return result


def _fill(ids: NDArray[np.int32], pieces: Pieces, scale: Floats, top: int) -> None:
    """Number all pieces that touch the rows from `top` (both in pixels of ids) with their place in the list plus one."""
    if not len(pieces.ribbon):
        return
    # rounded before the band is cut out, so that a piece has the same pixels in every band
    points = np.round((pieces.ribbon * scale - np.float32(0.5)) * 16).astype(np.int32)
    points[..., 1] -= top * 16
    low, high = points[..., 1].min(1), points[..., 1].max(1)
    near = np.flatnonzero((high > -32) & (low < (ids.shape[0] + 2) * 16))
    shape = pieces.shape[near]
    straight = np.abs(shape[:, 4]) < STRAIGHT * shape[:, 6]
    short = straight & (2 * shape[:, 5] * float(scale.max()) < SHORT_PIECE)
    whole, few = list(points[near]), list(np.ascontiguousarray(points[near][:, [0, 2, 4, 5, 7, 9]]))
    for i, corners, fewer, is_straight, is_short in zip(near.tolist(), whole, few, straight.tolist(), short.tolist(), strict=True):
        if is_straight:
            cv2.fillConvexPoly(ids, fewer if is_short else corners, i + 1, cv2.LINE_8, 4)
        else:
            cv2.fillPoly(ids, (corners,), i + 1, cv2.LINE_8, 4)


class Painted:
    """Strokes ready to be drawn."""

    def __init__(self, view: View, layers: Sequence[Pieces], ground: Floats | None) -> None:
        """ground: (h, w, 3) in 0..1, of any size, what shows between strokes: wholly where view's amount is 1, hardly where it is small.
        None for what lies there already."""
        w, h = view.size
        self.size = view.size
        self.fine = fineness(view.size)
        self.tall = band_rows(view.size)
        ph, pw = view.photo.shape[:2]
        self.scale = np.array([w * self.fine / pw, h * self.fine / ph], np.float32)
        self.stretch = float(np.sqrt(self.scale[0] * self.scale[1]))
        self.unit = view.unit * self.stretch  # pixels drawn per unit
        self.ground: Floats | None = None
        if ground is not None:
            share = np.square(view.amount)[..., None]
            self.ground = np.dstack([resized(ground, (pw, ph), cv2.INTER_LINEAR) * share, 1 - share])
        self.layers = [_Layer(pieces, self.scale, self.stretch) for pieces in layers if len(pieces.shape)]

    def apply(self, canvas: Floats, top: int) -> Floats:
        """Lit paint over the canvas."""
        if not self.layers:
            return canvas
        if self.ground is not None:
            ground = enlarged(self.ground, self.size, top, len(canvas))
            canvas = np.asarray(canvas * ground[..., 3:] + ground[..., :3], np.float32)
        result = np.empty_like(canvas)
        # in tiles counted from the top of the result: where a piece is cut by a border, its outline depends on the border
        for tile in range(top // self.tall * self.tall, top + len(canvas), self.tall):
            begin, end = max(tile, top), min(tile + self.tall, top + len(canvas))
            self._tile(canvas[begin - top : end - top], tile, slice(begin - tile, end - tile), result[begin - top : end - top])
        return result

    def _tile(self, canvas: Floats, top: int, wanted: slice, result: Floats) -> None:
        """Rows `wanted` of the tile that begins at row top of the result. A few rows more are looked up, for relief to fit together."""
        rows, w = min(self.tall, self.size[1] - top), self.size[0]
        # as many as make a whole number of pixels drawn
        even = rows + rows % 2, w + w % 2
        tall, wide = round(even[0] * self.fine), round(even[1] * self.fine)
        soft = max(0.6, 0.10 * self.unit)
        margin = math.ceil(4 * soft) + 3
        laid = _Laid((tall + 2 * margin, wide), round(top * self.fine) - margin)
        for layer in reversed(self.layers):
            layer.lay(laid)
        # light falls on paint: shaded slopes keep their hue, lit ones gain white
        lit = self._light(blur(laid.height, soft))[margin : margin + tall]
        bright = np.maximum(lit, 0)
        keep = 1 + np.minimum(lit, 0) - np.float32(0.55) * bright
        through = laid.through[margin : margin + tall]
        bright *= 1 - through
        shown = self._averaged(through, even)[wanted, :w]
        for i in range(3):
            paint = laid.paint[i][margin : margin + tall]
            paint *= keep
            paint += bright
            np.clip(canvas[..., i] * shown + self._averaged(paint, even)[wanted, :w], 0, 1, out=result[..., i])

    def _averaged(self, plane: Floats, size: tuple[int, int]) -> Floats:
        if plane.shape == size:
            return plane
        return np.asarray(cv2.resize(plane, size[::-1], interpolation=cv2.INTER_AREA), np.float32)

    def _light(self, height: Floats) -> Floats:
        """-1..1: how much slopes face the lamp or turn from it. height: in units."""
        across = cv2.Scharr(height, cv2.CV_32F, 1, 0, scale=LAMP[0] * 0.9 * self.unit / 32, borderType=cv2.BORDER_REFLECT)
        down = cv2.Scharr(height, cv2.CV_32F, 0, 1, scale=LAMP[1] * 0.9 * self.unit / 32, borderType=cv2.BORDER_REFLECT)
        # up a slope away from the lamp is lit
        faces: Floats = np.tanh(np.asarray(across + down, np.float32))
        faces *= np.where(faces < 0, np.float32(0.30), np.float32(0.42))
        return faces


class _Laid:
    """Paint on rows `first`.. of what is drawn: (h, w) how much of what lies below shows through, red, green and blue times opacity, height
    in units, and how much of the height of what lies below still counts."""

    def __init__(self, shape: tuple[int, int], first: int) -> None:
        self.first = first
        self.through, self.rough = np.ones(shape, np.float32), np.ones(shape, np.float32)
        self.paint = [np.zeros(shape, np.float32) for _ in range(3)]
        self.height = np.zeros(shape, np.float32)


class _Layer:
    """Pieces of one brush with all that is looked up for a pixel of a piece."""

    def __init__(self, pieces: Pieces, scale: Floats, stretch: float) -> None:
        self.pieces, self.scale = pieces, scale
        px, py, dx, dy, bend, long, half, start, share, number = pieces.shape.T
        length, width = np.median(long / share) * 2 * stretch, np.median(half) * 2 * stretch
        self.sheet, self.tall, wide = prints(pieces.dry, pieces.taper, float(length), float(width))
        s = np.float32(stretch)
        along = 0.5 * share * wide
        # along the print: (x - px) dx + (y - py) dy, times a factor, plus an offset; across it the same, less the bow
        self.places = [
            np.ascontiguousarray(a, np.float32)
            for a in (
                *(px * scale[0], py * scale[1], dx, dy, 1 / (long * s), bend * s, 0.5 * self.tall / (half * s)),
                *(number * self.tall - 0.5, along, (start + 0.5 * share) * wide - 0.5),
            )
        ]
        self.paints = [np.ascontiguousarray(a) for a in (*pieces.colour.T, *pieces.body.T)]

    def lay(self, laid: _Laid) -> None:
        """Under what is laid already."""
        ids = np.zeros(laid.through.shape, np.int32)
        _fill(ids, self.pieces, self.scale, laid.first)
        ids *= laid.through > HIDDEN
        hit = np.flatnonzero(ids)
        if not len(hit):
            return
        k = ids.ravel()[hit].astype(np.intp) - 1
        a, height, streak = self._looked_up(k, hit, ids.shape[1], laid.first)
        red, green, blue, opacity, thick = self.paints
        a *= opacity[k]
        through = laid.through.reshape(-1)
        seen = through[hit]
        a_seen = a * seen
        through[hit] = seen - a_seen
        streak *= np.float32(0.022)
        for plane, colour in zip(laid.paint, (red, green, blue), strict=True):
            paint = colour[k]
            paint += streak
            paint *= a_seen
            flat = plane.reshape(-1)
            flat[hit] += paint
        rough, flat = laid.rough.reshape(-1), laid.height.reshape(-1)
        counts = rough[hit]
        height *= thick[k]
        height *= counts
        flat[hit] += height
        a *= -0.75
        a += 1
        counts *= a
        rough[hit] = counts

    def _looked_up(self, k: NDArray[np.intp], hit: NDArray[np.intp], columns: int, first: int) -> tuple[Floats, Floats, Floats]:
        """Opacity, height and streak of the print of piece `k` at pixels `hit`."""
        px, py, dx, dy, per_long, bend, per_half, sheet, along, begin = self.places
        down = hit // columns
        y: Floats = down.astype(np.float32)
        x: Floats = (hit - down * columns).astype(np.float32)
        y += np.float32(first + 0.5)
        x += np.float32(0.5)
        x -= px[k]
        y -= py[k]
        cx, cy = dx[k], dy[k]
        u = x * cx
        u += y * cy
        y *= cx
        x *= cy
        y -= x  # across, from here on
        u *= per_long[k]
        bow = u * u
        np.subtract(1, bow, out=bow)
        bow *= bend[k]
        y -= bow
        y *= per_half[k]
        y += 0.5 * self.tall
        np.clip(y, 0, self.tall - 1, out=y)
        y += sheet[k]
        u *= along[k]
        u += begin[k]
        return _look(self.sheet, u, y)


def _look(sheet: Floats, u: Floats, v: Floats) -> tuple[Floats, Floats, Floats]:
    """The three channels of sheet at columns u and rows v, bilinear, nothing outside."""
    n, side = len(u), 4096
    maps = [np.zeros(-(-n // side) * side, np.float32) for _ in range(2)]
    maps[0][:n], maps[1][:n] = u, v
    x, y = (m.reshape(-1, side) for m in maps)
    found = [cv2.remap(sheet[i], x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0).reshape(-1)[:n] for i in range(3)]
    a, height, streak = (np.asarray(f, np.float32) for f in found)
    return a, height, streak
