"""What the styles that are drawn by hand cost: printed as Markdown, never asserted.

    python benchmarks/hand_speed.py [--runs N] [--threads N] [--megapixels MP] [--memory STYLE:MP ...]

For every style with a hand: seconds of a 512x512 photo end to end (the model's part in it, where the style is painted, and the hand's), of
a 192 px thumbnail, and of a large photo; beside the classical network in the same run, as the machine may be busy. Medians of warm runs;
the large photo is drawn once. What the small networks say of a photo is kept, so that a second style on it asks none of them: what they
take for a photo that they have not seen has a row of its own, and comes on top for its first style. CPU seconds are those of this
process, over all its threads. Peak memory is that of a process of its own with the app's libraries loaded. The large photos are one
shipped photo, enlarged.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402

from eval.methods import ClassicalNetwork  # noqa: E402
from stylekit.errors import StyleError  # noqa: E402
from stylekit.hand.sight import Sight  # noqa: E402
from stylekit.mix import StyleMix  # noqa: E402
from stylekit.recipe import Recipe  # noqa: E402
from stylekit.stylizer import Stylizer  # noqa: E402

PHOTO = ROOT / "assets" / "photos" / "astronaut.jpg"
SIDE, THUMBNAIL = 512, 192
MEMORY = ("vangogh:12", "popart:12", "vangogh:64", "popart:64")


@dataclass(frozen=True)
class Cost:
    """Of one picture, in seconds: by the clock, and of the processors."""

    wall: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.wall:.2f} ({self.cpu:.2f})"


def measured(work: Callable[[], object], runs: int) -> Cost:
    """The median of warm runs."""
    walls, cpus = [], []
    for _ in range(runs):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return Cost(statistics.median(walls), statistics.median(cpus))


def enlarged(megapixels: float) -> Image.Image:
    """The shipped photo as a photo of 4:3 of so many million pixels."""
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    with Image.open(PHOTO) as photo:
        return photo.convert("RGB").resize((height * 4 // 3, height), Image.Resampling.BICUBIC)


def drawn_styles(stylizer: Stylizer) -> list[str]:
    return [style.name for style in stylizer.library if style.drawn_by("pocket") is not None]


def looked_at(photo: Image.Image) -> Callable[[], object]:
    """Asks all networks about a photo that they have not seen: each time another one of `photo`, by one pixel."""
    numbers = itertools.count(1)

    def look() -> None:
        other = photo.copy()
        other.putpixel((0, 0), (next(numbers) % 256, 0, 255))
        sight = Sight(np.asarray(other, np.float32) / np.float32(255))
        sight.figure(), sight.contours(), sight.features(), sight.letters()

    return look


def peak_memory(style: str, megapixels: float) -> float:
    """MB, of a process of its own that makes one picture; with no style, of one that only has the libraries and the photo."""
    command = [sys.executable, __file__, "--alone", f"{style}:{megapixels}"]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def alone(style: str, megapixels: float) -> None:
    """What `peak_memory` starts."""
    stylizer = Stylizer.open()
    photo = enlarged(megapixels)
    if style:
        stylizer.stylize(photo, Recipe(mix=StyleMix.of(style)))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the styles that are drawn by hand, and measure their memory.")
    parser.add_argument("--runs", type=int, default=5, help="timed runs of small photos")
    parser.add_argument("--threads", type=int, help="of torch; default: its own choice")
    parser.add_argument("--megapixels", type=float, default=12, help="size of the large photo, 0 for none")
    parser.add_argument("--memory", nargs="*", default=MEMORY, metavar="STYLE:MP", help="pictures whose peak memory is measured")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.alone:
        style, megapixels = args.alone.split(":")
        alone(style, float(megapixels))
        return
    stylizer = Stylizer.open()
    with Image.open(PHOTO) as opened:
        photo = opened.convert("RGB").resize((SIDE, SIDE))
    thumbnail = photo.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    large = enlarged(args.megapixels) if args.megapixels else None
    print(f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads of torch; load {os.getloadavg()[0]:.1f}")
    print("Seconds by the clock (CPU seconds in brackets).\n")
    size = f"{large.width}x{large.height}" if large else "none"
    print(f"| style | {SIDE}x{SIDE} | of it the model | {THUMBNAIL}x{THUMBNAIL} | {size} |\n|---|---|---|---|---|")
    names = drawn_styles(stylizer)
    thumbnails = []
    for name in names:
        drawn = Recipe(mix=StyleMix.of(name))

        def whole(seen: Image.Image, recipe: Recipe = drawn) -> Callable[[], object]:
            return lambda: stylizer.stylize(seen, recipe)

        whole(photo)()
        small = measured(whole(photo), args.runs)
        model = "-"
        if stylizer.library[name].painted_on("pocket"):
            model = str(measured(whole(photo, drawn.with_(hand=False)), args.runs))
        thumbnails.append(measured(whole(thumbnail), args.runs))
        big = str(measured(whole(large), 1)) if large else "-"
        print(f"| {name} | {small} | {model} | {thumbnails[-1]} | {big} |", flush=True)
    together = Cost(sum(c.wall for c in thumbnails), sum(c.cpu for c in thumbnails))
    print(f"| all together | | | {together} | |")
    looks = [str(measured(looked_at(one), args.runs)) for one in (photo, thumbnail)]
    print(f"| the networks, once a photo | {looks[0]} | | {looks[1]} | |", flush=True)
    try:
        network = ClassicalNetwork()
    except StyleError as error:
        print(f"\nNo classical network: {error}")
    else:
        vector = network.vector(photo)
        network.paint(photo, vector)
        costs = [str(measured(lambda p=p: network.paint(p, vector), args.runs)) for p in (photo, thumbnail)]  # type: ignore[misc]
        big = str(measured(lambda: network.paint(large, vector), 1)) if large else "-"
        print(f"| classical network | {costs[0]} | | {costs[1]} | {big} |")
    if args.memory:
        print("\n| peak memory, MB | with the libraries and the photo only | with one picture made |\n|---|---|---|")
    for entry in args.memory:
        style, megapixels = entry.split(":")
        before, after = peak_memory("", float(megapixels)), peak_memory(style, float(megapixels))
        print(f"| {style}, {megapixels} MP | {before:.0f} | {after:.0f} |", flush=True)


if __name__ == "__main__":
    main()
