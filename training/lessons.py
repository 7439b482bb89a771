"""Lessons: `training.teach` in a process of its own, watched. One at a time, and closing the iterator stops it.

The app that asks for one stays usable: the lesson has its own memory, gives way to others on the processor, and loads nothing in here.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import queue
import re
import subprocess
import sys
import threading
import unicodedata
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from stylekit.errors import SettingError, StyleError
from stylekit.styles import CARD_FILE, NAME, Style, read_style

ROOT = Path(__file__).resolve().parent.parent
BEAT = 0.25  # seconds between signs of life
PATIENCE = 20  # seconds that a lesson has to clear up after itself
QUALITY = 88  # of the previews' JPEG

_turn = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """How far it is. doing: what is being done, for people. step, total: of the training, 0 before it. seconds, eta: spent, and to go.

    loss: of the step, None outside the training. preview: a photo in the style as it is by now, at some of the steps.
    """

    doing: str
    step: int
    total: int
    seconds: float
    eta: float
    loss: float | None = None
    preview: Image.Image | None = None

    @property
    def done(self) -> float:
        """0..1"""
        return self.seconds / max(1e-6, self.seconds + self.eta)


def style_name(title: str) -> str:
    """The style name that goes with a title: "Blaues Café" is blaues-cafe. SettingError if nothing is left of it."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9_]+", "-", plain).strip("-_")[:64].rstrip("-_")
    if not NAME.fullmatch(name):
        what = f"The name {title.strip()!r} has no letter from a to z" if title.strip() else "There is no name yet"
        raise SettingError(f"{what}: write one, for example Harbour at night.")
    return name


def lessons(
    name: str, pictures: Sequence[str | Path], *, out: Path, title: str = "", options: Sequence[str] = ()
) -> Generator[Lesson | Style | None, None, None]:
    """Teach the style `name`: every Lesson, and at last the Style, which lies in `out`; None where nothing has happened for a while.

    options: further ones for the command line of `training.teach`. StyleError while another lesson is running in this process, or with
    what the lesson has to complain about.
    """
    if not _turn.acquire(blocking=False):
        raise StyleError("A style is being taught already: wait until it is done.")
    try:
        command = [sys.executable, "-m", "training.teach", "--json", "--title", title, "--out", str(out.resolve()), *options, "--", name]
        command += [str(Path(picture).resolve()) for picture in pictures]
        environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}  # threads that wait leave the processor to the app
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield from _told(process, out / name / CARD_FILE)
            finally:
                _stop(process)
    finally:
        _turn.release()


def write_line(event: Lesson | Style | str) -> None:
    """What `lessons` reads: an event, or a sentence about what is wrong, as a line of JSON on standard output."""
    if isinstance(event, Lesson):
        values: dict[str, Any] = vars(event) | {"preview": _to_text(event.preview) if event.preview else None}
    else:
        values = {"style": event.name} if isinstance(event, Style) else {"error": event}
    print(json.dumps(values), flush=True)


def _told(process: subprocess.Popen[str], card: Path) -> Iterator[Lesson | Style | None]:
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    output = process.stdout
    assert output is not None

    def read() -> None:
        with contextlib.suppress(ValueError):  # closed, because nobody listens any more
            for line in output:
                lines.put(line)
        lines.put(None)

    threading.Thread(target=read, name="lesson", daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=BEAT)
        except queue.Empty:
            yield None
            continue
        if line is None:
            break
        values = json.loads(line)
        if "error" in values:
            raise StyleError(values["error"])
        if "style" in values:
            yield read_style(card)
            return
        yield Lesson(**values | {"preview": _from_text(values["preview"]) if values["preview"] else None})
    code = process.wait()
    if code < 0:
        raise StyleError(f"The lesson was ended by the system (signal {-code}), perhaps for want of memory: close other programs.")
    raise RuntimeError(f"The lesson ended with code {code} and without a style.")


def _stop(process: subprocess.Popen[str]) -> None:
    """End it: kindly, so that it clears up."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()


def _to_text(picture: Image.Image) -> str:
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=QUALITY)
    return base64.b64encode(data.getvalue()).decode()


def _from_text(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB")
