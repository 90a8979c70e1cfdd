"""The table of all findings, and its way back to the DICOM input."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pydicom
import pytest

from monai_spine.grading.grader import Grader
from monai_spine.prediction.findings_table import COLUMNS
from monai_spine.prediction.inputs import Conversion, find_inputs
from monai_spine.prediction.run import predict
from monai_spine.prediction.source_frame import Instance, SourceFrame
from monai_spine.spine import TARGETS
from tests.data_prep.tiny_phantom import write_cohort
from tests.monai_spine.levels.test_locate import Oracle
from tests.monai_spine.prediction.parts import inputs, models, oracle, write_bundle, write_study


@pytest.fixture(scope="module")
def grader(tmp_path_factory: pytest.TempPathFactory) -> Grader:
    return Grader.from_bundle(write_bundle(tmp_path_factory.mktemp("bundles") / "one"))


def graded(source: Path, out: Path, grader: Grader) -> pd.DataFrame:
    found = find_inputs([source], out, Conversion("folder", quiet=True))
    sagittal = ("sagittal_t1", "sagittal_t2")
    levels = Oracle().know(*(Path(file) for one in found.studies for key in sagittal for file in one.record[key]))
    predict(found, out, models(levels, grader), quiet=True)
    return pd.read_csv(out / "findings.csv", dtype=str, keep_default_na=False)


def distance_to(header: pydicom.Dataset, point: list[float]) -> float:
    """From a point in RAS mm to the plane of a DICOM image, whose world is LPS."""
    first, second = np.array(header.ImageOrientationPatient, dtype=float).reshape(2, 3)
    offset = np.array(point) * [-1, -1, 1] - np.array(header.ImagePositionPatient, dtype=float)
    return abs(float(offset @ np.cross(first, second)))


def test_every_finding_names_the_dicom_object_of_its_slice(tmp_path: Path, grader: Grader) -> None:
    cohort = write_cohort(tmp_path / "cohort", studies=2) / "train_images"
    headers = {(one := pydicom.dcmread(file)).SOPInstanceUID: one for file in sorted(cohort.rglob("*.dcm"))}
    table = graded(cohort, tmp_path / "out", grader)
    assert tuple(table.columns) == COLUMNS
    assert list(table["finding"]) == [*TARGETS] * 2
    for study, rows in table.groupby("study"):
        content = json.loads((tmp_path / "out" / study / "findings.json").read_text())
        for (_, row), one in zip(rows.iterrows(), content["findings"], strict=True):
            assert (row["grade"], float(row["severe"])) == (one["grade"], one["natural"]["severe"])
            assert row["flags"] == ";".join(one["flags"])
            assert bool(row["sop_instance_uid"]) is (one["series"] is not None)
            if one["series"] is not None:
                header = headers[row["sop_instance_uid"]]
                assert int(row["instance_number"]) == header.InstanceNumber
                assert distance_to(header, one["point"]) == pytest.approx(one["distance_mm"], abs=0.02)


def test_objects_are_found_in_archives_too(tmp_path: Path, grader: Grader) -> None:
    cohort = write_cohort(tmp_path / "cohort") / "train_images"
    expected = graded(cohort, tmp_path / "a", grader)
    archive = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", cohort))
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    shutil.copy(archive, tmp_path / "folder" / "deep" / "packed.zip")
    uids = [list(graded(archive, tmp_path / "b", grader)["sop_instance_uid"])]
    uids.append(list(graded(tmp_path / "folder", tmp_path / "c", grader)["sop_instance_uid"]))
    assert uids == [list(expected["sop_instance_uid"])] * 2
    assert any(uids[0])


def test_nifti_inputs_and_lost_files_leave_the_cells_empty(tmp_path: Path, grader: Grader) -> None:
    study = write_study(tmp_path / "in" / "s1")
    predict(inputs(study), tmp_path / "out", models(oracle(study), grader), quiet=True)
    table = pd.read_csv(tmp_path / "out" / "findings.csv", dtype=str, keep_default_na=False)
    assert len(table) == 25
    assert set(table["series"]) > {"sagittal_t2.nii.gz"}
    assert not table[["sop_instance_uid", "instance_number", "frame"]].to_numpy().any()
    assert SourceFrame(tmp_path, "gone.dcm").instance() == Instance()
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4)), tmp_path / "no.nii")
    assert SourceFrame(tmp_path, "no.nii").instance() == Instance()


def test_a_study_that_is_refused_has_no_rows(tmp_path: Path, grader: Grader) -> None:
    good, bad = write_study(tmp_path / "in" / "a"), tmp_path / "in" / "b"
    write_study(bad)
    for file in bad.glob("sagittal*"):
        file.unlink()
    predict(inputs(good, bad), tmp_path / "out", models(oracle(good), grader), quiet=True)
    assert set(pd.read_csv(tmp_path / "out" / "findings.csv", dtype=str)["study"]) == {"a"}
