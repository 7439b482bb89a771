"""Settings of a layer of brush strokes."""

from __future__ import annotations

from dataclasses import dataclass

from stylekit.ranges import REQUIRED, check, choice, ranged


@dataclass(frozen=True, kw_only=True)
class Strokes:
    """One layer of strokes. Lengths are in units: 1/512 of the root of the picture's area.

    width, length: of a stroke. spacing: between strokes; 0 lays them about three deep. reach: how far contours give their direction.
    rest: direction in degrees from horizontal where there is no contour. wander: 0..1, how much strokes swirl where it is calm, in eddies
    of `eddy` units. form: 0..1, how far they lie parallel on each surface, and swirl in sky, leaves and water alone. level: 0..1, how far
    they run level on floor and water. spread: degrees by which single strokes deviate. sizes: 0..1, how unequal they are in size, beyond a
    brush's own variation. where: all, along contours only, along thin things only, such as a mast, or on lights only.
    cover: 0..1, share of strokes laid everywhere. detail: 0..1, share more where the layers below differ from what is to be painted.
    finer: 0..0.8, how much smaller strokes get in faces and busy places. loose: 0..1, how much larger they get, and how much small things
    are left out, where the eye is not drawn to. focus: 0..1, how far they keep to where it is drawn to. lost: 0..1, how far borders are
    painted over, most where they are faint and the eye is not drawn to. stop: difference of colour (Lab) at which a stroke ends.
    light, hue: variation from stroke to stroke, Lab lightness and degrees. broken: share of strokes in a neighbouring hue. shimmer: 0..1,
    how far warm strokes lie beside cool ones of the same lightness: yellow beside lilac in the light, wine red beside blue green in the
    shade. calm: 0..1, how much of this variation is withheld where nothing happens.
    chroma: factor on colourfulness. darken: 0..1, towards a deep blue. relief: thickness of paint in units. dry: 0..1, how ragged and
    streaky. taper: 0..1, how pointed. opacity: 0.05..1.
    """

    width: float = ranged(REQUIRED, 0.8, 40)
    length: float = ranged(REQUIRED, 1, 200)
    spacing: float = ranged(0.0, 0.8, 64)  # 0: as the other settings have it
    reach: float = ranged(6.0, 1, 64)
    rest: float = ranged(0.0, -180, 180)
    wander: float = ranged(0.0, 0, 1)
    eddy: float = ranged(60.0, 8, 300)
    form: float = ranged(0.0, 0, 1)
    spread: float = ranged(8.0, 0, 90)
    sizes: float = ranged(0.0, 0, 1)
    where: str = choice("all", ("all", "contours", "thin", "lights"))
    cover: float = ranged(1.0, 0, 1)
    detail: float = ranged(0.0, 0, 1)
    finer: float = ranged(0.3, 0, 0.8)
    loose: float = ranged(0.0, 0, 1)
    focus: float = ranged(0.0, 0, 1)
    lost: float = ranged(0.0, 0, 1)
    level: float = ranged(0.0, 0, 1)
    stop: float = ranged(14.0, 2, 100)
    light: float = ranged(3.0, 0, 30)
    hue: float = ranged(8.0, 0, 60)
    broken: float = ranged(0.0, 0, 1)
    shimmer: float = ranged(0.0, 0, 1)
    calm: float = ranged(0.4, 0, 1)
    chroma: float = ranged(1.0, 0.5, 2)
    darken: float = ranged(0.0, 0, 1)
    relief: float = ranged(0.5, 0, 2)
    dry: float = ranged(0.4, 0, 1)
    taper: float = ranged(0.4, 0, 1)
    opacity: float = ranged(1.0, 0.05, 1)

    def __post_init__(self) -> None:
        check(self, "The strokes' ")
