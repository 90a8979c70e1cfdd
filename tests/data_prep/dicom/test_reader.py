"""What is read of a header: identity, contrast, hints, geometry; and each limit of what is accepted."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from data_prep.dicom.frames import FileHeader, Frame
from data_prep.dicom.headers.reader import read_header
from data_prep.dicom.refusals import Reason
from data_prep.dicom.sources import Source
from tests.data_prep import dicom_factory as factory


def read(tmp_path: Path, image: Dataset, syntax: str = "1.2.840.10008.1.2.1", **options: int) -> FileHeader:
    """An image written and read."""
    factory.write_one(tmp_path / "one.dcm", image, syntax)
    return read_header(Source("one.dcm", str(tmp_path / "one.dcm")), **options)


def read_frame(tmp_path: Path, private: dict[int, tuple[str, object]] | None = None, **attributes: object) -> Frame:
    """The frame of an image with these attributes and private elements."""
    image = factory.series(1)[0]
    for keyword, value in attributes.items():
        setattr(image, keyword, value)
    for tag, (vr, value) in (private or {}).items():
        image.add_new(tag, vr, value)
    (frame,) = read(tmp_path, image).frames
    return frame


def test_identity_contrast_and_geometry_are_those_of_the_header(tmp_path: Path) -> None:
    frame = read_frame(
        tmp_path,
        SeriesNumber=7,
        InstanceNumber=5,
        PatientID="x",
        EchoNumbers=2,
        EchoTime=100.12345,
        ComplexImageComponent="PHASE",
        RescaleSlope=2,
        RescaleIntercept=-3,
    )
    identity, contrast = frame.identity, frame.contrast
    assert (identity.study, identity.series, identity.series_number) == ("1.2.3.0.1", "1.2.3.0.2", 7)
    assert (identity.frame_of_reference, identity.description) == ("1.2.3.0.3", "T2 sag")
    assert identity.patient != read_frame(tmp_path, PatientID="y").identity.patient
    assert identity.patient == read_frame(tmp_path, PatientID="x ").identity.patient
    assert (contrast.image_type, contrast.component) == (("ORIGINAL", "PRIMARY", "M"), "PHASE")
    assert (contrast.echo_time, contrast.echo_number, contrast.b_value) == (100.123, 2, None)
    assert (frame.geometry.orientation, frame.geometry.spacing) == (factory.SAGITTAL, (0.7, 0.5))
    assert (frame.number, frame.slope, frame.intercept) == (5, 2, -3)


def test_rescale_that_is_absent_or_empty_changes_nothing(tmp_path: Path) -> None:
    for attributes in ({}, {"RescaleSlope": None, "RescaleIntercept": None}):
        frame = read_frame(tmp_path, **attributes)
        assert (frame.slope, frame.intercept, frame.reason) == (1, 0, None)


@pytest.mark.parametrize(
    ("keyword", "value", "name", "expected"),
    [
        ("TemporalPositionIdentifier", 3, "temporal position", 3),
        ("TemporalPositionIndex", 4, "temporal index", 4),
        ("DiffusionGradientOrientation", [0.5, 0.25, -1.0], "diffusion direction", (0.5, 0.25, -1.0)),
        ("InversionTime", 150, "inversion time", 150),
        ("FlipAngle", 90, "flip angle", 90),
        ("RepetitionTime", 4000, "repetition time", 4000),
        ("AcquisitionNumber", 2, "acquisition", 2),
        ("TriggerTime", 12.5, "trigger time", 12.5),
        ("AcquisitionDateTime", "20200101120000", "acquisition time", "20200101120000"),
        ("AcquisitionTime", "120000", "acquisition time", "120000"),
    ],
)
def test_values_that_may_separate_volumes_are_read(tmp_path: Path, keyword, value, name, expected) -> None:
    assert dict(read_frame(tmp_path, **{keyword: value}).hints)[name] == expected


def test_acquisition_time_has_its_date(tmp_path: Path) -> None:
    frame = read_frame(tmp_path, AcquisitionDate="20200101", AcquisitionTime="120000")
    assert dict(frame.hints)["acquisition time"] == "20200101120000"


def test_hints_that_are_absent_are_left_out(tmp_path: Path) -> None:
    assert [name for name, _ in read_frame(tmp_path).hints] == ["repetition time"]


@pytest.mark.parametrize(("error", "passes"), [(0.0019, True), (0.0021, False), (-0.0019, True), (-0.0021, False)])
@pytest.mark.parametrize("place", ["row", "column", "angle"])
def test_cosines_may_be_off_by_what_three_decimals_leave(tmp_path: Path, place, error, passes) -> None:
    orientation = {
        "row": [1 + error, 0, 0, 0, 1, 0],
        "column": [1, 0, 0, 0, 1 + error, 0],
        "angle": [1, 0, 0, error, (1 - error**2) ** 0.5, 0],
    }[place]
    frame = read_frame(tmp_path, ImageOrientationPatient=[f"{value:.12g}" for value in orientation])
    assert (frame.reason is None) is passes
    if not passes:
        assert frame.detail.endswith("by 0.0021")
        assert frame.geometry is None


@pytest.mark.parametrize(
    ("keyword", "value", "detail"),
    [
        ("ImagePositionPatient", [1, 2], "a wrong number of values"),
        ("ImageOrientationPatient", [1, 0, 0], "a wrong number of values"),
        ("PixelSpacing", [1, 1, 1], "a wrong number of values"),
        ("ImagePositionPatient", [1, 2, 1e6], "not a finite number"),
        ("ImagePositionPatient", [1, 2, -1e6], "not a finite number"),
        ("PixelSpacing", [0.5, 0], "pixel spacing 0.5 x 0 mm"),
        ("PixelSpacing", [-0.5, 1], "pixel spacing -0.5 x 1 mm"),
        ("PixelSpacing", None, "no position, orientation or pixel spacing"),
    ],
)
def test_impossible_geometry_is_refused(tmp_path: Path, keyword: str, value: object, detail: str) -> None:
    frame = read_frame(tmp_path, **{keyword: value})
    assert (frame.reason, frame.geometry) == (Reason.NO_GEOMETRY, None)
    assert detail in frame.detail


def test_positions_up_to_a_kilometre_are_accepted(tmp_path: Path) -> None:
    assert read_frame(tmp_path, ImagePositionPatient=[1, 2, 999_999]).reason is None


@pytest.mark.parametrize(
    ("slope", "intercept", "passes"),
    [("1e-29", 0, 1), ("1e-31", 0, 0), ("-2", 0, 1), ("0", 0, 0), ("1e31", 0, 0), (1, "1e31", 0), (1, "-1e31", 0)],
)
def test_rescale_must_fit_into_nifti(tmp_path: Path, slope, intercept, passes) -> None:
    reason = read_frame(tmp_path, RescaleSlope=slope, RescaleIntercept=intercept).reason
    assert reason is (None if passes else Reason.UNSUPPORTED)


@pytest.mark.parametrize(("place", "reason"), [(1, None), (2, Reason.LOCALIZER), (3, Reason.LOCALIZER)])
def test_localizer_is_the_third_value_of_the_image_type_or_a_later_one(tmp_path: Path, place, reason) -> None:
    image_type = ["ORIGINAL", "PRIMARY", "M", "ND"]
    image_type[place] = "LOCALIZER"
    assert read_frame(tmp_path, ImageType=image_type).reason is reason


def test_size_that_a_file_declares_may_be_that_of_the_limit(tmp_path: Path) -> None:
    image = factory.series(1)[0]
    assert read(tmp_path, image, max_bytes=240).frames
    assert read(tmp_path, image, max_bytes=239).reason is Reason.TOO_LARGE


def test_frames_without_functional_groups_have_no_place(tmp_path: Path) -> None:
    image = factory.series(1, NumberOfFrames=3)[0]
    image.PixelData = image.PixelData * 3
    frames = read(tmp_path, image).frames
    assert [(frame.index, frame.number, frame.reason) for frame in frames] == [
        (n, n + 1, Reason.NO_GEOMETRY) for n in range(3)
    ]


@pytest.mark.parametrize(
    ("elements", "b_value"),
    [
        ({0x00189087: ("FD", 800.0)}, 800),
        ({0x00190010: ("LO", "SIEMENS MR HEADER"), 0x0019100C: ("IS", 750)}, 750),
        ({0x20010010: ("LO", "Philips Imaging DD 001"), 0x20011003: ("FL", 600.0)}, 600),
        ({0x00430010: ("LO", "GEMS_PARM_01"), 0x00431039: ("IS", [1000000500, 8, 0, 0])}, 500),
        ({0x00190010: ("LO", "GEMS_ACQU_01"), 0x0019100C: ("IS", 750)}, None),
        ({0x00430010: ("LO", "SIEMENS"), 0x00431039: ("IS", 500)}, None),
        ({0x20010010: ("LO", "SIEMENS"), 0x20011003: ("FL", 600.0)}, None),
        ({0x20010010: ("LO", ""), 0x20011003: ("FL", 600.0)}, 600),
        ({0x00189087: ("FD", 800.0), 0x00431039: ("IS", 500)}, 800),  # the standard's element first
    ],
)
def test_b_value_of_each_vendor_is_read_from_its_own_block(tmp_path: Path, elements, b_value) -> None:
    assert read_frame(tmp_path, elements).contrast.b_value == b_value


@pytest.mark.parametrize(
    ("creator", "elements", "direction"),
    [
        ((0x00190010, "SIEMENS MR HEADER"), {0x0019100E: ("FD", [0.6, 0.0, 0.8])}, (0.6, 0.0, 0.8)),
        ((0x00190010, "GEMS_ACQU_01"), {0x0019100E: ("FD", [0.6, 0.0, 0.8])}, None),
        (
            (0x00190010, "GEMS_ACQU_01"),
            {tag: ("DS", value) for tag, value in ((0x001910BB, 0.6), (0x001910BC, 0.5), (0x001910BD, 0.8))},
            (0.6, 0.5, 0.8),
        ),
        ((0x00190010, "GEMS_ACQU_01"), {0x001910BB: ("DS", 0.6), 0x001910BC: ("DS", 0.5)}, None),
        (
            (0x20050010, "Philips MR Imaging DD 001"),
            {tag: ("FL", value) for tag, value in ((0x200510B0, 0.25), (0x200510B1, 0.5), (0x200510B2, 0.75))},
            (0.25, 0.5, 0.75),
        ),
    ],
)
def test_diffusion_direction_of_each_vendor_is_read(tmp_path: Path, creator, elements, direction) -> None:
    frame = read_frame(tmp_path, {creator[0]: ("LO", creator[1]), **elements})
    assert dict(frame.hints).get("diffusion direction") == direction


@pytest.mark.parametrize(
    ("elements", "component"),
    [
        ({0x20050010: ("LO", "Philips MR Imaging DD 001"), 0x20051011: ("CS", "P")}, "P"),
        ({0x00430010: ("LO", "GEMS_PARM_01"), 0x0043102F: ("SS", 1)}, "GE1"),
        ({0x00430010: ("LO", "SIEMENS"), 0x0043102F: ("SS", 1)}, ""),
        ({0x20050010: ("LO", "SIEMENS"), 0x20051011: ("CS", "P")}, ""),
    ],
)
def test_magnitude_and_phase_of_each_vendor_are_read(tmp_path: Path, elements, component: str) -> None:
    assert read_frame(tmp_path, elements).contrast.component == component


@pytest.mark.parametrize(
    ("elements", "is_mosaic"),
    [
        ({0x00190010: ("LO", "SIEMENS MR HEADER"), 0x0019100A: ("US", 30)}, True),
        ({0x00190010: ("LO", "SIEMENS MR HEADER"), 0x0019100A: ("US", 1)}, False),
        ({0x00190010: ("LO", "GEMS_ACQU_01"), 0x0019100A: ("US", 30)}, False),
        ({0x00650010: ("LO", "Image Private Header"), 0x00651050: ("DS", 20)}, True),
    ],
)
def test_tiled_slices_are_a_mosaic(tmp_path: Path, elements, is_mosaic: bool) -> None:
    assert read_frame(tmp_path, elements).reason is (Reason.MOSAIC if is_mosaic else None)


def fragments(count: int, size: int = 4) -> bytes:
    """Encapsulated pixel data: an empty offset table and fragments of a few bytes."""
    item = struct.pack("<HHI", 0xFFFE, 0xE000, size) + bytes(range(1, size + 1))
    return struct.pack("<HHI", 0xFFFE, 0xE000, 0) + count * item + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


@pytest.mark.parametrize(("count", "frames", "enough"), [(1, 1, True), (0, 1, False), (2, 3, False), (3, 3, True)])
def test_compressed_object_has_a_fragment_for_each_frame(tmp_path: Path, count: int, frames: int, enough: bool) -> None:
    image = factory.series(1, NumberOfFrames=frames)[0]
    image.PixelData = fragments(count)
    image["PixelData"].VR = "OB"
    image["PixelData"].is_undefined_length = True
    header = read(tmp_path, image, "1.2.840.10008.1.2.4.90")
    reasons = {frame.reason for frame in header.frames} | {header.reason}
    assert (Reason.TRUNCATED in reasons) is not enough
    if not enough and frames > 1:
        assert header.detail == f"{count} compressed fragments for {frames} frames"


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_compressed_object_that_ends_early_is_truncated(tmp_path: Path, kept: float) -> None:
    image = factory.compressed(factory.series(1)[0], "1.2.840.10008.1.2.5")
    factory.write_one(tmp_path / "one.dcm", image, "1.2.840.10008.1.2.5")
    data = (tmp_path / "one.dcm").read_bytes()
    start = data.rindex(b"\xe0\x7f\x10\x00")
    (tmp_path / "one.dcm").write_bytes(data[: start + int(kept * (len(data) - start))])
    (frame,) = read_header(Source("one.dcm", str(tmp_path / "one.dcm"))).frames
    assert frame.reason is Reason.TRUNCATED
