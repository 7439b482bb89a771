"""The page as it is opened: how much is loaded, what a link to it shows, what the first view holds."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Response, expect

import app
from tests.browser import WAIT, FakeEngine, go, serve, take

Served = tuple[str, FakeEngine, dict[str, Path]]
LAPTOP = (1280, 800)
MOST = 800_000  # bytes
GRADIOS = ("/assets/", "/static/", "/gradio_api/")  # its own scripts, fonts and the stream of events: the same for every page


@pytest.fixture(scope="module")
def real() -> Iterator[str]:
    with serve(app.build(app.Settings(add_styles=True, teach=True, choose_base=True))) as url:
        yield url


def test_the_first_load_is_light(open_page: Callable[..., Page], browser: object, real: str) -> None:
    """What the page itself brings, before compression: its HTML with scripts and styles inside, its theme, and the pictures in sight."""
    page = open_page(real)
    ours: list[Response] = []
    page.on("response", lambda r: ours.append(r) if not any(part in r.url for part in GRADIOS) else None)
    page.reload()
    expect(page.locator("#style img").first).to_be_visible(timeout=WAIT)
    page.wait_for_load_state("load")
    page.wait_for_timeout(1500)
    sizes = {response.url.removeprefix(real): len(response.body()) for response in ours if response.url.startswith(real)}
    assert sum("pictures/" in name for name in sizes) > 10  # not out of the browser's cache
    assert sizes[""] > 100_000
    assert sum(sizes.values()) < MOST, sizes


def test_a_link_shows_what_it_leads_to(real: str) -> None:
    straight = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    text = straight.open(real, timeout=20).read().decode()
    found = dict(re.findall(r'<meta (?:property|name)="([^"]+)" content="([^"]*)"', text))
    assert found["og:title"] == "stylekit"
    assert "Your photo as a drawing" in found["description"] == found["og:description"]
    with straight.open(found["og:image"], timeout=20) as picture:
        assert picture.headers["content-type"] == "image/webp"
        assert len(picture.read()) > 10_000


def test_the_first_view_holds_photo_styles_strength_paint_and_the_button(
    open_page: Callable[..., Page], real: str, pictures: dict[str, Path]
) -> None:
    page = open_page(real, LAPTOP)
    for place in ("#drop", "#photo img"):
        for part in (place, "#style label >> nth=0", "#style label >> nth=9", "#painting", "#strength input[type=range]", "#go"):
            expect(page.locator(part)).to_be_in_viewport(ratio=0.99, timeout=WAIT)
        assert page.evaluate("scrollY") == 0
        if place == "#drop":
            before = page.locator("#drop").bounding_box()
            take(page, pictures["photo.jpg"])
            after = page.locator("#photo").bounding_box()
            assert before
            assert after
            assert after["width"] * after["height"] < before["width"] * before["height"] / 4  # it shrinks once it holds a photo
    expect(go(page)).to_be_enabled()
