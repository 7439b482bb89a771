"""Configuration from a dataclass: its fields are the keys of a YAML file and the flags of a command line. Unknown keys are refused."""

from __future__ import annotations

import argparse
import dataclasses
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from stylekit.errors import SettingError

T = TypeVar("T")


def setting(default: Any, text: str, *, free: bool = False) -> Any:
    """A field with its help. free: it has no say in the weights that come out, so a resumed run may change it."""
    return dataclasses.field(default=default, metadata={"help": text, "free": free})


def identity(settings: Any) -> dict[str, str]:
    """Field -> value, as text, of every field that is not free: what makes two runs different."""
    return {f.name: str(getattr(settings, f.name)) for f in dataclasses.fields(settings) if not f.metadata.get("free")}


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
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument("--config", type=Path, metavar="YAML", help="settings by field name")
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        name = "--" + field.name.replace("_", "-")
        text = field.metadata.get("help", "")
        if field.default not in (dataclasses.MISSING, None):
            text += f" (default: {field.default})"
        text = text.replace("%", "%%")  # argparse fills % in
        if bool in (hints[field.name], *typing.get_args(hints[field.name])):
            parser.add_argument(name, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text)
        else:
            parser.add_argument(name, default=argparse.SUPPRESS, help=text, metavar=field.name.upper())
    flags = vars(parser.parse_args(argv))
    config = flags.pop("config", None)
    values: dict[str, Any] = (read_yaml(config) if config else {}) | flags
    return build(kind, {**fallback(values), **values})


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file."""
    try:
        values = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise SettingError(f"The configuration {path} does not exist: check the path.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingError(f"The configuration {path} cannot be read ({error}): mend it.") from None
    if not isinstance(values, dict):
        raise SettingError(f"The configuration {path} is not a list of settings: write `name: value` lines.")
    return values


def build(kind: type[T], values: dict[str, Any]) -> T:
    """A `kind` from plain values, converted to its fields' types."""
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise SettingError(f"Unknown settings {', '.join(unknown)}: use {', '.join(fields)}.")
    missing = [
        n for n, f in fields.items() if n not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise SettingError(f"The setting {missing[0]} is missing: give --{missing[0].replace('_', '-')} or put it into the configuration.")
    return kind(**{name: _convert(name, value, hints[name]) for name, value in values.items()})


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
