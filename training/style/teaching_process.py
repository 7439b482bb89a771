"""Teaching: `training.teach` in a process of its own, watched. One at a time, and closing the iterator stops it.

The app that asks for one stays usable: the process has its own memory, gives way to others on the processor, and loads nothing in here.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import queue
import subprocess
import sys
import threading
import unicodedata
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from stylekit import styles
from stylekit.errors import PictureError, SettingError, StyleError, first_line
from stylekit.storage.paths import ROOT
from stylekit.storage.untrusted import shown
from stylekit.style_picture.picture import StylePicture
from stylekit.styles import CARD_FILE, Style, read_style

BEAT = 0.25  # seconds between signs of life
PATIENCE = 20  # seconds that the process has to clear up after itself
QUALITY = 88  # of the previews' JPEG

LONGEST_TITLE = 120  # characters
MOST_PICTURES = 20  # pictures

_turn = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class TeachingProgress:
    """How far it is. doing: what is being done, for people. step, total: of the training, 0 before it. seconds, eta: spent, and to go.

    loss: of the step, None outside the training. preview: a photo in the style as it is by now, at some of the steps. hand: once, which
    hand was measured from the pictures, and why.
    """

    doing: str
    step: int
    total: int
    seconds: float
    eta: float
    loss: float | None = None
    preview: Image.Image | None = None
    hand: str = ""

    @property
    def done(self) -> float:
        """0..1"""
        return self.seconds / max(1e-6, self.seconds + self.eta)


def style_name(title: str) -> str:
    """The style name that goes with a title: "Blaues Café" is blaues-cafe, "夜" is 夜. SettingError if there is no letter in it."""
    if not any(c.isalnum() for c in title):
        what = f"The name {shown(title.strip())} has no letter" if title.strip() else "There is no name yet"
        raise SettingError(f"{what}: write one, for example Harbour at night.")
    folded = (unicodedata.normalize("NFKD", c).encode("ascii", "ignore").decode() or c for c in unicodedata.normalize("NFC", title))
    return styles.style_name("".join(folded))


def check(name: str, pictures: Sequence[str | Path | Image.Image], out: Path, title: str) -> list[StylePicture]:
    """The pictures, each once, of a style that can be taught; StyleError with what is wrong, in a moment and before anything is done."""
    if not styles.is_name(name):
        raise SettingError(f"{shown(name)} is not a style name: use at most 64 lower-case letters, digits, - and _.")
    if len(title) > LONGEST_TITLE:
        raise SettingError(f"The name has {len(title)} characters: write one of at most {LONGEST_TITLE}.")
    if not title.isprintable():
        raise SettingError(f"The name {title!r} has characters that cannot be shown: write it without.")
    if os.path.lexists(out / name):
        raise SettingError(f"There is a style {name} already: choose another name, or remove its folder first.")
    kept: dict[str, StylePicture] = {}
    for source in pictures:
        picture = StylePicture.of(_found(source))
        kept[picture.name] = picture
    if not kept:
        raise PictureError(f"There is no picture yet: choose from 1 to {MOST_PICTURES}.")
    if len(kept) > MOST_PICTURES:
        raise PictureError(f"There are {len(kept)} pictures: choose from 1 to {MOST_PICTURES}.")
    return list(kept.values())


def run(
    name: str, pictures: Sequence[str | Path], *, out: Path, title: str = "", options: Sequence[str] = ()
) -> Generator[TeachingProgress | Style | None, None, None]:
    """Teach the style `name`: every TeachingProgress, at last the Style, which lies in `out`; None where nothing has happened for a while.

    options: further ones for the command line of `training.teach`. StyleError while another style is being taught by this process, or
    with what is wrong, most of it at once.
    """
    check(name, pictures, out, title)
    if not _turn.acquire(blocking=False):
        raise StyleError("A style is being taught already: wait until it is done.")
    try:
        command = [sys.executable, "-m", "training.teach", "--json", f"--title={title}", "--out", str(out.resolve()), *options, "--", name]
        command += [str(Path(picture).resolve()) for picture in pictures]
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield from _told(process, out / name / CARD_FILE)
            finally:
                _stop(process)
    finally:
        _turn.release()


def write_line(event: TeachingProgress | Style | str) -> None:
    """What `run` reads: an event, or a sentence about what is wrong, as a line of JSON on standard output."""
    if isinstance(event, TeachingProgress):
        values: dict[str, Any] = vars(event) | {"preview": _to_text(event.preview) if event.preview else None}
    else:
        values = {"style": event.name} if isinstance(event, Style) else {"error": event}
    print(json.dumps(values), flush=True)


def _told(process: subprocess.Popen[str], card: Path) -> Iterator[TeachingProgress | Style | None]:
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    output = process.stdout
    assert output is not None

    def read() -> None:
        with contextlib.suppress(ValueError):  # closed, because nobody listens any more
            for line in output:
                lines.put(line)
        lines.put(None)

    threading.Thread(target=read, name="teaching", daemon=True).start()
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
        yield TeachingProgress(**values | {"preview": _from_text(values["preview"]) if values["preview"] else None})
    code = process.wait()
    if code < 0:
        raise StyleError(f"Teaching was ended by the system (signal {-code}), perhaps for want of memory: close other programs.")
    raise RuntimeError(f"Teaching ended with code {code} and without a style.")


def _found(source: str | Path | Image.Image) -> str | Path | Image.Image:
    """`source`; PictureError where it is a path that no file can have."""
    if isinstance(source, (str, Path)):
        try:
            os.stat(source)
        except FileNotFoundError:
            pass  # said as of any picture
        except (OSError, ValueError) as error:
            raise PictureError(f"{shown(str(source))} cannot be read ({first_line(error)}): check the path.") from None
    return source


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
