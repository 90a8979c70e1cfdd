import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from monai_spine.scoring.competition import normalised
from monai_spine.tables.calibration.scaling import Scaling, fit_temperature, fit_vector, identity, mean_log_loss


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
