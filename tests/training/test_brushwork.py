"""Painted targets: made from the strokes that the adapter will see, in the painter's own light."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from stylekit.storage.paths import PHOTOS_FOLDER
from stylekit.styles import StyleLibrary
from stylekit.underpainting.underpaint import underpaint
from training.targets.brushwork import PAINTERS, paint
from training.targets.pairs import FLAT, make_pair, underpainting_of
from training.targets.palette import MANNERS
from training.targets.procedural import to_lab

PHOTOS = PHOTOS_FOLDER


@pytest.fixture(scope="module")
def coffee() -> np.ndarray:
    return np.asarray(Image.open(PHOTOS / "coffee.jpg").convert("RGB").resize((192, 128)))


@pytest.mark.parametrize("name", sorted(PAINTERS))
def test_a_painting_has_the_strokes_of_its_underpainting(name: str, coffee: np.ndarray) -> None:
    under, painting = paint(coffee, 1, PAINTERS[name])
    other_under, other = paint(coffee, 2, PAINTERS[name])
    assert under.shape == (1, 3, 128, 192)
    assert painting.shape == coffee.shape
    assert np.array_equal(painting, paint(coffee, 1, PAINTERS[name])[1])
    laid = (under - other_under)[0].mean(0).numpy().ravel()
    seen = (painting.astype(float) - other).mean(-1).ravel()
    assert np.corrcoef(laid, seen)[0, 1] > 0.3  # where one seed lays light, its painting is lighter


def test_monet_has_no_black_and_violet_shade() -> None:
    grey = np.repeat(np.linspace(0, 255, 96).astype(np.uint8)[None, :, None], 64, 0).repeat(3, -1)
    lab = to_lab(paint(grey, 0, PAINTERS["monet"])[1])
    assert float(np.percentile(lab[..., 0], 1)) > 10
    assert float(lab[:, :16, 2].mean()) < -5  # blue
    assert float(lab[:, -16:, 2].mean()) > 2  # cream


def test_van_gogh_gives_a_dull_photo_colour_and_takes_neon_from_a_loud_one(coffee: np.ndarray) -> None:
    def chroma(picture: np.ndarray) -> float:
        return float(np.hypot(*np.moveaxis(to_lab(picture)[..., 1:], -1, 0)).mean())

    grey = coffee.mean(-1, keepdims=True)
    dull, loud = (np.clip(grey + much * (coffee - grey), 0, 255).astype(np.uint8) for much in (0.3, 1.5))
    assert chroma(paint(dull, 0, PAINTERS["vangogh"])[1]) > 1.2 * chroma(dull)
    assert chroma(paint(loud, 0, PAINTERS["vangogh"])[1]) < 0.9 * chroma(loud)


def test_a_pair_starts_from_the_underpainted_photo() -> None:
    plain, _ = make_pair(PHOTOS / "coffee.jpg", 192, "procedure:sketch")
    under, target = make_pair(PHOTOS / "coffee.jpg", 192, "procedure:monet", seed=5)
    assert plain.shape == under.shape == target.shape
    assert 0.02 < float((under - plain).abs().mean()) < 0.2
    assert torch.equal(plain, make_pair(PHOTOS / "coffee.jpg", 192, "procedure:popart")[0])
    flat, _ = make_pair(PHOTOS / "coffee.jpg", 192, "procedure:minimalism")
    assert torch.allclose(flat, plain + underpaint(plain, FLAT["minimalism"], 0), atol=1e-6)


def test_cards_ask_for_the_underpainting_their_adapters_were_trained_on() -> None:
    painted = [style for style in StyleLibrary.open() if style.has_adapter("pocket")]  # others are drawn
    asked = {style.name: style.adapter("pocket").underpainting for style in painted}
    assert asked["minimalism"] == underpainting_of("procedure:minimalism") is not None
    for name in MANNERS.keys() & asked.keys():  # what learned colour alone takes the photo as it is
        assert asked.pop(name) == underpainting_of(f"palette:{name}") is None, name
    assert len(asked) >= 3
    for name, underpainting in asked.items():
        assert underpainting == underpainting_of(f"procedure:{name}"), name


def test_a_plain_wall_gets_strokes_too() -> None:
    wall = np.full((96, 96, 3), 180, np.uint8)
    painting = paint(wall, 0, PAINTERS["monet"])[1]
    assert cv2.cvtColor(painting, cv2.COLOR_RGB2GRAY).std() > 4
