"""Recipe and StyleMix check themselves and survive the trip through JSON and PNG."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylekit.errors import PictureError, SettingError
from stylekit.images import save_png
from stylekit.maps import WeightMap
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe


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
    assert json.loads(Recipe().to_json())["format"] == 3


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
