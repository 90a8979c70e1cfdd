"""The tutorial runs from top to bottom, and the copy with its pictures in the repository is whole."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial.ipynb"


@pytest.mark.slow
@pytest.mark.usefixtures("default_runtime")
def test_the_tutorial_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "site_tools"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    import run_notebook

    done = run_notebook.run(TUTORIAL, tmp_path)
    assert pictures(done["cells"]) == pictures(json.loads(TUTORIAL.read_text())["cells"]) == 3
    assert (tmp_path / "tutorial" / "graded" / "predictions.csv").is_file()


def pictures(cells: list[dict]) -> int:
    outputs = [output for cell in cells if cell["cell_type"] == "code" for output in cell["outputs"]]
    return sum(any(kind.startswith("image/") for kind in output.get("data", {})) for output in outputs)


def test_the_stored_tutorial_is_small_and_names_no_folder_of_the_machine_it_ran_on() -> None:
    text = TUTORIAL.read_text()
    assert len(text) < 300_000
    assert str(Path(sys.prefix)) not in text
    assert "/tmp/" not in text
