"""Selecting on the painter, without painting: by mouse, finger and keyboard, on a real photo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser import PHONE, WAIT, FakeEngine, begin_painting, button, paint, status

ALPHA = """([x, y]) => { const c = document.querySelector("#painter canvas");
  return c.getContext("2d").getImageData(Math.floor(x * c.width), Math.floor(y * c.height), 1, 1).data[3]; }"""


def painted(page: Page, *places: tuple[float, float]) -> list[bool]:
    return [page.evaluate(ALPHA, list(place)) > 128 for place in places]


def hint(page: Page) -> Locator:
    return page.locator("#painter .sk-hint")


@pytest.fixture
def flower(root: Path) -> Path:
    return root / "assets" / "photos" / "flower.jpg"


def test_a_thing_is_painted_by_one_click_and_its_edge_is_changed(page: Page, flower: Path, engine: FakeEngine) -> None:
    begin_painting(page, flower)
    button(page, "By a click").click()
    box = page.locator("#painter canvas").bounding_box()
    assert box
    page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    expect(hint(page)).to_contain_text("of the photo is painted", timeout=WAIT)
    assert painted(page, (0.5, 0.5), (0.4, 0.5), (0.1, 0.2), (0.9, 0.9)) == [True, True, False, False]
    button(page, "Invert").click()
    page.wait_for_function(f"({ALPHA})([0.1, 0.2]) > 128", timeout=WAIT)
    assert painted(page, (0.5, 0.5), (0.9, 0.9)) == [False, True]
    button(page, "Undo").click()  # selecting and what was done to its edge is one step
    page.wait_for_function(f"({ALPHA})([0.1, 0.2]) === 0", timeout=WAIT)
    assert painted(page, (0.5, 0.5)) == [False]


def test_a_named_thing_is_reached_by_the_keyboard_and_the_run_takes_it(page: Page, flower: Path, engine: FakeEngine) -> None:
    begin_painting(page, flower)
    button(page, "Subject").focus()
    page.keyboard.press("Enter")
    expect(hint(page)).to_contain_text("of the photo is painted", timeout=WAIT)
    before = hint(page).inner_text()
    button(page, "Grow").focus()
    for _ in range(3):
        page.keyboard.press("Enter")
        expect(hint(page)).to_contain_text("of the photo is painted", timeout=WAIT)
    assert int(before.split()[0]) < int(hint(page).inner_text().split()[0])
    page.get_by_role("button", name="Stylize").click()
    expect(status(page)).to_contain_text("Done in", timeout=WAIT)
    (recipe,) = engine.recipes
    (weight,) = recipe.mix.at((64, 43)).values()
    assert weight[21, 32] > 0.9
    assert weight[2, 2] < 0.1


def test_by_touch(open_page: Callable[..., Page], served: tuple[str, Any, Any], engine: FakeEngine, flower: Path) -> None:
    page = open_page(served[0], PHONE, touch=True)
    begin_painting(page, flower)
    button(page, "By a click").tap()
    place = page.locator("#painter canvas")
    place.scroll_into_view_if_needed()
    box = place.bounding_box()
    assert box
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(hint(page)).to_contain_text("of the photo is painted", timeout=WAIT)
    assert painted(page, (0.5, 0.5), (0.05, 0.1)) == [True, False]


def test_what_is_not_there_is_said_and_nothing_changes(page: Page, flower: Path, engine: FakeEngine) -> None:
    begin_painting(page, flower)
    button(page, "Sky").click()
    expect(hint(page)).to_contain_text("No sky was found", timeout=WAIT)
    assert painted(page, (0.5, 0.5), (0.1, 0.1)) == [False, False]
    expect(button(page, "Grow")).to_be_disabled()


def test_strokes_snap_to_edges_and_each_is_one_step(page: Page, flower: Path, engine: FakeEngine) -> None:
    begin_painting(page, flower)
    button(page, "Snap").click()
    rim = [(0.28, 0.6), (0.33, 0.725), (0.43, 0.81), (0.55, 0.81), (0.64, 0.725)]  # of the flower, half of the stroke is beside it
    beside, on = (0.255, 0.61), (0.5, 0.78)
    paint(page, *rim)
    paint(page, (0.05, 0.1), (0.2, 0.1))  # before the first one's edge is known
    page.wait_for_function(f"({ALPHA})([{beside[0]}, {beside[1]}]) < 40", timeout=WAIT)
    assert painted(page, on, (0.1, 0.1)) == [True, True]
    button(page, "Undo").click()
    page.wait_for_function(f"({ALPHA})([0.1, 0.1]) === 0", timeout=WAIT)
    assert painted(page, on, beside) == [True, False]
    button(page, "Undo").click()
    page.wait_for_function(f"({ALPHA})([{on[0]}, {on[1]}]) === 0", timeout=WAIT)
    button(page, "Snap").click()
    paint(page, *rim)
    page.wait_for_timeout(500)
    assert painted(page, on, beside) == [True, True]
