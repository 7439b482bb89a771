"""The notebooks: text and outputs are pairs, what is stored is clean, and each runs to its end from another folder."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from notebooks import make
from stylekit.storage.paths import ROOT
from tests.test_docs import dead

FOLDER = ROOT / "notebooks"
NAMES = make.names()
LARGEST = 400_000  # bytes of a notebook with its outputs
RESULTS = "05_Results_Analysis"


def stored(name: str) -> Any:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def cells(notebook: Any) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def first_code(name: str) -> str:
    return next(source for kind, source in cells(make.text_cells(name)) if kind == "code")


def test_there_are_seven() -> None:
    assert NAMES == [
        "00_Data_EDA",
        "01a_LoRA_Training",
        "01b_DreamBooth_Training",
        "02_Inference_Pipeline",
        "03_Demo_Application",
        "04_Evaluation_Metrics",
        RESULTS,
    ]
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == NAMES
    table = (FOLDER / "README.md").read_text()
    assert re.findall(r"^\| \[(\w+)\]\(\w+\.ipynb\) \|", table, re.MULTILINE) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_text_and_notebook_have_the_same_cells(name: str) -> None:
    assert cells(stored(name)) == cells(make.text_cells(name)), f"run python notebooks/make.py {name}"


@pytest.mark.parametrize("name", NAMES)
def test_what_is_stored_is_whole_clean_and_small(name: str) -> None:
    notebook = stored(name)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))  # once, from top to bottom
    outputs = [output for cell in code for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"stream", "display_data", "execute_result"}  # no error
    assert [output.name for output in outputs if output.output_type == "stream" and output.name != "stdout"] == []
    assert any("image/jpeg" in output.get("data", {}) or "image/png" in output.get("data", {}) for output in outputs)
    assert make.machine_paths(notebook) == []
    assert (FOLDER / f"{name}.ipynb").stat().st_size < LARGEST
    assert notebook.metadata == make.METADATA
    assert all(cell.metadata == {} for cell in notebook.cells)


@pytest.mark.parametrize("text", ["saved to /work/main/runs", "File '/tmp/a.py'", "/root/.cache", "at /opt/venv/bin/python"])
def test_a_path_of_a_machine_is_found(text: str) -> None:
    output = nbformat.v4.new_output("stream", text=text)
    assert make.machine_paths(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[output])]))
    shown = nbformat.v4.new_output("display_data", data={"text/markdown": text, "image/png": "/tmp/"})
    assert len(make.machine_paths(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[shown])]))) == 1


def test_relative_names_are_no_paths_of_a_machine() -> None:
    output = nbformat.v4.new_output("stream", text="docs/work/tmp, ../opt/x, 3/home, and /stylize of http://127.0.0.1:7860/")
    assert make.machine_paths(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[output])])) == []


def test_the_first_cell_is_the_same_everywhere() -> None:
    assert len({first_code(name) for name in NAMES}) == 1


@pytest.mark.parametrize("name", NAMES)
def test_one_cell_has_the_settings_and_full_is_off(name: str) -> None:
    code = [source for kind, source in cells(make.text_cells(name)) if kind == "code"]
    setting = [i for i, source in enumerate(code) if re.search(r"^FULL\b", source, re.MULTILINE)]
    assert setting == [1]
    assert re.findall(r"^FULL\b.*$", code[1], re.MULTILINE) == ["FULL = False"]


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    texts = [source for kind, source in cells(make.text_cells(name)) if kind == "markdown"]
    assert dead(FOLDER / "README.md", "\n".join(texts)) == []
    assert dead(FOLDER / "README.md", (FOLDER / "README.md").read_text()) == []


def run_first_cell(tmp_path: Path, before: str = "", after: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """The first cell as plain Python, from another folder."""
    script = tmp_path / "first.py"
    script.write_text(f"{before}\n{first_code(NAMES[0])}\n{after}\nprint(OUT, os.getcwd(), sep='|')\n")
    own = {"PYTHONPATH": str(ROOT), "PATH": "", **environment}
    return subprocess.run([sys.executable, str(script)], cwd=tmp_path, env=own, capture_output=True, text=True)


@pytest.mark.parametrize("package", ["imagehash", "stylekit", "gradio"])
def test_a_missing_package_is_told_with_what_to_do(tmp_path: Path, package: str) -> None:
    done = run_first_cell(tmp_path, f"import sys; sys.modules[{package!r}] = None")
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"needs {package}, which {sys.executable} does not have" in done.stderr
    assert '-m pip install -e ".[notebooks]"' in done.stderr
    assert "kernel" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_installation_without_data_is_told(tmp_path: Path) -> None:
    before = "import stylekit.storage.paths as paths\nimport pathlib\npaths.ROOT = pathlib.Path('.').resolve()"
    done = run_first_cell(tmp_path, before)
    assert done.returncode == 1
    assert "without its data" in done.stderr


def test_results_go_to_a_fresh_folder(tmp_path: Path) -> None:
    places = set()
    for _ in range(2):
        done = run_first_cell(tmp_path, STYLEKIT_RUNS=str(tmp_path / "runs"))
        assert done.returncode == 0, done.stderr
        out, here = map(Path, done.stdout.strip().split("|"))
        assert out.resolve() == here.resolve()
        assert out.parent == tmp_path / "runs" / "notebooks"
        assert list(out.iterdir()) == []
        places.add(out)
    assert len(places) == 2


def test_a_clone_that_may_not_be_written_to_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run_first_cell(tmp_path, STYLEKIT_RUNS=str(tmp_path / "file"), TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.split("|")[0]).parent == tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_the_settings_at_full_scale_are_settings(name: str, tmp_path: Path) -> None:
    """What they name need not be here; that every key is one, and every value in its range, can be seen without it."""
    code = [source for kind, source in cells(make.text_cells(name)) if kind == "code"]
    done = run_first_cell(tmp_path, after=code[1].replace("FULL = False", "FULL = True"), STYLEKIT_RUNS=str(tmp_path))
    assert done.returncode == 0, done.stderr


def test_make_says_which_notebooks_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert make.main(["06_Nothing"]) == 2
    assert RESULTS in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_runs_from_another_folder(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    notebook = make.clean(make.run(make.text_cells(name), folder, STYLEKIT_RUNS=str(tmp_path)))
    assert make.machine_paths(notebook) == []
    assert [path.name for path in folder.iterdir() if not path.name.startswith(".")] == []  # nothing is left where it was started
    if name == RESULTS:  # which reads committed numbers alone
        assert list(make.texts(notebook)) == list(make.texts(stored(name))), f"run python notebooks/make.py {name}"
