"""Make the README's film of the page: a browser is opened on the app, a visitor's moves are made, and what is seen becomes a GIF.

    python docs/demo.py --out assets/reports/demo.gif

A photo is brought, every style shows itself on it, one is chosen and painted large, photo and picture are compared, two styles are painted
on with a brush, and the result is taken home. Waiting is cut short: the film shows that something is waited for, not how long.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import Locator, Page, expect

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import app
from docs.browser import page_of_the_app
from stylekit.errors import StyleError
from stylekit.storage.files import write_whole

PHOTO = app.PHOTOS_FOLDER / "chelsea.jpg"
FIRST, SECOND = "vangogh", "sketch"
VIEW = (1280, 800)
BRUSH = 22  # in percent of the long side
WIDTH = 960  # pixels of the film
SEEN = 9  # frames that the palette is made from
STRIP = 46  # pixels under the page, for a line that says what is going on
INK, PAPER = (38, 34, 28), (253, 252, 249)
LONGEST = 300_000  # milliseconds for the slowest machine
CURSOR = """
() => {
  const dot = document.createElement("div");
  dot.style.cssText = "position:fixed;z-index:99999;width:22px;height:22px;border-radius:50%;background:#1b1b1bcc;border:3px solid #fff;"
    + "box-shadow:0 1px 6px #0006;pointer-events:none;transform:translate(-50%,-50%);left:50%;top:60%";
  document.body.append(dot);
  const follow = (event) => { dot.style.left = event.clientX + "px"; dot.style.top = event.clientY + "px"; };
  addEventListener("pointermove", follow, true);
  addEventListener("pointerdown", () => dot.style.background = "#c0392bdd", true);
  addEventListener("pointerup", () => dot.style.background = "#1b1b1bcc", true);
}
"""


@dataclass
class Film:
    """Frames, each with how long it stands. said: the line under them from now on."""

    page: Page
    said: str = ""
    frames: list[Image.Image] = field(default_factory=list)
    durations: list[int] = field(default_factory=list)
    at: tuple[float, float] = (640, 480)

    def take(self, milliseconds: int) -> None:
        """What is on the page now, for so long; a longer stand where nothing has changed."""
        shot = Image.open(io.BytesIO(self.page.screenshot(animations="allow"))).convert("RGB")
        shot = shot.resize((WIDTH, round(shot.height * WIDTH / shot.width)), Image.Resampling.LANCZOS)
        frame = Image.new("RGB", (WIDTH, shot.height + STRIP), INK)
        frame.paste(shot)
        ImageDraw.Draw(frame).text((WIDTH // 2, shot.height + STRIP // 2), self.said, PAPER, ImageFont.load_default(24), anchor="mm")
        if self.frames and frame.tobytes() == self.frames[-1].tobytes():
            self.durations[-1] += milliseconds
        else:
            self.frames.append(frame)
            self.durations.append(milliseconds)

    def go_to(self, x: float, y: float, steps: int = 5) -> None:
        """The pointer walks there."""
        (x0, y0), self.at = self.at, (x, y)
        for i in range(1, steps + 1):
            self.page.mouse.move(x0 + (x - x0) * i / steps, y0 + (y - y0) * i / steps)
            self.take(60)

    def click(self, what: Locator) -> None:
        what.scroll_into_view_if_needed()
        box = what.bounding_box()
        assert box
        self.go_to(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        self.page.mouse.down()
        self.take(90)
        self.page.mouse.up()

    def drag(self, places: Sequence[tuple[float, float]]) -> None:
        self.go_to(*places[0])
        self.page.mouse.down()
        for place in places[1:]:
            self.go_to(*place, steps=2)
        self.page.mouse.up()


def fresh_tiles(page: Page, before: Sequence[str]) -> int:
    """How many tiles show something else than they did."""
    script = "(before) => [...document.querySelectorAll('#style img')].filter((i) => !before.includes(i.src)).length"
    return int(page.evaluate(script, list(before)))


def wait_for_picture(film: Film) -> None:
    """Until the picture hangs; what comes on the way is taken as it comes."""
    page = film.page
    for _ in range(LONGEST // 150):
        film.take(110)
        if "Done in" in page.locator("#status").inner_text() and page.locator("#frame .sk-frame[data-kind=result]").count():
            break
        page.wait_for_timeout(150)
    page.wait_for_timeout(600)
    film.take(1100)


def play(film: Film) -> None:
    page = film.page
    film.said = "Bring a photo"
    film.take(1300)
    before = page.locator("#style img").evaluate_all("(all) => all.map((i) => i.src)")
    page.locator("#drop input[type=file]").set_input_files(PHOTO)
    expect(page.locator("#photo img")).to_be_visible(timeout=LONGEST)
    page.wait_for_timeout(500)
    film.take(900)
    film.said = "Every style shows itself on it"
    seen = 0
    for _ in range(LONGEST // 200):
        now = fresh_tiles(page, before)
        if now > seen:
            film.take(330)
            seen = now
        if seen == len(before):
            break
        page.wait_for_timeout(200)
    film.take(1200)
    film.said = "Choose one, and it is painted large"
    film.click(page.locator("#style label").filter(has=page.locator(f"input[value={FIRST}]")))
    film.take(500)
    film.click(page.locator("#go"))
    wait_for_picture(film)
    box = page.locator("#frame .sk-frame").bounding_box()
    assert box
    middle = box["y"] + box["height"] * 0.55
    film.said = "Compare"
    film.drag([(box["x"] + box["width"] * share, middle) for share in (0.5, 0.75, 0.3, 0.12)])
    film.take(900)
    film.said = "Or paint where each style goes"
    paint(film)
    film.click(page.locator("#go"))
    wait_for_picture(film)
    film.drag([(box["x"] + box["width"] * share, middle) for share in (0.5, 0.02)])
    film.take(1200)
    film.said = "Take it home: PNG, JPEG or WebP, at its own size or for a print"
    with page.expect_download():
        film.click(page.locator("#frame .sk-download"))
    film.take(900)


def paint(film: Film) -> None:
    """The first style everywhere, the second on the right half."""
    page = film.page
    film.click(page.get_by_label("Paint or mix styles"))
    easel = page.locator("#painter [data-part=easel]")
    expect(easel.locator("canvas")).to_be_visible(timeout=LONGEST)
    page.wait_for_timeout(400)
    film.take(500)
    film.click(page.get_by_role("button", name="Fill", exact=True))
    film.take(400)
    film.click(page.locator("#style label").filter(has=page.locator(f"input[value={SECOND}]")))
    page.locator("#painter [data-part=size]").fill(str(BRUSH))
    box = easel.bounding_box()
    assert box
    lines = [(0.62, 0.06), (0.62, 0.94), (0.8, 0.94), (0.8, 0.06), (0.95, 0.06), (0.95, 0.94)]
    film.drag([(box["x"] + box["width"] * x, box["y"] + min(box["height"], VIEW[1] - box["y"] - 10) * y) for x, y in lines])
    film.take(600)


def save(film: Film, path: Path) -> None:
    # one palette for all: what stands still is then the same in every frame, and costs nothing
    some = film.frames[:: max(1, len(film.frames) // SEEN)]
    width, height = WIDTH // 2, film.frames[0].height // 2
    sheet = Image.new("RGB", (width, height * len(some)))
    for i, frame in enumerate(some):
        sheet.paste(frame.resize((width, height), Image.Resampling.NEAREST), (0, i * height))
    palette = sheet.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=3)
    frames = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in film.frames]
    film.durations[-1] += 1500
    write_whole(
        path,
        lambda part: frames[0].save(part, "GIF", save_all=True, append_images=frames[1:], duration=film.durations, loop=0, optimize=False),
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Make the README's film of the page, in a browser.")
    parser.add_argument("--out", type=Path, required=True, metavar="GIF")
    args = parser.parse_args(argv)
    try:
        with page_of_the_app(*VIEW) as page:
            page.evaluate(CURSOR)
            film = Film(page)
            play(film)
    except StyleError as error:
        print(f"stylekit: {error}", file=sys.stderr)
        return 2
    save(film, args.out)
    print(f"{args.out}: {len(film.frames)} frames, {sum(film.durations) / 1000:.0f} s, {args.out.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
