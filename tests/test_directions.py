"""The house has directions: who may import whom, read from the sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from stylekit.storage.paths import ROOT

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
    assert "127.5" in (ROOT / "stylekit" / "images.py").read_text()
    for path in sources("stylekit"):
        if path.name not in ("images.py", "features.py"):
            assert "127.5" not in path.read_text(), path


def test_no_grab_bags() -> None:
    names = {p.stem for part in PARTS for p in sources(part)}
    assert not names & {"utils", "helpers", "misc", "common"}


ROOMS = ("loop", "pictures", "targets", "objective", "pocket", "style")  # of training, from bottom to top; the commands are above them
BESIDE = {("objective", "targets"), ("pocket", "targets"), ("pocket", "objective"), ("style", "pocket")}  # know nothing of one another


def modules() -> dict[str, Path]:
    """Dotted name -> file, of every module that is no package's own."""
    found = [path for part in PARTS for path in sources(part) if path.name != "__init__.py"]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in found}


def test_no_circle_of_imports() -> None:
    known = modules()
    edges = {name: {other for other in imports(path) & known.keys() if other != name} for name, path in known.items()}
    assert sum(map(len, edges.values())) > 200
    done: set[str] = set()

    def walk(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail[trail.index(name) :], name))
        if name not in done:
            for other in sorted(edges[name]):
                walk(other, (*trail, name))
            done.add(name)

    for name in edges:
        walk(name, ())


def test_trainings_rooms_are_one_way() -> None:
    seen = set()
    for name, path in modules().items():
        if not name.startswith("training."):
            continue
        room = name.split(".")[1] if name.count(".") > 1 else None
        for other in imports(path) & modules().keys():
            if not other.startswith("training."):
                continue
            theirs = other.split(".")[1] if other.count(".") > 1 else None
            if room is None or theirs == room:
                continue
            assert theirs is not None, f"{name} imports the command {other}"
            assert ROOMS.index(theirs) < ROOMS.index(room), f"{name} imports {other}"
            assert (room, theirs) not in BESIDE, f"{name} imports {other}"
            seen.add((room, theirs))
    assert ("style", "loop") in seen


@pytest.mark.parametrize("room", sorted({path.parent for part in (*PARTS, "tests", "benchmarks") for path in sources(part)}))
def test_no_folder_and_no_file_is_too_large(room: Path) -> None:
    files = sorted(path for path in room.iterdir() if path.suffix in (".py", ".js"))
    assert len(files) <= 20, f"{room.relative_to(ROOT)} holds {len(files)} files"
    long = {path.name: lines for path in files if (lines := len(path.read_text().splitlines())) > 500}
    assert long == {}
