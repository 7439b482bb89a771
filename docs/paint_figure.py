"""Make the README's picture of painting: photo, what was painted on it, result. A browser is opened on the app and the mouse does the rest.

    python docs/paint_figure.py --out assets/reports/painted.jpg

Everything is first filled with one style, then the suit is painted with another, then the head is wiped free.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from playwright.sync_api import Locator, Page, expect

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import app
from docs.browser import page_of_the_app
from stylekit.errors import StyleError
from stylekit.recipe import Recipe
from stylekit.ui.painter.paint import COLOURS

Point = tuple[float, float]  # pixels of the photo

PHOTO = app.PHOTOS_FOLDER / "astronaut.jpg"
BACKDROP, FIGURE = "vangogh", "sketch"
# fmt: off
SUIT: list[Point] = [
    (28, 516), (22, 455), (20, 410), (22, 370), (25, 340), (33, 310), (42, 285), (55, 258), (75, 238), (92, 222), (108, 208), (117, 196),
    (118, 184), (126, 171), (136, 160), (149, 152), (166, 148), (186, 149), (220, 170), (256, 174), (275, 185), (290, 203), (300, 222),
    (304, 240), (325, 249), (342, 260), (350, 275), (357, 300), (363, 332), (367, 348), (385, 344), (400, 342), (425, 347), (450, 361),
    (476, 384), (492, 416), (498, 452), (508, 464), (513, 490), (516, 516),
]
HEAD: list[Point] = [
    (190, 37), (200, 27), (215, 20), (232, 16), (250, 20), (266, 27), (284, 39), (292, 52), (298, 70), (300, 85), (298, 100), (290, 115),
    (278, 126), (274, 132), (267, 136), (263, 142), (258, 152), (255, 160), (254, 172), (252, 184), (244, 189), (225, 188), (205, 183),
    (190, 180), (187, 170), (186, 155), (183, 140), (181, 131), (176, 127), (171, 118), (161, 108), (157, 100), (155, 85), (154, 70),
    (157, 58), (166, 49), (178, 42),
]
# fmt: on
THIN = 1  # brush, in percent of the long side
GAP, STRIP = 12, 40  # pixels between the pictures, and under them for the words


def strokes(outline: Sequence[Point], size: tuple[int, int], width: float) -> Iterator[list[Point]]:
    """Lines that fill `outline` with a brush `width` pixels wide without leaving it."""
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).polygon(list(outline), fill=255)
    radius = int(width // 2)
    inside = np.pad(np.asarray(mask.filter(ImageFilter.MinFilter(2 * radius + 1))) > 0, ((0, 0), (1, 1)))
    for y in range(0, size[1], max(1, radius)):
        ends = np.flatnonzero(np.diff(inside[y].astype(int)))
        for left, right in zip(ends[::2], ends[1::2], strict=True):
            yield [(float(left), y), (float(right - 1), y)]


def draw(page: Page, easel: Locator, line: Sequence[Point], size: tuple[int, int]) -> None:
    """One stroke of the mouse."""
    box = easel.bounding_box()
    assert box
    places = [(box["x"] + (x + 0.5) * box["width"] / size[0], box["y"] + (y + 0.5) * box["height"] / size[1]) for x, y in line]
    places = [(min(max(x, box["x"]), box["x"] + box["width"] - 1), min(max(y, box["y"]), box["y"] + box["height"] - 1)) for x, y in places]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()


def paint_area(page: Page, easel: Locator, outline: Sequence[Point], size: tuple[int, int], brush: int) -> None:
    """Go round the outline with a thin brush, then fill it with a broader one."""
    broad = page.locator("#painter [data-part=size]")
    broad.fill(str(THIN))
    draw(page, easel, [*outline, outline[0]], size)
    for width in (brush, 2 * THIN):
        broad.fill(str(width))
        for line in strokes(outline, size, width * max(size) / 100):
            draw(page, easel, line, size)


def make(page: Page, folder: Path) -> tuple[Image.Image, Path]:
    """Paint and stylize: the easel with the paint on it, and the PNG."""
    with Image.open(PHOTO) as photo:
        size = photo.size
    page.locator("#drop input[type=file]").set_input_files(PHOTO)
    expect(page.locator("#photo img")).to_be_visible()
    page.locator(f"#style input[value={BACKDROP}]").check()
    page.get_by_label("Paint or mix styles").check()
    easel = page.locator("#painter [data-part=easel]")
    expect(easel.locator("canvas")).to_be_visible()
    page.get_by_role("button", name="Fill", exact=True).click()
    page.locator(f"#style input[value={FIGURE}]").check()
    paint_area(page, easel, SUIT, size, 6)
    page.get_by_role("button", name="Eraser", exact=True).click()
    paint_area(page, easel, HEAD, size, 4)
    page.mouse.move(2, 2)
    overlay = folder / "overlay.png"
    easel.screenshot(path=overlay)
    page.locator("#go").click()
    expect(page.locator("#status")).to_contain_text("Done in", timeout=300_000)
    with page.expect_download() as caught:
        page.locator("#frame .sk-download").click()
    result = folder / "result.png"
    caught.value.save_as(result)
    return Image.open(overlay).convert("RGB").resize(size, Image.Resampling.LANCZOS), result


def lay_out(pictures: Sequence[Image.Image], words: Sequence[Sequence[tuple[str, tuple[int, int, int] | None]]]) -> Image.Image:
    """The pictures side by side, each with its words, some behind a dot of their colour."""
    width, height = pictures[0].size
    figure = Image.new("RGB", (len(pictures) * (width + GAP) - GAP, height + STRIP), "white")
    pen, font = ImageDraw.Draw(figure), ImageFont.load_default(19)
    for i, (picture, parts) in enumerate(zip(pictures, words, strict=True)):
        x = i * (width + GAP)
        figure.paste(picture, (x, 0))
        for text, colour in parts:
            if colour:
                pen.ellipse((x + 1, height + 15, x + 15, height + 29), fill=colour)
                x += 22
            pen.text((x, height + 10), text, fill=(60, 55, 48), font=font)
            x += round(pen.textlength(text, font)) + 22
    return figure


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Make the README's picture of painting, in a browser.")
    parser.add_argument("--out", type=Path, required=True, metavar="JPEG")
    args = parser.parse_args(argv)
    try:
        with page_of_the_app(1280, 1000) as page, tempfile.TemporaryDirectory() as folder:
            overlay, path = make(page, Path(folder))
            recipe, photo, result = Recipe.from_png(path), Image.open(PHOTO).convert("RGB"), Image.open(path).convert("RGB")
    except StyleError as error:
        print(f"stylekit: {error}", file=sys.stderr)
        return 2
    untouched = np.sum([np.asarray(weight) for weight in recipe.mix.at(photo.size).values()], 0) == 0
    change = np.abs(np.asarray(photo, np.int16) - np.asarray(result, np.int16)).max(-1)[untouched].max()
    print(f"{recipe.mix}: {untouched.mean():.1%} of the photo left alone, changed there by at most {change} of 255")
    dots = [("Van Gogh", COLOURS[0]), ("Pencil sketch", COLOURS[1]), ("the head is left alone", None)]
    lay_out([photo, overlay, result], [[("The photo", None)], dots, [("The result, in one pass", None)]]).save(args.out, quality=88)
    return 0


if __name__ == "__main__":
    sys.exit(main())
