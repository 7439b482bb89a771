"""A visit in a real browser: a result beside its own photo only, and nothing lost by a reload, the Back button or a closed tab."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

import app
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.style_picture.picture import StylePicture
from stylekit.ui import making, stylize
from stylekit.ui.visit.keep import Kept
from tests.browser import (
    WAIT,
    FakeEngine,
    begin_painting,
    button,
    download,
    drop,
    finish,
    frame,
    go,
    label,
    paint,
    serve,
    start,
    status,
    take,
    until,
)

BACK_AGAIN = "Welcome back"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the app itself, over the real engine."""
    with serve(app.build(app.Settings())) as url:
        yield url


def colours(page: Page, part: str) -> tuple[int, ...]:
    """The mean of a picture in the frame, in RGB."""
    found = page.locator(f"#frame [data-part={part}]").evaluate(
        """async (image) => {
          await image.decode();
          const canvas = Object.assign(document.createElement("canvas"), {width: 1, height: 1}), context = canvas.getContext("2d");
          context.drawImage(image, 0, 0, 1, 1);
          return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
        }"""
    )
    return tuple(found)


def plain(folder: Path, name: str, colour: tuple[int, int, int]) -> Path:
    path = folder / name
    Image.new("RGB", (120, 80), colour).save(path)
    return path


def near(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return all(abs(a - b) < 12 for a, b in zip(one, other, strict=True))


# ---- a photo and its own result


def test_a_new_photo_is_in_the_frame_at_once_and_takes_the_result_down(page: Page, engine: FakeEngine, tmp_path: Path) -> None:
    red, blue = plain(tmp_path, "red.png", (200, 30, 30)), plain(tmp_path, "blue.png", (30, 30, 200))
    take(page, red)
    expect(label(page)).to_contain_text("Your photo")
    assert near(colours(page, "before"), (200, 30, 30))
    start(page)
    finish(page)
    expect(page.locator("#frame .sk-download")).to_be_visible()
    assert near(colours(page, "before"), (200, 30, 30))
    assert near(colours(page, "after"), (55, 225, 225))
    take(page, blue)
    expect(label(page)).to_contain_text("blue.png, 120 × 80 pixels")
    expect(frame(page, "photo")).to_be_visible()
    assert near(colours(page, "before"), (30, 30, 200))
    expect(page.locator("#frame .sk-download")).to_be_hidden()


def test_a_photo_changed_during_a_run_stops_it_and_stays_in_the_frame(page: Page, engine: FakeEngine, tmp_path: Path) -> None:
    red, blue = plain(tmp_path, "red.png", (200, 30, 30)), plain(tmp_path, "blue.png", (30, 30, 200))
    take(page, red)
    engine.delay, engine.total = 0.3, 60
    start(page)
    expect(status(page)).to_contain_text("step ", timeout=WAIT)
    page.locator("#more-photos input[type=file]").set_input_files(blue)
    expect(status(page)).to_contain_text("blue.png,", timeout=WAIT)
    expect(go(page)).to_be_enabled()
    until(lambda: engine.closed_early == 1)
    expect(frame(page, "photo")).to_be_visible()
    assert near(colours(page, "before"), (30, 30, 200))
    engine.delay, engine.total = 0.01, 2
    start(page)
    finish(page)
    assert near(colours(page, "before"), (30, 30, 200))
    assert near(colours(page, "after"), (225, 225, 55))


def test_after_cancel_the_photo_is_back_and_no_example(page: Page, engine: FakeEngine, tmp_path: Path) -> None:
    take(page, plain(tmp_path, "red.png", (200, 30, 30)))
    engine.delay, engine.total = 0.3, 60
    start(page)
    expect(status(page)).to_contain_text("step ", timeout=WAIT)
    button(page, "Cancel").click()
    expect(status(page)).to_contain_text("Cancelled", timeout=WAIT)
    expect(frame(page, "photo")).to_be_visible()
    assert near(colours(page, "before"), (200, 30, 30))
    expect(label(page)).to_contain_text("red.png")


# ---- what the wall says


def test_the_wall_says_what_it_shows_and_the_button_what_it_will_do(page: Page, engine: FakeEngine, pictures: dict[str, Path]) -> None:
    expect(label(page)).to_contain_text("An example of Pencil sketch")
    expect(go(page)).to_have_text("Stylize in Pencil sketch")
    page.get_by_role("radio", name="Ukiyo-e").check()
    expect(label(page)).to_contain_text("An example of Ukiyo-e", timeout=WAIT)
    expect(go(page)).to_have_text("Stylize in Ukiyo-e")
    take(page, pictures["photo.jpg"])
    start(page)
    finish(page)
    page.get_by_role("radio", name="Pencil sketch").check()
    expect(go(page)).to_have_text("Stylize in Pencil sketch")
    expect(label(page)).to_contain_text("Made with Ukiyo-e")
    page.get_by_label("Paint or mix styles").check()
    expect(go(page)).to_have_text("Stylize as painted")


def test_a_mix_is_shown_with_its_weights(page: Page, engine: FakeEngine, pictures: dict[str, Path], tmp_path: Path) -> None:
    take(page, pictures["photo.jpg"])
    old = tmp_path / "old.png"
    Image.new("RGB", (64, 64)).save(old, pnginfo=Recipe(mix=StyleMix.of("sketch:0.2,ukiyoe:1")).png_info())
    drop(page, old)
    expect(status(page)).to_contain_text("Settings restored", timeout=WAIT)
    start(page)
    finish(page)
    expect(label(page)).to_contain_text("Made with Pencil sketch 20 %, Ukiyo-e 100 %")


def test_use_it_leads_to_the_style_and_a_restored_png_to_its_own(open_page: Callable[..., Page], real: str, tmp_path: Path) -> None:
    page = open_page(real)
    page.get_by_role("tab", name="Gallery").click()
    page.get_by_role("button", name="Use Watercolour").click()
    tile = page.locator("#style input[value=watercolour]")
    expect(tile).to_be_checked(timeout=WAIT)
    expect(tile).to_be_in_viewport(timeout=WAIT)
    expect(label(page)).to_contain_text("An example of Watercolour", timeout=WAIT)
    expect(go(page)).to_have_text("Stylize in Watercolour")
    old = tmp_path / "old.png"
    Image.new("RGB", (64, 64)).save(old, pnginfo=Recipe(mix=StyleMix.of("ukiyoe"), strength=0.4).png_info())
    drop(page, old)
    expect(status(page)).to_contain_text("Settings restored from old.png", timeout=WAIT)
    expect(status(page)).to_be_in_viewport()
    expect(label(page)).to_contain_text("An example of Ukiyo-e", timeout=WAIT)
    expect(page.locator("#style input[value=ukiyoe]")).to_be_in_viewport(timeout=WAIT)


# ---- a reload


def test_a_reload_brings_photo_settings_style_and_result_back(
    open_page: Callable[..., Page], real: str, pictures: dict[str, Path], tmp_path: Path
) -> None:
    page = open_page(real)
    take(page, pictures["photo.jpg"])
    page.locator("#style input[value=sketch]").check()
    page.get_by_label("number input for Strength").fill("0.6")
    page.get_by_label("Seed", exact=True).fill("77")
    page.get_by_label("Seed", exact=True).press("Tab")
    start(page)
    expect(status(page)).to_contain_text("Done in", timeout=90_000)
    first = Recipe.from_png(download(page, tmp_path))
    page.wait_for_function("stylekit.store.keys().then((keys) => keys.length === 1)")
    page.wait_for_timeout(500)  # settings are kept a moment later
    page.reload()
    expect(status(page)).to_contain_text(BACK_AGAIN, timeout=WAIT)
    expect(label(page)).to_contain_text("Made with Pencil sketch", timeout=WAIT)
    expect(page.locator("#photo img")).to_be_visible()
    expect(page.locator("#style input[value=sketch]")).to_be_checked()
    expect(go(page)).to_have_text("Stylize in Pencil sketch")
    again = download(page, tmp_path)
    assert again.name == "photo-sketch.png"
    assert Recipe.from_png(again) == first  # the same file, from the browser's store
    start(page)
    expect(status(page)).to_contain_text("Done in", timeout=90_000)
    assert Recipe.from_png(download(page, tmp_path)) == first  # and the same settings


def test_a_reload_brings_paint_and_own_pictures_back(page: Page, engine: FakeEngine, pictures: dict[str, Path], tmp_path: Path) -> None:
    noise = Image.effect_noise((240, 160), 90)
    Image.merge("RGB", (noise, noise.rotate(180), noise)).save(tmp_path / "night sky.png")
    drop(page, tmp_path / "night sky.png", "#style")
    expect(page.locator("#style").get_by_role("radio", name="Night sky")).to_be_checked(timeout=WAIT)
    begin_painting(page, pictures["photo.jpg"])
    paint(page, (0.0, 0.1), (1.0, 0.1))
    page.wait_for_timeout(800)
    page.reload()
    expect(status(page)).to_contain_text(BACK_AGAIN, timeout=WAIT)
    expect(page.locator("#painter canvas")).to_be_visible()
    expect(page.locator("#painter [data-part=hint]")).to_contain_text("is painted", timeout=WAIT)
    expect(page.locator("#style").get_by_role("radio", name="Night sky")).to_be_checked()
    start(page)
    finish(page)
    picture = StylePicture.of(tmp_path / "night sky.png")
    assert engine.recipes[-1].pictures == (picture,)
    assert engine.recipes[-1].mix.names == (picture.name,)
    assert engine.recipes[-1].has_maps


def test_a_result_of_another_photo_does_not_come_back_with_this_one(page: Page, engine: FakeEngine, pictures: dict[str, Path]) -> None:
    take(page, pictures["photo.jpg"])
    start(page)
    finish(page)
    page.wait_for_function("stylekit.store.keys().then((keys) => keys.length === 1)")
    take(page, pictures["scan.tif"])
    page.wait_for_timeout(500)
    page.reload()
    expect(status(page)).to_contain_text(BACK_AGAIN, timeout=WAIT)
    expect(label(page)).to_contain_text("scan.tif")
    page.wait_for_timeout(500)
    expect(frame(page, "photo")).to_be_visible()


def test_a_photo_chosen_while_the_page_comes_back_is_the_one_that_stays(
    page: Page, engine: FakeEngine, pictures: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    take(page, pictures["photo.jpg"])
    page.wait_for_timeout(500)
    coming = threading.Event()

    def slowly(photo: Image.Image, path: Path) -> Path:
        coming.set()
        time.sleep(2)
        return making.save_display(photo, path)

    monkeypatch.setattr(stylize, "save_display", slowly)  # of the kept photo
    page.reload()
    expect(page.locator("#drop")).to_be_visible(timeout=WAIT)
    until(coming.is_set, 60)
    monkeypatch.setattr(stylize, "save_display", making.save_display)
    page.locator("#drop input[type=file]").set_input_files(pictures["scan.tif"])
    expect(status(page)).to_contain_text("scan.tif,", timeout=WAIT)
    page.wait_for_timeout(2500)
    expect(label(page)).to_contain_text("scan.tif")
    page.reload()  # and it is the one that is kept
    expect(status(page)).to_contain_text(BACK_AGAIN, timeout=WAIT)
    expect(label(page)).to_contain_text("scan.tif")


def test_an_example_photo_comes_back_too(page: Page, engine: FakeEngine) -> None:
    page.get_by_role("button", name="Example photo: other").click()
    expect(status(page)).to_contain_text("160 × 120", timeout=WAIT)
    page.wait_for_timeout(500)
    page.reload()
    expect(label(page)).to_contain_text("other, 160 × 120", timeout=WAIT)


def test_leaving_asks_while_something_runs_and_only_then(page: Page, engine: FakeEngine, pictures: dict[str, Path]) -> None:
    take(page, pictures["photo.jpg"])
    engine.delay, engine.total = 0.3, 60
    start(page)
    expect(status(page)).to_contain_text("step ", timeout=WAIT)
    with page.expect_event("dialog") as asked:
        page.close(run_before_unload=True)
    assert asked.value.type == "beforeunload"
    asked.value.dismiss()
    button(page, "Cancel").click()
    expect(status(page)).to_contain_text("Cancelled", timeout=WAIT)
    with page.expect_event("close"):
        page.close(run_before_unload=True)


def test_a_browser_without_a_store_or_with_a_full_one_says_so_and_works(
    browser: Browser, served: tuple[str, FakeEngine, dict[str, Path]], engine: FakeEngine, pictures: dict[str, Path]
) -> None:
    for broken in (
        "IDBFactory.prototype.open = () => { throw new DOMException('no', 'SecurityError'); };",
        "IDBObjectStore.prototype.add = IDBObjectStore.prototype.put = () => { throw new DOMException('no', 'QuotaExceededError'); };",
    ):
        page = browser.new_page()
        page.set_default_timeout(WAIT)
        page.add_init_script(broken)
        page.goto(served[0])
        take(page, pictures["photo.jpg"])
        start(page)
        finish(page)
        expect(page.locator("#keep")).to_contain_text("This browser keeps nothing", timeout=WAIT)
        page.close()


def test_of_two_hundred_results_the_oldest_makes_room_and_two_tabs_share_one_store(page: Page, engine: FakeEngine) -> None:
    page.evaluate("async () => { for (let i = 0; i < 201; i++) await stylekit.store.add({title: String(i)}); }")
    other = page.context.new_page()
    other.goto(page.url)
    other.wait_for_function("globalThis.stylekit?.store")
    keys = other.evaluate("stylekit.store.keys()")
    assert len(keys) == 200
    assert other.evaluate("async (key) => (await stylekit.store.result(key)).title", keys[0]) == "1"
    page.evaluate("stylekit.store.add({title: 'mine'})")
    other.evaluate("stylekit.store.add({title: 'theirs'})")
    titles = page.evaluate("stylekit.store.keys().then((keys) => Promise.all(keys.slice(-2).map((key) => stylekit.store.result(key))))")
    assert {result["title"] for result in titles} == {"mine", "theirs"}


def test_the_oldest_result_makes_room_and_that_is_said(page: Page, engine: FakeEngine, pictures: dict[str, Path]) -> None:
    page.evaluate("async () => { for (let i = 0; i < 200; i++) await stylekit.store.add({title: String(i)}); }")
    take(page, pictures["photo.jpg"])
    start(page)
    finish(page)
    expect(page.locator("#keep")).to_contain_text("The oldest of your results has made room for the newest", timeout=WAIT)
    # a store with room for no more than it holds
    page.evaluate(
        """() => { const add = IDBObjectStore.prototype.add; let full = 2;
          IDBObjectStore.prototype.add = function (...all) {
            if (full-- > 0) throw new DOMException("full", "QuotaExceededError");
            return add.apply(this, all);
          }; }"""
    )
    start(page)
    expect(page.locator("#keep")).to_contain_text("The 3 oldest of your results have made room", timeout=WAIT)
    assert page.evaluate("stylekit.store.keys().then((keys) => keys.length)") == 198


def test_an_upload_that_breaks_off_is_said_and_nothing_is_lost(page: Page, engine: FakeEngine, pictures: dict[str, Path]) -> None:
    take(page, pictures["photo.jpg"])
    page.wait_for_timeout(500)
    page.route("**/upload**", lambda route: route.abort())
    page.locator("#more-photos input[type=file]").set_input_files(pictures["other.jpg"])
    expect(status(page)).to_contain_text("other.jpg did not arrive", timeout=WAIT)
    expect(label(page)).to_contain_text("photo.jpg")
    start(page)
    finish(page)  # with the photo that is there
    page.reload()  # the kept photo cannot be sent either, and stays in the store
    expect(page.locator("#keep")).to_contain_text("photo.jpg is kept in this browser but could not be sent", timeout=WAIT)
    page.unroute("**/upload**")
    page.reload()
    expect(status(page)).to_contain_text(BACK_AGAIN, timeout=WAIT)
    expect(label(page)).to_contain_text("Made with", timeout=WAIT)
    page.route("**/upload**", lambda route: route.abort())
    page.locator("#more-photos input[type=file]").set_input_files(pictures["other.jpg"])
    expect(status(page)).to_contain_text("other.jpg did not arrive", timeout=WAIT)
    page.unroute("**/upload**")
    page.locator("#more-photos input[type=file]").set_input_files(pictures["other.jpg"])  # the same once more
    expect(status(page)).to_contain_text("other.jpg,", timeout=WAIT)


# ---- addresses


def test_every_tab_has_an_address_and_back_leads_to_the_one_before(
    open_page: Callable[..., Page], real: str, pictures: dict[str, Path]
) -> None:
    page = open_page(real)
    take(page, pictures["photo.jpg"])
    page.get_by_role("tab", name="Gallery").click()
    page.wait_for_url("**/#gallery")
    page.get_by_role("tab", name="Evaluation").click()
    page.wait_for_url("**/#evaluation")
    page.go_back()
    expect(page.locator(".sk-card").first).to_be_visible()
    page.go_back()
    expect(go(page)).to_be_visible()
    expect(label(page)).to_contain_text("photo.jpg")  # nothing was loaded anew
    page.goto(f"{real}#evaluation")
    page.reload()
    expect(page.locator("#evaluation")).to_be_visible(timeout=WAIT)
    page.get_by_role("tab", name="Evaluation").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("tab", name="Teach")).to_be_focused()
    expect(page.locator("#teach")).to_be_visible()


def test_an_address_waits_for_its_tab(browser: Browser, real: str) -> None:
    page = browser.new_page()
    page.add_init_script(  # a slow machine: the other tabs come a second after the first one
        """addEventListener("DOMContentLoaded", () => {
          const style = document.head.appendChild(document.createElement("style"));
          style.textContent = '[role="tab"]:not([aria-selected="true"]) { display: none !important }';
          const seen = setInterval(() => {
            if (!document.querySelector('[role="tab"][aria-selected="true"]')) return;
            clearInterval(seen);
            setTimeout(() => style.remove(), 1000);
          }, 50);
        })"""
    )
    page.goto(f"{real}#gallery")
    expect(page.locator(".sk-card").first).to_be_visible(timeout=WAIT)
    page.close()


# ---- without a browser


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "x",
        {"settings": [1], "own": {"a": 1}, "photo": "/etc/passwd", "example": "0"},
        {"settings": {"strength": "1"}, "own": [{"jpeg": "!"}, 3, {"jpeg": "aGVsbG8="}], "photo": {"path": 3}, "example": True},
    ],
)
def test_what_the_browser_says_it_kept_is_not_believed(value: object) -> None:
    kept = Kept.of(value)
    assert kept.visitor.styles == ()
    assert kept.photo is None
    assert kept.example is None
    assert kept.number("strength", 0, 1, 0.5) == 0.5
    for wrong in (True, float("nan"), 2, -1, None, []):
        assert Kept(settings={"strength": wrong}).number("strength", 0, 1, 0.5) == 0.5
    assert Kept(settings={"style": ["monet"]}).one_of("style", ["monet"], "x") == "x"
    assert Kept(settings={"hand": 1}).switch("hand", False) is False
