"""What becomes of a series: every case that other converters get wrong, from the files to the volumes."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from data_prep.dicom.convert import convert
from tests.data_prep import dicom_factory as factory
from tests.data_prep import oracle
from tests.data_prep.dicom.conversion import rotated, run


@pytest.mark.parametrize("orientation", [factory.SAGITTAL, factory.CORONAL, factory.AXIAL])
def test_clean_stack_is_right(tmp_path: Path, orientation: tuple[float, ...]) -> None:
    out, summary = run(tmp_path, factory.series(orientation=orientation))
    assert oracle.verdicts(out) == ["converted"]
    assert summary.exit_code == 0


def test_two_stacks_a_few_degrees_apart_become_two_volumes(tmp_path: Path) -> None:
    tilted = rotated(factory.AXIAL, 8, 0)
    images = factory.series(5, orientation=factory.AXIAL) + factory.series(
        4, orientation=tilted, origin=(0, 0, 60), first_instance=6
    )
    out, _ = run(tmp_path, images)
    assert [row["slices"] for row in oracle.manifest(out)] == ["5", "4"]
    assert oracle.verdicts(out) == ["converted", "converted"]


@pytest.mark.parametrize("angles", [(0, 45), (0, 68), (-22, -8, 6, 25, 46), (-25, -5, 15, 40, 65)])
def test_stacks_angled_to_the_discs_are_no_localizer(tmp_path: Path, angles: tuple[int, ...]) -> None:
    """Two blocks, or five discs of a strongly lordotic spine."""
    images = [
        image
        for n, angle in enumerate(angles)
        for image in factory.series(
            4, orientation=rotated(factory.AXIAL, angle, 0), origin=(0, 0, -40 * n), first_instance=1 + 4 * n
        )
    ]
    assert oracle.verdicts(run(tmp_path, images)[0]) == ["converted"] * len(angles)


def test_in_plane_rotation_inside_a_series_splits_it(tmp_path: Path) -> None:
    turned = rotated(factory.AXIAL, 10, 2)
    images = factory.series(4, orientation=factory.AXIAL) + factory.series(
        4, orientation=turned, origin=(-8, -90, 136), first_instance=5
    )
    assert oracle.verdicts(run(tmp_path, images)[0]) == ["converted", "converted"]


def test_other_pixel_spacing_inside_a_series_splits_it(tmp_path: Path) -> None:
    images = factory.series(4) + factory.series(4, spacing=(0.7, 0.6), origin=(40, -90, 120), first_instance=5)
    assert oracle.verdicts(run(tmp_path, images)[0]) == ["converted", "converted"]


def test_swapped_row_and_column_spacing_is_another_spacing(tmp_path: Path) -> None:
    images = factory.series(4, spacing=(0.7, 0.5)) + factory.series(
        4, spacing=(0.5, 0.7), origin=(40, -90, 120), first_instance=5
    )
    assert oracle.verdicts(run(tmp_path, images)[0]) == ["converted", "converted"]


def test_one_image_of_another_spacing_is_refused_for_it(tmp_path: Path) -> None:
    images = factory.series(6)
    images[5].PixelSpacing = [0.9, 0.9]
    assert oracle.verdicts(run(tmp_path, images)[0]) == ["converted", "MIXED_SPACING"]


def test_one_image_of_another_shape_is_refused_for_it(tmp_path: Path) -> None:
    images = factory.series(6)
    images[5] = factory.series(1, rows=8, columns=8, origin=(12, -90, 120), first_instance=6)[0]
    assert oracle.verdicts(run(tmp_path, images)[0]) == ["converted", "MIXED_SHAPE"]


@pytest.mark.parametrize("shift", [0.01, 0.2, 2.0])
def test_sheared_stack_is_refused(tmp_path: Path, shift: float) -> None:
    out, summary = run(tmp_path, factory.series(12, step=(4.0, shift, 0.0)))
    assert oracle.verdicts(out) == ["SHEARED"]
    assert "mm in its plane" in oracle.manifest(out)[0]["detail"]
    assert summary.exit_code == 3


def test_rounded_headers_are_no_shear(tmp_path: Path) -> None:
    orientation = rotated(factory.SAGITTAL, 7, 2)
    images = factory.series(15, orientation=orientation)
    for image in images:
        image.ImageOrientationPatient = [f"{value:.6f}" for value in orientation]
        image.ImagePositionPatient = [f"{value:.3f}" for value in image.ImagePositionPatient]
    assert oracle.verdicts(run(tmp_path, images)[0]) == ["converted"]


def test_missing_slice_is_refused_with_numbers_and_millimetres(tmp_path: Path) -> None:
    images = factory.series(9)
    del images[4]
    row = oracle.manifest(run(tmp_path, images)[0])[0]
    assert row["reason"] == "MISSING_SLICE"
    assert row["detail"] == "between slices 4 and 6 lie 8.000 mm, elsewhere 4.000 mm"


@pytest.mark.parametrize("missing", [1, 2, 3, 4, 5, 6, 7])
def test_no_single_missing_slice_passes_even_when_renumbered(tmp_path: Path, missing: int) -> None:
    images = factory.series(9)
    del images[missing]
    for number, image in enumerate(images, start=1):
        image.InstanceNumber = number
    assert oracle.verdicts(run(tmp_path, images)[0]) == ["MISSING_SLICE"]


def test_missing_slice_of_three_is_named_as_missing(tmp_path: Path) -> None:
    images = factory.series(4)
    del images[1]
    assert oracle.verdicts(run(tmp_path, images)[0]) == ["MISSING_SLICE"]


def test_two_missing_slices_are_not_taken_for_a_slab_gap(tmp_path: Path) -> None:
    images = factory.series(12)
    del images[5:7]
    assert oracle.verdicts(run(tmp_path, images)[0]) == ["MISSING_SLICE"]


def test_uneven_spacing_is_refused(tmp_path: Path) -> None:
    images = factory.series(6)
    images[3].ImagePositionPatient = [images[3].ImagePositionPatient[0] + 1.0, -90, 120]
    assert oracle.verdicts(run(tmp_path, images)[0]) == ["UNEVEN_SPACING"]


def test_slab_gap_splits_into_two_stacks(tmp_path: Path) -> None:
    images = factory.series(5, orientation=factory.AXIAL) + factory.series(
        4, orientation=factory.AXIAL, origin=(-8, -90, 161.5), first_instance=6
    )
    out, _ = run(tmp_path, images)
    assert [row["slices"] for row in oracle.manifest(out)] == ["5", "4"]


def test_identical_copy_of_a_file_is_a_duplicate(tmp_path: Path) -> None:
    images = factory.series(5)
    images.append(copy.deepcopy(images[2]))
    out, summary = run(tmp_path, images)
    assert summary.files == {"used": 5, "duplicate": 1}
    assert oracle.verdicts(out) == ["converted"]
    assert "1 identical" in oracle.manifest(out)[0]["detail"]


def test_copy_under_another_uid_is_a_duplicate_too(tmp_path: Path) -> None:
    images = factory.series(5)
    images.append(copy.deepcopy(images[2]))
    images[-1].SOPInstanceUID, images[-1].InstanceNumber = generate_uid(), 6
    _, summary = run(tmp_path, images)
    assert summary.files == {"used": 5, "duplicate": 1}


def test_other_pixels_at_one_position_are_never_stacked(tmp_path: Path) -> None:
    images = factory.series(5)
    images.append(copy.deepcopy(images[2]))
    images[-1].SOPInstanceUID, images[-1].InstanceNumber = generate_uid(), 6
    factory.set_pixels(images[-1], np.full((12, 10), 7))
    assert oracle.verdicts(run(tmp_path, images)[0]) == ["AMBIGUOUS_VOLUMES"]


def test_truncated_file_refuses_its_stack(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    paths = factory.write(source, factory.series(5))
    paths[2].write_bytes(paths[2].read_bytes()[:-40])
    convert(source, out, quiet=True)
    assert oracle.verdicts(out) == ["TRUNCATED"]
    assert oracle.manifest(out)[0]["detail"] == "slice 3: 200 of 240 bytes of pixel data"
    assert {row["status"] for row in oracle.files(out)} == {"refused"}


@pytest.mark.parametrize("key", ["TemporalPositionIdentifier", "AcquisitionNumber", "TriggerTime"])
def test_time_series_becomes_one_4d_file(tmp_path: Path, key: str) -> None:
    images = [image for t in range(3) for image in factory.series(4, first_instance=1 + 4 * t, seed=0, **{key: t + 1})]
    for number, image in enumerate(images):
        factory.set_pixels(image, np.full((12, 10), number))
    out, _ = run(tmp_path, images)
    assert [row["t"] for row in oracle.files(out)] == ["0"] * 4 + ["1"] * 4 + ["2"] * 4


@pytest.mark.parametrize("slice_by_slice", [False, True])
def test_instance_numbers_alone_separate_a_time_series(tmp_path: Path, slice_by_slice: bool) -> None:
    images = [image for t in range(3) for image in factory.series(4, seed=0)]
    for number, image in enumerate(images):
        t, k = divmod(number, 4)
        image.InstanceNumber = k * 3 + t + 1 if slice_by_slice else number + 1
        image.SOPInstanceUID = generate_uid()
        factory.set_pixels(image, np.full((12, 10), number))
    out, _ = run(tmp_path, images)
    assert [row["t"] for row in oracle.files(out)] == ["0"] * 4 + ["1"] * 4 + ["2"] * 4


def test_interrupted_time_series_keeps_its_whole_volumes(tmp_path: Path) -> None:
    images = [
        image
        for t in range(3)
        for image in factory.series(4, first_instance=1 + 4 * t, seed=0, TemporalPositionIdentifier=t + 1)
    ]
    for number, image in enumerate(images):
        factory.set_pixels(image, np.full((12, 10), number))
    out, summary = run(tmp_path, images[:-2])
    assert oracle.verdicts(out) == ["converted", "TOO_FEW_SLICES"]
    assert summary.files == {"used": 8, "refused": 2}


def test_volumes_moved_between_time_points_become_files_of_their_own(tmp_path: Path) -> None:
    images = [
        image
        for t in range(3)
        for image in factory.series(
            4, first_instance=1 + 4 * t, origin=(-8 + 0.3 * t, -90 + 0.2 * t, 120), TemporalPositionIdentifier=t + 1
        )
    ]
    assert oracle.verdicts(run(tmp_path, images)[0]) == ["converted"] * 3


def test_echoes_become_volumes_of_their_own(tmp_path: Path) -> None:
    images = factory.series(4, EchoTime=20, EchoNumbers=1) + factory.series(
        4, EchoTime=80, EchoNumbers=2, first_instance=5
    )
    assert oracle.verdicts(run(tmp_path, images)[0]) == ["converted", "converted"]


def test_magnitude_and_phase_become_volumes_of_their_own(tmp_path: Path) -> None:
    images = factory.series(4) + factory.series(
        4, ImageType=["ORIGINAL", "PRIMARY", "P"], RescaleSlope=2, RescaleIntercept=-4096, first_instance=5
    )
    assert oracle.verdicts(run(tmp_path, images)[0]) == ["converted", "converted"]


def test_b_values_become_volumes_of_their_own(tmp_path: Path) -> None:
    images = factory.series(4, DiffusionBValue=50.0) + factory.series(4, DiffusionBValue=800.0, first_instance=5)
    assert oracle.verdicts(run(tmp_path, images)[0]) == ["converted", "converted"]


@pytest.mark.parametrize(("slices", "turn", "planes"), [(4, 0, 3), (3, 14, 3), (9, 0, 2), (1, 0, 3)])
def test_localizer_in_several_planes_is_refused(tmp_path: Path, slices: int, turn: float, planes: int) -> None:
    images = [
        image
        for n, orientation in enumerate((factory.SAGITTAL, factory.CORONAL, factory.AXIAL)[:planes])
        for image in factory.series(
            slices, orientation=rotated(orientation, turn, 0), first_instance=1 + slices * n, spacing=(1.5, 1.5)
        )
    ]
    out, _ = run(tmp_path, images)
    assert oracle.verdicts(out) == ["LOCALIZER"] * planes
    assert {row["detail"] for row in oracle.manifest(out)} == {f"slices in {planes} planes, up to 90 degrees apart"}


def test_localizer_with_planes_that_are_not_quite_orthogonal_says_their_angle(tmp_path: Path) -> None:
    images = factory.series(3, orientation=factory.AXIAL) + factory.series(
        3, orientation=rotated(factory.CORONAL, 8, 0), first_instance=4
    )
    assert "82 degrees" in oracle.manifest(run(tmp_path, images)[0])[0]["detail"]


def test_mosaic_is_refused(tmp_path: Path) -> None:
    images = factory.series(3, ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"])
    assert oracle.verdicts(run(tmp_path, images)[0]) == ["MOSAIC"]


def test_many_images_at_one_position_are_refused(tmp_path: Path) -> None:
    assert oracle.verdicts(run(tmp_path, factory.series(6, step=0.0))[0]) == ["SINGLE_POSITION"]


@pytest.mark.parametrize("slices", [1, 2])
def test_too_few_slices_are_refused(tmp_path: Path, slices: int) -> None:
    assert oracle.verdicts(run(tmp_path, factory.series(slices))[0]) == ["TOO_FEW_SLICES"]


def test_two_stations_on_the_same_slice_planes_are_two_stacks(tmp_path: Path) -> None:
    images = factory.series(5) + factory.series(5, origin=(-8, -90, -80), first_instance=6)
    assert oracle.verdicts(run(tmp_path, images)[0]) == ["converted", "converted"]


def halves(second_uid: str = "1.2.3.0.9") -> list[Dataset]:
    """One stack whose second half has another SeriesInstanceUID."""
    images = factory.series(8)
    for image in images[4:]:
        image.SeriesInstanceUID = second_uid
    return images


def test_one_stack_under_two_series_uids_is_joined_where_it_is_proven(tmp_path: Path) -> None:
    out, _ = run(tmp_path, halves())
    assert [(row["slices"], row["detail"]) for row in oracle.manifest(out)] == [("8", "one stack sent as 2 series")]


def test_two_series_that_are_not_proven_to_be_one_stay_apart(tmp_path: Path) -> None:
    images = halves()
    for image in images[4:]:
        image.FrameOfReferenceUID = "1.2.3.0.77"
    assert [row["slices"] for row in oracle.manifest(run(tmp_path, images)[0])] == ["4", "4"]


def test_repeated_scan_under_one_series_number_stays_apart(tmp_path: Path) -> None:
    images = factory.series(4) + factory.series(4, SeriesInstanceUID="1.2.3.0.9", first_instance=5)
    assert [row["slices"] for row in oracle.manifest(run(tmp_path, images)[0])] == ["4", "4"]


@pytest.mark.parametrize("intercept", [0, -1024, 0.5])
@pytest.mark.parametrize("slope", [1, 0.25, 3])
def test_rescale_of_all_slices_alike(tmp_path: Path, slope: float, intercept: float) -> None:
    images = factory.series(3, RescaleSlope=slope, RescaleIntercept=intercept)
    assert oracle.verdicts(run(tmp_path, images)[0]) == ["converted"]


def test_rescale_that_turns_fractional_after_the_first_slice(tmp_path: Path) -> None:
    images = factory.series(4, RescaleIntercept=-2)
    for number, image in enumerate(images):
        image.RescaleSlope = 1 if number == 0 else 0.37 * number
    assert oracle.verdicts(run(tmp_path, images)[0]) == ["converted"]


def test_monochrome1_keeps_the_stored_values(tmp_path: Path) -> None:
    images = factory.series(4, PhotometricInterpretation="MONOCHROME1")
    assert oracle.verdicts(run(tmp_path, images)[0]) == ["converted"]


@pytest.mark.parametrize(("bits", "stored", "signed"), [(8, 8, 0), (16, 16, 0), (16, 16, 1), (16, 12, 1), (32, 32, 0)])
def test_pixel_formats(tmp_path: Path, bits: int, stored: int, signed: int) -> None:
    images = factory.series(3)
    low, high = (-(2 ** (stored - 1)), 2 ** (stored - 1)) if signed else (0, 2**stored)
    for image in images:
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = (
            bits,
            stored,
            stored - 1,
            signed,
        )
        factory.set_pixels(image, np.random.default_rng(0).integers(low, high, (12, 10)))
    assert oracle.verdicts(run(tmp_path, images)[0]) == ["converted"]


def test_overlay_bits_above_the_stored_bits_are_no_values(tmp_path: Path) -> None:
    images = factory.series(3)
    for image in images:
        values = np.frombuffer(image.PixelData, "<u2").reshape(12, 10)
        factory.set_pixels(image, values | 0x8000)
    assert oracle.verdicts(run(tmp_path, images)[0]) == ["converted"]


def test_bits_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    images = factory.series(4)
    images[1].BitsStored = 8  # and HighBit 11
    out, _ = run(tmp_path, images)
    assert [row["reason"] for row in oracle.files(out)] == [
        "MISSING_SLICE",
        "UNSUPPORTED",
        "MISSING_SLICE",
        "MISSING_SLICE",
    ]


def test_unknown_transfer_syntax_is_read_only_if_the_length_is_that_of_plain_pixels(tmp_path: Path) -> None:
    paths = factory.write(tmp_path / "in", factory.series(3))
    for path in paths:
        path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.7\0") + bytes(8))
        path.write_bytes(path.read_bytes().replace(b"\xe0\x7f\x10\0OW\0\0\xf0", b"\xe0\x7f\x10\0OW\0\0\xf8"))
    convert(tmp_path / "in", tmp_path / "out", quiet=True)
    assert oracle.verdicts(tmp_path / "out") == ["UNREADABLE"]


@pytest.mark.parametrize("keyword", ["SeriesNumber", "FrameOfReferenceUID"])
def test_volumes_of_a_series_have_different_numbers_whatever_differs_inside_it(tmp_path: Path, keyword: str) -> None:
    """Blocks to which the scanner gave their own numbers or frames of reference never overwrite each other."""
    images = factory.series(4, orientation=factory.AXIAL, **{keyword: "7"}) + factory.series(
        4, orientation=rotated(factory.AXIAL, 20, 0), origin=(0, 0, 60), first_instance=5, **{keyword: "8"}
    )
    out, _ = run(tmp_path, images)
    assert oracle.verdicts(out) == ["converted", "converted"]
    assert len({row["nifti"] for row in oracle.manifest(out)}) == 2


def test_enhanced_single_volume_is_right(tmp_path: Path) -> None:
    out, _ = run(tmp_path, [factory.enhanced(factory.series(6, RescaleSlope=2.5))])
    assert oracle.verdicts(out) == ["converted"]
    assert [row["frame"] for row in oracle.files(out)] == [str(n) for n in range(6)]


def test_enhanced_rescale_per_frame(tmp_path: Path) -> None:
    images = factory.series(5)
    for number, image in enumerate(images):
        image.RescaleSlope, image.RescaleIntercept = 1 + 0.5 * number, -number
    assert oracle.verdicts(run(tmp_path, [factory.enhanced(images)])[0]) == ["converted"]


def test_enhanced_object_of_several_volumes_is_separated(tmp_path: Path) -> None:
    volumes = [image for t in (1, 2, 3) for image in factory.series(4, seed=0, TemporalPositionIdentifier=t)]
    for number, image in enumerate(volumes):
        factory.set_pixels(image, np.full((12, 10), number))
    out, _ = run(tmp_path, [factory.enhanced(volumes)])
    assert [row["t"] for row in oracle.files(out)] == ["0"] * 4 + ["1"] * 4 + ["2"] * 4


def test_enhanced_object_of_two_orientations_is_split(tmp_path: Path) -> None:
    images = factory.series(4, orientation=factory.AXIAL) + factory.series(
        4, orientation=rotated(factory.AXIAL, 12, 0), origin=(0, 0, 60)
    )
    assert oracle.verdicts(run(tmp_path, [factory.enhanced(images)])[0]) == ["converted", "converted"]


def test_enhanced_frames_in_no_order_are_sorted(tmp_path: Path) -> None:
    images = factory.series(7)
    np.random.default_rng(3).shuffle(images)
    assert oracle.verdicts(run(tmp_path, [factory.enhanced(images)])[0]) == ["converted"]


def test_wrong_spacing_between_slices_changes_nothing(tmp_path: Path) -> None:
    images = factory.series(5, SpacingBetweenSlices=99, SliceThickness=1)
    assert oracle.verdicts(run(tmp_path, images)[0]) == ["converted"]
