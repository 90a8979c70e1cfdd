"""Folds: no patient in two of them, severity spread evenly, the same for the same seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep import folds
from data_prep.phantom.study import draw_findings
from monai_spine.errors import InvalidOptionError, SpineError
from monai_spine.spine import FINDINGS


@pytest.fixture(scope="module")
def labels():
    return np.array([draw_findings(0, index).labels for index in range(400)])


def patients(labels, per_patient=1):
    return [f"p{index // per_patient}" for index in range(len(labels))]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=8, max_size=60), st.integers(2, 4), st.integers(0, 5))
def test_no_patient_is_split(owners, count, seed):
    names = [f"p{owner}" for owner in [*range(count), *owners]]
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1, 3, (len(names), len(FINDINGS)))
    chosen = folds.assign(names, labels, count, seed)
    assert set(chosen) == set(range(count))
    assert len({(name, fold) for name, fold in zip(names, chosen, strict=True)}) == len(set(names))


@pytest.mark.parametrize("per_patient", [1, 3])
def test_severe_findings_are_spread_evenly(labels, per_patient):
    chosen = np.array(folds.assign(patients(labels, per_patient), labels, 5, 0))
    table = folds.strata(labels)
    totals = np.array([table[chosen == fold].sum(axis=0) for fold in range(5)])
    expected = table.sum(axis=0) / 5
    assert np.all(np.abs(totals - expected) <= np.maximum(2.0 + per_patient, 0.12 * expected))


def test_stratified_folds_are_more_even_than_random_ones(labels):
    def unevenness(chosen):
        table = folds.strata(labels)
        return np.std([table[chosen == fold].mean(axis=0) for fold in range(5)], axis=0).sum()

    rng = np.random.default_rng(0)
    ours = unevenness(np.array(folds.assign(patients(labels), labels, 5, 0)))
    assert ours < 0.3 * np.mean([unevenness(rng.permutation(np.arange(400) % 5)) for _ in range(20)])


def test_the_same_seed_makes_the_same_folds(labels):
    names = patients(labels)
    assert folds.assign(names, labels, 5, 1) == folds.assign(names, labels, 5, 1)
    assert folds.assign(names, labels, 5, 1) != folds.assign(names, labels, 5, 2)


def test_the_order_of_studies_does_not_matter(labels):
    names = patients(labels)
    order = np.random.default_rng(0).permutation(len(names))
    straight = folds.assign(names, labels, 5, 0)
    shuffled = folds.assign([names[n] for n in order], labels[order], 5, 0)
    assert [straight[n] for n in order] == shuffled


@pytest.mark.parametrize("count", [1, 4])
def test_impossible_numbers_of_folds_are_refused(count):
    with pytest.raises(InvalidOptionError, match=f"--folds {count}"):
        folds.assign(["a", "b", "c"], np.zeros((3, len(FINDINGS)), dtype=np.int64), count, 0)


def test_a_leak_is_an_error():
    with pytest.raises(SpineError, match="more than one fold: b"):
        folds.check_no_leak(["a", "b", "b"], [0, 0, 1])


def test_shares_have_a_row_per_fold(labels):
    chosen = folds.assign(patients(labels), labels, 5, 0)
    table = folds.shares(labels, chosen)
    assert table["studies"].sum() == 400
    assert list(table.index) == [0, 1, 2, 3, 4]
