"""Paintings in a style's card, on a random model of Stable Diffusion 1.5's classes: looked at as a style picture is, beside the words."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stylekit.base import Base
from stylekit.errors import StyleError
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.storage.paths import STYLES_FOLDER
from stylekit.style_picture.picture import KEPT_SIDE, MANNER_SIDE, StylePicture
from stylekit.styles import PICTURES, StyleLibrary, card_text, read_style
from stylekit.stylizer import Stylizer

CARD = 'title = "T"\nblurb = "b"\nlicense = "MIT"\n[[adapters]]\nbase = "a/b"\nkind = "pictures"\nmade = "m"\ndata = "d"\n'
WORDS = 'words = "an oil painting"\nguidance = 2.0\n'


@pytest.fixture
def painter(twin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stylizer:
    """With one painting, with the same twice, with words beside it, with words alone, and with half the likeness."""
    monkeypatch.setenv("STYLEKIT_CACHE", str(tmp_path / "cache"))
    cards = {
        "one": 'pictures = ["a.jpg"]\n',
        "twice": 'pictures = ["a.jpg", "b.jpg"]\n',
        "told": f'pictures = ["a.jpg"]\n{WORDS}',
        "half": 'pictures = ["a.jpg"]\nlikeness = 0.5\n',
    }
    for name, more in cards.items():
        folder = tmp_path / "styles" / name
        folder.mkdir(parents=True)
        for file in ("a.jpg", "b.jpg"):
            shutil.copy(STYLES_FOLDER / "vangogh" / "paintings" / "wheat-field-with-cypresses.jpg", folder / file)
        (folder / "style.toml").write_text(CARD + more)
    (tmp_path / "styles" / "words").mkdir()
    (tmp_path / "styles" / "words" / "style.toml").write_text(CARD.replace("pictures", "prompt") + WORDS)
    return Stylizer(Base.open(str(twin), device="cpu", dtype=torch.float32), StyleLibrary.open(tmp_path / "styles"))


def pixels(painter: Stylizer, photo: Image.Image, mix: object, **more: object) -> np.ndarray:
    recipe = Recipe(mix=StyleMix.of(mix), base=painter.base.name, num_inference_steps=1, strength=0.5, **more)  # type: ignore[arg-type]
    return np.asarray(painter.stylize(photo.resize((128, 64)), recipe).image, float)


def test_a_painting_of_the_card_is_a_style_picture(painter: Stylizer, photo: Image.Image) -> None:
    """To the bit; two share the style, and words act beside them."""
    picture = StylePicture.of(painter.library["one"].adapters[0].pictures[0])
    brought = pixels(painter, photo, {picture.name: 1.0}, pictures=(picture,))
    one, twice, told, half, words = (pixels(painter, photo, name) for name in ("one", "twice", "told", "half", "words"))
    plain = pixels(painter, photo, {})
    assert np.array_equal(one, brought)
    assert np.abs(one - twice).max() <= 1  # another order of sums
    for a, b in ((one, plain), (told, one), (told, words), (half, one), (half, plain)):
        assert np.abs(a - b).mean() > 0.2
    assert np.abs(half - plain).mean() < np.abs(one - plain).mean()


def test_stable_diffusion_sees_more_of_a_picture_than_a_manner_needs(painter: Stylizer) -> None:
    picture = StylePicture.of(STYLES_FOLDER / "monet" / "paintings" / "impression-sunrise.jpg")
    large = StylePicture.of(picture.whole.resize((1000, 750)))
    assert (max(picture.whole.size), max(large.whole.size)) == (512, KEPT_SIDE)
    assert max(large.picture.size) == MANNER_SIDE
    for side, seen in ((768, (48, 64)), (512, (48, 64)), (128, (16, 16))):  # no more than the photo has
        assert tuple(painter.picture_dispatch._latents(picture, side).shape[-2:]) == seen


def test_the_shipped_paintings_are_named_small_and_of_one_size(root: Path) -> None:
    """So that those of a card are one batch. Who painted what, and that it is in the public domain, is said."""
    painted = {style.name: style.adapter("a/b") for style in StyleLibrary.open() if any(a.kind == PICTURES for a in style.adapters)}
    assert painted.keys() == {"monet", "vangogh", "ukiyoe"}
    for adapter in painted.values():
        assert adapter.kind == PICTURES
        assert adapter.words is not None
        assert "public domain" in adapter.data
        for path in adapter.pictures:
            assert Image.open(path).size == (512, 384)
            assert path.stat().st_size < 100_000
    assert {path for adapter in painted.values() for path in adapter.pictures} == set((root / "styles").glob("*/paintings/*"))


def test_a_card_with_paintings_is_written_as_it_was_read(painter: Stylizer) -> None:
    style = painter.library["told"]
    path = style.adapters[0].path
    path.write_text(card_text(style, {picture: picture.name for picture in style.adapters[0].pictures}))
    assert read_style(path) == style
    assert "[[adapters]]" not in card_text(style, {})  # without its paintings it would be another


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("", "has 0 pictures: kind pictures has 1 to 4"),
        (f"pictures = {['a.jpg'] * 5}\n", "has 5 pictures"),
        ('pictures = "a.jpg"\n', "no list of files"),
        ('pictures = ["../a.jpg"]\n', "outside its folder"),
        ('pictures = ["a.jpg"]\nlikeness = 2\n', "likeness 2: choose one over 0"),
        ('pictures = ["a.jpg"]\nfile = "x.safetensors"\n', "words and pictures need none"),
    ],
)
def test_cards_with_bad_pictures_are_refused(tmp_path: Path, more: str, said: str) -> None:
    (tmp_path / "fog").mkdir()
    (tmp_path / "fog" / "style.toml").write_text(CARD + more)
    with pytest.raises(StyleError, match=said):
        read_style(tmp_path / "fog" / "style.toml")
