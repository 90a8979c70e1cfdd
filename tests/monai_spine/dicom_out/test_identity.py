import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from highdicom.spatial import ReferenceToImageTransformer
from pydicom import Dataset
from pydicom.data import get_charset_files

from monai_spine.dicom_out.encapsulated_pdf import encapsulated_pdf
from monai_spine.dicom_out.identity import ObjectIdentity
from monai_spine.dicom_out.source_image import NoDicomError, SourceImage, SourceImages
from monai_spine.dicom_out.sr_table import read_report
from monai_spine.dicom_out.writer import _encoded
from monai_spine.errors import InvalidTableError, MissingInputError
from monai_spine.prediction.source_frame import SourceFrame

LONG = "1.2." + "9" * 60
CHARSETS = [file for file in sorted(get_charset_files("*.dcm")) if "PatientName" in pydicom.dcmread(file, force=True)]


def header(**elements: object) -> Dataset:
    found = Dataset()
    found.SOPClassUID, found.SOPInstanceUID = pydicom.uid.MRImageStorage, "1.2.3"
    found.StudyInstanceUID, found.SeriesInstanceUID = "1.2.4", "1.2.5"
    with pydicom.config.disable_value_validation():
        for keyword, value in elements.items():
            setattr(found, keyword, value)
    return found


def written(*headers: Dataset) -> Dataset:
    """An object with the identity of headers, written and read back."""
    images = [SourceImage(one) for one in headers]
    return pydicom.dcmread(io.BytesIO(_encoded(encapsulated_pdf(b"%PDF-", ObjectIdentity.of(images), images))))


@pytest.mark.parametrize("file", CHARSETS, ids=lambda file: file.rpartition("/")[2])
def test_names_in_every_character_set_of_dicom_come_back_as_they_were(file: str) -> None:
    source = pydicom.dcmread(file, force=True)
    again = written(header(PatientName=source.PatientName, SpecificCharacterSet=source.get("SpecificCharacterSet")))
    assert str(again.PatientName) == str(source.PatientName)
    assert len(CHARSETS) > 10


def test_a_name_that_its_character_set_cannot_hold_is_written_in_utf_8() -> None:
    again = written(header(PatientName="山田^太郎", SpecificCharacterSet="ISO_IR 100"))
    assert str(again.PatientName) == "山田^太郎"
    assert again.SpecificCharacterSet == "ISO_IR 192"


def test_a_name_in_latin_1_that_no_character_set_declares_is_written_in_utf_8() -> None:
    back = written(header(PatientName="Müller^Jörg"))
    assert back.SpecificCharacterSet == "ISO_IR 192"
    assert str(back.PatientName) == "Müller^Jörg"


def test_uids_of_64_characters_are_taken_over() -> None:
    assert len(LONG) == 64
    again = written(header(StudyInstanceUID=LONG, SOPInstanceUID=LONG))
    assert again.StudyInstanceUID == LONG
    assert again.SourceInstanceSequence[0].ReferencedSOPInstanceUID == LONG


def test_values_that_break_the_rules_are_taken_over_as_they_are() -> None:
    odd = {"PatientSex": "male", "PatientBirthDate": "12.8.1964", "PatientID": "x" * 80, "StudyTime": "noon"}
    again = written(header(**odd))
    assert {keyword: str(again[keyword].value) for keyword in odd} == odd


def test_what_is_missing_is_empty_and_the_next_image_fills_it() -> None:
    again = written(header(), header(PatientID="7"))
    assert again.PatientID == "7"
    assert again.PatientName == ""
    assert "PatientAge" not in again


def test_images_that_contradict_each_other_are_refused_without_naming_anybody() -> None:
    frames = {("a.nii.gz", k): SourceFrame(Path(f"{k}"), f"{k}") for k in range(2)}
    sources = SourceImages(frames)
    sources._read = {frame: SourceImage(header(PatientName=f"Secret^{n}")) for n, frame in enumerate(frames.values())}
    with pytest.raises(NoDicomError, match="2 values of PatientName") as refused:
        sources.checked()
    assert "Secret" not in str(refused.value)


def test_a_source_file_that_is_gone_is_an_error(tmp_path: Path) -> None:
    sources = SourceImages({("a.nii.gz", 0): SourceFrame(tmp_path, "gone.dcm")})
    with pytest.raises(NoDicomError, match=r"a source image of a\.nii\.gz cannot be read"):
        sources.image("a.nii.gz", 0, 2)
    assert sources.image("a.nii.gz", 1, 2) is None
    assert sources.image("a.nii.gz", 0, 0) is None


@pytest.mark.parametrize("multi_frame", [False, True])
def test_places_in_an_image_are_those_of_highdicom(multi_frame: bool) -> None:
    position, cosines, spacing = [-20.0, 5.0, 60.0], [0.0, 0.96, -0.28, 0.0, -0.28, -0.96], [0.7, 0.5]
    plain = header(ImagePositionPatient=position, ImageOrientationPatient=cosines, PixelSpacing=spacing)
    image = SourceImage(plain)
    if multi_frame:
        shared, first, second = Dataset(), Dataset(), Dataset()
        shared.PixelMeasuresSequence = [header(PixelSpacing=spacing)]
        shared.PlaneOrientationSequence = [header(ImageOrientationPatient=cosines)]
        first.PlanePositionSequence = [header(ImagePositionPatient=[0, 0, 0])]
        second.PlanePositionSequence = [header(ImagePositionPatient=position)]
        groups = {"SharedFunctionalGroupsSequence": [shared], "PerFrameFunctionalGroupsSequence": [first, second]}
        image = SourceImage(header(**groups), frame=1)
        assert image.frame_numbers == [2]
    point = (17.0, -30.0, 12.0)  # RAS
    transform = ReferenceToImageTransformer(position, cosines, spacing)
    expected = transform(np.array([[-17.0, 30.0, 12.0]]))[0]
    assert image.image_point(point) == pytest.approx(expected[:2])


def test_what_is_no_report_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="there is no file"):
        read_report(tmp_path / "gone.dcm")
    (tmp_path / "text.dcm").write_text("no DICOM")
    with pytest.raises(InvalidTableError, match="cannot be read"):
        read_report(tmp_path / "text.dcm")
    (tmp_path / "pdf.dcm").write_bytes(
        _encoded(encapsulated_pdf(b"%PDF-", ObjectIdentity.of([SourceImage(header())]), []))
    )
    with pytest.raises(InvalidTableError, match="expected a structured report, but found Encapsulated PDF"):
        read_report(tmp_path / "pdf.dcm")
