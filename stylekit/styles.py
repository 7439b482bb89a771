"""Style cards: `styles/<name>/style.toml`, and the library of them.

A card names the style and its adapters, one per base and kind; weights and preview pictures lie beside it. A style of the Hub has the same
card in its repository (see `stylekit.hub`), and is called as its repository with ``--`` for the stroke, so that a recipe tells its origin.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import regex

from stylekit.base_card import POCKET
from stylekit.conditioning.words import GUIDANCE, Words
from stylekit.errors import SettingError, StyleError, UnknownStyleError, first_line
from stylekit.hand.hand import PHOTO, Hand
from stylekit.storage import digests
from stylekit.storage.paths import STYLES_FOLDER
from stylekit.storage.untrusted import Source, cut, name_problem, parse_toml, read_text, shown
from stylekit.underpainting.settings import Brush, Ground, Kuwahara, Underpainting

log = logging.getLogger(__name__)

CARD_FILE = "style.toml"
CARD_BYTES = 2**18
DIAL_FILE = "dial.jpg"  # beside the card: the preview at rising strength
LAST = 1000
LORA, DREAMBOOTH, PICTURES, PROMPT = KINDS = ("lora", "dreambooth", "pictures", "prompt")  # the first that is there counts
WEIGHTS = (LORA, DREAMBOOTH)  # kinds that are weights in a file
TOLD = (PICTURES, PROMPT)  # kinds that tell a base with a text encoder what to do, and change none of its weights
STYLE_KEYS = {"title", "blurb", "period", "license", "preview", "before", "order", "adapters", "hand", "drawn"}
ADAPTER_TEXTS = {"base", "kind", "file", "made", "data", "license", "trigger", "words", "negative"}
ADAPTER_NUMBERS = {"scale", "guidance", "num_inference_steps", "timestep", "strength", "phases", "metrics", "likeness"}
ADAPTER_KEYS = ADAPTER_TEXTS | ADAPTER_NUMBERS | {"underpainting", "hand", "pictures"}
SCALE_LIMIT = 10.0
STEPS_LIMIT = 100
NAME = regex.compile(r"[\p{Ll}\p{Lm}\p{Lo}\p{N}][\p{Ll}\p{Lm}\p{Lo}\p{N}\p{M}_-]{0,63}")  # letters of any script, but no capitals
NAME_BYTES = 200  # as a file's name, which may get an ending
TITLE_LENGTH = 200  # characters
MOST_ADAPTERS = 64  # of one card
MOST_PICTURES = 4  # of one adapter; each costs a part of a pass at every step
COMMIT = re.compile(r"@[0-9a-f]{40}$")
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}--[\w.-]{1,96}(@[\w.-]{1,64})?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """Card of one adapter: the base and kind it is for, its file, how it was made and from what.

    path: of kinds prompt and pictures, which have no weights, the card itself. pictures: of kind pictures, those that the base looks at
    while it paints; likeness: how far they act, over 0, up to 1. scale: factor on the weight, so that 1 is the style at its best on every
    base. num_inference_steps, timestep, phases: denoising steps, timestep of the full strength, and placements on the grid of latents (see
    BaseCard) that suit it; None for the base's own. strength: the noise, as parts of the whole, that the strength dial goes through, in the
    place of timestep. underpainting: strokes, flat fields or ground it works on, None if it takes the photo as it is. words: what a base
    with a text encoder is told where the recipe has no prompt. trigger: of them, those that the adapter was trained with. hand: whether the
    style's hand, if it has one, draws what this adapter paints. metrics: what was measured, by name.
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
    strength: tuple[float, float] | None = None
    underpainting: Underpainting | None = None
    words: Words | None = None
    trigger: str = ""
    hand: bool = True
    pictures: tuple[Path, ...] = ()
    likeness: float = 1.0
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
            raise StyleError(f"The adapter {self.path.name} has kind {shown(self.kind)}: use one of {', '.join(KINDS)}.")
        if self.strength is not None and not (0 <= self.strength[0] < self.strength[1] <= 1):
            raise StyleError(
                f"The adapter {self.path.name} has the strength {list(self.strength)}: give two numbers that rise, from 0 to 1."
            )
        if self.words is None and self.trigger.strip():
            object.__setattr__(self, "words", Words(positive=self.trigger.strip()))
        if self.kind == PROMPT and self.words is None:
            raise StyleError(f"An adapter in {self.path.name} has kind {PROMPT} and no words: write them.")
        if self.kind in TOLD and self.base == POCKET:
            raise StyleError(f"An adapter in {self.path.name} has {self.kind} for the base {POCKET}, which reads none: name another base.")
        if (self.kind == PICTURES) != bool(self.pictures) or len(self.pictures) > MOST_PICTURES:
            raise StyleError(
                f"An adapter in {self.path.name} of kind {self.kind} has {len(self.pictures)} pictures: kind {PICTURES} has 1 to "
                f"{MOST_PICTURES}, others have none."
            )
        if not 0 < self.likeness <= 1:
            raise StyleError(f"An adapter in {self.path.name} has the likeness {self.likeness:g}: choose one over 0, up to 1.")


@dataclass(frozen=True, kw_only=True)
class Style:
    """Card of a style.

    preview is the style on a photo; before is that photo; dial is the photo at rising strength. order: place in the library, those without
    one last. source: where the style was added from, ``OWNER/NAME@commit`` or a path; empty for one of the library's own folder. hand: what
    draws it, if anything does; a style that is drawn from the photo needs no adapter, and works on every base. drawn: how it is drawn, in
    words.
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
    hand: Hand | None = None
    drawn: str = ""

    def __post_init__(self) -> None:
        if not (is_name(self.name) or (self.source and HUB_NAME.fullmatch(self.name))):
            raise StyleError(f"{shown(self.name)} is not a style name: use lower-case letters, digits, - and _, at most 64.")
        if len(self.title) > TITLE_LENGTH:
            raise StyleError(f"The style {self.name} has a title of {len(self.title)} characters: {TITLE_LENGTH} are the most.")

    def painted_on(self, base: str) -> bool:
        """Whether the model of `base` paints a picture in this style before it is drawn, if it is. UnknownStyleError if nothing makes one.

        A style with a hand is drawn from the photo where its card says so and has no words for the base, or where it has no adapter for it.
        """
        if self.hand is None:
            self.adapter(base)
            return True
        return self.has_adapter(base) and (self.hand.colours != PHOTO or self.adapter(base).kind in TOLD)

    def drawn_by(self, base: str) -> Hand | None:
        """The hand that draws this style on `base`; None where the model has the last word."""
        if self.hand is None or (self.painted_on(base) and not self.adapter(base).hand):
            return None
        return self.hand

    def has_adapter(self, base: str) -> bool:
        try:
            self.adapter(base)
        except UnknownStyleError:
            return False
        return True

    def adapter(self, base: str, kind: str | None = None) -> Adapter:
        """The adapter for `base`; UnknownStyleError if there is none. kind: by default weights, of these a LoRA, or else what there is.

        Bases in Stable Diffusion 1.x layout share their LoRAs and words: without one of its own, such a base takes another's.
        """
        shared = (LORA, *TOLD) if base != POCKET else ()
        usable = [
            adapter
            for adapter in self.adapters
            if adapter.kind == (kind or adapter.kind) and (adapter.base == base or (adapter.kind in shared and adapter.base != POCKET))
        ]
        if not usable:
            what = f"{kind} adapter" if kind else "adapter"
            raise UnknownStyleError(f"The style {self.name} has no {what} for the base {base}: {self.missing(base)}.")
        return min(usable, key=lambda adapter: (adapter.kind in TOLD, adapter.base != base, KINDS.index(adapter.kind)))

    def usable_on(self, base: str) -> bool:
        """Whether a picture can be made in this style on `base`: a hand draws it, or it has an adapter for the base."""
        return self.hand is not None or self.has_adapter(base)

    def missing(self, base: str) -> str:
        """What would make it work on `base`, in words that end a sentence."""
        others = ", ".join(dict.fromkeys(adapter.base for adapter in self.adapters if adapter.base != base))
        words = "" if base == POCKET else f', give its card words (kind = "{PROMPT}")'
        return f"train one for it{words}, add such a style from the Hub, or use the base {others}" if others else f"train one for it{words}"


@dataclass(frozen=True, kw_only=True)
class StyleLibrary:
    """All styles of a folder, by name. left_out: folder -> what is wrong with the card in it, which is no style of the library."""

    styles: tuple[Style, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: str | Path = STYLES_FOLDER) -> StyleLibrary:
        """The styles of `folder`. One whose card is bad is left out, with a warning in the log, so that the others can be used."""
        folder = Path(folder)
        if name_problem(folder) or not folder.is_dir():
            raise StyleError(f"The styles folder {cut(str(folder))} does not exist: check the setting.")
        styles: dict[str, Style] = {}
        left_out: dict[str, str] = {}
        for path in sorted(folder.glob(f"*/{CARD_FILE}")):
            try:
                style = read_style(path)
                if style.name in styles:  # the same letters, put together in two ways
                    raise StyleError(f"There are two folders {style.name}: give one of them another name.")
                styles[style.name] = style
            except StyleError as error:
                left_out[path.parent.name] = str(error)
                log.warning("The style %s is left out. %s", path.parent.name, error)
        return cls(styles=tuple(sorted(styles.values(), key=lambda style: (style.order, style.name))), left_out=left_out)

    def __getitem__(self, name: str) -> Style:
        for style in self.styles:
            if style.name == name:
                return style
        if name in self.left_out:
            raise UnknownStyleError(f"The style {name} is left out. {self.left_out[name]}")
        known = ", ".join(style.name for style in self.styles) or "none yet"
        raise UnknownStyleError(f"There is no style {shown(name)}: choose from {known}.")

    def plus(self, style: Style) -> StyleLibrary:
        """This library and `style`, which takes the place of what was added under its name from the same repository or path before.

        StyleError if its name is that of a built-in style, or of one from elsewhere.
        """
        there = next((known for known in self.styles if known.name == style.name), None)
        if there is not None and (not there.source or COMMIT.sub("", there.source) != COMMIT.sub("", style.source)):
            whose = f", from {there.source}" if there.source else ""
            way_out = f"choose that one, or give the file or folder {style.source} another name."
            raise StyleError(f"There is a style {style.name} already{whose}: {way_out}")
        kept = (known for known in self.styles if known.name != style.name)
        return StyleLibrary(styles=(*kept, style), left_out=self.left_out)

    def minus(self, name: str) -> StyleLibrary:
        """This library without the style `name`."""
        return StyleLibrary(styles=tuple(style for style in self.styles if style.name != name), left_out=self.left_out)

    def __iter__(self) -> Iterator[Style]:
        return iter(self.styles)

    def __len__(self) -> int:
        return len(self.styles)


def read_style(path: Path, *, name: str | None = None, source: str = "", root: Path | None = None) -> Style:
    """The card at `path`. Unknown keys are refused, and so are files outside the card's own folder.

    name: of the style, by default its folder's. root: the folder that links among its files may lead to, by default the card's own (a
    repository in the Hub's cache is made of links).
    """
    what = _label(path, source)
    text = Source(what=f"The style card {what}", remedy="mend it", bytes=CARD_BYTES)
    values = parse_toml(read_text(path, text), text)
    folder = path.parent
    _refuse_unknown(values, STYLE_KEYS, what)
    _refuse_other_than_text(values, STYLE_KEYS - {"order", "adapters", "hand"}, what)
    entries = values.get("adapters", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise StyleError(f"The style card {what} has adapters that are no tables: write [[adapters]] above each.")
    if len(entries) > MOST_ADAPTERS:
        raise StyleError(f"The style card {what} names {len(entries)} adapters: {MOST_ADAPTERS} are the most.")
    order = _whole(values.get("order"), "order", what)
    adapters = []
    try:
        for entry in entries:
            _refuse_unknown(entry, ADAPTER_KEYS, what)
            _refuse_other_than_text(entry, ADAPTER_TEXTS, what)
            kind = entry.get("kind", LORA)
            if kind in TOLD and "file" in entry:
                raise StyleError(
                    f"The style card {what} has an adapter of kind {kind} with a file: words and pictures need none, so leave it out."
                )
            adapters.append(
                Adapter(
                    base=entry["base"],
                    kind=kind,
                    path=path if kind in TOLD else inside(folder, entry["file"], what, root),
                    made=entry["made"],
                    data=entry["data"],
                    license=entry.get("license", values["license"]),
                    scale=_number(entry.get("scale", 1.0), "scale", what),
                    num_inference_steps=_whole(entry.get("num_inference_steps"), "num_inference_steps", what),
                    timestep=_whole(entry.get("timestep"), "timestep", what),
                    phases=_whole(entry.get("phases"), "phases", what),
                    underpainting=_underpainting(entry["underpainting"], what) if "underpainting" in entry else None,
                    strength=_pair(entry.get("strength"), "strength", what),
                    words=_words(entry, what),
                    trigger=entry.get("trigger", ""),
                    hand=_flag(entry.get("hand", entry["base"] == POCKET or kind in TOLD), "hand", what),
                    pictures=tuple(inside(folder, name, what, root) for name in _names(entry.get("pictures", []), what)),
                    likeness=_number(entry.get("likeness", 1.0), "likeness", what),
                    metrics={key: _number(value, key, what) for key, value in _table(entry.get("metrics", {}), what).items()},
                )
            )
        return Style(
            name=name or unicodedata.normalize("NFC", folder.name),
            title=values["title"],
            blurb=values["blurb"],
            period=values.get("period", ""),
            license=values["license"],
            adapters=tuple(adapters),
            preview=inside(folder, values["preview"], what, root) if "preview" in values else None,
            before=inside(folder, values["before"], what, root) if "before" in values else None,
            dial=inside(folder, DIAL_FILE, what, root) if (folder / DIAL_FILE).is_file() else None,
            order=LAST if order is None else order,
            source=source,
            hand=_hand(values["hand"], what) if "hand" in values else None,
            drawn=values.get("drawn", ""),
        )
    except KeyError as error:
        raise StyleError(f"The style card {what} lacks {error}: add it.") from None
    except (OSError, ValueError) as error:  # of the file system, about the names in it
        raise StyleError(f"The style card {what} cannot be used ({first_line(error)}): mend it.") from None


def is_name(name: str) -> bool:
    """Whether a style of a folder can be called `name`: lower-case letters, digits and marks of any script, ``-`` and ``_``."""
    whole = name == unicodedata.normalize("NFC", name)  # else the same letters could make two names
    return whole and len(name.encode()) <= NAME_BYTES and NAME.fullmatch(name) is not None


def style_name(text: str) -> str:
    """A style name made of the name of a file or folder, in any script.

    What is left out is filled with dashes. Where nothing is left, or it is too long, a digest of the text tells it from others.
    """
    kept = regex.sub(r"[^\p{L}\p{N}\p{M}_-]+", "-", unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower()))
    name = regex.sub(r"^[^\p{L}\p{N}]+|[-_]+$", "", kept)
    if is_name(name):
        return name
    digest = digests.of_bytes(text.encode("utf-8", "surrogatepass"), 8)
    while name and not is_name(f"{name}-{digest}"):
        name = name[:-1].rstrip("-_")
    return f"{name or 'style'}-{digest}"


def _label(path: Path, source: str) -> str:
    """What messages call the card at `path`: they may be read by people who are not to know this machine's folders."""
    return f"{source}/{CARD_FILE}" if source else f"{path.parent.name}/{path.name}"


def card_text(style: Style, files: Mapping[Path, str]) -> str:
    """The card of `style` as TOML. files: what each file of it is called beside the new card; others are left out."""

    def name(path: Path | None) -> str | None:
        return files.get(path) if path else None

    head = {"title": style.title, "blurb": style.blurb, "period": style.period or None, "license": style.license}
    head |= {"preview": name(style.preview), "before": name(style.before), "drawn": style.drawn or None}
    tables = [toml_lines(head)]
    if style.hand is not None:
        tables.append("[hand]\n" + toml_lines(style.hand.to_card()))
    for adapter in style.adapters:
        if all(path in files for path in (adapter.pictures if adapter.kind in TOLD else (adapter.path,))):
            entry = {key: value for key, value in asdict(adapter).items() if key not in ("path", "words") and value not in ("", {}, ())}
            entry |= {"pictures": [files[picture] for picture in adapter.pictures]} if adapter.pictures else {}
            file = {} if adapter.kind in TOLD else {"file": files[adapter.path]}
            said = adapter.words.to_card(adapter.trigger) if adapter.words else {}
            tables.append("[[adapters]]\n" + toml_lines({"base": adapter.base, "kind": adapter.kind} | file | said | entry))
    return "\n".join(tables)


def inside(folder: Path, name: str, card: str, root: Path | None = None) -> Path:
    """``folder/name``, which must lie in `folder` by its name, and in `root` (by default `folder`) once links are followed.

    card: what names it, for messages.
    """
    problem = name_problem(name)
    if problem:
        raise StyleError(f"The style card {card} names {shown(name)}, which {problem}: give the file another name.")
    folder = folder.resolve()
    path = Path(os.path.normpath(folder / name))
    if not path.is_relative_to(folder) or not path.resolve().is_relative_to((root or folder).resolve()):
        raise StyleError(f"The style card {card} names {cut(name)}, outside its folder: keep its files beside it.")
    return path


def toml_lines(values: Mapping[str, Any]) -> str:
    """`values` as lines of TOML, those that are None left out."""
    return "".join(f"{key} = {_toml(value)}\n" for key, value in values.items() if value is not None)


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml(key)} = {_toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(inner) for inner in value) + "]"
    # JSON's strings and numbers are TOML's, but for one character
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _refuse_other_than_text(values: Mapping[str, Any], keys: set[str], card: str) -> None:
    for key in sorted(keys & values.keys()):
        if not isinstance(values[key], str):
            raise StyleError(f"The style card {card} has a {key} that is no text: put it in quotation marks.")


def _whole(value: Any, key: str, card: str) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise StyleError(f"The style card {card} has the {key} {shown(value)}: give a whole number.")
    return value


def _number(value: Any, key: str, card: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise StyleError(f"The style card {card} has the {key} {shown(value)}: give a number.")
    return float(value)


def _pair(value: Any, key: str, card: str) -> tuple[float, float] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:
        raise StyleError(f"The style card {card} has the {key} {shown(value)}: give two numbers, [from, to].")
    return _number(value[0], key, card), _number(value[1], key, card)


def _words(entry: dict[str, Any], card: str) -> Words | None:
    """The trigger and the words of an adapter, with what belongs to them; None where it has neither."""
    said = ", ".join(text for text in (entry.get("trigger", "").strip(), entry.get("words", "").strip()) if text)
    guidance = _number(entry.get("guidance", GUIDANCE), "guidance", card)
    if not said and ("negative" in entry or "guidance" in entry):
        raise StyleError(f"The style card {card} has negative words or guidance where there are no words: add them.")
    try:
        return Words(positive=said, negative=entry.get("negative", ""), guidance=guidance) if said else None
    except StyleError as error:
        raise StyleError(f"The style card {card} has words that cannot be used. {error}") from None


def _names(value: Any, card: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise StyleError(f'The style card {card} has pictures that are no list of files: write ["a.jpg"].')
    return value


def _flag(value: Any, key: str, card: str) -> bool:
    if not isinstance(value, bool):
        raise StyleError(f"The style card {card} has the {key} {shown(value)}: write true or false.")
    return value


def _hand(value: Any, card: str) -> Hand:
    try:
        return Hand.from_card(value)
    except SettingError as error:
        raise StyleError(f"The style card {card} has a hand that cannot draw. {error}") from None


def _table(value: Any, card: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise StyleError(f"The style card {card} has metrics that are no table: write {{ name = number }}.")
    return value


def _underpainting(values: Any, card: str) -> Underpainting:
    if not isinstance(values, dict):
        raise StyleError(f"The style card {card} has an underpainting that is no table: write {{ width = 6, length = 20, flow = 8 }}.")
    kind: Any = Kuwahara if "passes" in values else Ground if "mean" in values else Brush
    _refuse_unknown(values, {field.name for field in fields(kind)}, card)
    try:
        return kind(**values)
    except TypeError:
        missing = {Kuwahara: "width", Ground: "covariance or strokes", Brush: "width, length or flow"}[kind]
        raise StyleError(f"The underpainting in {card} lacks {missing}: add it.") from None


def _refuse_unknown(values: dict[str, Any], known: set[str], card: str) -> None:
    unknown = sorted(set(values) - known)
    if unknown:
        raise StyleError(f"The style card {card} has unknown keys {', '.join(map(cut, unknown[:5]))}: use {', '.join(sorted(known))}.")
