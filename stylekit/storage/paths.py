"""Where things lie in a clone of the repository: the one place that works out its root."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ROOT / "assets"
PHOTOS_FOLDER = ASSETS / "photos"  # licence-clear content photos: examples, previews, tests
POCKET_FOLDER = ASSETS / "pocket"  # the embedded base
STYLES_FOLDER = ROOT / "styles"
