"""What a report measured, on the style cards."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from eval import cards
from stylekit.storage.paths import STYLES_FOLDER
from stylekit.styles import StyleLibrary, read_style

COLUMNS = [
    {"key": "ssim", "title": "SSIM", "digits": 3, "networks": False},
    {"key": "lpips", "title": "LPIPS", "digits": 3, "networks": True},
    {"key": "seconds", "title": "seconds", "digits": 2, "networks": False},
]
ROWS = [
    {"style": "sketch", "method": "lora", "ssim": 0.51234, "lpips": 0.2, "seconds": 0.3},
    {"style": "sketch", "method": "hand", "ssim": 0.4, "lpips": 0.3, "seconds": 0.7},
    {"style": "sketch", "method": "dreambooth", "ssim": 0.6, "lpips": 0.1, "seconds": 0.2},
    {"style": "sketch", "method": "classical", "ssim": 0.1, "lpips": 0.9, "seconds": 0.1},
]


@pytest.fixture
def styles(tmp_path: Path) -> Path:
    for name in ("sketch", "sketch-dreambooth", "monet"):
        shutil.copytree(STYLES_FOLDER / name, tmp_path / "styles" / name)
    return tmp_path / "styles"


def report(folder: Path, standard: bool = False) -> Path:
    folder.mkdir(exist_ok=True)
    values = {"base": "pocket", "standard": standard, "photos": ["a.jpg", "b.jpg"], "rows": ROWS, "columns": COLUMNS}
    (folder / "report.json").write_text(json.dumps(values))
    return folder


def test_cards_get_the_numbers_of_their_own_methods_and_nothing_else_changes(tmp_path: Path, styles: Path) -> None:
    before = {path: path.read_text() for path in styles.glob("*/style.toml")}
    assert cards.write_metrics(report(tmp_path / "report"), styles) == ["sketch", "sketch-dreambooth"]
    sketch, twin = (read_style(styles / name / "style.toml").adapter("pocket").metrics for name in ("sketch", "sketch-dreambooth"))
    alone = {"SSIM, the model alone": 0.512}
    assert sketch == {"Photos measured": 2, **alone, "SSIM, drawn": 0.4}
    assert twin == {"Photos measured": 2, "SSIM, the model alone": 0.6}
    for path, text in before.items():
        left = [line for line in path.read_text().splitlines() if not line.startswith("metrics = ")]
        assert left == [line for line in text.splitlines() if not line.startswith("metrics = ")]
    assert len(StyleLibrary.open(styles)) == 3


def test_a_second_report_takes_the_place_of_the_first(tmp_path: Path, styles: Path) -> None:
    cards.write_metrics(report(tmp_path / "report"), styles)
    once = (styles / "sketch" / "style.toml").read_text()
    cards.write_metrics(report(tmp_path / "report"), styles)
    assert (styles / "sketch" / "style.toml").read_text() == once
    cards.write_metrics(report(tmp_path / "report", standard=True), styles)
    assert read_style(styles / "sketch" / "style.toml").adapter("pocket").metrics["LPIPS, drawn"] == 0.3


@pytest.mark.parametrize("text", [None, "{", "[]", '{"rows": []}'])
def test_a_report_that_is_none_is_refused_in_a_sentence(tmp_path: Path, styles: Path, text: str | None, capsys) -> None:
    if text is not None:
        (tmp_path / "report.json").write_text(text)
    assert cards.main([str(tmp_path), "--styles", str(styles)]) == 1
    assert "The report in" in capsys.readouterr().err


def test_a_card_without_an_adapter_for_the_base_is_named() -> None:
    with pytest.raises(cards.StyleError, match="no adapter for the base other"):
        cards.with_metrics('title = "A"\n\n[[adapters]]\nbase = "pocket"\n', "other", {"SSIM": 1.0})
