"""Volumes of one study may have the same file name in different folders: a volume is its path."""

import csv
import json
import shutil
from pathlib import Path

from monai_spine.levels.locate import locate
from monai_spine.prediction.grader import Grader
from monai_spine.prediction.inputs import Conversion, find_inputs
from monai_spine.prediction.run import predict
from tests.cohorts import write_datalist
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
