"""Many pictures at once: many photos by one recipe, and a sheet of one photo in many ways."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import gradio as gr
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

import app
from stylekit.batch.grid import read_values, variants
from stylekit.errors import SettingError
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.results.carriers import read_recipe
from stylekit.ui import stylize
from stylekit.ui.limits import Limits
from stylekit.ui.many import tab as many
from stylekit.ui.many.series import stopped
from stylekit.ui.visit.page import create_header
from stylekit.ui.worker import Turn
from tests.browser import PHONE, WAIT, FakeEngine, button, make_cards, make_pictures, serve, status, take

Fake = tuple[str, FakeEngine, dict[str, Path]]
MOST = 4


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fake]:
    """The Stylize tab and this one over a fake engine, for at most `MOST` pictures."""
    engine, pictures, turn = FakeEngine(), make_pictures(tmp_path_factory.mktemp("pictures")), Turn()
    with gr.Blocks(analytics_enabled=False) as demo:
        create_header()
        with gr.Tabs(selected="stylize") as tabs:
            with gr.Tab("Stylize", id="stylize"):
                tab = stylize.create_tab(styles=lambda: make_cards(pictures), run=engine, turn=turn, limit=50_000)
            with gr.Tab("Series", id="many") as item:
                many.create_tab(
                    item,
                    tabs,
                    stylize=tab,
                    styles=lambda: make_cards(pictures),
                    run=engine,
                    base=lambda: "pocket",
                    turn=turn,
                    most_photos=MOST,
                    most_pictures=MOST,
                )
    with serve(demo) as url:
        yield url, engine, pictures


def to_many(page: Page) -> None:
    page.get_by_role("tab", name="Series").click()
    expect(page.locator("#many-settings")).to_contain_text("the settings of the Stylize tab", timeout=WAIT)


def give(page: Page, *paths: Path) -> None:
    page.locator("#many-photos input[type=file]").set_input_files(paths)
    expect(page.locator("#many-photos")).to_contain_text(paths[0].stem[:6], timeout=WAIT)


def test_a_batch_names_bad_files_makes_the_others_and_is_taken_home_as_one_file(open_page: Callable[..., Page], tmp_path: Path) -> None:
    """On the real engine."""
    photo = Image.open(app.PHOTOS_FOLDER / "chelsea.jpg")
    paths = []
    for name, size in (("one.jpg", (180, 120)), ("two.png", (120, 90))):
        photo.resize(size).save(tmp_path / name)
        paths.append(tmp_path / name)
    (tmp_path / "bad.jpg").write_bytes(b"nothing")
    with serve(app.build(app.Settings())) as url:
        page = open_page(url)
        page.locator("#style input[value=popart]").check()
        to_many(page)
        expect(page.locator("#many-settings")).to_contain_text("Pop art, strength 1, seed 0")
        give(page, paths[0], tmp_path / "bad.jpg", paths[1])
        page.locator("#many-format input").click()
        page.get_by_role("option", name="JPEG").click()
        page.locator("#many-go").focus()
        page.keyboard.press("Enter")
        expect(page.locator("#many-status")).to_contain_text("2 pictures are done in", timeout=90_000)
        expect(page.locator("#many-status")).to_contain_text("1 could not be made")
        items = page.locator("#many-pieces li")
        expect(items).to_have_count(3)
        expect(items.nth(1)).to_contain_text("bad.jpg is not a picture")
        with page.expect_download() as caught:
            page.locator("#many-pieces [data-part=all]").click()
        with zipfile.ZipFile(io.BytesIO(Path(caught.value.path()).read_bytes())) as archive:
            assert archive.namelist() == ["one-popart.jpg", "two-popart.jpg"]
            (tmp_path / "out.jpg").write_bytes(archive.read("two-popart.jpg"))
        assert read_recipe(tmp_path / "out.jpg") == Recipe(mix=StyleMix.of("popart"))
        with Image.open(tmp_path / "out.jpg") as picture:
            assert picture.size == (120, 90)
        page.get_by_role("tab", name="Stylize").click()
        expect(page.locator("#history li")).to_have_count(2, timeout=WAIT)  # nothing is lost by a reload


def test_cancel_keeps_what_is_done(open_page: Callable[..., Page], fake: Fake, tmp_path: Path) -> None:
    url, engine, pictures = fake
    engine.reset()
    page = open_page(url, PHONE, touch=True)
    to_many(page)
    page.locator("#many-go").tap()
    expect(page.locator("#many-status")).to_contain_text("There are no photos yet", timeout=WAIT)
    large = tmp_path / "large.png"
    large.write_bytes(b"x" * 60_000)
    give(page, pictures["photo.jpg"], pictures["other.jpg"], large)
    expect(page.locator("#many-pieces [data-part=said]")).to_contain_text("1 over 0.05 MB left out: large.png")
    engine.delay, engine.total = 0.2, 8
    page.locator("#many-go").tap()
    expect(page.locator("#many-pieces li[data-state=done]")).to_have_count(1, timeout=WAIT)
    page.locator("#many-cancel").tap()
    expect(page.locator("#many-status")).to_contain_text("Cancelled. 1 picture is done, and still here", timeout=WAIT)
    expect(page.locator("#many-pieces li[data-state=left]")).to_contain_text("Not made")
    expect(page.locator("#many-go")).to_be_enabled()
    with page.expect_download() as caught:
        page.locator("#many-pieces [data-part=all]").tap()
    with zipfile.ZipFile(io.BytesIO(Path(caught.value.path()).read_bytes())) as archive:
        assert archive.namelist() == ["photo-sketch.png"]
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]


def test_a_sheet_of_one_photo_is_made_downloaded_and_gone_on_from(open_page: Callable[..., Page], fake: Fake, tmp_path: Path) -> None:
    url, engine, pictures = fake
    engine.reset()
    page = open_page(url)
    to_many(page)
    button(page, "Make the sheet").click()
    expect(page.locator("#ways-status")).to_contain_text("There is no photo yet", timeout=WAIT)
    page.get_by_role("tab", name="Stylize").click()
    take(page, pictures["photo.jpg"])
    page.locator("#seed input").fill("5")
    page.locator("#seed input").press("Tab")
    to_many(page)
    button(page, "Make the sheet").click()
    expect(page.locator("#ways-status")).to_contain_text(f"would have 9 pictures, over the {MOST} allowed", timeout=WAIT)
    page.locator("#ways-styles").get_by_label("No picture").uncheck()
    page.locator("#ways-values").locator("input, textarea").fill("0.25, 0.5")
    page.locator("#ways-styles").get_by_label("Pencil sketch").uncheck()
    page.locator("#ways-styles").get_by_label("Pencil sketch").check()  # as the last one, and yet in the first row, as its box is
    button(page, "Make the sheet").click()
    expect(page.locator("#ways-status")).to_contain_text("4 pictures are done", timeout=WAIT)
    boxes = [text for text in page.locator("#ways-styles label").all_inner_texts() if "No picture" not in text]
    expect(page.locator("#ways-pieces th[scope=row]")).to_have_text(boxes)
    made = [(str(recipe.mix), recipe.strength, recipe.seed) for recipe in engine.recipes]
    assert made == [("sketch", 0.25, 5), ("sketch", 0.5, 5), ("ukiyoe", 0.25, 5), ("ukiyoe", 0.5, 5)]
    with page.expect_download() as caught:
        button(page, "Download the sheet").click()
    with Image.open(caught.value.path()) as sheet:
        assert sheet.size == (150 + 2 * 308, 34 + 2 * 208)
        assert sheet.getpixel((150 + 20, 34 + 20)) != sheet.getpixel((20, 20))
    page.get_by_role("button", name="Go on with Ukiyo-e, strength 0.25").focus()
    page.keyboard.press("Enter")
    expect(status(page)).to_contain_text("Settings of the sheet: strength 0.25", timeout=WAIT)
    expect(page.locator("#style input[value=ukiyoe]")).to_be_checked()
    expect(page.get_by_label("number input for Strength")).to_have_value("0.25")


# ---- without a browser


def test_a_grid_is_of_whole_styles_with_values_that_a_recipe_can_have() -> None:
    assert read_values("strength", " 0.4, 1;0.4,", 4) == [0.4, 1.0]
    assert read_values("seed", "3, 1", 4) == [3, 1]
    for setting, text in (("strength", "2"), ("strength", "much"), ("seed", "0.5"), ("seed", ""), ("detail", "nan"), ("size", "64")):
        with pytest.raises(SettingError):
            read_values(setting, text, 4)
    with pytest.raises(SettingError, match="over 2 values"):
        read_values("seed", "1,2,3", 2)
    rows = variants(Recipe(mix=StyleMix.of("monet:0.5"), seed=3), ["sketch", "ukiyoe"], "strength", [0.5, 1.0])
    assert [[(str(one.mix), one.strength, one.seed) for one in row] for row in rows] == [
        [("sketch", 0.5, 3), ("sketch", 1.0, 3)],
        [("ukiyoe", 0.5, 3), ("ukiyoe", 1.0, 3)],
    ]


def test_a_space_takes_fewer_and_what_the_browser_says_of_pieces_is_not_believed() -> None:
    assert Limits.strict().photos < Limits().photos
    assert Limits.strict().sheet < Limits().sheet
    assert "Cancelled" in stopped(None)[0]
    assert stopped([{"state": "busy"}, 3])[1] == [{"state": "left", "said": "Not made."}]
