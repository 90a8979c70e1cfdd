"""Measures in ``findings.json``: what is measured, and what a study without measures says."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from monai_spine.errors import InvalidVolumeError
from monai_spine.grading.findings import UNLIKE_MEASURES, study_findings
from monai_spine.grading.grader import Grader
from monai_spine.measures.reference import Reference
from monai_spine.measures.study import Measurer
from monai_spine.prediction.run import predict
from monai_spine.runtime.choice import TORCH
from monai_spine.spine import FINDINGS, Level, SeriesType
from tests.monai_spine.measures.boxes import BoxSpine
from tests.monai_spine.prediction.parts import inputs, models, oracle, write_bundle, write_study

REFERENCE = Reference("boxes", {}, {"canal_diameter_mm": 1.0}, (0.7, 0.5))


class Boxes:
    """A finder whose regions are those of boxes, wherever the canal is."""

    runtime = TORCH

    def __init__(self, spine: BoxSpine) -> None:
        self.spine = spine
        self.names: list[str] = []

    def __call__(self, volume: object, name: str, canal: np.ndarray) -> object:
        del volume
        self.names.append(name)
        assert canal.shape == (5, 3)
        return self.spine.maps()


def record(study: Path, spine: BoxSpine) -> dict:
    points = {f"spinal_canal_stenosis_{level.value}": tuple(place) for level, place in spine.canal.items()}
    return {"study_id": "s1", "points": points, "sagittal_t2": [str(study / "sagittal_t2.nii.gz")]}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("in") / "s1")


def test_a_study_is_measured_in_its_t2_with_the_error_and_a_grade_of_the_canal(study: Path) -> None:
    spine = BoxSpine(narrow=9, wide=15)
    found = Measurer(Boxes(spine), REFERENCE)(record(study, spine), None)  # type: ignore[arg-type]
    assert (found["volume"], found["reference"]) == ("sagittal_t2.nii.gz", "boxes")
    assert list(found["levels"]) == [level.value for level in Level]
    for values in found["levels"].values():
        assert values["canal_diameter_mm"]["value"] == pytest.approx(9, abs=0.3)
        assert values["canal_diameter_mm"]["uncertainty"] == 1.0
        assert values["canal_grade"] == "moderate"


def test_a_volume_without_a_spine_is_not_measured(study: Path) -> None:
    spine = BoxSpine()
    one = record(study, spine) | {"without_spine": ("sagittal_t2.nii.gz",)}
    found = Measurer(Boxes(spine), REFERENCE)(one, None)  # type: ignore[arg-type]
    assert found["reason"] == "no sagittal volume shows two levels or more"
    one["sagittal_t1"] = [str(study / "sagittal_t1.nii.gz")]
    assert Measurer(Boxes(spine), REFERENCE)(one, None)["volume"] == "sagittal_t1.nii.gz"  # type: ignore[arg-type]


def test_a_volume_that_cannot_be_measured_says_why_without_a_folder_of_this_machine(study: Path) -> None:
    def refuse(*_: object) -> None:
        raise InvalidVolumeError(f"{study / 'sagittal_t2.nii.gz'}: no good")

    found = Measurer(refuse, REFERENCE)(record(study, BoxSpine()), None)  # type: ignore[arg-type]
    assert found["reason"] == "sagittal_t2.nii.gz: no good"
    without = Measurer(refuse, REFERENCE)({"study_id": "s", "points": {}}, None)  # type: ignore[arg-type]
    assert without["reason"] == "no sagittal volume shows two levels or more"


@pytest.mark.parametrize(
    ("measured", "flagged"), [("severe", True), ("moderate", False), ("normal_mild", False), (None, False)]
)
def test_a_grade_two_steps_from_the_measured_one_is_flagged(measured: str | None, flagged: bool) -> None:
    healthy = np.tile([0.9, 0.08, 0.02], (len(FINDINGS), 1))
    record = {"study_id": "s", "points": {}, **{one.value: () for one in SeriesType}}
    measures = {"levels": {Level.L4_L5.value: {"canal_grade": measured}}}
    content = study_findings(record, healthy, healthy, measures=measures)
    with_flag = [one["finding"] for one in content["findings"] if UNLIKE_MEASURES in one["flags"]]
    assert with_flag == ["spinal_canal_stenosis_l4_l5"] * flagged
    assert content["measures"] == measures


def test_predict_writes_measures_into_findings(study: Path, tmp_path: Path) -> None:
    spine = BoxSpine()
    opened = models(oracle(study), Grader.from_bundle(write_bundle(tmp_path / "bundle")))
    finder = Boxes(spine)
    measuring = replace(opened, measurer=Measurer(finder, REFERENCE))  # type: ignore[arg-type]
    assert predict(inputs(study), tmp_path / "out", measuring, quiet=True).exit_code == 0
    content = json.loads((tmp_path / "out/s1/findings.json").read_text())
    assert finder.names == ["sagittal_t2.nii.gz"]
    assert set(content["measures"]["levels"]) == {level.value for level in Level}
