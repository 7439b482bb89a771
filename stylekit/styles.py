"""Style cards: `styles/<name>/style.toml`, and the library of them.

A card names the style and its adapters, one per base and kind; weights and preview pictures lie beside it. A style of the Hub has the same
card in its repository (see `stylekit.hub`), and is called as its repository with ``--`` for the stroke, so that a recipe tells its origin.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from stylekit.brush import Brush
from stylekit.errors import StyleError, UnknownStyleError
from stylekit.fields import Fields
from stylekit.ground import Ground
from stylekit.underpainting import Underpainting

CARD_FILE = "style.toml"
CARD_BYTES = 2**18
DIAL_FILE = "dial.jpg"  # beside the card: the preview at rising strength
STYLES_FOLDER = Path(__file__).resolve().parent.parent / "styles"
POCKET = "pocket"  # as in stylekit.base, which brings diffusers along
LAST = 1000
KINDS = ("lora", "dreambooth")
STYLE_KEYS = {"title", "blurb", "period", "license", "preview", "before", "order", "adapters"}
ADAPTER_TEXTS = {"base", "kind", "file", "made", "data", "license", "trigger"}
ADAPTER_KEYS = ADAPTER_TEXTS | {"scale", "num_inference_steps", "timestep", "phases", "underpainting", "metrics"}
SCALE_LIMIT = 10.0
STEPS_LIMIT = 100
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}--[\w.-]{1,96}(@[\w.-]{1,64})?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """Card of one adapter: the base and kind it is for, its file, how it was made and from what.

    scale: factor on the weight, so that 1 is the style at its best on every base. num_inference_steps, timestep, phases: denoising steps,
    timestep of the full strength, and placements on the grid of latents (see BaseCard) that suit it; None for the base's own.
    underpainting: strokes, flat fields or ground it works on, None if it takes the photo as it is. trigger: words a prompt should hold,
    where one is used at all. metrics: what was measured, by name.
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
    underpainting: Underpainting | None = None
    trigger: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.scale <= SCALE_LIMIT:
            raise StyleError(f"The adapter {self.path.name} has the scale {self.scale}: choose one over 0, up to {SCALE_LIMIT:g}.")
        if self.num_inference_steps is not None and not 1 <= self.num_inference_steps <= STEPS_LIMIT:
            raise StyleError(f"The adapter {self.path.name} asks for {self.num_inference_steps} steps: choose from 1 to {STEPS_LIMIT}.")
        if self.timestep is not None and not 1 <= self.timestep < 1000:
            raise StyleError(f"The adapter {self.path.name} asks for timestep {self.timestep}: choose one from 1 to 999.")
        if self.phases not in (None, 1, 2, 4):
            raise StyleError(f"The adapter {self.path.name} asks for {self.phases} phases: choose 1, 2 or 4.")
        if self.kind not in KINDS:
            raise StyleError(f"The adapter {self.path} has kind {self.kind!r}: use one of {', '.join(KINDS)}.")


@dataclass(frozen=True, kw_only=True)
class Style:
    """Card of a style.

    preview is the style on a photo; before is that photo; dial is the photo at rising strength. order: place in the library, those without
    one last. source: where the style was added from, ``OWNER/NAME@commit`` or a path; empty for one of the library's own folder.
    """

    name: str
    title: str
    blurb: str
    period: str
    license: str
    adapters: tuple[Adapter, ...]
    preview: Path | None = None
    before: Path | None = None
    dial: Path | None = None
    order: int = LAST
    source: str = ""

    def __post_init__(self) -> None:
        if not (NAME.fullmatch(self.name) or (self.source and HUB_NAME.fullmatch(self.name))):
            raise StyleError(f"{self.name!r} is not a style name: use lower-case letters, digits, - and _.")

    def adapter(self, base: str, kind: str | None = None) -> Adapter:
        """The adapter for `base`; UnknownStyleError if there is none. kind: by default a LoRA, or else what there is.

        Bases in Stable Diffusion 1.x layout share their LoRAs: without one of its own, such a base takes another's.
        """
        of_kind = [adapter for adapter in self.adapters if adapter.kind == (kind or adapter.kind)]
        of_kind.sort(key=lambda adapter: KINDS.index(adapter.kind))
        for adapter in of_kind:
            if adapter.base == base:
                return adapter
        for adapter in of_kind:
            if adapter.kind == "lora" and POCKET not in (base, adapter.base):
                return adapter
        what = f"{kind} adapter" if kind else "adapter"
        raise UnknownStyleError(f"The style {self.name} has no {what} for the base {base}: choose another style or base.")


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

    def plus(self, style: Style) -> StyleLibrary:
        """This library and `style`, which takes the place of what was added under its name before. StyleError if it is a built-in name."""
        if any(known.name == style.name and not known.source for known in self.styles):
            raise StyleError(f"There is a style {style.name} already: give the file or folder {style.source} another name.")
        return StyleLibrary(styles=(*(known for known in self.styles if known.name != style.name), style))

    def __iter__(self) -> Iterator[Style]:
        return iter(self.styles)

    def __len__(self) -> int:
        return len(self.styles)


def read_style(path: Path, *, name: str | None = None, source: str = "", root: Path | None = None) -> Style:
    """The card at `path`. Unknown keys are refused, and so are files outside the card's own folder.

    name: of the style, by default its folder's. root: the folder that links among its files may lead to, by default the card's own (a
    repository in the Hub's cache is made of links).
    """
    try:
        if path.stat().st_size > CARD_BYTES:
            raise StyleError(f"The style card {path} is over {CARD_BYTES >> 10} KB: that is no card.")
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise StyleError(f"The style card {path} cannot be read ({error}): mend it.") from None
    folder = path.parent
    _refuse_unknown(values, STYLE_KEYS, path)
    _refuse_other_than_text(values, STYLE_KEYS - {"order", "adapters"}, path)
    entries = values.get("adapters", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise StyleError(f"The style card {path} has adapters that are no tables: write [[adapters]] above each.")
    order = _whole(values.get("order"), "order", path)
    adapters = []
    try:
        for entry in entries:
            _refuse_unknown(entry, ADAPTER_KEYS, path)
            _refuse_other_than_text(entry, ADAPTER_TEXTS, path)
            adapters.append(
                Adapter(
                    base=entry["base"],
                    kind=entry.get("kind", "lora"),
                    path=inside(folder, entry["file"], root),
                    made=entry["made"],
                    data=entry["data"],
                    license=entry.get("license", values["license"]),
                    scale=_number(entry.get("scale", 1.0), "scale", path),
                    num_inference_steps=_whole(entry.get("num_inference_steps"), "num_inference_steps", path),
                    timestep=_whole(entry.get("timestep"), "timestep", path),
                    phases=_whole(entry.get("phases"), "phases", path),
                    underpainting=_underpainting(entry["underpainting"], path) if "underpainting" in entry else None,
                    trigger=entry.get("trigger", ""),
                    metrics={key: _number(value, key, path) for key, value in _table(entry.get("metrics", {}), path).items()},
                )
            )
        return Style(
            name=name or folder.name,
            title=values["title"],
            blurb=values["blurb"],
            period=values.get("period", ""),
            license=values["license"],
            adapters=tuple(adapters),
            preview=inside(folder, values["preview"], root) if "preview" in values else None,
            before=inside(folder, values["before"], root) if "before" in values else None,
            dial=inside(folder, DIAL_FILE, root) if (folder / DIAL_FILE).is_file() else None,
            order=LAST if order is None else order,
            source=source,
        )
    except KeyError as error:
        raise StyleError(f"The style card {path} lacks {error}: add it.") from None


def card_text(style: Style, files: Mapping[Path, str]) -> str:
    """The card of `style` as TOML. files: what each file of it is called beside the new card; others are left out."""

    def name(path: Path | None) -> str | None:
        return files.get(path) if path else None

    head = {"title": style.title, "blurb": style.blurb, "period": style.period or None, "license": style.license}
    head |= {"preview": name(style.preview), "before": name(style.before)}
    tables = [toml_lines(head)]
    for adapter in style.adapters:
        if adapter.path in files:
            entry = {key: value for key, value in asdict(adapter).items() if key != "path" and value not in ("", {})}
            tables.append("[[adapters]]\n" + toml_lines({"base": adapter.base, "kind": adapter.kind, "file": files[adapter.path]} | entry))
    return "\n".join(tables)


def inside(folder: Path, name: str, root: Path | None = None) -> Path:
    """``folder/name``, which must lie in `folder` by its name, and in `root` (by default `folder`) once links are followed."""
    folder = folder.resolve()
    path = Path(os.path.normpath(folder / name))
    if not path.is_relative_to(folder) or not path.resolve().is_relative_to((root or folder).resolve()):
        raise StyleError(f"The style card in {folder} names {name}, outside its folder: keep its files beside it.")
    return path


def toml_lines(values: Mapping[str, Any]) -> str:
    """`values` as lines of TOML, those that are None left out."""
    return "".join(f"{key} = {_toml(value)}\n" for key, value in values.items() if value is not None)


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml(key)} = {_toml(inner)}" for key, inner in value.items()) + " }"
    # JSON's strings and numbers are TOML's, but for one character
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _refuse_other_than_text(values: Mapping[str, Any], keys: set[str], path: Path) -> None:
    for key in sorted(keys & values.keys()):
        if not isinstance(values[key], str):
            raise StyleError(f"The style card {path} has a {key} that is no text: put it in quotation marks.")


def _whole(value: Any, key: str, path: Path) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise StyleError(f"The style card {path} has the {key} {value!r}: give a whole number.")
    return value


def _number(value: Any, key: str, path: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise StyleError(f"The style card {path} has the {key} {value!r}: give a number.")
    return float(value)


def _table(value: Any, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise StyleError(f"The style card {path} has metrics that are no table: write {{ name = number }}.")
    return value


def _underpainting(values: Any, path: Path) -> Underpainting:
    if not isinstance(values, dict):
        raise StyleError(f"The style card {path} has an underpainting that is no table: write {{ width = 6, length = 20, flow = 8 }}.")
    kind: Any = Fields if "passes" in values else Ground if "mean" in values else Brush
    _refuse_unknown(values, {field.name for field in fields(kind)}, path)
    try:
        return kind(**values)
    except TypeError:
        missing = {Fields: "width", Ground: "covariance or strokes", Brush: "width, length or flow"}[kind]
        raise StyleError(f"The underpainting in {path} lacks {missing}: add it.") from None


def _refuse_unknown(values: dict[str, Any], known: set[str], path: Path) -> None:
    unknown = sorted(set(values) - known)
    if unknown:
        raise StyleError(f"The style card {path} has unknown keys {', '.join(unknown)}: use {', '.join(sorted(known))}.")
