"""Which photos become which files, all of it known before anything is drawn. No file that is read is ever written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stylekit.errors import PictureError, SettingError, StyleError
from stylekit.formats import SUFFIXES, Say, count_and_name, identify, list_pictures
from stylekit.maps import Size
from stylekit.recipe import Recipe
from stylekit.results.carriers import carries_recipe, read_recipe
from stylekit.results.prints import Paper
from stylekit.results.saving import ENDINGS, format_of
from stylekit.storage.naming import is_one_of, name_results

ORIENTATION = 274  # of EXIF
TURNED = range(5, 9)  # orientations in which width and height change places


@dataclass(frozen=True, kw_only=True)
class Job:
    photo: Path
    result: Path


def list_jobs(photo: Path, out: Path, others: Sequence[Path], *, kind: str | None, say: Say) -> list[Job]:
    """One for `photo`, or one for each picture in the folder `photo`. others: files that are read beside them.

    kind: of `saving.ENDINGS`; None as `out` ends, and PNG in a folder. Results of a folder are named after their photos. No result is a
    file that is read, or another result; what is there already is for `unfinished`. Raises PictureError.
    """
    if not photo.exists():
        raise PictureError(f"{photo} does not exist: check the path.")
    if not photo.is_dir() and not out.is_dir():
        if kind not in (None, format_of(out)):
            raise SettingError(f"{out.name} is no name for {kind}: let it end in {ENDINGS[kind or 'png']}, or leave out the format.")
        if is_one_of(out, [photo]):
            raise PictureError(f"{out} is the photo itself: write the result elsewhere.")
        if is_one_of(out, others):
            raise PictureError(f"{out} is one of the files to be read: write the result elsewhere.")
        return [Job(photo=photo, result=out)]
    photos = list_photos(photo, out, say) if photo.is_dir() else [photo]
    ending = ENDINGS[kind or "png"]
    jobs = [Job(photo=path, result=result) for path, result in zip(photos, name_results(photos, out, others, ending), strict=True)]
    for job in jobs:
        if job.result.stem != job.photo.stem:
            say(f"{job.photo.name} becomes {job.result.name}, since {job.photo.stem}{ending} is taken")
    return jobs


def list_photos(folder: Path, out: Path, say: Say) -> list[Path]:
    """The pictures in `folder`; where results go to the same folder, earlier ones are none of them."""
    if out.exists() and not out.is_dir():
        raise PictureError(f"{out} is a file, but {folder} is a folder: name a folder for the results.")
    photos = list_pictures(folder, deep=False, say=say)
    if is_one_of(out, [folder]):
        earlier = [path for path in photos if carries_recipe(path)]
        photos = [path for path in photos if path not in earlier]
        if earlier:
            say(f"{folder.name or folder}: left out {count_and_name([path.name for path in earlier])}, which stylekit made")
    if not photos:
        raise PictureError(f"{folder} holds no pictures: expected files ending in {', '.join(SUFFIXES)}.")
    return photos


def refuse_existing(results: Sequence[Path]) -> None:
    """PictureError if any of `results` is there."""
    there = [result for result in results if os.path.lexists(result)]
    if there:
        names = count_and_name([result.name for result in there])
        raise PictureError(f"{there[0].parent} holds {names} already: add --overwrite to replace, or name another --out.")


def unfinished(jobs: Sequence[Job], recipe: Recipe, paper: Paper | None, *, overwrite: bool) -> list[Job]:
    """The jobs of a run that goes on: those whose results are not there yet, made of this photo by this recipe in this size.

    A result of other settings, or older than its photo, is made anew if `overwrite`, else it is a PictureError.
    """
    found = {job: _is_finished(job, recipe, paper) for job in jobs if os.path.lexists(job.result)}
    other = [job.result for job, finished in found.items() if not finished]
    if other and not overwrite:
        raise PictureError(
            f"{other[0].parent} holds {count_and_name([path.name for path in other])} of other settings or other photos: "
            "add --overwrite to make them anew, or name another --out."
        )
    return [job for job in jobs if not found.get(job)]


def disagreement(lists: Sequence[tuple[str, str]]) -> str:
    """lists: what each process has found, as (what is wrong, digest of its list). The sentence that stops them all, or nothing."""
    problem = next((problem for problem, _ in lists if problem), "")
    if not problem and len({digest for _, digest in lists}) > 1:
        return "The processes do not see the same photos and results: give all machines the same folders."
    return problem


def _is_finished(job: Job, recipe: Recipe, paper: Paper | None) -> bool:
    try:
        if job.result.stat().st_mtime < job.photo.stat().st_mtime:
            return False
        made = read_recipe(job.result)
        size, shown = _size(job.result), _size(job.photo)
    except (StyleError, OSError):
        return False
    # a base of few steps leaves an accelerator out
    same = made in (recipe, recipe.with_(accelerator=None)) and not made.older
    return same and size == (paper.fit(shown) if paper else shown)


def _size(path: Path) -> Size:
    """(width, height) of a picture, upright, as its header tells. Raises StyleError."""
    try:
        with identify(path, path.name) as picture:
            width, height = picture.size
            turned = picture.format != "HEIF" and picture.getexif().get(ORIENTATION) in TURNED
            return (height, width) if turned else (width, height)
    except StyleError:
        raise
    except Exception as error:  # Pillow raises many kinds on hostile headers
        raise PictureError(f"{path.name} is not a picture that can be read.") from error
