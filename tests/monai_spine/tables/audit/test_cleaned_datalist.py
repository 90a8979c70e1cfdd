import json
from pathlib import Path

import numpy as np
import pytest

from monai_spine.data.datalist import read_datalist
from monai_spine.errors import InvalidTableError
from monai_spine.scoring.submission import write_predictions
from monai_spine.spine import MISSING, TARGETS
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


def test_doubted_labels_go_from_the_cleaned_datalist_and_nothing_else_does(cohort, tmp_path: Path) -> None:
    datalist, solution, submission, _ = cohort
    found = audit(solution, submission, tmp_path / "a" / "audit", datalist=datalist, quiet=True)
    before, after = read_datalist(datalist), read_datalist(tmp_path / "a" / "audit" / "datalist.json")
    assert [(s, t) for s in range(3) for t in range(25) if after[s]["label"][t] != before[s]["label"][t]] == [
        (0, 3),
        (0, 20),
        (1, 9),
    ]
    assert after[0]["label"][3] == MISSING
    assert [Path(r["sagittal_t1"][0]).resolve() for r in after] == [Path(r["sagittal_t1"][0]) for r in before]
    assert len(found.suspects) == 3


def test_studies_with_many_doubted_labels_can_be_left_out_instead(cohort, tmp_path: Path) -> None:
    datalist, solution, submission, _ = cohort
    audit(solution, submission, tmp_path / "audit", datalist=datalist, drop_studies=2, quiet=True)
    after = read_datalist(tmp_path / "audit" / "datalist.json")
    assert [record["study_id"] for record in after] == [r["study_id"] for r in read_datalist(datalist)][1:]
    assert all((record["label"] == 0).all() for record in after)


def test_the_datalist_of_another_solution_is_refused(cohort, tmp_path: Path) -> None:
    datalist, solution, submission, _ = cohort
    content = json.loads(datalist.read_text())
    content["training"][0]["label"][3] = 1
    datalist.write_text(json.dumps(content))
    with pytest.raises(InvalidTableError, match="other labels than the solution for 1 finding"):
        audit(solution, submission, tmp_path / "audit", datalist=datalist, quiet=True)
