"""Where pictures come from and under which licences, for a style's card: by the manifest of `training.prepare`, or a table in a README."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

MOST = 8  # artists and licences that are named
NAMED = "by"  # how a licence begins, after "cc", that wants its source named


def sources(folder: Path, paths: Sequence[Path]) -> str:
    """A sentence about the artists and licences of `paths`, pictures of `folder`; those that must be named are."""
    names = {path.name for path in paths}
    known = [row for row in (*_manifest(folder / "manifest.csv"), *_table(folder / "README.md")) if row["file"] in names]
    if not known:
        return f"{len(paths)} pictures of {folder.name!r}; sources and licences not stated."
    licences = Counter(row["licence"] for row in known)
    artists = Counter(row["artist"] for row in known if row["artist"])
    by = f"by {_counted(artists)}; " if artists else ""
    named = [f"{row['file']} is by {row['source']}" for row in known if row["source"] and _is_by(row["licence"])]
    return f"{len(paths)} pictures of {folder.name!r}: {by}licences: {_counted(licences)}{''.join(f'; {one}' for one in named)}."


def _manifest(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as rows:
        return [
            {
                "file": Path(row.get("file_name") or "").name,
                "artist": row.get("artist") or "unknown artist",
                "licence": row.get("license") or "unknown",
                "source": "",
            }
            for row in csv.DictReader(rows)
        ]


def _table(path: Path) -> list[dict[str, str]]:
    """The rows of the first Markdown table with the columns file and licence (or license)."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError):
        return []
    head: list[str] = []
    rows = []
    for line in lines:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            if head:
                break
        elif not head:
            names = [cell.lower().replace("license", "licence") for cell in cells]
            head = names if {"file", "licence"} <= set(names) else []
        elif len(cells) == len(head) and not set(cells[0]) <= set(":- "):
            rows.append(_row(dict(zip(head, cells, strict=True))))
    return rows


def _row(cells: Mapping[str, str]) -> dict[str, str]:
    return {"file": cells["file"], "licence": cells["licence"], "artist": cells.get("artist", ""), "source": cells.get("source", "")}


def _is_by(licence: str) -> bool:
    return licence.lower().replace("-", " ").removeprefix("cc ").startswith(NAMED)


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counter.most_common(MOST))
