"""Names of files: readable ones from any text, and such for results that nothing is lost to."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path

MOST_BYTES = 150  # of a name in UTF-8; systems allow 255 with whatever is added to it
VARIATIONS = re.compile("[\ufe00-\ufe0f]")  # marks that say how the sign before is drawn, left over where that is no letter
KEPT_CATEGORIES = ("L", "M", "N")  # Unicode's categories of what stays: letters and their marks, and digits, of all scripts


def safe_name(text: str, fallback: str, most: int = 60) -> str:
    """`text` as a part of a file's name: at most `most` characters, and a dash for what is neither letter nor digit, - nor _."""
    plain = VARIATIONS.sub("", unicodedata.normalize("NFC", text))
    kept = "".join(c if c in "-_" or unicodedata.category(c)[0] in KEPT_CATEGORIES else " " for c in plain)
    name = re.sub(r"[ -]*[ ][ -]*", "-", kept).strip("-")[:most]
    while len(name.encode()) > MOST_BYTES:
        name = name[:-1]
    return name.rstrip("-") or fallback


def name_results(photos: Sequence[Path], folder: Path, inputs: Iterable[Path], ending: str = ".png") -> list[Path]:
    """A file in `folder` for each of `photos`, called after it, none of them one of `inputs` or another one's.

    ``cat.png`` for ``cat.jpg``, or if that is taken ``cat.jpg.png``, ``cat.jpg-2.png`` and so on. Names count as equal where any file
    system takes them for the same.
    """
    taken = {_key(path) for path in (*photos, *inputs)}
    results = []
    for photo in photos:
        result = next(path for name in _candidates(photo) if _key(path := folder / f"{name}{ending}") not in taken)
        taken.add(_key(result))
        results.append(result)
    return results


def is_one_of(path: Path, others: Iterable[Path]) -> bool:
    """Whether `path` is one of `others`, by whatever name."""
    return _key(path) in {_key(other) for other in others}


def _candidates(photo: Path) -> Iterator[str]:
    yield photo.stem
    yield photo.name
    yield from (f"{photo.name}-{number}" for number in count(2))


def _key(path: Path) -> str:
    return unicodedata.normalize("NFC", str(path.resolve())).casefold()
