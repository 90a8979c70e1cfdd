from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError
from monai_spine.images.evaluation.thresholds import chosen_thresholds, read_thresholds, write_thresholds
from monai_spine.spine import MISSING


def f1(truth: np.ndarray, decided: np.ndarray) -> float:
    return 2 * (truth & decided).sum() / (truth.sum() + decided.sum())


def youden(truth: np.ndarray, decided: np.ndarray) -> float:
    return decided[truth].mean() + (~decided[~truth]).mean() - 1


@pytest.mark.parametrize(("criterion", "merit"), [("f1", f1), ("youden", youden)])
@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_no_other_threshold_serves_better(criterion, merit, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 1, MISSING], p=[0.6, 0.3, 0.1], size=(30, 1))
    labels[:2, 0] = [0, 1]
    scores = np.round(rng.random((30, 1)), 1 + seed % 2)
    (chosen,) = chosen_thresholds(labels, scores, criterion)
    known = labels[:, 0] != MISSING
    truth, score = labels[known, 0] == 1, scores[known, 0]
    best = max(merit(truth, score >= least) for least in [*np.unique(score), np.inf])
    assert merit(truth, score >= chosen) == pytest.approx(best)


def test_a_class_without_both_kinds_keeps_a_half() -> None:
    labels = np.array([[1, MISSING], [1, MISSING]])
    assert chosen_thresholds(labels, np.full((2, 2), 0.9)).tolist() == [0.5, 0.5]


def test_an_unknown_criterion_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="f1, youden"):
        chosen_thresholds(np.zeros((1, 1), int), np.zeros((1, 1)), "accuracy")  # type: ignore[arg-type]


def test_thresholds_are_read_by_name(tmp_path: Path) -> None:
    write_thresholds(tmp_path / "t.json", ["a", "b"], np.array([0.1, 0.7]))
    assert read_thresholds(tmp_path / "t.json", ["b", "a"]).tolist() == [0.7, 0.1]


def test_thresholds_of_other_classes_or_none_are_refused(tmp_path: Path) -> None:
    write_thresholds(tmp_path / "t.json", ["a", "b"], np.array([0.1, 0.7]))
    with pytest.raises(InvalidTableError, match=r"expected thresholds of a, c, but found a, b"):
        read_thresholds(tmp_path / "t.json", ["a", "c"])
    with pytest.raises(MissingInputError, match=r"no file .*u\.json"):
        read_thresholds(tmp_path / "u.json", ["a"])
    (tmp_path / "v.json").write_text("[")
    with pytest.raises(InvalidTableError, match=r"v\.json"):
        read_thresholds(tmp_path / "v.json", ["a"])
