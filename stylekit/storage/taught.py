"""A style that was taught here, in a folder of its own: called otherwise, taken away, packed to be given on."""

from __future__ import annotations

import re
import shutil
import uuid
import zipfile
from pathlib import Path

from stylekit.errors import SettingError, StyleError, first_line
from stylekit.storage.files import PART, whole
from stylekit.styles import CARD_FILE, TITLE_LENGTH, Style, read_style, toml_lines

MARK = "training.teach."  # how the story of a taught adapter ends
_TITLE = re.compile(r"^title = .*$", re.MULTILINE)


def is_taught(style: Style) -> bool:
    """Whether it was taught, and lies in a folder of this machine."""
    return not style.source and bool(style.adapters) and all(adapter.made.endswith(MARK) for adapter in style.adapters)


def retitle(style: Style, title: str) -> Style:
    """The style under another title, in its card too. Its name, which recipes know it by, stays. Raises StyleError."""
    title = " ".join(title.split())
    if not title or not title.isprintable() or len(title) > TITLE_LENGTH:
        raise SettingError(f"A style cannot be called {title[:60]!r}: write from 1 to {TITLE_LENGTH} characters.")
    card = _folder(style) / CARD_FILE
    text, found = _TITLE.subn(lambda _: toml_lines({"title": title}).rstrip("\n"), card.read_text(encoding="utf-8"), count=1)
    if not found:
        raise StyleError(f"The style card {style.name}/{CARD_FILE} has no line with the title: write one.")
    with whole(card) as part:
        part.write_text(text, encoding="utf-8")
    return read_style(card)


def discard(style: Style) -> None:
    """Remove its folder, at once or not at all. Raises StyleError."""
    folder = _folder(style)
    gone = folder.with_name(f".{folder.name[:60]}-{uuid.uuid4().hex[:8]}{PART}")
    try:
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
    except OSError as error:
        raise StyleError(f"The style {style.name} cannot be removed ({first_line(error)}): look at its folder.") from None


def pack(style: Style, to: Path) -> Path:
    """``to/NAME.zip`` with the style's folder, to be unpacked into the styles folder of another machine. Raises StyleError."""
    folder, path = _folder(style), to / f"{style.name}.zip"
    with whole(path) as part, zipfile.ZipFile(part, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and not file.name.startswith("."):
                archive.write(file, Path(folder.name) / file.relative_to(folder))
    return path


def _folder(style: Style) -> Path:
    if not is_taught(style):
        raise StyleError(f"{style.title} was not taught here: only styles of one's own can be changed.")
    folder = style.adapters[0].path.parent.parent
    if folder.name != style.name or not (folder / CARD_FILE).is_file():
        raise StyleError(f"The folder of {style.title} is not where it was: load the page anew.")
    return folder
