"""Zoom and pan of the picture in the frame: wheel with Ctrl, two fingers, buttons and keys; sharp when enlarged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser import PHONE, WAIT, FakeEngine, button, start, status, take

Served = tuple[str, FakeEngine, dict[str, Path]]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """2000 pixels, of which the screen gets 1280."""
    path = tmp_path_factory.mktemp("large") / "large.jpg"
    with Image.open(root / "assets" / "photos" / "china.jpg") as photo:
        photo.resize((2000, 1334)).save(path)
    return path


def view(page: Page) -> list[float]:
    """Zoom, and how far the picture is moved to the left and up, in parts of the frame."""
    names = "['--sk-zoom', '--sk-x', '--sk-y']"
    return page.evaluate(f"{names}.map((n) => Number(document.querySelector('#frame .sk-frame').style.getPropertyValue(n)))")


def result(page: Page, photo: Path) -> None:
    take(page, photo)
    start(page)
    expect(status(page)).to_contain_text("Done in", timeout=WAIT)
    expect(page.locator("#frame [data-part=at]")).to_be_visible()


def test_ctrl_and_wheel_zoom_to_the_pointer_and_the_wheel_alone_scrolls(page: Page, engine: FakeEngine, large: Path) -> None:
    result(page, large)
    box = page.locator("#frame .sk-hung").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + box["height"] * 0.25)
    page.mouse.wheel(0, -300)
    assert view(page)[0] == 1
    page.evaluate("scrollTo(0, 0)")
    page.keyboard.down("Control")
    page.mouse.wheel(0, -400)
    page.keyboard.up("Control")
    page.wait_for_function("document.querySelector('#frame .sk-frame').hasAttribute('data-zoomed')")
    zoom, x, y = view(page)
    assert zoom == pytest.approx(2.2255, abs=0.01)
    assert x == pytest.approx(0.75 * (1 - zoom), abs=0.02)
    assert y == pytest.approx(0.25 * (1 - zoom), abs=0.02)
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] * 0.6)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.7, steps=4)
    page.mouse.up()
    assert view(page)[1] == pytest.approx(x + 0.1, abs=0.02)
    assert page.locator("#frame [data-part=at]").input_value() == "50"  # the line stays where it is


def test_actual_size_is_the_picture_itself(page: Page, engine: FakeEngine, large: Path) -> None:
    result(page, large)
    after = page.locator("#frame [data-part=after]")
    assert after.evaluate("(i) => i.naturalWidth") == 1280
    button(page, "Actual size").click()
    page.wait_for_function("document.querySelector('#frame [data-part=after]').naturalWidth === 2000", timeout=WAIT)
    button(page, "Actual size").click()  # back
    button(page, "Actual size").click()
    expect(page.locator("#frame [data-part=level]")).to_have_text("100 %")
    assert after.bounding_box()["width"] == pytest.approx(2000, abs=2)  # type: ignore[index]
    button(page, "Zoom in").focus()
    before = view(page)
    page.keyboard.press("ArrowRight")
    assert view(page)[1] == pytest.approx(before[1] - 0.125)
    for _ in range(12):
        if button(page, "Zoom out").is_enabled():
            button(page, "Zoom out").click()
    assert view(page) == [1, 0, 0]


def test_two_fingers_zoom(open_page: Callable[..., Page], served: Served, engine: FakeEngine, large: Path) -> None:
    page = open_page(served[0], PHONE, touch=True)
    result(page, large)
    page.locator("#frame .sk-hung").scroll_into_view_if_needed()
    page.wait_for_timeout(800)  # the page glides to the result
    box = page.locator("#frame .sk-hung").bounding_box()
    assert box
    cx, cy = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    client = page.context.new_cdp_session(page)

    def touch(kind: str, *apart: float) -> None:
        points = [{"x": cx + side * d, "y": cy, "id": n} for d in apart for n, side in enumerate((-1, 1))]
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 30)
    for distance in (35, 45, 60, 75, 90):
        touch("touchMove", distance)
    touch("touchEnd")
    zoom, x, _ = view(page)
    assert zoom == pytest.approx(3, abs=0.2)
    assert x == pytest.approx(0.5 * (1 - zoom), abs=0.1)
    take_other = served[2]["other.jpg"]
    take(page, take_other)  # another photo is seen whole
    page.wait_for_function("!document.querySelector('#frame .sk-frame').hasAttribute('data-zoomed')")
