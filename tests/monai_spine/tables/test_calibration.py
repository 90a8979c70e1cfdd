from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from monai_spine.errors import InvalidTableError, MissingInputError
from monai_spine.scoring.figures import bin_sums, calibration_errors
from monai_spine.scoring.prevalence import WEIGHTS, natural_prevalence, normalised
from monai_spine.spine import MISSING, Grade, Group, columns_of
from monai_spine.tables.calibration import Calibration, Scaling, fit_temperature, fit_vector, identity, mean_log_loss
from tests.monai_spine.tables.files import part, simulated


def drawn(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and grades that occur with just these probabilities."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet([2, 1, 0.5], size=rows)
    return probabilities, (rng.random((rows, 1)) > probabilities.cumsum(axis=1)[:, :2]).sum(axis=1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_a_temperature_that_was_applied_is_found_again(temperature: float) -> None:
    probabilities, grades = drawn(20_000)
    heated = normalised(probabilities ** (1 / temperature))
    assert fit_temperature(heated, grades).scale == pytest.approx(temperature, rel=0.05)


def test_biases_that_were_applied_are_found_again_and_scales_stay() -> None:
    probabilities, grades = drawn(20_000)
    biased = normalised(probabilities * [1, 3, 0.5])
    found = fit_vector(biased, grades)
    assert found.scale == pytest.approx(1, abs=0.1)
    assert found.bias - found.bias[0] == pytest.approx(np.log([1, 1 / 3, 2]), abs=0.1)


def test_vector_scaling_has_no_more_log_loss_than_any_of_its_neighbours() -> None:
    probabilities, grades = drawn(3000, seed=1)
    found = fit_vector(normalised(probabilities**1.5 * [1, 2, 4]), grades)
    rows = normalised(probabilities**1.5 * [1, 2, 4])
    least = mean_log_loss(found.apply(rows), grades)
    for n in range(3):
        for step in (-0.05, 0.05):
            away = step * np.eye(3)[n]
            assert mean_log_loss(Scaling(found.scale + away, found.bias).apply(rows), grades) > least - 1e-6
            assert mean_log_loss(Scaling(found.scale, found.bias + away).apply(rows), grades) > least - 1e-6


def test_a_full_logistic_regression_is_hardly_better_than_vector_scaling_where_vector_scaling_is_the_truth() -> None:
    probabilities, grades = drawn(20_000, seed=2)
    rows = normalised(probabilities**0.7 * [1, 2, 4])
    full = LogisticRegression(C=1e6, max_iter=1000).fit(np.log(rows), grades).predict_proba(np.log(rows))
    assert mean_log_loss(fit_vector(rows, grades).apply(rows), grades) == pytest.approx(
        mean_log_loss(full, grades), abs=1e-3
    )


@given(st.integers(1, 5))
@settings(deadline=None)
def test_a_few_rows_of_one_grade_rule_out_no_grade(rows: int) -> None:
    for fit in (fit_temperature, fit_vector):
        answers = fit(np.full((rows, 3), 1 / 3), np.zeros(rows, dtype=np.int64)).apply(np.full((1, 3), 1 / 3))
        assert answers.min() > 0.01


def test_zero_probabilities_give_finite_answers() -> None:
    probabilities = np.array([[1.0, 0, 0], [0, 0, 1.0]] * 10)
    found = fit_vector(probabilities, np.array([0, 1] * 10))
    assert np.isfinite(found.apply(probabilities)).all()


def penalised_loss(parameters: np.ndarray, probabilities: np.ndarray, grades: np.ndarray) -> float:
    """What the module says that is minimised, written out: log loss of all rows plus half the squared differences."""
    scale, bias = parameters[:-3] if len(parameters) > 3 else parameters, parameters[-3:] if len(parameters) > 3 else 0
    logits = scale * np.log(probabilities) + bias
    rows = softmax(logits, axis=1)
    start = np.concatenate([np.ones(3), np.zeros(3)]) if len(parameters) > 3 else np.ones(1)
    return -np.log(rows[np.arange(len(grades)), grades]).sum() + ((parameters - start) ** 2).sum() / 2


@pytest.mark.parametrize("rows", [3, 12])
def test_few_rows_are_fitted_to_log_loss_plus_ridge(rows: int) -> None:
    probabilities, grades = drawn(rows, seed=4)
    options = {"method": "Nelder-Mead", "options": {"xatol": 1e-7, "fatol": 1e-9, "maxiter": 20_000, "maxfev": 20_000}}
    one = minimize(penalised_loss, np.ones(1), args=(probabilities, grades), **options).x
    assert fit_temperature(probabilities, grades).scale == pytest.approx(np.full(3, one[0]), abs=1e-3)
    six = minimize(penalised_loss, np.array([1.0, 1, 1, 0, 0, 0]), args=(probabilities, grades), **options).x
    vector = fit_vector(probabilities, grades)
    assert vector.scale == pytest.approx(six[:3], abs=2e-3)
    assert vector.bias == pytest.approx(six[3:] - six[3:].mean(), abs=2e-3)


def test_a_scale_stays_above_0_where_the_probable_grade_is_always_wrong() -> None:
    probabilities = np.tile([0.98, 0.01, 0.01], (500, 1))
    assert fit_temperature(probabilities, np.ones(500, dtype=np.int64)).scale == pytest.approx(0.01)


def test_the_mean_log_loss_is_scikit_learns_and_tiny_probabilities_count_as_a_millionth() -> None:
    probabilities, grades = drawn(50, seed=6)
    assert mean_log_loss(probabilities, grades) == pytest.approx(log_loss(grades, probabilities, labels=[0, 1, 2]))
    assert mean_log_loss(np.array([[1.0, 0.0, 0.0]]), np.array([1])) == pytest.approx(-np.log(1e-6))
    tiny, millionth = (identity().apply(np.array([[0.5, 0.5, p]])) for p in (1e-12, 1e-6))
    assert tiny == pytest.approx(millionth)
    assert identity().apply(probabilities) == pytest.approx(probabilities, abs=1e-5)


def test_the_tilt_alone_is_what_findings_json_takes_off() -> None:
    simulation = simulated()
    found = Calibration.fit(simulation.labels, simulation.submissions[0], simulation.study_ids, method="none")
    assert np.allclose(found.apply(simulation.submissions[0]), natural_prevalence(simulation.submissions[0]))


def test_a_calibration_comes_back_from_json_as_it_was() -> None:
    simulation = simulated()
    found = Calibration.fit(simulation.labels, simulation.submissions[0], simulation.study_ids)
    again = Calibration.from_json(found.to_json())
    assert np.array_equal(again.apply(simulation.submissions[0]), found.apply(simulation.submissions[0]))
    assert again.apply(simulation.submissions[0][0]).shape == (25, 3)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "monai_spine/calibration/1"}', '{"schema": "else"}'])
def test_other_json_is_no_calibration(text: str, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(InvalidTableError, match=r"c\.json: expected a calibration"):
        Calibration.read(tmp_path / "c.json")
    with pytest.raises(MissingInputError):
        Calibration.read(tmp_path / "none.json")


def test_a_group_without_labels_is_left_as_it_is() -> None:
    simulation = simulated()
    labels = simulation.labels.copy()
    labels[:, columns_of(Group.SPINAL)] = MISSING
    found = Calibration.fit(labels, simulation.submissions[0], simulation.study_ids, method="vector")
    assert np.array_equal(found.scalings[Group.SPINAL].scale, identity().scale)


@pytest.mark.slow
def test_the_calibration_error_of_severe_falls_at_least_threefold_out_of_fold() -> None:
    simulation = simulated(1500, 4)
    given_rows = simulation.submissions[0]
    half = len(given_rows) // 2
    found = Calibration.fit(simulation.labels[:half], given_rows[:half], simulation.study_ids[:half])
    after = found.apply(given_rows)

    def errors(rows: np.ndarray) -> float:
        labels = simulation.labels[half:]
        sums = [bin_sums(labels[:, own], rows[half:, own], Grade.SEVERE).sum(axis=0) for own in map(columns_of, Group)]
        held = [(labels[:, own] != MISSING).sum() for own in map(columns_of, Group)]
        return float(np.mean([calibration_errors(s, np.array(n)) for s, n in zip(sums, held, strict=True)]))

    assert errors(after) < errors(given_rows) / 3


def test_folds_without_severe_findings_are_no_obstacle() -> None:
    simulation = part(simulated(), slice(40))
    labels = np.where(simulation.labels == Grade.SEVERE, Grade.MODERATE, simulation.labels)
    labels[0, :] = Grade.SEVERE
    found = Calibration.fit(labels, simulation.submissions[0], simulation.study_ids)
    assert np.isfinite(found.apply(simulation.submissions[0])).all()


def test_the_best_method_is_none_for_calibrated_probabilities_and_a_scaling_for_flattened_ones() -> None:
    rng = np.random.default_rng(0)
    natural = rng.dirichlet([2, 1, 0.5], size=(400, 25))
    grades = (rng.random((400, 25, 1)) > natural.cumsum(axis=-1)[..., :2]).sum(axis=-1)
    patients = [str(n) for n in range(400)]
    plain = Calibration.fit(grades, natural, patients, tilted=False)
    flat = normalised(natural**0.4)
    scaled = Calibration.fit(grades, flat, patients, tilted=False)
    assert "vector" not in plain.methods.values()
    assert set(scaled.methods.values()) <= {"temperature", "vector"}
    for scaling in scaled.scalings.values():
        assert scaling.scale == pytest.approx(np.full(3, 2.5), rel=0.15)
    assert scaled.apply(flat) == pytest.approx(natural, abs=0.1)


def test_weighted_and_natural_probabilities_give_the_same_calibration() -> None:
    simulation = simulated()
    natural = natural_prevalence(simulation.submissions[0])
    one = Calibration.fit(simulation.labels, natural * WEIGHTS, simulation.study_ids, method="vector")
    other = Calibration.fit(simulation.labels, natural, simulation.study_ids, method="vector", tilted=False)
    assert one.apply(natural * WEIGHTS) == pytest.approx(other.apply(natural), abs=1e-6)
    assert json.loads(one.to_json())["tilt"] == [1, 2, 4]


@pytest.mark.parametrize("triple", [[1.0, 2.0], [1.0, 2.0, float("nan")], [[1.0, 2.0, 3.0]], "abc"])
def test_a_calibration_with_other_than_three_finite_numbers_is_refused(triple: object) -> None:
    simulation = simulated()
    calibration = Calibration.fit(simulation.labels, simulation.submissions[0], simulation.study_ids, method="none")
    content = json.loads(calibration.to_json())
    content["groups"]["spinal"]["scale"] = triple
    with pytest.raises(InvalidTableError, match="expected a calibration of the schema"):
        Calibration.from_json(json.dumps(content))


@pytest.mark.parametrize("least", [0.0, -0.5])
@pytest.mark.parametrize("place", ["tilt", "scale"])
def test_a_calibration_with_a_tilt_or_a_scale_of_0_or_less_is_refused(place: str, least: float) -> None:
    identities = {group.value: {"method": "none", "scale": [1, 1, 1], "bias": [0, 0, 0]} for group in Group}
    content = {"schema": Calibration.schema, "tilt": [1, 2, 4], "groups": identities}
    Calibration.from_json(json.dumps(content))
    (content if place == "tilt" else identities["foraminal"])[place] = [1, least, 1]
    with pytest.raises(InvalidTableError, match=f"above 0, but found .*{least}"):
        Calibration.from_json(json.dumps(content))
