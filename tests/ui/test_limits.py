"""What one visitor may ask of the server: refused before any work is done, and stopped when nobody waits for it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

import app
from stylekit.errors import SettingError
from stylekit.images import open_picture
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.storage.paths import PHOTOS_FOLDER
from stylekit.studio import Studio
from stylekit.styles import STYLES_FOLDER
from stylekit.stylizer import Stylized, StylizeStep
from stylekit.ui import endpoint
from stylekit.ui.limits import Limits, RequestRefused
from stylekit.ui.worker import Turn, watch
from tests.browser import FakeEngine, serve, until

SMALL = Limits(work=1, regions=2, styles=2, mask_bytes=20_000, mask_pixels=40_000, body_bytes=100_000, body_values=300, body_depth=10)
BRACKETS = b"[" + b"[]," * 3_000_000 + b"[]]"  # 9 MB


# ---- bodies


def counted(value: Any) -> tuple[int, int]:
    """Values inside a JSON value, an empty list or mapping counted twice and names not at all, and how deep they are nested."""
    if not isinstance(value, (list, dict)):
        return 0, 0
    inner = [counted(item) for item in (value.values() if isinstance(value, dict) else value)]
    return sum(1 + count for count, _ in inner) or 1, 1 + max((depth for _, depth in inner), default=0)


def something(rng: random.Random, depth: int) -> Any:
    kind = rng.choice(["list", "dict", "text", "text", "number"]) if depth else rng.choice(["text", "number"])
    if kind == "number":
        return rng.choice([0, -1.5, None, True, 10**20])
    if kind == "text":
        return "".join(rng.choice('[]{},:"\\ \n/éa\u2028') for _ in range(rng.randrange(12)))
    parts = [something(rng, depth - 1) for _ in range(rng.randrange(5))]
    return parts if kind == "list" else {something(rng, 0).__repr__() + str(i): part for i, part in enumerate(parts)}


def test_values_and_depth_are_counted_as_a_parser_finds_them() -> None:
    rng = random.Random(0)
    deepest = 0
    for _ in range(500):
        value = [something(rng, 6)]
        body = json.dumps(value, ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, 1])).encode()
        values, depth = counted(value)
        deepest = max(deepest, depth)
        Limits(body_values=values, body_depth=depth).check_json(body)
        if values > 1:
            with pytest.raises(RequestRefused, match=f"over {values - 1} values"):
                Limits(body_values=values - 1, body_depth=depth).check_json(body)
        if depth > 1:
            with pytest.raises(RequestRefused, match=f"nested {depth} deep"):
                Limits(body_values=values, body_depth=depth - 1).check_json(body)
    assert deepest > 5


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (BRACKETS, "over 20,000 values"),
        (b"[" * 5_000_000, "over 20,000 values"),
        (b"[" * 100 + b"]" * 100, "nested 100 deep"),
        (b"[" + b"1," * 100_000 + b"1]", "over 20,000 values"),
        (json.dumps({str(i): 0 for i in range(100_000)}).encode(), "over 20,000 values"),
        (b'"' * 1_000_000, "over 20,000 values"),
        (b'["\\\\",' + b"[" * 50, "nested 51 deep"),  # the text ends before the brackets
        (json.dumps([[]] * 30_000).encode("utf-16"), "not text in UTF-8"),
    ],
)
def test_bodies_that_would_take_long_are_refused(body: bytes, sentence: str) -> None:
    with pytest.raises(RequestRefused, match=sentence) as refused:
        Limits().check_json(body)
    assert refused.value.status == 400


@pytest.mark.parametrize("text", ["data:image/png;base64," + "iVBORw0KGgo" * 900_000, "[" * 1_000_000, '"' * 100_000, "\\" * 100_000])
def test_long_texts_are_let_through(text: str) -> None:
    Limits().check_json(json.dumps({"data": [text, {"slots": [text]}]}).encode())


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the real app with `SMALL` limits, launched as main does."""
    settings = app.Settings(limits=SMALL, host="127.0.0.1")
    demo = app.build(settings)
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, server_name=settings.host, **app.launch_options(settings))
    yield url
    demo.close()


def posted(url: str, body: Any, path: str = "call/stylize") -> httpx.Response:
    return httpx.post(f"{url}gradio_api/{path}", content=body, headers={"Content-Type": "application/json"}, timeout=30)


def test_a_body_that_is_too_large_is_refused(tight: str) -> None:
    large = json.dumps({"data": ["x" * 100_000]}).encode()
    pieces = (large[start : start + 5000] for start in range(0, len(large), 5000))
    for body, path in ((large, "call/stylize"), (pieces, "call/stylize"), (large, "queue/join"), (large, "component_server")):
        answer = posted(tight, body, path)
        assert answer.status_code == 413
        assert answer.json()["detail"] == "The request is larger than 100,000 bytes: upload pictures as files."


@pytest.mark.parametrize("path", ["call/stylize", "queue/join", "call/v2/stylize", "cancel"])
def test_a_body_of_brackets_is_refused_and_the_page_goes_on(tight: str, path: str) -> None:
    answer = posted(tight, b'{"data": ' + b"[" * 50 + b"]" * 50 + b"}", path)
    assert (answer.status_code, answer.json()["detail"]) == (400, "The request's JSON is nested 51 deep: nest at most 10.")
    answer = posted(tight, b'{"data": [' + b"[]," * 3000 + b"[]]}", path)
    assert (answer.status_code, answer.json()["detail"]) == (400, "The request's JSON holds over 300 values: send less.")
    assert httpx.get(tight).status_code == 200


def test_an_upload_has_its_own_limit(tight: str) -> None:
    answer = httpx.post(f"{tight}gradio_api/upload", files={"files": ("noise.bin", bytes(200_000))})
    assert answer.status_code == 200
    assert len(answer.json()) == 1


def test_nobody_goes_past_the_queue(tight: str) -> None:
    for path in ("run/stylize", "api/stylize"):
        answer = posted(tight, json.dumps({"data": [None] * 14}), path)
        assert answer.status_code == 404
        assert "join the queue" in answer.json()["detail"]


# ---- calls of /stylize


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    paths = {name: folder / f"{name}.png" for name in ("photo", "mask", "wide", "heavy", "text", "large")}
    Image.open(PHOTOS_FOLDER / "chelsea.jpg").convert("RGB").resize((150, 100)).save(paths["photo"])
    Image.open(PHOTOS_FOLDER / "chelsea.jpg").convert("RGB").resize((3000, 2000)).save(paths["large"], compress_level=1)
    Image.new("L", (150, 100), 255).save(paths["mask"])
    Image.new("L", (300, 200), 255).save(paths["wide"])
    Image.effect_noise((150, 100), 80).save(paths["heavy"], compress_level=0)
    with paths["heavy"].open("ab") as file:
        file.write(bytes(10_000))
    paths["text"].write_text("This is no picture.")
    return paths


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"style": "monet", "photo": "large", "size": 2048}, "takes 8.8 million pixels times steps, over the 1 allowed here"),
        ({"style": "monet", "photo": "large", "size": 64}, "takes 6 million pixels times steps"),  # drawn at the photo's size
        ({"style": "monet", "steps": 100, "size": 150}, "million pixels times steps, over the 1 allowed here"),
        ({"style": "monet:0.1,ukiyoe:0.1,sketch:0.1"}, "style holds 3 styles: give at most 2."),
        ({"style": {"monet": 0.1, "ukiyoe": 0.1, "sketch": 0.1}}, "style holds 3 styles: give at most 2."),
        ({"style": ",".join(f"s{i}" for i in range(10_000))}, "The mix has 10000 styles: give at most 64."),
        ({"regions": {"monet": "mask", "ukiyoe": "mask", "sketch": "mask"}}, "regions holds 3 styles: give at most 2."),
        ({"regions": {"cubism": "text"}}, "There is no style 'cubism'"),  # before the mask is opened
        ({"style": "cubism", "mask": "text"}, "There is no style 'cubism'"),
        ({"style": "cubism", "photo": "text"}, "There is no style 'cubism'"),
        ({"style": "monet", "steps": 100, "size": 150, "mask": "text"}, "over the 1 allowed here"),
        ({"style": "monet", "mask": "wide"}, "The mask is 300 x 200, over 0.04 million pixels"),
        ({"regions": {"monet": "mask", "sketch": "wide"}}, "The region of sketch is 300 x 200, over 0.04 million pixels"),
        ({"regions": {"monet": "text", "sketch": "wide"}}, "The region of sketch is 300 x 200, over 0.04 million pixels"),
        ({"regions": {"monet": "heavy"}}, "The region of monet has 25,"),
        ({"style": "m" * 50_000}, "at most 200 of them"),
    ],
)
def test_what_asks_for_too_much_is_refused_with_a_sentence(
    tight: str, files: dict[str, Path], settings: dict[str, Any], sentence: str
) -> None:
    def given(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: given(item) for name, item in value.items()}
        return handle_file(files[value]) if isinstance(value, str) and value in files else value

    with pytest.raises(AppError) as caught:
        Client(tight, verbose=False).predict(api_name="/stylize", **{"photo": handle_file(files["photo"])} | given(settings))
    assert sentence in str(caught.value)
    assert len(str(caught.value)) < 500


def test_what_is_within_the_limits_is_painted(tight: str, files: dict[str, Path], tmp_path: Path) -> None:
    client = Client(tight, verbose=False, download_files=tmp_path)
    regions = {"monet": handle_file(files["mask"])}
    result = client.predict(handle_file(files["photo"]), "sketch:0.5,ukiyoe:0.5", regions=regions, size=64, api_name="/stylize")
    assert Recipe.from_png(result).mix.names == ("monet", "sketch", "ukiyoe")


def test_the_page_has_the_same_limit_of_work() -> None:
    studio, photo = Studio("pocket", STYLES_FOLDER, most_work=0.1), open_picture(PHOTOS_FOLDER / "astronaut.jpg")
    for size, steps, hand in ((320, 1, False), (64, 25, False), (64, 1, True)):
        recipe = Recipe(mix=StyleMix.of("sketch"), size=size, num_inference_steps=steps, hand=hand)
        with pytest.raises(SettingError, match=r"over the 0.1 allowed here: choose a smaller photo or size, or fewer steps\."):
            next(iter(studio.steps(photo, recipe)))
        with pytest.raises(SettingError, match=r"over the 0.1 allowed here"):
            studio.stylize(photo, recipe)
    assert studio.stylize(photo, Recipe(mix=StyleMix.of("sketch"), size=64, hand=False)).image.size == photo.size


# ---- requests that nobody waits for


@pytest.fixture
def slow() -> Iterator[tuple[str, FakeEngine]]:
    """The endpoint over a fake engine that would take 30 seconds: its address, and the engine."""
    engine = FakeEngine()
    engine.delay, engine.total = 0.1, 300
    with gr.Blocks(analytics_enabled=False) as demo:
        endpoint.create_endpoint(run=engine, check=lambda size, recipe: None, base=lambda: "pocket")
    with serve(demo.queue()) as url:
        yield url, engine


def test_a_cancelled_request_stops(slow: tuple[str, FakeEngine], files: dict[str, Path]) -> None:
    url, engine = slow
    job = Client(url, verbose=False).submit(handle_file(files["photo"]), "sketch", api_name="/stylize")
    until(lambda: engine.steps > 2)
    job.cancel()
    until(lambda: engine.closed_early == 1)
    assert (engine.at_work, engine.steps < 100) == (0, True)


def test_a_request_whose_client_was_killed_stops(slow: tuple[str, FakeEngine], files: dict[str, Path]) -> None:
    url, engine = slow
    call = "import sys; from gradio_client import Client, handle_file\n"
    call += "Client(sys.argv[1], verbose=False).predict(handle_file(sys.argv[2]), 'sketch', api_name='/stylize')"
    client = subprocess.Popen([sys.executable, "-c", call, url, str(files["photo"])], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: engine.steps > 2, seconds=60)
    finally:
        client.kill()
        client.wait()
    until(lambda: engine.closed_early == 1)
    assert (engine.at_work, engine.steps < 100) == (0, True)


def test_the_next_request_is_painted_after_one_was_given_up(slow: tuple[str, FakeEngine], files: dict[str, Path], tmp_path: Path) -> None:
    url, engine = slow
    client = Client(url, verbose=False, download_files=tmp_path)
    job = client.submit(handle_file(files["photo"]), "sketch", api_name="/stylize")
    until(lambda: engine.steps > 0)
    job.cancel()
    engine.total = 2
    result = client.predict(handle_file(files["photo"]), "ukiyoe", api_name="/stylize")
    assert Image.open(result).size == (150, 100)
    assert engine.most_at_work == 1
    time.sleep(0.5)
    assert engine.at_work == 0


def test_pictures_of_the_page_and_of_programs_are_made_on_one_thread(files: dict[str, Path], tmp_path: Path) -> None:
    seen: list[int] = []

    def run(photo: Image.Image, recipe: Recipe) -> Iterator[StylizeStep | Stylized]:
        seen.append(threading.get_ident())
        time.sleep(0.2)
        yield Stylized(image=photo, recipe=recipe, seconds=0.2)

    turn = Turn()
    with gr.Blocks(analytics_enabled=False) as demo:
        endpoint.create_endpoint(run=run, check=lambda size, recipe: None, base=lambda: "pocket", turn=turn)
    with serve(demo.queue()) as url:
        clients = [Client(url, verbose=False, download_files=tmp_path) for _ in range(3)]
        jobs = [client.submit(handle_file(files["photo"]), "sketch", api_name="/stylize") for client in clients for _ in range(2)]
        for job in jobs:
            job.result(timeout=60)
    list(watch(lambda: run(open_picture(files["photo"]), Recipe()), turn))  # as the page does
    assert len(seen) == 7
    assert len(set(seen)) == 1


# ---- settings


def test_a_space_is_strict_and_the_environment_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert app.Settings().limits == Limits()
    monkeypatch.setenv("SPACE_ID", "someone/stylekit")
    assert app.Settings().limits == Limits.strict()
    monkeypatch.setenv("STYLEKIT_LIMIT_WORK", "30")
    monkeypatch.setenv("STYLEKIT_LIMIT_REGIONS", "3")
    limits = app.Settings().limits
    assert (limits.work, limits.regions, limits.styles) == (30, 3, Limits.strict().styles)
    for wrong in ("0", "-1", "1.5", "many", "²"):
        monkeypatch.setenv("STYLEKIT_LIMIT_WORK", wrong)
        with pytest.raises(SettingError, match=r"STYLEKIT_LIMIT_WORK is .*: give a whole number of at least 1\."):
            app.Settings()


def test_a_space_allows_less_than_a_machine_of_ones_own() -> None:
    own, space = vars(Limits()), vars(Limits.strict())
    assert all(space[name] <= own[name] for name in own)
    assert space["work"] * 10 < own["work"]


def test_every_limit_is_in_the_documentation_with_its_numbers(root: Path) -> None:
    text = (root / "docs" / "server.md").read_text()
    for name, own in vars(Limits()).items():
        assert f"| `STYLEKIT_LIMIT_{name.upper()}` | {own:,} | {getattr(Limits.strict(), name):,} |" in text
