"""Mixes of maps: the budget holds at every pixel, and what is left of the picture stays the ground's."""

from __future__ import annotations

import json

import numpy as np
import pytest

from stylekit.errors import SettingError
from stylekit.maps import WeightMap
from stylekit.mix import MOST_STYLES, StyleMix
from stylekit.recipe import Recipe

SIZE = (32, 20)


def half(side: str, weight: float = 1.0, size: tuple[int, int] = SIZE) -> WeightMap:
    values = np.zeros((size[1], size[0]), np.float32)
    values[:, : size[0] // 2] = weight
    return WeightMap.of(values if side == "left" else values[:, ::-1].copy())


def test_halves() -> None:
    mix = StyleMix.of({"a": half("left"), "b": half("right")})
    at = mix.at(SIZE)
    assert np.array_equal(at["a"], half("left").array)
    assert np.array_equal(at["b"], half("right").array)
    assert mix.has_maps
    assert mix.present == ("a", "b")
    assert mix.means == {"a": 0.5, "b": 0.5}
    assert str(mix) == "a:map,b:map"
    assert hash(mix) == hash(StyleMix.of({"a": half("left"), "b": half("right")}))


def test_overlaps_are_normalised_pixel_by_pixel() -> None:
    at = StyleMix.of({"a": 1.0, "b": half("left"), "c": half("left", 0.5)}).at(SIZE)
    total = sum(np.broadcast_to(weight, (SIZE[1], SIZE[0])) for weight in at.values())
    assert np.allclose(total, 1)
    assert at["a"][0, 0] == pytest.approx(0.4, abs=1e-2)
    assert at["b"][0, 0] == pytest.approx(0.4, abs=1e-2)
    assert at["a"][0, -1] == 1
    assert at["c"][0, -1] == 0


def test_weights_under_the_budget_stay() -> None:
    at = StyleMix.of({"a": half("left", 0.2), "b": 0.6}).at(SIZE)
    assert at["b"] == pytest.approx(0.6)
    assert np.allclose(at["a"], half("left", 0.2).array)


def test_a_map_of_one_value_is_a_number() -> None:
    assert StyleMix.of({"a": WeightMap.of(np.full((4, 4), 0.6))}).at(SIZE) == {"a": pytest.approx(0.6)}
    assert StyleMix.of("a:0.6,b:0.9").at(SIZE) == dict(StyleMix.of("a:0.6,b:0.9").within_budget().weights)


def test_maps_of_other_sizes_meet() -> None:
    at = StyleMix.of({"a": half("left", size=(64, 64)), "b": half("right", size=(16, 6))}).at(SIZE)
    assert at["a"].shape == at["b"].shape == (20, 32)
    assert (at["a"] + at["b"]).max() <= 1 + 1e-6


def test_feather_lets_styles_pass_into_each_other() -> None:
    sharp, soft = (StyleMix.of({"a": half("left"), "b": half("right")}).at(SIZE, feather) for feather in (0, 6))
    assert set(np.unique(sharp["a"])) == {0, 1}
    assert 0.3 < soft["a"][0, 15] < 0.7
    assert np.allclose(soft["a"] + soft["b"], 1)


def test_regions_lie_over_the_mix() -> None:
    mix = StyleMix.of("ground").with_regions({"sky": half("left", 0.75), "sea": half("right", 0.25)})
    assert mix.names == ("sky", "sea", "ground")
    at = mix.at(SIZE)
    assert np.allclose(at["ground"], 1 - at["sky"] - at["sea"], atol=1e-2)
    same = StyleMix.of("a:0.5").with_regions({"a": half("left")}).at(SIZE)["a"]
    assert same[0, 0] == 1
    assert same[0, -1] == pytest.approx(0.5, abs=1e-2)
    assert StyleMix.of("a").with_regions({}) == StyleMix.of("a")
    assert StyleMix().with_regions({"a": half("left")}).names == ("a",)


def test_silent_styles_are_not_present() -> None:
    nothing = WeightMap.of(np.zeros((4, 4), np.float32))
    assert StyleMix.of({"a": 0.0, "b": nothing, "c": half("left", 0.1)}).present == ("c",)
    assert StyleMix.of({"a": nothing}).at(SIZE) == {"a": 0}


def test_bad_weights_are_told() -> None:
    with pytest.raises(SettingError, match="WeightMap"):
        StyleMix.of({"a": np.zeros((4, 4))})  # type: ignore[dict-item]
    with pytest.raises(SettingError, match="twice"):
        StyleMix(weights=(("a", half("left")), ("a", 0.5)))
    with pytest.raises(SettingError, match="or a map"):
        StyleMix.of({"a": -0.5, "b": half("left")})


def test_a_mix_of_very_many_styles_is_refused_before_anything_is_made_of_it() -> None:
    names = [f"s{i}" for i in range(MOST_STYLES + 1)]
    for value in (",".join(names), dict.fromkeys(names, 0.1)):
        with pytest.raises(SettingError, match=f"The mix has {MOST_STYLES + 1} styles: give at most {MOST_STYLES}"):
            StyleMix.of(value)
    with pytest.raises(SettingError, match="give at most"):
        StyleMix(weights=tuple((name, 0.1) for name in names))
    assert len(StyleMix.of(dict.fromkeys(names[:-1], 0.1)).names) == MOST_STYLES
    with pytest.raises(SettingError, match="The mix has 1000000 styles"):
        StyleMix.of("x:" * 7 + "," * 999_999)
    with pytest.raises(SettingError, match=f"The mix has {MOST_STYLES + 1} styles"):
        StyleMix.of(dict.fromkeys(names[:-1], 0.1)).with_regions({names[-1]: half("left")})


def test_a_recipe_of_very_many_styles_is_refused_before_a_map_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(WeightMap, "from_text", lambda text: opened.append(text))
    text = json.dumps({"mix": {f"s{i}": {"png": "x"} for i in range(10_000)}})
    with pytest.raises(SettingError, match="The mix has 10000 styles"):
        Recipe.from_json(text)
    assert opened == []


def test_a_name_that_is_too_long_is_told_in_short() -> None:
    with pytest.raises(SettingError, match="is not a style name: use letters, digits, - and _, at most 200 of them") as caught:
        StyleMix.of("x" * 100_000)
    assert len(str(caught.value)) < 200
