"""Make a style's card pictures: `before.jpg`, `preview.jpg` and the dial, from a photo that ships with the project.

python -m training.previews sketch ukiyoe
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from stylekit.errors import StyleError
from stylekit.images import open_picture
from stylekit.storage.paths import PHOTOS_FOLDER, STYLES_FOLDER
from stylekit.stylizer import Stylizer
from training.style import card_pictures


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.previews", description="Make the pictures of style cards.")
    parser.add_argument("styles", nargs="+", metavar="NAME")
    parser.add_argument("--photo", type=Path, default=PHOTOS_FOLDER / "astronaut.jpg")
    args = parser.parse_args(argv)
    try:
        stylizer = Stylizer.open()
        photo = open_picture(args.photo)
        for name in args.styles:
            style = stylizer.library[name]
            if style.source or not (STYLES_FOLDER / name).is_dir():
                raise StyleError(f"The style {name} does not lie in {STYLES_FOLDER}: make the pictures of one that does.")
            folder = STYLES_FOLDER / style.name
            card_pictures.write(stylizer, name, photo, folder)
            print(folder)
    except StyleError as error:
        print(f"previews: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
