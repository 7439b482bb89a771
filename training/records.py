"""Records of a finished run: `training.json` beside the adapter, and a first `style.toml`, so that the app shows the style."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from stylekit.base import ALIASES
from stylekit.errors import SettingError
from stylekit.styles import CARD_FILE, NAME, read_style, toml_lines
from stylekit.underpainting import Underpainting
from training import checkpoints

RECORD_FILE = "training.json"
RUN_KEY = "stylekit_run"  # in the adapter file's metadata: which run wrote it
SAMPLES = 1024  # numbers of each tensor that tell one base from another


@dataclass(frozen=True, kw_only=True)
class AdapterUse:
    """How the adapter wants to be used, where the base's own way does not suit it: see stylekit.styles.Adapter."""

    timestep: int | None = None
    phases: int | None = None
    underpainting: Underpainting | None = None


def weights_digest(*modules: nn.Module) -> str:
    """Short digest of names, shapes and evenly spaced numbers of all weights: tells bases apart in a moment, whatever their size."""
    digest = hashlib.sha256()
    for module in modules:
        for name, tensor in module.state_dict().items():
            flat = tensor.detach().flatten()
            some = flat[:: max(1, len(flat) // SAMPLES)].to("cpu", torch.float32)
            digest.update(f"{name} {tuple(tensor.shape)}".encode() + some.numpy().tobytes())
    return digest.hexdigest()[:16]


def run_digest(identity: Mapping[str, str]) -> str:
    return hashlib.sha256(repr(sorted(identity.items())).encode()).hexdigest()[:16]


def refuse_another_runs_adapter(path: Path, run: str) -> None:
    """SettingError if `path` holds an adapter that run `run` did not write."""
    if not path.is_file():
        return
    try:
        with safe_open(path, framework="pt") as file:
            theirs = (file.metadata() or {}).get(RUN_KEY)
    except (SafetensorError, OSError):
        theirs = None
    if theirs != run:
        raise SettingError(f"{path} holds an adapter of another run: choose another --out folder, or give --overwrite.")


def write_record(folder: Path, settings: Any, facts: Mapping[str, Any]) -> Path:
    """``folder/training.json``: settings and `facts`. Absolute paths are cut to their last part: the file is for others' eyes."""
    values = {name: value.name if isinstance(value, Path) else value for name, value in asdict(settings).items()}
    values |= {name: Path(text).name for name, text in values.items() if isinstance(text, str) and Path(text).is_absolute()}
    path = folder / RECORD_FILE
    with checkpoints.whole(path) as part:
        part.write_text(json.dumps({**facts, "settings": values}, indent=1, ensure_ascii=False) + "\n")
    return path


def card_path(out: Path, wanted: bool | None) -> Path | None:
    """Where the style's card belongs for an adapter in ``styles/NAME/KIND``, None if there should be none.

    wanted: None makes one where the grandparent folder is called styles.
    """
    folder = out.resolve().parent
    if wanted is False or (wanted is None and folder.parent.name != "styles"):
        return None
    if not NAME.fullmatch(folder.name):
        raise SettingError(f"{folder.name!r} is not a style name: use lower-case letters, digits, - and _ for the folder over --out.")
    return folder / CARD_FILE


def write_card(
    path: Path, *, title: str, blurb: str, license: str, base: str, adapter: Path, made: str, data: str, use: AdapterUse, kind: str = "lora"
) -> str:
    """A minimal card at `path`, unless there is one, which is never touched; a sentence that says what is there now."""
    base = ALIASES.get(base, base)
    file = adapter.resolve().relative_to(path.parent).as_posix()
    entry = {"base": base, "kind": kind, "file": file, "made": made, "data": data, **asdict(use)}
    lines = "[[adapters]]\n" + toml_lines(entry)
    if path.is_file():
        if any(one.base == base and one.path == adapter.resolve() for one in read_style(path).adapters):
            return f"{path} names this adapter already"
        return f"{path} is left as it is; add this to it:\n\n{lines}"
    with checkpoints.whole(path) as part:
        part.write_text(toml_lines({"title": title, "blurb": blurb, "license": license}) + "\n" + lines, encoding="utf-8")
    return f"{path} makes the style appear in the app: put your own words into it"
