"""The Evaluation tab in a real browser: a committed report to read and sort, and evaluations of one's own, fake and real."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import gradio as gr
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

import app
from eval.report import write_report
from eval.table import EvalReport
from stylekit.storage.paths import PHOTOS_FOLDER
from stylekit.stylizer import Stylizer
from stylekit.ui import evaluation
from stylekit.ui.visit.page import create_header
from tests.browser import PHONE, WAIT, contrast, serve

PHOTOS = PHOTOS_FOLDER
DESKTOP = (1280, 900)


LIMIT = {"style": "monet", "strength": 0.62, "photos": 12, "ssim": 0.704, "lpips": 0.12, "reached": 0.4, "share": 0.5, "beyond": "SSIM"}


FULL = {"ssim_full": 0.4, "lpips_full": 0.3, "reached_full": 0.7}


def write_fake_report(out: Path, title: str, seconds: float, limits: bool = False) -> None:
    """Three rows, one of them without a number for the style."""
    rows = [
        {"method": "identity", "style": "monet", "lpips": 0.0, "ssim": 1.0, "reached": 0.0, "seconds": 0.001},
        {"method": "lora", "style": "monet", "lpips": 0.25, "ssim": 0.6, "reached": 0.3, "seconds": seconds},
        {"method": "lora", "style": "popart", "lpips": 0.1, "ssim": 0.8, "seconds": 10.5},
    ]
    report = EvalReport(
        title=title,
        backbone="embedded",
        backbone_label="embedded <network>",
        standard=False,
        base="pocket",
        machine="2 CPU cores",
        photos=["a.jpg"],
        styles=["monet", "popart"],
        rows=[row | {"pictures": 1, "references": 40, "cfsd": 0.1 * i} for i, row in enumerate(rows)],
        missing=[["dreambooth", "monet", "no dreambooth adapter"]],
        limits=[FULL | LIMIT, FULL | LIMIT | {"style": "popart", "reached": None, "share": None}] if limits else [],
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / "notes.md").write_text("The worst is a cat.\n\n- **monet**: <b> is no tag\n- two\n")
    write_report(report, [], out, out, sheets=False)


class FakeEvaluate:
    """Three steps, as slowly as told, then a report."""

    def __init__(self) -> None:
        self.delay, self.closed_early = 0.01, 0
        self.asked: list[tuple[list[str], list[str], list[str]]] = []

    def __call__(self, photos: Sequence[Path], styles: Sequence[str], methods: Sequence[str], out: Path) -> Iterator[tuple[int, int, str]]:
        self.asked.append(([path.name for path in photos], list(styles), list(methods)))
        finished = False
        try:
            for step in range(1, 4):
                time.sleep(self.delay)
                yield step, 3, f"step {step}"
            write_fake_report(out, "Your photos", 3.25)
            finished = True
        finally:
            self.closed_early += not finished


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, FakeEvaluate]]:
    reports, fake = tmp_path_factory.mktemp("reports"), FakeEvaluate()
    write_fake_report(reports / "one", "First report", 2.0)
    write_fake_report(reports / "two", "Second report", 4.75, limits=True)
    (reports / "broken").mkdir()
    (reports / "broken" / "report.json").write_text("{")
    with gr.Blocks(analytics_enabled=False) as demo:
        create_header()
        evaluation.create_tab(
            reports=reports, styles=[("Monet", "monet"), ("Pop art", "popart")], methods=["identity", "lora"], evaluate=fake
        )
    with serve(demo) as url:
        yield url, fake


@pytest.fixture
def page(browser: Browser, served: tuple[str, FakeEvaluate]) -> Iterator[Page]:
    served[1].delay = 0.01
    context = browser.new_context(viewport={"width": DESKTOP[0], "height": DESKTOP[1]}, accept_downloads=True)
    found = context.new_page()
    found.set_default_timeout(WAIT)
    found.goto(served[0])
    expect(found.locator("#report-page table")).to_be_visible(timeout=WAIT)
    yield found
    context.close()


def column(page: Page, title: str) -> list[str]:
    """What the column says, from top to bottom."""
    heads = page.locator("#report-page th").all_inner_texts()
    index = next(i for i, text in enumerate(heads) if text.startswith(title))
    return [row.locator("td").nth(index).inner_text() for row in page.locator("#report-page tbody tr").all()]


def sort(page: Page, title: str) -> None:
    page.locator("#report-page th button").filter(has_text=title).first.click()


def test_a_report_is_there_and_sorts(page: Page) -> None:
    assert column(page, "seconds") == ["0.00", "2.00 ✓", "10.50 ✗"]
    assert column(page, "SSIM") == ["1.000", "0.600 ✗", "0.800 ✓"]
    assert column(page, "LPIPS to content") == ["0.000", "0.250", "0.100"]  # judged on the standard networks only
    sort(page, "SSIM")
    assert column(page, "SSIM") == ["0.600 ✗", "0.800 ✓", "1.000"]
    sort(page, "SSIM")
    assert column(page, "SSIM") == ["1.000", "0.800 ✓", "0.600 ✗"]
    sort(page, "style reached")
    assert column(page, "style reached") == ["0.00", "0.30", "–"]  # none is last
    sort(page, "style reached")
    assert column(page, "style reached") == ["0.30", "0.00", "–"]
    sort(page, "method")
    assert column(page, "method") == ["LoRA alone", "LoRA alone", "photo itself"]


def test_it_names_its_networks_shows_plots_and_what_is_missing(page: Page) -> None:
    expect(page.locator("#report-page")).to_contain_text("embedded <network>")
    expect(page.locator(".sk-notes p")).to_have_text("The worst is a cat.")
    expect(page.locator(".sk-notes li")).to_have_text(["monet: <b> is no tag", "two"])
    expect(page.locator(".sk-troubles")).to_contain_text("dreambooth of monet: no dreambooth adapter")
    plots = page.locator("#report-page figure img")
    assert plots.count() == 2
    assert all(plot.evaluate("image => image.naturalWidth") > 300 for plot in plots.all())
    hidden = page.locator("#report-page th").filter(has_text="CFSD")
    expect(hidden).to_be_hidden()
    page.get_by_role("button", name="All numbers").click()
    expect(hidden).to_be_visible()


def test_another_report_and_the_downloads(page: Page, tmp_path: Path) -> None:
    page.get_by_role("combobox", name="Report").click()
    page.get_by_role("option", name="Second report").click()
    expect(page.locator("#report-page tbody").first).to_contain_text("4.75")
    limits = page.locator(".sk-limits tbody tr")
    expect(limits).to_have_count(2)
    assert limits.nth(0).locator("td").all_inner_texts() == ["monet", "0.62", "0.704", "0.120", "0.40", "50%", "SSIM"]
    assert limits.nth(1).locator("td").all_inner_texts() == ["popart", "0.62", "0.704", "0.120", "–", "–", "SSIM"]
    expect(page.locator("#report-page")).to_contain_text("SSIM is over 0.7 and LPIPS under 0.3, means over 12 photos")
    sort(page, "seconds")  # sorting goes on working on what came later
    heads = page.locator("#report-page th").all_inner_texts()
    seconds = next(i for i, text in enumerate(heads) if text.startswith("seconds"))
    assert page.locator("#report-page tbody").first.locator("tr").first.locator("td").nth(seconds).inner_text() == "0.00"
    with page.expect_download() as started:
        page.locator("#report-csv").click()
    started.value.save_as(tmp_path / "report.csv")
    with (tmp_path / "report.csv").open() as file:
        assert [row["seconds"] for row in csv.DictReader(file)] == ["0.001", "4.75", "10.5"]
    with page.expect_download() as started:
        page.locator("#report-markdown").click()
    started.value.save_as(tmp_path / "report.md")
    assert (tmp_path / "report.md").read_text().startswith("# Second report")


def test_own_photos_are_measured(page: Page, served: tuple[str, FakeEvaluate]) -> None:
    about = page.locator("#evaluation p").first  # two plain sentences are above all numbers
    expect(about).to_be_in_viewport()
    expect(about).to_contain_text("How well each style keeps what is in a photo")
    assert about.inner_text().count(". ") == 1
    page.locator("#measure-photos input").set_input_files([PHOTOS / "coffee.jpg", PHOTOS / "chelsea.jpg"])
    expect(page.locator("#measure-photos")).to_contain_text("chelsea")
    page.get_by_label("Pop art").uncheck()
    page.locator("#measure-go").scroll_into_view_if_needed()
    page.locator("#measure-go").click()
    expect(page.locator("#measure-status")).to_contain_text("Done", timeout=WAIT)
    expect(page.locator("#report-bar")).to_be_in_viewport(timeout=WAIT)  # it scrolls to what was measured
    assert served[1].asked[-1] == (["coffee.jpg", "chelsea.jpg"], ["monet"], ["identity", "lora"])
    expect(page.locator("#report-page tbody")).to_contain_text("3.25")
    expect(page.get_by_role("combobox", name="Report")).to_have_value(evaluation.VISITOR_TITLE)
    page.get_by_role("combobox", name="Report").click()
    page.get_by_role("option", name="First report").click()
    expect(page.locator("#report-page tbody")).not_to_contain_text("3.25")
    page.get_by_role("combobox", name="Report").click()
    page.get_by_role("option", name=evaluation.VISITOR_TITLE).click()
    expect(page.locator("#report-page tbody")).to_contain_text("3.25")


def test_it_can_be_cancelled_and_tried_again(page: Page, served: tuple[str, FakeEvaluate]) -> None:
    fake = served[1]
    fake.delay, before = 0.6, fake.closed_early
    page.locator("#measure-photos input").set_input_files(PHOTOS / "coffee.jpg")
    expect(page.locator("#measure-photos")).to_contain_text("coffee")
    page.locator("#measure-go").click()
    expect(page.locator("#measure-status")).to_contain_text("step 1, 1 of 3")
    expect(page.locator("#measure-go")).to_be_disabled()
    page.locator("#measure-cancel").click()
    expect(page.locator("#measure-status")).to_contain_text("Cancelled")
    expect(page.locator("#measure-go")).to_be_enabled()
    fake.delay = 0.01
    page.locator("#measure-go").click()
    expect(page.locator("#measure-status")).to_contain_text("Done")
    assert fake.closed_early == before + 1  # by now: one run waits for the one before it to be closed


def test_mistakes_are_said_and_the_choices_stay(page: Page, tmp_path: Path) -> None:
    page.locator("#measure-go").click()
    expect(page.locator("#measure-status")).to_contain_text("There is no photo yet")
    (tmp_path / "text.png").write_text("no picture")
    page.locator("#measure-photos input").set_input_files(tmp_path / "text.png")
    expect(page.locator("#measure-photos")).to_contain_text("text")
    page.locator("#measure-go").click()
    expect(page.locator("#measure-status")).to_contain_text("text.png is not a picture stylekit can read")
    for name in ("Monet", "Pop art"):
        page.get_by_label(name).uncheck()
    page.locator("#measure-go").click()
    expect(page.locator("#measure-status")).to_contain_text("There is no style yet")
    expect(page.locator("#measure-photos")).to_contain_text("text")


def test_on_a_phone_only_the_table_scrolls_sideways(page: Page) -> None:
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    page.get_by_role("button", name="All numbers").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    table = page.locator(".sk-scroll:has(table)")
    assert table.evaluate("box => box.scrollWidth > box.clientWidth")
    said = "box => getComputedStyle(box, '::before').content"
    assert "Swipe sideways" in table.evaluate(said)
    page.set_viewport_size({"width": DESKTOP[0], "height": DESKTOP[1]})
    assert table.evaluate(said) == "none"


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_plots_are_as_large_as_their_letters_need_one_under_another(page: Page, size: tuple[int, int]) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    plots = page.locator("#report-page figure img")
    expect(plots).to_have_count(2)
    assert plots.evaluate_all("([one, two]) => one.getBoundingClientRect().bottom < two.getBoundingClientRect().top")
    for plot in plots.all():
        plot.scroll_into_view_if_needed()
        page.wait_for_function("(image) => image.complete", arg=plot.element_handle())
        wide, high = plot.evaluate("(image) => [image.clientWidth / image.naturalWidth, image.clientHeight / image.naturalHeight]")
        assert wide == pytest.approx(high, abs=0.01)
        assert wide >= evaluation.LEGIBLE - 0.01
    scrolls = "(image) => { const box = image.parentElement; box.scrollLeft = 40; return box.scrollLeft; }"
    assert [plot.evaluate(scrolls) for plot in plots.all()] == ([40, 40] if size == PHONE else [0, 0])
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_marks_of_targets_are_seen(browser: Browser, served: tuple[str, FakeEvaluate], scheme: Literal["light", "dark"]) -> None:
    page = browser.new_page(color_scheme=scheme)
    page.goto(served[0])
    for mark in (".sk-pass", ".sk-fail"):
        expect(page.locator(mark).first).to_be_visible(timeout=WAIT)
        assert contrast(page.locator(mark).first) >= 4.5, mark
    page.close()


def test_a_real_evaluation_on_the_page(browser: Browser, stylizer: Stylizer, tmp_path: Path) -> None:
    """The real engine, network and references."""
    for name in ("coffee", "chelsea"):
        with Image.open(PHOTOS / f"{name}.jpg") as photo:
            photo.resize((120, 90)).save(tmp_path / f"{name}.png")

    class Engine:
        base = "pocket"
        library, stylize = stylizer.library, stylizer.stylize

    with gr.Blocks(analytics_enabled=False) as demo:
        evaluation.create_tab(
            reports=tmp_path,
            styles=[("Sketch", "sketch")],
            methods=["identity", "hand"],
            evaluate=partial(app.evaluate, Engine()),  # type: ignore[arg-type]
            examples=sorted(tmp_path.glob("*.png")),
        )
    with serve(demo) as url:
        page = browser.new_page()
        page.goto(url)
        expect(page.locator("#report-page")).to_contain_text(evaluation.NO_REPORT, timeout=WAIT)
        page.locator("#measure-go").click()
        expect(page.locator("#measure-status")).to_contain_text("Done", timeout=3 * WAIT)
        assert column(page, "SSIM")[0] == "1.000"
        assert page.locator("#report-page figure img").count() == 4  # two plots, the best and the worst
        page.close()


def test_notes_have_bold_and_slanted_words() -> None:
    assert evaluation._notes("*Drawn* is **all**.\n\n- 2 * 3 * 4\n- <b>") == (
        "<p><i>Drawn</i> is <b>all</b>.</p><ul><li>2 * 3 * 4\n</li><li>&lt;b&gt;</li></ul>"
    )
