"""Every style on the visitor's photo: the tiles of the page, with the real engine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

import app
from stylekit.base_card import POCKET
from stylekit.recipe import Recipe
from stylekit.stylizer import Stylizer
from stylekit.ui.choices import is_twin, style_choices
from stylekit.ui.visit.tiles import SIDE, Tiles, newest
from stylekit.ui.visitor_styles import VisitorStyles
from stylekit.ui.worker import Turn, watch
from tests.browser import WAIT, serve, start, status, take


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serve(app.build(app.Settings())) as address:
        yield address


def pictures_of(page: Page) -> dict[str, str]:
    """Style -> what its tile shows."""
    labels = page.locator("#style label")
    return dict(labels.evaluate_all("(all) => all.map((l) => [l.querySelector('input').value, l.querySelector('img')?.src])"))


def test_all_tiles_show_the_photo_and_then_another_one(open_page: Callable[..., Page], url: str, pictures: dict[str, Path]) -> None:
    page = open_page(url)
    before = pictures_of(page)
    assert "sketch" in before
    assert not [name for name in before if name.endswith("-dreambooth")]
    take(page, pictures["photo.jpg"])
    differ = "([before, count]) => [...document.querySelectorAll('#style img')].filter((i) => !before.includes(i.src)).length === count"
    page.wait_for_function(differ, arg=[list(before.values()), len(before)], timeout=300_000)
    first = pictures_of(page)
    expect(page.locator("#style legend")).to_contain_text("on your photo")
    assert len(set(first.values())) == len(before)
    sizes = page.locator("#style img").evaluate_all("(all) => all.map((i) => Math.max(i.naturalWidth, i.naturalHeight))")
    assert set(sizes) == {SIDE}
    take(page, pictures["other.jpg"])
    page.wait_for_function(differ, arg=[[*before.values(), *first.values()], len(before)], timeout=300_000)
    take(page, pictures["photo.jpg"])  # kept
    page.wait_for_function("(want) => document.querySelector('#style img').src === want", arg=next(iter(first.values())), timeout=WAIT)
    assert pictures_of(page) == first


def test_a_run_comes_first_and_the_tiles_go_on_after_it(open_page: Callable[..., Page], url: str, root: Path) -> None:
    page = open_page(url)
    before = pictures_of(page)
    take(page, root / "assets" / "photos" / "coffee.jpg")
    page.locator("#style input[value=engraving]").check()
    start(page)
    expect(status(page)).to_contain_text("Done in", timeout=90_000)
    page.wait_for_function(
        "(before) => [...document.querySelectorAll('#style img')].every((i) => !before.includes(i.src))",
        arg=list(before.values()),
        timeout=300_000,
    )
    expect(page.locator("#style input[value=engraving]")).to_be_checked()


def test_the_twins_are_of_one_style_learned_another_way(stylizer: Stylizer) -> None:
    styles = {style.name: style for style in stylizer.library}
    assert [name for name in styles if is_twin(styles[name], styles)] == ["popart-dreambooth", "sketch-dreambooth"]
    assert not is_twin(styles["sketch-dreambooth"], {"sketch-dreambooth"})  # alone it is a style like others
    assert {choice["name"] for choice in style_choices(tuple(styles.values()), POCKET) if "twin" not in choice} == {
        name for name in styles if not name.endswith("-dreambooth")
    }


def test_renderings_are_kept_and_a_style_that_fails_keeps_its_own_picture(stylizer: Stylizer, root: Path) -> None:
    made: list[str] = []

    def render(photo: Image.Image, recipe: Recipe) -> Image.Image | None:
        (name,) = recipe.mix.names
        made.append(name)
        assert max(photo.size) == SIDE
        return None if name == "monet" else stylizer.stylize(photo, recipe).image

    styles = [stylizer.library[name] for name in ("engraving", "monet", "charcoal")]
    tiles = Tiles(render, lambda: styles, lambda: "pocket", Turn("tiles"))
    path = str(root / "assets" / "photos" / "chelsea.jpg")
    shown = [event for event in tiles.fill(path, VisitorStyles()) if event is not None]
    assert [list(event) for event in shown] == [[], ["engraving"], ["engraving", "charcoal"]]
    made.clear()
    again = [event for event in tiles.fill(path, VisitorStyles()) if event is not None]
    assert again == [shown[-1]]
    assert made == ["monet"]
    assert list(tiles.fill(path + ".gone", VisitorStyles())) == [{}]
    assert list(tiles.fill(None, VisitorStyles())) == [{}]


def test_no_event_that_brings_a_photo_ends_the_filling_that_it_begins() -> None:
    """Listeners of one event run one after the other: the end would come when the new filling has begun, on a slow machine."""
    config = app.build(app.Settings()).get_config_file()
    ids = {part["props"].get("elem_id"): part["id"] for part in config["components"]}
    listeners = config["dependencies"]
    fillings = {one["id"] for one in listeners if ids["style"] in one["outputs"] and one["show_progress"] == "hidden" and one["queue"]}
    ends = {tuple(target) for one in listeners if fillings & set(one["cancels"]) for target in one["targets"]}
    begins = {tuple(target) for one in listeners if one["id"] in fillings for target in one["targets"]}
    assert (ids["go"], "click") in ends
    assert begins
    photos = {component for component, event in begins if event == "change"}
    brings = {tuple(target) for one in listeners if photos & set(one["outputs"]) for target in one["targets"]}
    assert brings
    assert not brings & ends


def test_a_filling_ends_when_the_next_one_of_its_visit_begins() -> None:
    fillings: dict[str, object] = {}
    first, other = newest(fillings, "a", iter("12345")), newest(fillings, "b", iter("12"))
    assert [next(first), next(first), next(other)] == ["1", "2", "1"]
    second = newest(fillings, "a", iter("xy"))
    assert next(second) == "x"
    assert list(first) == []
    assert [*second, *other] == ["y", "2"]
    assert not fillings


def test_what_nobody_waits_for_is_done_when_nothing_else_is_to_be_done() -> None:
    turn, done, go = Turn("idle"), [], threading.Event()
    turn.give(go.wait)
    for number in range(3):
        turn.give(lambda number=number: done.append(f"idle {number}"), idle=True)
    turn.give(lambda: done.append("asked for"))
    go.set()
    with closing(watch(lambda: iter(["last"]), turn, idle=True)) as events:
        assert [event for event in events if event] == ["last"]
    assert done == ["asked for", "idle 0", "idle 1", "idle 2"]
