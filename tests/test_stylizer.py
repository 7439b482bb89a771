"""The Stylizer on the real pocket base and the real styles."""

from __future__ import annotations

import dataclasses
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stylekit import adapters
from stylekit.errors import StyleError, UnknownStyleError
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.styles import StyleLibrary
from stylekit.stylizer import Stylized, Stylizer, StylizeStep

STYLES = ("sketch", "ukiyoe")


def distance(a: Image.Image, b: Image.Image) -> float:
    return float(np.abs(np.asarray(a, np.float32) - np.asarray(b, np.float32)).mean())


def recipe(style: str = "sketch", **changes: object) -> Recipe:
    return Recipe(mix=StyleMix.of(style)).with_(**changes)


@pytest.fixture(scope="module")
def coffee(root: Path) -> Image.Image:
    return Image.open(root / "assets" / "photos" / "coffee.jpg").convert("RGB").resize((300, 200), Image.Resampling.LANCZOS)


def test_strength_zero_is_the_photo(stylizer: Stylizer, photo: Image.Image) -> None:
    assert stylizer.stylize(photo, recipe(strength=0)).image.tobytes() == photo.tobytes()


@pytest.mark.parametrize("style", STYLES)
def test_the_dial_moves_steadily_from_photo_to_style(stylizer: Stylizer, coffee: Image.Image, style: str) -> None:
    pictures = [stylizer.stylize(coffee, recipe(style, strength=s)).image for s in (0, 0.25, 0.5, 0.75, 1)]
    from_photo = [distance(coffee, p) for p in pictures]
    steps = [distance(a, b) for a, b in pairwise(pictures)]
    assert from_photo == sorted(from_photo)
    assert max(steps) < 0.6 * from_photo[-1]  # no jump: no quarter of the dial does most of the work


def test_sketch_is_grey_paper_with_ink(stylizer: Stylizer, coffee: Image.Image) -> None:
    array = np.asarray(stylizer.stylize(coffee, recipe("sketch")).image, np.float32)
    assert np.abs(array - array.mean(-1, keepdims=True)).mean() < 8  # no colour
    light = array.mean(-1)
    assert np.percentile(light, 75) > 215  # paper
    assert light.std() > 25  # ink
    assert np.abs(np.asarray(coffee, np.float32) - np.asarray(coffee, np.float32).mean(-1, keepdims=True)).mean() > 15


def test_content_stays_where_it_is(stylizer: Stylizer, coffee: Image.Image) -> None:
    """Edges of the photo are edges of every style: correlation of gradients."""

    def edges(picture: Image.Image) -> np.ndarray:
        light = np.asarray(picture.convert("L").resize((75, 50), Image.Resampling.BOX), np.float32)
        return np.hypot(*np.gradient(light)).ravel()

    for style in STYLES:
        result = stylizer.stylize(coffee, recipe(style)).image
        assert np.corrcoef(edges(coffee), edges(result))[0, 1] > 0.5


def test_same_seed_same_pixels_other_seed_other_pixels(stylizer: Stylizer, photo: Image.Image) -> None:
    first = stylizer.stylize(photo, recipe(seed=3)).image
    assert stylizer.stylize(photo, recipe(seed=3)).image.tobytes() == first.tobytes()
    assert stylizer.stylize(photo, recipe(seed=4)).image.tobytes() != first.tobytes()


def test_a_fresh_stylizer_gives_the_same_pixels(stylizer: Stylizer, photo: Image.Image) -> None:
    assert Stylizer.open().stylize(photo, recipe()).image.tobytes() == stylizer.stylize(photo, recipe()).image.tobytes()


@pytest.mark.parametrize("size", [(16, 16), (17, 33), (150, 101), (40, 500), (800, 90)])
def test_any_size_comes_back_as_it_was(stylizer: Stylizer, size: tuple[int, int]) -> None:
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8))
    assert stylizer.stylize(photo, recipe(size=256)).image.size == size


def test_a_large_photo_is_worked_small_and_returned_large(stylizer: Stylizer, photo: Image.Image) -> None:
    large = photo.resize((1500, 1000))
    events = list(stylizer.steps(large, recipe(size=128)))
    assert isinstance(events[0], StylizeStep)
    assert events[0].preview is not None
    assert events[0].preview.size == (128, 85)
    assert isinstance(events[-1], Stylized)
    assert events[-1].image.size == (1500, 1000)


def test_padding_does_not_bleed(stylizer: Stylizer, coffee: Image.Image) -> None:
    """A crop that is on the grid and the same crop that is not agree away from the padded border."""
    whole = stylizer.stylize(coffee.crop((0, 0, 256, 192)), recipe()).image
    less = stylizer.stylize(coffee.crop((0, 0, 250, 187)), recipe()).image
    assert distance(whole.crop((0, 0, 120, 90)), less.crop((0, 0, 120, 90))) < 12


def test_steps_are_counted(stylizer: Stylizer, photo: Image.Image) -> None:
    events = list(stylizer.steps(photo, recipe(num_inference_steps=3)))
    assert [(e.step, e.total) for e in events if isinstance(e, StylizeStep)] == [(1, 3), (2, 3), (3, 3)]
    assert isinstance(events[-1], Stylized)
    assert events[-1].recipe == recipe(num_inference_steps=3)


def test_weight_zero_and_the_empty_mix_are_the_base(stylizer: Stylizer, photo: Image.Image) -> None:
    base = stylizer.stylize(photo, Recipe()).image
    assert stylizer.stylize(photo, recipe("sketch:0")).image.tobytes() == base.tobytes()


def test_a_blend_lies_between_its_styles(stylizer: Stylizer, coffee: Image.Image) -> None:
    a, b, both = (stylizer.stylize(coffee, recipe(mix)).image for mix in ("sketch", "ukiyoe", "sketch:0.5,ukiyoe:0.5"))
    apart = distance(a, b)
    assert distance(both, a) < apart
    assert distance(both, b) < apart


def test_the_order_of_a_blend_does_not_matter(stylizer: Stylizer, photo: Image.Image) -> None:
    one = stylizer.stylize(photo, recipe("sketch:0.3,ukiyoe:0.7")).image
    other = stylizer.stylize(photo, recipe("ukiyoe:0.7,sketch:0.3")).image
    assert one.tobytes() == other.tobytes()


def test_closing_the_generator_frees_the_lock_and_restores_the_model(stylizer: Stylizer, photo: Image.Image) -> None:
    before = stylizer.stylize(photo, Recipe()).image
    steps = stylizer.steps(photo, recipe(num_inference_steps=5))
    next(steps)
    steps.close()
    assert stylizer.stylize(photo, Recipe()).image.tobytes() == before.tobytes()


def test_an_exception_mid_way_restores_the_model(stylizer: Stylizer, photo: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stylizer.stylize(photo, Recipe()).image
    monkeypatch.setattr(type(stylizer.base), "decode", lambda *_: (_ for _ in ()).throw(MemoryError("no room")))
    with pytest.raises(MemoryError):
        stylizer.stylize(photo, recipe())
    monkeypatch.undo()
    assert stylizer.stylize(photo, Recipe()).image.tobytes() == before.tobytes()


def test_threads_with_different_styles_equal_their_serial_outputs(stylizer: Stylizer, photo: Image.Image) -> None:
    recipes = [recipe("sketch"), recipe("ukiyoe"), Recipe(), recipe("sketch:0.5,ukiyoe:0.5")]
    serial = [stylizer.stylize(photo, r).image.tobytes() for r in recipes]
    results: dict[int, bytes] = {}

    def work(i: int) -> None:
        results[i] = stylizer.stylize(photo, recipes[i]).image.tobytes()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(recipes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert [results[i] for i in range(len(recipes))] == serial


def test_unknown_style_and_other_base(stylizer: Stylizer, photo: Image.Image) -> None:
    with pytest.raises(UnknownStyleError) as error:
        stylizer.stylize(photo, recipe("rembrandt"))
    assert "sketch" in str(error.value)
    with pytest.raises(StyleError, match="pocket is loaded"):
        stylizer.stylize(photo, recipe(base="stable-diffusion-v1-5/stable-diffusion-v1-5"))
    assert "rembrandt" not in adapters.resident(stylizer.base.unet)


def with_card(stylizer: Stylizer, name: str, **changes: object) -> Stylizer:
    """The same engine, with another card for the adapter of style `name`."""
    style = stylizer.library[name]
    card = dataclasses.replace(style.adapter("pocket"), **changes)  # type: ignore[arg-type]
    others = tuple(other for other in stylizer.library if other.name != name)
    return Stylizer(stylizer.base, StyleLibrary(styles=(*others, dataclasses.replace(style, adapters=(card,)))))


def test_an_adapter_may_ask_for_its_own_noise_level(stylizer: Stylizer, photo: Image.Image) -> None:
    own = with_card(stylizer, "sketch", timestep=40)
    plain = stylizer.base.card
    assert own._timestep(recipe(strength=1)) == 40
    assert own._timestep(recipe(strength=0.5)) == round(plain.timestep(0.5) * 40 / plain.timestep(1))
    assert own._timestep(recipe("sketch:0.5,ukiyoe:0.5")) == round((40 + plain.timestep(1)) / 2)
    assert own._timestep(recipe("sketch:0")) == plain.timestep(1)  # a silent style has no say
    assert distance(own.stylize(photo, recipe()).image, stylizer.stylize(photo, recipe()).image) > 0.5


def test_an_adapter_may_ask_for_its_own_phases(stylizer: Stylizer, photo: Image.Image) -> None:
    own = with_card(stylizer, "sketch", phases=1)
    assert (own._phases(recipe()), stylizer._phases(recipe())) == (1, stylizer.base.card.phases)
    assert own._phases(recipe("sketch:0,ukiyoe:1")) == stylizer.base.card.phases
    assert distance(own.stylize(photo, recipe()).image, stylizer.stylize(photo, recipe()).image) > 0.5


@pytest.mark.parametrize("wrong", [{"timestep": 0}, {"timestep": 1000}, {"phases": 3}, {"num_inference_steps": 0}])
def test_a_card_that_asks_for_the_impossible_is_refused(stylizer: Stylizer, wrong: dict[str, int]) -> None:
    with pytest.raises(StyleError, match="asks for"):
        with_card(stylizer, "sketch", **wrong)


def test_no_gradients_are_kept(stylizer: Stylizer, photo: Image.Image) -> None:
    stylizer.stylize(photo, recipe())
    assert not any(p.requires_grad for p in stylizer.base.unet.parameters())
    assert torch.is_grad_enabled()


def test_every_style_has_a_card_with_pictures(stylizer: Stylizer) -> None:
    assert {style.name for style in stylizer.library} >= set(STYLES)
    for style in stylizer.library:
        assert style.preview is not None
        assert style.before is not None
        assert style.preview.is_file()
        assert style.before.is_file()
        assert style.adapter("pocket").made
        assert style.adapter("pocket").data
