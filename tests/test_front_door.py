"""The ways in: `import stylekit`, the console scripts, and what their help tells."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import stylekit
from stylekit.__main__ import build_parser, read_recipe
from stylekit.storage.paths import ROOT
from stylekit.styles import StyleLibrary
from training import __main__ as training_commands

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_importing_stylekit_loads_nothing_heavy() -> None:
    code = "import stylekit, sys; print(*sorted({'torch', 'diffusers', 'numpy', 'PIL', 'cv2'} & set(sys.modules)), stylekit.__version__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [stylekit.__version__]


def test_the_three_names_are_the_engines_own() -> None:
    from stylekit import Recipe, StyleMix, Stylizer
    from stylekit.mix import StyleMix as Mix
    from stylekit.recipe import Recipe as Settings
    from stylekit.stylizer import Stylizer as Engine

    assert (Recipe, StyleMix, Stylizer) == (Settings, Mix, Engine)
    assert {"Recipe", "StyleMix", "Stylizer"} <= set(dir(stylekit))
    assert set(stylekit.__all__) == {*stylekit.MODULES, "__version__"}


def test_other_names_are_no_attributes() -> None:
    with pytest.raises(AttributeError, match="Stiliser"):
        stylekit.Stiliser  # noqa: B018
    with pytest.raises(ImportError):
        exec("from stylekit import Stiliser")


def test_a_type_checker_sees_what_is_imported_late() -> None:
    tree = ast.parse((ROOT / "stylekit" / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == stylekit.MODULES


@pytest.mark.parametrize("name", PYPROJECT["project"]["scripts"])
def test_console_scripts_start_and_explain_themselves(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    main = EntryPoint(name=name, value=PYPROJECT["project"]["scripts"][name], group="console_scripts").load()
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    assert "usage: " in capsys.readouterr().out


def test_one_version_everywhere() -> None:
    newest = re.search(r"^## \[?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest
    assert stylekit.__version__ == PYPROJECT["project"]["version"] == newest[1]


def test_help_tells_the_whole_tool() -> None:
    text = build_parser().format_help()
    for style in StyleLibrary.open():
        assert f"  {style.name} " in text
        assert style.blurb in text
    for way in ("app.py", "python -m training", "python -m eval.run", "docs/README.md", "from stylekit import"):
        assert way in text


def test_the_examples_of_the_help_can_be_parsed() -> None:
    parser = build_parser()
    parser.prog = "python -m stylekit"
    examples = [line.strip() for line in parser.format_help().splitlines() if line.startswith(f"  {parser.prog} photo")]
    assert len(examples) >= 5
    for line in examples:
        args = parser.parse_args(shlex.split(line.removeprefix(parser.prog)))
        assert args.out, line
        for name in (args.style or "").split(",") + [region.split("=")[0] for region in args.region]:
            assert not name or StyleLibrary.open()[name.split(":")[0]]


def test_help_does_not_fail_without_styles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = StyleLibrary.open
    monkeypatch.setattr(StyleLibrary, "open", lambda: read(tmp_path / "none"))
    assert "does not exist" in build_parser().format_help()


def test_flags_of_the_hand_reach_the_recipe() -> None:
    def recipe(*flags: str) -> stylekit.Recipe:
        return read_recipe(build_parser().parse_args(["photo.jpg", "--style", "sketch", "--out", "out.png", *flags]), {}, [])

    assert (recipe().hand, recipe().detail) == (True, 1.0)
    assert recipe("--detail", "0.5").detail == 0.5
    assert recipe("--no-hand").hand is False


def test_every_command_of_training_is_listed_and_there(capsys: pytest.CaptureFixture[str]) -> None:
    scripts = {f"training.{path.stem}" for path in (ROOT / "training").glob("*.py") if "def main(argv" in path.read_text()}
    commands = training_commands.COMMANDS
    assert {module for module, _ in commands.values()} == scripts - {"training.__main__"}
    assert training_commands.main([]) == 2
    listed = capsys.readouterr().out
    for name, (module, what) in commands.items():
        assert re.search(rf"^  {name} +{re.escape(what)}$", listed, re.MULTILINE)
        assert callable(importlib.import_module(module).main)


def test_a_command_gets_its_own_flags_and_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert training_commands.main(["prepare", str(tmp_path / "none"), "--out", str(tmp_path / "out"), "--style", "mine"]) == 2
    assert "none" in capsys.readouterr().err
    with pytest.raises(SystemExit) as left:
        training_commands.main(["lora", "--help"])
    assert left.value.code == 0
    assert "--style-pictures" in capsys.readouterr().out


def test_an_unknown_command_is_told_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        training_commands.main(["paint"])
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert "'paint'" in error
    assert "dreambooth" in error


def test_the_page_comes_up_without_torch() -> None:
    """It is seconds of the start; the engine brings it along on a thread beside the page."""
    code = "import app, sys; print(*sorted({'torch', 'diffusers', 'transformers', 'peft', 'accelerate'} & set(sys.modules)), 'nothing')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["nothing"]
