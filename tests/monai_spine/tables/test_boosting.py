import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from monai_spine.scoring.competition import competition_score, level_prior
from monai_spine.spine import MISSING, Group, columns_of
from monai_spine.tables.boosting import Booster, _start, _trees, apply_boosters, fit_boosters
from tests.monai_spine.tables.files import simulated


@pytest.fixture(scope="module")
def model() -> tuple[HistGradientBoostingClassifier, np.ndarray]:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(600, 5))
    rows[rng.random(rows.shape) < 0.1] = np.nan
    grades = (np.nan_to_num(rows[:, 0]) > 0.2).astype(int) + (np.nan_to_num(rows[:, 1]) > 0.8)
    found = HistGradientBoostingClassifier(max_iter=30, max_leaf_nodes=6, random_state=0).fit(rows, grades)
    return found, rng.normal(size=(200, 5)) * np.where(rng.random((200, 5)) < 0.2, np.nan, 1.0)


def test_the_stored_trees_answer_as_scikit_learn_does(model) -> None:
    found, rows = model
    booster = Booster(1.0, _start(found), _trees(found))
    assert booster.probabilities(rows) == pytest.approx(found.predict_proba(rows), abs=1e-12)


def test_trees_that_do_not_lead_onwards_are_refused(model) -> None:
    booster = Booster(1.0, _start(model[0]), _trees(model[0]))
    for name, value in {"left": 0, "right": 10_000, "feature": 99}.items():
        content = booster.content()
        content["trees"][0][0][name][0] = value
        with pytest.raises(ValueError, match="lead onwards"):
            Booster.from_content(content, 5)


def test_trees_are_left_out_where_there_is_nothing_to_learn() -> None:
    rng = np.random.default_rng(1)
    grades = rng.choice(3, size=(150, 25), p=[0.7, 0.2, 0.1])
    noise = rng.dirichlet([5, 3, 2], size=(1, 150, 25))
    pooled = np.broadcast_to(level_prior(grades), (150, 25, 3)).copy()
    assert not fit_boosters(grades, noise, pooled, [str(n) for n in range(150)], 0)


@pytest.mark.slow
def test_a_group_without_all_three_grades_keeps_its_pooled_probabilities() -> None:
    s = simulated()
    labels, own = s.labels.copy(), columns_of(Group.FORAMINAL)
    labels[:, own] = np.where(labels[:, own] == 2, MISSING, labels[:, own])
    pooled = s.submissions.mean(axis=0)
    boosters = fit_boosters(labels, s.submissions, pooled, s.study_ids, 0)
    assert Group.FORAMINAL not in boosters
    assert np.array_equal(apply_boosters(boosters, s.submissions, pooled)[:, own], pooled[:, own])


@pytest.mark.slow
def test_trees_repair_a_pool_that_is_wrong_for_one_level() -> None:
    s = simulated(600, 2)
    submissions = s.submissions.copy()
    lowest = [n for n in range(25) if n % 5 == 4]
    submissions[:, :, lowest] = submissions[:, :, lowest][..., ::-1]  # normal and severe exchanged at L5/S1
    known, unseen = slice(400), slice(400, None)
    pooled = submissions.mean(axis=0)
    boosters = fit_boosters(s.labels[known], submissions[:, known], pooled[known], s.study_ids[known], 0)
    answers = apply_boosters(boosters, submissions[:, unseen], pooled[unseen])
    labels = s.labels[unseen]
    assert competition_score(labels, answers).score < competition_score(labels, pooled[unseen]).score - 0.05
