"""Make the sheet of the maker's path: photos that are never trained on, as `teach`, `train_lora` and a shipped style paint them.

    python docs/maker_figure.py --styles DIR teach-mine mine --shipped vangogh --out sheet.jpg [--paintings DIR] [--single DIR]

--paintings adds a last row of what the styles were made from; such a sheet is only for a project's pages where their licences allow it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from stylekit.base import Base
from stylekit.formats import list_pictures
from stylekit.images import open_picture, save_jpeg
from stylekit.mix import StyleMix
from stylekit.pixels.contact_sheet import contact_sheet
from stylekit.recipe import Recipe
from stylekit.styles import StyleLibrary
from stylekit.stylizer import Stylizer
from training.pictures import data
from training.pictures.pictures import usable

LONG_SIDE = 768  # pixels at which photos are painted
MARGIN = 48  # pixels, for the words beside the paintings


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="+", metavar="STYLE", help="styles in the folder, a column each")
    parser.add_argument("--styles", type=Path, required=True, metavar="DIR", help="folder of the styles that were made")
    parser.add_argument("--shipped", help="a style of the gallery, in the last column")
    parser.add_argument("--paintings", type=Path, help="folder of what they were made from")
    parser.add_argument(
        "--photos", type=Path, nargs="*", default=data.shipped_photos()[1], help="those never trained on, of this repository"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--side", type=int, default=300, help="of a picture, in pixels")
    parser.add_argument("--single", type=Path, help="folder for the whole pictures one by one too, as STYLE/PHOTO.png")
    args = parser.parse_args(argv)
    made, ours = StyleLibrary.open(args.styles), StyleLibrary.open()
    styles = [made[name] for name in args.names] + ([ours[args.shipped]] if args.shipped else [])
    stylizer = Stylizer(Base.open("pocket"), StyleLibrary(styles=tuple(styles)))
    rows = []
    for path in args.photos:
        photo = open_picture(path)
        photo.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
        row = [photo, *(stylizer.stylize(photo, Recipe(mix=StyleMix.of(style.name))).image for style in styles)]
        for name, picture in zip(["photo", *(style.name for style in styles)], row, strict=True):
            if args.single:
                (args.single / name).mkdir(parents=True, exist_ok=True)
                picture.save(args.single / name / f"{path.stem}.png")
        rows.append([ImageOps.fit(picture, (args.side,) * 2, Image.Resampling.LANCZOS) for picture in row])
    titles = ["photo", *(style.title for style in styles)]
    names: list[str] = []
    if args.paintings:
        names = [*([""] * len(rows)), "made\nfrom"]
        some = usable(list_pictures(args.paintings), len(rows[0]))
        rows.append([ImageOps.fit(picture, (args.side,) * 2, Image.Resampling.LANCZOS) for picture in some])
    save_jpeg(contact_sheet(rows, titles=titles, names=names, margin=MARGIN if names else 0), args.out, quality=85)


if __name__ == "__main__":
    main()
