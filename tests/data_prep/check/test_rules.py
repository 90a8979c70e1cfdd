"""The rules of the check at their limits, on volumes and points without files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from data_prep.check.codes import Code
from data_prep.check.cohort_faults import faults_between_entries, faults_between_images
from data_prep.check.entries import Study
from data_prep.check.point_faults import faults_of_labels, faults_of_points, level_distances
from data_prep.check.volume_facts import VolumeFacts
from data_prep.check.volume_faults import faults_between_volumes, faults_of_volume
from monai_spine.data.volume import Volume
from monai_spine.geometry import Plane, to_world
from monai_spine.spine import FINDINGS, Condition, Finding, Level, SeriesType, Side

T1, T2, AXIAL = SeriesType
CANAL = [Finding(Condition.SPINAL_CANAL_STENOSIS, level) for level in Level]
LEFT, RIGHT = (
    [Finding(condition, level) for level in Level]
    for side in (Side.LEFT, Side.RIGHT)
    for condition in Condition
    if condition.side is side and condition.series_type is AXIAL
)
PLAIN = {"pixel_width_mm": 0.6, "pixel_height_mm": 0.6, "slice_spacing_mm": 4.0, "field_width_mm": 280.0,
         "field_height_mm": 280.0, "slices": 15}  # fmt: skip


def study(number=0, points=None, label=None, **changes) -> Study:
    series = {series_type: (f"{number}/{series_type.value}.nii",) for series_type in SeriesType}
    plain = Study(number, "training", f"s{number}", f"p{number}", 0, series, label, points or {})
    return replace(plain, **changes)


def facts(number=0, series_type=T2, box=((0, 0, 0), (9, 9, 9)), digest="d", image=b"h", **features) -> VolumeFacts:
    plane = Plane.AXIAL if series_type is AXIAL else Plane.SAGITTAL
    path = f"{number}/{series_type.value}.nii"
    return VolumeFacts(number, series_type, path, plane, PLAIN | features, np.array(box, float), digest, image)


def volume(affine=None) -> Volume:
    return Volume(np.zeros((2, 2, 2), dtype=np.float32), np.eye(4) if affine is None else affine)


def codes(faults):
    return [fault.code for fault in faults]


LIMITS = {"pixel_width_mm": (0.15, 2.5), "pixel_height_mm": (0.15, 2.5), "slice_spacing_mm": (0.5, 12.0),
          "field_width_mm": (80.0, 600.0), "field_height_mm": (80.0, 600.0), "slices": (3, 400)}  # fmt: skip


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("end", [0, 1])
def test_sizes_are_plausible_up_to_the_limits_and_implausible_beyond(name, end):
    limit = LIMITS[name][end]
    beyond = limit * (1.01 if end else 0.99)
    assert codes(faults_of_volume(study(), volume(), facts(**{name: limit}))) == []
    (fault,) = faults_of_volume(study(), volume(), facts(**{name: beyond}))
    assert fault.code is Code.IMPLAUSIBLE_SIZE
    assert f"{beyond:.4g}, expected {LIMITS[name][0]:g} to {LIMITS[name][1]:g}" in fault.detail
    assert (fault.path, fault.series, fault.study) == ("0/sagittal_t2.nii", "sagittal_t2", "s0")


@pytest.mark.parametrize(("degrees", "sheared"), [(0.99, False), (-0.99, False), (1.01, True), (-1.01, True)])
def test_axes_may_miss_a_right_angle_by_a_degree(degrees, sheared):
    affine = np.diag([0.5, 0.5, 4.0, 1.0])
    affine[:2, 1] = 0.5 * np.array([np.sin(np.radians(degrees)), np.cos(np.radians(degrees))])
    assert codes(faults_of_volume(study(), volume(affine), facts())) == [Code.AFFINE_SHEARED] * sheared


def test_a_constant_image_says_its_value():
    (fault,) = faults_of_volume(study(), volume(), facts(image=b""))
    assert (fault.code, fault.detail) == (Code.CONSTANT_IMAGE, "all are 0")


@pytest.mark.parametrize(("large", "mixed"), [(300.0, False), (301.0, True)])
@pytest.mark.parametrize("side", ["field_width_mm", "field_height_mm"])
def test_fields_of_view_are_mixed_from_a_ratio_of_one_and_a_half(large, mixed, side):
    small = facts(field_width_mm=200.0, field_height_mm=150.0)
    wide = replace(facts(**{"field_width_mm": 150.0, "field_height_mm": 150.0, side: large}), path="wide.nii")
    faults = list(faults_between_volumes(study(), [small, wide]))
    assert codes(faults) == [Code.MIXED_FIELDS_OF_VIEW] * mixed
    assert not mixed or (faults[0].path, faults[0].detail) == ("wide.nii", "from 200 to 301 mm over 2 volumes")


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("sign", [1, -1])
def test_series_that_touch_overlap_and_those_with_a_gap_do_not(axis, sign):
    def moved(millimetres):
        box = np.array([(0.0, 0.0, 0.0), (9.0, 9.0, 9.0)])
        box[:, axis] += sign * millimetres
        return [facts(), facts(series_type=AXIAL, box=box)]

    assert codes(faults_between_volumes(study(), moved(9.0))) == []
    (fault,) = faults_between_volumes(study(), moved(13.0))
    assert (fault.code, fault.series) == (Code.SERIES_APART, "axial_t2")
    assert fault.detail == "Sagittal T2/STIR and Axial T2 lie 4 mm apart"


def test_stacks_of_one_series_type_make_one_box():
    far = facts(series_type=AXIAL, box=((0, 0, 50), (9, 9, 59)))
    near = facts(series_type=AXIAL, box=((0, 0, 5), (9, 9, 14)))
    assert codes(faults_between_volumes(study(), [facts(), far, near])) == []


def column(findings, step=30.0, x=0.0):
    return {finding: (x, 0.0, -step * n) for n, finding in enumerate(findings)}


@pytest.mark.parametrize(
    ("step", "expected"),
    [(15.0, []), (14.9, [Code.LEVELS_TOO_CLOSE]), (60.0, []), (60.1, [Code.LEVELS_TOO_FAR])],
)
def test_neighbouring_levels_are_15_to_60_mm_apart(step, expected):
    assert codes(faults_of_points(study(points=column(CANAL[:2], step)), {})) == expected


def test_levels_with_one_between_them_may_be_further_apart():
    assert codes(faults_of_points(study(points=column(CANAL[:3:2], 70.0)), {})) == []


def test_levels_at_one_height_are_out_of_order():
    (fault,) = faults_of_points(study(points=column(CANAL[:2], 0.0)), {})
    assert fault.code is Code.LEVELS_OUT_OF_ORDER
    assert fault.detail == "spinal L2/L3 0 mm above L1/L2"
    assert fault.targets == (CANAL[0].name, CANAL[1].name)


@pytest.mark.parametrize(("x", "swapped"), [(-1.0, False), (0.0, True), (1.0, True)])
def test_a_left_point_that_does_not_lie_to_the_left_is_swapped(x, swapped):
    points = {LEFT[2]: (x, 0.0, 0.0), RIGHT[2]: (0.0, 0.0, 0.0)}
    faults = list(faults_of_points(study(points=points), {}))
    assert codes(faults) == [Code.SIDES_SWAPPED] * swapped
    assert not swapped or faults[0].detail == f"subarticular L3/L4: left at x = {x:.1f} mm, right at 0.0 mm"


@pytest.mark.parametrize(("height", "odd"), [(20.0, False), (-20.0, False), (20.1, True), (-20.1, True)])
def test_points_of_a_level_may_differ_by_20_mm_in_height(height, odd):
    points = {LEFT[2]: (-9.0, 0.0, 0.0), RIGHT[2]: (9.0, 0.0, 0.0), CANAL[2]: (0.0, 0.0, height)}
    faults = list(faults_of_points(study(points=points), {}))
    assert codes(faults) == [Code.LEVELS_DISAGREE] * odd
    where = "above" if height > 0 else "below"
    assert not odd or (faults[0].targets, faults[0].detail) == ((CANAL[2].name,), f"spinal L3/L4 20 mm {where} others")


def test_two_points_of_a_level_do_not_disagree():
    points = {LEFT[2]: (-9.0, 0.0, 0.0), CANAL[2]: (0.0, 0.0, 99.0)}
    assert codes(faults_of_points(study(points=points), {})) == []


def test_a_point_outside_of_one_volume_may_lie_in_another_and_is_blamed_once():
    first, second = (np.diag([1.0, 1.0, 1.0, 1.0]) for _ in range(2))
    second[:3, 3] = [0, 0, -100]
    grids = {T2: [(first, (10, 10, 10)), (second, (10, 10, 10))]}
    inside = {CANAL[0]: (5.0, 5.0, 5.0), CANAL[1]: (5.0, 5.0, -95.0)}
    assert Code.POINT_OUTSIDE not in codes(faults_of_points(study(points=inside), grids))
    (fault,) = faults_of_points(study(points={CANAL[0]: (5.0, 5.0, 16.0), CANAL[1]: (5.0, 5.0, 15.0)}), grids)
    assert fault.code is Code.POINT_OUTSIDE
    assert fault.detail == "spinal L1/L2 7 mm beyond the nearest volume; spinal L2/L3 6 mm beyond the nearest volume"


@pytest.mark.parametrize(("voxel", "outside"), [((-0.4, 4, 4), False), ((-0.6, 4, 4), True), ((9.6, 4, 4), True)])
def test_a_volume_ends_half_a_voxel_beyond_its_outer_centres(voxel, outside):
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    point = tuple(to_world(affine, voxel))
    faults = faults_of_points(study(points={CANAL[0]: point}), {T2: [(affine, (10, 10, 10))]})
    assert codes(faults) == [Code.POINT_OUTSIDE] * outside


def test_labels_and_points_are_counted_against_each_other():
    label = np.zeros(25, dtype=np.int64)
    label[:2] = -1
    points = {FINDINGS[0]: (0.0, 0.0, 0.0), FINDINGS[7]: (0.0, 0.0, 0.0)}
    faults = list(faults_of_labels(study(points=points, label=label)))
    assert [(fault.code, fault.detail) for fault in faults] == [
        (Code.LABELS_MISSING, "2 of 25"), (Code.LABEL_WITHOUT_POINT, "22 of 25"), (Code.POINT_WITHOUT_LABEL, "1 of 25"),
    ]  # fmt: skip
    assert codes(faults_of_labels(study(label=label))) == [Code.LABELS_MISSING]
    assert codes(faults_of_labels(study(points=points))) == []


def test_distances_are_those_of_canal_points_at_neighbouring_levels():
    points = column(CANAL[:2], 30.0) | column([CANAL[3]], 0.0) | column(LEFT, 20.0)
    assert level_distances(study(points=points)) == [(Level.L2_L3, 30.0)]


def test_one_patient_in_two_sections_or_folds_is_one_fault_with_the_others():
    studies = [study(0, patient_id="p"), study(1, patient_id="p", fold=1), study(2, fold=None, section="test")]
    (fault,) = faults_between_entries(studies)
    assert (fault.code, fault.number, fault.others) == (Code.PATIENT_IN_SEVERAL_FOLDS, 0, (1,))
    assert fault.detail == "s0, s1 are of one patient, in the folds 0, 1"
    studies = [study(0, patient_id="p"), study(1), study(2, patient_id="p", section="test", fold=None)]
    (fault,) = faults_between_entries(studies)
    assert (fault.code, fault.number, fault.others) == (Code.PATIENT_IN_BOTH_SECTIONS, 0, (2,))


def test_a_patient_with_two_studies_in_one_fold_is_no_fault():
    assert codes(faults_between_entries([study(0, patient_id="p"), study(1, patient_id="p")])) == []


@pytest.mark.parametrize("other", [{"section": "test", "fold": None}, {"fold": None}])
def test_an_image_of_a_training_study_and_one_without_a_fold_is_in_no_two_folds(other):
    studies = {0: study(0), 1: study(1, **other)}
    (fault,) = faults_between_images(studies, [facts(n, image=bytes(360)) for n in range(2)])
    assert (fault.code, fault.detail) == (Code.IMAGE_OF_TWO_PATIENTS, "also s1: 1/sagittal_t2.nii")


def test_studies_without_a_fold_are_a_fault_only_where_others_have_one():
    assert codes(faults_between_entries([study(0, fold=None), study(1, fold=None)])) == []
    assert [(f.code, f.number) for f in faults_between_entries([study(0), study(1, fold=None)])] == [(Code.NO_FOLD, 1)]


def test_an_image_used_thrice_is_one_fault_that_names_the_others_and_their_folds():
    studies = {n: study(n, fold=n % 2) for n in range(3)}
    (fault,) = faults_between_images(studies, [facts(n, image=bytes(360)) for n in range(3)])
    assert (fault.code, fault.number, fault.others) == (Code.IMAGE_OF_TWO_PATIENTS, 0, (1, 2))
    assert fault.detail == "also s1: 1/sagittal_t2.nii; s2: 2/sagittal_t2.nii (in the folds 0, 1)"


def test_near_duplicates_of_two_patients_are_grouped_and_those_of_one_patient_are_not():
    def image(*flipped):
        bits = np.random.default_rng(0).integers(0, 2, 2880)
        bits[list(flipped)] ^= 1
        return np.packbits(bits.astype(np.uint8)).tobytes()

    studies = {n: study(n, patient_id="p" if n < 2 else f"p{n}") for n in range(4)}
    images = [image(), image(0), image(1), bytes(360)]
    (fault,) = faults_between_images(studies, [facts(n, digest=str(n), image=images[n]) for n in range(4)])
    assert (fault.code, fault.number, fault.others) == (Code.IMAGES_ALIKE, 0, (1, 2))
    assert codes(faults_between_images(studies, [facts(n, digest=str(n), image=images[n]) for n in range(2)])) == []
