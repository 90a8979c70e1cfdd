"""A header full of identifying values leaves none of them in any output, log or error."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from data_prep.dicom import output_folder
from data_prep.dicom.convert import convert
from tests.data_prep import dicom_factory as factory
from tests.data_prep import oracle

IDENTITY = {
    "PatientName": "Mustermann^Erika",
    "PatientID": "MRN0815",
    "PatientBirthDate": "19640812",
    "PatientAddress": "Heidestrasse 17",
    "PatientTelephoneNumbers": "0221-4711",
    "OtherPatientIDs": "SSN99887",
    "AccessionNumber": "ACC55443",
    "InstitutionName": "Charitas",
    "InstitutionAddress": "Domplatz 1",
    "ReferringPhysicianName": "Quincke^Heinrich",
    "PerformingPhysicianName": "Lasegue^Charles",
    "OperatorsName": "Schober^Paul",
    "StationName": "MRSTATION7",
    "StudyDescription": "Ischias Mustermann",
    "StudyDate": "20231117",
    "SeriesDate": "20231118",
    "AcquisitionDate": "20231119",
    "ContentDate": "20231120",
    "StudyTime": "135791",
    "AcquisitionTime": "135792",
    "DeviceSerialNumber": "SERIAL2468",
    "ProtocolName": "Protokoll Mustermann",
    "ImageComments": "Kommentar Erika",
    "RequestingPhysician": "Gowers^William",
}
WORDS = sorted({word for value in IDENTITY.values() for word in value.replace("^", " ").split() if len(word) > 2})


def identified(**attributes: object) -> list:
    images = factory.series(4, **(IDENTITY | {"SeriesDescription": "T2 sag_Mustermann T1MRN0815"} | attributes))
    for image in images:
        block = image.private_block(0x0029, "SECRET", create=True)
        block.add_new(0x10, "LO", "Privatgeheimnis")
    return images


def everything_written(out: Path) -> str:
    """Names and texts of all outputs, volumes' bytes included."""
    files = [path for path in out.rglob("*") if path.is_file()]
    return "\n".join(f"{path}\n{path.read_bytes().decode('latin-1')}" for path in files)


def assert_anonymous(text: str) -> None:
    assert not [word for word in [*WORDS, "Privatgeheimnis"] if word in text]


def test_no_output_holds_identity(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    factory.write(tmp_path / "in", identified())
    convert(tmp_path / "in", tmp_path / "out", format="nii")
    assert_anonymous(everything_written(tmp_path / "out") + caplog.text)
    assert oracle.manifest(tmp_path / "out")[0]["description"] == "T2 sag_ T1"


@pytest.mark.parametrize("damage", ["short", "geometry", "enhanced"])
def test_no_refusal_holds_identity(tmp_path: Path, damage: str) -> None:
    images = identified()
    if damage == "geometry":
        for image in images:
            del image.ImagePositionPatient
    paths = factory.write(tmp_path / "in", [factory.enhanced(images)] if damage == "enhanced" else images)
    if damage == "short":
        paths[1].write_bytes(paths[1].read_bytes()[:900])
    command = [sys.executable, "-m", "data_prep", "convert", str(tmp_path / "in"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    scan = subprocess.run([*command[:3], "scan", command[4]], capture_output=True, text=True, check=False)
    assert_anonymous(done.stdout + done.stderr + scan.stdout + scan.stderr + everything_written(tmp_path / "out"))


def test_sidecar_holds_what_later_steps_need(tmp_path: Path) -> None:
    images = factory.series(
        4,
        InversionTime=150,
        ScanningSequence=["SE", "IR"],
        MagneticFieldStrength=1.5,
        ImageType=["ORIGINAL", "PRIMARY"],
    )
    factory.write(tmp_path / "in", images)
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    (path,) = (tmp_path / "out").rglob("*.json")
    record = json.loads(path.read_text())
    assert record["SeriesDescription"] == "T2 sag"
    assert record["Plane"] == "sagittal"
    assert (record["RepetitionTime"], record["EchoTime"], record["InversionTime"]) == (3000, 100, 150)
    assert record["ScanningSequence"] == ["SE", "IR"]
    assert (record["MagneticFieldStrength"], record["Manufacturer"]) == (1.5, "Phantom")


def test_enhanced_objects_fill_the_same_keys(tmp_path: Path) -> None:
    whole = factory.enhanced(factory.series(4, EchoTime=90), EchoPulseSequence="SPIN", InversionRecovery="YES")
    factory.write(tmp_path / "in", [whole])
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    (path,) = (tmp_path / "out").rglob("*.json")
    record = json.loads(path.read_text())
    assert (record["EchoTime"], record["ScanningSequence"]) == (90, ["SE", "IR"])


def test_hashed_uids_replace_all_uids_and_depend_on_the_salt(tmp_path: Path) -> None:
    factory.write(tmp_path / "in", factory.series(4))
    names = []
    for number, salt in enumerate(("pepper", "pepper", "other")):
        out = tmp_path / f"out{number}"
        out.mkdir()
        output_folder.keep_salt(out, salt)
        convert(tmp_path / "in", out, quiet=True, format="nii", keep_uids=False, resume=True)
        assert "1.2.3.0" not in everything_written(out)
        names.append(oracle.manifest(out)[0]["nifti"])
    assert names[0] == names[1] != names[2]


def test_words_of_sequences_stay_in_descriptions(tmp_path: Path) -> None:
    factory.write(tmp_path / "in", factory.series(4, PatientID="phantom_fMRI", SeriesDescription="Ax fMRI"))
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    assert oracle.manifest(tmp_path / "out")[0]["description"] == "Ax fMRI"
