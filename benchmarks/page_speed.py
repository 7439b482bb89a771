"""How long a visitor waits: the page opened, usable, the first picture seen after a click, the result; in a real browser, the real engine.

    python benchmarks/page_speed.py [--rounds 3] [--style vangogh]

Prints a table, the best of the rounds: on a machine that does other things too, the best says most about the page. The app runs in this
process on 127.0.0.1; the photo is assets/photos/astronaut.jpg, once at 512 x 512 and once enlarged to 4000 x 3000 pixels.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from PIL import Image
from playwright.sync_api import Browser, Page

import app
from stylekit.storage.paths import PHOTOS_FOLDER
from tests.browser import chromium, serve

SIZES = {"512 px": (512, 512), "12 MP": (4000, 3000)}
PATIENCE = 300_000  # milliseconds
# something else than the photo hangs: the picture by now, or the result
PAINTED = """() => {
  const frame = document.querySelector("#frame .sk-frame"), kind = frame.dataset.kind;
  return kind === "result" || (kind === "live" && [...frame.querySelectorAll("img")].some((image) => image.alt === "The picture by now"));
}"""
STEPS = ("open to usable", "upload to the photo in the frame", "click to first picture", "click to the result")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--style", default="vangogh")
    args = parser.parse_args(argv)
    best: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, serve(app.build(app.Settings())) as url, chromium() as browser:
        for name, size in SIZES.items():
            photo = Path(folder) / f"{name.replace(' ', '-')}.jpg"
            with Image.open(PHOTOS_FOLDER / "astronaut.jpg") as picture:
                picture.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(photo, quality=92)
            visit(browser, url, photo, args.style)  # the engine is loaded, and everything was drawn once
            rounds = [visit(browser, url, photo, args.style) for _ in range(args.rounds)]
            best[name] = [min(seconds) for seconds in zip(*rounds, strict=True)]
    print(f"style {args.style}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, best of {args.rounds}, seconds\n")
    print(f"| | {' | '.join(best)} |\n|---|{'---|' * len(best)}")
    for number, step in enumerate(STEPS):
        print(f"| {step} | {' | '.join(f'{seconds[number]:.2f}' for seconds in best.values())} |")


def visit(browser: Browser, url: str, photo: Path, style: str) -> list[float]:
    """Seconds of each of `STEPS`, by a browser that has been nowhere yet."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(PATIENCE)
    try:
        started = time.perf_counter()
        page.goto(url)
        page.locator("#style img").first.wait_for()
        page.wait_for_function("!document.querySelector('#go').disabled && document.querySelector('#frame img').complete")
        usable = time.perf_counter() - started
        page.locator(f"#style input[value={style}]").check()
        started = time.perf_counter()
        page.locator("#drop input[type=file]").set_input_files(photo)
        wait_for(page, "photo")
        placed = time.perf_counter() - started
        started = time.perf_counter()
        page.locator("#go").click()
        page.wait_for_function(PAINTED)
        first = time.perf_counter() - started
        wait_for(page, "result")
        return [usable, placed, first, time.perf_counter() - started]
    finally:
        page.close()


def wait_for(page: Page, kind: str) -> None:
    page.wait_for_function("(kind) => document.querySelector('#frame .sk-frame').dataset.kind === kind", arg=kind)


if __name__ == "__main__":
    main()
