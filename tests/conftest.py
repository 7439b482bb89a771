"""Shared fixtures: the real pocket base, opened once, small pictures, a page in a real browser and a small Hub."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from huggingface_hub import try_to_load_from_cache
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from stylekit.base import Base
from stylekit.base_card import SD_CARD
from stylekit.storage.paths import ROOT
from stylekit.stylizer import Stylizer
from tests import hub_server
from tests.browser import WAIT, FakeEngine, chromium, fake_page, until, visits
from tests.hub_server import Hub


def pytest_configure(config: pytest.Config) -> None:
    """Workers side by side share the processor's cores instead of each taking all, and so do the programs that they start.

    What a page is expected to show has as long as it takes on a machine that does much else: it is a failure only if it never comes.
    """
    expect.set_options(timeout=WAIT)
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if count > 1:
        torch.set_num_threads(max(1, torch.get_num_threads() // count))
        os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def stylizer() -> Stylizer:
    return Stylizer.open()


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    """A real photo, small: 150 x 100."""
    return Image.open(ROOT / "assets" / "photos" / "chelsea.jpg").convert("RGB").resize((150, 100), Image.Resampling.LANCZOS)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def sd_base() -> Base:
    """A base of Stable Diffusion 1.5's classes and blocks at reduced width, random weights, of its own for every test."""
    from benchmarks.sd15_models import REDUCED, build_unet, build_vae  # which imports transformers

    torch.manual_seed(0)
    scheduler = DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False)
    parts = {"unet": build_unet(REDUCED).eval().requires_grad_(False), "vae": build_vae(REDUCED).eval().requires_grad_(False)}
    return Base(name="random", source="random", card=SD_CARD, scheduler=scheduler, device=torch.device("cpu"), dtype=torch.float32, **parts)


@pytest.fixture(scope="session")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole folder of Stable Diffusion 1.5's classes at reduced width, random weights, with a text encoder and a tokenizer of letters."""
    from benchmarks.sd15_models import REDUCED, save_model

    return save_model(tmp_path_factory.mktemp("twin"), REDUCED)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, FakeEngine, dict[str, Path]]]:
    """The Stylize tab over a fake engine: its address, the engine, and pictures to upload."""
    with fake_page(tmp_path_factory.mktemp("pictures")) as found:
        yield found


@pytest.fixture(scope="module")
def pictures(served: tuple[str, FakeEngine, dict[str, Path]]) -> dict[str, Path]:
    return served[2]


@pytest.fixture
def engine(served: tuple[str, FakeEngine, dict[str, Path]]) -> FakeEngine:
    until(lambda: served[1].at_work == 0, 60)  # a run that the test before has cancelled still has its step to end
    served[1].reset()
    return served[1]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    with visits(browser) as open_:
        yield open_


@pytest.fixture
def page(open_page: Callable[..., Page], served: tuple[str, FakeEngine, dict[str, Path]], engine: FakeEngine) -> Page:
    return open_page(served[0])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_server.serve() as running:
        hub_server.aim_client(monkeypatch, running.url)
        yield running


@pytest.fixture
def sd15_weights() -> str:
    """Stable Diffusion 1.5 with its own weights: a folder or a Hub id in STYLEKIT_TEST_SD15, or what is in the Hub's cache."""
    source = os.environ.get("STYLEKIT_TEST_SD15", "stable-diffusion-v1-5/stable-diffusion-v1-5")
    if not Path(source).is_dir() and not isinstance(try_to_load_from_cache(source, "unet/config.json"), str):
        pytest.skip(f"the weights of {source} are not on this machine: fetch them, or name a folder in STYLEKIT_TEST_SD15")
    return source


WEIGHT_FIXTURES = frozenset({"sd15_weights"})
BROWSER_FIXTURES = frozenset({"page", "browser", "url", "visits"})
SLOW_FOLDERS = ("training", "adapters", "hand")
SLOW_FILES = frozenset(
    [
        "test_drawn",
        "test_evaluation",
        "test_limits",
        "test_methods",
        "test_push_space",
        "test_sd_gallery",
        "test_selection",
        "test_stylizer",
        "test_reference",
        "test_ip_adapter",
        "test_picture",
        "test_teach",
        "test_paintings",
        "test_structure",
        "test_words",
    ]
)
QUICK_FILES = frozenset(
    {"test_lora_settings", "test_formats", "test_claims", "test_loop", "test_prepare_sources", "test_train_lora_settings"}
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The quick lane (`make quick`) leaves out what opens a browser, trains, or makes many pictures."""
    for item in items:
        path = item.path
        if WEIGHT_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.weights)
        if BROWSER_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.browser)
        if path.stem in SLOW_FILES or (path.parent.name in SLOW_FOLDERS and path.stem not in QUICK_FILES):
            item.add_marker(pytest.mark.slow)
