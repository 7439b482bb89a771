"""Figures of the reports, drawn without a window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stylekit.errors import StyleError

INK, PALE = "#222222", "#bbbbbb"


def new_figure(width: float, height: float) -> Any:
    """An empty matplotlib figure, in inches; no window, no global state."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise StyleError("Plots need matplotlib: run `pip install matplotlib`.") from None
    return Figure(figsize=(width, height), dpi=110, layout="constrained", facecolor="white")


def bare(axis: Any) -> None:
    """No frame but the bottom line, no ticks, a faint grid."""
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.spines["bottom"].set_color(PALE)
    axis.tick_params(length=0, colors=INK, labelsize=9)
    axis.grid(axis="x", color="#eeeeee", zorder=0)


def save_figure(figure: Any, path: Path) -> None:
    figure.savefig(path, format="png", metadata={"Software": None})
