"""Prepare pictures for training: resize, crop, caption, split, and say where each came from.

    python -m training.prepare SOURCE... --out DIR --style monet --trigger "monet style painting"

A SOURCE is a folder of pictures in one of three shapes, told apart by what lies in it:

coco     ``annotations/captions_*.json`` give the captions, their tables (or those of ``instances_*.json``) each picture's licence
wikiart  files named ``artist-name_title-of-the-work-1890.jpg``, mostly in folders by style
plain    anything else

In every shape tables and texts beside the pictures are read too (`training.pictures.captions`). DIR then holds, in the layout of the
`datasets` library's image folders::

    train/*.png  train/metadata.jsonl  held_out/*.png  held_out/metadata.jsonl  manifest.csv  report.json

Pictures are saved as PNG whatever they were. The grid of a second JPEG compression is 8 x 8 pixels, that of a Stable Diffusion latent too,
so its blocks would be learned as if they were brushwork; the price is about 0.4 MB a picture at 512 pixels.

The sources are only read. A run is resumed by the same command, and an up-to-date DIR is left as it is.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from stylekit import images
from stylekit.errors import StyleError, first_line
from stylekit.images import open_picture, save_png
from stylekit.pixels import srgb
from stylekit.storage import digests
from training.loop import claims, config
from training.pictures.choose import Scan, choose, scan_file
from training.pictures.preparation import SPLITS, Preparation
from training.pictures.sources import Source, gather
from training.pictures.write import _busiest, _earlier, _report, _row, _stale, _texts, _write_whole, fit, summary

BATCH = 64  # pictures between two looks at Ctrl-C
T = TypeVar("T")
R = TypeVar("R")
Log = Callable[[dict[str, Any]], None]  # appends to the journal
logger = logging.getLogger(__name__)


def prepare(settings: Preparation) -> tuple[dict[str, Any], bool]:
    """Make or bring up to date the folder `settings.out`: (the report, whether anything had to be written)."""
    sources, folders = gather(settings)
    with claims.claimed({}, {"out": settings.out}):
        return _prepare(settings, sources, folders)


def _prepare(settings: Preparation, sources: list[Source], folders: list[dict[str, Any]]) -> tuple[dict[str, Any], bool]:
    _claim(settings)
    journal = settings.out / ".prepare" / "journal.jsonl"
    scans, written = _read_journal(journal)
    with _appending(journal) as log:
        found = _scan_all(sources, scans, log, settings.workers)
        choice = choose(zip(sources, found, strict=True), settings.near, earlier=_earlier(settings.out))
        rows = [_row(source, scan, settings) for source, scan in choice.kept]
        if not rows:
            first = choice.unusable[0]
            raise StyleError(f"None of {len(sources)} pictures can be used; the first is {first['source']}: {first['error']}")
        if not any(row["split"] == "train" for row in rows):
            raise StyleError(f"All {len(rows)} usable pictures fall into held_out: add pictures, or give --split 1 or another --seed.")
        stale = _stale(settings.out, rows, {scan.sha256[:10] for scan in scans.values()})
        made = _write_pictures(choice.kept, rows, written, log, settings)
    report = _report(settings, folders, len(sources), choice, rows)
    changed = [_write_whole(settings.out / name, text) for name, text in _texts(rows, report)]
    for path in stale:
        path.unlink()
    return report, bool(made or stale or any(changed))


def _write_pictures(
    kept: Sequence[tuple[Source, Scan]],
    rows: list[dict[str, Any]],
    written: dict[str, str],
    log: Log,
    settings: Preparation,
) -> int:
    """Write the pictures that are not there yet, fill in their rows' checksums; how many were written.

    A picture is there if its checksum is the one the journal says it was written with.
    """

    def write(job: tuple[Source, dict[str, Any]]) -> tuple[str, bool]:
        source, row = job
        path = settings.out / row["file_name"]
        if row["file_name"] in written and path.is_file() and digests.of_file(path, digests.WHOLE) == written[row["file_name"]]:
            return written[row["file_name"]], False
        save_png(fit(open_picture(source.path), settings), path)
        return digests.of_file(path, digests.WHOLE), True

    made = 0
    jobs = [(source, row) for (source, _), row in zip(kept, rows, strict=True)]
    for (_, row), (sha256, new) in zip(jobs, _in_order(write, jobs, settings.workers, "writing"), strict=True):
        row["sha256"] = sha256
        if new:
            log({"written": row["file_name"], "sha256": sha256})
            made += 1
    return made


def _scan_all(sources: Sequence[Source], scans: dict[str, Scan], log: Log, workers: int) -> list[Scan]:
    """One scan per source, in order; new ones are added to `scans` and to the journal."""
    found = []
    for scan in _in_order(lambda source: scan_file(source.path, scans), sources, workers, "reading"):
        found.append(scan)
        if not scan.error and scan.sha256 not in scans:
            scans[scan.sha256] = scan
            log({"scan": dataclasses.asdict(scan)})
    return found


def _claim(settings: Preparation) -> None:
    """Make the folder ours, or see that it is ours and was made with the same settings."""
    marker = settings.out / ".prepare" / "settings.json"
    if marker.is_file() and any((settings.out / split).exists() for split in SPLITS):
        try:
            earlier = json.loads(marker.read_text())
        except (OSError, ValueError):
            raise StyleError(f"{marker} cannot be read: remove {settings.out}, or choose another --out.") from None
        for name, value in config.identity(settings).items():
            if earlier.get(name) != value:
                raise StyleError(f"{settings.out} was prepared with {name} {earlier.get(name)}, not {value}: choose another --out.")
    elif settings.out.exists() and not settings.out.is_dir():
        raise StyleError(f"{settings.out} is a file: choose a folder for --out.")
    elif settings.out.is_dir() and not marker.is_file() and any(settings.out.iterdir()):
        raise StyleError(f"{settings.out} holds something else: choose an empty or a new folder for --out.")
    else:
        _write_whole(marker, json.dumps(config.identity(settings)) + "\n")


def _read_journal(path: Path) -> tuple[dict[str, Scan], dict[str, str]]:
    """(scans by SHA-256, checksums by output file) of earlier runs of this very procedure; a line cut off by a crash is skipped."""
    scans: dict[str, Scan] = {}
    written: dict[str, str] = {}
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            entry = json.loads(line)
            if entry["code"] != _code():
                continue  # an older procedure's, which may have seen or made something else
            if "scan" in entry:
                scans[entry["scan"]["sha256"]] = Scan(**entry["scan"])
            else:
                written[entry["written"]] = entry["sha256"]
        except (ValueError, KeyError, TypeError):
            continue
    return scans, written


@contextmanager
def _appending(path: Path) -> Iterator[Log]:
    """A function that appends a line of JSON to a file; the first goes on a new line, whatever a crash left behind."""

    def append(entry: dict[str, Any]) -> None:
        try:
            file.write(json.dumps({**entry, "code": _code()}) + "\n")
            file.flush()
        except OSError as error:
            raise StyleError(f"{path} cannot be written ({first_line(error)}): make room, then give the same command.") from None

    try:
        torn = path.is_file() and not path.read_bytes().endswith(b"\n")
        file = path.open("a", encoding="utf-8")
    except OSError as error:
        raise StyleError(f"{path} cannot be written ({first_line(error)}): make it writable, or choose another --out.") from None
    with file:
        file.write("\n" if torn else "")
        yield append


@cache
def _code() -> str:
    """Of what looks at pictures and makes them: another one may see or make something else."""
    return digests.of_code(images, srgb, scan_file, fit, _busiest, Preparation.box, Preparation.scaled)


def _in_order(work: Callable[[T], R], jobs: Sequence[T], workers: int, title: str) -> Iterator[R]:
    """`work` over `jobs` in threads (Pillow and hashlib let them run at once), results in order, with a progress bar."""
    with ThreadPoolExecutor(workers) as pool, tqdm(total=len(jobs), desc=title, unit="picture", mininterval=0.5, disable=None) as bar:
        for start in range(0, len(jobs), BATCH):
            for result in pool.map(work, jobs[start : start + BATCH]):
                bar.update()
                yield result


def _settings(argv: Sequence[str] | None) -> Preparation:
    parser = argparse.ArgumentParser(prog="python -m training.prepare", description="Prepare pictures for training a style.")
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="folder of pictures: plain, WikiArt- or COCO-shaped")
    for item in dataclasses.fields(Preparation)[1:]:
        default = "" if item.default in (dataclasses.MISSING, None, "", (0.0,)) else f" (default: {item.default})"
        parser.add_argument(f"--{item.name}", default=argparse.SUPPRESS, metavar=item.name.upper(), help=item.metadata["help"] + default)
    return config.build(Preparation, vars(parser.parse_args(argv)))


def main(argv: Sequence[str] | None = None) -> int:
    try:
        settings = _settings(argv)
        report, changed = prepare(settings)
    except StyleError as error:
        print(f"prepare: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("prepare: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    print(summary(report))
    print(settings.out if changed else f"nothing to do: {settings.out} is up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
