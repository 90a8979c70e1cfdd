"""The perceptual hash: the same for what is the same image, far for what is not."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from data_prep.check.volume_facts import BITS, near_duplicates, perceptual_hash
from monai_spine.data.volume import Volume

AFFINE = np.diag([1.5, 1.2, 4.0, 1.0])
ORDERS = [(order, flips) for order in permutations(range(2)) for flips in product((False, True), repeat=3)]


def image(seed: int, shape: tuple[int, int, int] = (60, 70, 11)) -> np.ndarray:
    """Smooth structure, as anatomy has, of positive values."""
    rough = np.random.default_rng(seed).normal(size=shape)
    smooth = gaussian_filter(rough, (4, 4, 1))
    return (100 * np.exp(smooth / smooth.std())).astype(np.float32)


def bits(voxels: np.ndarray, affine: np.ndarray = AFFINE) -> np.ndarray:
    packed = np.frombuffer(perceptual_hash(Volume(voxels.astype(np.float32), affine)), dtype=np.uint8)
    return np.unpackbits(packed)[:BITS]


@settings(max_examples=30, deadline=None)
@given(scale=st.floats(0.05, 20.0), offset=st.floats(-200.0, 200.0))
def test_scale_and_offset_change_hardly_a_bit(scale, offset):
    assert np.mean(bits(image(0)) != bits(image(0) * scale + offset)) < 0.01


@pytest.mark.parametrize(("order", "flips"), ORDERS)
def test_the_order_in_which_axes_are_stored_does_not_matter(order, flips):
    voxels, affine = image(1), AFFINE.copy()
    for axis, flipped in enumerate(flips):
        if flipped:
            affine[:3, 3] += affine[:3, axis] * (voxels.shape[axis] - 1)
            affine[:3, axis] *= -1
            voxels = np.flip(voxels, axis)
    full = (*order, 2)
    affine[:, :3] = affine[:, list(full)]
    assert (bits(voxels.transpose(full), affine) == bits(image(1))).all()


def test_copies_are_told_from_other_images():
    rng = np.random.default_rng(2)
    originals = [image(seed) for seed in range(100, 112)]
    noisy = [voxels * 3 + rng.normal(0, 10, voxels.shape) for voxels in originals[:3]]
    hashes = [perceptual_hash(Volume(v.astype(np.float32), AFFINE)) for v in [*originals, *noisy]]
    assert sorted(near_duplicates(hashes)) == [(0, 12), (1, 13), (2, 14)]


def test_a_mirror_image_is_another_image():
    assert np.mean(bits(image(3)) != bits(image(3)[:, ::-1])) > 0.3


def test_pairs_are_found_across_the_blocks_of_the_comparison():
    rng = np.random.default_rng(4)
    hashes = [rng.bytes((BITS + 7) // 8) for _ in range(1100)]
    hashes[1050] = hashes[3]
    hashes[700] = hashes[650]
    assert sorted(near_duplicates(hashes)) == [(3, 1050), (650, 700)]
    assert near_duplicates([]) == []
