"""A hand measured from pictures: marks of known width and direction, drawings, posters, and what no hand can be measured from."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
import pytest
from PIL import Image

from stylekit.errors import SettingError
from stylekit.hand.analysis import to_lab
from stylekit.hand.fields import Fields
from stylekit.hand.hand import Hand
from stylekit.images import open_picture
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.storage.paths import STYLES_FOLDER
from stylekit.style_picture.measured import FLAT, bold_hand_from, described, hand_from, hand_of, measure, pooled, reason
from stylekit.style_picture.picture import StylePicture
from stylekit.stylizer import Stylizer


def dabs(width: float, spread: float = 10.0, size: tuple[int, int] = (512, 512), seed: int = 0) -> Image.Image:
    """Overlapping dabs of many colours, four times as long as `width` pixels; spread: of their directions, in degrees."""
    rng, (w, h) = np.random.default_rng(seed), size
    canvas = np.full((h, w, 3), 128, np.uint8)
    for _ in range(int(6 * w * h / (4 * width * width))):
        x, y = rng.uniform(0, w), rng.uniform(0, h)
        angle = math.radians(20 + rng.normal(0, spread))
        dx, dy = 1.5 * width * math.cos(angle), 1.5 * width * math.sin(angle)
        colour = np.clip(np.array([150, 110, 70]) + rng.normal(0, 30, 3) + [0, 0, 90 * y / h], 0, 255).tolist()
        cv2.line(canvas, (int(x - dx), int(y - dy)), (int(x + dx), int(y + dy)), colour, round(width), cv2.LINE_AA)
    return Image.fromarray(canvas)


def poster() -> Image.Image:
    canvas = np.full((300, 400, 3), (245, 235, 215), np.uint8)
    cv2.circle(canvas, (120, 150), 90, (200, 50, 40), -1)
    cv2.rectangle(canvas, (220, 60), (380, 260), (30, 90, 160), -1)
    cv2.rectangle(canvas, (220, 60), (380, 260), (10, 10, 20), 4)
    return Image.fromarray(canvas)


def drawing() -> Image.Image:
    rng, canvas = np.random.default_rng(1), np.full((400, 400, 3), (250, 248, 240), np.uint8)
    for x, y in rng.integers(40, 360, (160, 2)).tolist():
        cv2.line(canvas, (x, y), (x + 30, y - 24), (40, 38, 36), 2, cv2.LINE_AA)
    return Image.fromarray(canvas)


def tools(hand: Hand) -> list[str]:
    return [name for name, _ in hand.tools]


def test_broader_marks_are_measured_broader_whatever_the_pictures_size() -> None:
    marks = [measure(dabs(width)).mark for width in (8, 12, 18)]
    assert marks == sorted(marks)
    assert 6 < marks[0] < 11
    assert 13 < marks[2] <= 20
    doubled = measure(dabs(12).resize((1024, 1024), Image.Resampling.LANCZOS)).mark
    assert doubled == pytest.approx(marks[1], rel=0.1)


def test_strokes_that_agree_are_longer_and_spread_less() -> None:
    strict, loose = (hand_of([dabs(9, spread)]) for spread in (4, 80))
    (one, *_), (other, *_) = (dict(hand.tools)["strokes"] for hand in (strict, loose))
    assert one.spread < other.spread
    assert one.length / one.width > other.length / other.width


def test_what_a_picture_is_made_of_chooses_the_tools() -> None:
    assert tools(hand_of([dabs(9)]))[:2] == ["tone", "strokes"]
    flat = hand_of([poster()])
    assert tools(flat)[0] == "fields"
    inks = dict(flat.tools)["fields"][0].palettes[0].split()
    reds = [ink for ink in inks if int(ink[1:3], 16) > 150 and int(ink[3:5], 16) < 90]
    assert len(reds) >= 1
    pencil = hand_of([drawing()])
    assert tools(pencil) == ["hatching", "lines"]
    hatching = dict(pencil.tools)["hatching"][0]
    assert int(hatching.paper[1:3], 16) > 230 > 100 > int(hatching.ink[1:3], 16)
    assert "from the photo" in described(pencil)


def printed(seed: int, rim: int = 0) -> Image.Image:
    """Flat things in few colours with black outlines; rim: pixels of black round it, as of a scan."""
    rng, canvas = np.random.default_rng(seed), np.full((360, 300, 3), (238, 222, 190), np.uint8)
    inks = [(176, 70, 52), (70, 96, 120), (120, 130, 90), (238, 222, 190), (60, 60, 66)]
    for _ in range(30):
        centre, axes = (int(rng.integers(0, 300)), int(rng.integers(0, 360))), (int(rng.integers(14, 60)), int(rng.integers(14, 60)))
        angle = float(rng.uniform(0, 180))
        cv2.ellipse(canvas, centre, axes, angle, 0, 360, inks[rng.integers(len(inks))], -1, cv2.LINE_AA)
        cv2.ellipse(canvas, centre, axes, angle, 0, 360, (24, 22, 26), 3, cv2.LINE_AA)
    return Image.fromarray(np.pad(canvas, ((rim, rim), (rim, rim), (0, 0))))


def test_a_print_is_flat_at_any_size_and_with_the_border_of_a_scan_and_paint_is_not() -> None:
    for seed in range(3):
        small = printed(seed).resize((200, 240), Image.Resampling.LANCZOS)
        assert min(measure(picture).flat for picture in (printed(seed), printed(seed, rim=12), small)) > FLAT
        assert measure(dabs(9, seed=seed)).flat < FLAT / 2
        # the border of a scan does not make paint a print
        assert measure(Image.fromarray(np.pad(np.asarray(dabs(9, seed=seed)), ((16, 16), (16, 16), (0, 0))))).flat < FLAT / 2


@pytest.mark.parametrize(("style", "flat"), [("monet", False), ("vangogh", False), ("ukiyoe", True)])
def test_real_prints_are_flat_and_real_paintings_are_not(style: str, flat: bool) -> None:
    found = [measure(open_picture(path)) for path in sorted((STYLES_FOLDER / style / "paintings").iterdir())]
    assert [one.flat > FLAT for one in found] == [flat] * len(found)
    assert len(found) == 2


def test_the_hand_of_several_prints_has_their_pigments_and_an_ink_for_skin() -> None:
    many = [measure(printed(seed)) for seed in range(3)]
    fields = dict(hand_from(pooled(many)).tools)["fields"][0]
    inks = np.asarray([[int(ink[k : k + 2], 16) for k in (1, 3, 5)] for ink in fields.palettes[0].split()], np.float32) / 255
    lab = to_lab(inks[None])[0]
    for pigment in ((176, 70, 52), (70, 96, 120), (120, 130, 90)):  # of `printed`, however much paper is beside them
        own = to_lab(np.asarray([[pigment]], np.float32) / 255)[0, 0]
        assert np.linalg.norm(lab - own, axis=1).min() < 16
    assert np.linalg.norm(lab - np.array([80, 9, 18]), axis=1).min() < 20


def test_most_pictures_decide_and_which_hand_is_said_with_the_reason() -> None:
    many = [measure(picture) for picture in (printed(0), printed(1), dabs(9))]
    prints = bold_hand_from(pooled(many))
    assert tools(prints) == ["woodblock", "outlines", "lines", "pattern"]
    assert reason(many, prints) == "hand: a woodblock print with key lines, for 2 of 3 pictures are flat"
    # on white paper they are panels; and one picture's own palette is not the model's to learn
    panels = hand_from(pooled(many))
    assert tools(panels) == ["fields", "outlines", "lines", "pattern"]
    assert reason(many, panels) == "hand: flat fields and key lines, for 2 of 3 pictures are flat"
    white = [dataclasses.replace(one, colours=one.colours * np.array([1, 1, 0.1], np.float32)) for one in many]
    assert tools(bold_hand_from(pooled(white))) == tools(panels)
    ink = dict(prints.tools)["outlines"][0].ink
    assert max(int(ink[i : i + 2], 16) for i in (1, 3, 5)) < 60
    some = [measure(dabs(9, seed=seed)) for seed in range(2)]
    assert reason([*some, many[0]], hand_from(pooled([*some, many[0]]))) == "hand: strokes, for 1 of 3 pictures is flat"
    assert reason(some, hand_from(pooled(some))) == "hand: strokes, for none of 2 pictures is flat"
    assert reason(some[:1], hand_from(some[0])) == "hand: strokes, for the picture is not flat"
    pencil = measure(drawing())
    assert reason([pencil], hand_from(pencil)) == "hand: hatching and lines, for the picture is drawn in one ink on paper"


def test_contours_are_drawn_where_dark_marks_outweigh_light_ones() -> None:
    found = dataclasses.replace(measure(dabs(9)), lines=0.12, coherence=0.4)
    with_them, without = (tools(hand_from(dataclasses.replace(found, contours=contours))) for contours in (0.02, 0.0))
    assert "lines" in with_them
    assert "lines" not in without


def test_several_pictures_give_the_middle_of_all_in_any_order() -> None:
    found = [measure(dabs(width, seed=seed)) for seed, width in enumerate((8, 12, 18))]
    both = pooled(found)
    assert both.mark == pytest.approx(sorted(one.mark for one in found)[1])
    assert float(both.shares.sum()) == pytest.approx(1, abs=1e-5)
    assert (np.diff(both.colours[:, 0]) >= 0).all()
    with pytest.raises(SettingError, match="at least one"):
        pooled([])


def test_the_hand_is_the_same_every_time_and_a_card_keeps_it() -> None:
    for picture in (dabs(9), poster(), drawing()):
        hand = hand_of([picture])
        assert hand_of([picture]) == hand
        assert Hand.from_card(hand.to_card()) == hand


@pytest.mark.parametrize("size", [(64, 64), (384, 64), (64, 384)])
@pytest.mark.parametrize("kind", ["plain", "two", "noise", "black"])
def test_odd_pictures_have_a_hand_too(kind: str, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    pixels = np.full((size[1], size[0], 3), 0 if kind == "black" else 180, np.uint8)
    if kind == "two":
        pixels[: size[1] // 2] = (20, 60, 160)
    elif kind == "noise":
        pixels = rng.integers(0, 256, pixels.shape, np.uint8)
    assert hand_of([Image.fromarray(pixels)]).tools


def test_palettes_of_listed_inks() -> None:
    assert Fields(palettes=("#f7d6b0 #16243f",)).palettes
    for wrong in ("#f7d6b0", "red blue", "#12345 #123456", " ".join(["#123456"] * 13)):
        with pytest.raises(SettingError, match=r"palette|ink"):
            Fields(palettes=(wrong,))


def test_a_style_picture_is_drawn_at_the_photos_size_and_old_recipes_say_so(stylizer: Stylizer, photo: Image.Image) -> None:
    picture = StylePicture.of(dabs(12))
    recipe = Recipe(mix=StyleMix.of(picture.name), pictures=(picture,))
    large = photo.resize((600, 400), Image.Resampling.LANCZOS)
    painted, drawn = (
        np.asarray(stylizer.stylize(large, Recipe(**vars(recipe) | {"hand": hand, "size": 150})).image, float) for hand in (False, True)
    )

    def fine(pixels: np.ndarray) -> float:
        return float(np.abs(pixels - cv2.GaussianBlur(pixels, (0, 0), 1.5)).mean())

    assert fine(drawn) > 1.5 * fine(painted)  # 150 pixels of the model, 600 of paint
    again = Recipe.from_json(recipe.to_json())
    assert again.older == ""
    assert Recipe.from_json(recipe.to_json().replace('"format": 13', '"format": 9')).older
    assert Recipe.from_json(Recipe(mix=StyleMix.of("monet")).to_json().replace('"format": 13', '"format": 9')).older
