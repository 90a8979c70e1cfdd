"""The Python code of docs/how-to/embedding.md, run as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from data_prep.dicom.convert import ConversionSummary
from tests.bundles.runs import ROOT

MADE_BEFORE = [
    "python -m data_prep phantom rsna --studies 2 --seed 1 --quiet",
    "python -m data_prep rsna rsna nifti --folds 2 --quiet",
    "monai-spine locate nifti/datalist.json -o points --quiet",
]
"""Commands whose outputs the code of the page reads."""


@pytest.mark.slow
def test_the_code_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for command in MADE_BEFORE:
        program, *words = command.split()
        subprocess.run([Path(sys.executable).parent / program, *words], check=True, capture_output=True)
    Path("studies").symlink_to("rsna/train_images")
    Path("bundles").symlink_to(ROOT / "bundles")
    text = (ROOT / "docs" / "how-to" / "embedding.md").read_text()
    names: dict[str, object] = {}
    for block in re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        exec(block, names)
    assert names["item"]["canal"].shape[0] == 5
    assert names["record"]["points"]
    assert isinstance(names["summary"], ConversionSummary)
