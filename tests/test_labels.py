"""What the documents call a part of the page is on the page under this name, and what they say that the program says, it says.

In the tutorials names of tabs, buttons and fields are bold, and elsewhere slanted with a capital; sentences that the program says begin a
line of a list, slanted. Dots stand for what differs.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import app
from stylekit.storage.paths import ROOT

DOCS = ROOT / "docs"
TUTORIALS = sorted(path for path in (DOCS / "tutorials").glob("*.md") if path.name != "README.md")
GUIDES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
OTHERS = frozenset({"Not there"})  # slanted with a capital, and a heading of a report
BOLD = re.compile(r"\*\*([^*]+)\*\*")
SLANTED = re.compile(r"(?<![*\w])\*([A-Z][^*\n]{2,40})\*(?!\*)")
SAID = re.compile(r"^- \*([^*\n]+)\*(?=[:,;])", re.MULTILINE)
QUOTED = re.compile(r'"([A-Z][\w \'-]+)"')  # in scripts


def prose(path: Path) -> str:
    """The text without its fenced blocks."""
    return re.sub(r"^( *)```.*?^\1```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def on_the_page() -> Iterator[str]:
    """Labels of fields, words of buttons, heads of tabs and folds, and what stands in the page's own pieces of HTML."""
    config = app.build(app.Settings(styles=ROOT / "styles", teach=True, add_styles=True, choose_base=True)).get_config_file()
    for part in config["components"]:
        props: dict[str, Any] = part["props"]
        yield from (str(props[key]) for key in ("label", "value") if isinstance(props.get(key), str))
        if part["type"] == "html":
            yield from (
                text.strip() for key in ("value", "html_template") for text in re.findall(r">([^<>{}$]+)<", str(props.get(key) or ""))
            )
            yield from QUOTED.findall(str(props.get("js_on_load") or ""))
            yield from (choice["title"] for choice in (props.get("props") or {}).get("choices") or ())
    for event in config["dependencies"]:
        yield from QUOTED.findall(str(event.get("js") or ""))


def strings(folder: str) -> Iterator[str]:
    """Every string of the code there; dots for what is filled in."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        seen = set()  # parts of others, and docstrings
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Expr):
                seen.add(id(node.value))
            elif isinstance(node, ast.JoinedStr):
                seen |= {id(value) for value in node.values}
                yield "".join(str(value.value) if isinstance(value, ast.Constant) else "..." for value in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in seen:
                yield node.value


@cache
def names() -> frozenset[str]:
    buttons = (text.removesuffix("...") + "..." for text in strings("stylekit/ui") if re.fullmatch(r"[A-Z]\w+ \.\.\.", text))
    return frozenset(on_the_page()) | frozenset(buttons)


@cache
def sentences() -> str:
    return "\n".join(text for folder in ("stylekit", "training", "eval") for text in strings(folder))


def is_named(label: str) -> bool:
    """Whether something is called so, or so with a style's title in the place of the dots."""
    first = label.split()[0]
    filled = f"{first} ..." in names() and label.partition(" ")[2].removeprefix("in ") in names()
    return label in names() or filled or (label.startswith("Stylize in ") and label.removeprefix("Stylize in ") in names())


def is_said(sentence: str) -> bool:
    """Whether the program can say it: its words between the dots, one after another in one string."""
    pieces = [re.escape(piece.strip()) for piece in sentence.split("...") if piece.strip()]
    return re.search("[^\n]*".join(pieces), sentences()) is not None


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.name)
def test_what_a_tutorial_names_is_on_the_page(path: Path) -> None:
    assert [label for label in BOLD.findall(prose(path)) if not is_named(label)] == []


def test_the_tutorials_name_much() -> None:
    assert len({label for path in TUTORIALS for label in BOLD.findall(prose(path))}) > 25


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_what_a_guide_names_is_on_the_page(path: Path) -> None:
    assert [label for label in SLANTED.findall(prose(path)) if not is_named(label) and label not in OTHERS] == []


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.name)
def test_what_a_tutorial_says_is_said_is_said(path: Path) -> None:
    assert [said for said in SAID.findall(prose(path)) if not said.isdigit() and not is_said(said)] == []


@pytest.mark.parametrize("label", ["Use it now", "Stylise", "Add from Hub", "Basis", "Paint styles", "Stylize in Rubens"])
def test_a_wrong_name_is_found(label: str) -> None:
    assert not is_named(label)


@pytest.mark.parametrize("said", ["Out of memory", "No sky is there", "Only safetensors is read"])
def test_a_wrong_sentence_is_found(said: str) -> None:
    assert not is_said(said)
