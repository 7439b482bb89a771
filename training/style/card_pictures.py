"""The pictures of a style card: a photo before and after, and the dial."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from stylekit.images import save_jpeg
from stylekit.mix import StyleMix
from stylekit.pixels.contact_sheet import contact_sheet
from stylekit.recipe import Recipe
from stylekit.styles import DIAL_FILE
from stylekit.stylizer import Stylizer

DIAL = (0.0, 0.2, 0.5, 0.8, 1.0)  # strengths, the last of which the preview shows
DIAL_SIDE = 256  # pixels, of each
PREVIEW_SIDE = 480  # pixels
BEFORE_FILE, PREVIEW_FILE = "before.jpg", "preview.jpg"


def square(picture: Image.Image, side: int) -> Image.Image:
    """The centre of `picture`, `side` x `side`."""
    edge = min(picture.size)
    left, top = (picture.width - edge) // 2, (picture.height - edge) // 2
    return picture.crop((left, top, left + edge, top + edge)).resize((side, side), Image.Resampling.LANCZOS)


def write(stylizer: Stylizer, style: str, photo: Image.Image, folder: Path) -> None:
    """The three pictures of `style`, which `stylizer` has, into `folder`: the dial is a strip of `photo` at the strengths of `DIAL`."""
    recipes = [Recipe(mix=StyleMix.of(style), strength=strength) for strength in DIAL]
    results = [stylizer.stylize(photo, recipe).image for recipe in recipes]
    save_jpeg(square(photo, PREVIEW_SIDE), folder / BEFORE_FILE, quality=90)
    save_jpeg(square(results[-1], PREVIEW_SIDE), folder / PREVIEW_FILE, quality=90)
    save_jpeg(contact_sheet([[square(result, DIAL_SIDE) for result in results]]), folder / DIAL_FILE, quality=88)
