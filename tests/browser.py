"""A headless Chromium and a served page, for the tests that use the app as a person would."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import gradio as gr
import pytest
from playwright.sync_api import Browser, sync_playwright

from stylekit.ui import theme

NAMES = ("chromium", "chromium-browser", "google-chrome")
# no sandbox, since CI runs as root; the rest keeps the browser from calling home, which would hide a page that does
ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def missing(what: str) -> NoReturn:
    """Skip the test for want of something; in CI, where everything has to be there, fail it."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium, from the system."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        missing(f"no browser: install one of {', '.join(NAMES)}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=list(ARGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def serve(demo: gr.Blocks) -> Iterator[str]:
    """The address of `demo`, served as app.py serves it."""
    _, url, _ = demo.queue().launch(
        prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", max_file_size="20mb", **theme.launch_options()
    )
    try:
        yield url
    finally:
        demo.close()
