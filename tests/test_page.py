"""The Stylize tab in a real browser: against a fake engine that can be slow or fail, and once against the real one."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

import app
from stylekit.errors import SettingError
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.styles import CARD_FILE
from stylekit.ui import stylize, worker
from tests.browser import (
    PHONE,
    WAIT,
    FakeEngine,
    button,
    download,
    finish,
    missing,
    serve,
    start,
    status,
    take,
    until,
    upload,
)

TEXT_PNG = "is not a picture stylekit can read"
CUT_JPEG = "is damaged or cut off"
EMPTY_PNG = "is empty (0 bytes)"


# ---- with the real engine


def test_real_engine_from_upload_to_download(open_page: Callable[..., Page], pictures: dict[str, Path], tmp_path: Path) -> None:
    settings = app.Settings()
    if not (settings.styles / "sketch" / CARD_FILE).exists():
        missing(f"there is no style named sketch in {settings.styles}")
    with serve(app.build(settings)) as url:
        page = open_page(url)
        take(page, pictures["photo.jpg"])
        page.locator("#style input[value=sketch]").check()
        start(page)
        expect(status(page)).to_contain_text("Done in", timeout=90_000)
        result = download(page, tmp_path)
    recipe = Recipe.from_png(result)
    assert result.name == "photo-sketch.png"
    assert recipe.mix.weights == (("sketch", 1.0),)
    assert (recipe.strength, recipe.seed, recipe.base, recipe.size) == (1.0, 0, settings.base, settings.size)
    with Image.open(result) as picture, Image.open(pictures["photo.jpg"]) as photo:
        assert picture.size == photo.size
        assert picture.convert("RGB").tobytes() != photo.convert("RGB").tobytes()


# ---- with the fake one


def test_settings_reach_the_recipe_and_the_download(page: Page, engine: FakeEngine, pictures: dict[str, Path], tmp_path: Path) -> None:
    take(page, pictures["photo.jpg"])
    page.get_by_role("radio", name="Ukiyo-e").check()
    page.get_by_label("number input for Strength").fill("0.6")
    page.get_by_label("Seed", exact=True).fill("77")
    page.get_by_label("Seed", exact=True).press("Tab")
    start(page)
    finish(page)
    result = download(page, tmp_path)
    recipe = Recipe.from_png(result)
    assert recipe == engine.recipes[-1] == Recipe(mix=StyleMix.of("ukiyoe"), strength=0.6, seed=77)
    with Image.open(result) as picture:
        assert picture.size == (300, 200)
    expect(page.locator("#label")).to_contain_text("Ukiyo-e")
    button(page, "Random seed").click()
    expect(page.get_by_label("Seed", exact=True)).not_to_have_value("77")


def test_steps_are_shown_while_it_runs(page: Page, engine: FakeEngine, pictures: dict[str, Path]) -> None:
    engine.delay, engine.total = 0.8, 3
    take(page, pictures["photo.jpg"])
    start(page)
    expect(status(page)).to_contain_text("Step 1 of 3", timeout=WAIT)
    expect(page.locator("#live img")).to_be_visible()
    expect(page.locator("#comparison")).to_be_hidden()
    expect(button(page, "Stylize")).to_be_disabled()
    finish(page)
    expect(page.locator("#live")).to_be_hidden()


def test_cancel_stops_the_engine_and_the_next_run_waits_for_it(page: Page, engine: FakeEngine, pictures: dict[str, Path]) -> None:
    engine.delay, engine.total = 0.5, 40
    take(page, pictures["photo.jpg"])
    for _ in range(2):
        start(page)
        expect(status(page)).to_contain_text("Step", timeout=WAIT)
        button(page, "Cancel").click()
        expect(status(page)).to_contain_text("Cancelled", timeout=WAIT)
        expect(button(page, "Stylize")).to_be_enabled()
    engine.delay, engine.total = 0.01, 2
    start(page)
    finish(page)
    assert engine.closed_early == 2
    assert engine.most_at_work == 1
    assert engine.at_work == 0
    expect(page.locator("#photo img")).to_be_visible()


def test_closing_the_page_stops_the_engine(page: Page, engine: FakeEngine, pictures: dict[str, Path]) -> None:
    engine.delay, engine.total = 0.2, 200
    take(page, pictures["photo.jpg"])
    start(page)
    expect(status(page)).to_contain_text("Step", timeout=WAIT)
    page.close()
    until(lambda: engine.closed_early == 1)
    assert engine.steps < 150


@pytest.mark.parametrize(("name", "sentence"), [("text.png", TEXT_PNG), ("cut.jpg", CUT_JPEG), ("empty.png", EMPTY_PNG)])
def test_a_bad_upload_is_told_and_the_photo_before_it_stays(page: Page, pictures: dict[str, Path], name: str, sentence: str) -> None:
    upload(page, pictures[name])
    expect(status(page)).to_contain_text(sentence, timeout=WAIT)
    expect(page.get_by_test_id("toast-body").first).to_contain_text(sentence)
    expect(page.locator("#drop")).to_be_visible()
    take(page, pictures["photo.jpg"])
    upload(page, pictures[name])
    expect(status(page)).to_contain_text(sentence, timeout=WAIT)
    expect(page.locator("#photo img")).to_be_visible()
    expect(page.locator("body")).not_to_contain_text("Traceback")
    start(page)
    finish(page)


def test_a_photo_that_browsers_cannot_show_is_shown(page: Page, pictures: dict[str, Path]) -> None:
    take(page, pictures["scan.tif"])
    page.wait_for_function("document.querySelector('#photo img').naturalWidth === 300")


def test_example_photo_and_style_by_picture(page: Page, engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    page.get_by_role("button", name="Example photo: other").click()
    expect(status(page)).to_contain_text("160 × 120", timeout=WAIT)
    chosen = page.get_by_role("radio", name="Ukiyo-e")
    expect(page.get_by_role("radio", name="Pencil sketch")).to_be_checked()
    chosen.check()
    expect(chosen).to_be_checked()
    expect(page.locator("#label")).to_contain_text("Ukiyo-e it is.", timeout=WAIT)
    start(page)
    finish(page)
    assert engine.recipes[-1].mix.names == ("ukiyoe",)
    expect(page.locator("#label")).to_contain_text("160 × 120 pixels")
    page.get_by_role("radio", name="Pencil sketch").check()
    start(page)  # what it says comes after what the choice would have said
    expect(page.locator("#label")).to_contain_text("Pencil sketch", timeout=WAIT)
    expect(page.locator("#label")).to_contain_text("160 × 120 pixels")
    assert "Traceback" not in capsys.readouterr().err


def test_without_a_photo_it_says_so(page: Page) -> None:
    start(page)
    expect(status(page)).to_contain_text("There is no photo yet", timeout=WAIT)
    expect(button(page, "Stylize")).to_be_enabled()


@pytest.mark.parametrize(
    ("error", "said"),
    [(SettingError("The <b>dial</b> is stuck: turn it."), "The <b>dial</b> is stuck: turn it."), (OSError("secret /path"), stylize.FAILED)],
)
def test_a_failing_engine_is_told_without_a_traceback(
    page: Page, engine: FakeEngine, pictures: dict[str, Path], error: Exception, said: str
) -> None:
    engine.error = error
    take(page, pictures["photo.jpg"])
    page.get_by_role("radio", name="Ukiyo-e").check()
    start(page)
    expect(status(page)).to_have_text(said, timeout=WAIT)
    expect(page.locator("body")).not_to_contain_text("secret")
    expect(page.locator("#photo img")).to_be_visible()
    expect(page.get_by_role("radio", name="Ukiyo-e")).to_be_checked()
    engine.error = None
    start(page)
    finish(page)


def test_phone(
    open_page: Callable[..., Page], served: tuple[str, FakeEngine, dict[str, Path]], engine: FakeEngine, pictures: dict[str, Path]
) -> None:
    page = open_page(served[0], PHONE)
    take(page, pictures["photo.jpg"])
    start(page)
    finish(page)
    page.get_by_role("button", name="Advanced").click()
    expect(page.get_by_label("Working size")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    tops = [box["y"] for name in ("photo", "style", "go", "comparison", "download") if (box := page.locator(f"#{name}").bounding_box())]
    assert len(tops) == 5
    assert tops == sorted(tops)
    for name in ("change", "style", "strength", "seed", "dice", "steps", "size", "go", "cancel", "comparison", "download"):
        box = page.locator(f"#{name}").bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE[0]


# ---- without a browser


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SIZE", "x"),
        ("SIZE", "1000000"),
        ("PORT", "70000"),
        ("MAX_UPLOAD", "lots"),
        ("HOST", "no.such.host.invalid"),
        ("STYLES", "/nowhere"),
    ],
)
def test_a_wrong_setting_ends_the_app_with_a_sentence(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"STYLEKIT_{name}", value)
    with pytest.raises(SystemExit, match=f"^stylekit: .*{value}"):
        app.main()


def test_a_port_in_use_ends_the_app_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("STYLEKIT_PORT", str(taken.getsockname()[1]))
        with pytest.raises(SystemExit, match=r"^stylekit: The page could not be opened: choose another STYLEKIT_PORT"):
            app.main()


def test_a_wrong_base_is_told_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    app.build(app.Settings(base="/nowhere"))
    until(lambda: "There is no base '/nowhere'" in caplog.text)
    assert "Traceback" not in caplog.text


def test_watch_gives_the_items_and_signs_of_life() -> None:
    def slow() -> Iterator[int]:
        yield 1
        time.sleep(3 * worker.BEAT)
        yield 2

    seen = list(worker.watch(slow, threading.Lock()))
    assert [item for item in seen if item is not None] == [1, 2]
    assert seen.count(None) >= 1


def test_watch_passes_an_exception_on_and_frees_the_turn() -> None:
    def fails() -> Iterator[int]:
        yield 1
        raise SettingError("no")

    turn = threading.Lock()
    with pytest.raises(SettingError, match="no"):
        list(worker.watch(fails, turn))
    until(lambda: not turn.locked())


def test_closing_watch_closes_the_iterator_before_the_next_one_starts() -> None:
    events: list[str] = []

    def work(name: str) -> Iterator[int]:
        events.append(f"{name} starts")
        try:
            for step in range(5):
                time.sleep(0.1)
                yield step
        finally:
            events.append(f"{name} ends")

    turn = threading.Lock()
    first = worker.watch(lambda: work("first"), turn)
    assert next(first) == 0
    first.close()
    assert [item for item in worker.watch(lambda: work("second"), turn) if item is not None] == [0, 1, 2, 3, 4]
    assert events == ["first starts", "first ends", "second starts", "second ends"]


def test_closing_watch_while_it_waits_for_its_turn_starts_nothing() -> None:
    started: list[bool] = []
    turn = threading.Lock()
    turn.acquire()
    waiting = worker.watch(lambda: iter([started.append(True)]), turn)
    assert next(waiting) is None
    waiting.close()
    turn.release()
    time.sleep(3 * worker.BEAT)
    assert started == []
