"""The Stylize tab in a real browser: against a fake engine that can be slow or fail, and once against the real one."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import gradio as gr
import numpy as np
import pillow_heif
import psutil
import pytest
from huggingface_hub.utils import get_session
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
    frame,
    go,
    label,
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
    expect(label(page)).to_contain_text("Ukiyo-e")
    button(page, "Random seed").click()
    expect(page.get_by_label("Seed", exact=True)).not_to_have_value("77")


def test_steps_are_shown_while_it_runs(page: Page, engine: FakeEngine, pictures: dict[str, Path]) -> None:
    engine.total, engine.gate = 3, threading.Event()  # a step that passes can pass unseen on a busy machine
    take(page, pictures["photo.jpg"])
    start(page)
    expect(status(page)).to_contain_text("step 1 of 3", timeout=WAIT)
    expect(frame(page, "live").locator("img:visible")).to_be_visible()
    expect(go(page)).to_be_disabled()
    engine.gate.set()
    finish(page)


def test_cancel_stops_the_engine_and_the_next_run_waits_for_it(page: Page, engine: FakeEngine, pictures: dict[str, Path]) -> None:
    engine.delay, engine.total = 0.5, 40
    take(page, pictures["photo.jpg"])
    for _ in range(2):
        start(page)
        expect(status(page)).to_contain_text("step ", timeout=WAIT)
        button(page, "Cancel").click()
        expect(status(page)).to_contain_text("Cancelled", timeout=WAIT)
        expect(go(page)).to_be_enabled()
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
    expect(status(page)).to_contain_text("step ", timeout=WAIT)
    page.close()
    until(lambda: engine.closed_early == 1)
    assert engine.steps < 150


@pytest.mark.parametrize(("name", "sentence"), [("text.png", TEXT_PNG), ("cut.jpg", CUT_JPEG), ("empty.png", EMPTY_PNG)])
def test_a_bad_upload_is_told_and_the_photo_before_it_stays(page: Page, pictures: dict[str, Path], name: str, sentence: str) -> None:
    upload(page, pictures[name])
    expect(status(page)).to_contain_text(sentence, timeout=WAIT)
    expect(page.get_by_test_id("toast-body")).to_have_count(0)  # it is said in one place
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


def test_a_phones_photo_with_a_name_in_any_script(page: Page, pictures: dict[str, Path], tmp_path: Path) -> None:
    photo = tmp_path / "été 星 2024 (1).heic"
    with Image.open(pictures["photo.jpg"]) as picture:
        pillow_heif.from_pillow(picture.convert("RGB")).save(photo)
    take(page, photo)
    page.get_by_role("radio", name="Ukiyo-e").check()
    start(page)
    finish(page)
    assert download(page, tmp_path).name == "été-星-2024-1-ukiyoe.png"


def test_a_range_that_had_to_be_found_is_told(page: Page, tmp_path: Path) -> None:
    Image.fromarray(np.tile(np.arange(0, 4096, 16, dtype=np.uint16), (200, 1))).save(tmp_path / "deep.png")
    take(page, tmp_path / "deep.png")
    expect(status(page)).to_contain_text("deep.png: its greatest value is 4080 and 4095 is taken as white")


def test_example_photo_and_style_by_picture(page: Page, engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    page.get_by_role("button", name="Example photo: other").click()
    expect(status(page)).to_contain_text("160 × 120", timeout=WAIT)
    chosen = page.get_by_role("radio", name="Ukiyo-e")
    expect(page.get_by_role("radio", name="Pencil sketch")).to_be_checked()
    chosen.check()
    expect(chosen).to_be_checked()
    expect(go(page)).to_have_text("Stylize in Ukiyo-e", timeout=WAIT)
    expect(label(page)).to_contain_text("Your photo")  # and not another one's example
    start(page)
    finish(page)
    assert engine.recipes[-1].mix.names == ("ukiyoe",)
    expect(label(page)).to_contain_text("160 × 120 pixels")
    page.get_by_role("radio", name="Pencil sketch").check()
    expect(go(page)).to_have_text("Stylize in Pencil sketch", timeout=WAIT)
    expect(label(page)).to_contain_text("Made with Ukiyo-e")
    start(page)
    expect(label(page)).to_contain_text("Made with Pencil sketch", timeout=WAIT)
    expect(label(page)).to_contain_text("160 × 120 pixels")
    assert "Traceback" not in capsys.readouterr().err


def test_without_a_photo_it_says_so(page: Page) -> None:
    start(page)
    expect(status(page)).to_contain_text("There is no photo yet", timeout=WAIT)
    expect(go(page)).to_be_enabled()


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
    names = ("photo", "style", "go", "frame", "frame .sk-download")
    tops = page.evaluate("(all) => all.map((name) => document.querySelector(`#${name}`).getBoundingClientRect().y)", names)
    assert tops == sorted(tops)
    for name in ("change", "style", "strength", "seed", "dice", "steps", "size", "go", "cancel", "frame", "frame .sk-download"):
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


def test_requests_to_the_hub_are_not_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLEKIT_SIZE", "x")  # it gets no further than the log
    name = type(get_session()).__module__.partition(".")[0]  # the HTTP library of this huggingface_hub
    before = logging.getLogger(name).level
    try:
        logging.getLogger(name).setLevel(logging.INFO)
        with pytest.raises(SystemExit):
            app.main()
        assert logging.getLogger(name).level == logging.WARNING
    finally:
        logging.getLogger(name).setLevel(before)


def test_a_port_in_use_ends_the_app_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("STYLEKIT_PORT", str(taken.getsockname()[1]))
        with pytest.raises(SystemExit, match=r"^stylekit: The page could not be opened: choose another STYLEKIT_PORT"):
            app.main()


@pytest.mark.parametrize(
    ("said", "running", "stays"),
    [("localhost is not accessible", True, True), ("localhost is not accessible", False, False), ("no", True, False)],
)
def test_a_page_that_is_slow_to_answer_its_own_server_is_served(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, said: str, running: bool, stays: bool
) -> None:
    def slow(demo: gr.Blocks, **_: object) -> None:
        demo.is_running = running
        raise ValueError(f"When {said}, a shareable link must be created.")

    waited: list[gr.Blocks] = []
    monkeypatch.setattr(gr.Blocks, "launch", slow)
    monkeypatch.setattr(gr.Blocks, "block_thread", lambda demo: waited.append(demo))
    demo = gr.Blocks(analytics_enabled=False)
    with nullcontext() if stays else pytest.raises(ValueError, match=said):
        app.launch(demo, app.Settings())
    assert waited == [demo] * stays
    assert ("did not answer within 3 seconds" in caplog.text) is stays


def test_a_wrong_base_is_told_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    app.build(app.Settings(base="/nowhere"))
    until(lambda: "There is no base '/nowhere'" in caplog.text)
    assert "Traceback" not in caplog.text


def test_watch_gives_the_items_and_signs_of_life() -> None:
    def slow() -> Iterator[int]:
        yield 1
        time.sleep(3 * worker.BEAT)
        yield 2

    seen = list(worker.watch(slow, worker.Turn()))
    assert [item for item in seen if item is not None] == [1, 2]
    assert seen.count(None) >= 1


def test_watch_passes_an_exception_on_and_frees_the_turn() -> None:
    def fails() -> Iterator[int]:
        yield 1
        raise SettingError("no")

    turn = worker.Turn()
    with pytest.raises(SettingError, match="no"):
        list(worker.watch(fails, turn))
    assert [item for item in worker.watch(lambda: iter([1]), turn) if item is not None] == [1]


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

    turn = worker.Turn()
    first = worker.watch(lambda: work("first"), turn)
    assert next(first) == 0
    first.close()
    assert [item for item in worker.watch(lambda: work("second"), turn) if item is not None] == [0, 1, 2, 3, 4]
    assert events == ["first starts", "first ends", "second starts", "second ends"]


def test_closing_watch_while_it_waits_for_its_turn_starts_nothing() -> None:
    started: list[bool] = []
    turn, free = worker.Turn(), threading.Event()
    turn.give(lambda: free.wait() and None)
    waiting = worker.watch(lambda: iter([started.append(True)]), turn)
    assert next(waiting) is None
    waiting.close()
    free.set()
    assert [item for item in worker.watch(lambda: iter([1]), turn) if item is not None] == [1]
    assert started == []


def test_all_that_is_watched_runs_on_one_thread() -> None:
    def where() -> Iterator[str]:
        yield str(threading.get_ident())

    turn = worker.Turn()
    seen = [item for _ in range(4) for item in worker.watch(where, turn) if item is not None]
    assert len(seen) == 4
    assert len(set(seen)) == 1
    assert seen[0] != str(threading.get_ident())


def test_freed_memory_goes_back_to_the_system() -> None:
    if worker._glibc("malloc_trim") is None:
        missing("no glibc")
    process = psutil.Process()
    blocks = [bytearray(4000) for _ in range(50_000)]  # 200 MB
    kept = blocks[::100]  # between them the C library keeps what is freed
    full = process.memory_info().rss
    del blocks
    worker.release_memory()
    assert process.memory_info().rss < full - 100 * 2**20
    assert len(kept) == 500


def test_a_turn_releases_memory_after_each_job(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(worker, "release_memory", lambda: done.append("released"))
    turn = worker.Turn()
    for name in ("first", "second"):
        list(worker.watch(lambda name=name: iter([done.append(name)]), turn))  # type: ignore[misc]
    until(lambda: len(done) == 4)
    assert done == ["first", "released", "second", "released"]


def test_threads_share_few_arenas(root: Path) -> None:
    if worker._glibc("mallopt") is None:
        missing("no glibc")
    count = """
import ctypes, sys, threading
from stylekit.ui import worker
if sys.argv[1] == "shared":
    worker.share_arenas()
done = threading.Barrier(9)
def work():
    kept = [bytearray(2000) for _ in range(1000)]
    done.wait()
    done.wait()
    del kept
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
done.wait()
ctypes.CDLL(None).malloc_stats()
done.wait()
"""

    def arenas(mode: str) -> int:
        ran = subprocess.run([sys.executable, "-c", count, mode], cwd=root, capture_output=True, text=True, check=True)
        return ran.stderr.count("Arena ")

    assert arenas("shared") <= worker.ARENAS < arenas("apart")
