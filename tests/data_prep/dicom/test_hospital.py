"""Series as hospitals, archives and anonymisers send them: converted right, or refused for the true reason."""

from __future__ import annotations

import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from data_prep.dicom.convert import convert
from tests.data_prep import dicom_factory as factory
from tests.data_prep import oracle
from tests.data_prep.dicom.conversion import rotated, run


def set_format(image: Dataset, allocated: int, stored: int, signed: int, seed: int) -> None:
    """Give an image pixels of a format, over its whole range."""
    image.BitsAllocated, image.BitsStored, image.HighBit = allocated, stored, stored - 1
    image.PixelRepresentation = signed
    low = -(2 ** (stored - 1)) if signed else 0
    values = np.random.default_rng(seed).integers(low, low + 2**stored, (image.Rows, image.Columns))
    factory.set_pixels(image, values)


FORMATS = [(16, 12, 0), (16, 12, 1), (16, 16, 0), (16, 16, 1), (8, 8, 0), (32, 32, 0)]


@pytest.mark.parametrize("later", FORMATS)
@pytest.mark.parametrize("first", FORMATS)
def test_slices_of_different_pixel_formats_keep_their_values(
    tmp_path: Path, first: tuple[int, int, int], later: tuple[int, int, int]
) -> None:
    images = factory.series(4)
    for number, image in enumerate(images):
        set_format(image, *(first if number < 2 else later), seed=number)
    assert oracle.verdicts(run(tmp_path, images)[0]) == ["converted"]


def test_odd_number_of_bytes_in_big_endian_words(tmp_path: Path) -> None:
    images = factory.series(3, rows=11, columns=11)
    for number, image in enumerate(images):
        set_format(image, 8, 8, 0, number)
        image.PixelData += b"\0"
    factory.write(tmp_path / "in", images, uid.ExplicitVRBigEndian)
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    assert oracle.check(tmp_path / "in", tmp_path / "out") == {"used": 3}


def test_private_syntax_of_ge_has_big_endian_pixels(tmp_path: Path) -> None:
    """Implicit VR little endian before big endian pixels, as DCMTK and GDCM read it."""
    import SimpleITK as sitk  # noqa: N813 - its usual name

    images = factory.series(4)
    for image in images:
        factory.set_pixels(image, np.frombuffer(image.PixelData, ">u2").reshape(12, 10))
    paths = factory.write(tmp_path / "in", images, uid.ImplicitVRLittleEndian)
    for path in paths:
        path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2\0", b"1.2.840.113619.5.2"))
    convert(tmp_path / "in", tmp_path / "out", quiet=True, verify="full", format="nii")
    (volume,) = (tmp_path / "out").rglob("*.nii")
    voxels = nib.load(volume).get_fdata()
    for k, path in enumerate(paths):
        image = sitk.ReadImage(str(path), imageIO="GDCMImageIO")
        assert np.array_equal(voxels[..., k].T, sitk.GetArrayFromImage(image)[0])


@pytest.mark.parametrize("noise", [5e-6, 2e-5, 1e-4, 1e-3])
def test_noise_in_the_cosines_is_right_or_refused_for_it(tmp_path: Path, noise: float) -> None:
    orientation = rotated(factory.SAGITTAL, 7, 2)
    images = factory.series(12, orientation=orientation, rows=320, columns=320, spacing=(0.8, 0.8))
    rng = np.random.default_rng(5)
    for image in images:
        image.ImageOrientationPatient = [f"{value + rng.uniform(-noise, noise):.7f}" for value in orientation]
    verdicts = oracle.verdicts(run(tmp_path, images)[0])
    assert (verdicts == ["converted"]) == (noise <= 2e-5)
    assert noise < 1e-4 or "MIXED_ORIENTATION" in verdicts


@pytest.mark.parametrize("slices", [10, 40, 60])
def test_cosines_of_three_decimals_are_right_in_both_affines(tmp_path: Path, slices: int) -> None:
    orientation = rotated(rotated(factory.AXIAL, 7, 2), 11, 0)
    images = factory.series(slices, orientation=orientation, rows=64, columns=64)
    for image in images:
        image.ImageOrientationPatient = [f"{value:.3f}" for value in orientation]
        image.ImagePositionPatient = [f"{value:.3f}" for value in image.ImagePositionPatient]
    assert oracle.verdicts(run(tmp_path, images)[0]) == ["converted"]


@pytest.mark.parametrize(
    ("slices", "extra", "verdicts"), [(15, 1, ["converted", "LOCALIZER"]), (5, 2, ["LOCALIZER"] * 2)]
)
def test_reference_image_across_a_scan_is_refused_alone(
    tmp_path: Path, slices: int, extra: int, verdicts: list[str]
) -> None:
    images = factory.series(slices, orientation=factory.AXIAL) + factory.series(extra, first_instance=slices + 1)
    assert oracle.verdicts(run(tmp_path, images)[0]) == verdicts


def test_detail_says_how_far_three_decimals_put_the_qform_off(tmp_path: Path) -> None:
    """Cosines that are not quite at right angles: the sform holds them, the qform comes as near as it can."""
    import SimpleITK as sitk  # noqa: N813 - its usual name

    orientation = rotated(rotated(factory.SAGITTAL, 17, 2), 11, 0)
    images = factory.series(17, orientation=orientation, rows=384, columns=384, spacing=(0.73, 0.73), step=4.4)
    for image in images:
        image.ImageOrientationPatient = [f"{value:.3f}" for value in orientation]
    factory.write(tmp_path / "in", images)
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    oracle.check(tmp_path / "in", tmp_path / "out", qform_mm=0.15)
    (row,) = oracle.manifest(tmp_path / "out")
    image = sitk.ReadImage(str(tmp_path / "out" / row["nifti"]))
    first = np.array(images[0].ImagePositionPatient, float)
    error = np.linalg.norm(image.TransformIndexToPhysicalPoint((0, 0, 0)) - first)
    in_detail = float(row["detail"].split()[-3])
    assert row["detail"] == f"cosines of few decimals: the qform, which can hold no shear, is {in_detail:.3f} mm off"
    assert 0.05 < error <= in_detail + 1e-3


def cine(slices: int = 5, phases: int = 4) -> list[Dataset]:
    """Slice by slice, each with its own heart rate: trigger times agree only in the first phase."""
    images = []
    for k in range(slices):
        for t in range(phases):
            image = factory.series(slices)[k]
            image.TriggerTime = f"{t * (30 + 0.37 * k):.2f}"
            image.InstanceNumber = k * phases + t + 1
            image.SOPInstanceUID = uid.generate_uid()
            factory.set_pixels(image, np.full((12, 10), 100 * k + t))
            images.append(image)
    return images


@pytest.mark.parametrize("numbered", [True, False])
def test_heart_phases_become_volumes_in_the_order_of_their_time(tmp_path: Path, numbered: bool) -> None:
    images = cine()
    for image in images:
        if not numbered:
            del image.InstanceNumber
    out, _ = run(tmp_path, images)
    assert oracle.verdicts(out) == ["converted"]
    (volume,) = out.rglob("*.nii.gz")
    assert np.array_equal(nib.load(volume).get_fdata()[0, 0], 100 * np.arange(5)[:, None] + np.arange(4))


def test_heart_phases_of_unequal_number_are_not_joined(tmp_path: Path) -> None:
    images = cine()
    for image in images:
        del image.InstanceNumber
    out, _ = run(tmp_path, [image for image in images if image is not images[7]])
    assert "converted" not in oracle.verdicts(out)[1:]


def two_patients(**equal: str) -> list[list[Dataset]]:
    """The same protocol on two patients; only the acquisition times differ."""
    return [
        factory.series(4, seed=n, AcquisitionTime=f"10000{n}", AcquisitionNumber=n, PatientID=f"patient {n}", **equal)
        for n in range(2)
    ]


@pytest.mark.parametrize("value", ["", "1.2.3"])
def test_patients_whose_uids_an_anonymiser_made_equal_are_never_joined(tmp_path: Path, value: str) -> None:
    names = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
    for folder, images in zip("ab", two_patients(**dict.fromkeys(names, value)), strict=True):
        factory.write(tmp_path / "in" / folder, images)
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    assert oracle.check(tmp_path / "in", tmp_path / "out") == {"used": 8}
    assert oracle.verdicts(tmp_path / "out") == ["converted", "converted"]
    assert {row["t"] for row in oracle.files(tmp_path / "out")} == {""}
    texts = [path.read_text() for path in (tmp_path / "out").rglob("*.[cj]s*")]
    assert len(texts) == 4
    assert not any("patient" in text for text in texts)


def test_files_without_uids_are_one_series_per_folder(tmp_path: Path) -> None:
    for folder, start in (("a", -8), ("b", 8)):
        images = factory.series(4, origin=(start, -90, 120), StudyInstanceUID="", SeriesInstanceUID="")
        factory.write(tmp_path / "in" / folder, images)
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    assert [row["slices"] for row in oracle.manifest(tmp_path / "out")] == ["4", "4"]


@pytest.mark.parametrize(("creator", "verdict"), [("SIEMENS MR HEADER", "MOSAIC"), ("GEMS_ACQU_01", "converted")])
def test_private_elements_count_only_in_the_block_of_their_vendor(tmp_path: Path, creator: str, verdict: str) -> None:
    images = factory.series(5)
    for number, image in enumerate(images):
        block = image.private_block(0x0019, creator, create=True)
        block.add_new(0x0A, "US", 7)  # Siemens: images in the mosaic
        block.add_new(0x0C, "DS", str(number % 2))  # Siemens: b value
    assert set(oracle.verdicts(run(tmp_path, images)[0])) == {verdict}


def test_grid_of_united_imaging_is_a_mosaic(tmp_path: Path) -> None:
    images = factory.series(3)
    for image in images:
        image.private_block(0x0065, "Image Private Header", create=True).add_new(0x50, "DS", "24")
    assert oracle.verdicts(run(tmp_path, images)[0]) == ["MOSAIC"]


def test_empty_lookup_table_is_none(tmp_path: Path) -> None:
    images = factory.series(3)
    for image in images:
        image.ModalityLUTSequence = Items([])
    assert oracle.verdicts(run(tmp_path, images)[0]) == ["converted"]


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian])
def test_lookup_table_is_refused(tmp_path: Path, syntax: str) -> None:
    images = factory.series(3)
    for image in images:
        table = Dataset()
        table.LUTDescriptor, table.LUTData = [2, 0, 16], struct.pack("<HH", 1, 2)
        image.ModalityLUTSequence = Items([table])
    factory.write(tmp_path / "in", images, syntax)
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    assert {row["reason"] for row in oracle.files(tmp_path / "out")} == {"UNSUPPORTED"}


def test_icon_and_private_sequences_are_not_the_image(tmp_path: Path) -> None:
    images = factory.series(4)
    for image in images:
        icon, inner = Dataset(), Dataset()
        icon.Rows = icon.Columns = 4
        icon.PixelData = bytes(16)
        icon["PixelData"].VR = "OB"
        inner.PixelSpacing, inner.Rows, inner.ImagePositionPatient = [5, 5], 3, [9, 9, 9]
        image.IconImageSequence = Items([icon])
        image["IconImageSequence"].is_undefined_length = True
        image.private_block(0x0009, "ACME", create=True).add_new(0x10, "SQ", Items([inner]))
    assert oracle.verdicts(run(tmp_path, images)[0]) == ["converted"]


@pytest.mark.parametrize(("named", "written"), [("1.2", "1.2.1"), ("1.2.1", "1.2")])
def test_syntax_that_the_meta_information_names_wrongly(tmp_path: Path, named: str, written: str) -> None:
    paths = factory.write(tmp_path / "in", factory.series(4), f"1.2.840.10008.{written}")
    for path in paths:
        data = path.read_bytes()
        end = 144 + int.from_bytes(data[140:144], "little")
        value = f"1.2.840.10008.{named}".encode()
        value += b"\0" * (len(value) % 2)
        meta = b"\x02\0\x10\0UI" + struct.pack("<H", len(value)) + value
        path.write_bytes(data[:132] + b"\x02\0\0\0UL\x04\0" + struct.pack("<I", len(meta)) + meta + data[end:])
    convert(tmp_path / "in", tmp_path / "out", quiet=True, verify="full")
    assert oracle.check(tmp_path / "in", tmp_path / "out") == {"used": 4}


def test_secondary_captures_among_the_slices_are_refused_alone(tmp_path: Path) -> None:
    images = factory.series(5)
    colour, placeless = factory.series(1, first_instance=6)[0], factory.blank(12, 10)
    colour.SamplesPerPixel, colour.PhotometricInterpretation, colour.PlanarConfiguration = 3, "RGB", 0
    colour.BitsAllocated = colour.BitsStored = 8
    colour.HighBit, colour.PixelData = 7, bytes(360)
    placeless.StudyInstanceUID, placeless.SeriesInstanceUID = images[0].StudyInstanceUID, images[0].SeriesInstanceUID
    factory.set_pixels(placeless, np.zeros((12, 10)))
    out, _ = run(tmp_path, [*images, colour, placeless])
    assert sorted(row["reason"] for row in oracle.files(out)) == [""] * 5 + ["COLOUR", "NO_GEOMETRY"]


def test_tiny_rescale_slopes_of_pet_keep_their_values(tmp_path: Path) -> None:
    images = factory.series(5)
    for number, image in enumerate(images):
        image.RescaleSlope, image.RescaleIntercept = f"{1.1e-8 * (number + 1):.6g}", 0
    assert oracle.verdicts(run(tmp_path, images)[0]) == ["converted"]


def test_rescale_slope_that_nifti_cannot_hold_is_refused(tmp_path: Path) -> None:
    assert oracle.verdicts(run(tmp_path, factory.series(3, RescaleSlope="1e-46"))[0]) == ["UNSUPPORTED"]
