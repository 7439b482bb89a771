"""What the documents tell a reader to type can be typed: every command line is parsed by the program that it starts, and no further."""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import importlib.util
import io
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from stylekit.hand.hand import TOOLS, Hand
from stylekit.storage.paths import ROOT
from training.loop import config

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TEXTS = sorted(path for path in ROOT.rglob("*.md") if not {".venv", "runs", "node_modules", ".git"} & set(path.relative_to(ROOT).parts))
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
PYTHON = re.compile(r"(\.venv/bin/)?python3?")
FREE = frozenset({"mkdir", "cp", "cd", "git", "for", "do", "done"})  # of every machine
ELLIPSIS = "..."  # where a line leaves out what another one has in full
ENVIRONMENT = re.compile(r"[A-Z][A-Z0-9_]*=.*")


class Parsed(Exception):
    """The command line was read; nothing is to be done with it."""


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of `language`, those in lists too."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", text, re.MULTILINE | re.DOTALL)
    return ["\n".join(line.removeprefix(indent) for line in block.splitlines()) for indent, block in found]


def command_lines(text: str) -> Iterator[list[str]]:
    """The words of every command in the bash blocks, without comments; && parts commands, a backslash joins lines."""
    for block in blocks(text, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars="&;|")
            lexer.whitespace_split = True
            command: list[str] = []
            for word in [*lexer, "&&"]:
                if word in ("&&", ";", "|"):
                    if command:
                        yield command
                    command = []
                else:
                    command.append(word)


LINES = [
    pytest.param(words, id=f"{path.relative_to(ROOT)}: {shlex.join(words)[:70]}")
    for path in TEXTS
    for words in command_lines(path.read_text())
]


def parse(main: Callable[[Sequence[str]], object], arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `main` read `arguments` and stop there. Fails with what argparse says of them."""
    read = argparse.ArgumentParser.parse_known_args  # which parse_args goes through too

    def stop(self: argparse.ArgumentParser, *args: object, **more: object) -> tuple[argparse.Namespace, list[str]]:
        _, rest = read(self, *args, **more)  # type: ignore[call-overload]
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", stop)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            main(arguments)
    except Parsed:
        return
    except SystemExit:
        pass
    pytest.fail(said.getvalue() or "the program does not read its arguments by argparse")


def run_module(name: str, arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    if name in ("pytest", "pip", "venv", "http.server", "ipykernel", "jupytext"):
        assert importlib.util.find_spec(name)
        return
    module = name if importlib.util.find_spec(f"{name}.__main__" if (ROOT / name).is_dir() else name) else ""
    assert module, f"there is no module {name}"
    if (ROOT / name).is_dir():
        module = f"{name}.__main__"
    main = importlib.import_module(module).main
    if module == "training.__main__":
        assert not arguments or arguments[0] in importlib.import_module(module).COMMANDS
        return
    if ELLIPSIS in arguments:
        with contextlib.redirect_stdout(io.StringIO()) as told, pytest.raises(SystemExit):
            main([*(word for word in arguments[:1] if word.isalpha()), "--help"])
        assert {word for word in arguments if word.startswith("--")} <= set(re.findall(r"--[\w-]+", told.getvalue()))
        return
    if "--config" in arguments:
        settings = arguments[list(arguments).index("--config") + 1]
        assert (ROOT / settings).is_file(), settings
        config.read_yaml(ROOT / settings)
    parse(main, arguments, monkeypatch)


def check(words: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    words = words[1:] if words[0] == "export" else words
    while words and ENVIRONMENT.fullmatch(words[0]):
        name = words[0].partition("=")[0]
        documented = (ROOT / "docs" / "hub_and_spaces.md").read_text() + (ROOT / "CONTRIBUTING.md").read_text()
        assert name in documented or name.startswith(("STYLEKIT_TEST_", "PYTHON", "OMP_")), f"{name} is documented nowhere"
        words = words[1:]
    if not words:  # it sets variables alone
        return
    program, *rest = words
    name = program.removeprefix(".venv/bin/")
    if PYTHON.fullmatch(program):
        while rest and rest[0] in ("-u", "-W", "-X"):
            rest = rest[1 if rest[0] == "-u" else 2 :]
        if rest[0] == "-m":
            run_module(rest[1], rest[2:], monkeypatch)
        elif rest[0] == "-c":
            ast.parse(rest[1])
        elif (ROOT / rest[0]).is_file():
            if rest[0].startswith("benchmarks/") and "__main__" in (ROOT / rest[0]).read_text():
                run_module(rest[0].removesuffix(".py").replace("/", "."), rest[1:], monkeypatch)
        else:  # one that the same text has the reader save
            assert any(f"`{rest[0]}`" in path.read_text() for path in TEXTS), rest[0]
    elif name == "pip":
        extras = {extra for word in rest for extra in re.findall(r"^\.\[([\w,]+)\]$", word)}
        known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        assert {one for extra in extras for one in extra.split(",")} <= set(known)
    elif name in ("accelerate", "torchrun"):
        run_module(rest[rest.index("-m") + 1], rest[rest.index("-m") + 2 :], monkeypatch)
    elif name == "make":
        rules = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert rest[0] in rules
    elif name == "hf":
        assert rest[:2] == ["auth", "login"]
        assert importlib.util.find_spec("huggingface_hub.cli.auth")
    elif name in ("stylekit", "stylekit-train"):
        assert name in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
        run_module({"stylekit": "stylekit", "stylekit-train": "training"}[name], rest, monkeypatch)
    elif name in ("jupyter", "pre-commit") or program in FREE:
        pass
    else:
        pytest.fail(f"nobody knows the program {program}: teach this test how to check it, or mend the document")


@pytest.mark.parametrize("words", LINES)
def test_a_command_line_can_be_typed(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    check(words, monkeypatch)


def test_the_documents_have_many() -> None:
    assert len(LINES) > 80


@pytest.mark.parametrize(
    "line",
    [
        ".venv/bin/python -m stylekit photo.jpg --styl monet --otu out.png",
        ".venv/bin/python -m training.no_such_module",
        ".venv/bin/python -m training.train_lora --no-such-flag 3",
        ".venv/bin/python -m eval.run --photos a --backbone best --out b",
        ".venv/bin/python -m training.train_lora --config training/configs/gone.yaml",
        '.venv/bin/pip install -e ".[nothing]"',
        "STYLEKIT_NO_SUCH=1 .venv/bin/python app.py",
        "export STYLEKIT_NO_SUCH=1",
        ".venv/bin/python gone.py",
        "make gone",
        "rm -rf runs",
    ],
)
def test_a_wrong_one_is_told(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (words,) = command_lines(f"```bash\n{line}\n```")
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check(words, monkeypatch)


def test_python_in_the_documents_names_what_there_is() -> None:
    """Blocks of Python compile, and what they import from the project is there."""
    found = 0
    for path in TEXTS:
        for block in blocks(path.read_text(), "python"):
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("stylekit", "training", "eval"):
                    module = importlib.import_module(str(node.module))
                    for alias in node.names:
                        assert hasattr(module, alias.name) or importlib.util.find_spec(f"{node.module}.{alias.name}"), (
                            path.name,
                            alias.name,
                        )
                        found += 1
    assert found > 10


def test_the_tutorials_card_is_a_style(tmp_path: Path) -> None:
    """As its parts are put together there, at every stage."""
    from stylekit.styles import read_style

    text = (ROOT / "docs" / "tutorials" / "write_a_style_card.md").read_text()
    parts = {mark: re.search(rf"<!-- {mark} -->\n```toml\n(.+?)```", text, re.DOTALL) for mark in ("card", "more", "pictures")}
    card, more, pictures = (found[1] for found in parts.values() if found)
    folder = tmp_path / "blueprint"
    folder.mkdir()
    for written, tools in ((card, 2), (card + more, 3), (pictures + card + more, 3)):
        (folder / "style.toml").write_text(written)
        hand = read_style(folder / "style.toml").hand
        assert isinstance(hand, Hand)
        assert len(hand.tools) == tools
        assert {name for name, _ in hand.tools} <= set(TOOLS)
