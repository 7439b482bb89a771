"""How long a training step takes beside programs that keep the cores busy: threads that wait actively or passively, or one thread alone.

    python -m benchmarks.busy_neighbour [--steps 8] [--rounds 2] [--neighbours N]

Each way has a process of its own, since OpenMP reads its policy once; the ways take turns, and the medians are printed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

WAYS = (("active", 0), ("passive", 0), ("passive", 1))  # OMP_WAIT_POLICY, and threads, 0 for one a core
BUSY = "while True: pass"


def step_seconds(steps: int, threads: int) -> float:
    """Of one pass of the pocket base's UNet there and back, at the size of a training step; the first is left out."""
    import torch

    from stylekit.base import Base

    if threads:
        torch.set_num_threads(threads)
    base = Base.open("pocket", device="cpu", dtype=torch.float32)
    base.unet.requires_grad_(True)
    latents, embeds = torch.randn(2, base.unet.config.in_channels, 32, 32), base.prompt_embeds().expand(2, -1, -1)
    seconds = []
    for _ in range(steps + 1):
        begun = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=False):
            base.unet(latents, 8, encoder_hidden_states=embeds).sample.square().mean().backward()
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds[1:])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--neighbours", type=int, default=os.cpu_count() or 1, help="programs that each keep a core busy")
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)  # of the process that is measured
    args = parser.parse_args(argv)
    if args.threads is not None:
        print(step_seconds(args.steps, args.threads))
        return
    neighbours = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(args.neighbours)]
    found: dict[tuple[str, int], list[float]] = {way: [] for way in WAYS}
    try:
        for _ in range(args.rounds):
            for policy, threads in WAYS:
                command = [sys.executable, "-m", "benchmarks.busy_neighbour", "--steps", str(args.steps), "--threads", str(threads)]
                environment = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "MKL_"))}
                done = subprocess.run(command, env=environment | {"OMP_WAIT_POLICY": policy.upper()}, check=True, capture_output=True)
                found[policy, threads].append(float(done.stdout.split()[-1]))
    finally:
        for one in neighbours:
            one.kill()
    print(f"{args.neighbours} neighbours on {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for (policy, threads), seconds in found.items():
        each = ", ".join(f"{s:.2f}" for s in seconds)
        print(f"{policy:8} {threads or 'all':>4} threads  {statistics.median(seconds):.2f} s a step  ({each})")


if __name__ == "__main__":
    main()
