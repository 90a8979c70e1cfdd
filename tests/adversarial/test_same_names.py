"""Names that two things share, or that outputs have: a volume is its path, and no study takes a table's place."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from data_prep.collection.assembly import Run
from data_prep.dicom.convert import convert
from data_prep.study_table.datalist import build
from monai_spine.errors import InvalidTableError
from monai_spine.grading.grader import Grader
from monai_spine.levels.locate import locate
from monai_spine.prediction.inputs import Conversion, find_inputs
from monai_spine.prediction.run import predict
from tests.cohorts import write_datalist
from tests.data_prep import dicom_factory as factory
from tests.data_prep.oracle import manifest
from tests.monai_spine.prediction.parts import models, oracle, write_bundle, write_study

NAMES = {"sagittal_t1": "T1/image.nii.gz", "sagittal_t2": "T2/image.nii.gz", "axial_t2": "AX/image.nii.gz"}


def same_names(study: Path, folder: Path) -> Path:
    """A datalist of a copy of the study whose volumes are all called ``image.nii.gz``."""
    for series_type, name in NAMES.items():
        (folder / study.name / name).parent.mkdir(parents=True)
        shutil.copy(study / f"{series_type}.nii.gz", folder / study.name / name)
    entry = {"study_id": study.name} | {key: [f"{study.name}/{name}"] for key, name in NAMES.items()}
    return write_datalist(folder / "datalist.json", [], test=[entry])


def test_volumes_of_one_name_give_the_findings_of_the_same_volumes_with_other_names(tmp_path: Path) -> None:
    study = write_study(tmp_path / "in" / "s1")
    grader = Grader.from_bundle(write_bundle(tmp_path / "bundle"))
    contents = []
    for source in (study, same_names(study, tmp_path / "same")):
        out = tmp_path / "out" / source.parent.name
        given = find_inputs([source], out, Conversion(quiet=True))
        assert predict(given, out, models(oracle(study), grader), quiet=True).exit_code == 0
        contents.append(json.loads((out / "s1/findings.json").read_text()))
    plain, same = contents
    assert set(same["volumes"]) == set(NAMES.values())
    # What a program needs to open a volume: the input that it named, the folder, the name.
    assert all((tmp_path / "same" / same["folder"] / name).is_file() for name in same["volumes"])
    for one, other in zip(plain["findings"], same["findings"], strict=True):
        series = one["series"] and NAMES[one["series"].removesuffix(".nii.gz")]
        assert other == {**one, "series": series}


def test_locate_has_a_row_for_each_volume_of_one_name(tmp_path: Path) -> None:
    study = write_study(tmp_path / "in" / "s1")
    datalist = same_names(study, tmp_path / "same")
    locate([datalist], tmp_path / "out", oracle(study), quiet=True)
    with (tmp_path / "out/volumes.csv").open(newline="") as table:
        assert {row["volume"] for row in csv.DictReader(table)} == {NAMES["sagittal_t1"], NAMES["sagittal_t2"]}
    planes = json.loads((tmp_path / "out/s1/points.json").read_text())["axial_planes"]
    assert {plane["volume"] for plane in planes.values()} == {NAMES["axial_t2"]}


def anonymous(number: int, description: str = "T2 sag") -> list[Dataset]:
    """A series of a patient whom no header names."""
    uids = {"StudyInstanceUID": f"1.2.{number}", "SeriesInstanceUID": f"1.2.{number}.1", "PatientID": ""}
    return factory.series(4, orientation=factory.SAGITTAL, seed=number, SeriesDescription=description, **uids)


def test_folders_of_one_name_in_two_places_are_two_studies(tmp_path: Path) -> None:
    for number, patient in enumerate(("Ann", "Bob")):
        factory.write(tmp_path / "in" / patient / "20200101" / "T2", anonymous(number))
    factory.write(tmp_path / "in/Cyd/20200102/T2", anonymous(3))
    for _ in range(2):  # the second run finds the volumes of the first
        convert(tmp_path / "in", tmp_path / "out", name_by="folder", resume=True, quiet=True)
        studies = sorted(row["study"] for row in manifest(tmp_path / "out"))
        assert len(set(studies)) == len(studies) == 3
        assert [study[:9] for study in studies] == ["20200101-", "20200101-", "20200102"]
        assert not [study for study in studies if "Ann" in study or "Bob" in study]


@pytest.mark.parametrize("name", ["manifest.csv", "files.csv", "Datalist.JSON", "quality.md"])
def test_a_study_with_the_name_of_a_table_takes_no_tables_place(tmp_path: Path, name: str) -> None:
    factory.write(tmp_path / "in" / name / "T2", anonymous(1))
    summary = convert(tmp_path / "in", tmp_path / "out", name_by="folder", quiet=True)
    assert (summary.converted, summary.refused) == (1, 0)
    (row,) = manifest(tmp_path / "out")
    assert (tmp_path / "out" / row["nifti"]).is_file()
    (tmp_path / "own.csv").write_text(f"study,path\n{name},in/{name}\n")
    with pytest.raises(InvalidTableError, match=r"is no name of an output, such as manifest\.csv"):
        build(tmp_path / "own.csv", tmp_path / "table", Run(2, 0, 1, None, False, True))
