from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from monai_spine.errors import InvalidOptionError, InvalidTableError
from monai_spine.scoring.competition import competition_score
from monai_spine.tables.metrics_report import measure
from monai_spine.tables.out_of_fold import OutOfFold
from monai_spine.tables.subgroups import UNKNOWN, read_groups
from tests.monai_spine.tables.files import part, simulated


def table(studies: int = 150, patients: list[str] | None = None) -> OutOfFold:
    s = part(simulated(), slice(studies))
    covered = np.ones((1, *s.labels.shape), dtype=bool)
    return OutOfFold(("m",), s.study_ids, tuple(patients or s.study_ids), s.labels, s.submissions[:1], covered, None)


def halves(count: int) -> list[str]:
    return ["a", "b"] * (count // 2)


def test_a_group_has_the_figures_of_its_studies_alone() -> None:
    whole = table()
    found = measure(whole, by={"scanner": halves(150)}, replicates=20).subgroups
    assert [(one.column, one.name, one.studies) for one in found] == [("scanner", "a", 75), ("scanner", "b", 75)]
    for n, one in enumerate(found):
        expected = competition_score(whole.grades[n::2], whole.probabilities[0, n::2]).score
        assert one.figures["score"].value == pytest.approx(expected)
    assert sum(one.rows for one in found) == (whole.grades >= 0).sum()


def test_differences_are_to_all_others_and_opposite_for_two_groups() -> None:
    one, other = measure(table(), by={"scanner": halves(150)}, replicates=50).subgroups
    for name, gap in one.differences.items():
        assert gap.value == pytest.approx(one.figures[name].value - other.figures[name].value, abs=1e-9)
        assert gap.value == pytest.approx(-other.differences[name].value, abs=1e-9)
        assert gap.low <= gap.value <= gap.high


def test_a_group_that_is_worse_shows_in_its_interval() -> None:
    whole = table()
    worse = whole.probabilities.copy()
    worse[0, ::2] = worse[0, ::2][..., ::-1]
    changed = OutOfFold(whole.names, whole.study_ids, whole.patients, whole.grades, worse, whole.covered, None)
    one, other = measure(changed, by={"scanner": halves(150)}, replicates=100).subgroups
    assert one.differences["score"].low > 0
    assert other.differences["auc_severe"].low > 0


def test_patients_are_drawn_with_all_of_their_studies() -> None:
    owners = [str(n // 5) for n in range(150)]
    groups = ["a" if n < 75 else "b" for n in range(150)]
    wide, narrow = (
        measure(table(patients=who), by={"x": groups}, replicates=300).subgroups[0] for who in (owners, None)
    )
    assert (wide.patients, narrow.patients) == (15, 75)


def test_too_few_patients_are_said_and_get_no_figures() -> None:
    groups = ["rare"] * 4 + ["usual"] * 146
    report = measure(table(), by={"scanner": groups}, replicates=5)
    rare, usual = report.subgroups
    assert rare.too_few == "4 of at least 10 patients in the group"
    assert usual.too_few == "4 of at least 10 patients among the others"
    assert not rare.figures
    assert "too few: 4 of at least 10 patients" in report.to_text()
    assert '"too_few": "4 of' in report.to_json()


def test_groups_come_from_a_table_and_numbers_are_cut_at_edges(tmp_path: Path) -> None:
    path = tmp_path / "patients.csv"
    pd.DataFrame({"study_id": ["1", "2", "3", "4"], "sex": ["f", "m", "", "f"], "age": [49, 50, 65, 80]}).to_csv(
        path, index=False
    )
    groups = read_groups(path, ["sex", "age:50,65"], ["4", "3", "2", "1", "9"])
    assert groups["sex"] == ["f", UNKNOWN, "m", "f", UNKNOWN]
    assert groups["age"] == [">= 65", ">= 65", "50 to 65", "< 50", UNKNOWN]


def test_an_age_that_is_not_a_number_of_pandas_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "patients.csv"
    path.write_text("study_id,age\n1,nan\n2,NaN\n3,51\n4,inf\n")
    assert read_groups(path, ["age:50"], ["1", "2", "3", "4"])["age"] == [UNKNOWN, UNKNOWN, ">= 50", ">= 50"]


def test_ranges_stand_in_their_order() -> None:
    ages = ["50 to 65", "< 50", ">= 65", UNKNOWN, "< 50"] * 30
    found = measure(table(), by={"age": ages}, replicates=5).subgroups
    assert [one.name for one in found] == ["< 50", "50 to 65", ">= 65", UNKNOWN]


@pytest.mark.parametrize(
    ("content", "columns", "error", "message"),
    [
        ("study_id,sex\n1,f\n", ["scanner"], InvalidTableError, "expected the columns scanner"),
        ("study_id,sex\n1,f\n1,m\n", ["sex"], InvalidTableError, "each study once"),
        ("study_id,sex\n8,f\n", ["sex"], InvalidTableError, "holds none of the studies"),
        ("study_id,age\n1,old\n", ["age:50"], InvalidTableError, "expected numbers"),
        ("study_id,age\n1,5\n", ["age:a"], InvalidOptionError, "NAME:50,65"),
        ("study_id,age\n1,5\n", ["age:65,50"], InvalidOptionError, "rising"),
        ("study_id,age\n1,5\n", ["age:nan"], InvalidOptionError, "rising"),
        ("study_id,age\n1,5\n", ["age:50", "age:70"], InvalidOptionError, "age more than once"),
    ],
)
def test_what_cannot_be_grouped_is_refused(content, columns, error, message, tmp_path: Path) -> None:
    path = tmp_path / "patients.csv"
    path.write_text(content)
    with pytest.raises(error, match=message):
        read_groups(path, columns, ["1"])


def test_a_column_of_many_values_needs_edges(tmp_path: Path) -> None:
    path = tmp_path / "patients.csv"
    path.write_text("study_id,age\n" + "".join(f"{n},{n}\n" for n in range(20)))
    with pytest.raises(InvalidOptionError, match="age:50,65"):
        read_groups(path, ["age"], [str(n) for n in range(20)])
