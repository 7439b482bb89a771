"""Shared fixtures: the real pocket base, opened once, small pictures, a page in a real browser and a small Hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from PIL import Image
from playwright.sync_api import Browser, Page

from stylekit.base import SD_CARD, Base
from stylekit.stylizer import Stylizer
from tests import hub_server
from tests.browser import FakeEngine, chromium, fake_page, visits
from tests.hub_server import Hub

ROOT = Path(__file__).resolve().parent.parent


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
    from benchmarks.sd15_training import REDUCED, build_unet, build_vae  # which imports transformers

    torch.manual_seed(0)
    scheduler = DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False)
    parts = {"unet": build_unet(REDUCED).eval().requires_grad_(False), "vae": build_vae(REDUCED).eval().requires_grad_(False)}
    return Base(name="random", source="random", card=SD_CARD, scheduler=scheduler, device=torch.device("cpu"), dtype=torch.float32, **parts)


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
