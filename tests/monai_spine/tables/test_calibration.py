import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.linear_model import LogisticRegression

from monai_spine.errors import InvalidTableError, MissingInputError, SpineError
from monai_spine.scoring.competition import WEIGHTS, natural_prevalence, normalised
from monai_spine.scoring.reliability import bin_sums, calibration_errors
from monai_spine.spine import MISSING, Grade, Group
from monai_spine.tables.calibration.model import Calibration
from monai_spine.tables.calibration.report import CALIBRATED, GIVEN, apply_calibration, calibrate
from monai_spine.tables.calibration.scaling import Scaling, fit_temperature, fit_vector, identity, mean_log_loss
from monai_spine.tables.out_of_fold import columns_of
from tests.monai_spine.tables.files import part, simulated, write_labels, written


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


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("calibrated")
    solution, submissions = written(folder, simulated())
    return folder, calibrate(solution, submissions[0], folder / "out", quiet=True)


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


def test_the_files_hold_the_same_rows_calibrated_and_normalised(calibrated) -> None:
    folder, found = calibrated
    natural, weighted = (pd.read_csv(folder / "out" / f"{name}.csv") for name in ("calibrated", "weighted"))
    columns = [grade.column for grade in Grade]
    assert list(natural["row_id"]) == list(pd.read_csv(folder / "model_1.csv")["row_id"])
    assert np.allclose(natural[columns].sum(axis=1), 1)
    tilted = natural[columns].to_numpy() * WEIGHTS
    assert np.allclose(tilted / tilted.sum(axis=1, keepdims=True), weighted[columns], atol=1e-6)
    assert found.scores[CALIBRATED] < found.scores[GIVEN] + 0.01


def test_the_report_and_the_picture_are_there_and_nothing_half_written(calibrated) -> None:
    folder, found = calibrated
    names = {file.name for file in (folder / "out").iterdir()}
    assert names == {"calibrated.csv", "weighted.csv", "calibration.json", "report.json", "reliability.png"}
    report = json.loads((folder / "out" / "report.json").read_text())
    assert set(report["stages"]) == {"as_given", "tilt_removed", "temperature", "vector", "calibrated"}
    severe = report["stages"]["as_given"]["subarticular"]["ece_severe"]
    assert severe["low"] <= severe["value"] <= severe["high"]
    with Image.open(folder / "out" / "reliability.png") as picture:
        assert min(picture.size) > 1000
    assert "subarticular" in found.to_text()


def test_no_study_is_calibrated_by_its_own_labels(calibrated, tmp_path: Path) -> None:
    folder, _ = calibrated
    labels = simulated().labels.copy()
    spinal = labels[:, :5]
    before = pd.read_csv(folder / "out" / "calibrated.csv").set_index("row_id")
    # Other labels of the same stratum in one study: its own rows stay, some others change.
    changed = int(np.flatnonzero((labels == Grade.SEVERE).any(axis=1) & ~(spinal == Grade.SEVERE).any(axis=1))[0])
    labels[changed, 5:] = Grade.SEVERE
    solution = write_labels(tmp_path / "solution.csv", simulated().study_ids, labels)
    calibrate(solution, folder / "model_1.csv", tmp_path / "out", quiet=True)
    after = pd.read_csv(tmp_path / "out" / "calibrated.csv").set_index("row_id")
    own = before.index.str.startswith(simulated().study_ids[changed])
    assert np.array_equal(before[own], after[own])
    assert not np.array_equal(before[~own], after[~own])


def test_a_stored_calibration_serves_new_studies(calibrated, tmp_path: Path) -> None:
    folder, found = calibrated
    _, submissions = written(tmp_path, part(simulated(), slice(4)))
    assert apply_calibration(folder / "out" / "calibration.json", submissions[0], tmp_path / "new") == 4
    rows = pd.read_csv(tmp_path / "new" / "calibrated.csv").set_index("row_id")
    expected = found.calibration.apply(simulated().submissions[0, :4])
    name = f"{simulated().study_ids[2]}_spinal_canal_stenosis_l3_l4"
    assert np.allclose(rows.loc[name], expected[2, 2], atol=1e-6)


def test_folds_without_severe_findings_are_no_obstacle() -> None:
    simulation = part(simulated(), slice(40))
    labels = np.where(simulation.labels == Grade.SEVERE, Grade.MODERATE, simulation.labels)
    labels[0, :] = Grade.SEVERE
    found = Calibration.fit(labels, simulation.submissions[0], simulation.study_ids)
    assert np.isfinite(found.apply(simulation.submissions[0])).all()


def test_too_many_folds_are_refused(tmp_path: Path) -> None:
    solution, submissions = written(tmp_path, part(simulated(), slice(4)))
    with pytest.raises(SpineError, match="from 2 to 4"):
        calibrate(solution, submissions[0], tmp_path / "out", quiet=True)
