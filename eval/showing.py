"""What a notebook shows: pictures on one small JPEG, plots, tables of numbers. IPython displays them; it comes with the extra notebooks."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, ImageFont

from eval.output import INK, PALE, bare, new_figure
from stylekit.pixels.contact_sheet import SIZE, contact_sheet, within

SIDE = 200  # pixels; long side of a picture on a sheet
QUALITY = 80
DPI = 80
HUES = ("#b23a22", "#0072b2", "#00875a", "#6f4fae", "#d98200", "#6c757d")  # of lines, in their order

Points = tuple[Sequence[float], Sequence[float]]


def show_pictures(
    rows: Sequence[Sequence[Image.Image]], *, titles: Sequence[str] = (), names: Sequence[str] = (), side: int | None = SIDE
) -> None:
    """`rows` of pictures on one sheet. titles: above the columns; names: at the left of the rows. side: their long side in pixels, None for
    pictures as large as they are."""
    from IPython.display import Image as Shown
    from IPython.display import display

    display(Shown(data=jpeg(sheet(rows, titles=titles, names=names, side=side)), format="jpeg"))


def show_figure(figure: Any, *, dpi: int = DPI) -> None:
    """A matplotlib figure, as a PNG."""
    from IPython.display import Image as Shown
    from IPython.display import display

    display(Shown(data=png(figure, dpi), format="png"))


def show_table(rows: Sequence[Mapping[str, object]], *, digits: int = 2) -> None:
    """`rows` as a table; their keys are its columns, in the order in which they come up."""
    from IPython.display import Markdown, display

    display(Markdown(table_text(rows, digits)))


def sheet(
    rows: Sequence[Sequence[Image.Image]], *, titles: Sequence[str] = (), names: Sequence[str] = (), side: int | None = SIDE
) -> Image.Image:
    """RGB, as `show_pictures` has it, with room at the left for the longest name."""
    fitted = [[picture if side is None else within(picture, side) for picture in row] for row in rows]
    font = ImageFont.load_default(SIZE)
    margin = round(max((font.getlength(name) for name in names), default=-12)) + 12
    return contact_sheet(fitted, titles=titles, names=names, margin=margin)


def jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.convert("RGB").save(file, format="JPEG", quality=QUALITY)
    return file.getvalue()


def png(figure: Any, dpi: int = DPI) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi, metadata={"Software": None})
    return file.getvalue()


def table_text(rows: Sequence[Mapping[str, object]], digits: int = 2) -> str:
    """Markdown; floats with so many `digits`, nothing where a row lacks a key or has None."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [columns, ["---"] * len(columns), *([_cell(row.get(column), digits) for column in columns] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(value: object, digits: int) -> str:
    if value is None or isinstance(value, bool):
        return "yes" if value else "no" if value is False else ""
    return f"{value:,.{digits}f}" if isinstance(value, float) else str(value)


def lines(series: Mapping[str, Points], *, x: str, y: str) -> Any:
    """Figure of lines. series: name -> (xs, ys); x, y: what the axes are."""
    figure = new_figure(7, 3)
    axis = figure.subplots()
    bare(axis)
    axis.grid(axis="y", color="#eeeeee")
    for i, (name, (xs, ys)) in enumerate(series.items()):
        axis.plot(xs, ys, color=HUES[i % len(HUES)], marker="o" if len(xs) < 15 else "", markersize=4, linewidth=1.5, label=name, zorder=2)
    axis.set_xlabel(x, fontsize=9.5, color=INK)
    axis.set_ylabel(y, fontsize=9.5, color=INK)
    if len(series) > 1:
        axis.legend(frameon=False, fontsize=9)
    return figure


def bars(
    values: Mapping[str, float],
    *,
    title: str,
    errors: Mapping[str, float] | None = None,
    hues: Mapping[str, str] | None = None,
    digits: int = 2,
) -> Any:
    """Figure of bars, one below the other, each with its number. errors: half the length of its whisker; hues: its colour."""
    figure = new_figure(7, 0.8 + 0.36 * len(values))
    axis = figure.subplots()
    bare(axis)
    names, heights = list(values), list(values.values())
    colours = [(hues or {}).get(name, HUES[1]) for name in names]
    whiskers = [(errors or {}).get(name, 0.0) for name in names] if errors else None
    drawn = axis.barh(range(len(names)), heights, 0.62, color=colours, xerr=whiskers, ecolor=INK, zorder=2)
    axis.bar_label(drawn, [f"{value:.{digits}f}" for value in heights], padding=4, fontsize=9, color=INK)
    axis.axvline(0, color=PALE, linewidth=1)
    axis.set_yticks(range(len(names)), names, fontsize=9.5, color=INK)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.margins(x=0.12)
    axis.set_title(title, loc="left", fontsize=10.5, color=INK)
    return figure
