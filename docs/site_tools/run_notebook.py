"""Run a notebook from top to bottom and keep its outputs in the file: ``python run_notebook.py NOTEBOOK``."""

from __future__ import annotations

import base64
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 600
JPEG_QUALITY = 75


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
                if output.output_type == "execute_result":
                    output.execution_count = None
                if "data" in output:
                    output.data = light(output.data)
    return notebook


def light(data: dict[str, Any]) -> dict[str, Any]:
    """Text without its HTML, and pictures as JPEG, so that the file stays small enough for a repository."""
    if "image/png" in data:
        picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGB")
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=JPEG_QUALITY, optimize=True)
        return {"image/jpeg": base64.b64encode(file.getvalue()).decode()}
    return {media_type: value for media_type, value in data.items() if media_type == "text/plain"}


def main() -> None:
    path = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        nbformat.write(without_traces(run(path, Path(folder))), path)


if __name__ == "__main__":
    main()
