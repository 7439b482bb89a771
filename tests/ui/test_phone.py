"""The page under fingers, 390 x 844: the painter within one screen, two fingers that zoom it, the gallery's cards compared by touch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

import app
from tests.browser import PHONE, WAIT, FakeEngine, begin_painting, button, serve

Served = tuple[str, FakeEngine, dict[str, Path]]
LENS = "['--sk-zoom', '--sk-x', '--sk-y'].map((n) => Number(document.querySelector('.sk-easel').style.getPropertyValue(n)))"


@pytest.fixture(scope="module")
def real() -> Iterator[str]:
    with serve(app.build(app.Settings())) as url:
        yield url


def fingers(page: Page, *paths: list[tuple[float, float]]) -> None:
    """Each finger along its own path, all at once, in pixels of the window."""
    touch = page.context.new_cdp_session(page)
    for step, places in enumerate(zip(*paths, strict=True)):
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(places)]
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove" if step else "touchStart", "touchPoints": points})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def settled(page: Page) -> None:
    """The page glides to what is shown; wait until it stands."""
    page.wait_for_function("() => { const y = scrollY, was = globalThis.was; globalThis.was = y; return y === was; }", polling=250)


@pytest.mark.parametrize("size", [(300, 200), (200, 300)])
def test_the_photo_and_all_tools_are_within_one_screen(
    open_page: Callable[..., Page], served: Served, engine: FakeEngine, tmp_path: Path, size: tuple[int, int]
) -> None:
    photo = tmp_path / "photo.png"
    Image.effect_noise(size, 60).convert("RGB").save(photo)
    page = open_page(served[0], PHONE, touch=True)
    begin_painting(page, photo)
    page.get_by_label("Add a style").select_option("ukiyoe")
    page.wait_for_timeout(700)  # after which it begins to glide
    settled(page)
    tools = page.locator("#painter :is(button, input, select, .sk-easel):visible")
    assert tools.count() > 20
    places = tools.evaluate_all("(all) => all.map((e) => [e.dataset.part ?? e.textContent, e.getBoundingClientRect()])")
    outside = [(name, box["top"], box["bottom"]) for name, box in places if box["top"] < 0 or box["bottom"] > PHONE[1]]
    assert outside == []
    assert page.locator(".sk-easel").evaluate("(e) => Math.max(e.offsetWidth, e.offsetHeight)") > 280
    expect(button(page, "Back to painting")).to_be_hidden()  # one is there already


def test_two_fingers_zoom_the_painter_and_one_paints_finer(
    open_page: Callable[..., Page], served: Served, engine: FakeEngine, pictures: dict[str, Path]
) -> None:
    page = open_page(served[0], PHONE, touch=True)
    begin_painting(page, pictures["photo.jpg"])
    page.wait_for_timeout(700)
    settled(page)
    box = page.locator(".sk-easel").bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    fingers(page, [(x - d, y) for d in (20, 30, 45, 60)], [(x + d, y) for d in (20, 30, 45, 60)])
    zoom, left, _ = page.evaluate(LENS)
    assert zoom == pytest.approx(3, abs=0.2)
    assert left == pytest.approx((1 - zoom) / 2, abs=0.1)
    expect(page.locator("#painter [data-part=hint]")).to_contain_text("Paint where")  # neither finger has painted
    fingers(page, [(x - 30 + d, y) for d in (0, 20, 40)], [(x + 30 + d, y) for d in (0, 20, 40)])
    assert page.evaluate(LENS)[1] == pytest.approx(left + 40 / box["width"], abs=0.03)
    fingers(page, [(box["x"] + 5, y), (x, y), (box["x"] + box["width"] - 5, y)])
    alpha = """([x, y]) => { const c = document.querySelector("#painter canvas");
      return c.getContext("2d").getImageData(Math.floor(x * c.width), Math.floor(y * c.height), 1, 1).data[3]; }"""
    seen = [page.evaluate(alpha, [part, 0.5]) for part in (0.05, 0.45, 0.95)]
    assert seen == [0, 255, 0]  # only the part that is in sight
    assert page.evaluate(alpha, [0.45, 0.5 + 0.08 * 1.5 / 2 - 0.02]) == 0  # and not as wide as a stroke on the whole photo
    for _ in range(6):
        if button(page, "Zoom out of the photo").is_enabled():
            button(page, "Zoom out of the photo").tap()
    assert page.evaluate(LENS) == [1, 0, 0]


def test_cards_of_the_gallery_compare_by_touch(open_page: Callable[..., Page], real: str) -> None:
    page = open_page(real, PHONE, touch=True)
    page.get_by_role("tab", name="Gallery").click()
    pair = page.locator(".sk-pair").nth(2)
    pair.scroll_into_view_if_needed()
    expect(pair.locator("img").last).to_be_visible(timeout=WAIT)
    settled(page)
    box = pair.bounding_box()
    assert box
    y = box["y"] + box["height"] / 2
    fingers(page, [(box["x"] + part * box["width"], y) for part in (0.3, 0.5, 0.7, 0.85)])
    at = "(e) => Number(getComputedStyle(e).getPropertyValue('--sk-at'))"
    assert pair.evaluate(at) == pytest.approx(0.85, abs=0.06)
    title = page.locator("#piece-label h2").inner_text()
    before = page.evaluate("scrollY")
    fingers(page, [(box["x"] + 60, y - d) for d in (0, 20, 50, 90, 140)])  # up: the page scrolls
    page.wait_for_function("(before) => scrollY > before + 60", arg=before)
    assert page.locator("#piece-label h2").inner_text() == title  # a swipe is no click


def test_lists_are_as_high_as_a_finger_needs_and_nothing_is_blank_below_the_example(open_page: Callable[..., Page], real: str) -> None:
    page = open_page(real, PHONE, touch=True)
    expect(page.locator("#frame img").first).to_be_visible()
    space = "document.documentElement.scrollHeight - document.querySelector('#frame figcaption').getBoundingClientRect().bottom - scrollY"
    assert page.evaluate(space) < 100
    page.get_by_role("button", name="Advanced").click()
    frame = "(all) => all.map((e) => { while (getComputedStyle(e).borderTopWidth !== '1px') e = e.parentElement; return e.offsetHeight; })"
    for tab, count in (("Stylize", 2), ("Series", 2), ("Gallery", 1), ("Evaluation", 1)):
        page.get_by_role("tab", name=tab).click()
        lists = page.get_by_role("combobox").and_(page.locator("input:visible"))
        expect(lists).to_have_count(count)
        assert all(44 <= height <= 48 for height in lists.evaluate_all(frame)), tab


def test_chosen_files_stand_in_line_with_their_buttons(open_page: Callable[..., Page], real: str, pictures: dict[str, Path]) -> None:
    page = open_page(real, PHONE, touch=True)
    for tab, field in (("Series", "#many-photos"), ("Teach", "#teach-pictures"), ("Evaluation", "#measure-photos")):
        page.get_by_role("tab", name=tab).click()
        page.locator(f"{field} input[type=file]").set_input_files([pictures["photo.jpg"], pictures["other.jpg"]])
        rows = page.locator(f"{field} tr")
        expect(rows).to_have_count(2)
        for row in rows.all():
            boxes = [part.bounding_box() for part in row.locator("span, a, button").all()]
            middles = [box["y"] + box["height"] / 2 for box in boxes if box]
            assert len(middles) == 4
            assert max(middles) - min(middles) < 3, tab
        assert row.locator("a").evaluate("(e) => e.offsetHeight") >= 44


def test_at_320_pixels_nothing_is_cut_off(open_page: Callable[..., Page], real: str, pictures: dict[str, Path]) -> None:
    page = open_page(real, (320, 640), touch=True)
    begin_painting(page, pictures["photo.jpg"])
    cut = """() => [...document.querySelectorAll("button, input, select, [role=tab]")].filter((e) => {
      const box = e.getBoundingClientRect();
      const within = e.matches("button") && e.scrollWidth > e.clientWidth + 1;
      return box.width && !e.closest(".sk-scroll, [aria-hidden=true]") && (box.left < 0 || box.right > innerWidth || within);
    }).map((e) => e.ariaLabel ?? e.textContent.trim())"""
    assert page.evaluate(cut) == []
    for tab in ("Series", "Gallery", "Teach", "Evaluation"):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(700)
        assert page.evaluate(cut) == [], tab
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, tab
