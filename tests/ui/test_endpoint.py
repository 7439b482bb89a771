"""The endpoint `/stylize`, called by the real client, on the app with the real pocket base."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

import app
from stylekit.recipe import Recipe
from stylekit.style_picture.picture import StylePicture
from stylekit.stylizer import Stylizer
from stylekit.ui import endpoint
from tests.browser import serve

Call = Callable[..., Path]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serve(app.build(app.Settings())) as found:
        yield found


@pytest.fixture(scope="module")
def call(url: str, tmp_path_factory: pytest.TempPathFactory) -> Call:
    client = Client(url, verbose=False, download_files=tmp_path_factory.mktemp("results"))
    return lambda *args, **kwargs: Path(client.predict(*args, **kwargs, api_name="/stylize"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, root: Path) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    paths = {name: folder / f"{name}.png" for name in ("photo", "top", "bottom", "black", "square")}
    Image.open(root / "assets" / "photos" / "chelsea.jpg").convert("RGB").resize((150, 100)).save(paths["photo"])
    for name, box in (("top", (0, 0, 150, 40)), ("bottom", (0, 60, 150, 100))):
        mask = Image.new("L", (150, 100))
        mask.paste(255, box)
        mask.save(paths[name])
    Image.new("L", (150, 100)).save(paths["black"])
    Image.new("L", (100, 100), 255).save(paths["square"])
    for name, box in (("manner", (0, 0, 200, 200)), ("other", (150, 50, 350, 250))):
        paths[name] = folder / f"{name}.png"
        Image.open(root / "assets" / "photos" / "chelsea.jpg").convert("RGB").crop(box).save(paths[name])
    paths["text"] = folder / "text.png"
    paths["text"].write_text("This is no picture.")
    return paths


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"), np.int16)


def test_a_style_gives_the_pixels_that_python_gives(call: Call, files: dict[str, Path], stylizer: Stylizer) -> None:
    result = call(handle_file(files["photo"]), "sketch", seed=3, size=128, structure=0.2)
    recipe = Recipe.from_png(result)
    assert result.name == "photo-stylized.png"
    assert (recipe.mix.weights, recipe.seed, recipe.size, recipe.structure) == ((("sketch", 1.0),), 3, 128, 0.2)
    expected = stylizer.stylize(Image.open(files["photo"]), recipe).image
    assert np.abs(pixels(result) - np.asarray(expected, np.int16)).max() <= 2  # its own copy of the model, on other threads


@pytest.mark.parametrize("style", ["monet:0.6,ukiyoe:0.4", {"monet": 0.6, "ukiyoe": 0.4}])
def test_a_mix_as_text_or_mapping(call: Call, files: dict[str, Path], style: Any) -> None:
    assert Recipe.from_png(call(handle_file(files["photo"]), style, size=64)).mix.weights == (("monet", 0.6), ("ukiyoe", 0.4))


def test_a_mask_leaves_the_rest_bit_for_bit(call: Call, files: dict[str, Path]) -> None:
    result = call(photo=handle_file(files["photo"]), style="ukiyoe", mask=handle_file(files["top"]), strength=0.9, size=128)
    change = np.abs(pixels(result) - pixels(files["photo"])).max(-1)
    assert (change[40:] == 0).all()
    assert change[:30].mean() > 3


def test_regions_in_two_styles_leave_the_middle(call: Call, files: dict[str, Path]) -> None:
    regions = {"ukiyoe": handle_file(files["top"]), "sketch": handle_file(files["bottom"])}
    result = call(photo=handle_file(files["photo"]), regions=regions, size=128)
    change = np.abs(pixels(result) - pixels(files["photo"])).max(-1)
    assert Recipe.from_png(result).mix.names == ("ukiyoe", "sketch")
    assert (change[40:60] == 0).all()
    assert change[:30].mean() > 3
    assert change[70:].mean() > 3


def test_pictures_as_styles(call: Call, files: dict[str, Path]) -> None:
    manner, other = StylePicture.of(files["manner"]), StylePicture.of(files["other"])
    photo = handle_file(files["photo"])
    single = Recipe.from_png(call(photo, size=64, style_images=handle_file(files["manner"])))
    assert (single.mix.weights, single.pictures) == (((manner.name, 1.0),), (manner,))
    both = [handle_file(files["manner"]), handle_file(files["other"])]
    mixed = Recipe.from_png(call(photo, "monet:0.4", size=64, style_images=both, style_image_weights=[0.4, 0.2]))
    assert mixed.mix.weights == (("monet", 0.4), (manner.name, 0.4), (other.name, 0.2))
    assert mixed.pictures == (manner, other)


def test_a_region_in_the_manner_of_a_picture(call: Call, files: dict[str, Path]) -> None:
    regions = {"image1": handle_file(files["top"]), "sketch": handle_file(files["bottom"])}
    result = call(photo=handle_file(files["photo"]), regions=regions, size=128, style_images=[handle_file(files["manner"])])
    assert Recipe.from_png(result).mix.names == (StylePicture.of(files["manner"]).name, "sketch")
    assert (pixels(result)[40:60] == pixels(files["photo"])[40:60]).all()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "No style was given"),
        ({"style": "cubism"}, "There is no style 'cubism': choose from"),
        ({"style": ""}, "is not a style name"),
        ({"style": 7}, "style is neither a text nor a mapping"),
        ({"style": "monet:0,sketch:0"}, "Every weight in monet:0,sketch:0 is 0: raise one."),
        ({"style": "monet:x"}, "The weight in 'monet:x' is not a number"),
        ({"style": {"monet": None}}, "The weight of monet is None"),
        ({"style": "monet", "strength": 2}, "strength is 2: choose a number from 0 to 1."),
        ({"style": "monet", "strength": "all"}, "strength is 'all'"),
        ({"style": "monet", "steps": 1.5}, "num_inference_steps is 1.5"),
        ({"style": "monet", "seed": -1}, "seed is -1"),
        ({"style": "monet", "size": 10**6}, "size is 1000000"),
        ({"style": "monet", "match_border": "yes"}, "match_border is 'yes'"),
        ({"style": "monet", "mask": "black"}, "The mask is black everywhere"),
        ({"style": "monet", "mask": "square"}, "The mask is 100 x 100 but the photo is 150 x 100"),
        ({"style": "monet", "mask": "text"}, "is not a picture stylekit can read"),
        ({"regions": {"monet": "square"}}, "The region of monet is 100 x 100"),
        ({"regions": [1]}, "regions is not a mapping"),
        ({"regions": {"../x": "top"}}, "There is no style '../x'"),
        ({"style": "monet", "photo": "text"}, "is not a picture stylekit can read"),
        ({"style_images": "text"}, "text.png is not a picture stylekit can read"),
        ({"style_images": ["manner", 7]}, "style_images, number 2, is not an uploaded file"),
        ({"style_images": ["manner"] * 5}, "style_images holds 5 pictures: give at most 4."),
        ({"style_images": ["manner"] * 2}, "the same picture twice"),
        (
            {"style_images": ["manner", "other"], "style_image_weights": [1]},
            "style_image_weights holds 1, style_images 2: give one weight for each",
        ),
        ({"style": "monet", "style_image_weights": [1]}, "style_image_weights holds 1, style_images 0"),
        ({"style_images": ["manner"], "style_image_weights": [3]}, "A weight in style_image_weights is 3"),
        ({"style_images": ["manner"], "style_image_weights": "x"}, "A weight in style_image_weights is 'x'"),
        ({"style_images": ["manner"], "regions": {"image2": "top"}}, "regions names image2, but style_images holds 1"),
        ({"style": "picture-0123456789ab"}, "picture-0123456789ab, which is not there"),
    ],
)
def test_mistakes_reach_the_caller_as_sentences(
    call: Call, files: dict[str, Path], settings: dict[str, Any], sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    def given(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: given(item) for name, item in value.items()}
        if isinstance(value, list):
            return [given(item) for item in value]
        return handle_file(files[value]) if isinstance(value, str) and value in files else value

    with pytest.raises(AppError) as caught:
        call(**{"photo": handle_file(files["photo"])} | given(settings))
    assert sentence in str(caught.value)
    assert caplog.text == ""


@pytest.mark.parametrize("photo", [{"path": "/etc/passwd"}, "/etc/passwd", "http://127.0.0.1:1/a.png", None, 5, []])
def test_no_file_of_the_server_is_opened(url: str, photo: Any) -> None:
    assert "photo is not an uploaded file" in raw(url, [photo, "sketch"])


def test_a_file_that_says_it_was_uploaded_is_checked(url: str) -> None:
    answer = raw(url, [{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}, "sketch"])
    assert answer.startswith("event: error")
    assert "root" not in answer


def raw(url: str, data: list[Any]) -> str:
    """What the server answers to `data`, sent without the client's help."""
    address = f"{url}gradio_api/call/stylize"
    event = httpx.post(
        address, json={"data": [*data, *[None] * 2, None, 0, 0, False, 0.01, None, 0, 64, None, None, 1.0, True, None, None, False][:19]}
    ).json()["event_id"]
    return httpx.get(f"{address}/{event}", timeout=60).text


def test_what_nobody_foresaw_is_in_the_log_and_not_in_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(endpoint.gr.Error) as caught, endpoint._told():
        raise OSError("secret /path")
    assert str(caught.value.message) == endpoint.FAILED
    assert "secret" in caplog.text


def test_ranges_that_had_to_be_found_and_names_in_any_script(url: str, files: dict[str, Path], tmp_path: Path) -> None:
    photo, mask = tmp_path / "été 2024 (1).png", tmp_path / "mask.png"
    Image.open(files["photo"]).save(photo)
    Image.open(files["top"]).point([0] + [1] * 255).save(mask)
    client = Client(url, verbose=False, download_files=tmp_path)
    job = client.submit(handle_file(photo), "sketch", mask=handle_file(mask), size=128, api_name="/stylize")
    result = Path(job.result())
    assert result.name == "été-2024-1-stylized.png"
    changed = np.abs(pixels(result) - pixels(photo)).max(-1)
    assert changed[:30].mean() > 5
    assert (changed[41:] == 0).all()
    assert "srgb" in Image.open(result).info
