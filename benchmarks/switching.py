"""Seconds to load, switch and drop an adapter: printed, never asserted.

    python benchmarks/switching.py [BASE]

Switching is what happens between two pictures in different styles whose adapters are resident: one style is taken out of the UNet's
weights and the other put in. BASE is "pocket" or "sd15": Stable Diffusion 1.5's shapes with random weights, and LoRAs of rank 8 on its
attention.
"""

from __future__ import annotations

import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

RUNS = 15
RANK = 8


def main() -> None:
    import torch

    from stylekit.adapters import apply, lora_file, lora_weights
    from stylekit.base import Base

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if sys.argv[1:] == ["sd15"]:
        from benchmarks.sd15_models import FULL, build_unet

        unet = build_unet(FULL).to(device, torch.float16 if device == "cuda" else torch.float32).eval().requires_grad_(False)
        loras = [random_lora(unet, name) for name in ("a", "b")]
        read = 0.0
    else:
        from stylekit.styles import StyleLibrary

        unet = Base.open(device=device).unet
        paths = {style.name: style.adapter("pocket").path for style in list(StyleLibrary.open())[:2]}
        started = time.perf_counter()
        loras = [lora_file.read_lora(path, name) for name, path in paths.items()]
        read = (time.perf_counter() - started) / len(loras)
    name = torch.cuda.get_device_name() if device == "cuda" else f"{platform.machine()}, {torch.get_num_threads()} threads"
    print(f"{name}, torch {torch.__version__}, {sum(p.numel() for p in unet.parameters()) / 1e6:.0f} M parameters")
    first, second = loras

    def timed(work: Callable[[], object]) -> float:
        started = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    def report(label: str, times: list[float]) -> None:
        print(
            f"{label:44s} {1e3 * statistics.median(times):8.1f} ms median, {1e3 * min(times):.1f} fastest, {1e3 * max(times):.1f} slowest"
        )

    def use(lora: lora_weights.LoraWeights) -> None:
        with apply.applied(unet, {lora.name: 1.0}):
            pass

    with torch.inference_mode():
        loads, drops = [], []
        for _ in range(3):
            loads.append(timed(lambda: apply.inject(unet, first)))
            drops.append(timed(lambda: apply.eject(unet, first.name)))
        for lora in loras:
            apply.inject(unet, lora)
            use(lora)
        switches = [timed(lambda lora=lora: use(lora)) for _ in range(RUNS) for lora in (first, second)]
    print(f"{'read and check the file':44s} {1e3 * read:8.1f} ms")
    report("put into the UNet (first use)", loads)
    report("take out again", drops)
    report("switch to a resident style, and back", switches)


def random_lora(unet, name: str):  # type: ignore[no-untyped-def]
    import torch
    from torch import nn

    from stylekit.adapters.lora_weights import LoraWeights
    from training.style.lora import ATTENTION

    layers = {path: layer for path, layer in unet.named_modules() if isinstance(layer, nn.Linear) and path.endswith(ATTENTION)}
    modules = {path: (torch.randn(RANK, layer.in_features), torch.randn(layer.out_features, RANK)) for path, layer in layers.items()}
    return LoraWeights(name=name, modules=modules, alphas=dict.fromkeys(modules, float(RANK)), metadata={})


if __name__ == "__main__":
    main()
