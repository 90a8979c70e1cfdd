"""Where a finding can be seen."""

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.orientations import apply_orientation, inv_ornt_aff

from monai_spine.prediction.evidence import NOT_COVERED, SUBSTITUTE, study_evidence
from monai_spine.spine import FINDINGS, TARGETS, Group, SeriesType
from tests.cohorts import SHAPE, affine_of, write_volume

ORDERS = [
    np.column_stack([order, signs])
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]
RECESS = next(f.name for f in FINDINGS if f.condition.group is Group.SUBARTICULAR)


def record_of(folder: Path, points: dict, *kinds: SeriesType, **more: object) -> dict:
    series: dict[str, list[str]] = {kind.value: [] for kind in SeriesType}
    for kind in kinds:
        path = write_volume(folder / f"{kind.value}.nii", np.zeros(SHAPE, np.int8), affine_of(kind))
        series[kind.value].append(str(path))
    return {"study_id": "s", **series, "points": points, **more}


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(ORDERS), st.tuples(*[st.floats(-20, 20)] * 3))
def test_the_slice_is_the_same_piece_of_the_patient_however_the_volume_is_stored(
    tmp_path_factory: pytest.TempPathFactory, order: np.ndarray, point: tuple[float, float, float]
) -> None:
    folder = tmp_path_factory.mktemp("stored")
    record = record_of(folder, {RECESS: point}, SeriesType.AXIAL_T2)
    path = Path(record["axial_t2"][0])
    image = nib.load(path)
    voxels = np.broadcast_to(np.arange(SHAPE[2]), SHAPE).astype(np.int16)
    stored = apply_orientation(voxels, order)
    nib.save(nib.Nifti1Image(stored, image.affine @ inv_ornt_aff(order, SHAPE)), path)
    found = study_evidence(record)[TARGETS.index(RECESS)]
    (k,) = set(np.take(stored, found.slice_index, axis=found.slice_axis).ravel().tolist())
    planes = image.affine[2, 3] + np.arange(SHAPE[2]) * image.affine[2, 2]
    assert abs(planes[k] - point[2]) == pytest.approx(np.abs(planes - point[2]).min())
    assert found.distance == pytest.approx(abs(planes[k] - point[2]))


def test_a_point_beyond_5_mm_of_the_last_plane_is_not_covered(tmp_path: Path) -> None:
    top = -affine_of(SeriesType.AXIAL_T2)[2, 2] * (SHAPE[2] - 1) / 2
    for beyond, covered in ((4.9, True), (5.1, False)):
        record = record_of(tmp_path, {RECESS: (0.0, 0.0, top + beyond)}, SeriesType.AXIAL_T2)
        found = study_evidence(record)[TARGETS.index(RECESS)]
        assert (NOT_COVERED not in found.flags) is covered
        assert (found.volume == "axial_t2.nii") is covered
    assert found.coverage == "no axial plane within 5 mm of L1/L2 (5.1 mm)"


def test_a_point_beside_the_images_is_not_covered(tmp_path: Path) -> None:
    record = record_of(tmp_path, {RECESS: (200.0, 0.0, 0.0)}, SeriesType.AXIAL_T2)
    found = study_evidence(record)[TARGETS.index(RECESS)]
    assert found.coverage == "L1/L2 is outside of the Axial T2 images"
    assert NOT_COVERED in found.flags


def test_the_next_series_type_stands_in_and_says_so(tmp_path: Path) -> None:
    name = "left_neural_foraminal_narrowing_l2_l3"
    point = {name: (0.0, 0.0, 0.0)}
    both = record_of(tmp_path, point, SeriesType.SAGITTAL_T1, SeriesType.SAGITTAL_T2)
    alone = record_of(tmp_path, point, SeriesType.SAGITTAL_T2)
    first, second = (study_evidence(record)[TARGETS.index(name)] for record in (both, alone))
    assert (first.series, second.series) == (SeriesType.SAGITTAL_T1, SeriesType.SAGITTAL_T2)
    assert SUBSTITUTE not in first.flags
    assert SUBSTITUTE in second.flags


def test_what_the_localizer_says_of_a_point_is_passed_on(tmp_path: Path) -> None:
    record = record_of(
        *(tmp_path, {TARGETS[0]: (0.0, 0.0, 0.0)}, SeriesType.SAGITTAL_T2),
        point_flags={TARGETS[0]: ("faint",)},
        point_confidence={TARGETS[0]: 0.3},
        absent={TARGETS[1]: "out of view"},
    )
    first, second = study_evidence(record)[:2]
    assert (first.confidence, "faint" in first.flags) == (0.3, True)
    assert second.coverage == "L2/L3: out of view"
