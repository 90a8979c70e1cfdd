"""The note of a study that was not graded, and UIDs that are the same for the same grading."""

import shutil
import subprocess
from pathlib import Path

import pydicom
import pytest

from monai_spine.dicom_out.identity import ObjectIdentity
from monai_spine.dicom_out.source_image import NoDicomError, SourceImage, SourceImages
from monai_spine.dicom_out.writer import DicomWriter, refusal_notes, write_objects
from monai_spine.prediction.object_files import _NAME
from monai_spine.prediction.source_frame import SourceFrame
from monai_spine.prediction.study_output import RefusedStudy
from monai_spine.report.wording import refusal_in_words
from tests.monai_spine.dicom_out.test_identity import LONG, header

REASON = "no lumbar spine found; 1.2.5.nii.gz: NaN in the voxels; <script>alert(1)</script>"


def sources(*headers: pydicom.Dataset) -> SourceImages:
    images = SourceImages({})
    images._read = {SourceFrame(Path(f"{n}"), f"{n}"): SourceImage(one) for n, one in enumerate(headers)}
    return images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    about = header(PatientName="山田^太郎", SpecificCharacterSet="ISO_IR 192", PatientID="KH-1", StudyInstanceUID=LONG)
    write_objects(tmp_path, refusal_notes(REASON, sources(about)))
    return tmp_path


def test_a_note_has_the_identity_and_the_reason_in_plain_words(folder: Path) -> None:
    files = sorted(folder.glob("*.dcm"))
    assert [file.name for file in files] == ["refusal.dcm", "refusal_image.dcm"]
    for one in map(pydicom.dcmread, files):
        assert (str(one.PatientName), one.PatientID, one.StudyInstanceUID) == ("山田^太郎", "KH-1", LONG)
        assert one.SeriesDescription == "Research: refusal of the study"
    report = pydicom.dcmread(files[0])
    texts = [item.TextValue for item in report.ContentSequence[-1].ContentSequence]
    assert texts[0] == "Study was not graded. No lumbar spine was found in its sagittal images."
    assert texts[1] == "1.2.5.nii.gz: NaN in the voxels"
    assert "not for diagnosis" in texts[-1]
    assert pydicom.dcmread(files[1]).pixel_array.std() > 5


def test_notes_pass_the_validator(folder: Path) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("needs dciodvfy: apt-get install dicom3tools")
    for file in folder.glob("*.dcm"):
        done = subprocess.run(["dciodvfy", file], capture_output=True, text=True, check=False)
        faults = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]
        assert not faults, (file.name, faults)
    text = subprocess.run(["dsrdump", "+Pl", folder / "refusal.dcm"], capture_output=True, text=True, check=True).stdout
    assert "No lumbar spine was found" in text


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("no lumbar spine found", "No lumbar spine was found in its sagittal images."),
        ("expected a sagittal T1 or T2 series to find the levels in, but found an axial series alone; x: y", "axial"),
        ("unexpected ValueError in a.py:7: odd", "not foreseen"),
        ("the disc is round", "The reason: the disc is round."),
    ],
)
def test_every_reason_is_a_sentence(reason: str, words: str) -> None:
    sentence = refusal_in_words(reason)[0]
    assert words in sentence
    assert sentence.endswith(".")


def test_the_same_grading_has_the_same_uids_and_another_one_has_others() -> None:
    image, other = SourceImage(header()), SourceImage(header(SOPInstanceUID="1.2.9"))
    one = ObjectIdentity.of([image, other], {"models": "a"})
    assert one.uid("sr") == ObjectIdentity.of([other, image], {"models": "a"}).uid("sr")
    different = [
        one.uid("report"),
        ObjectIdentity.of([image], {"models": "a"}).uid("sr"),
        ObjectIdentity.of([image, other], 1),
    ]
    assert one.uid("sr") not in {different[0], different[1], different[2].uid("sr")}
    assert one.uid("sr").is_valid
    assert one.uid("sr").startswith("2.25.")


def test_each_patient_of_a_study_gets_a_note_that_names_no_other(tmp_path: Path) -> None:
    patients = [("P1", "Eins^A"), ("P2", "Zwei^B"), ("P1", "Eins^A"), ("P1", "")]
    headers = [
        header(PatientID=number, PatientName=name, StudyInstanceUID="1.2.4", SOPInstanceUID=f"1.2.3.{n}")
        for n, (number, name) in enumerate(patients)
    ]
    write_objects(tmp_path, refusal_notes("images of 2 patients in one study", sources(*headers)))
    own = {("P1", "Eins^A"): {"1.2.3.0", "1.2.3.2"}, ("P2", "Zwei^B"): {"1.2.3.1"}, ("P1", ""): {"1.2.3.3"}}
    found, uids = {}, set()
    for file in tmp_path.glob("refusal*.dcm"):
        note, text = pydicom.dcmread(file), file.read_bytes()
        patient = (note.PatientID, str(note.PatientName))
        assert not any(name.encode() in text for _, name in patients if name and name != patient[1])
        uids.add(note.SOPInstanceUID)
        if note.Modality == "SR":
            (study,) = note.CurrentRequestedProcedureEvidenceSequence
            images = [item for series in study.ReferencedSeriesSequence for item in series.ReferencedSOPSequence]
            found[patient] = {item.ReferencedSOPInstanceUID for item in images}
    assert found == own
    assert len(uids) == 6
    for file in tmp_path.glob("*.dcm"):
        assert _NAME.fullmatch(file.name), "the next run would not remove it"


def test_a_flood_of_identities_gets_no_note_and_the_reason_names_nobody() -> None:
    many = [header(PatientID=f"SECRET{n}", SOPInstanceUID=f"1.2.3.{n}") for n in range(9)]
    with pytest.raises(NoDicomError, match="9 values of PatientID") as refused:
        refusal_notes("why", sources(*many))
    assert "SECRET" not in str(refused.value)


def test_a_study_of_which_nothing_is_a_volume_is_found_among_the_files(tmp_path: Path) -> None:
    for n, study in enumerate(("1.2.4", "1.2.8")):
        header(StudyInstanceUID=study, PatientID=f"P{n}").save_as(
            tmp_path / f"{n}.dcm", implicit_vr=False, little_endian=True
        )
    unused = [SourceFrame(tmp_path, f"{n}.dcm") for n in range(2)]
    refused = RefusedStudy(tmp_path / "out", "1.2.8", "the reason", unused=unused)
    DicomWriter().refuse(refused)
    assert pydicom.dcmread(tmp_path / "out" / "dicom" / "refusal.dcm").PatientID == "P1"
    assert DicomWriter().complete(tmp_path / "out", refused=True)
    assert not DicomWriter().complete(tmp_path / "out", refused=False)
    with pytest.raises(NoDicomError, match="came as NIfTI"):
        DicomWriter().refuse(RefusedStudy(tmp_path / "out", "1.2.8", "the reason"))
