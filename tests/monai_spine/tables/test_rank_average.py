import numpy as np
import pytest
from scipy.stats import spearmanr

from monai_spine.scoring.prevalence import normalised
from monai_spine.spine import Group, columns_of
from monai_spine.tables.ensemble import fit_quantiles, rank_average
from monai_spine.tables.stacking import log_ratios
from tests.monai_spine.tables.files import simulated


def averaged(submissions: np.ndarray) -> np.ndarray:
    return rank_average(submissions, fit_quantiles(submissions))


def test_models_that_agree_keep_their_probabilities() -> None:
    one = simulated().submissions[:1]
    expected = log_ratios(one[0])
    found = log_ratios(averaged(np.concatenate([one, one])))
    inner = np.abs(expected) < 3  # in the tails, 257 quantiles of 1,500 rows lie far apart
    assert found[inner] == pytest.approx(expected[inner], abs=0.05)


def test_how_sure_a_model_is_does_not_change_the_order() -> None:
    submissions = np.random.default_rng(0).dirichlet([6, 4, 3], size=(2, 150, 25))
    unsure = submissions.copy()
    unsure[1] = normalised(submissions[1] ** 0.4)  # the same order of its log ratios, nearer to 0
    plain, changed = (log_ratios(averaged(rows)) for rows in (submissions, unsure))
    means = [log_ratios(rows.mean(axis=0)) for rows in (submissions, unsure)]
    own = columns_of(Group.FORAMINAL)

    def agreement(one: np.ndarray, other: np.ndarray) -> float:
        return float(spearmanr(one[:, own, 1].ravel(), other[:, own, 1].ravel())[0])

    assert agreement(plain, changed) > 0.999 > agreement(*means) + 0.01


def test_a_model_that_says_the_same_of_everything_has_no_order() -> None:
    one = simulated().submissions[:1]
    constant = np.broadcast_to(np.array([0.5, 0.3, 0.2]), one.shape)
    found = averaged(np.concatenate([one, constant]))
    own = columns_of(Group.SPINAL)
    order = spearmanr(log_ratios(found)[:, own, 0].ravel(), log_ratios(one[0])[:, own, 0].ravel())[0]
    assert order > 0.999
