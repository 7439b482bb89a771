"""The page for everyone: WCAG 2.2 AA as axe-core sees it, in light and dark, on desk and phone; keys, focus, targets for fingers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.base import AXE_FILE_PATH
from playwright.sync_api import Browser, Page, expect

import app
from tests.browser import DESKTOP, PHONE, WAIT, FakeEngine, begin_painting, button, contrast, frame, paint, serve, start, status, take

LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
TARGET = 44  # pixels that a finger needs


@pytest.fixture(scope="module")
def real() -> Iterator[str]:
    with serve(app.build(app.Settings(add_styles=True, teach=True, choose_base=True))) as url:
        yield url


def violations(page: Page, scheme: str) -> list[str]:
    """What axe-core has to say against the page as it is: rule and element. In the dark only colours differ."""
    page.evaluate(AXE_FILE_PATH.read_text(encoding="utf-8"))
    only = {"type": "tag", "values": LEVELS} if scheme == "light" else {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
    found = page.evaluate("(only) => axe.run(document, {runOnly: only}).then((r) => r.violations)", only)
    return [f"{rule['id']}: {node['target'][-1]} {node.get('failureSummary', '')[:200]}" for rule in found for node in rule["nodes"]]


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (DESKTOP, "dark"), (PHONE, "light")])
def test_axe_finds_nothing(browser: Browser, real: str, pictures: dict[str, Path], size: tuple[int, int], scheme: str) -> None:
    page = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)  # type: ignore[arg-type]
    page.set_default_timeout(WAIT)
    page.goto(real)
    expect(page.locator("#style img").first).to_be_visible(timeout=WAIT)
    expect(frame(page, "example")).to_be_visible()
    said = {"open": violations(page, scheme)}
    begin_painting(page, pictures["photo.jpg"])
    paint(page, (0.1, 0.2), (0.9, 0.2))
    page.get_by_role("button", name="Advanced").click()
    said["painting"] = violations(page, scheme)
    page.get_by_label("Paint or mix styles").uncheck()
    page.locator("#style input[value=charcoal]").check()
    start(page)
    expect(status(page)).to_contain_text("Done in", timeout=90_000)
    page.locator("#take details, #presets details").evaluate_all("(all) => all.forEach((fold) => { fold.open = true; })")
    said["result"] = violations(page, scheme)
    for name in ("Series", "Gallery", "Teach", "Evaluation"):
        page.get_by_role("tab", name=name).click()
        page.wait_for_timeout(500)
        said[name] = violations(page, scheme)
    page.close()
    assert said == {state: [] for state in said}


@pytest.mark.parametrize(("size", "scheme"), [(PHONE, "light"), (DESKTOP, "dark")])
def test_hints_in_fields_can_be_read(browser: Browser, real: str, size: tuple[int, int], scheme: Literal["light", "dark"]) -> None:
    """axe does not look at them: their contrast, and that no field cuts its hint off."""
    page = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    page.set_default_timeout(WAIT)
    page.goto(real)
    room = """(e) => { const pen = document.createElement("canvas").getContext("2d"), s = getComputedStyle(e);
      pen.font = s.font;
      return e.clientWidth - parseFloat(s.paddingLeft) - parseFloat(s.paddingRight) - pen.measureText(e.placeholder).width; }"""
    found = set()
    for tab in ("Series", "Gallery", "Teach", "Evaluation"):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(500)
        for field in page.locator(":is(input, textarea)[placeholder]:not([placeholder='']):visible").all():
            found.add(name := field.get_attribute("placeholder"))
            assert contrast(field, "::placeholder") >= 4.5, name
            assert field.evaluate(room) > 4, name
    page.close()
    assert len(found) >= 3


def test_fingers_find_targets_of_44_pixels(open_page: Callable[..., Page], real: str, pictures: dict[str, Path]) -> None:
    page = open_page(real, PHONE, touch=True)
    begin_painting(page, pictures["photo.jpg"])
    page.get_by_role("button", name="Advanced").click()
    small = """(least) => [...document.querySelectorAll("button, a[href], select, input:not([type=file])")].map((e) => {
      const label = e.closest("label"), box = (["radio", "checkbox"].includes(e.type) && label ? label : e).getBoundingClientRect();
      return [e.closest("[id]")?.id + " " + (e.ariaLabel ?? e.dataset.part ?? e.textContent.trim()), box.width, box.height];
    }).filter(([, width, height]) => width && height && (width < least || height < least))"""
    page.locator("#presets summary").click()
    assert page.evaluate(small, TARGET - 0.5) == []
    page.get_by_role("tab", name="Series").click()
    expect(page.locator("#ways-styles input").first).to_be_visible()
    assert page.evaluate(small, TARGET - 0.5) == []
    for tab, part in (("Gallery", ".sk-card"), ("Teach", "#teach"), ("Evaluation", "#measure-go")):
        page.get_by_role("tab", name=tab).click()
        expect(page.locator(part).first).to_be_visible()
        assert page.evaluate(small, TARGET - 0.5) == [], tab
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0], tab


def test_focus_is_seen(open_page: Callable[..., Page], served: tuple[str, FakeEngine, dict[str, Path]]) -> None:
    """What has the focus has an outline at least 2 pixels wide, or is drawn with one by what lies beside it."""
    page = open_page(served[0])
    take(page, served[2]["photo.jpg"])
    page.locator("#style input:checked").focus()
    page.keyboard.press("ArrowRight")
    outline = "(e) => { const s = getComputedStyle(e); return s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2; }"
    assert page.locator("#style input:checked ~ :is(img, .sk-blank)").evaluate(outline)
    for name in ("Change photo", "Random seed"):
        button(page, name).focus()
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Tab")
        assert button(page, name).evaluate(outline), name


@pytest.mark.parametrize("size", [(1280, 800), PHONE])
def test_the_bar_with_the_buttons_covers_nothing_that_has_the_focus(
    open_page: Callable[..., Page], served: tuple[str, FakeEngine, dict[str, Path]], size: tuple[int, int]
) -> None:
    page = open_page(served[0], size)
    take(page, served[2]["photo.jpg"])
    page.get_by_role("button", name="Advanced").click()
    page.locator("#presets summary").click()
    page.get_by_label("Working size").wait_for()
    where = """() => { const e = document.activeElement, name = e.ariaLabel || e.value || e.textContent;
      const box = (["radio", "checkbox"].includes(e.type) && e.closest("label") || e).getBoundingClientRect();
      const bar = document.getElementById("actions").getBoundingClientRect();
      const covered = box.top < 0 || box.bottom > Math.min(bar.top, innerHeight);
      return [Boolean(e.closest("#actions")), `${e.tagName} ${name.trim()}`, covered]; }"""
    for key in ("Tab", "Shift+Tab"):  # down to the bar, and from it up again
        walked = {}
        page.locator("#go" if key == "Shift+Tab" else "#change").focus()
        for _ in range(30):
            page.keyboard.press(key)
            page.wait_for_timeout(50)
            in_bar, name, covered = page.evaluate(where)
            if in_bar or name.startswith("BODY"):
                break
            walked[name] = covered
        assert len(walked) > 15
        assert [name for name, covered in walked.items() if covered] == []


def choose_by_key(page: Page, field: str, key: str, path: Path) -> None:
    """Open a field's dialogue by the keyboard and choose a file in it."""
    page.once("filechooser", lambda chooser: chooser.set_files(path))
    page.wait_for_timeout(300)  # until the browser hands its dialogues over
    page.locator(f"{field} .upload-container").focus()
    page.keyboard.press(key)


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_the_focus_goes_on_from_the_field_for_a_photo(
    open_page: Callable[..., Page], served: tuple[str, FakeEngine, dict[str, Path]], key: str
) -> None:
    page = open_page(served[0])
    choose_by_key(page, "#drop", key, served[2]["text.png"])
    expect(status(page)).to_contain_text("is not a picture")
    expect(page.locator("#drop .upload-container")).to_be_focused()  # to try again
    choose_by_key(page, "#drop", key, served[2]["photo.jpg"])
    expect(button(page, "Change photo")).to_be_focused()
    expect(page.locator("#photo img")).to_be_visible()
    page.keyboard.press("Tab")
    expect(button(page, "Example photo: other")).to_be_focused()
    places = page.locator("#more-photos button:visible").evaluate_all("(all) => all.map((e) => e.getBoundingClientRect().left)")
    assert places == sorted(places)  # the keyboard goes from left to right


def test_the_focus_stays_in_a_field_for_many_files(open_page: Callable[..., Page], real: str, pictures: dict[str, Path]) -> None:
    page = open_page(real)
    for tab, field in (("Series", "#many-photos"), ("Teach", "#teach-pictures"), ("Evaluation", "#measure-photos")):
        page.get_by_role("tab", name=tab).click()
        expect(page.locator(field)).to_be_visible()
        choose_by_key(page, field, "Enter", pictures["photo.jpg"])
        expect(page.locator(field).get_by_role("button", name="Add files")).to_be_focused()
        page.locator(field).get_by_role("button", name="Clear", exact=True).press("Enter")
        expect(page.locator(f"{field} .upload-container")).to_be_focused()


def test_folds_have_one_arrow_and_say_whether_they_are_open(open_page: Callable[..., Page], real: str) -> None:
    page = open_page(real)
    arrow = "(e) => { const s = getComputedStyle(e, '::after'); return [s.maskImage, s.width, s.rotate]; }"
    button(page, "Advanced").scroll_into_view_if_needed()  # that is its name: Gradio's arrow, a letter, would be read as a part of it
    expect(button(page, "Advanced")).to_have_attribute("aria-expanded", "false")
    folds = [button(page, "Advanced"), page.locator("#presets summary")]
    looks = [fold.evaluate(arrow) for fold in folds]
    assert "svg" in looks[0][0]
    assert looks[0] == looks[1]
    for fold in folds:
        fold.click()
    expect(button(page, "Advanced")).to_have_attribute("aria-expanded", "true")
    page.wait_for_timeout(300)
    assert [fold.evaluate(arrow)[2] for fold in folds] == ["180deg", "180deg"]
    between = "(e) => e.getBoundingClientRect().left - e.previousElementSibling.getBoundingClientRect().right"
    assert page.locator("#result").evaluate(between) >= 20


def test_the_frame_of_a_list_has_the_ring_of_the_focus(open_page: Callable[..., Page], real: str) -> None:
    page = open_page(real)
    page.get_by_role("tab", name="Series").click()
    page.locator("#many-format input").focus()
    page.keyboard.press("Tab")
    expect(page.locator("#many-size input")).to_be_focused()
    rings = """(e) => { const found = [];
      for (; e.id !== "many-size"; e = e.parentElement) {
        const s = getComputedStyle(e);
        if (s.outlineStyle !== "none" && parseFloat(s.outlineWidth)) found.push([s.borderTopWidth, s.outlineWidth]);
      }
      return found; }"""
    assert page.locator("#many-size input").evaluate(rings) == [["1px", "2px"]]
