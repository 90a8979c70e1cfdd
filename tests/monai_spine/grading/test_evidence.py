"""Where a finding can be seen."""

import itertools
import re
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.orientations import apply_orientation, inv_ornt_aff

from monai_spine.crops.view import View
from monai_spine.grading.evidence import NOT_COVERED, SUBSTITUTE, SeenImages, study_evidence
from monai_spine.spine import FINDINGS, TARGETS, Group, Level, SeriesType
from monai_spine.transforms.level_crops import LevelCropsd
from tests.cohorts import SHAPE, affine_of, write_volume
from tests.monai_spine.transforms.test_level_crops import VIEWS, write_study

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
    assert found.coverage == "Axial T2: nearest plane 5.1 mm away"


def test_a_point_beside_the_images_is_not_covered(tmp_path: Path) -> None:
    record = record_of(tmp_path, {RECESS: (200.0, 0.0, 0.0)}, SeriesType.AXIAL_T2)
    found = study_evidence(record)[TARGETS.index(RECESS)]
    assert re.fullmatch(r"Axial T2: 1\d\d\.\d mm outside of the image", found.coverage)
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


def crops_of(record: dict, views: tuple[View, ...] = VIEWS) -> SeenImages:
    return SeenImages([LevelCropsd(views=views).study(record)])


def with_other_slice(record: dict, series_type: str, axis: int, index: int, target: Path) -> dict:
    """The record with the dark and the bright of one slice exchanged."""
    image = nib.load(record[series_type][0])
    voxels = np.array(image.dataobj)
    where = (slice(None),) * axis + (index,)
    voxels[where] = voxels.min() + voxels.max() - voxels[where]
    nib.save(nib.Nifti1Image(voxels, image.affine), target)
    return {**record, series_type: [str(target)]}


def test_the_slice_of_a_finding_is_one_of_those_in_the_graded_crops(tmp_path: Path) -> None:
    record = write_study(tmp_path / "s")
    seen = LevelCropsd(views=VIEWS)(record)
    view_of = {Group.SPINAL: "canal", Group.FORAMINAL: "foramina", Group.SUBARTICULAR: "disc"}
    evidence = study_evidence(record, [crops_of(record)])
    for n in (0, 7, 14, 16, 23):  # of each condition one level
        finding, found = FINDINGS[n], evidence[n]
        assert NOT_COVERED not in found.flags
        changed = with_other_slice(record, found.series.value, found.slice_axis, found.slice_index, tmp_path / "c.nii")
        name, level = view_of[finding.condition.group], list(Level).index(finding.level)
        assert not torch.equal(LevelCropsd(views=VIEWS)(changed)[name][level], seen[name][level])


def test_a_slice_between_those_of_the_crops_is_no_evidence(tmp_path: Path) -> None:
    record = write_study(tmp_path / "s")
    name = "left_neural_foraminal_narrowing_l2_l3"
    sparse = replace(VIEWS[1], slices=7, gap_mm=8.0)  # every second slice
    x, y, z = record["points"][name]
    differences = set()
    for away in np.arange(-6.0, 6.5, 0.5):
        record["points"][name] = (x + away, y, z)
        seen = crops_of(record, (sparse,))
        whole, found = (study_evidence(record, images)[TARGETS.index(name)] for images in ([], [seen]))
        shown = seen.crops[0].slices(sparse, Level.L2_L3)
        assert found.slice_index in {one.index for one in shown if one.covered}
        assert found.distance >= whole.distance - 1e-9
        differences.add(found.slice_index - whole.slice_index)
    assert differences == {-1, 0, 1} or differences in ({-1, 0}, {0, 1})


def test_a_point_that_the_image_shows_and_no_crop_is_not_covered(tmp_path: Path) -> None:
    record = write_study(tmp_path / "s")
    name = "spinal_canal_stenosis_l3_l4"
    index = TARGETS.index(name)
    sagittal = (VIEWS[0],)
    images = crops_of(record, sagittal)
    assert NOT_COVERED not in study_evidence(record, [images])[index].flags
    x, y, z = record["points"][name]
    aside = {**record, "points": {**record["points"], name: (x, y + 30.0, z)}}
    assert NOT_COVERED not in study_evidence(aside)[index].flags
    found = study_evidence(aside, [images])[index]
    assert NOT_COVERED in found.flags
    assert found.coverage == "Sagittal T2/STIR: 14.0 mm outside of the image; Axial T2: in no crop of L3/L4"


def test_crops_and_evidence_say_in_the_same_words_why_a_series_does_not_show_a_level(tmp_path: Path) -> None:
    record = write_study(tmp_path / "s")
    for name in (RECESS, RECESS.replace("left", "right")):
        x, y, z = record["points"][name]
        record["points"][name] = (x, y, z + 200)
    found = study_evidence(record, [crops_of(record)])[TARGETS.index(RECESS)]
    assert NOT_COVERED in found.flags
    assert re.fullmatch(r"Axial T2: nearest plane \d+\.\d mm away", found.coverage)
    assert found.coverage == LevelCropsd(views=VIEWS)(record)["disc_reason"][0]


def test_a_model_of_whole_volumes_shows_what_the_crops_of_another_do_not(tmp_path: Path) -> None:
    record = write_study(tmp_path / "s")
    sagittal = crops_of(record, VIEWS[:2])
    index = TARGETS.index(RECESS)
    assert study_evidence(record, [sagittal])[index].coverage == "Axial T2: in no crop of L1/L2"
    both = study_evidence(record, [sagittal, SeenImages()])[index]
    assert both == study_evidence(record)[index]
    of_others = np.array([finding.name != RECESS for finding in FINDINGS])
    assert NOT_COVERED in study_evidence(record, [sagittal, SeenImages(graded=of_others)])[index].flags
