"""What a report measured, written into the style cards, so that the gallery shows it beside each style.

    python -m eval.cards assets/reports/coco100

A number of a report is a mean over its photos. Those of networks that are not the standard ones are left out, since they may be compared
within their report only.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stylekit.errors import StyleError
from stylekit.storage.files import whole
from stylekit.storage.paths import STYLES_FOLDER
from stylekit.storage.untrusted import Source, as_table, parse_json, read_text
from stylekit.styles import CARD_FILE, Style, read_style, toml_lines

DRAWN, MODEL = "drawn", "the model alone"
WAYS = {"hand": DRAWN, "lora": MODEL, "dreambooth": MODEL}
SHOWN = {"ssim": "SSIM", "lpips": "LPIPS", "fid": "FID"}  # no seconds: they are the machine's as much as the style's
TWIN = "-dreambooth"  # at the end of the names of styles that are measured as their twin's
REPORT_FILE = "report.json"


def metrics_of(report: Mapping[str, Any], style: Style) -> dict[str, float]:
    """Of a style's adapter for the report's base, and of the pictures that its hand finishes: name -> number, the photos counted first."""
    kinds = {style.adapter(report["base"]).kind, "hand"}
    columns = {column["key"]: column for column in report["columns"]}
    found: dict[str, float] = {}
    for row in report["rows"]:
        way = WAYS.get(row["method"])
        if row["style"] != style.name.removesuffix(TWIN) or way is None or row["method"] not in kinds:
            continue
        if way == DRAWN and style.hand is None:
            continue
        for key, title in SHOWN.items():
            column = columns.get(key)
            if column and row.get(key) is not None and (report["standard"] or not column["networks"]):
                found[f"{title}, {way}"] = round(float(row[key]), column["digits"])
    return {"Photos measured": len(report["photos"])} | found if found else {}


def with_metrics(card: str, base: str, metrics: Mapping[str, float]) -> str:
    """The text of a card with `metrics` on its adapter for `base`, in the place of those there were. StyleError if it has none."""
    parts = re.split(r"(?m)^(?=\[\[adapters\]\]$)", card)
    for i, part in enumerate(parts):
        if re.search(rf'(?m)^base = "{re.escape(base)}"$', part):
            lines = re.sub(r"(?m)^metrics = .*\n", "", part).rstrip("\n")
            rest = "\n\n" if i + 1 < len(parts) else "\n"
            parts[i] = f"{lines}\n{toml_lines({'metrics': dict(metrics)})}{rest[1:]}"
            return "".join(parts)
    raise StyleError(f"The card has no adapter for the base {base}.")


def write_metrics(report_folder: Path, styles: Path) -> list[str]:
    """Names of the styles whose cards have the report's numbers now."""
    source = Source(what=f"The report in {report_folder}", remedy="make it again", bytes=2**24)
    try:
        report = as_table(parse_json(read_text(report_folder / REPORT_FILE, source), source), source)
        report["rows"], report["columns"], report["photos"], report["base"], report["standard"]
    except (OSError, KeyError) as error:
        raise StyleError(f"The report in {report_folder} cannot be read ({error}): make it again.") from None
    written = []
    for card in sorted(styles.glob(f"*/{CARD_FILE}")):
        style = read_style(card)
        metrics = metrics_of(report, style) if style.has_adapter(report["base"]) else {}
        if not metrics:
            continue
        text = with_metrics(card.read_text(encoding="utf-8"), report["base"], metrics)
        with whole(card) as part:
            part.write_text(text, encoding="utf-8")
        written.append(style.name)
    return written


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eval.cards", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("report", type=Path, help="folder with report.json")
    parser.add_argument("--styles", type=Path, default=STYLES_FOLDER, help="folder of the cards")
    args = parser.parse_args(argv)
    try:
        written = write_metrics(args.report, args.styles)
    except StyleError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{args.report.name}: {', '.join(written) or 'no style'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
