"""A run has the places it writes to to itself, sees at once what cannot be written, and a killed one is in no one's way."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stylekit.base import Base
from stylekit.errors import SettingError
from stylekit.storage.paths import ROOT
from training import prepare, teach, train_dreambooth, train_general, train_lora, train_pocket
from training.loop.claims import LOCK, claimed
from training.style import dreambooth, lora

PHOTOS = ROOT / "assets" / "photos"
NOBODY = 65534
HOLD = """
import sys
from pathlib import Path
from training.loop.claims import claimed
with claimed({"work": Path(sys.argv[1])}):
    print("held", flush=True)
    sys.stdin.read()
"""


def command(name: str, folder: Path) -> Callable[[], int]:
    """A training that would work in ``folder/work`` and write to ``folder/out``."""
    out, work = str(folder / "out"), str(folder / "work")
    quiet = ["--device", "cpu", "--track", "none"]
    style = ["--style", "mine", "--photos", str(PHOTOS), "--targets", "procedure:sketch", "--out", out, "--work", work, *quiet]
    pocket = ["--photos", str(PHOTOS), "--split", "none", "--art", str(PHOTOS), "--work", work]
    commands: dict[str, Callable[[], int]] = {
        "train_lora": lambda: train_lora.main(style),
        "train_dreambooth": lambda: train_dreambooth.main(style),
        "train_general": lambda: train_general.main(["--photos", str(PHOTOS), "--art", str(PHOTOS), "--out", out, "--work", work, *quiet]),
        "train_pocket autoencoder": lambda: train_pocket.main(["autoencoder", *pocket]),
        "train_pocket unet": lambda: train_pocket.main(["unet", *pocket]),
        "train_pocket export": lambda: train_pocket.main(["export", "--work", work, "--out", out]),
        "teach": lambda: teach.main(["out", str(PHOTOS / "coffee.jpg"), "--out", str(folder)]),
        "prepare": lambda: prepare.main([str(PHOTOS), "--out", out, "--style", "mine"]),
    }
    return commands[name]


WORKERS = ("train_lora", "train_dreambooth", "train_general", "train_pocket autoencoder", "train_pocket unet", "train_pocket export")
WRITERS = ("train_lora", "train_dreambooth", "train_general", "train_pocket export", "teach", "prepare")


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing slow may be begun."""

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("it went on")

    monkeypatch.setattr(Base, "open", fail)
    monkeypatch.setattr(prepare, "scan_file", fail)
    monkeypatch.setattr(train_pocket.data, "split_photos", fail)
    monkeypatch.setattr(teach, "_teach", fail)


@contextmanager
def unprivileged() -> Iterator[None]:
    """Not as the superuser, who may write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_place_is_one_runs_at_a_time(tmp_path: Path) -> None:
    work, out = tmp_path / "runs" / "work", tmp_path / "styles" / "mine" / "adapter.safetensors"
    with claimed({"work": work}, {"out": out}):
        with (
            pytest.raises(SettingError, match=r"work is in use by another run: wait until it has ended, or choose another --work\."),
            claimed({"work": work}),
        ):
            pass
        with pytest.raises(SettingError, match="choose another --out"), claimed({"work": tmp_path / "other"}, {"out": out}):
            pass
        assert not (tmp_path / "other").exists()  # what the one that was refused has made
        with claimed({"work": tmp_path / "other"}, {"out": out.with_name("another.safetensors")}):
            pass
        with claimed({"work": work}, {"out": out}, main=False):  # another process of the same run
            pass
        (work / "kept").write_text("x")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["kept"]
    assert not (tmp_path / "styles").exists()  # made, and nothing is in it
    with claimed({"work": work}, {"out": out}):
        pass


def test_a_killed_run_is_in_no_ones_way(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(SettingError, match="in use by another run"), claimed({"work": tmp_path}):
            pass
        process.send_signal(signal.SIGKILL)
    assert (tmp_path / LOCK).exists()  # it could not clear up
    with claimed({"work": tmp_path}):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_told_in_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    deep = tmp_path
    while len(str(deep)) < 3850:
        deep /= "d" * 200
    for place, why in (
        (file / "out", "(Not a directory|File exists)"),
        (file, "(Not a directory|File exists)"),
        (tmp_path / ("n" * 300), "File name too long"),
        (deep / ("n" * 200), "File name too long"),
        (tmp_path / "zero\0", "embedded null"),
    ):
        for folders, targets in (({"work": place}, {}), ({}, {"out": place / "adapter.safetensors"})):
            with pytest.raises(SettingError, match=rf"cannot be written \({why}") as refused, claimed(folders, targets):
                pass
            assert len(str(refused.value)) < 400
    with pytest.raises(SettingError, match="too long"), claimed({}, {"out": tmp_path / ("n" * 248)}):  # there is no room to write aside
        pass
    with claimed({"work": tmp_path / ("n" * 240)}):  # a folder needs none
        pass
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_is_read_only_is_told() -> None:
    folder = Path(tempfile.mkdtemp())  # pytest's are closed to others
    try:
        folder.chmod(0o555)
        with (
            unprivileged(),
            pytest.raises(SettingError, match=r"cannot be written \(Permission denied\)"),
            claimed({}, {"out": folder / "a"}),
        ):
            pass
        with unprivileged(), pytest.raises(SettingError, match="Permission denied"), claimed({"work": folder / "new" / "work"}):
            pass
        assert list(folder.iterdir()) == []
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


@pytest.mark.parametrize("name", WORKERS)
def test_a_second_training_in_a_work_folder_says_so_at_once(
    name: str, tmp_path: Path, slow: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with claimed({"work": tmp_path / "work"}):
        assert command(name, tmp_path)() == 2
    error = capsys.readouterr().err
    assert error.startswith(f"{name.split()[0]}: ")
    assert "work is in use by another run: wait until it has ended, or choose another --work." in error


@pytest.mark.parametrize("name", WRITERS)
def test_a_second_training_for_the_same_result_says_so_at_once(
    name: str, tmp_path: Path, slow: None, capsys: pytest.CaptureFixture[str]
) -> None:
    targets = {
        "train_lora": tmp_path / "out" / lora.LORA.file,
        "train_dreambooth": tmp_path / "out" / dreambooth.DREAMBOOTH.file,
        "train_pocket export": tmp_path / "out",
    }
    with claimed({}, {"out": targets.get(name, tmp_path / "out")}), claimed({"out": tmp_path / "out"} if "export" in name else {}):
        assert command(name, tmp_path)() == 2
    assert "is in use by another run: wait until it has ended, or choose another --out." in capsys.readouterr().err


@pytest.mark.parametrize("name", WRITERS)
def test_a_result_that_cannot_be_written_is_told_before_the_training(
    name: str, tmp_path: Path, slow: None, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    assert command(name, tmp_path / "file")() == 2
    assert "file" in (error := capsys.readouterr().err)
    assert "cannot be written" in error
    assert len(error.splitlines()) == 1 or "2 things are to be mended first" in error


def test_a_tuned_base_and_a_card_that_cannot_be_written_are_told_before_the_training(
    tmp_path: Path, slow: None, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    flags = ["--style", "mine", "--photos", str(PHOTOS), "--targets", "procedure:sketch", "--device", "cpu", "--track", "none"]
    flags += ["--work", str(tmp_path / "work")]
    for more in (
        ["--out", str(tmp_path / "out"), "--full", str(tmp_path / "file" / "base")],
        ["--out", str(tmp_path / "file" / "a" / "b"), "--card"],
    ):
        assert train_dreambooth.main([*flags, *more]) == 2
        assert "cannot be written" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    (tmp_path / "out" / lora.LORA.file).mkdir(parents=True)
    assert train_lora.main([*flags, "--out", str(tmp_path / "out")]) == 2
    assert "is a folder, and the adapter would be a file" in capsys.readouterr().err
