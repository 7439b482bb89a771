"""Painting styles on a photo in a real browser, by mouse and by touch, and restoring a painting from its PNG."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

import app
from stylekit.maps import WeightMap
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.ui.painter import paint as painting
from tests.browser import (
    PHONE,
    WAIT,
    FakeEngine,
    begin_painting,
    button,
    download,
    drop,
    finish,
    go,
    label,
    paint,
    serve,
    slide,
    start,
    status,
    take,
)

SIZE = (300, 200)  # of photo.jpg
SKY, GROUND = ((0.0, 0.1), (1.0, 0.1)), ((0.0, 0.9), (1.0, 0.9))  # strokes along the upper and the lower border


@pytest.fixture
def photo(pictures: dict[str, Path]) -> Path:
    return pictures["photo.jpg"]


def hint(page: Page) -> str:
    return page.locator("#painter [data-part=hint]").inner_text()


def tool(page: Page, name: str) -> None:
    page.locator("#painter").get_by_role("button", name=name, exact=True).click()


def add(page: Page, style: str) -> None:
    page.get_by_label("Add a style").select_option(style)


def run(page: Page, engine: FakeEngine) -> Recipe:
    """Stylize, and go back to the painting."""
    start(page)
    finish(page)
    tool_back = button(page, "Back to painting")
    tool_back.click()
    expect(page.locator("#painter canvas")).to_be_visible()
    return engine.recipes[-1]


def maps(recipe: Recipe) -> dict[str, np.ndarray]:
    weights = recipe.mix.at(SIZE)
    return {name: np.broadcast_to(weight, SIZE[::-1]) for name, weight in weights.items()}


# ---- with the real engine


def test_sky_and_ground_in_two_styles_and_the_middle_untouched(open_page: Callable[..., Page], photo: Path, tmp_path: Path) -> None:
    with serve(app.build(app.Settings())) as url:
        page = open_page(url)
        begin_painting(page, photo)
        paint(page, *SKY)
        page.locator("#style input[value=ukiyoe]").dispatch_event("click")  # at once, whatever the tiles do meanwhile
        expect(page.locator("#painter").get_by_role("radio", name="Paint with Ukiyo-e")).to_be_checked()
        paint(page, *GROUND)
        start(page)
        expect(status(page)).to_contain_text("Done in", timeout=90_000)
        expect(label(page)).to_contain_text("Monet, Ukiyo-e")
        result = download(page, tmp_path)
    assert result.name == "photo-monet-ukiyoe.png"
    recipe = Recipe.from_png(result)
    assert recipe.mix.names == ("monet", "ukiyoe")
    before, after = (np.asarray(Image.open(path).convert("RGB"), np.int16) for path in (photo, result))
    change = np.abs(after - before).max(-1)
    untouched = np.max([np.asarray(w.picture.resize(SIZE, Image.Resampling.BOX)) for _, w in recipe.mix.weights], 0) == 0
    assert untouched[60:140].all()
    assert (change[untouched] == 0).all()
    assert change[:25].mean() > 5
    assert change[-25:].mean() > 5
    assert maps(recipe)["monet"][10].min() == 1
    assert maps(recipe)["ukiyoe"][-10].min() == 1


# ---- with the fake one


def test_colours_reach_the_recipe_as_maps(page: Page, engine: FakeEngine, photo: Path) -> None:
    begin_painting(page, photo)
    paint(page, *SKY)
    add(page, "bare")
    slide(page, page.locator("#painter [data-part=weight]"), 50)
    paint(page, *GROUND)
    weights = maps(run(page, engine))
    assert set(weights) == {"sketch", "bare"}
    assert weights["sketch"][20].min() == 1
    assert weights["sketch"][50:].max() == 0
    assert np.allclose(weights["bare"][180], 0.5, atol=0.01)
    assert weights["bare"][:150].max() == 0


def test_unpainted_it_is_a_blend_with_a_live_total(page: Page, engine: FakeEngine, photo: Path) -> None:
    begin_painting(page, photo)
    assert "Paint where Pencil sketch goes" in hint(page)
    page.locator("#style").get_by_role("radio", name="Ukiyo-e").check()
    expect(page.locator("#painter").get_by_role("radio", name="Paint with Ukiyo-e")).to_be_checked()
    assert "total 200 %, scaled to 100 %" in hint(page)
    slide(page, page.get_by_label("Amount of Ukiyo-e"), 40)
    assert "total 140 %" in hint(page)
    slide(page, page.get_by_label("Amount of Pencil sketch"), 60)
    assert hint(page).endswith("total 100 %.")
    assert run(page, engine).mix == StyleMix.of("sketch:0.6,ukiyoe:0.4")


def test_undo_redo_erase_fill_and_clear(page: Page, engine: FakeEngine, photo: Path) -> None:
    begin_painting(page, photo)
    tool(page, "Fill")
    expect(page.locator("#painter [data-part=hint]")).to_contain_text("100 % of the photo is painted")
    tool(page, "Eraser")
    paint(page, *SKY)
    weights = maps(run(page, engine))
    assert weights["sketch"][15].max() == 0
    assert weights["sketch"][100:].min() == 1
    page.keyboard.press("Control+z")
    expect(page.locator("#painter [data-part=hint]")).to_contain_text("100 % of the photo is painted")
    assert maps(run(page, engine))["sketch"].min() == 1
    tool(page, "Redo")
    expect(page.locator("#painter [data-part=hint]")).not_to_contain_text("100 %")
    assert maps(run(page, engine))["sketch"][15].max() == 0
    tool(page, "Clear")
    assert run(page, engine).mix == StyleMix.of("sketch")
    tool(page, "Undo")
    expect(page.locator("#painter [data-part=hint]")).to_contain_text("is painted")
    assert maps(run(page, engine))["sketch"][15].max() == 0


def test_a_style_changes_under_its_paint_and_takes_it_along(page: Page, engine: FakeEngine, photo: Path) -> None:
    begin_painting(page, photo)
    paint(page, *SKY)
    add(page, "ukiyoe")
    paint(page, *GROUND)
    paint(page, (0.5, 0.1), (0.5, 0.9))  # across the other one
    page.get_by_label("Style of colour 2").select_option("bare")
    weights = maps(run(page, engine))
    assert set(weights) == {"sketch", "bare"}
    assert weights["bare"][180].min() == 1
    tool(page, "Take No picture off the palette")
    weights = maps(run(page, engine))
    assert set(weights) == {"sketch"}
    assert weights["sketch"][20, 10] == 1
    assert weights["sketch"][20, 150] == 0
    tool(page, "Undo")
    expect(page.get_by_label("Style of colour 2")).to_have_value("bare")
    assert maps(run(page, engine))["bare"][180].min() == 1


def test_a_new_photo_starts_unpainted_and_undo_brings_the_paint_back(
    page: Page, engine: FakeEngine, photo: Path, served: tuple[str, FakeEngine, dict[str, Path]]
) -> None:
    begin_painting(page, photo)
    paint(page, *SKY)
    take(page, served[2]["other.jpg"])
    expect(page.locator("#painter [data-part=hint]")).to_contain_text("With nothing painted")
    tool(page, "Undo")
    expect(page.locator("#painter [data-part=hint]")).to_contain_text("is painted")


def test_without_painting_the_simple_way_is_as_it_was(page: Page, engine: FakeEngine, photo: Path) -> None:
    begin_painting(page, photo)
    paint(page, *SKY)
    page.get_by_label("Paint or mix styles").uncheck()
    expect(page.locator("#painter")).to_be_hidden()
    start(page)
    finish(page)
    assert engine.recipes[-1].mix == StyleMix.of("sketch")
    expect(button(page, "Back to painting")).to_be_hidden()


def test_a_failing_run_leaves_the_painting(page: Page, engine: FakeEngine, photo: Path) -> None:
    engine.error = OSError("disk")
    begin_painting(page, photo)
    paint(page, *SKY)
    start(page)
    expect(status(page)).to_contain_text("Something went wrong", timeout=WAIT)
    expect(page.locator("#painter canvas")).to_be_visible()
    engine.error = None
    assert maps(run(page, engine))["sketch"][20].min() == 1


def test_a_painting_that_says_nothing_is_told(page: Page, engine: FakeEngine, photo: Path) -> None:
    size = page.locator("#painter [data-part=size]")

    def refused(sentence: str) -> None:
        start(page)
        expect(status(page)).to_contain_text(sentence, timeout=WAIT)
        expect(page.locator("#painter")).to_be_visible()
        expect(go(page)).to_be_enabled()

    page.get_by_label("Paint or mix styles").check()
    refused("There is no photo yet")
    take(page, photo)
    tool(page, "Fill")
    slide(page, page.get_by_label("Amount of Pencil sketch"), 0)
    refused("The amount of every style is 0")
    tool(page, "Undo")
    tool(page, "Clear")
    paint(page, *SKY)
    tool(page, "Eraser")
    slide(page, size, 30)
    paint(page, *SKY)
    refused("Everything is wiped off")
    page.get_by_label("Paint with Pencil sketch").check()
    size.evaluate("e => { e.min = 0; e.value = 0; }")
    paint(page, (0.5, 0.5))
    refused("painted: paint a larger spot")
    assert engine.recipes == []


def test_a_large_photo_is_painted_small_and_made_whole(page: Page, engine: FakeEngine, photo: Path, tmp_path: Path) -> None:
    large = tmp_path / "large.jpg"
    Image.open(photo).resize((3000, 2000)).save(large)
    begin_painting(page, large)
    assert page.evaluate("document.querySelector('#painter [data-part=photo]').naturalWidth") <= 1280
    assert page.evaluate("document.querySelector('#painter canvas').width") <= 1280
    paint(page, *SKY)
    start(page)
    finish(page)
    with Image.open(download(page, tmp_path)) as result:
        assert result.size == (3000, 2000)


def test_a_png_dropped_on_the_page_restores_every_control(page: Page, engine: FakeEngine, photo: Path, tmp_path: Path) -> None:
    left, right = np.zeros((100, 150), np.float32), np.zeros((100, 150), np.float32)
    left[:, :70], right[:, 80:] = 0.8, np.linspace(0, 1, 70)
    recipe = Recipe(
        mix=StyleMix.of({"ukiyoe": WeightMap.of(left), "bare": WeightMap.of(right)}),
        strength=0.63,
        structure=0.33,
        keep_colours=0.27,
        match_border=True,
        feather=0.023,
        seed=4711,
        num_inference_steps=12,
        size=640,
    )
    take(page, photo)
    drop(page, save(tmp_path / "old.png", recipe))
    expect(status(page)).to_contain_text("Settings restored from old.png; the photo stays. Drop old.png once more", timeout=WAIT)
    expect(page.get_by_label("Style of colour 1")).to_have_value("ukiyoe")
    expect(page.get_by_label("Amount of Ukiyo-e")).to_have_value("80")
    expect(page.locator("#painter [data-part=hint]")).to_contain_text("is painted")
    expect(page.locator("#style").get_by_role("radio", name="Ukiyo-e")).to_be_checked()
    assert run(page, engine) == recipe
    result = save(tmp_path / "again.png", recipe)
    paint(page, *GROUND)
    changed = run(page, engine)
    assert changed.with_(mix=recipe.mix) == recipe
    assert np.abs(maps(changed)["ukiyoe"][:140] - maps(recipe)["ukiyoe"][:140]).max() < 0.06
    assert maps(changed)["ukiyoe"][190].min() == pytest.approx(0.8, abs=0.01)
    drop(page, result)
    expect(status(page)).to_contain_text("Settings restored from again.png", timeout=WAIT)
    assert run(page, engine) == recipe


def test_a_simple_png_restores_the_simple_way_and_is_the_photo_when_dropped_again(page: Page, engine: FakeEngine, tmp_path: Path) -> None:
    result = save(tmp_path / "old.png", Recipe(mix=StyleMix.of("ukiyoe"), strength=0.4, seed=5))
    drop(page, result)
    expect(status(page)).to_contain_text("Settings restored from old.png: now choose a photo", timeout=WAIT)
    expect(page.locator("#style").get_by_role("radio", name="Ukiyo-e")).to_be_checked()
    expect(page.locator("#painter")).to_be_hidden()
    expect(page.locator("#drop")).to_be_visible()
    drop(page, result)
    expect(status(page)).to_contain_text("old.png, 64 × 64 pixels", timeout=WAIT)
    start(page)
    finish(page)
    assert engine.recipes[-1] == Recipe.from_png(result)


def test_a_png_that_cannot_be_restored_is_told(page: Page, photo: Path, tmp_path: Path) -> None:
    take(page, photo)
    for recipe, sentence in (
        (Recipe(mix=StyleMix.of("cubism")), "made with the style cubism, which is not here"),
        (Recipe(mix=StyleMix.of("ukiyoe"), base="someone/else"), "made with the base someone/else, but pocket is loaded"),
        (Recipe(mix=StyleMix.of("ukiyoe"), seed=2**60), "too large for a browser"),
        ("{}{", "no valid JSON"),
    ):
        drop(page, save(tmp_path / "old.png", recipe))
        expect(status(page)).to_contain_text(sentence, timeout=WAIT)
        expect(page.locator("#photo img")).to_be_visible()
        expect(page.locator("#style").get_by_role("radio", name="Pencil sketch")).to_be_checked()


def test_a_map_of_strength_is_restored_as_paint(page: Page, engine: FakeEngine, photo: Path, tmp_path: Path) -> None:
    top = np.zeros((100, 150), np.float32)
    top[:50] = 0.7
    recipe = Recipe(mix=StyleMix.of("sketch"), strength=WeightMap.of(top))
    take(page, photo)
    drop(page, save(tmp_path / "old.png", recipe))
    expect(page.locator("#painter [data-part=hint]")).to_contain_text("50 % of the photo is painted", timeout=WAIT)
    assert run(page, engine) == recipe


def test_fingers_paint_and_nothing_overflows(
    open_page: Callable[..., Page], served: tuple[str, FakeEngine, dict[str, Path]], engine: FakeEngine, photo: Path
) -> None:
    page = open_page(served[0], PHONE, touch=True)
    begin_painting(page, photo)
    add(page, "ukiyoe")
    add(page, "bare")
    page.locator("#painter canvas").scroll_into_view_if_needed()
    page.wait_for_timeout(700)  # the page scrolls smoothly
    touch, box = page.context.new_cdp_session(page), page.locator("#painter canvas").bounding_box()
    assert box
    before = page.evaluate("scrollY")
    for kind, x in (("touchStart", 0.05), ("touchMove", 0.3), ("touchMove", 0.6), ("touchMove", 0.95), ("touchEnd", None)):
        points = [] if x is None else [{"x": box["x"] + x * box["width"], "y": box["y"] + (0.4 + x / 5) * box["height"]}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    expect(page.locator("#painter [data-part=hint]")).to_contain_text("is painted")
    assert page.evaluate("scrollY") == before
    button(page, "Undo").tap()  # at once after a quick stroke
    expect(button(page, "Redo")).to_be_enabled(timeout=5000)
    button(page, "Redo").tap()
    expect(page.locator("#painter [data-part=hint]")).to_contain_text("is painted")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    parts = page.locator("#painter select, #painter input, #painter button, #painter canvas").all()
    places = [place for part in parts if (place := part.bounding_box())]  # None is hidden
    assert len(places) > 5
    assert all(place["x"] >= 0 and place["x"] + place["width"] <= PHONE[0] for place in places)
    start(page)
    finish(page)
    page.wait_for_function("(e => e.top >= 0 && e.bottom <= innerHeight)(document.querySelector('#frame .sk-mat').getBoundingClientRect())")
    weights = maps(engine.recipes[-1])
    assert set(weights) == {"bare"}
    assert weights["bare"][105, 150] == 1


def save(path: Path, recipe: Recipe | str) -> Path:
    """A PNG with a recipe, or with a text in its place."""
    info = (recipe if isinstance(recipe, Recipe) else Recipe()).png_info()
    if isinstance(recipe, str):
        info.chunks.clear()
        info.add_text("stylekit", recipe)
    Image.effect_noise((64, 64), 60).convert("RGB").save(path, pnginfo=info)
    return path


def test_the_palette_of_the_page_is_the_decoders(page: Page) -> None:
    page.get_by_label("Paint or mix styles").check()
    colour = page.get_by_label("Paint with Pencil sketch").evaluate("e => getComputedStyle(e).backgroundColor")
    assert colour == "rgb({}, {}, {})".format(*painting.COLOURS[0])
