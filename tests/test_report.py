"""The final report and the slides say what the committed files say."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from stylekit.errors import StyleError


@pytest.fixture(scope="module")
def build(root: Path) -> ModuleType:
    sys.path.insert(0, str(root / "docs" / "report"))
    import build

    return build


def test_the_report_is_what_the_files_give(build: ModuleType, root: Path) -> None:
    rendered = build.rendered(build.REPORT)
    assert (root / "docs" / "report" / "report.md").read_text(encoding="utf-8") == rendered, "run python docs/report/build.py"
    figures = [int(number) for number in re.findall(r"^\*Figure (\d+)\.", rendered, re.MULTILINE)]
    tables = [int(number) for number in re.findall(r"^\*Table (\d+)\.", rendered, re.MULTILINE)]
    assert figures == list(range(1, len(figures) + 1))
    assert tables == list(range(1, len(tables) + 1))
    assert len(figures) == len(re.findall(r"^!\[", rendered, re.MULTILINE))
    for picture in re.findall(r"^!\[.*?\]\((.*?)\)", rendered, re.MULTILINE):
        assert (root / "docs" / "report" / picture).is_file(), picture


def test_the_slides_are_ten(build: ModuleType) -> None:
    page = build.page(build.SLIDES, build.rendered(build.SLIDES))
    assert page.count("<section>") == 10
    assert all("<h" in section for section in page.split("<section>")[1:])


def test_a_number_that_is_no_longer_there_is_told(build: ModuleType) -> None:
    assert build.table("docs/maps.md", "Measured")[0]["one step"].endswith(" s")
    with pytest.raises(StyleError, match="no heading"):
        build.table("docs/maps.md", "Nowhere")
    with pytest.raises(StyleError, match="tables below"):
        build.table("docs/maps.md", "Measured", 9)
    rows = [{"a": 1, "b": 2}, {"a": 1, "b": 3}]
    assert build.row(rows, a=1, b=3) is rows[1]
    with pytest.raises(StyleError, match="2 rows"):
        build.row(rows, a=1)
    assert build.number("1,508,288 of 2") == 1508288
    with pytest.raises(StyleError, match="no number"):
        build.number("none")
    assert build.span([0.5, 0.25]) == "0.25 to 0.50"


@pytest.mark.parametrize("name", ["report.pdf", "slides.pdf"])
def test_links_in_the_pdfs_lead_to_files_beside_them_and_not_to_a_machine(build: ModuleType, root: Path, name: str) -> None:
    pdf = (root / "docs" / "report" / name).read_bytes()
    assert b"file:" not in pdf
    for link in re.findall(rb"/URI \(([^()]*)\)", pdf):
        if not link.startswith((b"http", b"mailto")):
            assert (root / "docs" / "report" / link.decode().split("#")[0]).exists(), link


def test_a_link_made_relative_moves_no_byte(build: ModuleType) -> None:
    before = b"<</URI (" + (build.HERE.parent / "results.md").as_uri().encode() + b")>>end"
    after = build.with_relative_links(before)
    assert after.startswith(b"<</URI (../results.md) ")
    assert len(after) == len(before)
    assert after.endswith(b">>end")
