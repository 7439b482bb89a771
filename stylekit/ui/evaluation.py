"""The Evaluation tab: reports that came with the app, and a small evaluation of one's own photos.

A report is a folder with ``report.json``, its tables, plots and sheets, as ``python -m eval.run`` writes it. The tab receives the function
that makes one; no file of the server has to be opened to visitors.
"""

from __future__ import annotations

import base64
import contextlib
import html
import io
import json
import logging
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from stylekit.errors import PictureError, SettingError, StyleError
from stylekit.formats import FILE_TYPES
from stylekit.images import open_picture
from stylekit.storage.untrusted import Source, as_table, parse_json, read_text
from stylekit.ui.parts.shelf import shelve
from stylekit.ui.status import complain, note, say
from stylekit.ui.underway import UnderWay
from stylekit.ui.worker import MODEL_QUEUE, PRIVATE, Turn, watch

log = logging.getLogger(__name__)

Updates = dict[Any, Any]
Report = Mapping[str, Any]  # what report.json holds
# photos, styles, methods, folder for the report -> (pictures done, pictures in all, what is done last); the report is there at the end
Evaluate = Callable[[Sequence[Path], Sequence[str], Sequence[str], Path], Iterator[tuple[int, int, str]]]

REPORT_FILE, CSV_FILE, MARKDOWN_FILE = "report.json", "report.csv", "report.md"
VISITOR_TITLE = "your photos"  # what the last evaluation of this visitor is called
MOST_PHOTOS = 8
AT_ONCE = 4  # visitors whose Cancel is heard at the same time
REPORT_SECONDS = 24 * 3600.0  # seconds that a visitor's own report stays on the server
HEAD = ("lpips", "ssim", "reached", "kid", "seconds")  # columns that are shown before "all numbers" is asked for
LEGIBLE = 0.82  # of the size of a plot or sheet: its smallest letters, 11 pixels high, still have 9; where there is less room it scrolls
METHODS = {
    "identity": "photo itself",
    "base": "base alone",
    "prompt": "style's words alone",
    "hand": "drawn by hand",
    "lora": "LoRA alone",
    "dreambooth": "DreamBooth alone",
    "classical": "classical network",
}
NONE = "–"  # where there is no number
LIMITS = {  # column of a limit -> its title and format
    "style": ("style", ""),
    "strength": ("strength", ".2f"),
    "ssim": ("SSIM", ".3f"),
    "lpips": ("LPIPS to content", ".3f"),
    "reached": ("style reached", ".2f"),
    "share": ("share of the way", ".0%"),
    "beyond": ("stops at", ""),
}

WELCOME = "Choose photos, styles and methods. A picture takes a few seconds."
CANCELLED = "Cancelled. Your photos and choices are still here."
FAILED = "Something went wrong on the server and is in its log. Your photos and choices are still here: try again."
ABOUT = (
    "How well each style keeps what is in a photo, and how much of the style arrives: a number is a mean over the photos of the report. "
    "Below it you can measure the same on photos of your own."
)
NO_REPORT = "There is no report yet: measure photos of your own below."

TABLE_SCRIPT = """
element.addEventListener("click", (event) => {
  const all = event.target.closest(".sk-all");
  if (all) {
    const open = all.getAttribute("aria-pressed") !== "true";
    all.setAttribute("aria-pressed", open);
    element.querySelector("table").classList.toggle("sk-wide", open);
    return;
  }
  const button = event.target.closest("th button");
  if (!button) return;
  const head = button.parentElement, body = head.closest("table").tBodies[0];
  const up = head.getAttribute("aria-sort") !== "ascending", column = head.cellIndex;
  const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const empty = (text) => text === "";
  const rows = [...body.rows].sort((a, b) => {
    const x = key(a), y = key(b);
    if (empty(x) || empty(y)) return empty(x) - empty(y);  // what has no number is last, either way
    const numbers = !isNaN(x) && !isNaN(y);
    return (up ? 1 : -1) * (numbers ? x - y : x.localeCompare(y));
  });
  head.parentElement.querySelectorAll("th").forEach((th) => th.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  body.append(...rows);
});
"""
BUSY_SCRIPT = """() => [%s, {interactive: false, __type__: "update"}, {interactive: true, __type__: "update"}]"""
TO_REPORT = """(report) => {
  if (report === %s) document.getElementById("report-bar").scrollIntoView({behavior: "smooth"});
}"""
IDLE_SCRIPT = """() => [{interactive: true, __type__: "update"}, {interactive: false, __type__: "update"}]"""


@dataclass(frozen=True, kw_only=True)
class EvaluationTab:
    """The tab's components. report: names of the reports; page: the chosen one as a page;
    visitor_report: folder of that report."""

    report: gr.Dropdown
    page: gr.HTML
    csv: gr.DownloadButton
    markdown: gr.DownloadButton
    photos: gr.File
    styles: gr.CheckboxGroup
    methods: gr.CheckboxGroup
    go: gr.Button
    cancel: gr.Button
    status: gr.HTML
    visitor_report: gr.State


def create_tab(
    *,
    reports: Path,
    styles: Sequence[tuple[str, str]],
    methods: Sequence[str],
    evaluate: Evaluate,
    examples: Sequence[Path] = (),
    turn: Turn | None = None,
) -> EvaluationTab:
    """Lay out the tab in the current Blocks and connect it.

    reports: folder with a folder for each report. styles: (title, name) of each to choose from. methods: names of those to choose from.
    evaluate: makes a report; closing it must cancel. examples: photos that are measured if none is uploaded.
    turn: where it runs; None for one of the tab's own.
    """
    found = find_reports(reports)
    tab = _lay_out(found, styles, methods)
    actions = _Actions(tab, found, evaluate, examples, turn or Turn())
    shown = [tab.page, tab.csv, tab.markdown]
    tab.report.change(actions.show, [tab.report, tab.visitor_report], shown, **PRIVATE)
    busy = BUSY_SCRIPT % json.dumps(say("Waiting for a free turn", "busy"))
    clicked = tab.go.click(None, None, [tab.status, tab.go, tab.cancel], js=busy, **PRIVATE)
    running = clicked.then(
        actions.evaluate,
        [tab.photos, tab.styles, tab.methods],
        [tab.status, tab.visitor_report, tab.report, *shown],
        concurrency_id=MODEL_QUEUE,
        concurrency_limit=1,
        **PRIVATE,
    )
    running.then(None, None, [tab.go, tab.cancel], js=IDLE_SCRIPT, **PRIVATE)
    running.success(None, tab.report, None, js=TO_REPORT % json.dumps(VISITOR_TITLE), **PRIVATE)
    # a run that still waits for its turn in the queue is Gradio's to end
    cancelled = tab.cancel.click(actions.cancel, None, None, concurrency_limit=AT_ONCE, **PRIVATE)
    unqueued = cancelled.then(None, None, None, cancels=[running], **PRIVATE)
    unqueued.then(lambda: say(CANCELLED), None, tab.status, **PRIVATE)
    return tab


def find_reports(folder: Path) -> dict[str, Path]:
    """Title -> folder of every report below `folder`; one that cannot be read is left out."""
    found = {}
    for path in sorted(folder.glob(f"*/{REPORT_FILE}")):
        try:
            found[read_report(path.parent)["title"]] = path.parent
        except StyleError as error:
            log.warning("%s", error)
    return found


def read_report(folder: Path) -> Report:
    """What report.json in `folder` says."""
    source = Source(what=f"The report in {folder.name}", remedy="make it again", bytes=2**24)
    try:
        report = as_table(parse_json(read_text(folder / REPORT_FILE, source), source), source)
        report["title"], report["rows"], report["columns"]
        return report
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StyleError(f"The report in {folder} cannot be read ({error}): make it again.") from None


def _lay_out(found: Mapping[str, Path], styles: Sequence[tuple[str, str]], methods: Sequence[str]) -> EvaluationTab:
    first = next(iter(found), None)
    with gr.Column(elem_id="evaluation"):
        gr.HTML(f'<p class="sk-report-about">{ABOUT}</p>', apply_default_css=False, js_on_load=None)
        with gr.Row(elem_id="report-bar"):
            report = gr.Dropdown(list(found), value=first, label="Report", visible=bool(found), min_width=220, elem_id="report")
            files = [str(found[first] / name) if first else None for name in (CSV_FILE, MARKDOWN_FILE)]
            csv = gr.DownloadButton("Download CSV", value=files[0], visible=first is not None, scale=0, elem_id="report-csv")
            markdown = gr.DownloadButton("Download Markdown", value=files[1], visible=first is not None, scale=0, elem_id="report-markdown")
        page = gr.HTML(
            report_page(found[first], True) if first else f'<p class="sk-quiet">{NO_REPORT}</p>',
            js_on_load=TABLE_SCRIPT,
            apply_default_css=False,
            elem_id="report-page",
        )
        with gr.Column(elem_id="measure"):
            gr.HTML('<h2 class="sk-heading">Measure your own photos</h2>', apply_default_css=False, js_on_load=None)
            with gr.Row():
                photos = gr.File(
                    file_count="multiple",
                    file_types=[*FILE_TYPES],
                    label=f"Photos, at most {MOST_PHOTOS}",
                    show_label=True,
                    height=190,
                    min_width=260,
                    elem_id="measure-photos",
                )
                with gr.Column(min_width=260):
                    names = [name for _, name in styles]
                    chosen = gr.CheckboxGroup(list(styles), value=names[:2], label="Styles", elem_id="measure-styles")
                    ways = [(METHODS.get(name, name), name) for name in methods]
                    used = [name for name in methods if name in ("identity", "hand" if "hand" in methods else "lora")]
                    how = gr.CheckboxGroup(ways, value=used, label="Methods", elem_id="measure-methods")
            with gr.Row(elem_id="measure-actions"):
                go = gr.Button("Evaluate", variant="primary", elem_id="measure-go")
                cancel = gr.Button("Cancel", interactive=False, elem_id="measure-cancel")
            status = gr.HTML(say(WELCOME), apply_default_css=False, js_on_load=None, elem_id="measure-status")
    return EvaluationTab(
        report=report,
        page=page,
        csv=csv,
        markdown=markdown,
        photos=photos,
        styles=chosen,
        methods=how,
        go=go,
        cancel=cancel,
        status=status,
        visitor_report=gr.State(None, time_to_live=REPORT_SECONDS, delete_callback=_discard),
    )


class _Actions:
    """What the listeners do."""

    def __init__(self, tab: EvaluationTab, reports: Mapping[str, Path], evaluate: Evaluate, examples: Sequence[Path], turn: Turn) -> None:
        self.tab = tab
        self.reports = dict(reports)
        self.run = evaluate
        self.examples = tuple(examples)
        self.turn = turn
        self.under_way = UnderWay()

    def show(self, title: str | None, visitor_report: str | None) -> Iterator[Updates]:
        """Put a report on the page, with its downloads."""
        folder = Path(visitor_report) if title == VISITOR_TITLE and visitor_report else self.reports.get(title or "")
        if folder is None:
            return
        try:
            with self._files(folder) as updates:
                yield updates
        except StyleError as error:
            complain(str(error))

    def cancel(self, request: gr.Request) -> None:
        """End the visit's evaluation, which says so itself."""
        self.under_way.cancel(request.session_hash, say(CANCELLED))

    def evaluate(
        self, photos: Sequence[str] | None, styles: Sequence[str], methods: Sequence[str], request: gr.Request
    ) -> Iterator[Updates]:
        """Measure, show how far it is, then the report; whatever fails is said, and the choices stay."""
        tab = self.tab
        out = Path(tempfile.mkdtemp(prefix="stylekit-report-"))
        kept = False
        try:
            with self.under_way.begin(request.session_hash) as mine:
                chosen = [Path(path) for path in photos or self.examples]
                yield from mine.until_ended(self._measure(chosen, styles, methods, out))
                if mine.ended:
                    yield {tab.status: mine.ended}
                    return
            with self._files(out) as updates:
                choices = gr.Dropdown([VISITOR_TITLE, *self.reports], value=VISITOR_TITLE, visible=True)
                kept = True
                yield updates | {tab.status: say("Done: the report is above."), tab.visitor_report: str(out), tab.report: choices}
        except StyleError as error:
            yield {tab.status: complain(str(error))}
        except Exception:
            log.exception("An evaluation failed.")
            yield {tab.status: complain(FAILED)}
        finally:
            if not kept:
                shutil.rmtree(out, ignore_errors=True)

    def _measure(self, photos: Sequence[Path], styles: Sequence[str], methods: Sequence[str], out: Path) -> Generator[Updates, None, None]:
        tab, started = self.tab, time.monotonic()
        if not photos:
            raise PictureError("There is no photo yet: upload one or more.")
        if len(photos) > MOST_PHOTOS:
            raise SettingError(f"There are {len(photos)} photos: choose at most {MOST_PHOTOS}.")
        if not styles or not methods:
            raise SettingError(f"There is no {'style' if not styles else 'method'} yet: choose one or more.")
        for path in photos:
            open_picture(path, say=note)  # says what is wrong with it
        said, done = "Getting ready", 0.0
        with contextlib.closing(watch(lambda: self.run(photos, styles, methods, out), self.turn)) as making:
            for event in making:
                if event is not None:
                    made, total, what = event
                    said, done = f"{what}, {made} of {total}", made / max(1, total)
                yield {tab.status: say(said, "busy", done, time.monotonic() - started)}

    @contextlib.contextmanager
    def _files(self, folder: Path) -> Iterator[Updates]:
        """The page and the downloads. Gradio copies the files it is given, so they are needed only while they are yielded."""
        tab, page = self.tab, report_page(folder, folder in self.reports.values())
        with tempfile.TemporaryDirectory(prefix="stylekit-") as name:
            copies = [str(shutil.copy(folder / file, name)) for file in (CSV_FILE, MARKDOWN_FILE)]
            yield {
                tab.page: page,
                tab.csv: gr.DownloadButton(value=copies[0], visible=True),
                tab.markdown: gr.DownloadButton(value=copies[1], visible=True),
            }


def report_page(folder: Path, shared: bool) -> str:
    """The report in `folder` as HTML. shared: it came with the app, so its pictures may lie on the shelf; else they are in the page."""
    report = read_report(folder)
    parts = [f'<p class="sk-report-about">{_about(report)}</p>', _table(report), _limits(report)]
    plots = [_picture(folder, entry, shared) for entry in report.get("plots", ())]
    parts += ['<div class="sk-plots">', *plots, "</div>", *(_picture(folder, entry, shared) for entry in report.get("sheets", ()))]
    if report.get("notes"):
        parts.append(f'<h3 class="sk-heading">What the pictures show</h3><div class="sk-notes">{_notes(report["notes"])}</div>')
    troubles = [f"{method} of {style}: {why}" for method, style, why in report.get("missing", ())]
    troubles += [f"{f['photo']} {f['method']} {f['style']}: {f['reason']}" for f in report.get("faults", ())]
    if troubles:
        items = "".join(f"<li>{html.escape(text)}</li>" for text in troubles)
        parts.append(f'<details class="sk-troubles"><summary>Not in the table: {len(troubles)}</summary><ul>{items}</ul></details>')
    return f'<div class="sk-report">{"".join(parts)}</div>'


def _about(report: Report) -> str:
    networks = html.escape(report["backbone_label"])
    caution = "" if report["standard"] else " Not to be compared with numbers of other networks, published ones included."
    return (
        f"{len(report['photos'])} photos, base {html.escape(report['base'])}, seconds on {html.escape(report['machine'])}. "
        f"Measured with: {networks}.{caution}"
    )


def _notes(text: str) -> str:
    """The little Markdown that notes have: paragraphs, lists, bold and slanted words."""
    parts = []
    for block in html.escape(text.strip()).split("\n\n"):
        items = re.split(r"^- ", block, flags=re.MULTILINE)
        listed = "".join(f"<li>{item}</li>" for item in items[1:])
        parts.append((f"<p>{items[0]}</p>" if items[0].strip() else "") + (f"<ul>{listed}</ul>" if listed else ""))
    bold = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", "".join(parts))
    return re.sub(r"\*(\S.*?)\*", r"<i>\1</i>", bold)


def _table(report: Report) -> str:
    """Every row; a click on a heading sorts. Columns beyond `HEAD` hide until asked for."""
    columns = [column for column in report["columns"] if any(row.get(column["key"]) is not None for row in report["rows"])]
    columns.sort(key=lambda column: HEAD.index(column["key"]) if column["key"] in HEAD else len(HEAD))
    arrows = {"low": "↓", "high": "↑", "": ""}
    titles = ["style", "method", *(f"{column['title']} {arrows[column['better']]}".strip() for column in columns)]
    kinds = ["", "", *("" if column["key"] in HEAD else "sk-more" for column in columns)]
    head = "".join(
        f'<th scope="col" class="{kind}"><button type="button">{html.escape(title)}</button></th>'
        for title, kind in zip(titles, kinds, strict=True)
    )
    body = ""
    for row in report["rows"]:
        names = (html.escape(name) for name in (row["style"], METHODS.get(row["method"], row["method"])))
        cells = "".join(f"<td>{name}</td>" for name in names) + "".join(_cell(row, column, report) for column in columns)
        body += f'<tr data-method="{html.escape(row["method"])}">{cells}</tr>'
    return (
        f'<div class="sk-scroll" tabindex="0" role="region" aria-label="Numbers"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody>'
        f'</table></div><p class="sk-legend">↓ lower is better, ↑ higher. ✓ ✗ whether the target is met. A click on a heading sorts. '
        f'<button type="button" class="sk-all" aria-pressed="false">All numbers</button></p>'
    )


def _limits(report: Report) -> str:
    """How far the dial of each style goes while the brief's targets hold; empty where it was not asked for."""
    rows = report.get("limits", ())
    if not rows:
        return ""
    targets = {column["key"]: column["target"] for column in report["columns"]}
    count = max(row["photos"] for row in rows)
    head = "".join(f'<th scope="col">{title}</th>' for title, _ in LIMITS.values())
    body = ""
    for row in rows:
        texts = (NONE if row.get(key) is None else f"{row[key]:{form}}" for key, (_, form) in LIMITS.items())
        body += "<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in texts) + "</tr>"
    return (
        f'<h3 class="sk-heading">How far the dial goes while the targets hold</h3><div class="sk-scroll" tabindex="0" role="region" '
        f'aria-label="Limits"><table class="sk-limits"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        f'<p class="sk-legend">The strongest setting at which SSIM is over {targets["ssim"]:g} and LPIPS under {targets["lpips"]:g}, means '
        f"over {count} photos. Share: how much of the way from the photo to the full setting.</p>"
    )


def _cell(row: Mapping[str, Any], column: Mapping[str, Any], report: Report) -> str:
    kind = "" if column["key"] in HEAD else ' class="sk-more"'
    value = row.get(column["key"])
    if value is None:
        return f'<td{kind} data-value="">{NONE}</td>'
    text, target = f"{value:.{column['digits']}f}", column["target"]
    if target is not None and (report["standard"] or not column["networks"]) and row["method"] != "identity":
        passed = value < target if column["better"] == "low" else value > target
        mark = '<i class="sk-pass" title="target met">✓</i>' if passed else '<i class="sk-fail" title="target missed">✗</i>'
        text = f"{text} {mark}"
    return f'<td{kind} data-value="{value!r}">{text}</td>'


def _picture(folder: Path, entry: Mapping[str, str], shared: bool) -> str:
    path = folder / Path(entry["file"]).name
    try:
        data = path.read_bytes()
    except OSError as error:
        log.warning("The report's picture %s cannot be read (%s).", path, error)
        return ""
    text = html.escape(entry["text"])
    kind = "png" if path.suffix == ".png" else "jpeg"
    source = shelve(data) if shared else f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    with Image.open(io.BytesIO(data)) as picture:
        wide, high = picture.size
    image = f'<img loading="lazy" width="{wide}" height="{high}" style="min-width: {LEGIBLE * wide:.0f}px" src="{source}" alt="{text}">'
    box = f'<div class="sk-scroll" tabindex="0" role="group" aria-label="Picture">{image}</div>'
    return f"<figure>{box}<figcaption>{text}</figcaption></figure>"


def _discard(folder: str | None) -> None:
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
