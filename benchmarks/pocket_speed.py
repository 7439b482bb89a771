"""Speed and memory of the pocket base on this machine: printed, never asserted.

    python benchmarks/pocket_speed.py

Prints the seconds from nothing to the first picture, the median and slowest of warm 512x512 pictures end to end (photo in, photo out),
the time of each part, and the peak memory of the process with the page's libraries loaded.
"""

from __future__ import annotations

import platform
import resource
import statistics
import sys
import time
from pathlib import Path

STARTED = time.perf_counter()
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

WARM_RUNS = 9


def main() -> None:
    import gradio  # noqa: F401  (part of the app's memory)
    import torch
    from PIL import Image

    from stylekit.adapters import apply
    from stylekit.images import to_tensor
    from stylekit.mix import StyleMix
    from stylekit.recipe import Recipe
    from stylekit.stylizer import Stylizer

    stylizer = Stylizer.open()
    photo = Image.open(ROOT / "assets" / "photos" / "astronaut.jpg").convert("RGB").resize((512, 512))
    names = [style.name for style in stylizer.library]
    recipe = Recipe(mix=StyleMix.of(names[0]))
    stylizer.stylize(photo, recipe)
    precision = "bfloat16 autocast" if stylizer.base.autocast else stylizer.base.dtype
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, {precision}")
    print(f"first picture after start      {time.perf_counter() - STARTED:6.2f} s")
    mixes = [*names, ",".join(f"{name}:0.5" for name in names[:2])]
    for mix in mixes:
        times, steps = [], 0
        for _ in range(WARM_RUNS):
            *events, result = stylizer.steps(photo, recipe.with_(mix=StyleMix.of(mix)), preview=False)
            times.append(result.seconds)
            steps = len(events)
        label = f"{mix}, {steps} step{'s' if steps > 1 else ''}"
        print(f"{label:30s} {statistics.median(times):6.2f} s median, {max(times):.2f} s slowest of {WARM_RUNS}, 512x512 end to end")
    base = stylizer.base
    with torch.inference_mode():
        pixels = to_tensor(photo)
        latents, embeds = base.encode(pixels), base.prompt_embeds()

        def apply_and_undo() -> None:
            with apply.applied(base.unet, {names[0]: 1.0}):
                pass

        parts = {
            "encode": lambda: base.encode(pixels),
            "denoise": lambda: base.denoise(latents, 20, embeds),
            "decode": lambda: base.decode(latents),
            "apply and undo an adapter": apply_and_undo,
        }
        for label, part in parts.items():
            times = []
            for _ in range(5):
                begun = time.perf_counter()
                part()
                times.append(time.perf_counter() - begun)
            print(f"  {label:28s} {statistics.median(times):6.3f} s")
    print(f"peak memory                    {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:6.0f} MB")


if __name__ == "__main__":
    main()
