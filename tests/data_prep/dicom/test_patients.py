"""Patient and study travel together: no two patients become one study, and what is not proven is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from data_prep.dicom.convert import convert
from monai_spine.data.studies import find_study
from tests.data_prep import dicom_factory as factory
from tests.data_prep import oracle
from tests.data_prep.dicom.conversion import run

UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")


def of_patient(number: int, **attributes: object) -> list[list[Dataset]]:
    """Sagittal and axial series of a patient, with UIDs of their own."""
    identity = {"PatientID": f"P{number}", "StudyDate": "20200101", "FrameOfReferenceUID": f"1.2.{number}"}
    return [
        factory.series(
            4,
            orientation=orientation,
            seed=10 * number + n,
            SeriesNumber=n + 2,
            SeriesDescription=description,
            **(identity | attributes),
        )
        for n, (orientation, description) in enumerate(((factory.SAGITTAL, "T2 sag"), (factory.AXIAL, "T2 ax")))
    ]


def converted(tmp_path: Path, *patients: list[list[Dataset]], **options: object) -> list[dict[str, str]]:
    """The manifest of the patients' series, each written to a folder."""
    for number, patient in enumerate(patients):
        for n, images in enumerate(patient):
            factory.write(tmp_path / "in" / f"{number}" / f"{n}", images)
    convert(tmp_path / "in", tmp_path / "out", quiet=True, **options)
    oracle.check(tmp_path / "in", tmp_path / "out")
    return oracle.manifest(tmp_path / "out")


def by_study(rows: list[dict[str, str]]) -> dict[str, int]:
    studies: dict[str, int] = {}
    for row in rows:
        studies[row["study"]] = studies.get(row["study"], 0) + (row["status"] == "converted")
    return studies


@pytest.mark.parametrize("uid", ["1.2.3", ""])
def test_two_patients_with_one_study_uid_or_none_are_two_studies(tmp_path: Path, uid: str) -> None:
    rows = converted(tmp_path, *(of_patient(n, StudyInstanceUID=uid) for n in (1, 2)))
    assert sorted(by_study(rows).values()) == [2, 2]
    assert not any("P1" in row["study"] for row in rows)


@pytest.mark.parametrize("values", [{"PatientSex": "F"}, {"PatientName": "Doe^Jane"}, {"PatientBirthDate": "19700101"}])
def test_equal_numbers_do_not_hide_that_two_people_share_a_study(tmp_path: Path, values: dict[str, str]) -> None:
    other = {"PatientSex": "M", "PatientName": "Doe^John", "PatientBirthDate": "19700102"}
    first = of_patient(1, StudyInstanceUID="1.2.3", PatientID="ANON", **values)
    second = of_patient(2, StudyInstanceUID="1.2.3", PatientID="ANON", **{key: other[key] for key in values})
    assert sorted(by_study(converted(tmp_path, first, second)).values()) == [2, 2]


def test_one_patient_whose_headers_lack_some_values_is_one_study(tmp_path: Path) -> None:
    first, second = of_patient(1, StudyInstanceUID="1.2.3", PatientName="Doe^Jane")
    for image in first[:2]:
        image.PatientName = "DOE^JANE^^"
    for image in second:
        del image.PatientName
    assert by_study(converted(tmp_path, [first, second])) == {"1.2.3": 2}


@pytest.mark.parametrize("patient", ["", "ANONYMOUS"])
@pytest.mark.parametrize("uid", ["1.2.3", ""])
def test_studies_without_patients_that_cannot_be_told_apart_are_refused(tmp_path, uid, patient) -> None:
    rows = converted(tmp_path, *(of_patient(n, StudyInstanceUID=uid, PatientID=patient) for n in (1, 2)))
    assert {row["reason"] for row in rows} == {"MIXED_PATIENTS"}
    assert len(rows) == 4
    assert "--name-by folder" in rows[0]["detail"]


@pytest.mark.parametrize("uid", ["1.2.3", ""])
def test_one_study_without_a_patient_is_one_study(tmp_path: Path, uid: str) -> None:
    assert list(by_study(converted(tmp_path, of_patient(1, StudyInstanceUID=uid, PatientID=""))).values()) == [2]


def test_two_examinations_of_a_patient_without_uids_are_two_studies(tmp_path: Path) -> None:
    rows = converted(tmp_path, *(of_patient(1, StudyInstanceUID="", StudyDate=f"2020010{n}") for n in (1, 2)))
    assert sorted(by_study(rows).values()) == [2, 2]


def test_two_patients_in_the_folder_of_a_study_are_refused(tmp_path: Path) -> None:
    (first, _), (_, second) = of_patient(1), of_patient(2)
    rows = converted(tmp_path, [first, second], name_by="folder")
    assert {row["reason"] for row in rows} == {"MIXED_PATIENTS"}
    assert "2 patients" in rows[0]["detail"]


def per_file(images: list[Dataset], *keywords: str) -> list[Dataset]:
    """The images; the named elements have another value in each."""
    for number, image in enumerate(images):
        for keyword in keywords:
            setattr(image, keyword, f"1.2.{number}.{len(keyword)}")
    return images


@pytest.mark.parametrize(
    "keywords",
    [
        ("StudyInstanceUID",),
        ("PatientID",),
        ("SeriesInstanceUID",),
        UIDS,
        ("StudyInstanceUID", "PatientID"),
        (*UIDS, "PatientID"),
    ],
)
def test_values_made_anew_for_every_file_do_not_divide_a_stack(tmp_path: Path, keywords: tuple[str, ...]) -> None:
    out, _ = run(tmp_path, per_file(factory.series(6, PatientID="P"), *keywords))
    (row,) = oracle.manifest(out)
    assert (row["status"], row["slices"]) == ("converted", "6")
    assert keywords[0] in row["detail"]


def test_series_of_a_patient_with_new_uids_in_every_file_are_one_study(tmp_path: Path) -> None:
    rows = converted(tmp_path, [per_file(images, *UIDS) for images in of_patient(1)])
    assert list(by_study(rows).values()) == [2]


def test_two_whole_stacks_with_two_patients_are_two_patients(tmp_path: Path) -> None:
    images = factory.series(8)
    for number, image in enumerate(images):
        image.PatientID = f"P{number // 4}"
    out, _ = run(tmp_path, images)
    assert sorted(by_study(oracle.manifest(out)).values()) == [1, 1]


@pytest.mark.parametrize("numbers", [[1, 2, 3, 4, 5, 7], [2, 1, 3, 4, 5, 6], [1, 1, 2, 3, 4, 5]])
def test_patients_that_vary_in_a_stack_without_even_numbers_are_refused(tmp_path: Path, numbers: list[int]) -> None:
    images = per_file(factory.series(6), "PatientID")
    for image, number in zip(images, numbers, strict=True):
        image.InstanceNumber = number
    out, _ = run(tmp_path, images)
    assert {row["reason"] for row in oracle.manifest(out)} == {"MIXED_PATIENTS"}
    assert "6 images of one series under 6 patients" in oracle.manifest(out)[0]["detail"]


def test_a_stack_of_one_patient_with_two_slices_of_another_is_refused(tmp_path: Path) -> None:
    images = factory.series(8, PatientID="P")
    images[3].PatientID, images[4].PatientID = "Q", "R"
    out, _ = run(tmp_path, images)
    assert {row["reason"] for row in oracle.manifest(out)} == {"MIXED_PATIENTS"}


@pytest.mark.parametrize("uid", ["1.2.3", ""])
@pytest.mark.parametrize("element", ["SeriesNumber", "SeriesDescription", "sequence parameters"])
def test_one_series_uid_for_a_study_is_divided_by_what_proves_its_series(tmp_path, uid, element) -> None:
    series = of_patient(1, SeriesInstanceUID=uid, StudyInstanceUID="1.2")
    for n, images in enumerate(series):
        for number, image in enumerate(images, start=4 * n):
            image.InstanceNumber = number + 1
            image.SeriesDescription = "T2" if element != "SeriesDescription" else image.SeriesDescription
            image.SeriesNumber = 2 if element != "SeriesNumber" else image.SeriesNumber
            image.SliceThickness = 3 + n if element == "sequence parameters" else 3
    rows = converted(tmp_path, [[*series[0], *series[1]]])
    assert [row["status"] for row in rows] == ["converted"] * 2
    assert all(f"told apart by {element}" in row["detail"] for row in rows)
    assert len({row["nifti"] for row in rows}) == 2


def test_a_scout_under_one_series_stays_a_scout(tmp_path: Path) -> None:
    series = of_patient(1, SeriesInstanceUID="1.2.3", StudyInstanceUID="1.2")
    for n, images in enumerate(series):
        for image in images:
            image.SeriesDescription, image.SeriesNumber, image.InstanceNumber = "loc", 1, image.InstanceNumber + 4 * n
    assert {row["reason"] for row in converted(tmp_path, [[*series[0], *series[1]]])} == {"LOCALIZER"}


def test_volumes_of_two_studies_in_one_folder_are_not_one_study(tmp_path: Path) -> None:
    rows = converted(tmp_path, *(of_patient(n, StudyInstanceUID="1.2.3") for n in (1, 2)))
    volumes = {row["study"]: tmp_path / "out" / row["nifti"] for row in rows}
    assert len(volumes) == 2
    found = find_study("mixed", volumes.values())
    names = {path.relative_to(tmp_path / "out").as_posix() for path in volumes.values()}
    assert found.unreadable == names
    assert all("2 studies in one folder" in found.left_out[name] for name in names)
    assert all(json.loads(next(path.parent.glob("*.json")).read_text())["Study"] for path in volumes.values())
