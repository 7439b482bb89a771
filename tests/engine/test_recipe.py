"""Recipe and StyleMix check themselves and survive the trip through JSON and PNG."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from stylekit.errors import PictureError, SettingError
from stylekit.images import save_png
from stylekit.maps import WeightMap
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe, carries_recipe
from stylekit.results.carriers import Named
from stylekit.style_picture.picture import StylePicture
from stylekit.ui.restore import read_file


def test_json_round_trip() -> None:
    recipe = Recipe(mix=StyleMix.of("monet:0.6,ukiyoe:0.4"), strength=0.35, num_inference_steps=3, seed=2**40, size=512, prompt="a cat")
    assert Recipe.from_json(recipe.to_json()) == recipe


def test_png_round_trip(tmp_path: Path) -> None:
    recipe = Recipe(mix=StyleMix.of("sketch"), strength=0.5)
    path = save_png(Image.new("RGB", (20, 20)), tmp_path / "a.png", recipe)
    assert Recipe.from_png(path) == recipe


def test_a_plain_png_has_no_recipe(tmp_path: Path) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    with pytest.raises(SettingError, match="carries no recipe"):
        Recipe.from_png(tmp_path / "a.png")
    with pytest.raises(PictureError, match="does not exist"):
        Recipe.from_png(tmp_path / "b.png")


@pytest.mark.parametrize("strength", [-0.01, 1.01, float("nan"), float("inf"), "0.5", None, True])
def test_strength_outside_the_dial(strength: object) -> None:
    with pytest.raises(SettingError, match="strength is"):
        Recipe(strength=strength)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_inference_steps", 0),
        ("num_inference_steps", 101),
        ("num_inference_steps", 1.5),
        ("seed", -1),
        ("seed", 2**64),
        ("size", 0),
        ("size", 10**6),
        ("guidance_scale", 0),
        ("guidance_scale", float("nan")),
        ("structure", 1.01),
        ("structure", float("nan")),
        ("keep_colours", -0.1),
        ("match_border", 0.5),
        ("feather", 0.11),
        ("feather", "wide"),
    ],
)
def test_settings_out_of_range_name_field_and_value(name: str, value: object) -> None:
    with pytest.raises(SettingError) as error:
        Recipe(**{name: value})  # type: ignore[arg-type]
    assert name in str(error.value)
    assert str(value) in str(error.value)


def test_unknown_and_broken_json() -> None:
    values = json.loads(Recipe().to_json())
    with pytest.raises(SettingError, match="colour"):
        Recipe.from_json(json.dumps(values | {"colour": 1}))
    with pytest.raises(SettingError, match="format"):
        Recipe.from_json(json.dumps(values | {"format": 99}))
    for text in ("", "[]", "{", "null", json.dumps({"mix": 3}), json.dumps({"mix": {"sketch": "much"}})):
        with pytest.raises(SettingError):
            Recipe.from_json(text)


def painted_recipe() -> Recipe:
    ramp = np.tile(np.linspace(0, 1, 900, dtype=np.float32), (600, 1))
    mix = StyleMix.of({"sketch": WeightMap.of(ramp), "ukiyoe": WeightMap.of(ramp > 0.7), "c": 0.2, "d": WeightMap.of(ramp.T)})
    return Recipe(
        mix=mix, strength=WeightMap.of(ramp[::-1].copy()), structure=0.3, keep_colours=0.5, match_border=True, feather=0.02, seed=3
    )


def test_maps_travel_in_the_picture(tmp_path: Path) -> None:
    recipe = painted_recipe()
    assert Recipe.from_json(recipe.to_json()) == recipe
    path = save_png(Image.new("RGB", (900, 600)), tmp_path / "a.png", recipe)
    assert Recipe.from_png(path) == recipe
    assert path.stat().st_size < 40_000
    assert hash(recipe) == hash(Recipe.from_png(path))


def test_five_maps_of_noise_still_fit_the_metadata(tmp_path: Path, rng: np.random.Generator) -> None:
    maps = [WeightMap.of(rng.random((700, 900), np.float32)) for _ in range(5)]
    recipe = Recipe(mix=StyleMix.of(dict(zip("abcd", maps, strict=False))), strength=maps[4])
    path = save_png(Image.new("RGB", (90, 60)), tmp_path / "a.png", recipe)
    assert Recipe.from_png(path) == recipe
    assert path.stat().st_size < 1_200_000


def test_recipes_of_the_first_format_are_read() -> None:
    old = {"format": 1, "mix": {"sketch": 0.6, "ukiyoe": 0.4}, "strength": 0.7, "seed": 5, "size": 512, "base": "pocket"}
    old |= {"num_inference_steps": None, "prompt": None, "guidance_scale": 1.0}
    assert Recipe.from_json(json.dumps(old)) == Recipe(mix=StyleMix.of("sketch:0.6,ukiyoe:0.4"), strength=0.7, seed=5, size=512)
    assert json.loads(Recipe().to_json())["format"] == 13


def test_recipes_of_the_second_format_are_read() -> None:
    old = json.loads(painted_recipe().to_json())
    del old["pictures"]
    assert Recipe.from_json(json.dumps(old | {"format": 2})) == painted_recipe()


@pytest.mark.parametrize("value", [{"png": "§"}, {"png": "AAAA"}, {"png": 3}, {"jpg": ""}, {}, [1], "much"])
def test_damaged_maps_are_told(value: object) -> None:
    values = json.loads(painted_recipe().to_json())
    for broken in (values | {"mix": {"sketch": value}}, values | {"strength": value}):
        with pytest.raises(SettingError):
            Recipe.from_json(json.dumps(broken))


def test_keeping_colours_may_be_a_yes() -> None:
    assert Recipe(keep_colours=True).keep_colours == 1.0
    assert Recipe(keep_colours=False) == Recipe()


def test_mix_from_text() -> None:
    assert StyleMix.of("sketch").weights == (("sketch", 1.0),)
    assert StyleMix.of(" monet:0.6 , ukiyoe:.4").weights == (("monet", 0.6), ("ukiyoe", 0.4))
    assert str(StyleMix.of("monet:0.6,ukiyoe:0.4")) == "monet:0.6,ukiyoe:0.4"


@pytest.mark.parametrize("text", ["monet:x", "monet:-1", "monet:nan", "monet:inf", "monet:9", "monet,monet", "", "monet,", "a b", "../x:1"])
def test_bad_mixes(text: str) -> None:
    if text == "../x:1":  # a path is a legal name shape, but no library will find it
        assert StyleMix.of(text).names == ("../x",)
        return
    with pytest.raises(SettingError):
        StyleMix.of(text)


def test_budget_scales_a_stack_down_but_not_one_style() -> None:
    assert StyleMix.of("a:1,b:1").within_budget().weights == (("a", 0.5), ("b", 0.5))
    assert StyleMix.of("a:0.3,b:0.2").within_budget().weights == (("a", 0.3), ("b", 0.2))
    assert StyleMix.of("a:1.5").within_budget().weights == (("a", 1.5),)


HOSTILE = {
    "nested": "[" * 100_000,
    "nested in the mix": '{"mix":' + '{"a":' * 400 + "1" + "}" * 401,
    "nested a little": '{"prompt":' + "[" * 40 + "]" * 40 + "}",
    "number of 400 digits": '{"strength":1' + "0" * 400 + "}",
    "number of 5000 digits": '{"seed":1' + "0" * 5000 + "}",
    "a weight of 400 digits": '{"mix":{"a":1' + "0" * 400 + "}}",
    "infinite": '{"strength":1e999}',
    "base a list": '{"base":["x"]}',
    "base a number": '{"base":5}',
    "base too long": json.dumps({"base": "b" * 10_000}),
    "base no file can be called": json.dumps({"base": "b" * 300}),
    "base with NUL": '{"base":"a\\u0000b"}',
    "half a character": '{"prompt":"\\ud800"}',
    "prompt a table": '{"prompt":{"x":1}}',
    "prompt too long": json.dumps({"prompt": "x" * 100_000}),
    "no text in a name": '{"mix":{"a\\u0000b":1}}',
    "name too long": json.dumps({"mix": {"a" * 10_000: 1}}),
    "setting too long": json.dumps({"x" * 100_000: 1}),
    "many styles": json.dumps({"mix": {f"s{i}": 0.1 for i in range(20_000)}}),
    "many styles as text": json.dumps({"mix": ",".join(f"s{i}" for i in range(20_000))}),
    "mix a list": '{"mix":[1]}',
    "weight a list": json.dumps({"mix": {"a": list(range(5000))}}),
    "pictures a list": '{"pictures":["a"]}',
    "many pictures": json.dumps({"pictures": {str(i): "a" for i in range(5000)}}),
    "many values": '{"prompt":[' + "1," * 200_000 + "1]}",
    "format a list": '{"format":[3]}',
    "match_border long": json.dumps({"match_border": "x" * 100_000}),
    "a map of no text": '{"strength":{"png":[1]}}',
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_recipes_are_told_in_one_short_sentence(tmp_path: Path, case: str) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("stylekit", HOSTILE[case])
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png", pnginfo=info)
    with pytest.raises(SettingError) as error:
        Recipe.from_png(tmp_path / "a.png")
    assert str(error.value).endswith(".")
    assert len(str(error.value)) < 300
    with pytest.raises(SettingError):
        read_file(tmp_path / "a.png", ["sketch"], "pocket")


def behind_the_pixels(source: Path, target: Path) -> Path:
    """The PNG with its texts moved behind the pixels, as some programs write them."""
    data, texts = source.read_bytes(), b""
    kept, place = data[:8], 8
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        chunk, place = data[place : place + length + 12], place + length + 12
        if chunk[4:8] in (b"tEXt", b"zTXt", b"iTXt"):
            texts += chunk
        else:
            kept += texts + chunk if chunk[4:8] == b"IEND" else chunk
    target.write_bytes(kept)
    return target


@pytest.mark.parametrize("with_picture", [False, True])
def test_a_recipe_behind_the_pixels_is_found(tmp_path: Path, photo: Image.Image, with_picture: bool) -> None:
    recipe = painted_recipe()
    if with_picture:
        picture = StylePicture.of(photo)
        recipe = Recipe(mix=StyleMix.of(picture.name), pictures=(picture,))
    moved = behind_the_pixels(save_png(Image.new("RGB", (90, 60)), tmp_path / "a.png", recipe), tmp_path / "b.png")
    with Image.open(moved) as picture_file:
        assert "stylekit" not in picture_file.info
    assert Recipe.from_png(moved) == recipe
    assert carries_recipe(moved)
    if with_picture:
        assert read_file(moved, [], "pocket") == Named(recipe=recipe)


def test_an_empty_recipe_file_is_called_empty(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(PictureError, match=r"a.png is empty \(0 bytes\)"):
        Recipe.from_png(tmp_path / "a.png")
    assert not carries_recipe(tmp_path / "a.png")


def test_a_mix_of_thousands_is_refused_at_once() -> None:
    for value in ({f"s{i}": 0.1 for i in range(20_000)}, ",".join(f"s{i}" for i in range(20_000))):
        with pytest.raises(SettingError, match="20000 styles"):
            StyleMix.of(value)


def test_recipes_from_before_words_take_the_styles_own_guidance() -> None:
    """1 was what every recipe said then; with a prompt of the user's own it meant it."""
    old = {"format": 4, "mix": {"monet": 1.0}, "base": "owner/name", "guidance_scale": 1.0, "prompt": None}
    read = Recipe.from_json(json.dumps(old))
    assert read.guidance_scale is None
    assert "comes out differently" in read.older
    assert Recipe.from_json(json.dumps(old | {"prompt": "a cat"})).guidance_scale == 1
    assert Recipe.from_json(json.dumps(old | {"format": 5})).guidance_scale == 1
    assert not Recipe.from_json(json.dumps(old | {"format": 5})).older
    assert Recipe.from_json(json.dumps(old | {"format": 5, "base": "pocket"})).older  # its styles were drawn anew since
    assert not Recipe.from_json(json.dumps(old | {"format": 13, "base": "pocket"})).older
