"""Folds: no patient in two of them, severity spread evenly, the same for the same seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from data_prep import folds
from data_prep.phantom.study import draw_findings
from monai_spine.errors import InvalidOptionError
from monai_spine.spine import FINDINGS, Grade


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


def test_folds_are_as_even_as_they_can_be_in_size_and_in_severe_canals(labels):
    for per_patient in (1, 2):
        names = patients(labels, per_patient)
        table = folds.shares(names, labels, folds.assign(names, labels, 5, 0))
        assert table["studies"][:5].max() - table["studies"][:5].min() <= per_patient
        severe = (table["studies"] * table["any_severe_spinal"])[:5].round()
        assert severe.max() - severe.min() <= 1


def test_folds_are_more_even_than_those_of_one_class_alone(labels):
    severe = (labels[:, :5] == Grade.SEVERE).any(axis=1).astype(int)
    names = patients(labels, 2)
    splitter = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    theirs = np.zeros(len(labels), dtype=int)
    for fold, (_, members) in enumerate(splitter.split(labels, severe, names)):
        theirs[members] = fold

    def spread(chosen):
        return folds.shares(names, labels, chosen)[:5].drop(columns=["studies", "patients"]).std().mean()

    assert spread(folds.assign(names, labels, 5, 0)) < 0.4 * spread(theirs.tolist())


def test_shares_have_a_row_per_fold_and_one_for_all(labels):
    names = patients(labels, 2)
    table = folds.shares(names, labels, folds.assign(names, labels, 5, 0))
    assert list(table.index) == ["0", "1", "2", "3", "4", "all"]
    assert table["studies"].tolist()[:5] == [80] * 5
    assert table.loc["all", "patients"] == 200
    graded = labels[:, :5][labels[:, :5] >= 0]
    assert table.loc["all", "spinal_canal_stenosis_severe"] == pytest.approx((graded == 2).mean())
    assert "any severe spinal" in folds.text_table(table)


def test_shares_of_nothing_graded_are_not_numbers():
    table = folds.shares(["a", "b"], np.full((2, len(FINDINGS)), -1), [0, 1])
    assert table["missing"].tolist() == [1, 1, 1]
    assert table["left_subarticular_stenosis_severe"].isna().all()


def test_parts_of_any_size_are_filled_and_none_stays_empty():
    groups, ones = np.arange(10), np.ones((10, 1))
    for refine in (False, True):
        dealt = folds.distribute(groups, ones, [1.0], [0.2, 0.8], seed=0, refine=refine)
        assert np.bincount(dealt).tolist() == [2, 8]
        assert set(folds.distribute(groups[:3], ones[:3], [1.0], [0.01, 0.99], seed=0, refine=refine)) == {0, 1}


def test_what_is_rare_is_dealt_out_first_and_evenly():
    counts = np.array([[1, 1], [1, 1], [1, 0], [1, 0], [1, 0], [1, 0], [1, 0], [1, 0]], dtype=float)
    for seed in range(5):
        dealt = folds.distribute(np.arange(8), counts, [1.0, 1.0], [0.5, 0.5], seed=seed, refine=False)
        assert sorted(dealt[:2]) == [0, 1]
        assert np.bincount(dealt).tolist() == [4, 4]


@pytest.mark.parametrize("seed", range(8))
def test_each_group_is_dealt_to_the_fold_with_which_all_folds_stray_least(seed):
    rng = np.random.default_rng(seed)
    counts = np.stack([np.arange(12, 0, -1), *rng.integers(0, 3, (2, 12))], axis=1).astype(float)
    weights, parts = np.array([400.0, 1.0, 2.0]), np.array([0.5, 0.3, 0.2])  # the largest groups come first
    dealt = folds.distribute(np.arange(12), counts, weights, parts, seed=seed, refine=False)
    share = counts / counts.sum(axis=0)

    def unevenness(chosen):
        sums = np.stack([share[: len(chosen)][chosen == fold].sum(axis=0) for fold in range(3)])
        return float((((sums - parts[:, None]) ** 2) * weights).sum())

    for group in range(12):
        least = min(unevenness(np.append(dealt[:group], fold)) for fold in range(3))
        assert unevenness(dealt[: group + 1]) == pytest.approx(least, abs=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_of_folds_that_stray_alike_the_one_with_more_room_for_its_size_gets_the_group(seed):
    """In some orders, the last group of (1, 1) adds as much to a half-full fold 0 as to a fold that is full."""
    counts = np.array([[1.0, 1], [1, 1], [1, 0], [1, 2]])
    dealt = folds.distribute(np.arange(4), counts, [1.0, 1.0], [0.5, 0.25, 0.25], seed=seed, refine=False)
    assert np.bincount(dealt).tolist() == [2, 1, 1]


def test_groups_move_one_after_the_other_out_of_a_fold_that_has_nearly_all():
    share, dealt = np.full((8, 1), 0.125), np.array([0, 1, 1, 1, 1, 1, 1, 1])
    for full in (0, 1):
        refined = folds._refined(share, dealt ^ (1 - full), np.array([[0.5], [0.5]]), np.arange(8))
        assert np.bincount(refined).tolist() == [4, 4]


def test_what_no_sample_has_changes_nothing(labels):
    counts = folds.strata(labels[:60])
    with_nothing = np.column_stack([counts, np.zeros(60)])
    weights = np.ones(counts.shape[1])
    one = folds.distribute(np.arange(60), counts, weights, [0.5, 0.5], seed=0)
    other = folds.distribute(np.arange(60), with_nothing, [*weights, 1.0], [0.5, 0.5], seed=0)
    assert np.array_equal(one, other)


def test_the_largest_groups_are_dealt_out_first():
    sizes = np.array([[1.0], [1], [1], [1], [4]])
    for seed in range(5):
        dealt = folds.distribute(np.arange(5), sizes, [1.0], [0.5, 0.5], seed=seed, refine=False)
        assert [sizes[dealt == fold].sum() for fold in (0, 1)] == [4, 4]


def test_exchanging_makes_even_what_the_greedy_deal_left_uneven():
    sizes = np.array([[8.0], [7], [6], [5], [4]])

    def totals(refine):
        dealt = folds.distribute(np.arange(5), sizes, [1.0], [0.5, 0.5], seed=0, refine=refine)
        return sorted(sizes[dealt == fold].sum() for fold in (0, 1))

    assert totals(refine=False) == [13, 17]
    assert totals(refine=True) == [15, 15]


@pytest.mark.parametrize("seed", range(8))
def test_no_exchange_and_no_move_of_a_group_makes_folds_more_even(seed):
    rng = np.random.default_rng(seed)
    groups = np.concatenate([np.arange(9), rng.integers(0, 9, 9)])
    counts = np.stack([np.ones(18), *rng.integers(0, 3, (2, 18))], axis=1).astype(float)
    weights, parts = np.array([4.0, 1.0, 2.0]), np.array([0.5, 0.3, 0.2])
    share = np.stack([counts[groups == group].sum(axis=0) for group in range(9)]) / counts.sum(axis=0)

    def unevenness(fold_of_group):
        held = np.stack([share[fold_of_group == fold].sum(axis=0) for fold in range(3)])
        return float((((held - parts[:, None]) ** 2) * weights).sum())

    dealt = folds.distribute(groups, counts, weights, parts, seed=seed)
    chosen = np.array([dealt[groups == group][0] for group in range(9)])
    assert all((dealt[groups == group] == chosen[group]).all() for group in range(9))
    for first in range(9):
        for change in (*range(9), "to 0", "to 1", "to 2"):
            other = chosen.copy()
            if isinstance(change, str):
                other[first] = int(change[-1])
            else:
                other[[first, change]] = chosen[[change, first]]
            if len(set(other)) == 3:
                assert unevenness(other) >= unevenness(chosen) - 1e-9


def test_connected_samples_have_one_group_and_others_their_own():
    groups = folds.connected(5, [(0, 3), (3, 4)])
    assert groups[0] == groups[3] == groups[4]
    assert len({groups[0], groups[1], groups[2]}) == 3
    assert len(set(folds.connected(3, []))) == 3


def test_the_table_for_people_has_counts_and_percentages():
    table = folds.shares(["a", "b"], np.zeros((2, len(FINDINGS)), dtype=np.int64), [0, 1])
    lines = folds.text_table(table).splitlines()
    assert lines[0].split() == ["fold", "0", "1", "all"]
    assert lines[1].split() == ["studies", "1", "1", "2"]
    assert lines[3].split() == ["any", "severe", "spinal", "0.0%", "0.0%", "0.0%"]
    assert len(set(map(len, lines))) == 1
