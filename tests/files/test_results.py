"""Results as files: the recipe in PNG, JPEG and WebP, in files of settings, and sizes of paper."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylekit.errors import PictureError, SettingError, StyleError
from stylekit.maps import WeightMap
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.results.carriers import Named, carries_recipe, read_named, read_recipe
from stylekit.results.prints import DPI, PAPERS, find_paper, for_print
from stylekit.results.saving import save
from stylekit.style_picture.picture import StylePicture

ENDINGS = ("png", "jpg", "webp")
PLAIN = Recipe(mix=StyleMix.of("monet:0.6,ukiyoe:0.4"), strength=0.8, seed=7, prompt='<b> & "quotes" \' ü')


def photo(size: tuple[int, int] = (96, 64)) -> Image.Image:
    noise = Image.effect_noise(size, 90)
    return Image.merge("RGB", (noise, noise.rotate(180), noise))


def painted() -> Recipe:
    """One whose maps and picture take far more than a JPEG's 64 kB of text."""
    rng = np.random.default_rng(0)
    weight = WeightMap.of(rng.random((400, 600), dtype=np.float32))
    picture = StylePicture.of(photo((512, 384)))
    return Recipe(mix=StyleMix(weights=(("monet", weight), (picture.name, 0.5))), pictures=(picture,))


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_brings_its_recipe_back(ending: str, tmp_path: Path) -> None:
    for recipe in (PLAIN, painted()):
        titles = {picture.name: "Nüit & <étoilée>" for picture in recipe.pictures}
        path = save(photo(), tmp_path / f"a.{ending}", Named(recipe=recipe, titles=titles))
        assert carries_recipe(path)
        assert read_named(path) == Named(recipe=recipe, titles=titles)
        with Image.open(path) as opened:
            assert opened.size == (96, 64)
            assert "dpi" not in opened.info


def test_a_jpeg_saved_again_by_another_program_may_keep_it(tmp_path: Path) -> None:
    """XMP as other writers have it: attributes instead of elements, and saved by Pillow with the packet handed on."""
    path = save(photo(), tmp_path / "a.jpg", Named(recipe=PLAIN))
    with Image.open(path) as opened:
        packet = opened.info["xmp"].decode()
        element = packet[packet.index("<stylekit:recipe>") : packet.index("</stylekit:recipe>") + len("</stylekit:recipe>")]
        value = element.removeprefix("<stylekit:recipe>").removesuffix("</stylekit:recipe>").replace('"', "&quot;")
        moved = packet.replace(element, "").replace(' rdf:about=""', f' rdf:about="" stylekit:recipe="{value}"')
        opened.save(tmp_path / "b.jpg", xmp=moved.encode())
    assert read_recipe(tmp_path / "b.jpg") == PLAIN


def test_without_a_recipe_it_says_so(tmp_path: Path) -> None:
    for ending in ENDINGS:
        path = tmp_path / f"plain.{ending}"
        photo().save(path)
        assert not carries_recipe(path)
        with pytest.raises(SettingError, match=rf"plain\.{ending} carries no recipe"):
            read_named(path)


def test_hostile_carriers_are_sentences(tmp_path: Path) -> None:
    path = tmp_path / "a.webp"
    for text in ("{", "[" * 100_000, '{"seed": 1e999}', '{"format": 99}', "&lt;!ENTITY x"):
        packet = f"<stylekit:recipe>{text}</stylekit:recipe><stylekit:titles>[1]</stylekit:titles>"
        photo().save(path, xmp=packet.encode())
        with pytest.raises(StyleError):
            read_named(path)
        settings = tmp_path / "settings.json"
        settings.write_text(text)
        with pytest.raises(StyleError):
            read_named(settings)
    for content in (b"", b"\xff\xfe\x00"):
        (tmp_path / "settings.json").write_bytes(content)
        with pytest.raises(StyleError, match=r"settings\.json"):
            read_named(tmp_path / "settings.json")
    whole = save(photo(), tmp_path / "cut.jpg", Named(recipe=painted())).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[:40_000] + whole[-2000:])
    with pytest.raises(StyleError):
        read_named(tmp_path / "cut.jpg")


def test_a_file_of_settings_is_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(PLAIN.to_json())
    assert read_recipe(path) == PLAIN


def test_formats_hold_what_they_hold(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="16383 a side: use PNG"):
        save(Image.new("RGB", (17_000, 20)), tmp_path / "a.webp", Named(recipe=PLAIN))
    with pytest.raises(PictureError, match="does not end in"):
        save(photo(), tmp_path / "a.bmp", Named(recipe=PLAIN))
    path = save(photo(), tmp_path / "a.jpg", Named(recipe=PLAIN))
    before = path.read_bytes()
    with pytest.raises(PictureError, match="is there already"):
        save(photo((20, 20)), path, Named(recipe=PLAIN), replace=False)
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["a.jpg"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_print_has_the_size_of_its_paper_and_says_its_dots(ending: str, tmp_path: Path) -> None:
    wide, tall = for_print(photo((300, 200)), PAPERS["postcard"]), for_print(photo((200, 300)), PAPERS["postcard"])
    assert wide.size == (1748, 1165)  # 148 mm wide
    assert tall.size == (1165, 1748)
    assert for_print(photo((400, 200)), PAPERS["a4"]).size == (3508, 1754)
    assert for_print(photo((5, 4)).resize((250, 200)), PAPERS["postcard"]).size == (1550, 1240)  # 105 mm high
    path = save(wide, tmp_path / f"a.{ending}", Named(recipe=PLAIN), dpi=DPI)
    with Image.open(path) as opened:
        dots = opened.info["dpi"] if ending != "webp" else (opened.getexif()[282], opened.getexif()[283])
    assert [round(float(number)) for number in dots] == [300, 300]


def test_no_paper_asks_for_more_than_a_picture_may_have() -> None:
    from stylekit.images import MAX_PIXELS

    assert all(paper.pixels < MAX_PIXELS for paper in PAPERS.values())
    for paper in PAPERS.values():
        assert paper.fit((16, 1))[0] == round(paper.sides[0] * DPI / 25.4)
    with pytest.raises(SettingError, match="choose one of postcard"):
        find_paper("a0")
