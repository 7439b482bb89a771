"""Style cards are read strictly."""

from __future__ import annotations

from pathlib import Path

import pytest

from stylekit.errors import StyleError, UnknownStyleError
from stylekit.mix import StyleMix
from stylekit.storage.paths import STYLES_FOLDER
from stylekit.styles import StyleLibrary, card_text, is_name, read_style, style_name
from stylekit.underpainting.settings import Brush

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
    with pytest.raises(StyleError, match=word) as error:
        read_style(write(tmp_path, "fog", text) / "fog" / "style.toml")
    assert str(tmp_path) not in str(error.value)  # the page shows it to everyone


def test_styles_come_in_their_order_then_by_name(tmp_path: Path) -> None:
    for name, text in (("a", CARD), ("b", CARD), ("c", "order = 1\n" + CARD)):
        write(tmp_path, name, text)
    assert [style.name for style in StyleLibrary.open(tmp_path)] == ["c", "a", "b"]


def test_a_card_may_ask_for_an_underpainting(tmp_path: Path) -> None:
    text = CARD + "underpainting = { width = 6, length = 20, flow = 8 }"
    assert StyleLibrary.open(write(tmp_path, "fog", text))["fog"].adapter("pocket").underpainting == Brush(width=6, length=20, flow=8)


@pytest.mark.parametrize("name", ["Fog", "a b", ".hidden", "FÖG", "-a", "a" * 65])
def test_bad_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(StyleError, match="not a style name"):
        read_style(write(tmp_path, name, CARD) / name / "style.toml")


@pytest.mark.parametrize("name", ["fög", "モネ", "हिंदी", "ван-гог_2"])
def test_names_of_any_script(tmp_path: Path, name: str) -> None:
    library = StyleLibrary.open(write(tmp_path, name, CARD))
    assert library[name].name == name
    assert StyleMix.of({name: 0.5}).names == (name,)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("été 2024 (1)", "été-2024-1"),
        ("e\u0301te\u0301", "été"),  # as macOS writes it
        ("モネ", "モネ"),
        ("Моне", "моне"),
        ("हिंदी", "हिंदी"),
        ("My Fog_2", "my-fog_2"),
        ("--fog--", "fog"),
        ("me--fog", "me--fog"),
    ],
)
def test_names_of_files_become_style_names(text: str, name: str) -> None:
    assert style_name(text) == name
    assert is_name(name)


def test_two_texts_of_which_nothing_or_too_much_is_left_have_two_names() -> None:
    texts = ["!", "?", "★", "夜" * 90 + "a", "夜" * 90 + "b", "x" * 90 + "a", "x" * 90 + "b", "\u0301"]
    names = [style_name(text) for text in texts]
    assert len(set(names)) == len(texts)
    assert all(map(is_name, names))


def test_one_bad_card_leaves_its_style_out_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "fog", CARD)
    bad = {
        "mist": "title = ",
        "deep": "a = " + "[" * 5000,
        "wide": "x" + ".x" * 200 + " = 1",
        "number": "order = " + "9" * 5000 + "\n" + CARD,
        "date": "title = 2024-99-99",
        "nul": CARD.replace("Fog", "F\\u0000g"),
        "latin": "",
        "long": CARD.replace("fog.safetensors", "f" * 300),
        "many": CARD + CARD[CARD.index("[[") :] * 100,
        "Mixed": CARD,
    }
    for name, text in bad.items():
        write(tmp_path, name, text)
    (tmp_path / "latin" / "style.toml").write_bytes(b"title = '\xe9'")
    library = StyleLibrary.open(tmp_path)
    assert [style.name for style in library] == ["fog"]
    assert set(library.left_out) == set(bad)
    for name, sentence in library.left_out.items():
        assert sentence.endswith("."), sentence
        assert str(tmp_path) not in sentence
        assert f"The style {name} is left out. {sentence}" in caplog.text
        assert len(sentence) < 400
    with pytest.raises(UnknownStyleError, match=r"The style mist is left out. The style card mist/style.toml cannot be read"):
        library["mist"]
    added = read_style(tmp_path / "fog" / "style.toml", name="me--fog", source="me/fog@1")
    assert library.plus(added).left_out == library.left_out


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
    newer = read_style(tmp_path / "fog" / "style.toml", name="me--fog", source=f"me/fog@{'0' * 40}")
    newest = read_style(tmp_path / "fog" / "style.toml", name="me--fog", source=f"me/fog@{'1' * 40}")
    assert library.plus(newer).plus(newest)["me--fog"] == newest


def test_two_files_never_share_a_name(tmp_path: Path) -> None:
    write(tmp_path, "fog", CARD)
    one, other = (read_style(tmp_path / "fog" / "style.toml", name="モネ", source=f"{folder}/モネ.safetensors") for folder in "ab")
    with pytest.raises(StyleError, match=r"There is a style モネ already, from a/モネ.safetensors: choose that one, or give the .* b/モネ"):
        StyleLibrary(styles=()).plus(one).plus(other)


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path, "fog", CARD)
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "fog" / "fog.safetensors").symlink_to(tmp_path / "secret")
    assert "outside its folder" in StyleLibrary.open(tmp_path).left_out["fog"]


def test_no_shipped_style_is_left_out() -> None:
    library = StyleLibrary.open()
    assert library.left_out == {}
    assert len(library) == len(list(STYLES_FOLDER.glob("*/style.toml"))) > 0
