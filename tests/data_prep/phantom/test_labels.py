"""Label statistics, readers and floor: labels without images."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from data_prep.phantom.disease import SHARES, model
from data_prep.phantom.labels import best_rows, floor_report, posterior, prior_rows, read, score
from data_prep.phantom.study import draw_findings
from monai_spine.scoring import competition as scoring
from monai_spine.spine import FINDINGS, MISSING, Condition, Group, Level

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
    known = (one != MISSING) & (other != MISSING)
    assert (one == other)[known].mean() == pytest.approx(agreement, abs=0.03)


@pytest.mark.parametrize(("level", "correlation"), [(0, 0.37), (1, 0.46)])
def test_neighbouring_levels_correlate_as_in_the_real_labels(cohort, level, correlation):
    canal = columns(cohort[0], Condition.SPINAL_CANAL_STENOSIS)
    known = (canal[:, level] != MISSING) & (canal[:, level + 1] != MISSING)
    between = np.corrcoef(canal[known, level], canal[known, level + 1])[0, 1]
    assert between == pytest.approx(correlation, abs=0.1)


def test_conditions_of_uncorrelated_studies_have_nothing_to_do_with_each_other() -> None:
    severity = np.array([draw_findings(3, index, 1.0).disease.severity for index in range(STUDIES)])
    usual = np.array([draw_findings(3, index).disease.severity for index in range(STUDIES)])
    by_condition = severity.reshape(STUDIES, len(Condition), len(Level))
    between = np.corrcoef(by_condition[:, :, 3].T)
    assert np.abs(between[~np.eye(len(Condition), dtype=bool)]).max() < 0.08
    assert np.corrcoef(by_condition[:, 0, :2].T)[0, 1] == pytest.approx(0.72, abs=0.05)
    assert severity.mean(axis=0) == pytest.approx(usual.mean(axis=0), abs=0.1)
    some = np.array([draw_findings(3, index, 0.25).disease.severity for index in range(STUDIES)])
    assert (some == usual).all(axis=1).mean() == pytest.approx(0.75, abs=0.04)
    assert (some == severity).all(axis=1).mean() == pytest.approx(0.25, abs=0.04)


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
    labels = np.array([read(severity, rng) for _ in range(4000)])
    frequency = np.stack([(labels == grade).mean(axis=0) for grade in range(3)], axis=-1)
    assert np.abs(frequency - posterior(severity)).max() < 0.03


def test_posterior_is_surest_far_from_the_thresholds():
    at_threshold, far = (posterior(np.full(len(FINDINGS), v)).max(axis=1) for v in (1.0, 8.0))
    assert np.all(at_threshold < 0.6)
    assert np.all(far > 0.93)


def test_label_shares_survive_the_reader():
    stats = model()
    rng = np.random.default_rng(1)
    true = stats.mean + stats.spread * np.sqrt(stats.reliability) * rng.standard_normal((20000, len(FINDINGS)))
    assert np.abs(posterior(true).mean(axis=0) - stats.shares).max() < 0.01


def test_floor_lies_below_prior_and_prior_below_uniform(cohort):
    report = floor_report(*cohort)
    assert report["floor"]["score"] < report["prior"]["score"] < report["uniform"]["score"]
    assert 0.30 < report["floor"]["score"] < 0.40


def test_no_blurred_or_sharpened_posterior_beats_the_floor(cohort):
    labels, probabilities = cohort
    best = score(labels, best_rows(probabilities))["score"]
    for power in (0.7, 1.4):
        other = probabilities**power
        assert score(labels, best_rows(other / other.sum(-1, keepdims=True)))["score"] > best


@pytest.mark.parametrize("seed", range(5))
def test_every_part_of_the_score_is_that_of_the_packages_own_metric(seed):
    rng = np.random.default_rng(seed)
    labels = rng.choice([MISSING, 0, 1, 2], (30, len(FINDINGS)), p=[0.2, 0.4, 0.25, 0.15])
    labels[:3, : len(Level)] = MISSING  # studies without any canal label
    rows = rng.dirichlet([1.0, 1.0, 1.0], labels.shape) * rng.uniform(0.5, 2.0, (*labels.shape, 1))
    rows[5, :, 0] = 0.0
    labels[6, : len(Level)], rows[6, : len(Level)] = 0, (0.0, 0.0, 1.0)  # certain, and wrong
    assert score(labels, rows) == pytest.approx(scoring.competition_score(labels, rows).as_dict(), rel=1e-9)


def test_a_part_without_labels_has_no_score_and_does_not_count():
    labels = np.zeros((4, len(FINDINGS)), dtype=int)
    labels[:, : len(Level)] = MISSING
    parts = score(labels, np.full((*labels.shape, 3), 1 / 3))
    assert np.isnan(parts["spinal"])
    assert np.isnan(parts["any_severe_spinal"])
    assert parts["score"] == pytest.approx(np.log(3))


def test_prior_rows_are_the_weighted_prior_of_every_finding(cohort):
    labels, _ = cohort
    assert prior_rows(labels)[7] == pytest.approx(scoring.level_prior(labels), abs=1e-9)


@pytest.mark.parametrize(
    ("group", "low", "high"),
    [(Group.SPINAL, 0.68, 0.82), (Group.FORAMINAL, 0.5, 0.62), (Group.SUBARTICULAR, 0.5, 0.62)],
)
def test_two_readers_agree_as_published(group, low, high):
    rng = np.random.default_rng(9)
    severities = [draw_findings(9, index).disease.severity for index in range(600)]
    members = [n for n, finding in enumerate(FINDINGS) if finding.condition.group is group]
    one, other = (np.array([read(severity, rng) for severity in severities])[:, members].ravel() for _ in range(2))
    assert low < cohen_kappa_score(one, other, weights="linear") < high
