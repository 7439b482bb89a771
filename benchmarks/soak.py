"""Does the app's memory stay bounded? Many mixed requests by several clients against the real app, as one file to run.

    python benchmarks/soak.py

Starts app.py on 127.0.0.1 with the pocket base, sends it one request of every kind until its memory is warm, then `--requests` mixed ones
by `--clients` clients at once: styles, mixes, masks, regions, style pictures, large photos, the page's own button, page loads, mistakes,
and requests that are given up. Prints the server's memory on the way. Exit status 1 if it ends more than `--limit` percent over the warm
memory, if a request that should succeed does not, or if `--minutes` are over.
"""

from __future__ import annotations

import argparse
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PHOTOS = ROOT / "assets" / "photos"
MEGABYTE = 2**20
SETTLE = 10  # seconds without a request before the memory is read


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Files that the requests send."""

    small: Path
    photo: Path
    large: Path
    top: Path
    bottom: Path


def make_inputs(folder: Path) -> Inputs:
    large, top, bottom = folder / "large.jpg", folder / "top.png", folder / "bottom.png"
    with Image.open(PHOTOS / "raccoon.jpg") as picture:
        picture.convert("RGB").resize((1200, 900)).save(large, quality=90)
    for path, box in ((top, (0, 0, 640, 180)), (bottom, (0, 240, 640, 427))):
        mask = Image.new("L", (640, 427))
        mask.paste(255, box)
        mask.save(path)
    return Inputs(small=PHOTOS / "chelsea.jpg", photo=PHOTOS / "china.jpg", large=large, top=top, bottom=bottom)


class Visitor:
    """One client: a session of its own, as a program and as a browser has it."""

    def __init__(self, url: str, inputs: Inputs, folder: Path) -> None:
        self.url, self.inputs = url, inputs
        self.client = Client(url, verbose=False, download_files=folder, analytics_enabled=False)

    def predict(self, photo: Path, *args: Any, **settings: Any) -> None:
        result = Path(self.client.predict(handle_file(photo), *args, **settings, api_name="/stylize"))
        with Image.open(result) as picture:
            picture.load()
        result.unlink()

    def style(self) -> None:
        self.predict(self.inputs.small, "monet", size=256)

    def default_size(self) -> None:
        self.predict(PHOTOS / "raccoon.jpg", "minimalism", structure=0.2)

    def mix(self) -> None:
        self.predict(self.inputs.photo, "vangogh:0.6,sketch:0.4", size=256, keep_colours=0.5)

    def mask(self) -> None:
        self.predict(self.inputs.photo, "popart", mask=handle_file(self.inputs.top), size=384, match_border=True)

    def regions(self) -> None:
        regions = {"ukiyoe": handle_file(self.inputs.top), "minimalism": handle_file(self.inputs.bottom)}
        self.predict(self.inputs.photo, regions=regions, size=320)

    def style_picture(self) -> None:
        self.predict(self.inputs.small, style_images=[handle_file(PHOTOS / "coffee.jpg")], size=192)

    def large_photo(self) -> None:
        self.predict(self.inputs.large, "monet", size=192)

    def mistake(self) -> None:
        try:
            self.predict(self.inputs.small, "cubism")
        except AppError:
            return
        raise AssertionError("a style that is not there was painted")

    def given_up(self) -> None:
        job = self.client.submit(handle_file(self.inputs.large), "vangogh", size=512, steps=8, api_name="/stylize")
        time.sleep(1)
        job.cancel()
        with suppress(AppError, CancelledError, KeyError, TypeError):  # as the client says it, depending on when
            Path(job.result(timeout=60)).unlink(missing_ok=True)  # it was faster

    def page(self) -> None:
        """What a browser fetches, an example photo, and the Stylize button."""
        session = f"soak{random.getrandbits(60):x}"
        with httpx.Client(base_url=self.url, timeout=300) as http:
            http.get("").raise_for_status()
            config = http.get("config").json()
            ids = {c["props"].get("elem_id"): c["id"] for c in config["components"]}
            values = {c["id"]: c["props"].get("value") for c in config["components"]}

            def press(listener: dict[str, Any], event_data: Any = None) -> None:
                body = {"data": [values[i] for i in listener["inputs"]], "fn_index": listener["id"], "session_hash": session}
                body |= {"event_data": event_data, "trigger_id": None}
                http.post("gradio_api/queue/join", json=body).raise_for_status()
                with http.stream("GET", "gradio_api/queue/data", params={"session_hash": session}) as answer:
                    last = [line for line in answer.iter_lines() if "process_completed" in line]
                if not last or '"success":true' not in last[-1]:
                    raise AssertionError(f"the page's listener failed: {last}")

            listeners = config["dependencies"]
            press(next(d for d in listeners if [ids["examples"], "select"] in d["targets"]), {"index": random.randrange(4)})
            press(next(d for d in listeners if ids["download"] in d["outputs"] and ids["style"] in d["inputs"]))


KINDS: dict[Callable[[Visitor], None], int] = {  # and how many of 30 requests they are
    Visitor.style: 6,
    Visitor.mix: 5,
    Visitor.mistake: 4,
    Visitor.mask: 3,
    Visitor.regions: 3,
    Visitor.style_picture: 3,
    Visitor.given_up: 2,
    Visitor.page: 2,
    Visitor.default_size: 1,
    Visitor.large_photo: 1,
}


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """The address of app.py with the pocket base on a free port of 127.0.0.1, and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"STYLEKIT_BASE": "pocket", "STYLEKIT_HOST": "127.0.0.1", "STYLEKIT_PORT": str(port)}
    settings |= {
        "STYLEKIT_HUB_STYLES": "",
        "GRADIO_TEMP_DIR": str(folder / "gradio"),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_OFFLINE": "1",
    }
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen([sys.executable, ROOT / "app.py"], env=os.environ | settings, stdout=log, stderr=log)
        url = f"http://127.0.0.1:{port}/"
        try:
            for _ in range(240):
                if server.poll() is not None:
                    raise RuntimeError(f"the server ended: {(folder / 'server.log').read_text()[-2000:]}")
                try:
                    httpx.get(url, timeout=5).raise_for_status()
                    break
                except httpx.HTTPError:
                    time.sleep(0.5)
            yield url, psutil.Process(server.pid)
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()


def soak(url: str, process: psutil.Process, options: argparse.Namespace, folder: Path) -> bool:
    inputs = make_inputs(folder)

    def memory() -> float:
        """MB that the server holds."""
        return float(process.memory_info().rss) / MEGABYTE

    visitors = [Visitor(url, inputs, folder) for _ in range(options.clients)]
    print(f"{memory():6.0f} MB at the start", flush=True)
    for kind in KINDS:
        kind(visitors[0])
        print(f"{memory():6.0f} MB after {kind.__name__}", flush=True)
    for _ in range(options.warm):
        for kind in KINDS:
            kind(visitors[0])
    time.sleep(SETTLE)
    warm = memory()
    print(f"{warm:6.0f} MB warm, {process.num_threads()} threads", flush=True)

    kinds = [kind for kind, count in KINDS.items() for _ in range(count)]
    order = [kinds[i % len(kinds)] for i in range(options.requests)]
    random.Random(0).shuffle(order)
    end, lock, done, failed = time.monotonic() + 60 * options.minutes, threading.Lock(), Counter[str](), list[str]()
    waiting, begun = iter(order), time.monotonic()

    def work(visitor: Visitor) -> None:
        while True:
            with lock:
                kind = next(waiting, None)
            if kind is None or time.monotonic() > end:
                return
            try:
                kind(visitor)
            except Exception as error:
                with lock:
                    failed.append(f"{kind.__name__}: {type(error).__name__}: {error}")
            with lock:
                done[kind.__name__] += 1
                if sum(done.values()) % max(1, options.requests // 10) == 0:
                    print(f"{memory():6.0f} MB after {sum(done.values())} requests, {time.monotonic() - begun:.0f} s", flush=True)

    with ThreadPoolExecutor(options.clients) as pool:
        list(pool.map(work, visitors))
    time.sleep(SETTLE)
    last = memory()
    print(f"{last:6.0f} MB at the end, {process.num_threads()} threads; {100 * (last / warm - 1):+.1f} % of the warm memory")
    print(", ".join(f"{name} {count}" for name, count in sorted(done.items())))
    for line in failed:
        print(f"failed: {line}")
    if sum(done.values()) < options.requests:
        print(f"only {sum(done.values())} of {options.requests} requests in {options.minutes:g} minutes")
        return False
    return last <= warm * (1 + options.limit / 100) and not failed


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=300, help="mixed requests after the warm-up (300)")
    parser.add_argument("--clients", type=int, default=8, help="clients at the same time (8)")
    parser.add_argument("--warm", type=int, default=0, help="further rounds of every kind of request before the memory counts as warm (0)")
    parser.add_argument("--limit", type=float, default=10, help="percent over the warm memory at the end (10)")
    parser.add_argument("--minutes", type=float, default=30, help="give up after this time (30)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stylekit-soak-") as name, served(Path(name)) as (url, process):
        ok = soak(url, process, options, Path(name))
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
