"""The Python code of pages, run as it stands there."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from data_prep.dicom.convert import ConversionSummary
from monai_spine.data.datalist import read_datalist
from tests.bundles.runs import ROOT

MADE_BEFORE = [
    "python -m data_prep phantom rsna --studies 2 --seed 1 --quiet",
    "python -m data_prep rsna rsna nifti --folds 2 --quiet",
    "monai-spine locate nifti/datalist.json -o points --quiet",
]
"""Commands whose outputs the code of the pages reads."""


def code_of(page: str) -> str:
    text = (ROOT / "docs" / page).read_text()
    blocks = re.findall(r"^ *```python\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    return "\n".join(textwrap.dedent(block) for block in blocks)


@pytest.mark.slow
@pytest.mark.usefixtures("default_runtime")
def test_the_code_of_pages_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for command in MADE_BEFORE:
        program, *words = command.split()
        subprocess.run([Path(sys.executable).parent / program, *words], check=True, capture_output=True)
    Path("studies").symlink_to("rsna/train_images")
    Path("bundles").symlink_to(ROOT / "bundles")

    names: dict[str, object] = {}
    exec(code_of("how-to/embedding.md"), names)
    assert names["item"]["canal"].shape[0] == 5
    assert names["record"]["points"]
    assert isinstance(names["summary"], ConversionSummary)

    exec(code_of("explanation/crops.md"), {})
    assert Path("crops.png").is_file()

    marked = read_datalist("nifti/datalist.json")[0]["points"]
    exec(code_of("how-to/radiology-group.md"), {})
    located = read_datalist("nifti/datalist.json")[0]["points"]
    assert located
    assert located != marked
