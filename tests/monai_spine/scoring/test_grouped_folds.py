import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monai_spine.errors import InvalidOptionError
from monai_spine.scoring.grouped_folds import grouped_folds, out_of_fold
from monai_spine.spine import MISSING, Grade
from tests.monai_spine.tables.files import simulated


@given(st.lists(st.integers(0, 12), min_size=14, max_size=60), st.integers(2, 5), st.integers(0, 99))
def test_a_patients_studies_share_a_fold_and_no_fold_is_empty(owners: list[int], folds: int, seed: int) -> None:
    patients = [str(owner) for owner in owners]
    grades = np.random.default_rng(seed).choice([0, 1, 2, MISSING], size=(len(owners), 25), p=[0.8, 0.1, 0.05, 0.05])
    if len(set(patients)) < folds:
        with pytest.raises(InvalidOptionError, match="--folds"):
            grouped_folds(grades, patients, folds, seed)
        return
    found = grouped_folds(grades, patients, folds, seed)
    assert set(found) == set(range(folds))
    assert all(len(set(found[np.array(patients) == patient])) == 1 for patient in set(patients))
    assert np.array_equal(found, grouped_folds(grades, patients, folds, seed))


def test_severe_canals_are_spread_evenly() -> None:
    labels = simulated().labels
    severe = (labels[:, :5] == Grade.SEVERE).any(axis=1)
    folds = grouped_folds(labels, simulated().study_ids, 5)
    assert np.ptp(np.bincount(folds[severe])) <= 1


def test_every_study_is_answered_for_by_what_others_taught() -> None:
    folds = np.array([0, 1, 0, 2, 1])

    def learnt_from(training: np.ndarray, held_out: np.ndarray) -> np.ndarray:
        assert not set(training) & set(held_out)
        return np.full(len(held_out), float(sum(2**n for n in training)))

    answers = out_of_fold(folds, learnt_from, np.zeros(5))
    assert answers.tolist() == [31 - 5, 31 - 18, 31 - 5, 31 - 8, 31 - 18]


def test_the_folds_of_each_stratum_differ_by_at_most_one_patient() -> None:
    grades = np.zeros((31, 25), dtype=np.int64)
    grades[:7, 2] = Grade.SEVERE
    grades[7:18, 9] = Grade.SEVERE
    folds = grouped_folds(grades, [str(n) for n in range(31)], 3, seed=5)
    for stratum in (slice(7), slice(7, 18), slice(18, None)):
        assert np.ptp(np.bincount(folds[stratum], minlength=3)) <= 1


def test_the_same_seed_gives_the_same_folds_and_0_is_the_default() -> None:
    grades, patients = np.zeros((40, 25), dtype=np.int64), [str(n) for n in range(40)]
    assert np.array_equal(grouped_folds(grades, patients, 4), grouped_folds(grades, patients, 4, seed=0))
    assert not np.array_equal(grouped_folds(grades, patients, 4), grouped_folds(grades, patients, 4, seed=1))


@pytest.mark.parametrize("folds", [1, 4])
def test_fewer_than_2_folds_or_more_than_patients_are_refused(folds: int) -> None:
    grades = np.zeros((3, 25), dtype=np.int64)
    with pytest.raises(InvalidOptionError, match="from 2 to 3, the number of patients"):
        grouped_folds(grades, ["a", "b", "c"], folds)
    assert set(grouped_folds(grades, ["a", "b", "c"], 3)) == {0, 1, 2}
    assert set(grouped_folds(grades, ["a", "b", "c"], 2)) == {0, 1}
