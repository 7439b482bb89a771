"""A hand from its card and back, and drawing with one or several."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import tomllib
from PIL import Image
from skimage.data import astronaut

from stylekit.errors import SettingError
from stylekit.hand.analysis import enlarged, flow, opened, to_lab
from stylekit.hand.drawing import draw
from stylekit.hand.hand import Hand
from stylekit.hand.sight import Sight
from stylekit.hand.strokes import Strokes
from stylekit.hand.surface import Surface
from stylekit.hand.tone import Tone, toned
from stylekit.hand.view import View

CARD = """
tone = {median = 0.5, chroma = 1.4, shade = "#20307a", light = "#fff0b0", tint = 0.5, pigments = ["#1d3f9e", "#f2c21a"], pull = 0.5}
strokes = [{width = 10, length = 40, wander = 0.8}, {width = 4, length = 12, cover = 0.2, detail = 0.9}]
surface = {kind = "canvas", strength = 0.2}
"""
INK = {"lines": {"weight": 1.5}}


def photo(w: int, h: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(30, 220, (6, 8, 3), dtype=np.uint8))
    return small.resize((w, h), Image.Resampling.BICUBIC)


def hand() -> Hand:
    return Hand.from_card(tomllib.loads(CARD))


def test_card_there_and_back() -> None:
    first = hand()
    assert [name for name, _ in first.tools] == ["tone", "strokes", "surface"]
    assert first.tools[1][1][1] == Strokes(width=4, length=12, cover=0.2, detail=0.9)
    again = first.to_card()
    assert again["strokes"] == [{"width": 10, "length": 40, "wander": 0.8}, {"width": 4, "length": 12, "cover": 0.2, "detail": 0.9}]
    assert Hand.from_card(again) == first


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ({"airbrush": {}}, "airbrush.*unknown.*strokes"),
        ({"strokes": [{"width": 3, "lenght": 4}]}, "no setting 'lenght'.*length"),
        ({"strokes": [{"width": 3}]}, "lacks 'length'"),
        ({"strokes": 7}, "strokes is 7.*table"),
        ({"strokes": []}, "strokes is \\[\\].*table"),
        ({"tone": {"chroma": float("nan")}}, "chroma is nan.*choose"),
        ({"tone": {"shade": "blue"}}, "shade is 'blue'.*#"),
        ({"tone": {"pigments": "#112233"}}, "pigments.*list"),
        ({"surface": {"kind": "silk"}}, "silk.*canvas or paper"),
        ("strokes", "table"),
    ],
)
def test_bad_cards_are_sentences(card: Any, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        Hand.from_card(card)


def test_result_is_of_the_photos_size_and_repeats() -> None:
    picture = photo(180, 130)
    first = draw(picture, picture.resize((64, 46)), [(hand(), 1.0)], seed=5)
    assert first.size == picture.size
    assert first.mode == "RGB"
    assert first.tobytes() == draw(picture, picture.resize((64, 46)), [(hand(), 1.0)], seed=5).tobytes()
    assert first.tobytes() != draw(picture, picture.resize((64, 46)), [(hand(), 1.0)], seed=6).tobytes()


@pytest.mark.parametrize("amount", [0.0, np.zeros((9, 13), np.float32)])
def test_amount_0_is_the_photo(amount: Any) -> None:
    picture = photo(150, 110)
    other = photo(150, 110, seed=1)
    assert draw(picture, other, [(hand(), amount)]).tobytes() == picture.tobytes()
    assert draw(picture, other, []).tobytes() == picture.tobytes()


def test_unpainted_pixels_stay() -> None:
    picture = photo(200, 160)
    where = np.zeros((160, 200), np.float32)
    where[40:120, 50:150] = 1
    result = np.asarray(draw(picture, photo(200, 160, 1), [(hand(), where), (Hand.from_card(INK), where)]))
    same = (result == np.asarray(picture)).all(-1)
    assert same[where == 0].all()
    assert same[60:100, 70:130].mean() < 0.2


def test_one_pixel_of_a_mask() -> None:
    picture = photo(64, 64)
    where = np.zeros((64, 64), np.float32)
    where[30, 30] = 1
    result = np.asarray(draw(picture, picture, [(hand(), where)]))
    assert (result == np.asarray(picture)).all(-1).sum() >= 64 * 64 - 1


def test_bands_are_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = photo(160, 190)
    whole = np.asarray(draw(picture, picture, [(hand(), 1.0)]), np.int16)
    monkeypatch.setattr("stylekit.hand.drawing.band_rows", lambda size: 23)
    assert np.abs(np.asarray(draw(picture, picture, [(hand(), 1.0)]), np.int16) - whole).max() <= 1


def test_strength_is_a_smooth_dial() -> None:
    picture = photo(160, 160)
    before = np.asarray(picture, np.float32)
    far = [np.abs(np.asarray(draw(picture, picture, [(hand(), a)]), np.float32) - before).mean() for a in (0.0, 0.1, 0.3, 0.6, 1.0)]
    assert far == sorted(far)
    assert far[1] < 0.4 * far[4]


def test_two_hands_in_one_place_are_both_there() -> None:
    picture = photo(160, 160)
    cool = Hand.from_card(
        {"tone": {"shade": "#1020a0", "midtone": "#4060ff", "light": "#a0c0ff", "tint": 1.0}, "strokes": [{"width": 8, "length": 20}]}
    )
    warm = Hand.from_card(
        {"tone": {"shade": "#a02010", "midtone": "#ff6040", "light": "#ffc0a0", "tint": 1.0}, "strokes": [{"width": 8, "length": 20}]}
    )
    blue = [np.asarray(draw(picture, picture, [(cool, a), (warm, 1 - a)]), np.float32)[..., 2].mean() for a in (0.0, 0.5, 1.0)]
    assert blue[0] < blue[1] < blue[2]


def test_progress_can_cancel() -> None:
    seen: list[float] = []

    def stop(fraction: float) -> None:
        seen.append(fraction)
        if fraction > 0:
            raise KeyboardInterrupt

    picture = photo(64, 400)
    with pytest.raises(KeyboardInterrupt):
        draw(picture, picture, [(hand(), 1.0)], progress=stop)
    assert 1.0 not in seen
    done: list[float] = []
    draw(picture, picture, [(hand(), 1.0)], progress=done.append)
    assert done == sorted(done)
    assert done[-1] == 1.0


@pytest.mark.parametrize("amount", [1.5, -0.1, float("nan"), "much", np.zeros((0, 4)), np.ones((3, 3, 3))])
def test_bad_amounts(amount: Any) -> None:
    picture = photo(32, 32)
    with pytest.raises(SettingError, match=r"amount of a hand.*give"):
        draw(picture, picture, [(hand(), amount)])


@pytest.mark.parametrize("detail", [0, float("nan"), 9, "bold", True])
def test_bad_detail(detail: Any) -> None:
    picture = photo(32, 32)
    with pytest.raises(SettingError, match=r"detail.*choose"):
        draw(picture, picture, [(hand(), 1.0)], detail=detail)


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (2000, 20), (5, 900)])
def test_extreme_sizes(size: tuple[int, int]) -> None:
    assert draw(photo(*size), photo(32, 32), [(hand(), 1.0)]).size == size


def test_large_photo_is_crisp() -> None:
    picture = photo(2200, 1500)
    result = np.asarray(draw(picture, picture.resize((220, 150)), [(hand(), 1.0)]), np.float32).mean(-1)
    # bristles are finer than the plan's pixels could be
    assert np.abs(np.diff(result, axis=1)).mean() > 4 * np.abs(np.diff(np.asarray(picture, np.float32).mean(-1), axis=1)).mean()


def view(picture: np.ndarray) -> View:
    return View(photo=picture, colours=picture, amount=np.ones(picture.shape[:2], np.float32), size=picture.shape[1::-1])


def test_tone_opens_dark_photos_and_colours_grey_ones() -> None:
    ramp = np.linspace(0.0, 0.35, 64, dtype=np.float32)[None, :, None] * np.ones((48, 1, 3), np.float32)
    result = toned(view(ramp), Tone(median=0.5, shade="#2030a0", light="#fff0a0", tint=0.8), ramp)
    assert np.median(result.mean(-1)) > 0.35
    assert (result[:, 4:12, 2] > result[:, 4:12, 0]).all()
    assert (result[:, -8:, 0] > result[:, -8:, 2]).all()


def test_tone_keeps_the_hue_of_skin_and_the_forms_of_a_dark_face() -> None:
    face = np.asarray(Image.fromarray(astronaut()).resize((256, 256)), np.float32) / 255
    dark = face * np.float32(0.45)
    painted = np.clip(dark * np.array([0.8, 0.8, 2.2], np.float32), 0, 1)  # as a model paints shade
    v = View(photo=dark, colours=painted, amount=np.ones((256, 256), np.float32), size=(256, 256))
    inside = v.sight.face_map() > 0.9
    assert inside.any()
    result = toned(v, Tone(median=0.2, high=0.75), painted)
    assert np.median(result[inside][:, 0] - result[inside][:, 2]) > 0  # warm
    assert np.median(painted[inside][:, 0] - painted[inside][:, 2]) < 0
    light = result.mean(-1)[inside]
    assert np.median(light) > 0.35
    assert light.std() > painted.mean(-1)[inside].std()


def test_tone_keeps_white_from_blowing_and_black_from_closing() -> None:
    ramp = np.linspace(0, 1, 100, dtype=np.float32)[None, :, None] * np.ones((20, 1, 3), np.float32)
    result = toned(view(ramp), Tone(median=0, low=0.15, high=0.95), ramp).mean(-1)
    assert result.min() > 0.1
    assert result.max() < 0.97
    assert (np.diff(result[0]) > -0.01).all()


def test_opened_leaves_light_photos_and_black() -> None:
    light = np.full((32, 32, 3), 0.7, np.float32)
    assert opened(light) is light
    dark = np.full((64, 64, 3), 0.1, np.float32)
    dark[:, :10] = 0
    result = opened(dark)
    assert result[:, :4].max() == 0
    assert result[:, 40:].mean() > 0.2


def test_flow_follows_contours_and_rests_where_there_are_none() -> None:
    y, x = np.mgrid[0:64, 0:64].astype(np.float32)
    stripes = (0.5 + 0.4 * np.sin((x + y) / 3)).astype(np.float32)
    assert np.abs(np.degrees(flow(stripes, 6, 0))[16:48, 16:48] + 45).max() < 3
    assert np.allclose(np.degrees(flow(np.full((32, 32), 0.5, np.float32), 6, 30)), 30, atol=0.1)


def test_no_faces_in_a_blank_picture() -> None:
    assert not Sight(np.full((80, 80, 3), 0.5, np.float32)).face_map().any()


def test_enlarged_is_banded_alike() -> None:
    plane = np.random.default_rng(0).random((13, 17, 3)).astype(np.float32)
    whole = enlarged(plane, (170, 140), 0, 140)
    assert np.array_equal(np.concatenate([enlarged(plane, (170, 140), 0, 33), enlarged(plane, (170, 140), 33, 107)]), whole)


@pytest.mark.parametrize("kind", ["canvas", "paper"])
def test_surface_shows_and_keeps_the_mean(kind: str) -> None:
    picture = photo(120, 90)
    result = np.asarray(draw(picture, picture, [(Hand(tools=(("surface", (Surface(kind=kind, strength=0.5),)),)), 1.0)]), np.float32)
    plain = np.asarray(draw(picture, picture, [(Hand(), 1.0)]), np.float32)
    assert (result - plain).std() > 1
    assert abs(result.mean() - plain.mean()) < 8


def test_faces_are_lit_without_harm_at_black_and_white() -> None:
    picture = cv2.resize(astronaut(), (256, 256), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    face = Sight(picture).face_map() > 0.5
    assert face.any()
    dark = np.where(face[..., None], picture * 0.35, picture).astype(np.float32)
    dark[100:110] = 1
    dark[110:120] = 0
    with np.errstate(invalid="raise"):
        result = toned(view(dark), Tone(median=0.3, high=1.0), dark)
    assert np.isfinite(result).all()


def test_a_sky_without_a_hue_is_blue_high_up_and_light_low_down() -> None:
    photo = np.full((256, 256, 3), 0.93, np.float32)
    photo[150:] = (0.35, 0.3, 0.2)
    photo += np.random.default_rng(0).normal(0, 0.004, photo.shape).astype(np.float32)
    photo = np.clip(photo, 0, 1)
    plain, blue = (to_lab(toned(view(photo), Tone(light="#fff0d0", tint=0.2, sky=sky), photo)) for sky in ("", "#8fb0e0"))
    assert blue[5:20, :, 2].mean() < plain[5:20, :, 2].mean() - 15
    assert blue[135:145, :, 2].mean() > blue[5:20, :, 2].mean() + 15
    assert np.abs(blue[180:] - plain[180:]).max() < 1.5
    coloured = photo.copy()
    coloured[:150] = (0.6, 0.75, 0.95)
    one, other = (toned(view(coloured), Tone(sky=sky), coloured) for sky in ("", "#e0a0a0"))
    assert np.abs(one - other).max() < 0.02
    with pytest.raises(SettingError, match="sky"):
        Tone(sky="blue")
