"""Style cards are read strictly."""

from __future__ import annotations

from pathlib import Path

import pytest

from stylekit.brush import Brush
from stylekit.errors import StyleError, UnknownStyleError
from stylekit.styles import StyleLibrary, card_text, read_style

CARD = """
title = "Fog"
blurb = "Everything in fog."
license = "MIT"
[[adapters]]
base = "pocket"
file = "fog.safetensors"
made = "by hand"
data = "none"
"""


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).mkdir()
    (folder / name / "style.toml").write_text(text)
    return folder


def test_a_card_is_read(tmp_path: Path) -> None:
    library = StyleLibrary.open(write(tmp_path, "fog", CARD))
    assert len(library) == 1
    fog = library["fog"]
    assert fog.title == "Fog"
    assert fog.adapter("pocket").path == (tmp_path / "fog" / "fog.safetensors").resolve()
    assert fog.adapter("pocket").license == "MIT"
    with pytest.raises(UnknownStyleError, match="no adapter for the base other"):
        fog.adapter("other")
    with pytest.raises(UnknownStyleError, match="choose from fog"):
        library["mist"]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("title = ", "cannot be read"),
        ('title = "a"', "lacks"),
        (CARD.replace("blurb", "blurp"), "blurp"),
        (CARD.replace("fog.safetensors", "../../etc/passwd"), "outside its folder"),
        (CARD + 'kind = "magic"', "magic"),
        (CARD + 'colour = "red"', "colour"),
        ('order = "first"\n' + CARD, "whole number"),
        (CARD + "timestep = 0", "timestep 0"),
        (CARD + "num_inference_steps = 1000", "1000 steps"),
        (CARD + 'num_inference_steps = "many"', "whole number"),
        (CARD + "scale = 0", "scale 0"),
        (CARD + "scale = nan", "give a number"),
        (CARD + "metrics = 3", "no table"),
        (CARD + 'metrics = { ArtFID = "good" }', "give a number"),
        (CARD + "trigger = 3", "no text"),
        (CARD.replace('"Fog"', "3"), "no text"),
        ('adapters = "none"\n' + CARD.partition("[[")[0], "no tables"),
        (CARD + "phases = 3", "3 phases"),
        (CARD + "underpainting = 4", "no table"),
        (CARD + "underpainting = { width = 6 }", "lacks width, length or flow"),
        (CARD + "underpainting = { width = 6, length = 20, flow = 8, hair = 1 }", "hair"),
        (CARD + "underpainting = { width = 0, length = 20, flow = 8 }", "width"),
    ],
)
def test_bad_cards_are_told(tmp_path: Path, text: str, word: str) -> None:
    with pytest.raises(StyleError, match=word):
        StyleLibrary.open(write(tmp_path, "fog", text))


def test_styles_come_in_their_order_then_by_name(tmp_path: Path) -> None:
    for name, text in (("a", CARD), ("b", CARD), ("c", "order = 1\n" + CARD)):
        write(tmp_path, name, text)
    assert [style.name for style in StyleLibrary.open(tmp_path)] == ["c", "a", "b"]


def test_a_card_may_ask_for_an_underpainting(tmp_path: Path) -> None:
    text = CARD + "underpainting = { width = 6, length = 20, flow = 8 }"
    assert StyleLibrary.open(write(tmp_path, "fog", text))["fog"].adapter("pocket").underpainting == Brush(width=6, length=20, flow=8)


@pytest.mark.parametrize("name", ["Fog", "a b", ".hidden", "fög"])
def test_bad_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(StyleError, match="not a style name"):
        StyleLibrary.open(write(tmp_path, name, CARD))


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(StyleError, match="does not exist"):
        StyleLibrary.open(tmp_path / "none")


def test_a_card_may_name_words_and_figures_and_goes_to_text_and_back(tmp_path: Path) -> None:
    text = CARD + 'trigger = "fog art"\nscale = 0.9\nmetrics = { ArtFID = 28.5, "SSIM, held out" = 0.5 }\n'
    text += "underpainting = { width = 6, length = 20, flow = 8 }"
    fog = StyleLibrary.open(write(tmp_path, "fog", text))["fog"]
    assert fog.adapters[0].metrics == {"ArtFID": 28.5, "SSIM, held out": 0.5}
    (tmp_path / "fog" / "style.toml").write_text(card_text(fog, {fog.adapters[0].path: "fog.safetensors"}))
    assert StyleLibrary.open(tmp_path)["fog"] == fog


def test_stable_diffusions_bases_share_their_adapters(tmp_path: Path) -> None:
    both = CARD + CARD[CARD.index("[[") :].replace("pocket", "a/sd15").replace("fog.s", "sd.s")
    fog = StyleLibrary.open(write(tmp_path, "fog", both))["fog"]
    assert fog.adapter("a/sd15") is fog.adapter("b/another") is fog.adapters[1]
    assert fog.adapter("pocket") is fog.adapters[0]


def test_a_library_takes_styles_in_but_keeps_its_own(tmp_path: Path) -> None:
    library = StyleLibrary.open(write(tmp_path, "fog", CARD))
    added = read_style(tmp_path / "fog" / "style.toml", name="me--fog", source="me/fog@1")
    grown = library.plus(added)
    assert [style.name for style in grown] == ["fog", "me--fog"]
    assert [style.name for style in grown.plus(added)] == ["fog", "me--fog"]
    assert len(library) == 1
    with pytest.raises(StyleError, match="There is a style fog already"):
        library.plus(read_style(tmp_path / "fog" / "style.toml", source="elsewhere"))


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path, "fog", CARD)
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "fog" / "fog.safetensors").symlink_to(tmp_path / "secret")
    with pytest.raises(StyleError, match="outside its folder"):
        StyleLibrary.open(tmp_path)
