"""The app goes to a Space whole, and nothing else does."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stylekit.errors import StyleError
from tests.hub_server import TOKEN, Hub
from training import push_space

REPO = "me/stylekit"


@pytest.fixture
def clone(tmp_path: Path, root: Path) -> Path:
    """The app's files, and much beside them that is nobody's business."""
    folder = tmp_path / "clone"
    for name, content in push_space.space_files(root).items():
        assert isinstance(content, Path)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(content, folder / name)
    for name in (
        ".env",
        ".git/config",
        "runs/monet/step-000100.pt",
        "data/me.jpg",
        "stylekit/notes.txt",
        "styles/monet/pocket/training.json",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(TOKEN)
    (folder / "assets" / "secret.json").symlink_to(folder / ".env")
    return folder


def test_the_space_is_made_and_gets_what_the_app_needs(server: Hub, clone: Path) -> None:
    said = push_space.push_space(REPO, clone)
    assert "by commit" in said
    space = server.repos["spaces", REPO]
    assert space.sdk == "gradio"
    assert len(space.commits) == 2
    assert {
        "app.py",
        "requirements.txt",
        "README.md",
        "stylekit/hub.py",
        "stylekit/ui/gallery.py",
        "styles/monet/style.toml",
        "training/teach.py",
    } <= set(space.files)
    assert not any(TOKEN.encode() in content for content in space.files.values())
    assert "nothing was pushed" in push_space.push_space(REPO, clone)
    assert len(space.commits) == 2


def test_an_update_takes_old_code_away_and_nothing_of_others(server: Hub, clone: Path) -> None:
    push_space.push_space(REPO, clone)
    space = server.repos["spaces", REPO]
    space.commit("by hand", space.files | {"stylekit/old.py": b"", "styles/mine/style.toml": b"", ".gitignore": b""})
    push_space.push_space(REPO, clone)
    assert "stylekit/old.py" not in space.files
    assert {"styles/mine/style.toml", ".gitignore", ".gitattributes"} <= set(space.files)


@pytest.mark.slow
def test_what_was_pushed_starts(server: Hub, clone: Path, tmp_path: Path) -> None:
    """The page is built from the pushed files alone, so none that it needs is missing."""
    push_space.push_space(REPO, clone)
    for name, content in server.repos["spaces", REPO].files.items():
        (tmp_path / "space" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "space" / name).write_bytes(content)
    program = "import app; demo = app.build(app.Settings()); print(len(demo.blocks) > 50, flush=True); import os; os._exit(0)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path / "space", capture_output=True, text=True, timeout=120, env=_environment(tmp_path)
    )
    assert done.stdout.strip() == "True", done.stderr


def _environment(folder: Path) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "HOME": str(folder), "SPACE_ID": REPO, "OMP_NUM_THREADS": "1"}


def test_refusals(server: Hub, clone: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (clone / "stylekit" / "mix.py").write_text(f'TOKEN = "{TOKEN}"\n')
    with pytest.raises(StyleError, match=r"stylekit/mix.py holds an access token"):
        push_space.push_space(REPO, clone)
    (clone / "stylekit" / "mix.py").unlink()
    readme = (clone / "README.md").read_text()
    (clone / "README.md").write_text(readme.replace("sdk: gradio", "sdk: docker"))
    with pytest.raises(StyleError, match="not that of a Gradio Space"):
        push_space.push_space(REPO, clone)
    (clone / "README.md").unlink()
    with pytest.raises(StyleError, match=r"no README.md"):
        push_space.push_space(REPO, clone)
    assert server.repos == {}
    monkeypatch.setattr(push_space, "ROOT", clone)
    assert push_space.main([REPO]) == 2
    assert push_space.main(["nonsense"]) == 2
    assert "write OWNER/NAME" in capsys.readouterr().err


def test_the_head_of_the_readme_is_right(root: Path) -> None:
    import gradio

    head = push_space.read_head(root / "README.md")
    assert head["sdk"] == "gradio"
    assert str(head["sdk_version"]).split(".")[0] == gradio.__version__.split(".")[0]
    assert len(str(head["short_description"])) <= 60  # the Hub refuses more
    sizes = [content.stat().st_size if isinstance(content, Path) else len(content) for content in push_space.space_files(root).values()]
    assert len(sizes) > 100
    assert max(sizes) < 10 * 2**20
