r"""Prepare pictures for training: resize, crop, caption, split, and say where each came from.

    python -m training.prepare SOURCE... --out DIR --style monet --trigger "monet style painting"

A SOURCE is a folder of pictures in one of three shapes, told apart by what lies in it:

coco     ``annotations/captions_*.json`` give the captions, their tables (or those of ``instances_*.json``) each picture's licence
wikiart  files named ``artist-name_title-of-the-work-1890.jpg``, mostly in folders by style
plain    anything else

In every shape a table with a header in the folder (``*.csv`` or ``metadata.jsonl``, with a file name column) and ``picture.txt`` beside
``picture.jpg`` (a caption) are read too. DIR then holds, in the layout of the `datasets` library's image folders::

    train/*.png  train/metadata.jsonl  held_out/*.png  held_out/metadata.jsonl  manifest.csv  report.json

Pictures are saved as PNG whatever they were. The grid of a second JPEG compression is 8 x 8 pixels, that of a Stable Diffusion latent too,
so its blocks would be learned as if they were brushwork; the price is about 0.4 MB a picture at 512 pixels.

The sources are only read. A run is resumed by the same command, and an up-to-date DIR is left as it is.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import hashlib
import io
import json
import os
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import imagehash
import numpy as np
from PIL import Image
from tqdm import tqdm

from stylekit.errors import SettingError, StyleError
from stylekit.images import SUFFIXES, open_picture, save_png
from stylekit.styles import NAME
from training import config
from training.config import setting

CROPS = ("none", "center", "smart")
SHAPES = ("auto", "coco", "wikiart", "plain")
SPLITS = ("train", "held_out")
FLAT = 2.0  # grey levels of 255; a picture that varies less has no perceptual hash
BATCH = 64  # pictures between two looks at Ctrl-C
PARTICLES = frozenset(
    ("da", "de", "del", "della", "den", "der", "di", "du", "la", "le", "van", "von")
)  # lower case inside an artist's name
WIKIART_NAME = re.compile(
    r"(?P<artist>[^\W\d_][^_]*)_(?=[^_])(?P<title>.*?[^\W\d_].*?)(?:-(?P<year>1\d{3}|20\d\d)(?:-\d{1,2})?(?:\(\d+\))?)?"
)
FILE_COLUMNS = ("file_name", "filename", "file", "path", "image")
COLUMNS = {  # what we call it: what tables call it
    "caption": ("text", "caption"),
    "artist": ("artist",),
    "title": ("title", "description"),
    "year": ("year", "date"),
    "license": ("license", "licence"),
    "url": ("url", "source_url"),
}
T = TypeVar("T")
R = TypeVar("R")
Log = Callable[[dict[str, Any]], None]  # appends to the journal


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """Settings of one data set; every field but `sources` is a flag. What is not free may not change while pictures are added."""

    sources: tuple[Path, ...] = field(metadata={"free": True})
    out: Path = field(metadata={"help": "folder to make", "free": True})
    style: str = field(metadata={"help": "name of the style: lower-case letters, digits, - and _"})
    trigger: str | None = setting(None, 'words that every caption begins with (default: "NAME style")', free=True)
    size: int = setting(512, "short side of the prepared pictures in pixels")
    trim: tuple[float, ...] = setting((0.0,), "percent to cut off first, as scans need: every side, or top,right,bottom,left")
    crop: str = setting("none", "none (keep the aspect), center, or smart: the square with most edges")
    enlarge: float = setting(1.0, "largest factor by which a small picture may be enlarged")
    split: float = setting(0.9, "expected share of training pictures; the others are held out")
    seed: int = setting(0, "seed of the split and of --limit")
    near: int = setting(6, "bits of 64 in which the perceptual hashes of near duplicates may differ; -1 keeps near duplicates")
    license: str = setting("unknown", "licence of pictures whose folder does not tell", free=True)
    artist: str = setting("", "artist of pictures whose folder does not tell", free=True)
    shape: str = setting("auto", "auto, coco, wikiart or plain", free=True)
    limit: int | None = setting(None, "take only so many pictures, chosen by the seed", free=True)
    workers: int = setting(min(8, os.cpu_count() or 1), "threads", free=True)

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.style):
            raise SettingError(f"style is {self.style!r}: use lower-case letters, digits, - and _.")
        for name, low in (("size", 16), ("workers", 1), ("limit", 1), ("near", -1)):
            value = getattr(self, name)
            if value is not None and value < low:
                raise SettingError(f"{name} is {value}: it must be at least {low}.")
        if self.near > 32:
            raise SettingError(f"near is {self.near}: beyond 32 bits unrelated pictures look alike.")
        if len(self.trim) not in (1, 4) or not all(0 <= part <= 40 for part in self.trim):
            raise SettingError(f"trim is {','.join(map(str, self.trim))}: give one number or four, from 0 to 40 percent.")
        if not 1 <= self.enlarge <= 8:
            raise SettingError(f"enlarge is {self.enlarge}: it must lie between 1 and 8.")
        if not 0 < self.split <= 1:
            raise SettingError(f"split is {self.split}: it must be over 0 and at most 1.")
        for name, allowed in (("crop", CROPS), ("shape", SHAPES)):
            if getattr(self, name) not in allowed:
                raise SettingError(f"{name} is {getattr(self, name)!r}: choose from {', '.join(allowed)}.")

    @property
    def words(self) -> str:
        return f"{self.style} style" if self.trigger is None else _one_line(self.trigger)

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) of what is left after trimming."""
        top, right, bottom, left = (part / 100 for part in (self.trim * 4)[:4])
        return round(width * left), round(height * top), round(width * (1 - right)), round(height * (1 - bottom))

    def scaled(self, width: int, height: int) -> tuple[int, int]:
        """Width and height with the short side at `size`, or less where that would enlarge more than `enlarge` times."""
        factor = min(self.size / min(width, height), self.enlarge)
        return max(1, round(width * factor)), max(1, round(height * factor))


@dataclass(frozen=True, kw_only=True)
class Source:
    """A picture file and what its folder says about it. name: path that begins with the source folder's name."""

    path: Path
    name: str
    caption: str = ""
    artist: str = ""
    title: str = ""
    year: str = ""
    license: str = ""
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What was found in a file. phash: 64 bits as hexadecimal, "" for a flat picture; error: why it cannot be used."""

    sha256: str
    width: int = 0
    height: int = 0
    phash: str = ""
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The pictures to keep, and those left out, each with its reason."""

    kept: list[tuple[Source, Scan]]
    unusable: list[dict[str, str]]
    duplicates: list[dict[str, str]]
    near_duplicates: list[dict[str, str | int]]


def prepare(settings: Preparation) -> tuple[dict[str, Any], bool]:
    """Make or bring up to date the folder `settings.out`: (the report, whether anything had to be written)."""
    sources, folders = gather(settings)
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


def gather(settings: Preparation) -> tuple[list[Source], list[dict[str, Any]]]:
    """Every picture of the sources, by name, and a summary of each source folder."""
    sources: dict[Path, Source] = {}
    folders: list[dict[str, Any]] = []
    for folder in settings.sources:
        if not folder.is_dir():
            raise StyleError(f"{folder} is not a folder: name a folder of pictures.")
        inside, out = folder.resolve(), settings.out.resolve()
        if inside == out or inside in out.parents or out in inside.parents:
            raise StyleError(f"{settings.out} and the source {folder} lie one in the other: choose an --out outside the sources.")
        paths = list_pictures(folder)
        if not paths:
            raise StyleError(f"{folder} holds no picture: put files ending in {', '.join(SUFFIXES)} there.")
        shape = guess_shape(folder, paths) if settings.shape == "auto" else settings.shape
        label = _label(inside.name or "root", [entry["name"] for entry in folders])
        about, missing = read_coco(folder, paths) if shape == "coco" else ({}, 0)
        table = read_tables(folder)
        folders.append({"name": label, "shape": shape, "pictures": len(paths), "in_annotations_only": missing})
        for path in paths:
            relative = path.relative_to(folder).as_posix()
            facts = parse_wikiart_name(path.stem) if shape == "wikiart" else about.get(path.name, {})
            facts = facts | _sidecar(path) | (table.get(relative) or table.get(path.name) or {})
            sources.setdefault(path.resolve(), Source(path=path, name=f"{label}/{relative}", **facts))
    chosen = sorted(sources.values(), key=lambda source: source.name)
    if settings.limit:
        chosen = sorted(chosen, key=lambda source: _draw(settings.seed, source.name))[: settings.limit]
    return sorted(chosen, key=lambda source: source.name), folders


def list_pictures(folder: Path) -> list[Path]:
    """Picture files below `folder`, sorted; hidden files and folders are left alone."""
    files = (p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    return sorted(p for p in files if not any(part.startswith(".") for part in p.relative_to(folder).parts))


def guess_shape(folder: Path, paths: Sequence[Path]) -> str:
    """coco, wikiart (most names hold an artist of several words, or a year) or plain."""
    if any(folder.glob("annotations/captions_*.json")) or any(folder.glob("annotations/instances_*.json")):
        return "coco"
    names = [parse_wikiart_name(path.stem) for path in paths]
    return "wikiart" if 2 * sum(bool(" " in name.get("artist", "") or name.get("year")) for name in names) > len(paths) else "plain"


def parse_wikiart_name(stem: str) -> dict[str, str]:
    """``vincent-van-gogh_wheat-field-1889`` -> artist Vincent van Gogh, title Wheat field, year 1889; {} for any other name."""
    match = WIKIART_NAME.fullmatch(stem)
    if not match:
        return {}
    words = match["artist"].split("-")
    artist = " ".join(word if word in PARTICLES and i else word[:1].upper() + word[1:] for i, word in enumerate(words))
    title = _one_line(match["title"].replace("-", " "))
    return {"artist": artist, "title": title[:1].upper() + title[1:], "year": match["year"] or ""}


def read_coco(folder: Path, paths: Sequence[Path]) -> tuple[dict[str, dict[str, str]], int]:
    """File name -> first caption, licence and web address, from a COCO folder's annotations; and how many pictures are only in those.

    The instances' files, which are large, are read only if a picture has no licence yet.
    """
    about: dict[str, dict[str, str]] = {}
    names = {path.name for path in paths}
    for pattern in ("captions_*.json", "instances_*.json"):
        if pattern.startswith("instances") and all(about.get(name, {}).get("license") for name in names):
            continue
        for path in sorted(folder.glob(f"annotations/{pattern}")):
            try:
                _add_annotations(about, json.loads(path.read_bytes()))
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise StyleError(f"{path} is not a COCO annotation file ({type(error).__name__}: {error}): mend or remove it.") from None
    return {name: facts for name, facts in about.items() if name in names}, len(about.keys() - names)


def _add_annotations(about: dict[str, dict[str, str]], content: dict[str, Any]) -> None:
    """Add to `about` what one annotation file says; KeyError and the like if it is not in COCO's format."""
    licenses = {entry["id"]: _license(entry) for entry in content.get("licenses", [])}
    by_id: dict[Any, dict[str, str]] = {}
    for entry in content["images"]:
        facts = by_id[entry["id"]] = about.setdefault(PurePosixPath(entry["file_name"]).name, {})
        if license := licenses.get(entry.get("license")):
            facts["license"] = license
        if url := entry.get("flickr_url") or entry.get("coco_url"):
            facts["url"] = url
    for entry in sorted((e for e in content.get("annotations", []) if "caption" in e), key=lambda e: e.get("id", 0)):
        if entry["image_id"] in by_id:
            by_id[entry["image_id"]].setdefault("caption", _one_line(entry["caption"]))


def read_tables(folder: Path) -> dict[str, dict[str, str]]:
    """File path or name -> facts, from the ``*.csv`` and ``metadata.jsonl`` in `folder` that have a column of file names."""
    table: dict[str, dict[str, str]] = {}
    for path in [*sorted(folder.glob("*.csv")), *folder.glob("metadata.jsonl")]:
        try:
            text = path.read_text(encoding="utf-8-sig")
            rows: Iterable[dict[str, Any]] = (
                (json.loads(line) for line in text.splitlines() if line.strip())
                if path.suffix == ".jsonl"
                else csv.DictReader(io.StringIO(text))
            )
            for row in rows:
                cells = {str(key).strip().lower(): _one_line(str(value)) for key, value in row.items() if value not in (None, "")}
                file = next((cells[name] for name in FILE_COLUMNS if name in cells), None)
                if file is None:
                    continue
                found = {ours: next((cells[name] for name in names if name in cells), "") for ours, names in COLUMNS.items()}
                table[PurePosixPath(file.replace("\\", "/")).as_posix()] = {key: value for key, value in found.items() if value}
        except (OSError, ValueError, AttributeError, csv.Error) as error:
            raise StyleError(f"{path} cannot be read as a table ({error}): mend or remove it.") from None
    return table


def scan_file(path: Path, known: dict[str, Scan]) -> Scan:
    """Checksum, size as shown (upright) and perceptual hash of a file; what is `known` by its checksum is not decoded again."""
    try:
        content = path.read_bytes()
    except OSError as error:
        return Scan(sha256="", error=f"it cannot be read ({error.strerror or error})")
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 in known:
        return known[sha256]
    try:
        picture = open_picture(content)
    except StyleError as error:
        return Scan(sha256=sha256, error=str(error))
    grey = np.asarray(picture.convert("L").resize((32, 32), Image.Resampling.BOX), dtype=np.float32)
    phash = str(imagehash.phash(picture)) if grey.std() >= FLAT else ""
    return Scan(sha256=sha256, width=picture.width, height=picture.height, phash=phash)


def choose(scanned: Iterable[tuple[Source, Scan]], near: int, earlier: frozenset[str] = frozenset()) -> Choice:
    """Leave out what cannot be used, exact duplicates, and near duplicates (perceptual hashes at most `near` of 64 bits apart).

    Of exact duplicates the first by name stays. Of near duplicates the one that was kept `earlier` (SHA-256) stays, so that adding pictures
    replaces none; else the largest. Flat pictures have no perceptual hash and are never near duplicates.
    """
    unusable: list[dict[str, str]] = []
    duplicates: list[dict[str, str]] = []
    close: list[dict[str, str | int]] = []
    first: dict[str, tuple[Source, Scan]] = {}
    for source, scan in sorted(scanned, key=lambda pair: pair[0].name):
        if scan.error:
            unusable.append({"source": source.name, "error": scan.error})
        elif scan.sha256 in first:
            duplicates.append({"source": source.name, "of": first[scan.sha256][0].name})
        else:
            first[scan.sha256] = (source, scan)
    kept: list[tuple[Source, Scan]] = []
    hashed: list[str] = []  # names of the kept pictures with a hash, by row of `bits`
    bits = np.empty((len(first), 64), dtype=np.float32)  # -1 and 1: the number of differing bits is (64 - product) / 2
    for source, scan in sorted(first.values(), key=lambda p: (p[1].sha256 not in earlier, -p[1].width * p[1].height, p[1].sha256)):
        if scan.phash and near >= 0:
            row = imagehash.hex_to_hash(scan.phash).hash.ravel() * np.float32(2) - 1
            if hashed:
                distances = (64 - bits[: len(hashed)] @ row) / 2
                nearest = int(distances.argmin())
                if distances[nearest] <= near:
                    close.append({"source": source.name, "of": hashed[nearest], "distance": int(distances[nearest])})
                    continue
            bits[len(hashed)] = row
            hashed.append(source.name)
        kept.append((source, scan))
    kept.sort(key=lambda pair: pair[0].name)
    close.sort(key=lambda entry: str(entry["source"]))
    return Choice(kept=kept, unusable=unusable, duplicates=duplicates, near_duplicates=close)


def split_of(sha256: str, split: float, seed: int) -> str:
    """train or held_out, by the content alone: other pictures do not matter."""
    return "train" if _draw(seed, sha256) < split else "held_out"


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
        if row["file_name"] in written and path.is_file() and _sha256(path) == written[row["file_name"]]:
            return written[row["file_name"]], False
        save_png(fit(open_picture(source.path), settings), path)
        return _sha256(path), True

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


def _row(source: Source, scan: Scan, settings: Preparation) -> dict[str, Any]:
    """A picture's line of the manifest; the output's checksum is filled in when it is written."""
    left, top, right, bottom = settings.box(scan.width, scan.height)
    width, height = settings.scaled(right - left, bottom - top)
    if settings.crop != "none":
        width = height = min(width, height)
    split = split_of(scan.sha256, settings.split, settings.seed)
    return {
        "file_name": f"{split}/{_slug(source.path.stem)}-{scan.sha256[:10]}.png",
        "split": split,
        "text": ", ".join(part for part in (settings.words, source.caption) if part),
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
    for key, title in (("unusable", "cannot be used"), ("duplicates", "exact duplicates"), ("near_duplicates", "near duplicates")):
        if entries := report[key]:
            lines.append(f"left out, {title}: {len(entries)}")
            lines += [f"  {entry['source']}: {entry.get('error') or 'like ' + entry['of']}" for entry in entries[:5]]
            lines += [f"  and {len(entries) - 5} more in report.json"] if len(entries) > 5 else []
    if small := report["small"]:
        lines.append(
            f"small: {len(small)} of {report['kept']} stay under {report['size']} pixels (smallest short side "
            f"{min(min(entry['width'], entry['height']) for entry in small)}): train at a smaller --size, or give --enlarge"
        )
    if "unknown" in report["licenses"]:
        lines.append("note: pictures without a known licence: give --license, or a table with a license column")
    if report["held_out"] == 0 and report["split"] < 1:
        lines.append("note: nothing is held out: add pictures, or give a smaller --split or another --seed")
    return "\n".join(lines)


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
        return frozenset(row["source_sha256"] for row in csv.DictReader(rows))


def _read_journal(path: Path) -> tuple[dict[str, Scan], dict[str, str]]:
    """(scans by SHA-256, checksums by output file) of earlier runs; a line cut off by a crash is skipped."""
    scans: dict[str, Scan] = {}
    written: dict[str, str] = {}
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            entry = json.loads(line)
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
            file.write(json.dumps(entry) + "\n")
            file.flush()
        except OSError as error:
            raise StyleError(f"{path} cannot be written ({error.strerror or error}): make room, then give the same command.") from None

    torn = path.is_file() and not path.read_bytes().endswith(b"\n")
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" if torn else "")
        yield append


def _in_order(work: Callable[[T], R], jobs: Sequence[T], workers: int, title: str) -> Iterator[R]:
    """`work` over `jobs` in threads (Pillow and hashlib let them run at once), results in order, with a progress bar."""
    with ThreadPoolExecutor(workers) as pool, tqdm(total=len(jobs), desc=title, unit="picture", mininterval=0.5) as bar:
        for start in range(0, len(jobs), BATCH):
            for result in pool.map(work, jobs[start : start + BATCH]):
                bar.update()
                yield result


def _write_whole(path: Path, text: str) -> bool:
    """Write `text` aside, then rename; whether the file had another content before."""
    content = text.encode()
    try:
        if path.is_file() and path.read_bytes() == content:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        raise StyleError(f"{path} cannot be written ({error.strerror or error}): choose another place.") from None
    return True


def _sidecar(path: Path) -> dict[str, str]:
    """The caption in the text file beside a picture."""
    text = path.with_suffix(".txt")
    try:
        return {"caption": _one_line(text.read_text(encoding="utf-8-sig"))} if text.is_file() else {}
    except (OSError, UnicodeDecodeError):
        raise StyleError(f"{text} is not UTF-8 text: mend or remove it.") from None


def _license(entry: dict[str, Any]) -> str:
    name, url = (_one_line(str(entry.get(key) or "")) for key in ("name", "url"))
    return f"{name} ({url})" if name and url else name or url


def _label(name: str, taken: Sequence[str]) -> str:
    return next(label for label in (name, *(f"{name}-{i}" for i in range(2, len(taken) + 3))) if label not in taken)


def _draw(seed: int, text: str) -> float:
    """A number in [0, 1) that depends on the seed and the text alone."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{text}".encode()).digest()[:8], "big") / 2**64


def _slug(stem: str) -> str:
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60] or "picture"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


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
