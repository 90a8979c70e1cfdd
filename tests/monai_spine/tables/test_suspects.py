from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from monai_spine.data.datalist import read_datalist
from monai_spine.errors import InvalidTableError
from monai_spine.scoring.prevalence import natural_prevalence
from monai_spine.spine import FINDINGS, MISSING, Grade, Group
from monai_spine.tables.audit_report import audit
from monai_spine.tables.out_of_fold import read_out_of_fold
from monai_spine.tables.suspects import expected_distances, find_suspects, label_errors, threshold_table
from tests.monai_spine.tables.files import change_rows, simulated


def test_the_error_is_the_largest_difference_between_probability_and_label() -> None:
    simulation = simulated()
    natural = natural_prevalence(simulation.submissions[0])
    errors = label_errors(simulation.labels, natural)
    by_hand = np.abs(natural - (simulation.labels[..., None] == np.arange(3))).max(axis=-1)
    known = simulation.labels != MISSING
    assert np.allclose(errors[known], by_hand[known])
    assert (errors[~known] == 0).all()


@given(st.integers(0, 2), st.floats(0, 1), st.floats(0, 1))
def test_the_expected_distance_by_hand(label: int, moderate: float, severe: float) -> None:
    rows = np.array([1.0, moderate, severe]) / (1 + moderate + severe)
    found = expected_distances(np.array([[label]]), rows[None, None])[0, 0]
    assert found == pytest.approx(sum(p * abs(grade - label) for grade, p in enumerate(rows)))


def test_wrong_labels_are_found_and_those_off_by_two_come_first() -> None:
    simulation = simulated()
    natural = natural_prevalence(simulation.submissions.mean(axis=0))
    known = simulation.labels != MISSING
    off = np.abs(simulation.labels - simulation.truth)[known]
    distances, errors = (f(simulation.labels, natural)[known] for f in (expected_distances, label_errors))
    assert average_precision_score(off > 0, distances) > 5 * (off > 0).mean()
    assert average_precision_score(off > 1, distances) > average_precision_score(off > 1, errors)
    assert (off[errors > 0.8] > 0).mean() > 0.9


def test_suspects_fall_in_suspicion_and_thresholds_flag_ever_fewer() -> None:
    simulation = simulated()
    natural = natural_prevalence(simulation.submissions[0])
    found = find_suspects(simulation.study_ids, simulation.labels, natural, 0.8)
    distances = [one.distance for one in found]
    assert distances == sorted(distances, reverse=True)
    assert all(one.error > 0.8 for one in found)
    table = threshold_table(simulation.labels, natural)
    assert [row.flagged for row in table] == sorted((row.flagged for row in table), reverse=True)
    assert next(row.flagged for row in table if row.threshold == 0.8) == len(found)


def test_an_error_equal_to_the_threshold_is_not_suspect() -> None:
    grades = np.full((1, 25), MISSING)
    grades[0, 3] = 0
    natural = np.tile([0.5, 0.25, 0.25], (1, 25, 1))
    assert find_suspects(["s"], grades, natural, 0.5) == []
    (suspect,) = find_suspects(["s"], grades, natural, 0.49)
    assert (suspect.error, suspect.distance, suspect.finding) == (0.5, 0.75, FINDINGS[3])
    assert [row.flagged for row in threshold_table(grades, natural)] == [0] * 6
    natural[0, 3] = [0.25, 0.25, 0.5]
    assert find_suspects(["s"], grades, natural, 0.5)[0].likeliest is Grade.SEVERE
    assert [row.flagged for row in threshold_table(grades, natural)] == [1, 1, 1, 0, 0, 0]
    grades[0, 2] = 0  # another label of the group, which nothing contradicts
    assert threshold_table(grades, natural)[0].of_group == {Group.SPINAL: 0.5}


def test_doubted_labels_go_from_the_cleaned_datalist_and_nothing_else_does(cohort, tmp_path: Path) -> None:
    datalist, solution, submission, _ = cohort
    found = audit(
        read_out_of_fold(solution, [submission], datalist=datalist), tmp_path / "a" / "audit", datalist, quiet=True
    )
    before, after = read_datalist(datalist), read_datalist(tmp_path / "a" / "audit" / "datalist.json")
    assert [(s, t) for s in range(3) for t in range(25) if after[s]["label"][t] != before[s]["label"][t]] == [
        (0, 3),
        (0, 20),
        (1, 9),
    ]
    assert after[0]["label"][3] == MISSING
    assert [Path(r["sagittal_t1"][0]).resolve() for r in after] == [Path(r["sagittal_t1"][0]) for r in before]
    assert len(found.suspects) == 3


def test_an_audit_of_one_condition_names_no_other(cohort, tmp_path: Path) -> None:
    datalist, solution, submission, _ = cohort
    canal = change_rows(submission, tmp_path / "canal.csv", lambda rows: rows[rows["row_id"].str.contains("spinal")])
    table = read_out_of_fold(solution, [canal], datalist=datalist)
    found = audit(table, tmp_path / "audit", datalist, quiet=True)
    assert {one.finding.condition.group for one in found.suspects} == {Group.SPINAL}
    page, thresholds = ((tmp_path / "audit" / name).read_text() for name in ("audit.html", "thresholds.csv"))
    for text in (found.to_text(), page.lower(), thresholds):
        assert "spinal" in text
        assert "foraminal" not in text
        assert "subarticular" not in text


def test_studies_with_many_doubted_labels_can_be_left_out_instead(cohort, tmp_path: Path) -> None:
    datalist, solution, submission, _ = cohort
    audit(
        read_out_of_fold(solution, [submission], datalist=datalist),
        tmp_path / "audit",
        datalist,
        drop_studies=2,
        quiet=True,
    )
    after = read_datalist(tmp_path / "audit" / "datalist.json")
    assert [record["study_id"] for record in after] == [r["study_id"] for r in read_datalist(datalist)][1:]
    assert all((record["label"] == 0).all() for record in after)


def test_the_datalist_of_another_solution_is_refused(cohort, tmp_path: Path) -> None:
    datalist, solution, submission, _ = cohort
    content = json.loads(datalist.read_text())
    content["training"][0]["label"][3] = 1
    datalist.write_text(json.dumps(content))
    with pytest.raises(InvalidTableError, match="other labels than the solution for 1 finding"):
        table = read_out_of_fold(solution, [submission], datalist=datalist)
        audit(table, tmp_path / "audit", datalist, quiet=True)
