from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from monai_spine.data.volume import Volume
from monai_spine.errors import InvalidVolumeError
from monai_spine.geometry import grid_affine, spacing, to_voxel, to_world
from monai_spine.levels.sagittal import grid
from monai_spine.levels.sagittal.grid import STEP_MM, SagittalGridd, sagittal_grid

BALL = np.array([6.0, -12.0, 25.0])


def volume(size: tuple[int, int, int] = (17, 200, 210), step: tuple[float, float, float] = (4.4, 1.2, 1.1)) -> Volume:
    """A ball of 9 mm at `BALL`, in RAS axes."""
    affine = grid_affine([3.0, 4.0, 10.0], size, step)
    index = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), axis=-1)
    distance = np.linalg.norm((to_world(affine, index) - BALL) / [1.3, 1, 1], axis=-1)
    return Volume((100 / (1 + np.exp(distance - 9))).astype(np.float32), affine)


def centre_of(image: torch.Tensor, affine: np.ndarray) -> np.ndarray:
    weights = np.asarray(image).clip(0.3) - 0.3
    index = np.stack(np.meshgrid(*map(np.arange, weights.shape), indexing="ij"), axis=-1)
    return to_world(affine, (index * weights[..., None]).sum(axis=(0, 1, 2)) / weights.sum())


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("flips", list(product([1, -1], repeat=3)))
def test_however_it_is_stored_the_ball_lies_where_it_lies(order: tuple[int, ...], flips: tuple[int, ...]) -> None:
    base = volume((9, 60, 64), (4.4, 4.0, 3.6))
    voxels, affine = base.voxels, base.affine.copy()
    for axis, sign in enumerate(flips):
        if sign < 0:
            voxels = np.flip(voxels, axis)
            affine[:3, 3] += affine[:3, axis] * (voxels.shape[axis] - 1)
            affine[:3, axis] *= -1
    stored = Volume(np.ascontiguousarray(voxels.transpose(order)), affine[:, [*order, 3]])
    image, placed = sagittal_grid(stored, "ball")
    reference, reference_grid = sagittal_grid(base, "ball")
    assert placed == pytest.approx(reference_grid)
    assert np.array_equal(image, reference)


@pytest.mark.parametrize("step", [(4.4, 1.2, 1.1), (4.4, 0.5, 0.5), (1.0, 1.0, 1.0), (3.3, 3.0, 3.0), (9.0, 0.8, 0.8)])
def test_the_grid_has_its_spacing_and_keeps_places(step: tuple[float, float, float]) -> None:
    size = tuple(int(np.ceil(extent / mm)) for extent, mm in zip((72, 210, 200), step, strict=True))
    image, affine = sagittal_grid(volume(size, step), "ball")
    found = spacing(affine)
    assert found[1:] == pytest.approx([STEP_MM, STEP_MM], rel=0.03)
    assert 2.6 <= found[0] <= 6.5
    assert np.linalg.norm(centre_of(image, affine) - BALL) < 0.6 * max(1, step[0] / 4.4)


def test_small_slices_are_padded_in_place() -> None:
    image, affine = sagittal_grid(volume((9, 40, 36), (4.4, 2.0, 2.0)), "ball")
    assert image.shape == (9, 144, 144)
    assert np.abs(to_voxel(affine, [3.0, 4.0, 10.0]) - [4, 71.5, 71.5]).max() < 1.0
    assert not image[:, :40].any()


def test_grey_values_run_from_0_to_1_whatever_the_scanner_made() -> None:
    base = volume()
    image, _ = sagittal_grid(base, "ball")
    brighter, _ = sagittal_grid(Volume(base.voxels * 37 + 500, base.affine), "ball")
    assert (float(image.min()), float(image.max())) == (0, 1)
    assert np.allclose(image, brighter, atol=1e-3)


@pytest.mark.parametrize("size", [3, 7, 30, 31, 64])
def test_voxels_are_resized_as_pytorch_does_it_against_aliasing(size: int) -> None:
    voxels = np.random.default_rng(size).random((4, 31, 6), dtype=np.float32)
    resized, _ = grid._resized(voxels, np.eye(4), {1: size})
    rows = torch.from_numpy(voxels).movedim(1, -1)[None]
    wanted = interpolate(rows, size=(6, size), mode="bilinear", antialias=True, align_corners=False)[0].movedim(-1, 1)
    assert np.allclose(resized, wanted.numpy(), atol=1e-5)


@pytest.mark.parametrize(("step", "plane"), [((0.6, 0.6, 4.0), "axial"), ((0.8, 4.0, 0.8), "coronal")])
def test_slices_that_are_not_sagittal_are_refused(step: tuple[float, float, float], plane: str) -> None:
    with pytest.raises(InvalidVolumeError, match=f"expected sagittal slices.*{plane}.*4.0 mm"):
        sagittal_grid(volume((30, 30, 30), step), "x.nii")


def test_a_blank_volume_is_refused() -> None:
    with pytest.raises(InvalidVolumeError, match=r"x\.nii: expected an image"):
        sagittal_grid(Volume(np.full((9, 50, 50), 7, np.float32), np.diag([4.0, 2, 2, 1])), "x.nii")


def test_the_transform_reads_a_file(tmp_path: Path) -> None:
    base = volume()
    nib.save(nib.Nifti1Image(base.voxels, base.affine), tmp_path / "a.nii.gz")
    record = SagittalGridd()({"image": str(tmp_path / "a.nii.gz"), "study_id": "a"})
    assert record["image"].shape[0] == 1
    assert np.linalg.norm(centre_of(record["image"][0], record["affine"]) - BALL) < 0.6
