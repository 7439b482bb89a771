"""How a run ends: a first card of the style, its pictures as `training.teach` makes them, and what can be done with it now.

A card and pictures that a run made are made anew when the run is lengthened; what a maker has changed since is never touched.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from stylekit.base import Base
from stylekit.base_card import POCKET
from stylekit.images import open_picture
from stylekit.storage import digests
from stylekit.storage.files import whole
from stylekit.storage.paths import PHOTOS_FOLDER, STYLES_FOLDER
from stylekit.styles import CARD_FILE, DIAL_FILE, Style, StyleLibrary, card_text
from stylekit.stylizer import Stylizer
from training.style import card_pictures, records
from training.style.card_pictures import BEFORE_FILE, PREVIEW_FILE
from training.style.records import AdapterUse
from training.style.settings import StyleTraining

SHOWN = PHOTOS_FOLDER / "astronaut.jpg"  # one that is never trained on
PICTURES = (BEFORE_FILE, PREVIEW_FILE, DIAL_FILE)


def hang(card: Path, settings: StyleTraining, adapter: Path, style: Style, ours: dict[str, str]) -> str:
    """Write the card, if it is this run's to write, and its pictures; what is there now and what can be done with it, for people.

    ours: file beside the card -> digest, of those that an earlier start of the run has written; see `written`.
    """
    use = style.adapters[0]
    if card.is_file() and not _is_ours(card, ours):
        about = AdapterUse(timestep=use.timestep, phases=use.phases, underpainting=use.underpainting, trigger=use.trigger or None)
        said = records.write_card(
            card, title=style.title, blurb=style.blurb, license=style.license, base=settings.base, adapter=adapter, made=use.made,
            data=use.data, use=about, kind=use.kind, hand=style.hand, drawn=style.drawn,
        )  # fmt: skip
        return f"{said}\n{closing(card.parent, use.base)}"
    folder = card.parent
    names = {use.path: use.path.relative_to(folder.resolve()).as_posix()}
    if settings.previews and use.base == POCKET and all(_is_ours(folder / name, ours) for name in PICTURES):
        card_pictures.write(Stylizer(Base.open(POCKET), StyleLibrary(styles=(style,))), style.name, open_picture(SHOWN), folder)
    there = {folder / name: name for name in PICTURES if (folder / name).is_file()}
    style = dataclasses.replace(
        style,
        preview=folder / PREVIEW_FILE if folder / PREVIEW_FILE in there else None,
        before=folder / BEFORE_FILE if folder / BEFORE_FILE in there else None,
    )
    with whole(card) as part:
        part.write_text(card_text(style, names | there), encoding="utf-8")
    _note(settings.out, {name: digests.of_file(folder / name) for name in (CARD_FILE, *there.values())})
    return f"{card} makes the style appear in the app: put your own words into it\n{closing(folder, use.base)}"


def closing(folder: Path, base: str = POCKET) -> str:
    """The commands to try the style in `folder`, on the base that it is for, and to push it."""
    ours = folder.resolve().parent == STYLES_FOLDER
    page = ("" if base == POCKET else f"STYLEKIT_BASE={base} ") + ("" if ours else f"STYLEKIT_STYLES={folder.parent} ")
    alone = "" if ours else f"   (with the styles of {folder.parent} in place of the gallery's)"
    chosen = (f"--style {folder.name}" if ours else f"--add {folder}") + ("" if base == POCKET else f" --base {base}")
    return (
        f"try it on the page:  {page}python app.py{alone}\n"
        f"or on a photo:       python -m stylekit photo.jpg {chosen} --out {folder.name}.png\n"
        f"give it to others:   python -m training.push {folder.name if ours else folder} --repo OWNER/NAME"
    )


def written(out: Path) -> dict[str, str]:
    """File beside the card -> digest, as the last run that wrote to `out` left them."""
    try:
        values = json.loads((out / records.RECORD_FILE).read_text(encoding="utf-8"))["wrote"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {str(name): str(digest) for name, digest in values.items()} if isinstance(values, dict) else {}


def _is_ours(path: Path, ours: dict[str, str]) -> bool:
    """Whether it is not there, or as a run wrote it."""
    return not path.is_file() or ours.get(path.name) == digests.of_file(path)


def _note(out: Path, wrote: dict[str, str]) -> None:
    path = out / records.RECORD_FILE
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    with whole(path) as part:
        part.write_text(json.dumps({**values, "wrote": wrote}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
