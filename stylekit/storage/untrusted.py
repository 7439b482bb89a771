"""Text from elsewhere: recipes, cards and the metadata of files, whose length, depth and kinds are checked before anyone uses them.

Every JSON, TOML and YAML text that stylekit did not just write itself is read here, and so are the names of files it holds. What a parser
cannot do with a text becomes one sentence, whatever the parser raises.
"""

from __future__ import annotations

import json
import re
import reprlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, NoReturn

import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from stylekit.errors import StyleError, first_line

DEPTH = 32  # of lists and tables in each other; stylekit's own have 5
VALUES = 100_000  # in one text; aliases in YAML count as often as they are used
DIGITS = 40  # of a whole number
NAME_BYTES = 255  # of a file's name, on every common file system
PATH_BYTES = 4096
SHOWN = 60  # characters of a value in a message
UNUSABLE = re.compile("[\0\ud800-\udfff]")  # halves of a surrogate pair cannot be written anywhere


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a text comes from, for messages: ``<what> <problem>: <remedy>.``; bytes: the most it may have. kind: the error to raise."""

    what: str
    remedy: str
    bytes: int = 2**20
    kind: type[StyleError] = StyleError

    def refuse(self, problem: str) -> NoReturn:
        raise self.kind(f"{self.what} {problem}: {self.remedy}.") from None


def read_text(path: Path, source: Source) -> str:
    """The UTF-8 text in a file, a byte order mark left out; its size is looked at first."""
    try:
        with path.open("rb") as file:
            content = file.read(source.bytes + 1)
    except FileNotFoundError:
        source.refuse("does not exist")
    except (OSError, ValueError) as error:
        source.refuse(f"cannot be read ({first_line(error)})")
    if not content:
        source.refuse("is empty (0 bytes)")
    if len(content) > source.bytes:
        source.refuse(f"is over {_readable(source.bytes)}")
    return decode(content, source)


def decode(content: bytes, source: Source) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        source.refuse("is not text in UTF-8")


def parse_json(text: str | bytes, source: Source) -> Any:
    return _parse(text, source, "JSON", lambda text: json.loads(text, parse_int=_whole))


def parse_toml(text: str | bytes, source: Source) -> dict[str, Any]:
    return _parse(text, source, "TOML", tomllib.loads)


def parse_yaml(text: str | bytes, source: Source) -> Any:
    return _parse(text, source, "YAML", yaml.safe_load)


def as_table(value: Any, source: Source) -> dict[str, Any]:
    """`value`, if it is a table whose keys are text."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        source.refuse(f"is {_kind(value)} where a table is wanted")
    return value


def check(value: Any, source: Source) -> None:
    """Raises the source's error if `value`, made of lists and tables, is too deep or too long, or holds text that nobody can use."""
    count = 0
    waiting: list[tuple[Any, int]] = [(value, 0)]
    while waiting:
        item, depth = waiting.pop()
        count += 1
        if count + len(waiting) > VALUES:
            source.refuse(f"holds more than {VALUES} values")
        if isinstance(item, (dict, list, tuple, set)):
            if depth >= DEPTH:
                source.refuse(f"is nested more than {DEPTH} deep")
            if isinstance(item, dict):
                waiting.extend((key, depth + 1) for key in item)
            waiting.extend((inner, depth + 1) for inner in (item.values() if isinstance(item, dict) else item))
        elif isinstance(item, str):
            unusable = UNUSABLE.search(item)
            if unusable:
                source.refuse(f"holds {'a NUL character' if unusable[0] == chr(0) else 'half a character'}")
        elif isinstance(item, int) and abs(item) >= 10**DIGITS:
            source.refuse(f"holds a number of more than {DIGITS} digits")


def name_problem(path: str | PurePath) -> str | None:
    """Why no file can have this path, for a message; None if one can."""
    text = str(path)
    if UNUSABLE.search(text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")):
        return "holds a NUL character"
    longest = max((len(part.encode("utf-8", "surrogatepass")) for part in PurePath(text).parts), default=0)
    if longest > NAME_BYTES:
        return f"has a name of {longest} bytes, where {NAME_BYTES} are the most"
    length = len(text.encode("utf-8", "surrogatepass"))
    return f"is {length} bytes long, where {PATH_BYTES} are the most" if length >= PATH_BYTES else None


def shown(value: object) -> str:
    """`value` for a message: its repr, cut where it is long."""
    if isinstance(value, str):
        return repr(cut(value))
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**DIGITS:
        return f"a number of more than {DIGITS} digits"
    text = reprlib.repr(value) if isinstance(value, (dict, list, tuple, set)) else repr(value)
    return cut(text)


def cut(text: str) -> str:
    """`text` for a message, without quotes, cut where it is long."""
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"


def _parse(text: str | bytes, source: Source, language: str, read: Callable[[str], Any]) -> Any:
    if len(text) > source.bytes:
        source.refuse(f"is over {_readable(source.bytes)}")
    if isinstance(text, bytes):
        text = decode(text, source)
    try:
        value = read(text)
    except RecursionError:
        source.refuse(f"is nested more than {DEPTH} deep")
    except _TooLongNumberError:
        source.refuse(f"holds a number of more than {DIGITS} digits")
    except Exception as error:  # YAML's and TOML's readers raise more kinds than their own on dates, numbers and keys
        source.refuse(f"cannot be read (no valid {language}: {_where(error)})")
    check(value, source)
    return value


class _TooLongNumberError(ValueError):
    """Python refuses those of more than 4300 digits, and floats those of more than 308, in words of its own."""


def _whole(digits: str) -> int:
    if len(digits) > DIGITS + 1:
        raise _TooLongNumberError
    return int(digits)


def _where(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)  # YAML's
    if mark is not None:
        return f"{getattr(error, 'problem', None) or 'an error'}, line {mark.line + 1}"
    return first_line(error)


def _kind(value: object) -> str:
    named = {dict: "a table with keys that are no text", list: "a list", str: "a text", bool: "a yes or no", type(None): "empty"}
    return named.get(type(value), "a number" if isinstance(value, (int, float)) else f"a {type(value).__name__}")


def _readable(size: int) -> str:
    return f"{size >> 20} MB" if size >= 2**20 else f"{size >> 10} KB"
