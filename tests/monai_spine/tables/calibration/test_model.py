import json
from pathlib import Path

import numpy as np
import pytest

from monai_spine.errors import InvalidTableError, MissingInputError
from monai_spine.scoring.competition import WEIGHTS, columns_of, natural_prevalence, normalised
from monai_spine.scoring.reliability import bin_sums, calibration_errors
from monai_spine.spine import MISSING, Grade, Group
from monai_spine.tables.calibration.model import Calibration
from monai_spine.tables.calibration.scaling import identity
from tests.monai_spine.tables.files import part, simulated


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
