"""Brush strokes: laid out along the contours of a photo, large ones first (hand/marks/layout.py), and rendered with bristles, ragged ends
and relief (hand/marks/painted.py)."""

from __future__ import annotations

from collections.abc import Sequence

from stylekit.hand.analysis import Floats, to_lab, to_rgb
from stylekit.hand.marks.brush import Strokes
from stylekit.hand.marks.layout import lay_all
from stylekit.hand.marks.painted import Painted
from stylekit.hand.marks.scene import median
from stylekit.hand.view import Layer, View

__all__ = ["Strokes", "plan_strokes"]
GROUND = 5.0  # units; the ground that strokes are laid on shows nothing smaller
SALT = 7701  # added to the seed: randomness of this tool alone


def plan_strokes(view: View, settings: Sequence[Strokes], colours: Floats) -> Layer:
    """Strokes of all layers for `colours` (h, w, 3) in 0..1, what is to be painted."""
    # what shows between strokes is thin paint, not the photo
    ground = to_rgb(median(to_lab(colours), GROUND * view.unit * view.detail))
    return Painted(view, lay_all(view, list(settings), colours, SALT), ground)
