import numpy as np

from monai_spine.spine import FINDINGS, MIRROR
from monai_spine.tables.ensemble.stacking import features, log_ratios
from tests.monai_spine.tables.files import simulated


def test_left_and_right_have_the_same_features_seen_from_their_own_side() -> None:
    submissions = simulated().submissions[:, :5]
    mirrored = submissions[:, :, list(MIRROR)]
    one = features(submissions, submissions.mean(axis=0))
    other = features(mirrored, mirrored.mean(axis=0))
    assert np.allclose(other, one[:, list(MIRROR)])


def test_features_hold_the_findings_neighbours_and_nothing_beyond_the_last_level() -> None:
    pooled = simulated().submissions[0, :3]
    found = features(pooled[None], pooled)[..., :30].reshape(3, 25, 5, 3, 2)
    names = [finding.name for finding in FINDINGS]
    own, above = names.index("left_subarticular_stenosis_l3_l4"), names.index("left_subarticular_stenosis_l2_l3")
    assert np.allclose(found[:, own, 3, 1], log_ratios(pooled)[:, own])
    assert np.allclose(found[:, own, 3, 0], log_ratios(pooled)[:, above])
    right, left = names.index("right_subarticular_stenosis_l5_s1"), names.index("left_subarticular_stenosis_l5_s1")
    assert np.allclose(found[:, right, 3, 1], log_ratios(pooled)[:, right])
    assert np.allclose(found[:, right, 4, 1], log_ratios(pooled)[:, left])
    assert (found[:, right, :, 2] == 0).all()
