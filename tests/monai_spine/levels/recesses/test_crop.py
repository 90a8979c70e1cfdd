import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_spine.data.volume import WINDOW, Volume
from monai_spine.geometry import to_voxel, to_world
from monai_spine.levels.recesses.crop import PIXELS, STEP_MM, recess_crop
from monai_spine.levels.recesses.planes import on_plane
from monai_spine.levels.sagittal.chain import Disc, expected_recess
from monai_spine.spine import Side

DISC = Disc(np.array([3.0, -12.0, 40.0]), 1.0, np.array([0.0, 0.2, 0.98]) / np.hypot(0.2, 0.98))


def slice_around(point: np.ndarray, pixel: float, tilt: float, turn: float, side: float = 90.0) -> np.ndarray:
    """Affine of a square slice of ``side`` mm, tilted forwards and turned in its plane by angles in degrees."""
    ct, stilt, cr, sr = (
        *(f(np.radians(tilt)) for f in (np.cos, np.sin)),
        *(f(np.radians(turn)) for f in (np.cos, np.sin)),
    )
    tilted = np.array([[1, 0, 0], [0, ct, -stilt], [0, stilt, ct]])
    turned = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = tilted @ turned * [pixel, pixel, 4.0]
    middle = (round(side / pixel) - 1) / 2
    affine[:3, 3] = point - affine[:3, :3] @ [middle, middle, 0.0]
    return affine


def linear(affine: np.ndarray, side: int, slope: np.ndarray) -> Volume:
    """A slice whose grey values are a linear function of RAS mm."""
    voxels = to_world(affine, np.stack(np.meshgrid(range(side), range(side), [0], indexing="ij"), axis=-1)) @ slope
    return Volume(voxels.astype(np.float32), affine)


@settings(max_examples=30, deadline=None)
@given(
    pixel=st.floats(0.3, 1.2),
    tilt=st.floats(-35, 35),
    turn=st.floats(-180, 180),
    slope=st.tuples(*[st.floats(-5, 5)] * 3).filter(lambda s: np.hypot(s[0], s[1]) > 1),
)
def test_a_linear_image_stays_linear(pixel: float, tilt: float, turn: float, slope: tuple) -> None:
    volume = linear(slice_around(DISC.canal, pixel, tilt, turn), round(90 / pixel), np.array(slope))
    image, affine = recess_crop(volume, DISC)
    i, j = np.meshgrid(range(PIXELS), range(PIXELS), indexing="ij")
    wanted = to_world(affine, np.stack([np.zeros_like(i), i, j], axis=-1)) @ np.array(slope)
    low, high = np.percentile(wanted, WINDOW)
    assert image[0, 0] == pytest.approx(np.clip((wanted - low) / (high - low), 0, 1), abs=0.02)


@settings(max_examples=20, deadline=None)
@given(flips=st.tuples(st.booleans(), st.booleans()), swap=st.booleans(), seed=st.integers(0, 99))
def test_storage_does_not_matter(flips: tuple[bool, bool], swap: bool, seed: int) -> None:
    affine = slice_around(DISC.canal, 0.6, 12.0, 5.0)
    voxels = np.random.default_rng(seed).random((150, 150, 1), dtype=np.float32)
    change, stored = np.eye(4), voxels
    for axis, flip in enumerate(flips):
        if flip:
            stored = np.flip(stored, axis)
            turn = np.eye(4)
            turn[axis, axis], turn[axis, 3] = -1, 149
            change = change @ turn
    if swap:
        stored, change = stored.transpose(1, 0, 2), change @ np.eye(4)[[1, 0, 2, 3]]
    image, placed = recess_crop(Volume(voxels, affine), DISC)
    other, other_placed = recess_crop(Volume(stored, affine @ change), DISC)
    assert other_placed == pytest.approx(placed, abs=1e-9)
    assert other == pytest.approx(image, abs=1e-4)


@given(tilt=st.floats(-35, 35), turn=st.floats(-180, 180), height=st.floats(-5, 5))
@settings(max_examples=30, deadline=None)
def test_axes_are_the_patients_and_priors_stand_at_the_projected_points(
    tilt: float, turn: float, height: float
) -> None:
    slice_ = slice_around(DISC.canal + np.array([0.0, 0.0, height]), 1.0, tilt, turn)
    image, affine = recess_crop(Volume(np.ones((90, 90, 1), np.float32), slice_), DISC)
    _, right, forwards = affine[:3, :3].T
    assert np.linalg.norm(affine[:3, 1:3], axis=0) == pytest.approx(STEP_MM)
    assert right[0] > 0.9 * STEP_MM
    assert forwards[1] > 0.7 * STEP_MM
    for side, prior in zip(Side, image[1:, 0], strict=True):
        place = to_voxel(affine, on_plane(expected_recess(DISC, side), slice_))
        assert place[0] == pytest.approx(0.0, abs=1e-6)
        assert np.abs(np.array(np.unravel_index(prior.argmax(), prior.shape)) - place[1:]).max() <= 0.51
    left, other = (prior.argmax() // PIXELS for prior in image[1:, 0])
    assert left < other


def test_a_slice_that_does_not_show_the_disc_is_black() -> None:
    far = slice_around(DISC.canal + np.array([300.0, 0.0, 0.0]), 1.0, 0.0, 0.0)
    image, _ = recess_crop(Volume(np.ones((90, 90, 1), np.float32), far), DISC)
    assert not image[0].any()


def test_fine_pixels_are_averaged() -> None:
    """Noise of .3 mm pixels must become fainter, not be picked pixel by pixel."""
    rng = np.random.default_rng(0)
    affine = slice_around(DISC.canal, 0.3, 0.0, 0.0)
    ramp = linear(affine, 300, np.array([1.0, 0.0, 0.0])).voxels
    noisy, _ = recess_crop(Volume(ramp + 4.0 * rng.standard_normal((300, 300, 1), dtype=np.float32), affine), DISC)
    clean, _ = recess_crop(Volume(ramp, affine), DISC)
    inner = (slice(None), slice(5, -5), slice(5, -5))
    picked = 4.0 / (PIXELS * STEP_MM)
    assert (noisy - clean)[0][inner].std() < 0.65 * picked
