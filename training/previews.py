"""Make a style's card pictures: `before.jpg`, `preview.jpg` and the dial, from a photo that ships with the project.

python -m training.previews sketch ukiyoe
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from stylekit.errors import StyleError
from stylekit.images import open_picture
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.styles import DIAL_FILE
from stylekit.stylizer import Stylizer

PHOTOS = Path(__file__).resolve().parent.parent / "assets" / "photos"
DIAL = (0.0, 0.2, 0.5, 0.8, 1.0)
SIDE = 480  # pixels
BEFORE_FILE, PREVIEW_FILE = "before.jpg", "preview.jpg"


def square(picture: Image.Image, side: int) -> Image.Image:
    """The centre of `picture`, `side` x `side`."""
    edge = min(picture.size)
    left, top = (picture.width - edge) // 2, (picture.height - edge) // 2
    return picture.crop((left, top, left + edge, top + edge)).resize((side, side), Image.Resampling.LANCZOS)


def dial(stylizer: Stylizer, style: str, photo: Image.Image, side: int = 256) -> Image.Image:
    """A strip of `photo` at the strengths of `DIAL`."""
    strip = Image.new("RGB", (len(DIAL) * (side + 4) - 4, side), "white")
    for i, strength in enumerate(DIAL):
        result = stylizer.stylize(photo, Recipe(mix=StyleMix.of(style), strength=strength)).image
        strip.paste(square(result, side), (i * (side + 4), 0))
    return strip


def write(stylizer: Stylizer, style: str, photo: Image.Image, folder: Path) -> None:
    """The three pictures of `style`, which `stylizer` has, into `folder`."""
    result = stylizer.stylize(photo, Recipe(mix=StyleMix.of(style)))
    square(photo, SIDE).save(folder / BEFORE_FILE, quality=90)
    square(result.image, SIDE).save(folder / PREVIEW_FILE, quality=90)
    dial(stylizer, style, photo).save(folder / DIAL_FILE, quality=88)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.previews", description="Make the pictures of style cards.")
    parser.add_argument("styles", nargs="+", metavar="NAME")
    parser.add_argument("--photo", type=Path, default=PHOTOS / "astronaut.jpg")
    args = parser.parse_args(argv)
    try:
        stylizer = Stylizer.open()
        photo = open_picture(args.photo)
        for name in args.styles:
            style = stylizer.library[name]
            folder = style.adapter("pocket").path.parent.parent
            write(stylizer, name, photo, folder)
            print(folder)
    except StyleError as error:
        print(f"previews: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
