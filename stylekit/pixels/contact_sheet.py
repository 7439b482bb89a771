"""Contact sheets: pictures in rows and columns on white, with words beside them."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

GAP = 4  # pixels between pictures
LINE = 20  # pixels; height of a line of text
SIZE = 14  # of the font
INK = "#222222"


def contact_sheet(
    rows: Sequence[Sequence[Image.Image]], *, titles: Sequence[str] = (), names: Sequence[str] = (), gap: int = GAP, margin: int = 0
) -> Image.Image:
    """RGB: `rows` of pictures, each as large as it is, columns as wide and rows as high as their largest.

    titles: above the columns. names: at the left of the rows, in a margin of `margin` pixels.
    """
    count = max((len(row) for row in rows), default=0)
    widths = [max((row[i].width for row in rows if i < len(row)), default=0) for i in range(count)]
    heights = [max((picture.height for picture in row), default=0) for row in rows]
    top = LINE + gap if titles else 0
    size = (margin + sum(widths) + gap * max(0, count - 1), top + sum(heights) + gap * max(0, len(rows) - 1))
    sheet = Image.new("RGB", (max(1, size[0]), max(1, size[1])), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(SIZE)
    lefts = [margin + sum(widths[:i]) + gap * i for i in range(count)]
    for left, title in zip(lefts, titles, strict=False):
        draw.text((left + 4, 3), title, fill=INK, font=font)
    for i, (row, height) in enumerate(zip(rows, heights, strict=True)):
        if i < len(names):
            draw.text((4, top + height // 2 - SIZE // 2), names[i], fill=INK, font=font)
        for left, width, picture in zip(lefts, widths, row, strict=False):
            sheet.paste(picture, (left + (width - picture.width) // 2, top))
        top += height + gap
    return sheet


def captioned(picture: Image.Image, text: str, lines: int = 1) -> Image.Image:
    """`picture` with `text` below it, in room for `lines` lines."""
    whole = Image.new("RGB", (picture.width, picture.height + LINE * lines), "white")
    whole.paste(picture, (0, 0))
    ImageDraw.Draw(whole).multiline_text((2, picture.height + 3), text, fill="#555555", font=ImageFont.load_default(11), spacing=8)
    return whole


def within(picture: Image.Image, side: int) -> Image.Image:
    """`picture` resized so that its long side has `side` pixels."""
    k = side / max(picture.size)
    return picture.resize((max(1, round(picture.width * k)), max(1, round(picture.height * k))), Image.Resampling.LANCZOS)
