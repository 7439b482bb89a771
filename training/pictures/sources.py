"""Where the pictures of a training set come from: folders as they are, of COCO, of WikiArt, with what their names and annotations say."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from stylekit.errors import EMPTY, StyleError
from stylekit.formats import SUFFIXES, survey
from stylekit.storage import digests
from training.pictures.captions import one_line, read_facts
from training.pictures.preparation import Preparation

logger = logging.getLogger(__name__)
PARTICLES = frozenset(
    ("da", "de", "del", "della", "den", "der", "di", "du", "la", "le", "van", "von")
)  # lower case inside an artist's name
WIKIART_NAME = re.compile(
    r"(?P<artist>[^\W\d_][^_]*)_(?=[^_])(?P<title>.*?[^\W\d_].*?)(?:-(?P<year>1\d{3}|20\d\d)(?:-\d{1,2})?(?:\(\d+\))?)?"
)


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
        paths, others = survey(folder)
        if not paths:
            raise StyleError(f"{folder} holds no picture: put files ending in {', '.join(SUFFIXES)} there.")
        shape = guess_shape(folder, paths) if settings.shape == "auto" else settings.shape
        label = _label(inside.name or "root", [entry["name"] for entry in folders])
        about, missing = read_coco(folder, paths) if shape == "coco" else ({}, 0)
        told = read_facts(folder, paths, logger.warning)
        other = [f"{label}/{name}" for name in others]
        folders.append({"name": label, "shape": shape, "pictures": len(paths), "in_annotations_only": missing, "no_pictures": other})
        for path in paths:
            relative = path.relative_to(folder).as_posix()
            facts = parse_wikiart_name(path.stem) if shape == "wikiart" else about.get(path.name, {})
            sources.setdefault(path.resolve(), Source(path=path, name=f"{label}/{relative}", **(facts | told[path])))
    chosen = sorted(sources.values(), key=lambda source: source.name)
    if settings.limit:
        chosen = sorted(chosen, key=lambda source: draw_of(settings.seed, source.name))[: settings.limit]
    return sorted(chosen, key=lambda source: source.name), folders


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
    title = one_line(match["title"].replace("-", " "))
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
                if not path.stat().st_size:
                    raise StyleError(EMPTY.format(name=path))
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
            by_id[entry["image_id"]].setdefault("caption", one_line(entry["caption"]))


def _license(entry: dict[str, Any]) -> str:
    name, url = (one_line(str(entry.get(key) or "")) for key in ("name", "url"))
    return f"{name} ({url})" if name and url else name or url


def _label(name: str, taken: Sequence[str]) -> str:
    return next(label for label in (name, *(f"{name}-{i}" for i in range(2, len(taken) + 3))) if label not in taken)


def draw_of(seed: int, text: str) -> float:
    """A number in [0, 1) that depends on the seed and the text alone."""
    return int(digests.of_bytes(f"{seed}:{text}".encode(), 16), 16) / 16**16
