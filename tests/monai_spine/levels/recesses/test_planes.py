from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_spine.data.coverage import Grid
from monai_spine.data.volume import read_volume
from monai_spine.errors import InvalidVolumeError, MissingInputError
from monai_spine.geometry import grid_affine, plane_distance
from monai_spine.levels.recesses.crop import axial_slice
from monai_spine.levels.recesses.planes import (
    LEAST_APART_MM,
    LEAST_CONFIDENCE,
    MOST_OFFSET_MM,
    PROJECTED,
    Detection,
    RecessPlane,
    plausible,
    recess_plane,
    recess_points,
)
from monai_spine.levels.recesses.tasks import discs_at
from monai_spine.levels.sagittal.chain import Disc, expected_recess
from monai_spine.spine import Level, Side

DISC = Disc(np.array([2.0, 5.0, -30.0]), 0.8, np.array([0.0, 0.0, 1.0]))


def stack(height: float, slices: int = 9, step: float = 4.0, middle: float = 0.0) -> Grid:
    size = (90, 90, slices)
    return Grid(grid_affine(np.array([middle, 0.0, height]), size, [1.0, 1.0, step]), size)


def plane() -> RecessPlane:
    found = recess_plane(DISC, {"a": stack(-30.0)})
    assert found is not None
    return found


def detected_at(shift: np.ndarray, confidence: float = 0.9) -> dict[Side, Detection]:
    return {side: Detection(place + shift, confidence) for side, place in plane().projected.items()}


@settings(max_examples=40, deadline=None)
@given(st.floats(-60, 0), st.floats(-60, 0))
def test_the_plane_is_the_nearest_of_all_stacks_to_the_recesses(one: float, other: float) -> None:
    stacks = {"one": stack(one, slices=5), "other": stack(other, slices=5)}
    middle = (expected_recess(DISC, Side.LEFT) + expected_recess(DISC, Side.RIGHT)) / 2
    nearest = min(float(plane_distance(grid.affine, grid.shape, middle)) for grid in stacks.values())
    found = recess_plane(DISC, stacks)
    if nearest > 5.0:
        assert found is None
        return
    assert found is not None
    assert found.distance == pytest.approx(nearest, abs=1e-9)
    for place in found.projected.values():
        height = found.grid.affine[2, 3] + found.k * found.grid.affine[2, 2]
        assert place[2] == pytest.approx(height, abs=1e-9)


def test_there_is_no_plane_without_a_stack_or_beside_the_image() -> None:
    assert recess_plane(DISC, {}) is None
    assert recess_plane(DISC, {"aside": stack(-30.0, middle=200.0)}) is None


def test_what_is_seen_takes_the_place_of_what_was_projected() -> None:
    shift = np.array([1.0, 2.0, 0.7])
    left, right = recess_points(Level.L4_L5, plane(), detected_at(shift), ("uncertain_level",))
    for point, place in zip((left, right), plane().projected.values(), strict=True):
        assert point.world[:2] == pytest.approx((place + shift)[:2])
        assert point.world[2] == pytest.approx(place[2])
        assert (point.confidence, point.flags) == (0.9, ("uncertain_level",))
    assert left.world[0] < right.world[0]


@pytest.mark.parametrize(
    "seen",
    [
        {},
        detected_at(np.zeros(3), confidence=LEAST_CONFIDENCE - 0.01),
        detected_at(np.array([0.0, MOST_OFFSET_MM + 0.1, 0.0])),
        {Side.LEFT: detected_at(np.zeros(3))[Side.RIGHT], Side.RIGHT: detected_at(np.zeros(3))[Side.LEFT]},
    ],
    ids=["nothing", "unsure", "far", "crossed"],
)
def test_what_cannot_be_is_not_taken(seen: dict[Side, Detection]) -> None:
    points = recess_points(Level.L4_L5, plane(), seen)
    assert [point.flags for point in points] == [(PROJECTED,)] * 2
    assert [point.confidence for point in points] == [0.4, 0.4]
    assert np.array([point.world for point in points]) == pytest.approx(np.array(list(plane().projected.values())))


def test_two_that_meet_are_both_left_out_and_one_alone_is_kept() -> None:
    near = detected_at(np.zeros(3))
    middle = (near[Side.LEFT].world + near[Side.RIGHT].world) / 2
    shift = np.array([LEAST_APART_MM / 2 - 0.1, 0.0, 0.0])
    met = {Side.LEFT: Detection(middle - shift, 0.9), Side.RIGHT: Detection(middle + shift, 0.9)}
    assert plausible(met, plane()) == {}
    assert set(plausible({Side.LEFT: near[Side.LEFT]}, plane())) == {Side.LEFT}


def test_a_slice_is_the_one_that_the_whole_volume_has(tmp_path: Path) -> None:
    voxels = (np.random.default_rng(0).random((12, 14, 6)) * 900).astype(np.int16)
    affine = grid_affine(np.zeros(3), voxels.shape, [1.0, 1.0, 4.0])
    for name in ("a.nii", "a.nii.gz"):
        nib.save(nib.Nifti1Image(voxels, affine), tmp_path / name)
        whole, part = read_volume(tmp_path / name), axial_slice(tmp_path / name, 4)
        assert np.array_equal(part.voxels, whole.voxels[..., 4:5])
        assert part.affine @ [3, 2, 0, 1] == pytest.approx(whole.affine @ [3, 2, 4, 1])


def test_a_slice_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    voxels = np.zeros((12, 14, 6), np.float32)
    voxels[3, 3, 2] = np.nan
    affine = grid_affine(np.zeros(3), voxels.shape, [1.0, 1.0, 4.0])
    nib.save(nib.Nifti1Image(voxels, affine), tmp_path / "a.nii")
    assert axial_slice(tmp_path / "a.nii", 3).voxels.shape == (12, 14, 1)
    with pytest.raises(InvalidVolumeError, match="slice 2"):
        axial_slice(tmp_path / "a.nii", 2)
    nib.save(nib.Nifti1Image(voxels, affine[[2, 0, 1, 3]]), tmp_path / "b.nii")
    with pytest.raises(InvalidVolumeError, match="expected axial slices, but by the affine they are sagittal"):
        axial_slice(tmp_path / "b.nii", 3)
    (tmp_path / "c.nii").write_bytes((tmp_path / "a.nii").read_bytes()[:-1500])
    with pytest.raises(InvalidVolumeError, match="damaged or cut short"):
        axial_slice(tmp_path / "c.nii", 5)
    with pytest.raises(MissingInputError, match="no file"):
        axial_slice(tmp_path / "d.nii", 0)


def test_discs_point_from_the_next_below_to_the_next_above() -> None:
    canal = {Level.L5_S1: [0, 0, 0], Level.L3_L4: [0, 8, 60], Level.L4_L5: [0, 3, 30]}
    discs = discs_at({level: np.array(place, float) for level, place in canal.items()})
    assert list(discs) == [Level.L3_L4, Level.L4_L5, Level.L5_S1]
    assert discs[Level.L4_L5].upwards == pytest.approx(np.array([0, 8, 60]) / np.hypot(8, 60))
    assert discs[Level.L5_S1].upwards == pytest.approx(np.array([0, 3, 30]) / np.hypot(3, 30))
    assert discs_at({Level.L5_S1: np.zeros(3)})[Level.L5_S1].upwards == pytest.approx([0, 0, 1])
