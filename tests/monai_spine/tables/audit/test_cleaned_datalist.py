import json
from pathlib import Path

import pytest

from monai_spine.data.datalist import read_datalist
from monai_spine.errors import InvalidTableError
from monai_spine.spine import MISSING
from monai_spine.tables.audit.report import audit


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
