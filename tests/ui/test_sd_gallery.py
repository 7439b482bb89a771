"""Every style of the gallery on a base in Stable Diffusion 1.5's layout, a random model of its classes, with no adapter trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client, handle_file
from PIL import Image
from playwright.sync_api import Page, expect

import app
from stylekit import __main__ as command
from stylekit.recipe import Recipe
from stylekit.studio import Studio
from stylekit.styles import StyleLibrary
from stylekit.ui.choices import style_choices
from tests.browser import WAIT, finish, serve, start, take

STYLES = [style.name for style in StyleLibrary.open()]
TWINS = [name for name in STYLES if name.endswith("-dreambooth")]  # differences to the pocket base's own weights
OFFERED = [name for name in STYLES if name not in TWINS]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    path = tmp_path_factory.mktemp("photo") / "cat.png"
    Image.open(root / "assets" / "photos" / "chelsea.jpg").convert("RGB").resize((96, 64)).save(path)
    return path


@pytest.fixture(scope="module")
def url(twin: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STYLEKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(Studio, "sketch", lambda *_, **__: None)  # the styles' tiles, which have tests of their own
        with serve(app.build(app.Settings(base=str(twin), size=64, teach=False, add_styles=False))) as address:
            yield address


def check(made: Path, photo: Path, style: str) -> None:
    with Image.open(made) as picture, Image.open(photo) as before:
        assert picture.size == before.size
        assert np.abs(np.asarray(picture.convert("RGB"), float) - np.asarray(before, float)).mean() > 1
    assert Recipe.from_png(made).mix.names == (style,)


@pytest.mark.parametrize("style", OFFERED)
def test_by_the_command_line(style: str, twin: Path, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLEKIT_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "out.png"
    asked = ["--style", style, "--base", str(twin), "--steps", "1", "--size", "64", "--guidance", "3", "--out", str(out)]
    assert command.main([str(small), *asked]) == 0
    check(out, small, style)
    assert Recipe.from_png(out).guidance_scale == 3


def test_by_the_endpoint(url: str, small: Path) -> None:
    client = Client(url, verbose=False)
    for style in OFFERED:
        made = client.predict(photo=handle_file(small), style=style, steps=1, guidance=2.0, sampler="dpm++", api_name="/stylize")
        check(Path(made), small, style)
        assert Recipe.from_png(made).sampler == "dpm++"
    with pytest.raises(Exception, match=r"has no adapter for the base .*give its card words"):
        client.predict(photo=handle_file(small), style=TWINS[0], steps=1, api_name="/stylize")


def test_by_the_page(open_page: Callable[..., Page], url: str, small: Path) -> None:
    page, titles = open_page(url), {style.name: style.title for style in StyleLibrary.open()}
    take(page, small)
    page.get_by_role("button", name="Advanced").click()
    for control in ("#guidance", "#sampler"):
        expect(page.locator(control)).to_be_visible()
    expect(page.locator("#quick")).to_be_hidden()  # there is no small autoencoder
    page.locator("#steps input").fill("1")
    page.locator("#steps input").press("Enter")
    expect(page.locator("#steps input")).to_have_value("1")
    for style in OFFERED:
        page.locator(f'#style input[value="{style}"]').check()
        start(page)
        expect(page.locator("#frame .sk-label")).to_contain_text(f"Made with {titles[style]}", timeout=3 * WAIT)
        finish(page)


def test_a_style_for_another_base_is_greyed_last_and_says_what_would_make_it_work(twin: Path) -> None:
    library = StyleLibrary.open()
    pocket_only = dataclasses.replace(library["monet"], name="pocket-only", adapters=library["monet"].adapters[:1], hand=None)
    choices = style_choices((pocket_only, *library), str(twin))
    missing = {choice["name"]: choice["missing"] for choice in choices}
    assert {name for name, said in missing.items() if said} == {"pocket-only", *TWINS}
    assert "give its card words" in missing["pocket-only"]
    assert "pocket" in missing["pocket-only"]
    assert {choice["name"] for choice in choices[-3:]} == {"pocket-only", *TWINS}
    assert not any(choice["missing"] for choice in style_choices((pocket_only, *library), "pocket"))
