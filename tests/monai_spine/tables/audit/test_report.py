import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from monai_spine.errors import InvalidOptionError
from monai_spine.scoring.submission import write_predictions
from monai_spine.spine import FINDINGS, TARGETS
from monai_spine.tables.audit.report import audit
from tests.cohorts import write_cohort
from tests.monai_spine.tables.files import write_labels


@pytest.fixture
def cohort(tmp_path: Path) -> tuple[Path, Path, Path, np.ndarray]:
    """A datalist with a point for every finding, its solution, and a submission that doubts two labels."""
    datalist = write_cohort(tmp_path / "nifti", studies=3)
    content = json.loads(datalist.read_text())
    for entry in content["training"]:
        entry["label"] = [0] * 25
        entry["points"] = {target: [2.0, 3.0, -5.0] for target in TARGETS}
    datalist.write_text(json.dumps(content))
    ids = tuple(entry["study_id"] for entry in content["training"])
    labels = np.zeros((3, 25), dtype=np.int64)
    rows = np.tile([0.9, 0.06, 0.04], (3, 25, 1))
    rows[0, 3] = rows[0, 20] = [0.01, 0.01, 0.98]
    rows[1, 9] = [0.02, 0.96, 0.02]
    solution = write_labels(tmp_path / "solution.csv", ids, labels)
    write_predictions(tmp_path / "oof.csv", ids, rows)
    return datalist, solution, tmp_path / "oof.csv", labels


def test_the_table_lists_what_is_doubted_most_first(cohort, tmp_path: Path) -> None:
    _, solution, submission, _ = cohort
    audit(solution, submission, tmp_path / "audit", quiet=True)
    table = pd.read_csv(tmp_path / "audit" / "audit.csv", dtype={"study_id": str})
    assert list(table["rank"]) == [1, 2, 3]
    assert set(table["row_id"][:2]) == {FINDINGS[n].row_id(table["study_id"][0]) for n in (3, 20)}
    assert list(table["likeliest"]) == ["Severe", "Severe", "Moderate"]
    assert (tmp_path / "audit" / "thresholds.csv").read_text().count("\n") == 7
    assert "pictures need --datalist" in (tmp_path / "audit" / "audit.html").read_text()


@pytest.mark.parametrize(
    ("options", "message"), [({"threshold": 1.5}, "--threshold"), ({"drop_studies": 2}, "--datalist")]
)
def test_options_that_make_no_sense_are_refused(options: dict, message: str, cohort, tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        audit(cohort[1], cohort[2], tmp_path / "audit", quiet=True, **options)


def test_labels_that_nothing_contradicts_give_an_empty_table(cohort, tmp_path: Path) -> None:
    found = audit(cohort[1], cohort[2], tmp_path / "audit", threshold=0.999, quiet=True)
    assert not found.suspects
    assert "None at this threshold" in (tmp_path / "audit" / "audit.html").read_text()
