"""Shared fixtures: the real pocket base, opened once, and small pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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
