"""Pictures to train on, from a folder or a data set of the Hub: their captions, augmented views, and cached latents.

A folder is any folder of pictures, or one that `training.prepare` made: then ``train/`` is trained on and ``held_out/`` is held out.
Captions are read by `training.pictures.captions`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageEnhance, ImageOps
from tqdm import tqdm

from stylekit import images
from stylekit.base import Base
from stylekit.errors import BaseError, PictureError, SettingError, StyleError, first_line
from stylekit.formats import SUFFIXES, list_pictures
from stylekit.images import open_picture
from stylekit.pixels import srgb
from stylekit.storage import digests
from stylekit.storage.files import told, whole_folder
from training.loop import caches
from training.pictures import data
from training.pictures.captions import read_facts

MAX_ENLARGEMENT = 2.0  # of a picture smaller than the crop; a smaller one is left out
MAX_ZOOM = 1.25  # enlargement a random crop may ask for on top: brushwork must not blur
FEW_PICTURES = 5  # pictures under which a set is more likely to be copied than learned from

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random views of a picture. zoom: smallest share of the short side that a square crop shows; jitter: largest change of brightness,
    contrast and saturation; mirror: half the views are mirrored."""

    zoom: float
    jitter: float
    mirror: bool


@dataclass(frozen=True, kw_only=True)
class PictureSet:
    """Picture files to train on and to hold out, and captions where there are any."""

    train: tuple[Path, ...]
    held_out: tuple[Path, ...]
    captions: Mapping[Path, str]


def find_pictures(folder: Path, limit: int | None, held_out: int, say: Say, *, aside: bool = True) -> PictureSet:
    """The pictures of `folder`. Where it does not tell what is held out, the last `held_out` are, a quarter at the most.

    aside: False holds out only what the folder itself does.
    """
    if not folder.is_dir():
        raise StyleError(f"{folder} is not a folder: name a folder of pictures.")
    if (folder / "train").is_dir() and (folder / "held_out").is_dir():
        train, kept = list_pictures(folder / "train", say=say)[:limit], list_pictures(folder / "held_out", say=say)
        kept = kept[:held_out]
    else:
        train, kept = set_aside(list_pictures(folder, say=say)[:limit], held_out if aside else 0)
    if not train:
        raise StyleError(f"{folder} holds no pictures: name a folder of pictures.")
    if len(train) < FEW_PICTURES:
        say(f"only {len(train)} picture{'s' * (len(train) > 1)} in {folder}: they will be copied more than learned from; give 20 or more")
    captions = read_captions(folder, [*train, *kept], say)
    if captions and len(captions) < len(train) + len(kept):
        say(f"{len(captions)} of {len(train) + len(kept)} pictures have a caption")
    return PictureSet(train=tuple(train), held_out=tuple(kept), captions=captions)


def set_aside(paths: Sequence[Path], held_out: int) -> tuple[list[Path], list[Path]]:
    """(training, held-out) files: the last `held_out` of `paths`, a quarter at the most."""
    count = min(held_out, len(paths) // 4)
    return list(paths[: len(paths) - count]), list(paths[len(paths) - count :])


def read_captions(folder: Path, paths: Sequence[Path], say: Say) -> dict[Path, str]:
    """Picture file -> caption, of those of `paths` that have one."""
    facts = read_facts(folder, paths, say, captioned=True)
    return {path: told["caption"] for path, told in facts.items() if told.get("caption")}


def prompts(paths: Sequence[Path], captions: Mapping[Path, str], trigger: str | None) -> list[str | None]:
    """The prompt of each picture: its caption, with the trigger words in it, or the trigger words alone, or None."""
    found = []
    for path in paths:
        caption = captions.get(path)
        if caption and trigger and trigger.lower() not in caption.lower():
            caption = f"{trigger}, {caption}"
        found.append(caption or trigger)
    return found


def embed(base: Base, texts: Sequence[str | None], say: Say) -> list[torch.Tensor]:
    """(tokens, width) embedding of each prompt, each computed once; the neutral one for None, and on bases without a text encoder."""
    known: dict[str | None, torch.Tensor] = {None: base.prompt_embeds()[0]}
    if not any(texts):
        say("no captions and no trigger words: every picture is trained with the neutral prompt")
    try:
        for text in texts:
            if text not in known:
                known[text] = base.prompt_embeds(text)[0]
    except BaseError:
        say(f"the base {base.name} has no text encoder: captions are left aside, every picture is trained with the neutral prompt")
    return [known.get(text, known[None]) for text in texts]


def encode_views(
    base: Base,
    digest: str,
    paths: Sequence[Path],
    *,
    size: int,
    views: int,
    augmentation: Augmentation | None,
    seed: int,
    cache: Path,
    say: Say,
) -> list[list[torch.Tensor]]:
    """For each picture `views` square views as latents (C, size/8, size/8), float16; none for a picture that cannot be used, which is said.

    Made once and kept under `cache`. digest: of the base's weights. augmentation: None takes the centre, once.
    """
    views = views if augmentation else 1
    code = digests.of_code(images, srgb, data, view, _encode)
    facts = (code, digest, [caches.file_digest(path) for path in paths], size, views, augmentation, seed, MAX_ENLARGEMENT, MAX_ZOOM)
    path = cache / f"latents-{digests.of_values(facts)}.pt"
    return caches.kept(path, lambda: _encode(base, paths, size, views, augmentation, seed, say))


def _encode(
    base: Base, paths: Sequence[Path], size: int, views: int, augmentation: Augmentation | None, seed: int, say: Say
) -> list[list[torch.Tensor]]:
    encoded: list[list[torch.Tensor]] = []
    enlarged = 0
    with torch.inference_mode():
        for i, source in enumerate(tqdm(paths, desc="latents", mininterval=5, disable=None)):
            picture = _open_large_enough(source, size, say)
            if picture is None:
                encoded.append([])
                continue
            enlarged += min(picture.size) < size
            rng = random.Random(f"{seed} {i}")
            views_of = [view(picture, size, augmentation, rng) for _ in range(views)]
            encoded.append([base.encode(data.to_tensor(one)[None])[0].half().cpu().clone() for one in views_of])
    if enlarged:
        say(f"{enlarged} of {len(paths)} pictures are under {size} pixels and were enlarged: larger ones make a sharper style")
    if augmentation and not any(encoded):
        raise StyleError(f"No picture is left to train on: give pictures of at least {size} x {size} pixels.")
    return encoded


def view(picture: Image.Image, size: int, augmentation: Augmentation | None, rng: random.Random) -> Image.Image:
    """A square `size` x `size` of `picture`: a random one, or without `augmentation` its centre."""
    short = min(picture.size)
    if augmentation is None:
        return ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS)
    least = max(augmentation.zoom, min(1.0, size / (MAX_ZOOM * short)))
    side = round(short * rng.uniform(least, 1))
    left, top = rng.randint(0, picture.width - side), rng.randint(0, picture.height - side)
    crop = picture.resize((size, size), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side))
    if augmentation.mirror and rng.random() < 0.5:
        crop = ImageOps.mirror(crop)
    for kind in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        crop = kind(crop).enhance(1 + rng.uniform(-augmentation.jitter, augmentation.jitter))
    return crop


def usable(paths: Sequence[Path], most: int) -> Iterator[Image.Image]:
    """At most `most` of the pictures, evenly from all; those that cannot be read are passed over."""
    for path in paths[:: max(1, -(-len(paths) // most))]:
        try:
            yield open_picture(path)
        except PictureError:
            continue


def export_dataset(
    name: str, *, split: str, image: str, target: str | None, caption: str, limit: int | None, cache: Path, say: Say
) -> tuple[Path, Path | None]:
    """Pictures (and targets) of a data set as folders below `cache`, made once: (folder of pictures, folder of targets of the same names).

    name: "owner/name" on the Hub, a folder of pictures, or a folder written by `save_to_disk`. Files are copied byte for byte. image,
    target, caption: columns; the captions' may be missing. A folder is copied anew when its files change; what the Hub has is fetched
    once, so that a run that is resumed goes on with what it had.
    """
    here = sorted(path for path in Path(name).rglob("*") if path.is_file()) if Path(name).is_dir() else []
    files = [(path.relative_to(name).as_posix(), caches.file_digest(path)) for path in here]
    key = digests.of_values((name, files, split, image, target, caption, limit))
    folder = cache / f"dataset-{key}"
    if not folder.is_dir():
        rows = _open_dataset(name, split)
        for column in filter(None, (image, target)):
            if column not in rows.column_names:
                raise SettingError(f"The data set {name} has no column {column!r}: choose from {', '.join(rows.column_names)}.")
        from datasets import Image as Encoded

        rows = rows.select(range(min(len(rows), limit))) if limit else rows
        for column in filter(None, (image, target)):
            rows = rows.cast_column(column, Encoded(decode=False))
        captions = []
        with told(folder), whole_folder(folder) as part:
            for i, row in enumerate(tqdm(rows, desc=name, mininterval=5, disable=None)):
                file = _write_encoded(row[image], part / "images" / f"{i:06d}")
                if target:
                    _write_encoded(row[target], part / "targets" / f"{i:06d}")
                if row.get(caption):
                    captions.append({"file_name": file.name, "text": str(row[caption])})
            (part / "images").mkdir(parents=True, exist_ok=True)
            if captions:
                (part / "images" / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in captions))
        say(f"{name}: {len(rows)} pictures, {len(captions)} captions")
    return folder / "images", folder / "targets" if target else None


def _open_dataset(name: str, split: str) -> Any:
    try:
        import datasets
    except ImportError:
        raise SettingError("dataset needs the package datasets: run `pip install datasets`, or name a folder of pictures.") from None
    folder = Path(name)
    try:
        if any((folder / file).is_file() for file in ("dataset_info.json", "dataset_dict.json")):
            found = datasets.load_from_disk(name)
            return found[split] if isinstance(found, datasets.DatasetDict) else found
        return datasets.load_dataset(name, split=split)
    except Exception as error:  # the library has its own kinds for a name, a network, a format and a split
        raise StyleError(
            f"The data set {name} cannot be loaded ({first_line(error)}): check its name and split, go online once, or name a folder."
        ) from error


def _write_encoded(value: Mapping[str, Any], stem: Path) -> Path:
    """An undecoded picture of a data set, as the file it was."""
    content = value["bytes"] if value["bytes"] is not None else Path(value["path"]).read_bytes()
    suffix = Path(value["path"] or "").suffix.lower()
    path = stem.with_suffix(suffix if suffix in SUFFIXES else ".png")  # Pillow looks at the content, not the name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _open_large_enough(path: Path, size: int, say: Say) -> Image.Image | None:
    try:
        picture = open_picture(path)
    except PictureError as error:
        say(f"left out: {error}")
        return None
    if min(picture.size) * MAX_ENLARGEMENT < size:
        say(f"left out: {path.name} is {picture.width} x {picture.height}, under half the crop of {size}")
        return None
    return picture
