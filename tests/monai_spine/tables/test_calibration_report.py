import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from monai_spine.errors import SpineError
from monai_spine.scoring.prevalence import WEIGHTS
from monai_spine.spine import Grade, Group
from monai_spine.tables.calibration_report import CALIBRATED, GIVEN, apply_calibration, calibrate
from monai_spine.tables.out_of_fold import read_out_of_fold
from tests.monai_spine.tables.files import change_rows, part, simulated, write_labels, written


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("calibrated")
    solution, submissions = written(folder, simulated())
    return folder, calibrate(read_out_of_fold(solution, submissions[:1]), folder / "out", quiet=True)


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


@pytest.mark.slow
def test_no_study_is_calibrated_by_its_own_labels(calibrated, tmp_path: Path) -> None:
    folder, _ = calibrated
    labels = simulated().labels.copy()
    spinal = labels[:, :5]
    before = pd.read_csv(folder / "out" / "calibrated.csv").set_index("row_id")
    # Other labels of the same stratum in one study: its own rows stay, some others change.
    changed = int(np.flatnonzero((labels == Grade.SEVERE).any(axis=1) & ~(spinal == Grade.SEVERE).any(axis=1))[0])
    labels[changed, 5:] = Grade.SEVERE
    solution = write_labels(tmp_path / "solution.csv", simulated().study_ids, labels)
    calibrate(read_out_of_fold(solution, [folder / "model_1.csv"]), tmp_path / "out", quiet=True)
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


def test_a_model_of_one_condition_is_calibrated_as_it_is_among_all(calibrated, tmp_path: Path) -> None:
    folder, whole = calibrated
    canal = change_rows(
        folder / "model_1.csv", tmp_path / "canal.csv", lambda rows: rows[rows["row_id"].str.contains("spinal_canal")]
    )
    found = calibrate(read_out_of_fold(folder / "solution.csv", [canal]), tmp_path / "out", quiet=True)
    assert set(found.figures[GIVEN]) == {"spinal"}
    # The folds of the cross-validation are others, because a severe recess makes no stratum here.
    assert found.figures[GIVEN]["spinal"] == whole.figures[GIVEN]["spinal"]
    own, expected = (report.calibration.scalings[Group.SPINAL] for report in (found, whole))
    assert np.allclose(own.scale, expected.scale)
    assert found.calibration.methods[Group.FORAMINAL] == "none"
    assert "competition score" not in found.to_text()
    assert len(pd.read_csv(tmp_path / "out" / "calibrated.csv")) == len(pd.read_csv(canal))
    with Image.open(tmp_path / "out" / "reliability.png") as picture:
        assert picture.size[0] < picture.size[1] / 2
        sides = np.asarray(picture.convert("L"))[:, [0, 1, -2, -1]]
    assert (sides == 255).all()  # which cut no legend


def test_nothing_is_chosen_for_a_condition_without_labels(calibrated, tmp_path: Path) -> None:
    folder, _ = calibrated
    canal = change_rows(
        folder / "model_1.csv", tmp_path / "canal.csv", lambda rows: rows[rows["row_id"].str.contains("spinal_canal")]
    )
    table = read_out_of_fold(folder / "solution.csv", [canal])
    found = calibrate(table, tmp_path / "out", method="temperature", quiet=True).calibration
    assert list(found.methods.values()) == ["temperature", "none", "none"]
    others = table.probabilities[0][:, 5:]
    assert np.allclose(
        found.apply(table.probabilities[0])[:, 5:], others / WEIGHTS / (others / WEIGHTS).sum(-1)[..., None]
    )


def test_too_many_folds_are_refused(tmp_path: Path) -> None:
    solution, submissions = written(tmp_path, part(simulated(), slice(4)))
    with pytest.raises(SpineError, match="from 2 to 4"):
        calibrate(read_out_of_fold(solution, submissions[:1]), tmp_path / "out", quiet=True)
