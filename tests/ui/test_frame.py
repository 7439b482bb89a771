"""The frame on the wall by mouse, wheel, finger and keys; what the page says: messages, progress, the queue."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.ui import worker
from stylekit.ui.making import mix_title
from stylekit.ui.parts import progress
from stylekit.ui.parts.progress import STAGES, Pace, Stopwatch
from tests.browser import DESKTOP, PHONE, WAIT, FakeEngine, begin_painting, finish, frame, go, paint, start, status, take, upload

Served = tuple[str, FakeEngine, dict[str, Path]]


def at(page: Page) -> float:
    """Where the line is, 0 to 1."""
    return float(page.locator("#frame .sk-frame").evaluate("(e) => getComputedStyle(e).getPropertyValue('--sk-at')"))


def made(page: Page, photo: Path) -> None:
    take(page, photo)
    start(page)
    finish(page)


def swipe(page: Page, box: dict[str, float], way: tuple[float, float]) -> None:
    """One finger across a box, from its middle, by `way` pixels."""
    touch = page.context.new_cdp_session(page)
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for part in (0.2, 0.4, 0.6, 0.8, 1.0):
        point = {"x": x + part * way[0], "y": y + part * way[1]}
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


# ---- the frame


def test_the_line_follows_mouse_and_keys_and_the_wheel_scrolls_the_page(open_page: Callable[..., Page], served: Served) -> None:
    page = open_page(served[0], (DESKTOP[0], 500))
    made(page, served[2]["photo.jpg"])
    hung = page.locator("#frame .sk-hung")
    hung.scroll_into_view_if_needed()
    box = hung.bounding_box()
    assert box
    page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + 60)
    assert at(page) == pytest.approx(0.25, abs=0.03)
    line = page.get_by_role("slider", name="Compare, the photo left of the line")
    expect(line).to_be_focused()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert at(page) == pytest.approx(0.35, abs=0.03)
    expect(line).to_have_attribute("aria-valuetext", f"{round(100 * at(page))} % photo")
    page.keyboard.press("End")
    assert at(page) == 1
    page.keyboard.press("Home")
    assert at(page) == 0
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60)
    before = page.evaluate("scrollY")
    page.mouse.wheel(0, 300)
    page.wait_for_function("(before) => scrollY > before", arg=before)
    assert at(page) == 0


def test_holding_c_shows_the_photo(page: Page, engine: FakeEngine, pictures: dict[str, Path]) -> None:
    made(page, pictures["photo.jpg"])
    page.keyboard.down("c")
    assert at(page) == 1
    page.keyboard.up("c")
    assert at(page) == 0.5


def test_a_finger_sideways_moves_the_line_and_up_or_down_the_page(open_page: Callable[..., Page], served: Served) -> None:
    page = open_page(served[0], PHONE, touch=True)
    made(page, served[2]["photo.jpg"])
    hung = page.locator("#frame .sk-hung")
    page.wait_for_timeout(1200)  # the page scrolls smoothly to the result
    box = hung.bounding_box()
    assert box
    swipe(page, box, (90, 2))
    assert at(page) == pytest.approx(0.5 + 90 / box["width"], abs=0.06)
    before = page.evaluate("scrollY")
    swipe(page, box, (0, 150))
    page.wait_for_function("(before) => scrollY < before - 60", arg=before)


def test_in_full_screen_nothing_covers_the_picture(page: Page, engine: FakeEngine, pictures: dict[str, Path]) -> None:
    made(page, pictures["photo.jpg"])
    page.get_by_role("button", name="Full screen").click()
    page.wait_for_function("document.fullscreenElement?.matches('.sk-frame')")
    middle = (
        "(e) => { const b = e.getBoundingClientRect(); return e.contains(document.elementFromPoint(b.x + b.width / 2, b.bottom - 20)); }"
    )
    page.wait_for_function(f"({middle})(document.querySelector('#frame .sk-mat'))")
    page.get_by_role("button", name="Full screen").click()
    page.wait_for_function("!document.fullscreenElement")


# ---- what it says


def test_a_file_over_the_limit_is_told_with_the_limit_and_stays_away(page: Page, pictures: dict[str, Path], tmp_path: Path) -> None:
    expect(page.locator("#taken")).to_contain_text("HEIC")
    expect(page.locator("#taken")).to_contain_text("up to 20 MB")
    large = tmp_path / "large.jpg"
    large.write_bytes(bytes(21_500_000))
    upload(page, large)
    expect(status(page)).to_contain_text("large.jpg has 21.5 MB, over the 20 MB that are taken", timeout=WAIT)
    expect(page.get_by_test_id("toast-body")).to_have_count(0)
    take(page, pictures["photo.jpg"])  # and nothing of the error stays
    expect(page.locator("#studio")).not_to_contain_text("21.5 MB")


def test_stages_have_shares_and_the_rest_is_told(page: Page, engine: FakeEngine, pictures: dict[str, Path]) -> None:
    engine.delay, engine.total = 0.8, 3
    take(page, pictures["photo.jpg"])
    start(page)
    expect(status(page)).to_contain_text("Painting, step 1 of 3; about ", timeout=WAIT)
    expect(status(page)).to_contain_text("s to go")
    assert page.locator("#status .sk-stages i").count() >= 3
    finish(page)
    said = status(page).inner_text()
    assert float(said.split("Done in ")[1].split()[0]) >= 2.4  # what the visitor has waited


def test_the_place_in_the_queue_is_told(open_page: Callable[..., Page], served: Served, engine: FakeEngine) -> None:
    first, second = open_page(served[0]), open_page(served[0])
    for page in (first, second):
        take(page, served[2]["photo.jpg"])
    engine.delay, engine.total = 0.4, 8
    start(first)
    expect(status(first)).to_contain_text("Painting", timeout=WAIT)
    start(second)
    expect(status(second)).to_contain_text("In the queue: one picture comes before yours", timeout=WAIT)
    finish(first)
    expect(status(second)).to_contain_text("Painting", timeout=WAIT)
    finish(second)


def test_keys_run_size_the_brush_and_redo(page: Page, engine: FakeEngine, pictures: dict[str, Path]) -> None:
    begin_painting(page, pictures["photo.jpg"])
    size, hint = page.locator("#painter [data-part=size]"), page.locator("#painter [data-part=hint]")
    before = int(size.input_value())
    for key, change in (("]", 1), ("]", 2), ("[", 1)):
        page.keyboard.press(key)
        assert int(size.input_value()) == before + change
    paint(page, (0.0, 0.1), (1.0, 0.1))
    expect(hint).to_contain_text("is painted")
    page.keyboard.press("Control+z")
    expect(hint).to_contain_text("With nothing painted")
    page.keyboard.press("Control+y")
    expect(hint).to_contain_text("is painted")
    page.keyboard.press("Control+Enter")
    finish(page)
    expect(frame(page)).to_be_visible()
    expect(go(page)).to_be_enabled()


# ---- without a browser


def test_a_mix_by_its_title() -> None:
    named = {"monet": "Monet", "vangogh": "Van Gogh"}.__getitem__
    assert mix_title(Recipe(mix=StyleMix.of("monet:0.2,vangogh:1")), named) == "Monet 20 %, Van Gogh 100 %"
    assert mix_title(Recipe(mix=StyleMix.of("monet")), named) == "Monet"
    assert mix_title(Recipe(mix=StyleMix.of("monet:0.5")), named) == "Monet 50 %"
    assert mix_title(Recipe(), named) == ""


def test_progress_never_ends_early_and_learns_what_stages_take() -> None:
    pace = Pace()
    watch = Stopwatch(expected=pace.expected("kind"), since=10.0)
    now = 10.0
    for stage, seconds in zip(STAGES, (1.0, 2.0, 8.0, 4.0, 1.0), strict=True):
        watch.enter(stage, now)
        begun = now
        for part in (0.25, 0.5, 0.75, 1.0):
            now = begun + seconds * part
            shares = watch.shares(now)
            assert sum(share for _, share, _ in shares) == pytest.approx(1)
            assert 0 <= watch.done(now) < 1
            assert watch.to_go(now) > 0
    watch.took[STAGES[-1]] = 1.0
    pace.learn("kind", watch.took)
    expected = pace.expected("kind")
    assert expected == pytest.approx(dict(zip(STAGES, (1.0, 2.0, 8.0, 4.0, 1.0), strict=True)))
    again = Stopwatch(expected=expected, since=0.0)
    again.enter("Laying in", 1.0)
    again.enter("Painting", 3.0)
    assert again.done(7.0) == pytest.approx(7 / 16)
    assert again.to_go(7.0) == pytest.approx(9)
    assert [progress.to_go(seconds) for seconds in (0.2, 7.4, 23, 100)] == [
        "about 1 s to go",
        "about 7 s to go",
        "about 25 s to go",
        "about 1.5 min to go",
    ]


def test_a_turn_says_how_many_come_before_and_does_not_count_what_is_idle() -> None:
    turn, free = worker.Turn(), threading.Event()
    turn.give(lambda: free.wait() and None)
    turn.give(lambda: None, idle=True)
    number = turn.give(lambda: None)
    assert turn.ahead(number) == 1
    free.set()
    assert [event for event in worker.watch(lambda: iter([1]), turn) if event] == [1]
    assert turn.ahead(number) < 0
