"""The phantom's label statistics, readers and floor, on labels alone."""

import numpy as np
import pytest

from data_prep.phantom import floor, readers
from data_prep.phantom.disease import SHARES, model
from data_prep.phantom.statistics import statistics
from data_prep.phantom.study import draw_findings
from monai_spine.scoring import competition as scoring
from monai_spine.spine import FINDINGS, MISSING, Condition, Level

STUDIES = 2000


@pytest.fixture(scope="module")
def cohort():
    findings = [draw_findings(3, index) for index in range(STUDIES)]
    return np.array([f.labels for f in findings]), np.array([f.posterior for f in findings])


def columns(labels, condition):
    start = list(Condition).index(condition) * len(Level)
    return labels[:, start : start + len(Level)]


def test_shares_are_those_of_the_real_labels(cohort):
    labels, _ = cohort
    shares = np.stack([(labels == grade).mean(axis=0) for grade in range(3)], axis=-1)
    real = np.array([SHARES[f.condition][list(Level).index(f.level)] for f in FINDINGS])
    assert np.abs(shares - real).max() < 0.03


def test_any_severe_canal_is_as_frequent_as_in_the_real_labels(cohort):
    severe = (columns(cohort[0], Condition.SPINAL_CANAL_STENOSIS) == 2).any(axis=1).mean()
    assert severe == pytest.approx(0.185, abs=0.03)


@pytest.mark.parametrize(
    ("left", "agreement"),
    [(Condition.LEFT_NEURAL_FORAMINAL_NARROWING, 0.76), (Condition.LEFT_SUBARTICULAR_STENOSIS, 0.74)],
)
def test_sides_agree_as_in_the_real_labels(cohort, left, agreement):
    one, other = columns(cohort[0], left), columns(cohort[0], left.flipped)
    there = (one != MISSING) & (other != MISSING)
    assert (one == other)[there].mean() == pytest.approx(agreement, abs=0.03)


@pytest.mark.parametrize(("level", "correlation"), [(0, 0.37), (1, 0.46)])
def test_neighbouring_levels_correlate_as_in_the_real_labels(cohort, level, correlation):
    canal = columns(cohort[0], Condition.SPINAL_CANAL_STENOSIS)
    there = (canal[:, level] != MISSING) & (canal[:, level + 1] != MISSING)
    found = np.corrcoef(canal[there, level], canal[there, level + 1])[0, 1]
    assert found == pytest.approx(correlation, abs=0.1)


def test_missing_labels_are_nearly_all_subarticular_at_the_upper_levels(cohort):
    missing = cohort[0] == MISSING
    upper = [f.level in (Level.L1_L2, Level.L2_L3) and "subarticular" in f.name for f in FINDINGS]
    assert missing.any(axis=1).mean() == pytest.approx(0.09, abs=0.02)
    assert missing[:, upper].sum() > 0.9 * missing.sum()


def test_labels_do_not_depend_on_the_cohort():
    assert np.array_equal(draw_findings(5, 17).labels, draw_findings(5, 17).labels)
    assert not np.array_equal(draw_findings(5, 17).posterior, draw_findings(6, 17).posterior)


def test_posterior_is_the_frequency_of_the_readers_labels():
    severity = draw_findings(0, 1).disease.severity
    rng = np.random.default_rng(0)
    read = np.array([readers.read(severity, rng) for _ in range(4000)])
    frequency = np.stack([(read == grade).mean(axis=0) for grade in range(3)], axis=-1)
    assert np.abs(frequency - readers.posterior(severity)).max() < 0.03


def test_posterior_is_surest_far_from_the_thresholds():
    at_threshold, far = (readers.posterior(np.full(len(FINDINGS), v)).max(axis=1) for v in (1.0, 8.0))
    assert np.all(at_threshold < 0.6)
    assert np.all(far > 0.93)


def test_label_shares_survive_the_reader():
    stats = model()
    rng = np.random.default_rng(1)
    true = stats.mean + stats.spread * np.sqrt(stats.reliability) * rng.standard_normal((20000, len(FINDINGS)))
    assert np.abs(readers.posterior(true).mean(axis=0) - stats.shares).max() < 0.01


def test_floor_lies_below_prior_and_prior_below_uniform(cohort):
    report = floor.report(*cohort)
    assert report["floor"]["score"] < report["prior"]["score"] < report["uniform"]["score"]
    assert 0.30 < report["floor"]["score"] < 0.40


def test_no_blurred_or_sharpened_posterior_beats_the_floor(cohort):
    labels, posterior = cohort
    best = floor.score(labels, floor.best_rows(posterior))["score"]
    for power in (0.7, 1.4):
        other = posterior**power
        assert floor.score(labels, floor.best_rows(other / other.sum(-1, keepdims=True)))["score"] > best


def test_floor_scores_as_the_packages_own_metric_does(cohort):
    labels, posterior = (array[:50] for array in cohort)
    ours = floor.score(labels, floor.best_rows(posterior))
    theirs = scoring.competition_score(labels, floor.best_rows(posterior))
    assert ours["score"] == pytest.approx(theirs.score, rel=1e-9)


def test_statistics_are_those_of_the_cohort(cohort):
    found = statistics(100, seed=3)
    labels, posterior = (array[:100] for array in cohort)
    assert found["score"] == floor.report(labels, posterior)
    assert found["any_missing"] == pytest.approx((labels == MISSING).any(axis=1).mean())


def test_readers_agree_as_published():
    kappas = statistics(600, seed=9)["linear_kappa_of_two_readers"]
    assert 0.68 < kappas["spinal"] < 0.82
    assert 0.5 < kappas["foraminal"] < 0.62
    assert 0.5 < kappas["subarticular"] < 0.62
