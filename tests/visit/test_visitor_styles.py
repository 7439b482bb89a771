"""A picture of the visitor's own as a style: uploaded, chosen, painted with and restored, in a real browser over a fake engine."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from stylekit.base_card import POCKET
from stylekit.errors import SettingError
from stylekit.maps import WeightMap
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.style_picture.picture import StylePicture
from stylekit.ui import stylize
from stylekit.ui.choices import style_choices
from stylekit.ui.visitor_styles import MOST_STYLES, TITLE, VisitorStyles
from tests.browser import (
    WAIT,
    FakeEngine,
    begin_painting,
    button,
    download,
    drop,
    finish,
    label,
    make_cards,
    paint,
    serve,
    start,
    status,
    take,
)


@pytest.fixture(scope="module")
def paintings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """As many as are kept and one more: Night sky 0.png, ..."""
    folder, noise = tmp_path_factory.mktemp("paintings"), Image.effect_noise((240, 160), 90)
    paths = [folder / f"Night_sky {number}.png" for number in range(MOST_STYLES + 1)]
    for number, path in enumerate(paths):
        Image.merge("RGB", (noise, noise.rotate(180), noise.point(lambda level, less=30 * number: max(0, level - less)))).save(path)
    return paths


def give(page: Page, path: Path) -> None:
    """Upload a style picture."""
    with page.expect_file_chooser() as chooser:
        button(page, "Style from a picture").click()
    chooser.value.set_files(path)


def add(page: Page, path: Path, title: str) -> None:
    """Upload a good one and wait until it is chosen."""
    give(page, path)
    expect(tile(page, title)).to_be_checked(timeout=WAIT)


def tile(page: Page, title: str) -> Locator:
    return page.locator("#style label").filter(has_text=re.compile(rf"^\s*{re.escape(title)}\s*$")).locator("input")


def tiles(page: Page) -> list[str]:
    return page.locator("#style label span").all_text_contents()


def test_an_uploaded_picture_is_a_style_and_reaches_the_engine(
    page: Page, engine: FakeEngine, pictures: dict[str, Path], paintings: list[Path], tmp_path: Path
) -> None:
    add(page, paintings[0], "Night sky 0")
    expect(status(page)).to_have_text("Night sky 0 is one of the styles now, and chosen: now choose a photo.", timeout=WAIT)
    expect(label(page)).to_contain_text("Night sky 0")
    assert page.locator("#style label").last.locator("img").evaluate("image => image.naturalWidth") > 0
    expect(page.locator("#frame input[type=range]")).to_be_hidden()
    take(page, pictures["photo.jpg"])
    start(page)
    finish(page)
    picture = StylePicture.of(paintings[0])
    assert engine.recipes[-1] == Recipe(mix=StyleMix.of(picture.name), pictures=(picture,))
    expect(label(page).locator("b")).to_have_text("Made with Night sky 0")
    expect(page.locator("#frame input[type=range]")).to_be_visible()
    result = download(page, tmp_path)
    assert result.name == "photo-night-sky-0.png"
    assert Recipe.from_png(result).pictures == (picture,)
    page.get_by_role("radio", name="Ukiyo-e").check()
    start(page)
    finish(page)
    assert engine.recipes[-1].pictures == ()


def test_a_bad_style_picture_is_told_and_changes_nothing(page: Page, engine: FakeEngine, pictures: dict[str, Path], tmp_path: Path) -> None:
    take(page, pictures["photo.jpg"])
    page.get_by_role("radio", name="Ukiyo-e").check()
    before = tiles(page)
    small = tmp_path / "small.png"
    Image.new("RGB", (40, 40)).save(small)
    for path, sentence in (
        (pictures["text.png"], "text.png is not a picture stylekit can read"),
        (pictures["empty.png"], "is empty (0 bytes)"),
        (small, "small.png is 40 x 40 pixels, too small to show a manner"),
    ):
        give(page, path)
        expect(status(page)).to_contain_text(sentence, timeout=WAIT)
    assert tiles(page) == before
    expect(tile(page, "Ukiyo-e")).to_be_checked()
    expect(page.locator("#photo img")).to_be_visible()
    start(page)
    finish(page)
    assert engine.recipes[-1].mix.names == ("ukiyoe",)


def test_the_same_picture_twice_is_chosen_and_the_oldest_makes_room(page: Page, paintings: list[Path]) -> None:
    library = tiles(page)
    add(page, paintings[0], "Night sky 0")
    tile(page, "Ukiyo-e").check()
    add(page, paintings[0], "Night sky 0")
    expect(status(page)).to_contain_text("Night sky 0 is here already", timeout=WAIT)
    assert tiles(page) == [*library, "Night sky 0"]
    for number, path in enumerate(paintings[1:], start=1):
        add(page, path, f"Night sky {number}")
    assert tiles(page) == [*library, *(f"Night sky {number}" for number in range(1, MOST_STYLES + 1))]


def test_painting_with_a_picture_of_ones_own(page: Page, engine: FakeEngine, pictures: dict[str, Path], paintings: list[Path]) -> None:
    begin_painting(page, pictures["photo.jpg"])
    paint(page, (0.0, 0.1), (1.0, 0.1))
    add(page, paintings[0], "Night sky 0")
    expect(page.get_by_role("radio", name="Paint with Night sky 0")).to_be_checked(timeout=WAIT)
    expect(page.get_by_label("Style of colour 2").locator("option:checked")).to_have_text("Night sky 0")
    paint(page, (0.0, 0.9), (1.0, 0.9))
    start(page)
    finish(page)
    recipe, picture = engine.recipes[-1], StylePicture.of(paintings[0])
    assert recipe.mix.names == ("sketch", picture.name)
    assert recipe.pictures == (picture,)
    expect(label(page).locator("b")).to_have_text("Made with Pencil sketch, Night sky 0")


def test_a_png_brings_its_style_picture_back(
    page: Page, engine: FakeEngine, pictures: dict[str, Path], paintings: list[Path], tmp_path: Path
) -> None:
    take(page, pictures["photo.jpg"])
    picture, other = StylePicture.of(paintings[0]), StylePicture.of(paintings[1])
    left = np.zeros((100, 150), np.float32)
    left[:, :70] = 1
    for name, recipe in {
        "old.png": Recipe(mix=StyleMix.of(picture.name), seed=4, pictures=(picture,)),
        "mixed.png": Recipe(mix=StyleMix.of({other.name: WeightMap.of(left), "ukiyoe": WeightMap.of(1 - left)}), pictures=(other,)),
    }.items():
        Image.new("RGB", (64, 64)).save(tmp_path / name, pnginfo=recipe.png_info())
        drop(page, tmp_path / name)
        expect(status(page)).to_contain_text(f"Settings restored from {name}", timeout=WAIT)
        start(page)
        finish(page)
        assert engine.recipes[-1] == recipe
    assert tiles(page)[-2:] == [TITLE, f"{TITLE} 2"]
    expect(tile(page, f"{TITLE} 2")).to_be_checked()
    button(page, "Back to painting").click()
    expect(page.get_by_label("Style of colour 1").locator("option:checked")).to_have_text(f"{TITLE} 2")


def test_a_picture_dropped_on_the_styles_is_a_style(page: Page, paintings: list[Path]) -> None:
    drop(page, paintings[0], "#style")
    expect(tile(page, "Night sky 0")).to_be_checked(timeout=WAIT)
    expect(page.locator("#drop")).to_be_visible()


def test_a_picture_stays_when_the_styles_change(
    open_page: Callable[..., Page], pictures: dict[str, Path], paintings: list[Path], engine: FakeEngine
) -> None:
    cards = make_cards(pictures)
    with gr.Blocks(analytics_enabled=False) as demo:
        tab = stylize.create_tab(styles=lambda: cards, run=engine)
        gr.Button("Fewer styles").click(lambda: gr.HTML(choices=style_choices(cards[:2], POCKET)), None, tab.style)
    with serve(demo) as url:
        page = open_page(url)
        begin_painting(page, pictures["photo.jpg"])
        add(page, paintings[0], "Night sky 0")
        button(page, "Fewer styles").click()
        expect(page.locator("#style label")).to_have_count(3, timeout=WAIT)
        assert tiles(page) == ["Pencil sketch", "Ukiyo-e", "Night sky 0"]
        expect(tile(page, "Night sky 0")).to_be_checked()
        offered = page.get_by_label("Add a style").locator("option").all_text_contents()  # the painter has noticed
        assert offered == ["Add a style", "Ukiyo-e"]


# ---- without a browser


def test_those_on_the_palette_stay(paintings: list[Path]) -> None:
    found = [StylePicture.of(path) for path in paintings]
    own = VisitorStyles()
    for picture in found[:MOST_STYLES]:
        own = own.add(picture)
    assert [style.title for style in own.styles] == [TITLE, *(f"{TITLE} {number}" for number in range(2, MOST_STYLES + 1))]
    assert found[0].name in own.add(found[MOST_STYLES], taken=[found[0].name])
    with pytest.raises(SettingError, match="on the palette: take one off"):
        own.add(found[MOST_STYLES], taken=[picture.name for picture in found])
    with pytest.raises(SettingError, match="has made room for a newer one"):
        own.add(found[MOST_STYLES]).pictures([found[0].name])


def test_titles_and_names_of_files(paintings: list[Path]) -> None:
    picture = StylePicture.of(paintings[0])
    for stem, title, slug in (
        ("the_starry_night", "The starry night", "the-starry-night"),
        ("a" * 30, "A" + "a" * 22 + "…", "a" * 23),
        ("星月夜", "星月夜", "星月夜"),
        ("Été 2024 (1)", "Été 2024 (1)", "été-2024-1"),
        ("", TITLE, "your-picture"),
    ):
        own = VisitorStyles().add(picture, stem)
        assert (own.title(picture.name), own.slug(picture.name)) == (title, slug)
    assert (VisitorStyles().title("monet"), VisitorStyles().slug("monet")) == (None, "monet")
