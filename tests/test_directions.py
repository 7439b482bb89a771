"""The house has directions: who may import whom, read from the sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("stylekit", "training", "eval")


def sources(part: str) -> Iterator[Path]:
    yield from sorted((ROOT / part).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Dotted names of everything `path` imports, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).with_suffix("").parts
            module = ".".join(package[: len(package) - node.level]) + "." if node.level else ""
            module += node.module or ""
            names.add(module)
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return names


def reaches(path: Path, target: str) -> bool:
    return any(name == target or name.startswith(target + ".") for name in imports(path))


@pytest.mark.parametrize(
    ("part", "forbidden"), [("stylekit", ("training", "eval", "app")), ("training", ("eval", "app")), ("eval", ("training", "app"))]
)
def test_no_import_against_the_direction(part: str, forbidden: tuple[str, ...]) -> None:
    assert list(sources(part))
    wrong = [(str(path), name) for path in sources(part) for name in forbidden if reaches(path, name)]
    assert wrong == []


def test_the_core_knows_no_shell_and_gradio_lives_in_the_ui() -> None:
    ui = ROOT / "stylekit" / "ui"
    core = [p for p in sources("stylekit") if not p.is_relative_to(ui)]
    for path in core + [p for part in ("training", "eval") for p in sources(part)]:
        assert not reaches(path, "gradio"), path
        assert not reaches(path, "stylekit.ui"), path
    for path in core:
        if path.name != "__main__.py":
            assert not reaches(path, "stylekit.__main__"), path
            assert not reaches(path, "argparse"), path
    assert any(reaches(p, "gradio") for p in sources("stylekit"))


def test_only_images_converts_pixel_ranges() -> None:
    for path in sources("stylekit"):
        if path.name not in ("images.py", "features.py"):
            assert "127.5" not in path.read_text(), path


def test_no_grab_bags() -> None:
    names = {p.stem for part in PARTS for p in sources(part)}
    assert not names & {"utils", "helpers", "misc", "common"}
