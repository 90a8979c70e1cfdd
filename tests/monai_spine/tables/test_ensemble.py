import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from monai_spine.errors import InvalidTableError
from monai_spine.scoring.competition import competition_score
from monai_spine.spine import FINDINGS, FLIPPED, MISSING, Grade, Group, columns_of
from monai_spine.tables.ensemble import FittedEnsemble, Method
from tests.monai_spine.tables.files import part, simulated

NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def stacked() -> FittedEnsemble:
    s = simulated()
    return FittedEnsemble.fit("stacked", NAMES, s.labels, s.submissions, s.study_ids, 0)


METHODS = get_args(Method)


@pytest.fixture(scope="module")
def fitted() -> dict[str, FittedEnsemble]:
    """Each method, fitted to a model of everything, one of the canal alone, and one that lacks studies."""
    s, rows = simulated(), lacking()
    return {method: FittedEnsemble.fit(method, NAMES, s.labels, rows, s.study_ids, 0) for method in METHODS}


def lacking() -> np.ndarray:
    rows = simulated().submissions.copy()
    others = [n for n in range(len(FINDINGS)) if n not in columns_of(Group.SPINAL)]
    rows[1][:, others] = np.nan
    rows[2, ::4] = np.nan
    return rows


def without(content: dict, *keys: str) -> dict:
    return {key: value for key, value in content.items() if key not in keys}


@pytest.mark.parametrize("method", METHODS)
def test_a_flipped_study_gets_the_flipped_prediction(method: str, fitted: dict[str, FittedEnsemble]) -> None:
    submissions = lacking()[:, :20]
    sided = fitted[method].apply(submissions[:, :, list(FLIPPED)])
    assert np.allclose(sided[:, list(FLIPPED)], fitted[method].apply(submissions))


@pytest.mark.parametrize("method", METHODS)
def test_every_row_is_answered_and_sums_to_1(method: str, fitted: dict[str, FittedEnsemble]) -> None:
    rows = lacking()
    rows[:, :2] = np.nan  # studies of which no model has anything
    answers = fitted[method].apply(rows)
    assert np.isfinite(answers).all()
    assert np.allclose(answers.sum(axis=-1), 1)


@pytest.mark.parametrize("method", ["mean", "ranks", "weighted"])
def test_a_model_without_rows_of_a_group_never_changes_that_group(method: str) -> None:
    s, rows = simulated(), lacking()
    others = [n for n in range(len(FINDINGS)) if n not in columns_of(Group.SPINAL)]
    three = FittedEnsemble.fit(method, NAMES, s.labels, rows, s.study_ids, 0).apply(rows)
    two = FittedEnsemble.fit(method, "ac", s.labels, rows[[0, 2]], s.study_ids, 0).apply(rows[[0, 2]])
    assert np.allclose(three[:, others], two[:, others], atol=1e-6)
    assert not np.allclose(three[:, columns_of(Group.SPINAL)], two[:, columns_of(Group.SPINAL)], atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_what_a_model_says_of_other_studies_does_not_change_a_study(
    method: str, fitted: dict[str, FittedEnsemble]
) -> None:
    rows = lacking()
    alone = fitted[method].apply(rows[:, :5])
    assert np.allclose(fitted[method].apply(rows)[:5], alone)


@pytest.mark.slow
def test_what_others_teach_makes_stacking_better_than_the_mean_on_studies_it_never_saw() -> None:
    simulation = simulated(1500, 4)
    known, unseen = slice(1000), slice(1000, None)
    found = FittedEnsemble.fit(
        "stacked", "abcd", simulation.labels[known], simulation.submissions[:, known], simulation.study_ids[known], 0
    )
    answers = found.apply(simulation.submissions[:, unseen])
    mean = simulation.submissions[:, unseen].mean(axis=0)
    labels = simulation.labels[unseen]
    assert competition_score(labels, answers).score < competition_score(labels, mean).score - 0.001


def test_the_same_input_gives_the_same_ensemble(stacked: FittedEnsemble) -> None:
    s = simulated()
    assert FittedEnsemble.fit("stacked", NAMES, s.labels, s.submissions, s.study_ids, 0).to_json() == stacked.to_json()


@pytest.mark.parametrize("method", METHODS)
def test_an_ensemble_comes_back_from_json_as_it_was(method: str, fitted: dict[str, FittedEnsemble]) -> None:
    submissions = lacking()[:, :10]
    again = FittedEnsemble.from_json(fitted[method].to_json())
    assert np.array_equal(again.apply(submissions), fitted[method].apply(submissions))


def test_a_damaged_ensemble_is_refused(stacked: FittedEnsemble, tmp_path: Path) -> None:
    content = json.loads(stacked.to_json())
    damaged = [
        without(content, "schema"),
        {**content, "method": "median"},
        {**content, "submissions": ["a"]},
        {**content, "weights": {}},
        {**content, "stack": {"spinal": {}}},
        {**content, "weights": {group: [None] * 3 for group in content["weights"]}},
    ]
    for n, one in enumerate(damaged):
        path = tmp_path / f"{n}.json"
        path.write_text(json.dumps(one))
        with pytest.raises(InvalidTableError, match="expected an ensemble"):
            FittedEnsemble.read(path)


def test_studies_without_severe_findings_but_one_are_no_obstacle() -> None:
    simulation = part(simulated(), slice(30))
    labels = np.where(simulation.labels == Grade.SEVERE, MISSING, simulation.labels)
    labels[0, :] = Grade.SEVERE
    found = FittedEnsemble.fit("stacked", NAMES, labels, simulation.submissions, simulation.study_ids, 0)
    assert np.isfinite(competition_score(labels, found.apply(simulation.submissions)).score)
