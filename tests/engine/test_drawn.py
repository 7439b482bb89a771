"""Styles that are drawn by hand, through the Stylizer: on the real pocket base with the real cards."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylekit.errors import SettingError, StyleError, UnknownStyleError
from stylekit.hand.hand import Hand
from stylekit.maps import WeightMap
from stylekit.mix import StyleMix
from stylekit.recipe import FORMAT, Recipe
from stylekit.styles import StyleLibrary, card_text, read_style
from stylekit.stylizer import DRAWING, PAINTING, Stylized, Stylizer, StylizeStep

PAINTED, DRAWN = "vangogh", "engraving"  # drawn on what the model painted; drawn from the photo
ALL = [style.name for style in StyleLibrary.open() if style.hand is not None]


@pytest.fixture(scope="module")
def chelsea(root: Path) -> Image.Image:
    return Image.open(root / "assets" / "photos" / "chelsea.jpg").convert("RGB").resize((240, 160), Image.Resampling.LANCZOS)


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture, np.float32)


def recipe(style: str | dict[str, object], **changes: object) -> Recipe:
    return Recipe(mix=StyleMix.of(style)).with_(**changes)  # type: ignore[arg-type]


def left(size: tuple[int, int]) -> WeightMap:
    values = np.zeros((size[1], size[0]), np.float32)
    values[:, : size[0] // 2] = 1
    return WeightMap.of(values)


def test_the_gallery_is_drawn() -> None:
    assert {"monet", "vangogh", "ukiyoe", "popart", "sketch", "minimalism"} <= set(ALL)


@pytest.mark.parametrize("style", ALL)
def test_every_drawn_style_changes_the_photo_and_repeats(stylizer: Stylizer, chelsea: Image.Image, style: str) -> None:
    first = stylizer.stylize(chelsea, recipe(style, seed=5))
    assert first.image.size == chelsea.size
    assert np.abs(pixels(first.image) - pixels(chelsea)).mean() > 8
    again = stylizer.stylize(chelsea, Recipe.from_json(first.recipe.to_json())).image
    assert again.tobytes() == first.image.tobytes()


@pytest.mark.parametrize("style", [PAINTED, DRAWN])
def test_the_dial_goes_steadily_from_the_photo_to_the_drawing(stylizer: Stylizer, chelsea: Image.Image, style: str) -> None:
    pictures = [stylizer.stylize(chelsea, recipe(style, strength=s)).image for s in (0, 0.25, 0.5, 0.75, 1)]
    assert pictures[0].tobytes() == chelsea.tobytes()
    away = [float(np.abs(pixels(p) - pixels(chelsea)).mean()) for p in pictures]
    steps = [float(np.abs(pixels(a) - pixels(b)).mean()) for a, b in pairwise(pictures)]
    assert away == sorted(away)
    assert max(steps) < 0.7 * away[-1]  # no jump


@pytest.mark.parametrize("style", [PAINTED, DRAWN])
def test_what_is_not_painted_keeps_its_pixels(stylizer: Stylizer, chelsea: Image.Image, style: str) -> None:
    for changes in ({"mix": StyleMix.of({style: left(chelsea.size)})}, {"mix": StyleMix.of(style), "strength": left(chelsea.size)}):
        result = pixels(stylizer.stylize(chelsea, Recipe(**changes)).image)  # type: ignore[arg-type]
        half = chelsea.width // 2
        assert np.array_equal(result[:, half:], pixels(chelsea)[:, half:])
        assert np.abs(result - pixels(chelsea))[:, : half - 20].mean() > 8


def test_two_hands_share_a_picture(stylizer: Stylizer, chelsea: Image.Image) -> None:
    """Left the one and right the other, as if each had the picture to itself; mixed everywhere it is neither of them."""
    right = WeightMap.of(1 - left(chelsea.size).array)
    beside = pixels(stylizer.stylize(chelsea, recipe({DRAWN: left(chelsea.size), "stainedglass": right})).image)
    one, other = (pixels(stylizer.stylize(chelsea, recipe(style)).image) for style in (DRAWN, "stainedglass"))
    far = chelsea.width // 4
    assert np.abs(beside - one)[:, :far].mean() < np.abs(beside - other)[:, :far].mean() / 3
    assert np.abs(beside - other)[:, -far:].mean() < np.abs(beside - one)[:, -far:].mean() / 3
    mixed = pixels(stylizer.stylize(chelsea, recipe({DRAWN: 0.5, "stainedglass": 0.5})).image)
    assert min(np.abs(mixed - one).mean(), np.abs(mixed - other).mean()) > 5


def test_a_style_that_is_not_drawn_keeps_its_place_beside_one_that_is(stylizer: Stylizer, chelsea: Image.Image) -> None:
    twin, right = "sketch-dreambooth", WeightMap.of(1 - left(chelsea.size).array)
    alone = pixels(stylizer.stylize(chelsea, recipe(twin)).image)
    silent = pixels(stylizer.stylize(chelsea, recipe({twin: 1.0, DRAWN: 0.0})).image)
    assert np.array_equal(silent, alone)
    beside = pixels(stylizer.stylize(chelsea, recipe({twin: left(chelsea.size), DRAWN: right})).image)
    far = chelsea.width // 4
    assert np.abs(beside - alone)[:, :far].mean() < 0.5 * np.abs(pixels(chelsea) - alone)[:, :far].mean()


def test_seed_and_detail_change_the_marks(stylizer: Stylizer, chelsea: Image.Image) -> None:
    plain = stylizer.stylize(chelsea, recipe(PAINTED)).image
    assert stylizer.stylize(chelsea, recipe(PAINTED, seed=1)).image.tobytes() != plain.tobytes()
    bold = stylizer.stylize(chelsea, recipe(PAINTED, detail=2.0)).image
    fine = stylizer.stylize(chelsea, recipe(PAINTED, detail=0.5)).image

    def grain(picture: Image.Image) -> float:
        """How quickly light changes from pixel to pixel."""
        light = pixels(picture.convert("L"))
        return float(np.abs(np.diff(light, axis=1)).mean() / light.std())

    assert grain(bold) < grain(plain) < grain(fine)


def test_without_the_hand_the_model_has_the_last_word(stylizer: Stylizer, chelsea: Image.Image) -> None:
    events = list(stylizer.steps(chelsea, recipe(PAINTED, hand=False)))
    assert {event.stage for event in events if isinstance(event, StylizeStep)} == {PAINTING}
    bare, drawn = events[-1], stylizer.stylize(chelsea, recipe(PAINTED))
    assert isinstance(bare, Stylized)
    assert np.abs(pixels(bare.image) - pixels(drawn.image)).mean() > 5
    with pytest.raises(UnknownStyleError, match="no adapter for the base pocket"):
        stylizer.stylize(chelsea, recipe(DRAWN, hand=False))


def test_painting_then_drawing_are_told(stylizer: Stylizer, chelsea: Image.Image) -> None:
    stages = [event.stage for event in stylizer.steps(chelsea, recipe(PAINTED)) if isinstance(event, StylizeStep)]
    assert stages == sorted(stages, key=(PAINTING, DRAWING).index)
    assert set(stages) == {PAINTING, DRAWING}
    only = [event.stage for event in stylizer.steps(chelsea, recipe(DRAWN)) if isinstance(event, StylizeStep)]
    assert set(only) == {DRAWING}  # no model is asked


def test_a_drawing_can_be_cancelled(stylizer: Stylizer, chelsea: Image.Image) -> None:
    before = stylizer.stylize(chelsea, recipe(PAINTED)).image
    steps = stylizer.steps(chelsea, recipe(PAINTED))
    for event in steps:
        if isinstance(event, StylizeStep) and event.stage == DRAWING:
            break
    steps.close()  # type: ignore[attr-defined]
    assert stylizer.stylize(chelsea, recipe(PAINTED)).image.tobytes() == before.tobytes()


def test_a_large_photo_comes_back_large_and_crisp(stylizer: Stylizer, chelsea: Image.Image) -> None:
    """The result has detail that no enlargement of a small result has, and is the same picture."""
    large = chelsea.resize((1500, 1000), Image.Resampling.LANCZOS)
    result = stylizer.stylize(large, recipe(DRAWN, size=256)).image
    assert result.size == large.size
    small = result.resize((375, 250), Image.Resampling.BOX)
    again = small.resize(large.size, Image.Resampling.BICUBIC)
    assert np.abs(pixels(result) - pixels(again)).mean() > 5
    direct = stylizer.stylize(large.resize((750, 500), Image.Resampling.LANCZOS), recipe(DRAWN, size=256)).image
    assert np.abs(pixels(direct.resize((75, 50), Image.Resampling.BOX)) - pixels(result.resize((75, 50), Image.Resampling.BOX))).mean() < 12


@pytest.mark.parametrize("size", [(16, 16), (17, 33), (310, 20)])
@pytest.mark.parametrize("style", [PAINTED, DRAWN, "popart"])
def test_small_and_narrow_photos_are_drawn(stylizer: Stylizer, style: str, size: tuple[int, int]) -> None:
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8))
    assert stylizer.stylize(photo, recipe(style, size=128)).image.size == size


def test_what_lies_in_memory_does_not_show(root: Path, tmp_path: Path) -> None:
    """A narrow photo is painted the same in a process whose fresh memory is full of huge numbers: every kernel writes before it reads."""
    code = f"""
import numpy as np
from PIL import Image
from stylekit.recipe import Recipe
from stylekit.stylizer import Stylizer
photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (33, 17, 3), dtype=np.uint8))
print(Stylizer.open().stylize(photo, Recipe(mix={{"{PAINTED}": 1.0}}, size=128)).image.tobytes().hex())
"""
    pictures = []
    for tunables in ("", "glibc.malloc.perturb=128:glibc.malloc.mmap_threshold=4294967296"):
        environment = os.environ | {"GLIBC_TUNABLES": tunables, "STYLEKIT_CACHE": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        pictures.append(done.stdout)
    assert pictures[0] == pictures[1]


def test_the_photos_colours_and_structure_return(stylizer: Stylizer, chelsea: Image.Image) -> None:
    drawn = pixels(stylizer.stylize(chelsea, recipe("ukiyoe")).image)
    kept = pixels(stylizer.stylize(chelsea, recipe("ukiyoe", keep_colours=1.0)).image)
    whole = pixels(stylizer.stylize(chelsea, recipe("ukiyoe", structure=1.0)).image)
    photo = pixels(chelsea)

    def hue(array: np.ndarray) -> np.ndarray:
        return array - array.mean(-1, keepdims=True)

    assert np.abs(hue(kept) - hue(photo)).mean() < 0.7 * np.abs(hue(drawn) - hue(photo)).mean()
    edges = [np.abs(np.diff(array.mean(-1), axis=1)).ravel() for array in (photo, drawn, whole)]
    assert np.corrcoef(edges[0], edges[2])[0, 1] > np.corrcoef(edges[0], edges[1])[0, 1]


def test_a_base_without_the_adapter_has_the_style_drawn_from_the_photo() -> None:
    style = StyleLibrary.open()["monet"]
    assert style.painted_on("pocket")
    assert style.painted_on("some/base")  # in words
    style = dataclasses.replace(style, adapters=tuple(adapter for adapter in style.adapters if adapter.base == "pocket"))
    assert not style.painted_on("some/base")
    assert style.drawn_by("some/base") is style.hand


def test_a_recipe_keeps_the_hand_and_an_older_one_says_what_it_is() -> None:
    made = recipe("monet", detail=0.5, hand=False)
    again = Recipe.from_json(made.to_json())
    assert (again.detail, again.hand, again.format, again.older) == (0.5, False, FORMAT, "")
    older = Recipe.from_json('{"format": 3, "mix": {"monet": 1.0}}')
    assert older.hand
    assert "older stylekit" in older.older
    for wrong in ({"detail": 0}, {"detail": float("nan")}, {"detail": 5}, {"hand": "yes"}):
        with pytest.raises(SettingError, match="choose"):
            made.with_(**wrong)


def test_a_card_brings_its_hand_along(tmp_path: Path) -> None:
    style = StyleLibrary.open()["vangogh"]
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "style.toml").write_text(card_text(style, {}), encoding="utf-8")
    read = read_style(folder / "style.toml")
    assert read.hand == style.hand
    assert read.drawn == style.drawn


@pytest.mark.parametrize(
    ("hand", "said"),
    [
        ("[hand]\nairbrush = { width = 3 }\n", "airbrush"),
        ("[hand]\nlines = { weight = -1 }\n", "weight"),
        ("[hand]\nlines = { weight = nan }\n", "weight"),
        ("[hand]\nlines = { girth = 3 }\n", "girth"),
        ('[hand]\ncolours = "moon"\n', "moon"),
        ("hand = 3\n", "hand"),
    ],
)
def test_a_card_with_a_hand_that_cannot_draw_is_told(tmp_path: Path, hand: str, said: str) -> None:
    head = 'title = "A"\nblurb = "b"\nlicense = "MIT"\n'
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "style.toml").write_text(head + hand)
    with pytest.raises(StyleError, match=said):
        read_style(folder / "style.toml")


def test_a_hand_goes_through_its_card_unchanged() -> None:
    for style in StyleLibrary.open():
        if style.hand is not None:
            assert Hand.from_card(style.hand.to_card()) == style.hand
