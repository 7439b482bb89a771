"""Configuration from a dataclass: its fields are the keys of a YAML file and the flags of a command line. Unknown keys are refused."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from stylekit.errors import SettingError
from stylekit.ranges import Range
from stylekit.storage.untrusted import Source, parse_yaml, read_text

T = TypeVar("T")
FROM_ONE, FROM_ZERO = Range(low=1), Range(low=0)
SHARE, UNDER_ONE, OVER_ZERO = Range(low=0, high=1), Range(low=0, high=1, below=True), Range(low=0, high=1, over=True)


def setting(
    default: Any,
    text: str,
    *,
    free: bool = False,
    length: bool = False,
    formerly: str | None = None,
    allowed: Range | None = None,
    choices: Sequence[str] | None = None,
) -> Any:
    """A field with its help.

    free: it has no say in the weights that come out, so a resumed run may change it. length: it says how long a run is and what comes at
    its end, so a run that is lengthened may change it. formerly: an older name, which is still read. allowed, choices: see
    `stylekit.ranges`.
    """
    limits = {"range": allowed} if allowed else {"choices": tuple(choices)} if choices else {}
    return dataclasses.field(default=default, metadata={"help": text, "free": free, "length": length, "formerly": formerly, **limits})


def identity(settings: Any) -> dict[str, str]:
    """Field -> value, as text, of every field that is not free: what makes two runs different.

    Renamed fields keep their older name here, so that runs begun under it go on.
    """
    wanted = (f for f in dataclasses.fields(settings) if not f.metadata.get("free"))
    return {f.metadata.get("formerly") or f.name: str(getattr(settings, f.name)) for f in wanted}


def lengths(settings: Any) -> frozenset[str]:
    """The names in `identity` of the fields that a longer run may change."""
    return frozenset(f.metadata.get("formerly") or f.name for f in dataclasses.fields(settings) if f.metadata.get("length"))


def parse(
    kind: type[T],
    argv: Sequence[str] | None,
    prog: str,
    description: str,
    fallback: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda given: {},
) -> T:
    """A `kind` from ``--config FILE.yaml`` and flags; a flag wins over the file, the file over `fallback`, that over the field's default.

    fallback: gives defaults that depend on what the file and the flags say.
    """
    hints = typing.get_type_hints(kind)
    parser = _Parser(prog=prog, description=description, allow_abbrev=False)
    parser.add_argument("--config", type=Path, metavar="YAML", help="settings by field name")
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        name = "--" + field.name.replace("_", "-")
        text = field.metadata.get("help", "")
        if field.default not in (dataclasses.MISSING, None):
            text += f" (default: {field.default})"
        text = text.replace("%", "%%")  # argparse fills % in
        if field.metadata.get("formerly"):
            older = "--" + field.metadata["formerly"].replace("_", "-")
            parser.add_argument(older, dest=field.name, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        if bool in (hints[field.name], *typing.get_args(hints[field.name])):
            parser.add_argument(name, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text)
        else:
            parser.add_argument(name, default=argparse.SUPPRESS, help=text, metavar=field.name.upper())
    known, rest = parser.parse_known_args(argv)
    flags = vars(known)
    config = flags.pop("config", None)
    values = current_names(kind, read_yaml(config) if config else {}) | flags | _unknown(rest)
    return build(kind, {**fallback(values), **values})


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in a sentence, without a page of usage."""

    def error(self, message: str) -> NoReturn:
        raise SettingError(f"{message[:1].upper()}{message[1:]}: --help tells what there is.")


def _unknown(words: Sequence[str]) -> dict[str, str]:
    """The names of flags that are none; SettingError for a word that belongs to no flag."""
    names: dict[str, str] = {}
    after = False
    for word in words:
        if word.startswith("--"):
            names[word.removeprefix("--").split("=")[0].replace("-", "_")] = ""
        elif not after:
            raise SettingError(f"What {word!r} is for cannot be told: write --NAME VALUE.")
        after = word.startswith("--") and "=" not in word
    return names


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file."""
    source = Source(what=f"The configuration {path}", remedy="mend it", kind=SettingError)
    values = parse_yaml(read_text(path, source), source)
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise SettingError(f"The configuration {path} is not a list of settings: write `name: value` lines.")
    return values


def current_names(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with the names that the fields of `kind` have now. SettingError where a setting is given under both names."""
    older = {f.metadata["formerly"]: f.name for f in dataclasses.fields(kind) if f.metadata.get("formerly")}
    twice = next((name for name in older if name in values and older[name] in values), None)
    if twice:
        raise SettingError(f"{twice} is the older name of {older[twice]}: give {older[twice]} alone.")
    return {older.get(name, name): value for name, value in values.items()}


def build(kind: type[T], values: Mapping[str, Any]) -> T:
    """A `kind` from plain values, converted to its fields' types."""
    values = current_names(kind, values)
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    wrong = [f"there is no setting {name}{meant(name, fields) or ': --help lists them'}" for name in sorted(set(values) - set(fields))]
    wrong += [
        f"the setting {n} is missing: give --{n.replace('_', '-')} or put it into the configuration"
        for n, f in fields.items()
        if n not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    converted = {}
    for name in (name for name in fields if name in values):
        try:
            converted[name] = _convert(name, values[name], hints[name])
        except SettingError as error:
            wrong.append(str(error).rstrip("."))
    if wrong:
        raise SettingError(_sentence("; ".join(wrong)))
    return kind(**{name: converted[name] for name in values})


def _sentence(text: str) -> str:
    """With a capital, unless it begins with the name of a setting, and an end."""
    begun = text[0].upper() + text[1:] if text.startswith("the") else text
    return begun if begun.endswith("?") else f"{begun}."


def meant(name: str, known: Iterable[str]) -> str:
    """ ", did you mean ...?" with what of `known` is nearly `name`; empty where nothing is."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f": did you mean {near[0]}?" if near else ""


def _convert(name: str, value: Any, hint: Any) -> Any:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        if value is None or value == "none":
            return None
        hint = next(h for h in typing.get_args(hint) if h is not type(None))
    try:
        if hint is bool:
            if not isinstance(value, bool):
                raise ValueError
            return value
        if hint is int and (isinstance(value, bool) or float(value) != int(float(value))):
            raise ValueError
        if typing.get_origin(hint) is tuple:
            item = typing.get_args(hint)[0]
            parts = value.split(",") if isinstance(value, str) else value
            return tuple(item(part) for part in parts)
        return hint(value)
    except (TypeError, ValueError, OverflowError):
        raise SettingError(f"{name} is {value!r}: give a value of type {getattr(hint, '__name__', hint)}.") from None
