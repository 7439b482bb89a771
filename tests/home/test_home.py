"""What one takes home: formats, print sizes, the share sheet; settings as presets, links and files."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from stylekit.errors import SettingError, StyleError
from stylekit.maps import WeightMap
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.results.carriers import read_recipe
from stylekit.results.links import link_text, read_link
from stylekit.ui.home.settings import brought
from stylekit.ui.home.take import Wanted
from tests.browser import PHONE, WAIT, FakeEngine, button, drop, finish, frame, label, start, status, take

Served = tuple[str, FakeEngine, dict[str, Path]]


def made(page: Page, pictures: dict[str, Path], style: str = "Ukiyo-e") -> None:
    take(page, pictures["photo.jpg"])
    page.get_by_role("radio", name=style).check()
    start(page)
    finish(page)


def take_home(page: Page, folder: Path, kind: str, paper: str = "") -> Path:
    """By the keyboard, from the fold beside the download."""
    if not page.locator("#take details").evaluate("(e) => e.open"):
        page.locator("#take summary").focus()
        page.keyboard.press("Enter")
    page.get_by_label("Format", exact=True).select_option(kind)
    page.get_by_label("Size", exact=True).select_option(paper)
    with page.expect_download(timeout=WAIT) as caught:
        page.locator("#take [data-part=take]").focus()
        page.keyboard.press("Enter")
    path = folder / caught.value.suggested_filename
    caught.value.save_as(path)
    return path


def test_a_result_is_taken_home_in_every_format_and_dropped_it_restores_its_settings(
    page: Page, engine: FakeEngine, pictures: dict[str, Path], tmp_path: Path
) -> None:
    expect(page.locator("#take section")).to_be_hidden()
    made(page, pictures)
    for kind, name in (("png", "photo-ukiyoe.png"), ("jpeg", "photo-ukiyoe.jpg"), ("webp", "photo-ukiyoe.webp")):
        path = take_home(page, tmp_path, kind)
        assert path.name == name
        assert read_recipe(path) == engine.recipes[-1]
        with Image.open(path) as picture:
            assert picture.size == (300, 200)
    page.get_by_role("radio", name="Pencil sketch").check()
    drop(page, tmp_path / "photo-ukiyoe.webp")
    expect(status(page)).to_contain_text("Settings restored from photo-ukiyoe.webp", timeout=WAIT)
    expect(page.locator("#style input[value=ukiyoe]")).to_be_checked()
    # one that comes from the browser's store is sent there first
    page.locator("#history [data-part=look]").first.click()
    assert read_recipe(take_home(page, tmp_path, "jpeg")) == engine.recipes[-1]


def test_a_print_is_made_at_its_size_and_needs_its_photo(page: Page, engine: FakeEngine, pictures: dict[str, Path], tmp_path: Path) -> None:
    made(page, pictures)
    path = take_home(page, tmp_path, "jpeg", "postcard")
    assert path.name == "photo-ukiyoe-postcard.jpg"
    with Image.open(path) as picture:
        assert (picture.size, picture.info["dpi"]) == ((1748, 1165), (300, 300))
    assert engine.recipes[-1] == engine.recipes[-2] == read_recipe(path)
    expect(label(page)).to_contain_text("Postcard at 300 dots per inch · 1748 × 1165 pixels")
    expect(page.locator("#frame .sk-download")).to_have_text("Download JPEG")
    expect(page.locator("#history li")).to_have_count(2)  # a result like any other
    page.get_by_label("Size", exact=True).select_option("a5")
    engine.delay, engine.total = 0.3, 60
    page.locator("#take [data-part=take]").click()
    expect(status(page)).to_contain_text("step ", timeout=WAIT)
    button(page, "Cancel").click()
    expect(status(page)).to_contain_text("Cancelled", timeout=WAIT)
    expect(frame(page)).to_be_visible()
    take(page, pictures["scan.tif"])
    page.locator("#history [data-part=look]").first.click()
    expect(page.locator("#take [data-part=about]")).to_contain_text("Print sizes need the photo of this result")
    expect(page.locator("#take option[value=a5]")).to_be_disabled()


def test_the_share_sheet_takes_the_file_where_there_is_one(
    open_page: Callable[..., Page], served: Served, engine: FakeEngine, pictures: dict[str, Path]
) -> None:
    page = open_page(served[0], PHONE, touch=True)
    made(page, pictures)
    expect(button(page, "Share")).to_be_hidden()
    page.add_init_script(
        """navigator.canShare = ({files}) => files.length === 1;
        navigator.share = async ({files: [file], title}) => { globalThis.shared = [file.name, file.type, file.size > 1000, title]; };"""
    )
    page.reload()
    made(page, pictures)
    button(page, "Share").tap()
    page.wait_for_function("globalThis.shared")
    assert page.evaluate("shared") == ["photo-ukiyoe.png", "image/png", True, "Made with Ukiyo-e"]
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]


# ---- settings


def fold(page: Page) -> None:
    page.locator("#presets summary").click()
    expect(page.get_by_label("Name", exact=True)).to_be_visible()


def said(page: Page, text: str) -> None:
    expect(page.locator("#presets [data-part=said]")).to_contain_text(text, timeout=WAIT)


def test_presets_are_saved_chosen_renamed_and_removed(page: Page, engine: FakeEngine) -> None:
    fold(page)
    button(page, "Save preset").click()
    said(page, "Write a name first")
    page.get_by_role("radio", name="Ukiyo-e").check()
    page.get_by_label("number input for Strength").fill("0.4")
    page.get_by_label("number input for Strength").press("Tab")
    page.get_by_label("Name", exact=True).fill("Soft <b>print</b>")
    page.get_by_label("Name", exact=True).press("Enter")
    said(page, "Soft <b>print</b> is saved")
    page.get_by_role("radio", name="Pencil sketch").check()
    page.get_by_label("number input for Strength").fill("1")
    page.get_by_label("number input for Strength").press("Tab")
    page.wait_for_timeout(600)  # what the browser keeps of the visit comes a moment later
    page.reload()
    expect(status(page)).to_contain_text("Choose", timeout=WAIT)
    fold(page)
    button(page, "Soft <b>print</b>").click()
    expect(status(page)).to_contain_text("Settings restored from the preset Soft", timeout=WAIT)
    expect(page.locator("#style input[value=ukiyoe]")).to_be_checked()
    expect(page.get_by_label("number input for Strength")).to_have_value("0.4")
    button(page, "Rename Soft <b>print</b>").click()
    page.keyboard.type("Dusk")
    page.keyboard.press("Enter")
    said(page, "It is called Dusk now")
    button(page, "Remove Dusk").click()
    said(page, "Dusk is removed")
    expect(page.locator("#presets li")).to_have_count(0)


def test_a_link_and_a_file_bring_the_settings_back(
    open_page: Callable[..., Page], served: Served, page: Page, engine: FakeEngine, tmp_path: Path
) -> None:
    fold(page)
    page.get_by_role("radio", name="Ukiyo-e").check()
    page.get_by_label("Seed", exact=True).fill("77")
    page.get_by_label("Seed", exact=True).press("Tab")
    button(page, "Copy link").click()
    field = page.get_by_label("Link to these settings")
    expect(field).to_have_value(re.compile("#settings="), timeout=WAIT)
    with page.expect_download() as caught:
        button(page, "Save as file").click()
    file = tmp_path / caught.value.suggested_filename
    caught.value.save_as(file)
    assert file.name == "stylekit-ukiyoe.json"
    assert read_recipe(file) == Recipe(mix=StyleMix.of("ukiyoe"), seed=77)

    other = open_page(served[0])
    drop(other, file)
    expect(status(other)).to_contain_text("Settings restored from stylekit-ukiyoe.json", timeout=WAIT)
    expect(other.get_by_label("Seed", exact=True)).to_have_value("77")

    linked = open_page(field.input_value())
    expect(status(linked)).to_contain_text("Settings restored from the link", timeout=WAIT)
    expect(linked.locator("#style input[value=ukiyoe]")).to_be_checked()
    expect(linked.get_by_label("Seed", exact=True)).to_have_value("77")
    assert "#" not in linked.url
    for text, sentence in (
        (link_text(Recipe(mix=StyleMix.of("rembrandt"))), "The link was made with the style rembrandt, which is not here"),
        ("____", "The link's settings did not arrive whole"),
        (link_text(Recipe(base="owner/name", mix=StyleMix.of("sketch"))), "The link was made with the base owner/name"),
    ):
        linked.evaluate("(text) => { location.hash = `settings=${text}`; }", text)
        expect(status(linked)).to_contain_text(sentence, timeout=WAIT)
    expect(linked.locator("#style input[value=ukiyoe]")).to_be_checked()


# ---- without a browser


def test_a_link_holds_what_differs_and_is_checked_as_a_recipe() -> None:
    for recipe in (Recipe(), Recipe(mix=StyleMix.of("monet:0.6,ukiyoe:0.4"), strength=0.8, seed=7, keep_colours=0.3)):
        text = link_text(recipe)
        assert read_link(text) == recipe
        assert re.fullmatch(r"[\w-]{1,300}", text)
    painted = Recipe(mix=StyleMix(weights=(("monet", WeightMap.of(np.eye(16, dtype=np.float32))),)))
    for wrong in (painted, Recipe(prompt="x" * 3000)):
        with pytest.raises(SettingError, match="as a file"):
            link_text(wrong)
    for text in ("", "x" * 5000, "é", "AAAA", "eyJzZWVkIjogLTF9", "W10", "eyJzdHJlbmd0aCI6IDJ9"):
        with pytest.raises(StyleError):
            read_link(text)


@pytest.mark.parametrize(
    "value", [None, [], {"preset": 3}, {"preset": "a", "text": "{"}, {"link": None}, {"file": {"path": "/etc/passwd"}}]
)
def test_what_the_browser_sends_is_not_believed(value: object) -> None:
    with pytest.raises(StyleError):
        brought(value)
    with pytest.raises(StyleError):
        Wanted.of(value)
