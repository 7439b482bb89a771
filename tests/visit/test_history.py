"""The results of a visit: a strip in the browser that outlives a reload, looked at, compared, gone on from, taken home as one file."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

import app
from stylekit.errors import SettingError, StyleError
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.stylizer import Stylized
from stylekit.ui.visit import history
from tests.browser import WAIT, FakeEngine, button, start, status, take

Served = tuple[str, FakeEngine, dict[str, Path]]


def items(page: Page) -> Locator:
    return page.locator("#history li")


def make(page: Page, style: str, count: int) -> None:
    page.get_by_role("radio", name=style).check()
    start(page)
    expect(items(page)).to_have_count(count, timeout=WAIT)


@pytest.fixture
def two(page: Page, engine: FakeEngine, pictures: dict[str, Path]) -> Page:
    take(page, pictures["photo.jpg"])
    make(page, "Ukiyo-e", 1)
    make(page, "Pencil sketch", 2)
    return page


def test_results_are_looked_at_compared_and_gone_on_from(two: Page, engine: FakeEngine) -> None:
    page = two
    expect(items(page).locator("[data-part=title]")).to_have_text(["Pencil sketch", "Ukiyo-e"])
    items(page).nth(1).locator("[data-part=look]").click()
    expect(page.locator("#frame [data-part=title]")).to_have_text("Made with Ukiyo-e")
    expect(button(page, "Compare two")).to_be_disabled()
    for number in (0, 1):
        items(page).nth(number).locator("[data-part=pick]").check()
    button(page, "Compare two").click()
    expect(page.locator("#frame [data-part=title]")).to_contain_text("Pencil sketch and Ukiyo-e")
    expect(page.locator("#frame [data-part=at]")).to_be_visible()
    items(page).nth(1).get_by_role("button", name="Go on").click()
    expect(status(page)).to_contain_text("Settings restored from photo-ukiyoe.png", timeout=WAIT)
    expect(page.locator("#style input[value=ukiyoe]")).to_be_checked()


def test_all_are_taken_home_in_one_file(two: Page, tmp_path: Path) -> None:
    with two.expect_download() as caught:
        button(two, "Download all").click()
    file = tmp_path / caught.value.suggested_filename
    caught.value.save_as(file)
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["photo-ukiyoe.png", "photo-sketch.png"]
        (tmp_path / "one.png").write_bytes(archive.read("photo-ukiyoe.png"))
        with Image.open(io.BytesIO(archive.read("photo-sketch.png"))) as picture:
            assert picture.size == (300, 200)
    assert Recipe.from_png(tmp_path / "one.png").mix.names == ("ukiyoe",)


def test_they_outlive_a_reload_and_are_the_same_in_another_tab(two: Page, served: Served) -> None:
    page = two
    page.reload()
    expect(items(page)).to_have_count(2, timeout=WAIT)
    other = page.context.new_page()
    other.goto(served[0])
    expect(items(other)).to_have_count(2, timeout=WAIT)
    items(other).nth(0).get_by_role("button", name="Forget").click()
    expect(items(other)).to_have_count(1)
    expect(items(page)).to_have_count(1)  # told by the other tab
    page.on("dialog", lambda dialog: dialog.accept())
    button(page, "Forget all").click()
    expect(page.locator("#history section")).to_be_hidden()
    expect(other.locator("#history section")).to_be_hidden()


def test_two_hundred_results_are_shown_in_part(two: Page) -> None:
    page = two
    page.evaluate(
        """() => new Promise((resolve) => { indexedDB.open("stylekit").onsuccess = ({target: {result: database}}) => {
          const transaction = database.transaction("results", "readwrite"), results = transaction.objectStore("results");
          results.getAll().onsuccess = ({target: {result: [first]}}) => {
            for (let n = 0; n < 198; n++) results.add({...first, title: `Number ${n}`});
          };
          transaction.oncomplete = resolve;
        }; })"""
    )
    page.reload()
    expect(page.locator("#history [data-part=count]")).to_have_text("200", timeout=WAIT)
    expect(items(page)).to_have_count(12)
    button(page, "Show all 200").click()
    expect(items(page)).to_have_count(200, timeout=WAIT)
    expect(items(page).first).to_contain_text("Number 197")


def test_without_a_store_pictures_are_made_all_the_same(
    open_page: Callable[..., Page], served: Served, engine: FakeEngine, pictures: dict[str, Path]
) -> None:
    page = open_page(served[0])
    page.add_init_script("Object.defineProperty(window, 'indexedDB', {get() { throw new Error('closed'); }});")
    page.reload()
    take(page, pictures["photo.jpg"])
    start(page)
    expect(status(page)).to_contain_text("Done in", timeout=WAIT)
    expect(page.locator("#keep")).to_contain_text("keeps nothing")
    expect(page.locator("#history section")).to_be_hidden()


def test_results_are_kept_in_a_folder_and_a_folder_that_cannot_be_written_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine()
    photo, recipe = Image.new("RGB", (40, 30), "teal"), Recipe(mix=StyleMix.of("sketch"))
    for _ in range(2):
        assert isinstance(list(history.keeping(engine, tmp_path / "kept")(photo, recipe))[-1], Stylized)
    first, second = sorted((tmp_path / "kept").iterdir())
    assert Recipe.from_png(first) == Recipe.from_png(second) == recipe
    (tmp_path / "file").touch()
    assert isinstance(list(history.keeping(engine, tmp_path / "file")(photo, recipe))[-1], Stylized)
    running: Any = history.keeping(engine, tmp_path / "kept")(photo, recipe)
    next(running)
    running.close()
    assert engine.closed_early == 1
    monkeypatch.setenv("STYLEKIT_KEEP", str(tmp_path / "file"))
    with pytest.raises(SettingError, match="name a folder"):
        app.Settings()
    monkeypatch.setenv("STYLEKIT_KEEP", str(tmp_path))
    assert app.Settings().keep == tmp_path
    monkeypatch.setenv("SPACE_ID", "someone/space")
    with pytest.raises(StyleError, match="Space"):
        app.Settings()
