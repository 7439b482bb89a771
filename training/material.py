"""What a run trains on: from the settings' folders and data sets to items of cached latents and prompts, one function a mode."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from stylekit.base import Base
from stylekit.errors import StyleError
from stylekit.images import GRID
from training import data, pictures
from training.objectives import Item, View
from training.pairs import TEACHER, load_pairs, load_taught_pairs
from training.pictures import PictureSet, Say
from training.style_settings import StyleTraining

TEACHER_STYLE_VIEWS = 2  # squares out of each picture of the style that the teacher is shown as content
CONTENT_SIZE = 2  # crops that a photo measures in transfer: it is as large as the app works it, and as the style is judged


@dataclass(frozen=True, kw_only=True)
class Material:
    """items: to train on; held_out: for the held-out loss; content and style: files of photos and of style pictures that are trained on.

    prior: what a base is to keep doing while it learns, for DreamBooth.
    neutral: (tokens, width) embedding of the empty prompt. digest: of the files' contents. sources: a sentence for the style's card.
    """

    items: Sequence[Item]
    held_out: Sequence[Item]
    content: Sequence[Path]
    style: Sequence[Path]
    neutral: torch.Tensor
    digest: str
    sources: str
    prior: Sequence[Item] = ()


def gather(base: Base, settings: StyleTraining, base_digest: str, say: Say) -> Material:
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
        style = pictures.find_pictures(art, settings.limit if alone else None, settings.held_out if alone else 0, say)
    neutral = base.prompt_embeds()[0]
    if settings.mode == "pairs":
        items, held_out = _pairs(base, settings, base_digest, content, kept, style.train, str(targets), neutral, say)
    elif settings.mode == "transfer":
        size = CONTENT_SIZE * settings.resolution
        items = [Item(views=v, embeds=neutral) for v in _views(base, settings, base_digest, content, size, 0.0, say) if v]
        held_out = [Item(views=v, embeds=neutral) for v in _views(base, settings, base_digest, kept, size, None, say) if v]
    else:
        items, held_out = _style(base, settings, base_digest, style, say)
    files = [*content, *style.train]
    sources = [pictures.sources(folder, paths) for folder, paths in ((photos, content), (art, style.train)) if folder and paths]
    return Material(
        items=items,
        held_out=held_out,
        content=content,
        style=style.train,
        neutral=neutral,
        digest=hashlib.sha256(repr([pictures.content_digest(path) for path in files]).encode()).hexdigest()[:16],
        sources=" ".join(sources),
    )


def _content(folder: Path, settings: StyleTraining) -> tuple[list[Path], list[Path]]:
    """(training, held-out) photos."""
    if not folder.is_dir():
        raise StyleError(f"{folder} is not a folder: name a folder of photos.")
    if settings.split is not None:
        photos, kept = data.split_photos(folder, settings.split)
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
    style: Sequence[Path],
    targets: str,
    neutral: torch.Tensor,
    say: Say,
) -> tuple[list[Item], list[Item]]:
    crop = settings.resolution // GRID

    def load(paths: Sequence[Path]) -> list[Item]:
        if targets == TEACHER:
            pairs = load_taught_pairs(base, paths, style, settings.seed, settings.folder, crop, base_digest)
        else:
            pairs = load_pairs(base, paths, targets, settings.seed, settings.folder, crop, base_digest)
        return [Item(views=[View(*pair)], embeds=neutral) for pair in pairs]

    if targets == TEACHER:  # pictures of the style are pictures too, and photos may be few
        photos = [*photos] * settings.views + [*style] * TEACHER_STYLE_VIEWS
    items, held_out = load(photos), []
    if kept:
        try:
            held_out = load(kept)
        except StyleError as error:  # a folder of targets need not have any for them
            say(f"no held-out loss: {error}")
    return items, held_out


def _style(base: Base, settings: StyleTraining, base_digest: str, style: PictureSet, say: Say) -> tuple[list[Item], list[Item]]:
    def load(paths: Sequence[Path], jitter: float | None) -> list[Item]:
        views = _views(base, settings, base_digest, paths, settings.resolution, jitter, say)
        return [Item(views=v, embeds=embeds[path]) for path, v in zip(paths, views, strict=True) if v]

    paths = [*style.train, *style.held_out]
    texts = pictures.prompts(paths, style.captions, settings.trigger)
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
