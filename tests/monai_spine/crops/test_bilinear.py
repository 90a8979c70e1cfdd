"""Both ways of sampling a picture give the same."""

import numpy as np
import torch
from torch.nn.functional import grid_sample

from monai_spine.crops.bilinear import bilinear, by_matrix

RNG = np.random.default_rng(0)
PICTURES = RNG.random((3, 9, 12), dtype=np.float32)


def sampled_by_torch(pictures: np.ndarray, points: np.ndarray) -> np.ndarray:
    each = torch.from_numpy(np.broadcast_to(points, (len(pictures), *points.shape[1:])).copy())
    return grid_sample(torch.from_numpy(pictures)[:, None], each, align_corners=False)[:, 0].numpy()


def test_a_sparse_matrix_samples_as_pytorch_does_also_at_the_edge_and_outside() -> None:
    points = RNG.uniform(-1.5, 1.5, (3, 20, 30, 2)).astype(np.float32)
    expected = sampled_by_torch(PICTURES, points)
    assert (expected == 0).any()
    for sample in (by_matrix, bilinear):
        assert np.allclose(sample(PICTURES, points), expected, atol=1e-5)
        assert np.allclose(sample(PICTURES, points[:1]), sampled_by_torch(PICTURES, points[:1]), atol=1e-5)


def test_points_in_the_middle_of_voxels_give_their_values() -> None:
    x, y = np.meshgrid((np.arange(12) + 0.5) * 2 / 12 - 1, (np.arange(9) + 0.5) * 2 / 9 - 1)
    points = np.stack([x, y], axis=-1)[None].astype(np.float32)
    assert np.allclose(by_matrix(PICTURES, points), PICTURES, atol=1e-5)
