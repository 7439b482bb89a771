"""A run is looked at before anything slow is loaded or made, answers once, and its advice works."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from stylekit.base import Base
from stylekit.storage.paths import PHOTOS_FOLDER, ROOT
from training import train_dreambooth, train_lora
from training.loop import config
from training.loop.settings import CHECKPOINTS
from training.style import command, dreambooth, first_look, lora
from training.style.dreambooth_settings import DreamBoothTraining
from training.style.lora_settings import LoraTraining
from training.targets import brushwork, names, palette, procedural


@pytest.fixture
def refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a command answers to a good command line with some flags changed; nothing slow may be begun."""

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("it went on")

    monkeypatch.setattr(Base, "open", fail)
    art = tmp_path / "art"
    art.mkdir()
    Image.new("RGB", (64, 64), "red").save(art / "a.png")

    def ask(*more: str, main: Callable[[list[str]], int] = train_lora.main) -> str:
        flags = ["--style", "mine", "--style-pictures", str(art), "--out", str(tmp_path / "styles" / "mine" / "pocket")]
        assert main([*flags, "--work", str(tmp_path / "work"), "--device", "cpu", "--track", "none", *more]) == 2
        return capsys.readouterr().err

    return ask


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--rnak", "4"], "there is no setting rnak: did you mean rank?"),
        (["--ran", "4"], "there is no setting ran: did you mean rank?"),
        (["--zzz", "4"], "there is no setting zzz: --help lists them"),
        (["--rank"], "expected one argument"),
        (["rank", "4"], "what 'rank' is for cannot be told: write --name value"),
        (
            ["--rnak", "4", "--steps", "many", "--batch", "x"],
            "rnak: did you mean rank?; steps is 'many': give a value of type int; batch is 'x'",
        ),
        (["--resolution", "100"], "resolution is 100: on the base pocket it must be a multiple of 32"),
        (["--targets", "teachr"], "targets is teachr, which is no folder: did you mean teacher?"),
        (["--targets", "procedure:skech"], "there is no procedure 'procedure:skech': choose from procedure:sketch"),
        (["--targets", "palette:manet"], "choose from palette:measured"),
        (["--style-pictures", "nowhere"], "nowhere is not a folder: name a folder of pictures with --style-pictures"),
        (["--photos", "nowhere"], "nowhere is not a folder: name a folder of training photos with --photos"),
        (["--init", "none.safetensors"], "none.safetensors is not there"),
        (["--push-to-hub", "mine"], "push_to_hub is 'mine', which is no repository of the hub: write owner/name"),
        (["--push-to-hub", "me/mine", "--no-card"], "push_to_hub needs a style card"),
        (["--optimizer", "adamw8bit"], "run `pip install bitsandbytes`, or give --optimizer adamw"),
    ],
)
def test_a_mistake_is_told_before_anything_slow(flags: list[str], words: str, refusal: Callable[..., str], tmp_path: Path) -> None:
    said = refusal(*flags).lower()
    assert words in said
    assert "usage" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["art"]


def test_another_group_of_the_pictures_wants_a_place_of_its_own(refusal: Callable[..., str], tmp_path: Path) -> None:
    out = tmp_path / "styles" / "mine" / "pocket"
    out.mkdir(parents=True)
    (out / "pytorch_lora_weights.safetensors").write_bytes(b"")
    (out / "training.json").write_text('{"settings": {"group": 1}}')
    assert "holds the style of group 1, and group is 2: give another --style and --out, or --overwrite" in refusal("--group", "2")
    (tmp_path / "work" / CHECKPOINTS).mkdir(parents=True)
    (tmp_path / "work" / CHECKPOINTS / "step-1.pt").write_bytes(b"")
    (tmp_path / "work" / first_look.RUN_FILE).write_text('{"kind": "lora", "group": 3}')
    said = refusal("--group", "2", "--overwrite")
    assert "work holds the style of group 3, and group is 2: give another --style and --out, or --work" in said


def test_several_mistakes_have_one_answer(refusal: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    said = refusal("--resolution", "100", "--photos", "nowhere", "--out", str(tmp_path / "file" / "a" / "b"))
    assert said.startswith("train_lora: 3 things are to be mended first:")
    assert len(said.strip().splitlines()) == 4


def test_what_dreambooth_cannot_do_is_told_before_class_pictures(refusal: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "tuned").mkdir()
    flags = ["--train-text-encoder", "--class-pictures", str(tmp_path / "file"), "--full", str(tmp_path / "tuned")]
    said = refusal(*flags, main=train_dreambooth.main)
    for words in ("has no text encoder: leave it out", "name a folder for class pictures", "choose another --full folder"):
        assert words in said


def test_the_advice_about_another_run_works(refusal: Callable[..., str], tmp_path: Path) -> None:
    """A work folder and an adapter of a run with other settings: one answer, and what it says is taken."""
    out, work = tmp_path / "styles" / "mine" / "pocket", tmp_path / "work"
    flags = ["--style-pictures", str(tmp_path / "art"), "--out", str(out), "--work", str(work), "--style", "mine", "--lr", "0.5"]
    before = config.parse(LoraTraining, flags, "x", "y", train_lora.defaults)
    (work / CHECKPOINTS).mkdir(parents=True)
    (work / CHECKPOINTS / "step-000001.pt").touch()
    first_look.sign(before, "lora")
    out.mkdir(parents=True)
    (out / first_look.FILES["lora"]).touch()
    first_look.records.write_record(out, before, {})
    first_look.look(before, "lora")  # the same run goes on
    said = refusal("--lr", "0.1")
    assert "lr: 0.5 there, 0.1 here" in said
    assert said.rstrip().endswith(f"set it back, or begin anew with --work {tmp_path / 'work-2'} --overwrite.")
    advised = ["--work", str(tmp_path / "work-2"), "--overwrite", "--lr", "0.1"]
    first_look.look(config.parse(LoraTraining, [*flags, *advised], "x", "y", train_lora.defaults), "lora")
    longer = config.parse(LoraTraining, [*flags, "--steps", "9000"], "x", "y", train_lora.defaults)
    first_look.look(longer, "lora")
    assert "holds a run of lora: begin anew with" in refusal(main=train_dreambooth.main)
    first_look.records.write_record(out, before, {})
    (work / CHECKPOINTS / "step-000001.pt").unlink()
    assert "holds an adapter of another run (lr: 0.5 there, 0.1 here)" in refusal("--lr", "0.1")


def test_a_lora_and_a_dreambooth_of_one_name_work_apart() -> None:
    ours, theirs = (kind(style="mine", out=Path("o"), style_pictures=Path("s")).folder for kind in (LoraTraining, DreamBoothTraining))
    assert (str(ours), str(theirs)) == ("runs/mine", "runs/mine.dreambooth")


def test_names_that_are_known_without_torch_are_those_there_are() -> None:
    assert {*procedural.PROCEDURES, *brushwork.PAINTERS} == set(names.PROCEDURES)
    assert {"measured", *palette.MANNERS} == set(names.PALETTES)
    assert {"lora": lora.LORA.file, "dreambooth": dreambooth.DREAMBOOTH.file} == first_look.FILES


def test_settings_are_read_and_looked_at_without_torch() -> None:
    """Loading it takes many seconds on a busy machine."""
    code = (
        "import sys\nfrom training import train_lora, train_dreambooth\n"
        f"assert train_lora.main(['--style', 'a', '--out', 'o', '--style-pictures', 'nowhere', '--resolution', '100']) == 2\n"
        f"assert train_dreambooth.main(['--style', 'a', '--out', 'o', '--photos', {str(PHOTOS_FOLDER)!r}, '--targets', 'x']) == 2\n"
        "assert not {'torch', 'diffusers', 'transformers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_one_process_speaks_for_all(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("RANK", "1")
    assert train_lora.main(["--rnak", "4"]) == 2
    assert capsys.readouterr() == ("", "")


def test_a_busy_machine_is_told_how_to_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(command.psutil, "getloadavg", lambda: (7.0, 1.0, 1.0))
    assert "--threads 1" in command.busy_hint(None)
    assert command.busy_hint(1) == ""
    monkeypatch.setattr(command.psutil, "getloadavg", lambda: (2.2, 7.0, 7.0))
    assert command.busy_hint(None) == ""


def test_threads_that_wait_leave_the_processor_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "x")  # so that it is put back
    monkeypatch.delenv("OMP_WAIT_POLICY")
    seen: list[str | None] = []
    for _ in range(2):
        assert command.run_script("x", lambda: seen.append(os.environ.get("OMP_WAIT_POLICY"))) == 0
        monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert seen == ["PASSIVE", "ACTIVE"]


def test_teaching_sets_the_policy_before_torch_reads_it() -> None:
    script = """
import os, runpy, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print("torch sees", os.environ.get("OMP_WAIT_POLICY"))
sys.meta_path.insert(0, Watch())
sys.argv = ["teach", "--help"]
runpy.run_module("training.teach", run_name="__main__")
"""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[0] == "torch sees PASSIVE", done.stderr
