import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monai_spine.scoring.reliability import BINS, bin_sums, calibration_errors, reliability
from monai_spine.spine import MISSING


def test_the_calibration_error_by_hand() -> None:
    labels = np.array([[2, 0, 0, 2, MISSING]])
    severe = np.array([[0.9, 0.91, 0.01, 0.02, 0.5]])
    probabilities = np.stack([1 - severe, np.zeros_like(severe), severe], axis=-1)
    error = calibration_errors(bin_sums(labels, probabilities, 2).sum(axis=0), np.array(4.0))
    assert error == pytest.approx((abs(0.9 + 0.91 - 1) + abs(0.01 + 0.02 - 1)) / 4)
    curve = reliability(labels, probabilities, 2)
    assert curve.rows.sum() == 4
    assert (curve.rows > 0).sum() == 2
    assert curve.observed[13] == pytest.approx(0.5)
    assert curve.predicted[13] == pytest.approx(0.905)


@given(st.floats(0, 1))
def test_every_probability_has_a_bin(p: float) -> None:
    rows = np.array([[[1 - p, 0, p]]])
    assert bin_sums(np.array([[0]]), rows, 2).shape == (1, BINS)


@pytest.mark.parametrize(("probability", "place"), [(0.0, 0), (0.99 / BINS, 0), (1.01 / BINS, 1), (1.0, BINS - 1)])
def test_bins_have_equal_widths_and_1_lies_in_the_last(probability: float, place: int) -> None:
    curve = reliability(np.array([[1]]), np.array([[[1 - probability, probability]]]), 1)
    assert np.flatnonzero(curve.rows).tolist() == [place]
    assert (curve.predicted[place], curve.observed[place]) == (pytest.approx(probability), 1.0)
