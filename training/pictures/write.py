"""How a training set is written: pictures fitted, a line of metadata each, a report."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stylekit.errors import StyleError, first_line
from stylekit.formats import count_and_name
from stylekit.storage.files import aside
from stylekit.storage.naming import safe_name
from training.loop import config
from training.pictures.choose import Choice, Scan, split_of
from training.pictures.preparation import SPLITS, Preparation
from training.pictures.sources import Source


def fit(picture: Image.Image, settings: Preparation) -> Image.Image:
    """`picture` trimmed, resized and cropped."""
    picture = picture.crop(settings.box(*picture.size))
    width, height = settings.scaled(*picture.size)
    if (width, height) != picture.size:
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    if settings.crop == "none":
        return picture
    side = min(width, height)
    offset = _busiest(picture) if settings.crop == "smart" else (max(width, height) - side) // 2
    left, top = (offset, 0) if width > height else (0, offset)
    return picture.crop((left, top, left + side, top + side))


def _busiest(picture: Image.Image) -> int:
    """Offset along the long side of the square with most edges; of nearly equal ones (1 %) the one nearest the centre."""
    grey = np.asarray(picture.convert("L"), dtype=np.float32)
    edges = np.abs(np.diff(grey, axis=0))[:, :-1] + np.abs(np.diff(grey, axis=1))[:-1]
    long_side, side = max(grey.shape), min(grey.shape)
    total = np.concatenate([[0.0], np.cumsum(edges.sum(axis=0 if picture.width > picture.height else 1, dtype=np.float64))])
    sums = total[side - 1 :] - total[: long_side - side + 1]  # of the side - 1 differences within each square
    good = np.flatnonzero(sums >= 0.99 * sums.max())
    return int(good[np.abs(good - (long_side - side) / 2).argmin()])


def _row(source: Source, scan: Scan, settings: Preparation) -> dict[str, Any]:
    """A picture's line of the manifest; the output's checksum is filled in when it is written."""
    left, top, right, bottom = settings.box(scan.width, scan.height)
    width, height = settings.scaled(right - left, bottom - top)
    if settings.crop != "none":
        width = height = min(width, height)
    split = split_of(scan.sha256, settings.split, settings.seed)
    return {
        "file_name": f"{split}/{safe_name(source.path.stem, 'picture').lower()}-{scan.sha256[:10]}.png",
        "split": split,
        "text": _text(settings.words, source.caption),
        "width": width,
        "height": height,
        "source": source.name,
        "source_width": scan.width,
        "source_height": scan.height,
        "artist": source.artist or settings.artist,
        "title": source.title,
        "year": source.year,
        "license": source.license or settings.license,
        "url": source.url,
        "sha256": "",
        "source_sha256": scan.sha256,
    }


def _text(words: str, caption: str) -> str:
    """`caption`, beginning with `words`, as that of a folder made here does already."""
    return caption if caption.lower().startswith(words.lower()) else ", ".join(part for part in (words, caption) if part)


def _texts(rows: list[dict[str, Any]], report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(file name, content) of everything in the folder that is not a picture."""
    rows = sorted(rows, key=lambda row: row["file_name"])
    for split in SPLITS:
        lines = [{"file_name": Path(row["file_name"]).name, "text": row["text"]} for row in rows if row["split"] == split]
        if lines:
            yield f"{split}/metadata.jsonl", "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    table = io.StringIO()
    writer = csv.DictWriter(table, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    yield "manifest.csv", table.getvalue()
    yield "report.json", json.dumps(report, indent=1, ensure_ascii=False) + "\n"


def _report(settings: Preparation, folders: list[dict[str, Any]], found: int, choice: Choice, rows: list[dict[str, Any]]) -> dict[str, Any]:
    small = [row for row in rows if min(row["width"], row["height"]) < settings.size]
    return {
        **{name: getattr(settings, name) for name in config.identity(settings)},
        "trigger": settings.words,
        "sources": folders,
        "found": found,
        "kept": len(rows),
        **{split: sum(row["split"] == split for row in rows) for split in SPLITS},
        "licenses": dict(sorted(Counter(row["license"] for row in rows).items())),
        "captioned": sum(bool(source.caption) for source, _ in choice.kept),
        "unusable": choice.unusable,
        "duplicates": choice.duplicates,
        "near_duplicates": choice.near_duplicates,
        "small": [{"source": row["source"], "width": row["width"], "height": row["height"]} for row in small],
    }


def summary(report: dict[str, Any]) -> str:
    """The report for people, a few lines."""
    lines = [
        f"{report['style']}: {report['found']} pictures found, {report['kept']} kept: {report['train']} to train, "
        f"{report['held_out']} held out",
        "from " + ", ".join(f"{entry['name']} ({entry['shape']}, {entry['pictures']})" for entry in report["sources"]),
        f"captions begin {report['trigger']!r}; {report['captioned']} go on with a caption of their own",
        "licences: " + ", ".join(f"{name} {count}" for name, count in report["licenses"].items()),
    ]
    if others := [name for entry in report["sources"] for name in entry["no_pictures"]]:
        lines.append(f"left out, no pictures: {count_and_name(others)}")
    for key, title in (("unusable", "cannot be used"), ("duplicates", "exact duplicates"), ("near_duplicates", "near duplicates")):
        if entries := report[key]:
            lines.append(f"left out, {title}: {len(entries)}")
            lines += [f"  {entry['source']}: {entry.get('error') or 'like ' + entry['of']}" for entry in entries[:5]]
            lines += [f"  and {len(entries) - 5} more in report.json"] if len(entries) > 5 else []
    if small := report["small"]:
        lines.append(
            f"small: {len(small)} of {report['kept']} stay under {report['size']} pixels (smallest short side "
            f"{min(min(entry['width'], entry['height']) for entry in small)}): train at a --resolution that they reach, on the pocket base "
            "256 as it is, or give --enlarge"
        )
    if "unknown" in report["licenses"]:
        lines.append("note: pictures without a known licence: give --license, or a table with a license column")
    if report["held_out"] == 0 and report["split"] < 1:
        lines.append("note: nothing is held out: add pictures, or give a smaller --split or another --seed")
    return "\n".join(lines)


def _stale(out: Path, rows: list[dict[str, Any]], hashes: set[str]) -> list[Path]:
    """Files of ours that no source stands for any more, or that a killed run left; refuses a folder with files that are not ours."""
    wanted = {row["file_name"] for row in rows} | {f"{row['split']}/metadata.jsonl" for row in rows}
    stale = []
    for path in (p for split in SPLITS if (out / split).is_dir() for p in sorted((out / split).iterdir())):
        made = re.fullmatch(r".+-([0-9a-f]{10})\.png", path.name)
        if not (made and made[1] in hashes) and path.name != "metadata.jsonl" and path.suffix != ".part":
            raise StyleError(f"{path} was not put there by prepare: move it out of {out}.")
        if path.relative_to(out).as_posix() not in wanted:
            stale.append(path)
    return stale


def _earlier(out: Path) -> frozenset[str]:
    """SHA-256 of the source files that the folder was made from the last time."""
    path = out / "manifest.csv"
    if not path.is_file():
        return frozenset()
    with path.open(newline="", encoding="utf-8") as rows:
        return frozenset(row.get("source_sha256") or "" for row in csv.DictReader(rows))


def _write_whole(path: Path, text: str) -> bool:
    """Write `text` aside, then rename; whether the file had another content before."""
    content = text.encode()
    try:
        if path.is_file() and path.read_bytes() == content:
            return False
        with aside(path) as part:
            part.write_bytes(content)
    except OSError as error:
        raise StyleError(f"{path} cannot be written ({first_line(error)}): choose another place.") from None
    return True
