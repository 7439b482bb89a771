"""What it costs to paint with several styles: printed, never asserted.

    python benchmarks/maps_speed.py [--threads N] [--runs N] [--size PX]

One style over the whole picture is fused into the model's weights; painted styles go through it side by side, in one pass. The old way is
one run per region, each over the whole picture, cut and pasted. All at the same number of steps and of placements on the grid. Rows are
timed in turns, so that what else the machine does falls on all alike; CPU seconds are those of this process.
"""

from __future__ import annotations

import argparse
import dataclasses
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402

from stylekit.maps import WeightMap  # noqa: E402
from stylekit.mix import StyleMix  # noqa: E402
from stylekit.recipe import Recipe  # noqa: E402
from stylekit.styles import StyleLibrary  # noqa: E402
from stylekit.stylizer import Stylizer  # noqa: E402


def alike(library: StyleLibrary, count: int) -> StyleLibrary:
    """`count` styles of `library`, repeated if it has fewer, that ask for nothing but their weights."""
    bare = {"num_inference_steps": None, "timestep": None, "phases": None, "underpainting": None}
    styles = []
    for i in range(count):
        style = library.styles[i % len(library)]
        adapter = dataclasses.replace(style.adapter("pocket"), **bare)  # type: ignore[arg-type]
        styles.append(dataclasses.replace(style, name=f"{style.name}-{i}", adapters=(adapter,)))
    return StyleLibrary(styles=tuple(styles))


def strips(names: Sequence[str], size: int) -> dict[str, WeightMap]:
    """Upright strips of a square, one for each of `names`."""
    column = np.arange(size) * len(names) // size
    return {name: WeightMap.of(np.tile(column == i, (size, 1))) for i, name in enumerate(names)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Time painting with one, two and four styles on the pocket base.")
    parser.add_argument("--threads", type=int, help="of torch; default: its own choice")
    parser.add_argument("--runs", type=int, default=9, help="timed runs a row")
    parser.add_argument("--size", type=int, default=512, help="side of the square photo in pixels")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    stylizer = Stylizer.open()
    stylizer.library = alike(stylizer.library, 4)
    names = [style.name for style in stylizer.library]
    photo = Image.open(ROOT / "assets" / "photos" / "astronaut.jpg").convert("RGB").resize((args.size, args.size))

    def run(mix: StyleMix, steps: int) -> Image.Image:
        return stylizer.stylize(photo, Recipe(mix=mix, num_inference_steps=steps)).image

    def one_by_one(painted: dict[str, WeightMap], steps: int) -> None:
        picture = photo.copy()
        for name, region in painted.items():
            picture.paste(run(StyleMix.of(name), steps), mask=region.picture)

    def rows(steps: int) -> dict[str, Callable[[], object]]:
        two, four = strips(names[:2], args.size), strips(names, args.size)
        half = StyleMix.of({names[0]: two[names[0]]})
        return {
            "one style, whole picture, fused": lambda: run(StyleMix.of(names[0]), steps),
            "one style, painted on one half": lambda: run(half, steps),
            "two styles, painted": lambda: run(StyleMix.of(two), steps),
            "four styles, painted": lambda: run(StyleMix.of(four), steps),
            "two styles, one pass per region": lambda: one_by_one(two, steps),
            "four styles, one pass per region": lambda: one_by_one(four, steps),
        }

    precision = "bfloat16 autocast" if stylizer.base.autocast else stylizer.base.dtype
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, {precision}, {args.size} px, {names}")
    for steps in (1, 2):
        work = rows(steps)
        seconds: dict[str, list[tuple[float, float]]] = {label: [] for label in work}
        for turn in range(args.runs + 1):
            for label, job in work.items():
                wall, cpu = time.perf_counter(), time.process_time()
                job()
                if turn:  # the first warms up
                    seconds[label].append((time.perf_counter() - wall, time.process_time() - cpu))
        print(f"{steps} step{'s' if steps > 1 else ''}, median of {args.runs}             seconds          CPU seconds")
        base = [statistics.median(column) for column in zip(*seconds["one style, whole picture, fused"], strict=True)]
        for label, times in seconds.items():
            wall, cpu = (statistics.median(column) for column in zip(*times, strict=True))
            print(f"  {label:34s} {wall:6.2f} ({wall / base[0]:.2f}x)   {cpu:6.2f} ({cpu / base[1]:.2f}x)", flush=True)


if __name__ == "__main__":
    main()
