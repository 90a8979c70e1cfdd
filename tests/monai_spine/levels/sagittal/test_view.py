import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_spine.geometry import spacing, to_voxel, to_world
from monai_spine.levels.sagittal.view import RandSagittalViewd, SagittalViewd, sagittal_view

TILT = np.radians(6.0)
AFFINE = np.array([[1.0, 0, 0, -30], [0, np.cos(TILT), np.sin(TILT), -100], [0, -np.sin(TILT), np.cos(TILT), -150]])
AFFINE = np.vstack([AFFINE * [4.4, 1.9, 2.1, 1.0], [0, 0, 0, 1.0]])
SIZE = (7, 60, 64)


def ramp(shape: tuple[int, int, int] = (15, 80, 90)) -> torch.Tensor:
    """Grey values that are a linear function of RAS mm, and constant across slices."""
    voxels = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    world = to_world(AFFINE, voxels)
    return torch.from_numpy(500.0 + world[..., 1] + 2 * world[..., 2]).float()[None]


@pytest.mark.slow
@settings(deadline=None)
@given(
    angle=st.floats(-30, 30),
    shift=st.tuples(st.floats(-12, 12), st.floats(-20, 20), st.floats(-20, 20)),
)
def test_every_voxel_of_a_view_keeps_its_place_in_the_patient(angle: float, shift: tuple[float, ...]) -> None:
    image = ramp()
    view, affine = sagittal_view(image, AFFINE, SIZE, angle=angle, shift=shift)
    voxels = np.argwhere(np.ones(SIZE))
    world = to_world(affine, voxels)
    inside = to_voxel(AFFINE, world)
    shown = ((inside >= 0) & (inside <= np.array(image.shape[1:]) - 1)).all(axis=1)
    values = view[0].numpy()[tuple(voxels[shown].T)]
    assert np.allclose(values, 500.0 + world[shown, 1] + 2 * world[shown, 2], rtol=0, atol=0.05)
    outside = ((inside < -1) | (inside > np.array(image.shape[1:]))).any(axis=1)
    assert not view[0].numpy()[tuple(voxels[outside].T)].any()


@settings(max_examples=30, deadline=None)
@given(angle=st.floats(-30, 30))
def test_voxels_keep_their_size_and_right_angles(angle: float) -> None:
    _, affine = sagittal_view(ramp(), AFFINE, SIZE, angle=angle)
    assert spacing(affine) == pytest.approx(spacing(AFFINE))
    axes = affine[:3, :3] / spacing(affine)
    assert axes.T @ axes == pytest.approx(np.eye(3), abs=1e-9)


def test_without_chance_the_middle_is_cut_out_and_what_is_missing_is_padded() -> None:
    image = torch.rand(1, 4, 80, 90)
    view = SagittalViewd(size=(6, 80, 90))({"image": image, "affine": AFFINE})
    assert torch.allclose(view["image"][0, 1:5], image[0], atol=1e-5)
    assert not view["image"][0, [0, 5]].any()
    assert to_world(view["affine"], np.array([1.0, 0, 0])) == pytest.approx(AFFINE[:3, 3])


def test_the_same_seed_draws_the_same_view() -> None:
    record = {"image": ramp() / 1000.0, "affine": AFFINE}
    views = []
    for seed in (3, 3, 4):
        transform = RandSagittalViewd(size=SIZE)
        transform.set_random_state(seed)
        views.append(transform(record)["image"])
    assert torch.equal(views[0], views[1])
    assert not torch.equal(views[0], views[2])
    assert views[0].min() >= 0
    assert views[0].max() <= 1


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), all_slices=st.booleans())
def test_labels_follow_the_image_and_are_unknown_beyond_it(seed: int, all_slices: bool) -> None:
    image = ramp() / 1000.0
    record = {"image": image, "label": (image > 0.45).float(), "affine": AFFINE}
    transform = RandSagittalViewd(size=(None if all_slices else 7, 60, 64))
    transform.set_random_state(seed)
    view = transform(record)
    label = view["label"][0].numpy()
    assert view["image"].shape == view["label"].shape == (1, 15 if all_slices else 7, 60, 64)
    voxels = np.argwhere(np.ones(label.shape))
    world = to_world(view["affine"], voxels)
    inside = to_voxel(AFFINE, world)
    shown = ((inside >= 0.5) & (inside <= np.array(image.shape[1:]) - 1.5)).all(axis=1)
    value = 0.5 + (world[:, 1] + 2 * world[:, 2]) / 1000.0
    clear = shown & (np.abs(value - 0.45) > 0.006)  # more than a voxel from the edge of the label
    assert (label[tuple(voxels[clear].T)] == (value[clear] > 0.45)).all()
    outside = ((inside < -1) | (inside > np.array(image.shape[1:]))).any(axis=1)
    assert (label[tuple(voxels[outside].T)] == -1).all()
