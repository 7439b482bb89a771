"""Shared fixtures: the real pocket base, opened once, and small pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from PIL import Image

from stylekit.base import SD_CARD, Base
from stylekit.stylizer import Stylizer

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
