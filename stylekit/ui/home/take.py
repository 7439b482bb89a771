"""Beside the download: other formats, sizes of paper, and the share sheet where the browser has one. Script: take.js.

A format alone is the finished file, saved otherwise. A size of paper is a new picture: the photo is enlarged and drawn at that size.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from stylekit.errors import PictureError, SettingError
from stylekit.images import open_picture
from stylekit.results.carriers import read_named
from stylekit.results.prints import PAPERS, Paper, find_paper
from stylekit.results.saving import ENDINGS, save
from stylekit.ui.parts.frame import served
from stylekit.ui.worker import Turn, watch

KINDS = {"png": "PNG, exact", "jpeg": "JPEG", "webp": "WebP, small"}
GONE = "The result is no longer on the server: make it again."
ITS_PHOTO = "A print is drawn anew from the photo: upload the photo of this result, or choose the photo's own size."
TEMPLATE = """<section class="sk-take" aria-label="Take it home" hidden>
<button type="button" data-part="share" hidden>Share</button>
<details><summary>Formats and print sizes</summary><div>
<label>Format
<select data-part="kind" aria-label="Format">${kinds.map((k) => `<option value="${k[0]}">${k[1]}</option>`).join("")}</select></label>
<label>Size <select data-part="paper" aria-label="Size"><option value="">As the photo</option>\
${papers.map((p) => `<option value="${p[0]}">${p[1]}</option>`).join("")}</select></label>
<button type="button" data-part="take">Download</button>
<p data-part="about"></p></div></details>
</section>"""


def create_take(most_work: float = math.inf) -> gr.HTML:
    """Hidden until a result hangs. Its "submit" asks for what `Wanted` reads.

    most_work: millions of pixels that one picture may take; papers of more are left out.
    """
    return gr.HTML(
        {},
        html_template=TEMPLATE,
        js_on_load=Path(__file__).with_suffix(".js").read_text(encoding="utf-8"),
        kinds=list(KINDS.items()),
        papers=paper_choices(most_work),
        apply_default_css=False,
        elem_id="take",
    )


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """file: a result. photo: `making.photo_digest` of what it was made of."""

    file: Path
    kind: str
    paper: Paper | None
    photo: str

    @classmethod
    def of(cls, value: Any) -> Wanted:
        """From the browser, which is not believed. Raises StyleError."""
        given = value if isinstance(value, dict) else {}
        file, kind, paper = given.get("file"), given.get("kind"), given.get("paper")
        path = Path(file["path"]) if isinstance(file, dict) and isinstance(file.get("path"), str) else None
        if path is None or not path.is_file():
            raise PictureError(GONE)
        if kind not in KINDS:
            raise SettingError("The format is not one of PNG, JPEG and WebP: choose again.")
        return cls(
            file=path, kind=kind, paper=find_paper(paper) if isinstance(paper, str) and paper else None, photo=str(given.get("photo"))
        )


def resaved(wanted: Wanted, turn: Turn) -> Generator[dict[str, Any] | None, None, None]:
    """The file in another format, for the component's value; None as a sign of life before it. Raises StyleError."""

    def work(folder: Path) -> Iterator[Path]:
        named, picture = read_named(wanted.file), open_picture(wanted.file)
        yield save(picture, folder / f"{wanted.file.stem}{ENDINGS[wanted.kind]}", named)

    with tempfile.TemporaryDirectory(prefix="stylekit-") as name:
        for path in watch(lambda: work(Path(name)), turn):
            yield {"taken": served(path), "name": path.name} if path else None


def paper_choices(most_work: float) -> list[tuple[str, str]]:
    """(name, title) of the sizes of paper that are within the limit, see `create_take`."""
    papers = [paper for paper in PAPERS.values() if paper.pixels / 1e6 <= most_work]
    return [(paper.name, f"{paper.title}, {paper.sides[0]} × {paper.sides[1]} mm") for paper in papers]
