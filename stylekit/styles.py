"""Style cards: `styles/<name>/style.toml`, and the library of them.

A card names the style and its adapters, one per base and kind; weights and preview pictures lie beside it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from stylekit.brush import Brush
from stylekit.errors import StyleError, UnknownStyleError

CARD_FILE = "style.toml"
STYLES_FOLDER = Path(__file__).resolve().parent.parent / "styles"
LAST = 1000
KINDS = ("lora", "dreambooth")
ADAPTER_KEYS = {"base", "kind", "file", "made", "data", "license", "scale", "num_inference_steps", "timestep", "phases", "underpainting"}
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """Card of one adapter: the base and kind it is for, its file, how it was made and from what.

    scale: factor on the weight, so that 1 is the style at its best on every base. num_inference_steps, timestep, phases: denoising steps,
    timestep of the full strength, and placements on the grid of latents (see BaseCard) that suit it; None for the base's own.
    underpainting: the strokes it was trained to turn into paint, None if it takes the photo as it is.
    """

    base: str
    kind: str
    path: Path
    made: str
    data: str
    license: str
    scale: float = 1.0
    num_inference_steps: int | None = None
    timestep: int | None = None
    phases: int | None = None
    underpainting: Brush | None = None

    def __post_init__(self) -> None:
        if self.num_inference_steps is not None and self.num_inference_steps < 1:
            raise StyleError(f"The adapter {self.path.name} asks for {self.num_inference_steps} steps: at least 1 is needed.")
        if self.timestep is not None and not 1 <= self.timestep < 1000:
            raise StyleError(f"The adapter {self.path.name} asks for timestep {self.timestep}: choose one from 1 to 999.")
        if self.phases not in (None, 1, 2, 4):
            raise StyleError(f"The adapter {self.path.name} asks for {self.phases} phases: choose 1, 2 or 4.")
        if self.kind not in KINDS:
            raise StyleError(f"The adapter {self.path} has kind {self.kind!r}: use one of {', '.join(KINDS)}.")


@dataclass(frozen=True, kw_only=True)
class Style:
    """Card of a style. preview is the style on a photo; before is that photo. order: place in the library, those without one last."""

    name: str
    title: str
    blurb: str
    period: str
    license: str
    adapters: tuple[Adapter, ...]
    preview: Path | None = None
    before: Path | None = None
    order: int = LAST

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise StyleError(f"{self.name!r} is not a style name: use lower-case letters, digits, - and _.")

    def adapter(self, base: str, kind: str = "lora") -> Adapter:
        """The adapter for `base`; UnknownStyleError if there is none."""
        for adapter in self.adapters:
            if adapter.base == base and adapter.kind == kind:
                return adapter
        raise UnknownStyleError(f"The style {self.name} has no {kind} adapter for the base {base}: choose another style or base.")


@dataclass(frozen=True, kw_only=True)
class StyleLibrary:
    """All styles of a folder, by name."""

    styles: tuple[Style, ...]

    @classmethod
    def open(cls, folder: str | Path = STYLES_FOLDER) -> StyleLibrary:
        folder = Path(folder)
        if not folder.is_dir():
            raise StyleError(f"The styles folder {folder} does not exist: check the setting.")
        styles = (read_style(path) for path in folder.glob(f"*/{CARD_FILE}"))
        return cls(styles=tuple(sorted(styles, key=lambda style: (style.order, style.name))))

    def __getitem__(self, name: str) -> Style:
        for style in self.styles:
            if style.name == name:
                return style
        known = ", ".join(style.name for style in self.styles) or "none yet"
        raise UnknownStyleError(f"There is no style {name!r}: choose from {known}.")

    def __iter__(self) -> Iterator[Style]:
        return iter(self.styles)

    def __len__(self) -> int:
        return len(self.styles)


def read_style(path: Path) -> Style:
    """The card at `path`. Unknown keys are refused, and so are files outside the card's own folder."""
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise StyleError(f"The style card {path} cannot be read ({error}): mend it.") from None
    folder = path.parent
    _refuse_unknown(values, {"title", "blurb", "period", "license", "preview", "before", "order", "adapters"}, path)
    adapters = []
    try:
        for entry in values.get("adapters", []):
            _refuse_unknown(entry, ADAPTER_KEYS, path)
            adapters.append(
                Adapter(
                    base=entry["base"],
                    kind=entry.get("kind", "lora"),
                    path=_inside(folder, entry["file"]),
                    made=entry["made"],
                    data=entry["data"],
                    license=entry.get("license", values["license"]),
                    scale=float(entry.get("scale", 1.0)),
                    num_inference_steps=entry.get("num_inference_steps"),
                    timestep=entry.get("timestep"),
                    phases=entry.get("phases"),
                    underpainting=_brush(entry["underpainting"], path) if "underpainting" in entry else None,
                )
            )
        return Style(
            name=folder.name,
            title=values["title"],
            blurb=values["blurb"],
            period=values.get("period", ""),
            license=values["license"],
            adapters=tuple(adapters),
            preview=_inside(folder, values["preview"]) if "preview" in values else None,
            before=_inside(folder, values["before"]) if "before" in values else None,
            order=_whole(values.get("order", LAST), path),
        )
    except KeyError as error:
        raise StyleError(f"The style card {path} lacks {error}: add it.") from None


def _whole(value: Any, path: Path) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise StyleError(f"The style card {path} has the order {value!r}: give a whole number.")
    return value


def _brush(values: Any, path: Path) -> Brush:
    if not isinstance(values, dict):
        raise StyleError(f"The style card {path} has an underpainting that is no table: write {{ width = 6, length = 20, flow = 8 }}.")
    _refuse_unknown(values, {field.name for field in fields(Brush)}, path)
    try:
        return Brush(**values)
    except TypeError:
        raise StyleError(f"The underpainting in {path} lacks width, length or flow: add it.") from None


def _refuse_unknown(values: dict[str, Any], known: set[str], path: Path) -> None:
    unknown = sorted(set(values) - known)
    if unknown:
        raise StyleError(f"The style card {path} has unknown keys {', '.join(unknown)}: use {', '.join(sorted(known))}.")


def _inside(folder: Path, name: str) -> Path:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise StyleError(f"The style card in {folder} names {name}, outside its folder: keep its files beside it.")
    return path
