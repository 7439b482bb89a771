"""The map is true: what the documents name exists, their links lead somewhere, and the tree leaves nothing out."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from stylekit.hand.hand import TOOLS, Hand
from stylekit.storage.paths import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ARCHITECTURE = ROOT / "docs" / "architecture.md"
PARTS = ("stylekit", "training", "eval")
FOLDERS = ("docs", "styles", "assets")
TEXTS = sorted([*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))])
LINK = re.compile(
    r"""\]\((?!https?:|mailto:)([^)\s]+)(?: "[^"]*")?\)|(?:src|href)="(?!https?:|mailto:|data:)([^"]+)\"|^\[[^\]]+\]: (?!https?:)(\S+)""",
    re.MULTILINE,
)


def names(path: Path) -> list[str]:
    """What the documents call ``path.py:name`` in a text."""
    return re.findall(r"`([\w./-]+\.py:[\w.]+)`", path.read_text())


@cache
def defined(path: Path) -> frozenset[str]:
    """Functions, classes and constants of a module, and ``Class.member``."""

    def of(body: list[ast.stmt], within: str = "") -> Iterator[str]:
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                yield within + node.name
            if isinstance(node, ast.ClassDef):
                yield from of(node.body, f"{node.name}.")
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                yield within + node.target.id
            elif isinstance(node, ast.Assign):
                yield from (within + target.id for target in node.targets if isinstance(target, ast.Name))

    return frozenset(of(ast.parse(path.read_text()).body))


@cache
def tree() -> dict[str, str]:
    """Path -> what it is, as the annotated tree has it. Folders end in a stroke."""
    found = re.search(r"<!-- tree -->\n```\n(.+?)\n```", ARCHITECTURE.read_text(), re.DOTALL)
    assert found, "docs/architecture.md has no tree"
    paths: dict[str, str] = {}
    folder = ""
    for line in found[1].splitlines():
        path, what = line.split(maxsplit=1)
        if not line.startswith(" "):
            folder = path if path.endswith("/") else ""
            paths[path] = what
        else:
            paths[folder + path] = what
    return paths


def test_every_file_and_function_that_is_named_exists() -> None:
    marks = [(text, mark) for text in TEXTS for mark in names(text)]
    assert len([mark for text, mark in marks if text == ARCHITECTURE]) > 50
    wrong = []
    for text, mark in marks:
        file, name = mark.split(":")
        if not (ROOT / file).is_file() or name not in defined(ROOT / file):
            wrong.append(f"{text.relative_to(ROOT)}: {mark}")
    assert wrong == []


def test_every_file_that_is_named_alone_exists() -> None:
    """Paths of code in backticks, as in ``stylekit/plan.py`` or ``stylekit/hand/``."""
    wrong = []
    for text in TEXTS:
        for path in re.findall(r"`((?:stylekit|training|eval|tests|benchmarks|docs|assets|styles)/[\w./-]*)`", text.read_text()):
            if "NAME" not in path and not (ROOT / path).exists():
                wrong.append(f"{text.relative_to(ROOT)}: {path}")
    assert wrong == []


def test_every_constant_that_is_named_exists() -> None:
    named = re.findall(r"`([A-Z]+)` of `([\w./]+\.py)`", ARCHITECTURE.read_text())
    assert named
    assert [(name, file) for name, file in named if name not in defined(ROOT / file)] == []


@cache
def anchors(place: Path) -> frozenset[str]:
    """Those of a Markdown file, as GitHub makes them of its headings; equal ones are numbered."""
    text = re.sub(r"^( *)```.*?^\1```", "", place.read_text(), flags=re.MULTILINE | re.DOTALL)
    names: list[str] = []
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        name = re.sub(r"[^\w -]", "", re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", heading).lower()).strip().replace(" ", "-")
        names.append(name if name not in names else f"{name}-{names.count(name)}")
    return frozenset(names)


def dead(text: Path, content: str) -> list[str]:
    """The relative links of a text that lead nowhere, pictures too."""
    found = []
    for target in ("".join(groups) for groups in LINK.findall(content)):
        path, _, heading = target.partition("#")
        place = text if not path else text.parent / path
        if not place.exists() or (heading and heading not in anchors(place)):
            found.append(target)
    return found


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_somewhere(text: Path) -> None:
    assert dead(text, text.read_text()) == []


@pytest.mark.parametrize(
    "link", ["[a](gone.md)", "[a](results.md#gone)", "![a](gone.png)", '<img src="gone.png">', "[a]: gone.md", '[a](gone.md "b")']
)
def test_a_dead_link_is_found(link: str) -> None:
    assert len(dead(ROOT / "docs" / "README.md", f"Some text.\n{link}\n[b](results.md#make-a-report) [c](https://example.org/x)")) == 1


def test_the_tree_names_what_there_is() -> None:
    there = {"app.py"}
    for part in PARTS:
        there.add(f"{part}/")
        there |= {f"{part}/{path.name}" for path in (ROOT / part).glob("*.py") if path.name != "__init__.py"}
        there |= {f"{path.parent.relative_to(ROOT)}/" for path in (ROOT / part).glob("*/**/__init__.py")}
    named = set(tree())
    assert there - named == set()
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_tree_says_what_everything_is() -> None:
    assert all(len(what.split()) >= 2 for what in tree().values())


def test_every_document_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    for path in (ROOT / "docs").rglob("*.md"):
        if path.name != "README.md":
            assert f"({path.relative_to(ROOT / 'docs')})" in index, path


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


def test_makefile_and_hooks_run_what_is_there() -> None:
    rules = dict(re.findall(r"^(\w+):.*\n((?:\t.+\n)*)", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"app", "test", "quick", "lint"} <= set(rules)
    assert all(rule.strip() for name, rule in rules.items() if name in ("app", "test", "quick", "lint"))


def test_the_readme_of_styles_names_every_tool_and_its_hand_can_be_read() -> None:
    text = (ROOT / "styles" / "README.md").read_text()
    assert re.findall(r"^\| \[(\w+)\]\(", text, re.MULTILINE) == list(TOOLS)
    card = next(block for block in re.findall(r"```toml\n(.+?)```", text, re.DOTALL) if "[hand]" in block)
    hand = Hand.from_card(tomllib.loads(card)["hand"])
    assert [(name, len(settings)) for name, settings in hand.tools] == [("strokes", 2), ("lines", 1)]


def test_every_style_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    assert [path.parent.name for path in (ROOT / "styles").glob("*/style.toml") if f"| **{path.parent.name}**" not in text] == []


def test_every_argument_of_the_endpoint_is_documented() -> None:
    tree = ast.parse((ROOT / "stylekit" / "ui" / "endpoint.py").read_text())
    stylize = next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "stylize")
    table = (ROOT / "docs" / "server.md").read_text().split("## Calling it")[1].split("## Limits")[0]
    rows = " ".join(re.findall(r"^\| (`.+?) \|", table, re.MULTILINE))
    assert set(re.findall(r"`(\w+)`", rows)) == {argument.arg for argument in stylize.args.args} - {"photo"}
