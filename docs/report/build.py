"""Make the final report and the slides: Markdown, HTML and PDF, with every number read from a committed file.

    python docs/report/build.py              figures, report.md, report.pdf, slides.pdf
    python docs/report/build.py --check      only say whether report.md is what the files give now (exit status 1 if not)

`report.md.jinja` and `slides.md.jinja` are templates. In them `load("FILE.json")` is a JSON file, `table("FILE.md", "HEADING")` the rows of
the first table below that heading. A number is written out in a template only where it is nobody's measurement: a year, a target of the
brief, the size of a file or of a network.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.request import pathname2url, url2pathname

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT))

import jinja2  # noqa: E402
from markdown_it import MarkdownIt  # noqa: E402

from eval.output import save_figure  # noqa: E402
from stylekit.errors import StyleError  # noqa: E402
from stylekit.storage.files import write_whole  # noqa: E402

REPORT, SLIDES = "report", "slides"
PAGE = {  # what differs between the two when printed
    REPORT: {"format": "A4", "margin": {"top": "18mm", "bottom": "18mm", "left": "20mm", "right": "20mm"}},
    SLIDES: {"width": "13.333in", "height": "7.5in"},
}


# ---- numbers


def load(path: str) -> Any:
    """The JSON file at `path`, from the root of the repository."""
    return json.loads((ROOT / path).read_text(encoding="utf-8"))


def table(path: str, heading: str, number: int = 0) -> list[dict[str, str]]:
    """The rows of a Markdown file's table, column -> text: the `number`-th below the heading that begins so. Raises StyleError."""
    text = (ROOT / path).read_text(encoding="utf-8")
    begin = re.search(rf"^#+ {re.escape(heading)}.*$", text, re.MULTILINE)
    if begin is None:
        raise StyleError(f"{path} has no heading {heading!r}: mend the template.")
    found = re.findall(r"(?:^\|.*\|\n)+", text[begin.end() :], re.MULTILINE)
    if number >= len(found):
        raise StyleError(f"{path} has {len(found)} tables below {heading!r}, and number {number} is asked for.")
    lines = [[cell.strip().strip("*") for cell in line.strip("|").split("|")] for line in found[number].splitlines()]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def row(rows: Sequence[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    """The one row with these values. Raises StyleError."""
    found = [one for one in rows if all(one.get(key) == value for key, value in wanted.items())]
    if len(found) != 1:
        raise StyleError(f"{len(found)} rows have {wanted}: mend the template.")
    return found[0]


def number(text: str) -> float:
    """The first number in a table's cell, such as 1.32 of "1.32 (2.33)"."""
    found = re.search(r"-?\d[\d,]*\.?\d*", text)
    if found is None:
        raise StyleError(f"{text!r} holds no number: mend the template.")
    return float(found[0].replace(",", ""))


def span(values: Sequence[float], digits: int = 2) -> str:
    """From the least to the greatest, as words."""
    return f"{min(values):.{digits}f} to {max(values):.{digits}f}"


# ---- pages


def rendered(name: str) -> str:
    """The Markdown of the report or the slides."""
    loader = jinja2.FileSystemLoader(HERE)
    environment = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=True)
    environment.filters["number"] = number
    known = {"load": load, "table": table, "row": row, "number": number, "span": span}
    return environment.get_template(f"{name}.md.jinja").render(known)


def page(name: str, markdown: str) -> str:
    """HTML of `markdown`, whose addresses are relative to this folder."""
    body = MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown)
    if name == SLIDES:
        body = "".join(f"<section>{part}</section>" for part in body.split("<hr />"))
    # a picture with what is under it: one thing, never parted by the end of a page
    body = re.sub(r"<p>(<img [^>]*>)</p>\s*<p><em>(.*?)</em></p>", r"<figure>\1<figcaption>\2</figcaption></figure>", body, flags=re.DOTALL)
    body = re.sub(r"</table>\s*<p><em>(Table .*?)</em></p>", r"</table><p class='caption'>\1</p>", body, flags=re.DOTALL)
    body = re.sub(r"<p>(<img [^>]*>)</p>", r"<figure>\1</figure>", body)
    title = re.search(r"<h1>(.*?)</h1>", body)
    style = (HERE / f"{name}.css").read_text(encoding="utf-8")
    head = f'<meta charset="utf-8"><title>{title[1] if title else name}</title><style>{style}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def print_pdf(html: Path, pdf: Path, options: dict[str, Any]) -> None:
    """`html` on paper, by a browser. Raises StyleError where there is none."""
    from docs.browser import chromium

    with chromium() as browser:
        sheet = browser.new_page()
        sheet.goto(html.as_uri(), wait_until="load")
        broken = sheet.evaluate("[...document.images].filter((i) => !i.naturalWidth).map((i) => i.getAttribute('src'))")
        if broken:
            raise StyleError(f"{html.name} shows pictures that are not there: {', '.join(broken)}.")
        footer = "<div style='font-size:8px;width:100%;text-align:center;color:#777'><span class='pageNumber'></span></div>"
        if "format" in options:
            options = {"display_header_footer": True, "header_template": "<span></span>", "footer_template": footer} | options
        sheet.pdf(path=pdf, print_background=True, **options)
    pdf.write_bytes(with_relative_links(pdf.read_bytes()))


def with_relative_links(pdf: bytes) -> bytes:
    """The same PDF, whose links to files of the repository are relative to this folder and not to this machine. Every byte stays where it
    was: what a link loses is filled with spaces behind it."""

    def relative(link: re.Match[bytes]) -> bytes:
        place, hash_mark, part = link[1].decode().partition("#")
        path = os.path.relpath(url2pathname(place), HERE)
        return f"({pathname2url(path)}{hash_mark}{part})".encode().ljust(len(link[0]))

    return re.sub(rb"\(file://([^()]*)\)", relative, pdf)


def build(names: Sequence[str] = (REPORT, SLIDES)) -> list[Path]:
    """Figures, then each of `names` as PDF, the report as Markdown too. The files written."""
    sys.path.insert(0, str(HERE))
    import figures

    written = []
    (HERE / "figures").mkdir(exist_ok=True)
    for name, figure in figures.all_figures():
        write_whole(HERE / "figures" / f"{name}.png", lambda part, figure=figure: save_figure(figure, part))
    for name in names:
        markdown = rendered(name)
        if name == REPORT:
            written.append(HERE / "report.md")
            write_whole(written[-1], lambda part, text=markdown: part.write_text(text, encoding="utf-8"))
        with tempfile.NamedTemporaryFile("w", suffix=".html", dir=HERE, encoding="utf-8") as html:
            html.write(page(name, markdown))
            html.flush()
            written.append(HERE / f"{name}.pdf")
            write_whole(written[-1], lambda part, source=Path(html.name), name=name: print_pdf(source, part, PAGE[name]))
    return written


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Make the final report and the slides.")
    parser.add_argument("--check", action="store_true", help="only say whether report.md is what the files give now")
    args = parser.parse_args(argv)
    try:
        if args.check:
            same = (HERE / "report.md").read_text(encoding="utf-8") == rendered(REPORT)
            print("report.md is what the files give." if same else "report.md is older than the files: run python docs/report/build.py")
            return 0 if same else 1
        for path in build():
            print(path.relative_to(ROOT))
    except StyleError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
