"""What notebooks show: sheets that fit, small JPEGs, tables, plots that say what they were given."""

from __future__ import annotations

import io
import sys

import pytest
from PIL import Image

from eval import showing


def test_a_sheet_has_room_for_names_and_titles() -> None:
    pictures = [Image.new("RGB", size, "red") for size in ((300, 100), (100, 300))]
    plain = showing.sheet([pictures], side=100)
    assert plain.size == (100 + 4 + 33, 100)
    named = showing.sheet([pictures], titles=["a", "b"], names=["a long name"], side=100)
    assert named.width > plain.width + 40
    assert named.height > plain.height
    assert showing.sheet([pictures], side=None).size == (404, 300)  # as large as they are


def test_a_jpeg_is_small_and_the_same_picture() -> None:
    picture = Image.new("RGBA", (64, 48), (10, 200, 30, 255))
    found = Image.open(io.BytesIO(showing.jpeg(picture)))
    assert (found.format, found.size) == ("JPEG", (64, 48))
    assert all(abs(a - b) <= 3 for a, b in zip(found.getpixel((5, 5)), (10, 200, 30), strict=True))  # type: ignore[arg-type]


def test_a_table_has_the_columns_of_all_rows() -> None:
    text = showing.table_text([{"a": 1, "b": 1234.567}, {"a": None, "c": "x"}, {"a": True, "b": False}], digits=1)
    assert text == "| a | b | c |\n| --- | --- | --- |\n| 1 | 1,234.6 |  |\n|  |  | x |\n| yes | no |  |\n"


def test_lines_and_bars_show_what_they_were_given() -> None:
    axis = showing.lines({"up": ([1, 2], [3, 4]), "down": ([1, 2], [4, 3])}, x="step", y="loss").axes[0]
    assert [list(line.get_ydata()) for line in axis.lines] == [[3, 4], [4, 3]]
    assert (axis.get_xlabel(), axis.get_ylabel(), len(axis.get_legend().texts)) == ("step", "loss", 2)
    axis = showing.bars({"a": 2.0, "b": 0.5}, errors={"a": 0.25}, title="score").axes[0]
    assert [bar.get_width() for bar in axis.patches] == [2.0, 0.5]
    assert {"2.00", "0.50"} <= {text.get_text() for text in axis.texts}
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]
    png = Image.open(io.BytesIO(showing.png(showing.lines({"one": ([0], [0])}, x="x", y="y"), dpi=50)))
    assert (png.format, png.size) == ("PNG", (350, 150))


def test_a_notebook_gets_one_format_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    display = pytest.importorskip("IPython.display")
    shown: list[object] = []
    monkeypatch.setattr(sys.modules["IPython.display"], "display", shown.append)
    showing.show_pictures([[Image.new("RGB", (40, 30))]])
    showing.show_figure(showing.bars({"a": 1.0}, title="t"))
    showing.show_table([{"a": 1}])
    picture, figure, table = shown
    assert isinstance(picture, display.Image)
    assert isinstance(figure, display.Image)
    assert (picture.format, figure.format) == ("jpeg", "png")  # and not each picture twice, as IPython does with those of Pillow
    assert table.data.startswith("| a |")  # type: ignore[attr-defined]
