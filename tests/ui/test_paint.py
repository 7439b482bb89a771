"""Paint whose colours are styles: the decoding, by its properties, and what a painting says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image

from stylekit.errors import SettingError
from stylekit.maps import WeightMap
from stylekit.mix import StyleMix
from stylekit.ui.painter import paint
from stylekit.ui.painter.paint import COLOURS, Painting, decode, encode

SIZE = (48, 40)  # (width, height)
SUBSETS = [c for n in range(1, 5) for c in itertools.combinations(range(4), n)]


def brush(rng: np.random.Generator) -> np.ndarray:
    """A round stroke of any size and weight, with an antialiased or a very soft edge: (H, W) in 0..1."""
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    distance = np.hypot(x - rng.uniform(0, SIZE[0]), y - rng.uniform(0, SIZE[1]))
    return np.clip((rng.uniform(3, 25) - distance) / rng.choice([1, 12]), 0, 1) * rng.choice([1, rng.uniform(0.1, 1)])


def painted(rng: np.random.Generator, slots: tuple[int, ...], strokes: int) -> tuple[Image.Image, np.ndarray]:
    """What a canvas holds after some strokes, kept as it keeps it (premultiplied, 8 bits), and the true weights (len(slots), H, W)."""
    canvas = np.zeros((SIZE[1], SIZE[0], 4))
    weights = np.zeros((len(slots), SIZE[1], SIZE[0]))
    for _ in range(strokes):
        alpha = brush(rng)
        chosen = int(rng.integers(-1, len(slots)))  # -1: the eraser
        canvas *= 1 - alpha[..., None]
        weights *= 1 - alpha
        if chosen >= 0:
            canvas += alpha[..., None] * np.array([*COLOURS[slots[chosen]], 255])
            weights[chosen] += alpha
        canvas = canvas.round()
    alpha = canvas[..., 3:]
    straight = np.where(alpha > 0, (canvas[..., :3] * 255 / np.maximum(alpha, 1)).round(), 0)  # as a PNG has it
    return Image.fromarray(np.concatenate([straight, alpha], -1).clip(0, 255).astype(np.uint8), "RGBA"), weights


@pytest.mark.parametrize("slots", SUBSETS)
def test_strokes_over_strokes_come_apart_again(slots: tuple[int, ...], rng: np.random.Generator) -> None:
    for strokes in (1, 4, 12):
        picture, weights = painted(rng, slots, strokes)
        found = decode(picture, [COLOURS[slot] for slot in slots])
        alpha = np.asarray(picture)[..., 3] / 255
        assert found.shape == weights.shape
        assert np.allclose(found.sum(0), alpha, atol=1e-5)
        assert (found[:, alpha == 0] == 0).all()
        assert np.abs(found - weights).mean() < 0.01
        assert np.abs(found - weights).max() < 0.08


def test_a_stroke_of_one_style_holds_no_trace_of_another(rng: np.random.Generator) -> None:
    for slot in range(4):
        picture, _ = painted(rng, (slot,), 6)
        others = np.delete(decode(picture, COLOURS), slot, 0)
        assert others.max() < 1.5 * paint.TRACE
        assert np.count_nonzero(others) <= 0.01 * others.size


def test_any_picture_at_all_decodes_to_weights(rng: np.random.Generator) -> None:
    noise = Image.fromarray(rng.integers(0, 256, (60, 70, 4), dtype=np.uint8), "RGBA")
    for slots in SUBSETS:
        found = decode(noise, [COLOURS[slot] for slot in slots])
        assert np.isfinite(found).all()
        assert found.min() >= 0
        assert np.allclose(found.sum(0), np.asarray(noise)[..., 3] / 255, atol=1e-5)


def test_encode_and_decode_are_inverse(rng: np.random.Generator) -> None:
    weights = rng.dirichlet([0.4] * 4, (30, 20)).transpose(2, 0, 1) * rng.uniform(0, 1, (30, 20))
    weights[:, :5] = 0
    found = decode(encode(weights.astype(np.float32), COLOURS), COLOURS)
    assert np.abs(found - weights).max() < 3 * paint.TRACE  # what is less than a trace went to the greatest
    assert np.abs(found - weights).mean() < 0.006
    assert (found[:, :5] == 0).all()


def test_the_colours_keep_rounding_small() -> None:
    assert np.abs(paint.unmixing(COLOURS)).sum(0).max() * 0.5 / 255 < 0.02


def test_unpainted_it_is_the_mix_everywhere_and_painted_it_is_maps() -> None:
    everywhere = Painting(styles=("monet", None, "ukiyoe", None), amounts=(0.6, 0, 0.4, 0))
    assert everywhere.mix == StyleMix.of("monet:0.6,ukiyoe:0.4")
    canvas = Image.new("RGBA", (20, 20))
    canvas.paste((*COLOURS[2], 255), (0, 0, 20, 10))
    mix = Painting(styles=everywhere.styles, amounts=everywhere.amounts, paint=canvas).mix
    assert mix.names == ("ukiyoe",)
    top = mix.weights[0][1]
    assert isinstance(top, WeightMap)
    assert np.allclose(top.array[:10], 0.4, atol=1 / 255)
    assert (top.array[10:] == 0).all()


@pytest.mark.parametrize(
    ("styles", "amounts", "box", "sentence"),
    [
        ((None,) * 4, (0,) * 4, None, "no style on the palette"),
        (("monet", None, None, None), (0, 0, 0, 0), None, "amount of every style is 0"),
        (("monet", None, None, None), (0, 0, 0, 0), (0, 0, 9, 9), "amount of every style is 0"),
        (("monet", None, None, None), (1, 0, 0, 0), (0, 0, 0, 0), "Everything is wiped off"),
        (("monet", None, None, None), (1, 0, 0, 0), (5, 5, 6, 6), "Only 1 pixel is painted"),
        (("monet", None, None, None), (1, 0, 0, 0), (5, 5, 7, 7), "Only 4 pixels are painted"),
    ],
)
def test_a_painting_that_says_nothing_is_told(
    styles: tuple[str | None, ...], amounts: tuple[float, ...], box: tuple[int, int, int, int] | None, sentence: str
) -> None:
    canvas = Image.new("RGBA", (20, 20)) if box else None
    if canvas and box != (0, 0, 0, 0):
        canvas.paste((*COLOURS[0], 255), box)
    with pytest.raises(SettingError, match=sentence):
        _ = Painting(styles=styles, amounts=amounts, paint=canvas).mix


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        {},
        {"slots": []},
        {"slots": [None] * 5},
        {"slots": [{"style": "monet"}, None, None, None]},
        {"slots": [{"style": "monet", "amount": "x"}, None, None, None]},
        {"slots": [{"style": "monet", "amount": float("nan")}, None, None, None]},
        {"slots": [{"style": "monet", "amount": -1}, None, None, None]},
        {"slots": [None] * 4, "paint": "http://127.0.0.1/"},
        {"slots": [None] * 4, "paint": "data:image/png;base64,AAAA"},
        {"slots": [None] * 4, "paint": paint.URL_HEAD + "!"},
        {"slots": [None] * 4, "paint": 7},
    ],
)
def test_a_value_that_no_painter_sends_is_refused_in_a_sentence(value: object) -> None:
    with pytest.raises(SettingError, match=r"reload the page|move its slider"):
        Painting.from_value(value)


def test_a_painting_survives_the_way_to_the_page_and_back(rng: np.random.Generator) -> None:
    picture, _ = painted(rng, (0, 1), 5)
    painting = Painting(styles=("monet", "sketch", None, None), amounts=(0.5, 1, 0, 0), paint=picture)
    again = Painting.from_value(painting.value)
    assert again.styles == painting.styles
    assert again.amounts == painting.amounts
    assert again.paint is not None
    assert again.paint.tobytes() == picture.tobytes()


@pytest.mark.parametrize("overlap", [False, True])
def test_a_mix_of_maps_becomes_paint_that_means_the_same(overlap: bool) -> None:
    left, right = np.zeros((30, 40), np.float32), np.zeros((30, 40), np.float32)
    left[:, : 30 if overlap else 20] = 0.6
    right[:, 20:] = 0.4
    mix = StyleMix.of({"monet": WeightMap.of(left), "sketch": WeightMap.of(right)})
    painting = Painting.of(mix)
    assert painting.amounts[:2] == ((1.0, 1.0) if overlap else pytest.approx((0.6, 0.4)))
    found = painting.mix.at((40, 30))
    for name, weight in mix.at((40, 30)).items():
        assert np.abs(found[name] - weight).max() < 0.03


def test_a_mix_of_numbers_becomes_amounts_and_five_styles_are_too_many() -> None:
    painting = Painting.of(StyleMix.of("monet:0.7,sketch:0.3"))
    assert painting.paint is None
    assert painting.mix == StyleMix.of("monet:0.7,sketch:0.3")
    with pytest.raises(SettingError, match="5 styles and the page holds 4"):
        Painting.of(StyleMix.of("a,b,c,d,e"))
