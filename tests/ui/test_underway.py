"""Cancel in the tabs of long work: the run itself says the last word, and nothing of it comes after that."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from PIL import Image

from stylekit.ui import evaluation, teaching
from stylekit.ui.underway import UnderWay


def visit(name: str) -> Any:
    return SimpleNamespace(session_hash=name)


def test_a_run_that_was_ended_takes_no_further_step_and_closes_what_it_did() -> None:
    closed = []

    def steps() -> Iterator[int]:
        try:
            yield from range(10)
        finally:
            closed.append(True)

    runs = UnderWay()
    with runs.begin("one") as mine, runs.begin("two") as other:
        taken = []
        for step in mine.until_ended(steps()):  # type: ignore[arg-type]
            taken.append(step)
            if step == 3:
                runs.end("one", "Cancelled.")
        assert taken == [0, 1, 2, 3]
        assert closed == [True]
        assert mine.ended == "Cancelled."
        assert not other.ended


def test_cancel_waits_until_the_run_has_said_so() -> None:
    runs, began, seen = UnderWay(), threading.Event(), []

    def run() -> None:
        with runs.begin("one") as mine:
            began.set()
            while not mine.ended:
                pass
            seen.append(mine.ended)

    thread = threading.Thread(target=run)
    thread.start()
    began.wait()
    runs.cancel("one", "Cancelled.")
    assert seen == ["Cancelled."]
    thread.join()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.new("RGB", (32, 32), "teal").save(path)
    return path


def test_an_evaluation_that_was_cancelled_says_so_last(tmp_path: Path, photo: Path) -> None:
    def evaluate(photos: Sequence[Path], *_: Any) -> Iterator[tuple[int, int, str]]:
        yield from ((made, 1000, "a picture") for made in range(1000))

    with gr.Blocks():
        tab = evaluation._lay_out({}, [("Monet", "monet")], ["lora"])
    actions = evaluation._Actions(tab, {}, evaluate, (), evaluation.Turn())
    run = actions.evaluate([str(photo)], ["monet"], ["lora"], visit("one"))
    next(run)
    actions.under_way.end("one", evaluation.say(evaluation.CANCELLED))
    (last,) = list(run)
    assert evaluation.CANCELLED in last[tab.status]
    assert tab.page not in last


def test_a_lesson_that_was_cancelled_says_so_last(photo: Path) -> None:
    def teach(title: str, pictures: Sequence[Path]) -> Iterator[None]:
        while True:
            yield None

    with gr.Blocks():
        tab = teaching._lay_out()
    actions = teaching._Actions(tab, teach, lambda name: {})
    run = actions.teach("Mine", [str(photo)], visit("one"))
    next(run), next(run)
    actions.under_way.end("one", teaching.NOTHING_KEPT)
    (last,) = list(run)
    assert teaching.NOTHING_KEPT in last[tab.status]
