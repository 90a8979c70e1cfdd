"""Run a notebook from top to bottom and keep its outputs in the file: ``run_notebook.py NOTEBOOK``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 600


def run(path: Path, folder: Path) -> nbformat.NotebookNode:
    """The notebook with new outputs. It runs in ``folder``, where ``bundles`` is the repository's."""
    (folder / "bundles").symlink_to(ROOT / "bundles")
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=TIMEOUT_S, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    return notebook


def without_traces(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Leave out what differs from one run to the next: times, counts, the interpreter's version."""
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    for number, cell in enumerate(notebook.cells):
        cell.metadata = {}
        cell.id = f"cell-{number}"
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for output in cell.outputs:
                output.pop("execution_count", None)
                if output.output_type == "execute_result":
                    output.execution_count = None
    return notebook


def main() -> None:
    path = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        nbformat.write(without_traces(run(path, Path(folder))), path)


if __name__ == "__main__":
    main()
