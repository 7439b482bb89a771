"""Run the notebooks and write them with their outputs: NAME.py has the cells as text, NAME.ipynb the same cells and what they gave.

    python notebooks/make.py [NAME ...]

Each runs in a kernel of its own, from a temporary folder. What differs from run to run is left out: progress bars and whatever else is
written to standard error, times, random ids. An error in a cell ends it, and so does a path of this machine in an output.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
TIMEOUT = 600  # seconds for a cell
MACHINE = re.compile(r"(?<![\w.])/(?:work|opt|tmp|root|home|Users|var|usr)/\S*")  # paths that say where it ran
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
METADATA = {"kernelspec": KERNEL, "language_info": {"name": "python"}}


def names() -> list[str]:
    """Of all notebooks, in their order."""
    return sorted(path.stem for path in HERE.glob("[0-9]*.py"))


def text_cells(name: str) -> Any:
    """The notebook `name` from its text, without outputs."""
    notebook = jupytext.read(HERE / f"{name}.py", fmt="py:percent")
    notebook.metadata = nbformat.from_dict(METADATA)
    for i, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{i:02}", nbformat.from_dict({})
    return notebook


def run(notebook: Any, folder: Path, **environment: str) -> Any:
    """Run it from `folder` with the code of this clone, and give it back. Raises nbclient's CellExecutionError."""
    own = {"PYTHONPATH": str(HERE.parent), "IPYTHONDIR": str(folder / ".ipython"), **environment}
    client = NotebookClient(
        notebook, timeout=TIMEOUT, kernel_name=KERNEL["name"], record_timing=False, resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env=os.environ | own)
    return notebook


def clean(notebook: Any) -> Any:
    """Without what differs from run to run."""
    notebook.metadata = nbformat.from_dict(METADATA)  # running adds the version of Python
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
    return notebook


def texts(notebook: Any) -> Iterator[str]:
    """All that outputs say, but for pictures."""
    for cell in notebook.cells:
        for one in cell.get("outputs", ()):
            yield from (one.get("text", ""), *one.get("traceback", ()))
            yield from (str(data) for kind, data in sorted(one.get("data", {}).items()) if not kind.startswith("image/"))


def machine_paths(notebook: Any) -> list[str]:
    """Paths of a machine in the outputs."""
    return [found for text in texts(notebook) for found in MACHINE.findall(text)]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python notebooks/make.py", description="Run the notebooks and write them with their outputs.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names())}; all without one")
    wanted = [Path(name).stem for name in parser.parse_args(argv).names] or names()
    unknown = [name for name in wanted if name not in names()]
    if unknown:
        print(f"make: there is no notebook {unknown[0]}: choose from {', '.join(names())}.", file=sys.stderr)
        return 2
    for name in wanted:
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            notebook = clean(run(text_cells(name), Path(folder), STYLEKIT_RUNS=folder))
        if found := machine_paths(notebook):
            print(f"make: {name} was not written, for its outputs name {found[0]}, a place on this machine.", file=sys.stderr)
            return 1
        nbformat.write(notebook, HERE / f"{name}.ipynb")
        print(f"{name}: {time.perf_counter() - started:.0f} s, {(HERE / f'{name}.ipynb').stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
