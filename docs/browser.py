"""A browser for the scripts that make the documents' figures, and the app's page in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, expect

from stylekit.errors import StyleError
from tests.browser import NAMES, launched, program, serve

LONGEST = 60_000  # milliseconds that the page may take to come


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium, from the system. Raises StyleError where there is none."""
    path = program()
    if path is None:
        raise StyleError(f"There is no browser: install one of {', '.join(NAMES)}.")
    with launched(path) as browser:
        yield browser


@contextmanager
def page_of_the_app(width: int, height: int) -> Iterator[Page]:
    """The app, served while it is looked at, in a window of so many pixels."""
    import app  # the report is printed without it

    with chromium() as browser, serve(app.build(app.Settings())) as url:
        page = browser.new_page(viewport={"width": width, "height": height})
        page.goto(url)
        expect(page.locator("#drop input[type=file]")).to_be_attached(timeout=LONGEST)
        expect(page.locator("#status")).not_to_be_empty(timeout=LONGEST)
        yield page
