"""Records of a finished run: `training.json` beside the adapter, and a first `style.toml`, so that the app shows the style."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from stylekit.base_card import ALIASES
from stylekit.errors import SettingError
from stylekit.hand.hand import Hand
from stylekit.storage.files import whole
from stylekit.styles import CARD_FILE, LORA, Adapter, is_name, read_style, toml_lines
from stylekit.underpainting.settings import Underpainting

RECORD_FILE = "training.json"
RUN_KEY = "stylekit_run"  # in the adapter file's metadata: which run wrote it


@dataclass(frozen=True, kw_only=True)
class AdapterUse:
    """How the adapter wants to be used, where the base's own way does not suit it, and the words it was trained with: see
    stylekit.styles.Adapter."""

    timestep: int | None = None
    phases: int | None = None
    underpainting: Underpainting | None = None
    trigger: str | None = None

    @property
    def card(self) -> Adapter:
        """The card of an adapter in training that is used so."""
        return Adapter(
            base="",
            kind=LORA,
            path=Path(),
            made="",
            data="",
            license="",
            timestep=self.timestep,
            phases=self.phases,
            underpainting=self.underpainting,
            trigger=self.trigger or "",
        )


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
    with whole(path) as part:
        part.write_text(json.dumps({**facts, "settings": values}, indent=1, ensure_ascii=False) + "\n")
    return path


def card_path(out: Path, wanted: bool | None) -> Path | None:
    """Where the style's card belongs for an adapter in ``styles/NAME/KIND``, None if there should be none.

    wanted: None makes one where the grandparent folder is called styles.
    """
    folder = out.resolve().parent
    if wanted is False or (wanted is None and folder.parent.name != "styles"):
        return None
    if not is_name(folder.name):
        raise SettingError(f"{folder.name!r} is not a style name: use lower-case letters, digits, - and _ for the folder over --out.")
    return folder / CARD_FILE


def write_card(
    path: Path,
    *,
    title: str,
    blurb: str,
    license: str,
    base: str,
    adapter: Path,
    made: str,
    data: str,
    use: AdapterUse,
    kind: str = "lora",
    hand: Hand | None = None,
    drawn: str = "",
) -> str:
    """A minimal card at `path`, unless there is one, which is never touched; a sentence that says what is there now.

    hand: draws on what the adapter paints; drawn: how, in words.
    """
    base = ALIASES.get(base, base)
    file = adapter.resolve().relative_to(path.parent).as_posix()
    entry = {"base": base, "kind": kind, "file": file, "made": made, "data": data, **asdict(use)}
    lines = "[[adapters]]\n" + toml_lines(entry)
    if path.is_file():
        if any(one.base == base and one.path == adapter.resolve() for one in read_style(path).adapters):
            return f"{path} names this adapter already"
        return f"{path} is left as it is; add this to it:\n\n{lines}"
    with whole(path) as part:
        head = toml_lines({"title": title, "blurb": blurb, "license": license, "drawn": drawn or None}) + "\n"
        hands = "[hand]\n" + toml_lines(hand.to_card()) + "\n" if hand else ""
        part.write_text(head + hands + lines, encoding="utf-8")
    return f"{path} makes the style appear in the app: put your own words into it"
