"""The page of formats names the columns, keys and flags that the code writes, all of them and no others."""

import json
import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from data_prep.check.codes import Code as CheckCode
from data_prep.collection import coverage_table, quality
from data_prep.collection.codes import Code
from data_prep.dicom.refusals import Reason
from data_prep.dicom.tables import FileRow, ManifestRow, RefusedRow
from data_prep.rsna2024 import datalist as rsna
from data_prep.study_table import series_rows
from monai_spine.data.corrections import Corrections, Signature, What
from monai_spine.data.corrections_file import write_corrections
from monai_spine.data.volume_names import WITHOUT_SPINE
from monai_spine.grading import evidence, findings
from monai_spine.grading.findings import study_findings
from monai_spine.levels import files, marked
from monai_spine.levels.recesses import planes
from monai_spine.levels.sagittal.doubts import Flag
from monai_spine.prediction import findings_table, outcomes
from monai_spine.prediction.reader_grades import with_reader
from monai_spine.scoring.competition import Score
from monai_spine.spine import SeriesType
from monai_spine.tables.score_report import ScoreReport

DOCS = Path(__file__).parents[2] / "docs"
FORMATS = DOCS / "reference" / "formats.md"

COLUMNS = {
    "`studies.csv` of `monai-spine predict`": outcomes._COLUMNS,
    "`findings.csv`": findings_table.COLUMNS,
    "`points.csv` of `monai-spine locate`": files.COLUMNS,
    "`manifest.csv` of `data_prep convert` and `data_prep rsna`": [field.name for field in fields(ManifestRow)],
    "`files.csv` of `data_prep convert` and `data_prep rsna`": [field.name for field in fields(FileRow)],
    "`refused.csv` of `data_prep convert` and `data_prep rsna`": [field.name for field in fields(RefusedRow)],
    "`coverage.csv` of `data_prep rsna` and `data_prep study-table`": coverage_table.COLUMNS,
    "`quality.csv` of `data_prep rsna` and `data_prep study-table`": quality.COLUMNS,
    "`points.csv` of `data_prep rsna`": rsna.POINT_COLUMNS,
    "`series.csv` of `data_prep study-table`": series_rows.COLUMNS,
}


def documented(page: Path, heading: str, column: str) -> list[str]:
    """Names in the first column of the table with this head, in the section with this heading."""
    section = re.split(r"^## ", page.read_text(), flags=re.MULTILINE)
    (text,) = [part for part in section if part.splitlines()[0] == heading]
    (table,) = re.findall(rf"^\| {column} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [name for row in table.splitlines() for name in re.findall(r"`([^`]+)`", row.split("|")[1])]


@pytest.mark.parametrize("heading", COLUMNS)
def test_columns_of_tables_are_those_that_the_code_writes_in_this_order(heading: str) -> None:
    assert documented(FORMATS, heading, "column") == list(COLUMNS[heading])


def test_keys_of_findings_json_are_those_that_the_code_writes_in_this_order(tmp_path: Path) -> None:
    record = {"study_id": "1", "points": {}, **{series_type.value: () for series_type in SeriesType}}
    content = study_findings(
        record,
        np.full((25, 3), 1 / 3),
        measures={},
        about={"models": [], "localizer_runtimes": {}, "folder": ".", "volumes": {}},
    )
    content = with_reader(content, tmp_path)
    heading = "`<study>/findings.json`"
    assert documented(FORMATS, heading, "key") == list(content)
    assert documented(FORMATS, heading, "key of a finding") == list(content["findings"][0])


def test_keys_of_corrections_are_those_that_the_code_writes_in_this_order(tmp_path: Path) -> None:
    signature = Signature("AB", "2026-11-28T13:40:12Z")
    corrections = Corrections("1").graded("spinal_canal_stenosis_l1_l2", "severe", signature)
    content = json.loads(write_corrections(tmp_path, corrections).read_text())
    heading = "`<study>/corrections.json`"
    assert documented(FORMATS, heading, "key of corrections") == list(content)
    assert documented(FORMATS, heading, "key of a change") == list(content["changes"][0])
    whats = re.findall(r"`(\w+)`", re.findall(r"\| `what` \|(.*)\|", FORMATS.read_text())[0])
    assert whats == [what.value for what in What]


def test_flags_of_findings_are_those_that_the_code_sets() -> None:
    missing = [f"missing_{series_type.value}" for series_type in SeriesType]
    own = [evidence.NOT_COVERED, evidence.SUBSTITUTE, WITHOUT_SPINE, *missing]
    own += [findings.UNLIKE_TRAINING, findings.UNLIKE_MEASURES]
    flags = {*own, *(flag.value for flag in Flag), planes.PROJECTED, marked.MARKED}
    assert set(documented(FORMATS, "`<study>/findings.json`", "flag")) == flags
    points = documented(DOCS / "how-to" / "locate.md", "How sure it is", "flag")
    assert set(points) == flags - set(own)


def test_keys_of_a_score_in_json_are_those_that_the_code_writes() -> None:
    score, prior, floor = (Score(*[value] * len(fields(Score))) for value in (0.5, 0.7, 0.3))
    report = ScoreReport(score, prior=prior, uniform=prior, studies=1, rows=1, filled=0, floor=floor)
    names = documented(FORMATS, "`monai-spine score … --json`", "key")
    assert sorted(names) == sorted(json.loads(report.to_json()))


def test_codes_of_pages_are_those_of_the_code() -> None:
    assert set(documented(DOCS / "how-to" / "data.md", "Codes of faults", "code")) == {code.name for code in Code}
    assert set(documented(DOCS / "how-to" / "convert.md", "What is refused", "reason")) == {one.value for one in Reason}
    check = (DOCS / "how-to" / "check.md").read_text()
    assert set(re.findall(r"`([A-Z0-9]+(?:_[A-Z0-9]+)*)`", check)) == {code.name for code in CheckCode}
