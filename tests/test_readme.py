"""What the README promises is there."""

from __future__ import annotations

import re

import pytest
import yaml

from stylekit.storage.paths import ROOT

README = (ROOT / "README.md").read_text()


def command(mark: str) -> str:
    """The command of the fenced block after ``<!-- mark -->``."""
    found = re.search(rf"<!-- {mark} -->\n```bash\n(.+?)\n```", README, re.DOTALL)
    assert found, f"README.md has no block marked {mark}"
    return found[1]


def test_both_commands_are_one_line_and_set_everything_up() -> None:
    for mark, end in (("run", "app.py"), ("test", "-m pytest -n 2 --dist loadfile --reruns 2")):
        line = command(mark)
        assert "\n" not in line
        assert line.startswith("python3 -m venv .venv && .venv/bin/pip install")
        assert line.endswith(end)


def test_ci_runs_the_readmes_command() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert "<!-- test -->" in script
    code = [line for line in script.splitlines() if not line.lstrip().startswith("#")]
    assert not any("pytest" in line for line in code)  # read from the README, not written again


def test_local_links_and_pictures_exist() -> None:
    for text_file in (ROOT / "README.md", ROOT / "assets" / "pocket" / "README.md", ROOT / "styles" / "README.md"):
        targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", text_file.read_text())
        assert targets or text_file.parent.name == "styles", text_file
        for target in targets:
            assert (text_file.parent / target).exists(), f"{text_file.name}: {target}"


def test_the_head_is_a_spaces_card() -> None:
    head = yaml.safe_load(README.split("---")[1])
    assert head["sdk"] == "gradio"
    assert head["app_file"] == "app.py"
    assert re.fullmatch(r"\d+\.\d+\.\d+", head["sdk_version"])
    assert len(head["short_description"]) <= 60
    assert {head["colorFrom"], head["colorTo"]} <= {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}


def test_every_photo_has_its_licence() -> None:
    folder = ROOT / "assets" / "photos"
    table = (folder / "README.md").read_text()
    names = {p.name for p in folder.glob("*.jpg")}
    assert names == set(re.findall(r"^\| (\S+\.jpg) \|", table, re.MULTILINE))


def test_settings_of_the_app_are_documented() -> None:
    used = set(re.findall(r"STYLEKIT_[A-Z_]+", "".join((ROOT / f).read_text() for f in ("app.py", "stylekit/base.py"))))
    assert used
    assert used <= set(re.findall(r"STYLEKIT_[A-Z_]+", (ROOT / "docs" / "hub_and_spaces.md").read_text()))


@pytest.mark.parametrize("pattern", [r"@[A-Z]+@", r"/work/", r"/root/"])
def test_nothing_is_left_to_fill_in(pattern: str) -> None:
    written = [
        p
        for folder in ("assets", "styles", "training")
        for kind in ("*.md", "*.json", "*.toml", "*.yaml")
        for p in (ROOT / folder).rglob(kind)
    ]
    assert {path.suffix for path in written} == {".md", ".json", ".toml", ".yaml"}
    for path in [*ROOT.glob("*.md"), *written]:
        assert not re.search(pattern, path.read_text()), path
