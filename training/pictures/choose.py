"""Which pictures of a training set are kept: readable, large enough, neither twice nor nearly twice, and in which split."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image

from stylekit.errors import StyleError, first_line
from stylekit.images import open_picture
from stylekit.storage import digests
from training.pictures.sources import Source, draw_of

FLAT = 2.0  # grey levels of 255; a picture that varies less has no perceptual hash


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


def scan_file(path: Path, known: dict[str, Scan]) -> Scan:
    """Checksum, size as shown (upright) and perceptual hash of a file; what is `known` by its checksum is not decoded again."""
    try:
        content = path.read_bytes()
    except OSError as error:
        return Scan(sha256="", error=f"it cannot be read ({first_line(error)})")
    sha256 = digests.of_bytes(content, digests.WHOLE)
    if sha256 in known:
        return known[sha256]
    try:
        picture = open_picture(content, name=path.name)
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
    return "train" if draw_of(seed, sha256) < split else "held_out"
