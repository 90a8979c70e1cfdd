from pathlib import Path

import pandas as pd
import pytest

from monai_spine.errors import InvalidOptionError
from monai_spine.spine import FINDINGS
from monai_spine.tables.audit_report import audit
from monai_spine.tables.out_of_fold import read_out_of_fold


def test_the_table_lists_what_is_doubted_most_first(cohort, tmp_path: Path) -> None:
    _, solution, submission, _ = cohort
    audit(read_out_of_fold(solution, [submission]), tmp_path / "audit", quiet=True)
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
        audit(read_out_of_fold(cohort[1], [cohort[2]]), tmp_path / "audit", quiet=True, **options)


def test_labels_that_nothing_contradicts_give_an_empty_table(cohort, tmp_path: Path) -> None:
    found = audit(read_out_of_fold(cohort[1], [cohort[2]]), tmp_path / "audit", threshold=0.999, quiet=True)
    assert not found.suspects
    assert "None at this threshold" in (tmp_path / "audit" / "audit.html").read_text()


def test_a_model_that_knows_less_than_the_prior_is_named_before_its_list(cohort, tmp_path: Path) -> None:
    _, solution, submission, _ = cohort
    good = audit(read_out_of_fold(solution, [submission]), tmp_path / "good", quiet=True)
    assert good.warning == ""
    table = pd.read_csv(submission)
    grades = ["normal_mild", "moderate", "severe"]
    table[grades] = table[grades].to_numpy()[:, ::-1]
    table.to_csv(tmp_path / "bad.csv", index=False)
    bad = audit(read_out_of_fold(solution, [tmp_path / "bad.csv"]), tmp_path / "bad", quiet=True)
    first = bad.to_text().splitlines()[0]
    assert first.startswith("warning: log loss ")
    assert "(lower is better), worse than the prior (" in first
    assert "nothing learnt" in first
    assert "nothing learnt" in (tmp_path / "bad" / "audit.html").read_text()
