"""A headless Chromium, a served page and the moves of a visitor, for the tests that use the app as a person would."""

from __future__ import annotations

import base64
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import gradio as gr
import pytest
from PIL import Image, ImageFilter, ImageOps
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright
from starlette.middleware import Middleware

from stylekit.base_card import POCKET
from stylekit.recipe import Recipe
from stylekit.styles import LORA, Adapter, Style
from stylekit.stylizer import Stylized, StylizeStep
from stylekit.ui import stylize, theme
from stylekit.ui.guard import Guard
from stylekit.ui.limits import Limits
from stylekit.ui.parts.shelf import Shelf
from stylekit.ui.visit.front import Front
from stylekit.ui.visit.page import create_header

DESKTOP = (1280, 900)
PHONE = (390, 844)
WAIT = 60_000  # milliseconds for anything to appear, on a machine that does much else
KEPT_BY_PAGES = "cookies,local_storage,indexeddb,service_workers,cache_storage,file_systems"
WARM: WeakKeyDictionary[Browser, dict[tuple[tuple[int, int], bool], BrowserContext]] = WeakKeyDictionary()

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")  # the first has no window, and takes half the time
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


def program() -> str | None:
    """The system's browser."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium, from the system."""
    path = program()
    if path is None:
        missing(f"no browser: install one of {', '.join(NAMES)}")
    with launched(path) as browser:
        yield browser


@contextmanager
def launched(path: str) -> Iterator[Browser]:
    """The browser at `path`, headless."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=list(ARGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def serve(demo: gr.Blocks, limits: Limits | None = None) -> Iterator[str]:
    """The address of `demo`, served as app.py serves it."""
    middleware = [Middleware(Front), Middleware(Shelf), Middleware(Guard, limits=limits or Limits())]
    _, url, _ = demo.launch(
        prevent_thread_lock=True,
        quiet=True,
        server_name="127.0.0.1",
        max_file_size="20mb",
        app_kwargs={"middleware": middleware},
        **theme.launch_options(),
    )
    try:
        yield url
    finally:
        demo.close()


# ---- a page to try


class FakeEngine:
    """Inverts the photo in `total` steps, as slowly as told, none before `gate` is open, and keeps count of itself."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.delay, self.total, self.error, self.gate = 0.01, 2, None, None
        self.at_work = self.most_at_work = self.steps = self.closed_early = 0
        self.recipes: list[Recipe] = []

    delay: float
    error: Exception | None
    gate: threading.Event | None

    def __call__(self, photo: Image.Image, recipe: Recipe) -> Iterator[StylizeStep | Stylized]:
        self.recipes.append(recipe)
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        finished = False
        try:
            yield StylizeStep(step=0, total=self.total)
            for step in range(1, self.total + 1):
                time.sleep(self.delay)
                if self.gate:
                    self.gate.wait(WAIT / 1000)
                self.steps += 1
                yield StylizeStep(step=step, total=self.total, preview=ImageOps.invert(photo))
                if self.error:
                    raise self.error
            finished = True
            yield Stylized(image=ImageOps.invert(photo), recipe=recipe, seconds=self.delay * self.total)
        finally:
            self.at_work -= 1
            self.closed_early += not finished


def answered(demo: gr.Blocks) -> set[str]:
    """The `elem_id` of everything on a page that does something when it is clicked, changed or submitted."""
    config = demo.get_config_file()
    names = {part["id"]: part["props"].get("elem_id") for part in config["components"]}
    found = {names.get(component) for event in config["dependencies"] for component, _ in event["targets"]}
    return {str(name) for name in found if name}


def make_pictures(folder: Path) -> dict[str, Path]:
    """Uploads good and bad."""
    noise = Image.effect_noise((300, 200), 80).filter(ImageFilter.GaussianBlur(2))
    photo = Image.merge("RGB", (noise, noise.rotate(180), ImageOps.mirror(noise)))
    paths = {name: folder / name for name in ("photo.jpg", "other.jpg", "scan.tif", "text.png", "cut.jpg", "empty.png")}
    photo.save(paths["photo.jpg"], quality=90)
    photo.resize((160, 120)).save(paths["other.jpg"], quality=90)
    photo.save(paths["scan.tif"])
    paths["text.png"].write_text("This is no picture.")
    paths["cut.jpg"].write_bytes(paths["photo.jpg"].read_bytes()[:2000])
    paths["empty.png"].write_bytes(b"")
    return paths


def make_cards(pictures: dict[str, Path]) -> tuple[Style, ...]:
    """Three styles, one of them without pictures."""
    adapter = Adapter(base=POCKET, kind=LORA, path=Path("none.safetensors"), made="m", data="d", license="CC0-1.0")

    def card(name: str, title: str, pair: tuple[Path | None, Path | None]) -> Style:
        facts = {"name": name, "title": title, "blurb": f"{title} it is.", "period": "", "license": "CC0-1.0"}
        return Style(**facts, adapters=(adapter,), before=pair[0], preview=pair[1])

    photo, other = pictures["photo.jpg"], pictures["other.jpg"]
    return (
        card("sketch", "Pencil sketch", (photo, other)),
        card("ukiyoe", "Ukiyo-e", (other, photo)),
        card("bare", "No picture", (None, None)),
    )


@contextmanager
def fake_page(folder: Path) -> Iterator[tuple[str, FakeEngine, dict[str, Path]]]:
    """The Stylize tab over a fake engine: its address, the engine, and the pictures in `folder`."""
    engine, pictures = FakeEngine(), make_pictures(folder)
    with gr.Blocks(analytics_enabled=False) as demo:
        create_header()
        stylize.create_tab(styles=lambda: make_cards(pictures), run=engine, examples=[pictures["other.jpg"]])
    with serve(demo) as url:
        yield url, engine, pictures


@contextmanager
def visits(browser: Browser) -> Iterator[Callable[..., Page]]:
    """A function that opens a page for a visitor who was never here; at the end no script may have failed, and no other host been asked.

    The first visitors of a test find Gradio's scripts in the browser's cache, and nothing else of an earlier test: loading them anew is
    half of opening a page.
    """
    pages, hosts, failures = [], set(), []
    warm, used, cold = WARM.setdefault(browser, {}), set(), []

    def context_for(size: tuple[int, int], touch: bool) -> BrowserContext:
        wanted = {"viewport": {"width": size[0], "height": size[1]}, "accept_downloads": True, "has_touch": touch, "is_mobile": touch}
        if (size, touch) in used:  # another visitor beside the first
            cold.append(browser.new_context(**wanted))
            return cold[-1]
        used.add((size, touch))
        if (size, touch) not in warm:
            warm[size, touch] = browser.new_context(**wanted)
            warm[size, touch].set_default_timeout(WAIT)
        return warm[size, touch]

    def open_(url: str, size: tuple[int, int] = DESKTOP, touch: bool = False) -> Page:
        page = context_for(size, touch).new_page()
        page.set_default_timeout(WAIT)
        pages.append(page)
        page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.goto(url)
        expect(go(page)).to_be_visible(timeout=WAIT)
        expect(page.locator("#status")).not_to_be_empty(timeout=WAIT)
        expect(page.locator("#drop")).to_be_visible(timeout=WAIT)
        return page

    try:
        yield open_
    finally:
        origins = {"{0.scheme}://{0.netloc}".format(urlsplit(page.url)) for page in pages}
        for key in used:
            forget(warm[key], origins)
        for context in cold:
            context.close()
    assert hosts <= {"127.0.0.1", None}  # None: pictures inside the page
    assert failures == []


def forget(context: BrowserContext, origins: set[str]) -> None:
    """Close the context's pages and remove what they kept; what the browser has cached stays."""
    for page in context.pages:
        page.close()
    context.clear_cookies()
    blank = context.new_page()
    session = context.new_cdp_session(blank)
    for origin in origins:
        session.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": KEPT_BY_PAGES})
    blank.close()


# ---- the moves of a visitor


def status(page: Page) -> Locator:
    return page.locator("#status")


def upload(page: Page, path: Path) -> None:
    """By the drop zone, or by the button that takes its place once there is a photo."""
    expect(page.locator("#drop, #change").first).to_be_visible(timeout=WAIT)  # a slow machine draws the page piece by piece
    if page.locator("#drop").is_visible():
        page.locator("#drop input[type=file]").set_input_files(path)
        return
    with page.expect_file_chooser() as chooser:
        button(page, "Change photo").click()
    chooser.value.set_files(path)


def take(page: Page, path: Path) -> None:
    """Upload a good photo and wait until the page has it."""
    upload(page, path)
    expect(status(page)).to_contain_text(f"{path.name},", timeout=WAIT)
    expect(page.locator("#photo img")).to_be_visible()


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def go(page: Page) -> Locator:
    """The button that starts, whose name says in which style."""
    return page.locator("#go")


def frame(page: Page, kind: str = "result") -> Locator:
    """What hangs on the wall of the Stylize tab, if it is of that kind."""
    return page.locator(f"#frame .sk-frame[data-kind={kind}]")


def label(page: Page) -> Locator:
    return page.locator("#frame .sk-label")


def start(page: Page) -> None:
    go(page).click()


def finish(page: Page) -> None:
    expect(status(page)).to_contain_text("Done in", timeout=WAIT)
    expect(frame(page)).to_be_visible()
    expect(go(page)).to_be_enabled()
    expect(button(page, "Cancel")).to_be_disabled()


def download(page: Page, folder: Path) -> Path:
    with page.expect_download() as caught:
        page.locator("#frame .sk-download").click()
    path = folder / caught.value.suggested_filename
    caught.value.save_as(path)
    return path


def until(true: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


def paint(page: Page, *points: tuple[float, float]) -> None:
    """Draw a line with the mouse through `points`, as parts of the photo's width and height."""
    box = page.locator("#painter canvas").bounding_box()
    assert box
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=6)
    page.mouse.up()


def begin_painting(page: Page, photo: Path) -> None:
    """Take a photo and open the painter on it."""
    take(page, photo)
    page.get_by_label("Paint or mix styles").check()
    expect(page.locator("#painter canvas")).to_be_visible()
    page.wait_for_function("document.querySelector('#painter .sk-painter').dataset.state === 'photo'")


def drop(page: Page, path: Path, place: str = "#result") -> None:
    """Drop a file on the page, by itself beside every field."""
    data = page.evaluate_handle(
        """([name, text]) => {
          const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0)), data = new DataTransfer();
          data.items.add(new File([bytes], name, {type: "image/png"}));
          return data;
        }""",
        [path.name, base64.b64encode(path.read_bytes()).decode()],
    )
    page.dispatch_event(place, "drop", {"dataTransfer": data})


def slide(page: Page, part: Locator, value: float) -> None:
    """Move a slider as its keyboard would."""
    part.evaluate("(e, v) => { e.value = v; e.dispatchEvent(new Event('input')); e.dispatchEvent(new Event('change')); }", value)


def contrast(part: Locator, pseudo: str = "") -> float:
    """The ratio of the text's colour to what lies below it, as WCAG has it. pseudo: of a part such as `::placeholder`."""
    return part.evaluate(
        """(e, pseudo) => {
          const parts = (text) => text.match(/[\\d.]+/g).map(Number);
          const light = (rgb) => rgb.slice(0, 3).map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
            .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
          const style = getComputedStyle(e, pseudo || null);
          let below = e;
          while (below && (parts(getComputedStyle(below).backgroundColor)[3] ?? 1) === 0) below = below.parentElement;
          const ground = parts(getComputedStyle(below ?? document.body).backgroundColor), ink = parts(style.color);
          const opacity = (ink[3] ?? 1) * Number(style.opacity);
          const one = light(ink.slice(0, 3).map((v, i) => v * opacity + ground[i] * (1 - opacity))), two = light(ground);
          return (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
        }""",
        pseudo,
    )
