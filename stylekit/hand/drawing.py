"""Drawing: a photo drawn by one or several hands.

The photo is looked at and the marks are planned at a moderate size, then drawn in bands of rows at the photo's own size. Arrays of the
full size are the photo and the result, in bytes; all else is a band or of the plan's size.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stylekit.errors import SettingError
from stylekit.hand.analysis import Floats, band_rows, blur, enlarged, lightness, smoothstep
from stylekit.hand.fields import FlatLayer
from stylekit.hand.glass import GlassLayer
from stylekit.hand.hand import PHOTO, Hand, Tool, tool_of
from stylekit.hand.sight import Sight
from stylekit.hand.view import PLAN_AREA, UNITS, Layer, View
from stylekit.hand.woodblock import PrintLayer

Amount = float | NDArray[Any]
PLANNING = 0.4  # of the time that a drawing takes, about
AT_ONCE = 2  # tools planned beside the others
DETAIL_RANGE = (0.25, 4.0)
DETAIL = 0.8  # share of the photo's detail, finer than DETAIL_REACH units, that what is painted with has at least
DETAIL_REACH = 5.0
SOFT = 5.0  # units over which marks grow fewer towards the border of what is painted
FAINT = 0.04  # amount below which the photo shows through all marks


def draw(
    photo: Image.Image,
    model_picture: Image.Image,
    hands: Sequence[tuple[Hand, Amount]],
    *,
    seed: int = 0,
    detail: float = 1.0,
    progress: Callable[[float], None] | None = None,
) -> Image.Image:
    """What `drawing` makes. progress: called with 0..1 between bands; what it raises ends the drawing."""
    steps = drawing(photo, model_picture, hands, seed=seed, detail=detail)
    with contextlib.closing(steps):
        while True:
            try:
                done = next(steps)
            except StopIteration as end:
                return end.value
            if progress is not None:
                progress(done)


def drawing(
    photo: Image.Image, model_picture: Image.Image, hands: Sequence[tuple[Hand, Amount]], *, seed: int = 0, detail: float = 1.0
) -> Generator[float, None, Image.Image]:
    """Draw `photo` by `hands`, in RGB, at the photo's size: yields the share that is done, 0..1, and returns the picture.

    model_picture: what to paint with, of any size; the photo itself where no model painted. hands: each with its amount, 0..1 everywhere or
    (h, w) at any size; where all are 0 the result is the photo, bit for bit. seed: another seed lays other marks. detail: factor on the
    lengths of all marks, 0.5 (fine) to 2 (bold). Closing the generator ends the drawing: no further band is begun."""
    check_detail(detail)
    source = np.asarray(photo.convert("RGB"))
    h, w = source.shape[:2]
    size = w, h
    small = _plan_size(w, h)
    seen = _reduced(source, small)
    sight = Sight(seen)
    model = seen
    if any(hand.colours != PHOTO for hand, _ in hands):
        model = _detailed(_reduced(np.asarray(model_picture.convert("RGB")), small), seen)
    maps = [_amount(amount) for _, amount in hands]
    soft = [_softened(a, small) for a in maps]
    planned = []
    for i, ((hand, _), amount) in enumerate(zip(hands, soft, strict=True)):
        colours = seen if hand.colours == PHOTO else model
        view = View(photo=seen, colours=colours, amount=amount, size=size, seed=seed, detail=float(detail), sight=sight)
        planned.append(_plan(hand, view))
        yield PLANNING * (i + 1) / len(hands)
    layers = [mark for one in planned for mark in one.marks]
    if len(hands) > 1:
        layers.sort(key=lambda mark: mark.rank)
    ground = None
    if not (layers and layers[0].covers):
        ground = _Ground(seen, [(one.colours, amount) for one, amount in zip(planned, soft, strict=True)], size)
    result = np.empty_like(source)
    rows = band_rows(size)

    def band(top: int) -> None:
        part = source[top : top + rows]
        before = part.astype(np.float32)
        before *= np.float32(1 / 255)
        canvas: Floats = before if ground is None else ground.apply(before, top)
        for mark in layers:
            canvas = mark.layer.apply(canvas, top)
        shares = [enlarged(a, size, top, len(part)) for a in maps]
        everywhere = sum((float(share.min()) for share in shares), 0.0)
        if everywhere >= FAINT:
            result[top : top + rows] = _bytes(canvas)
            return
        share = np.minimum(np.sum(shares, 0, dtype=np.float32), 1) if shares else np.zeros(part.shape[:2], np.float32)
        canvas = np.asarray(before + (canvas - before) * smoothstep(share, 0, FAINT)[..., None], np.float32)
        result[top : top + rows] = np.where((share > 0)[..., None], _bytes(canvas), part)

    for done in _in_turn(band, range(0, h, rows)):
        yield PLANNING + (1 - PLANNING) * done
    return Image.fromarray(result)


def check_detail(detail: float) -> None:
    """SettingError unless `detail` is a number of the range."""
    low, high = DETAIL_RANGE
    if isinstance(detail, bool) or not isinstance(detail, (int, float)) or not low <= detail <= high:
        raise SettingError(f"detail is {detail!r}: choose a number from {low:g} (fine) to {high:g} (bold).")


def _in_turn(work: Callable[[int], None], tops: Sequence[int]) -> Iterator[float]:
    """Work on several bands at a time, yielding the share that is done; after an error, or once closed, no further band is begun."""
    running: deque[Future[None]] = deque()
    ahead = min(4, os.cpu_count() or 1)
    with ThreadPoolExecutor(ahead) as pool:
        for done, top in enumerate(tops):
            running.append(pool.submit(work, top))
            if len(running) > ahead:
                running.popleft().result()
            yield done / len(tops)
        while running:
            running.popleft().result()
    yield 1.0


@dataclass(frozen=True)
class _Mark:
    """A layer, the rank of its tool, and whether it covers all that lies below."""

    rank: int
    layer: Layer
    covers: bool


@dataclass(frozen=True)
class _Planned:
    """A hand's colours (h, w, 3) and its layers."""

    colours: Floats
    marks: list[_Mark]


def _plan(hand: Hand, view: View) -> _Planned:
    """Tools that look at nothing but the photo are planned at the same time as the others."""
    colours = ground = view.colours
    if not view.amount.any():
        return _Planned(colours, [])
    marks: list[tuple[Tool, Layer | Future[Layer]]] = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for name, settings in hand.tools:
            tool = tool_of(name)
            if tool.plan is not None and all(tool.alone(s) for s in settings):
                marks += [(tool, pool.submit(tool.plan, view, s, view.colours)) for s in settings]
                continue
            if tool.recolour is not None:
                for s in settings:
                    colours = ground = tool.recolour(view, s, colours)
            elif tool.plan is not None:
                for s in [settings] if tool.together else settings:
                    layer = tool.plan(view, s, ground)
                    marks.append((tool, layer))
                    if isinstance(layer, (FlatLayer, GlassLayer, PrintLayer)):
                        # what is laid on flat colours, as dots are, goes by them
                        ground = layer.colours((view.photo.shape[1], view.photo.shape[0]))
        layers = [(tool, made.result() if isinstance(made, Future) else made) for tool, made in marks]
    wholly = bool(view.amount.min() == 1)
    return _Planned(colours, [_Mark(tool.rank, layer, tool.covers and wholly) for tool, layer in layers])


def _plan_size(w: int, h: int) -> tuple[int, int]:
    k = min(1.0, (PLAN_AREA / (w * h)) ** 0.5)
    return max(1, round(w * k)), max(1, round(h * k))


def _reduced(picture: NDArray[np.uint8], size: tuple[int, int]) -> Floats:
    """(h, w, 3) bytes as floats of size (w, h)."""
    if (picture.shape[1], picture.shape[0]) != size:
        shrinks = picture.shape[1] > size[0]
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC).astype(np.uint8)
    return np.asarray(picture.astype(np.float32) / 255, np.float32)


def _amount(amount: Amount) -> Floats:
    """(h, w) in 0..1; (1, 1) for one number."""
    try:
        array = np.asarray(amount, np.float32)
    except (TypeError, ValueError):
        raise SettingError(f"The amount of a hand is {amount!r}: give a number from 0 to 1 or a map of such numbers.") from None
    array = array.reshape(1, 1) if array.ndim == 0 else array
    if array.ndim != 2 or not array.size or not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
        raise SettingError("The amount of a hand is outside 0 to 1, or is no map of rows and columns: give numbers from 0 to 1.")
    return array


def _softened(amount: Floats, size: tuple[int, int]) -> Floats:
    """A map of amounts at the plan's size, falling to 0 inside the border of what is painted, so that marks end there and are not cut."""
    w, h = size
    shrinks = amount.shape[0] > h or amount.shape[1] > w
    plan = np.asarray(cv2.resize(amount, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), np.float32).reshape(h, w)
    plan = np.clip(plan, 0, 1)
    if plan.min() > 0:
        return plan
    near = blur((plan > 0).astype(np.float32), SOFT * np.sqrt(h * w) / UNITS)
    return np.asarray(plan * np.clip(2 * near - 1, 0, 1), np.float32)


def _bytes(canvas: Floats) -> NDArray[np.uint8]:
    """(h, w, 3) of 0..1 as bytes."""
    scaled = canvas * np.float32(255)
    scaled += np.float32(0.5)
    return np.asarray(np.clip(scaled, 0, 255, out=scaled), np.uint8)


def _detailed(model: Floats, seen: Floats) -> Floats:
    """The model's picture with the photo's detail in light where its own falls short; both (h, w, 3) at the plan's size."""
    reach = DETAIL_REACH * float(np.sqrt(seen.shape[0] * seen.shape[1])) / UNITS
    theirs, ours = lightness(model), lightness(seen)
    theirs_soft, ours_soft = blur(theirs, reach), blur(ours, reach)
    # detail grows with the light, where the model opened dark tones
    gain = DETAIL * np.clip((theirs_soft + 0.1) / (ours_soft + 0.1), 0.6, 2)
    lacking = gain * (ours - ours_soft) - (theirs - theirs_soft)
    return np.asarray(np.clip(model + lacking[..., None], 0, 1), np.float32)


class _Ground:
    """What marks are drawn on: the hands' colours at the photo's size with its finest detail, laid over the photo by amount."""

    def __init__(self, seen: Floats, hands: Sequence[tuple[Floats, Floats]], size: tuple[int, int]) -> None:
        """seen: (h, w, 3), the photo at the plan's size. hands: colours (h, w, 3) and amount (h, w) of each."""
        self.size = size
        mixed: Floats = np.zeros(seen.shape, np.float32)
        weight: Floats = np.zeros((*seen.shape[:2], 1), np.float32)
        for colours, amount in hands:
            mixed += colours * amount[..., None]
            weight += amount[..., None]
        colours = np.asarray(mixed / np.maximum(weight, 1e-9), np.float32)
        gain = np.asarray(DETAIL * np.clip((lightness(colours) + 0.1) / (lightness(seen) + 0.1), 0.6, 2), np.float32)
        self.same = (seen.shape[1], seen.shape[0]) == size
        self.plane = colours if self.same else np.dstack([colours - blur(gain, 2.0)[..., None] * seen, blur(gain, 2.0)])
        self.amount = np.minimum(weight[..., 0], 1)

    def apply(self, photo: Floats, top: int) -> Floats:
        ground = enlarged(self.plane, self.size, top, len(photo))
        if not self.same:
            # the photo's detail: what of it is not in its copy of the plan's size
            gain = ground[..., 3:]
            ground = ground[..., :3]
            ground += gain * photo
            np.clip(ground, 0, 1, out=ground)
        amount = enlarged(self.amount, self.size, top, len(photo))[..., None]
        if float(amount.min()) == 1:
            return ground
        return np.asarray(photo + amount * (ground - photo), np.float32)
