"""A study on one grid of patient space: all series resampled to the same voxels, one channel each.

Preprocessing of whole-study networks: `StudyGridd` reads and resamples, `SliceChannelsd` turns slices into channels.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from torch.nn.functional import avg_pool3d, grid_sample

from monai_spine.crops.study_images import STUDY_IMAGES
from monai_spine.data.volume import Volume, open_volume, read_volume
from monai_spine.errors import InvalidVolumeError
from monai_spine.geometry import Array, centre, grid_affine, spacing
from monai_spine.spine import SeriesType

_ANCHORS = (SeriesType.SAGITTAL_T2, SeriesType.SAGITTAL_T1, SeriesType.AXIAL_T2)
"""Series types whose middle is the grid's middle, the first that the study has."""

ALL_SERIES = tuple(series_type.value for series_type in SeriesType)

_WINDOW = (1.0, 99.0)
"""Percentiles of a stack's grey values that become 0 and 1."""
_WINDOW_SAMPLES = 50_000
"""Voxels, about, that the percentiles are taken of."""


class StudyGridd(MapTransform):
    """Read the volumes of a study and put them on one grid along the world axes.

    The record's series types hold lists of NIfTI paths (see `monai_spine.data.datalist`). It sets ``image``, a float32
    tensor ``(2 * len(series), R, A, S)`` whose axes run to the patient's right, anterior and superior: first a channel
    of intensities for each series type, scaled so that each stack's 1st and 99th percentiles are 0 and 1, then for each
    a channel that is 1 where one of its stacks covers the voxel. Outside all stacks, and for a series that the study
    lacks, both are 0.

    The grid's middle is the middle of the sagittal T2 stack, or of the first series that exists. Stacks finer than the
    grid are averaged down before they are sampled, against aliasing.

    Parameters
    ----------
    size
        Voxels along right, anterior and superior.
    step
        Millimetres between voxels along the same axes.
    series
        Series types, in the order of the channels.

    Raises
    ------
    InvalidVolumeError
        If the study has none of the series.
    """

    def __init__(
        self,
        *,
        size: Sequence[int],
        step: Sequence[float],
        series: Sequence[str] = ALL_SERIES,
    ) -> None:
        super().__init__(keys=tuple(series), allow_missing_keys=True)
        self.size = tuple(int(n) for n in size)
        self.step = tuple(float(mm) for mm in step)
        self.series = tuple(SeriesType(series_type) for series_type in series)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add the study's tensor to the record."""
        opened = data[STUDY_IMAGES].opened if STUDY_IMAGES in data else open_volume
        stacks = {
            series_type: [read_volume(path, opened) for path in data.get(series_type.value, ())]
            for series_type in self.series
        }
        affine = grid_affine(self._middle(stacks, data), self.size, self.step)
        sampled = [sample_series(stacks[series_type], affine, self.size) for series_type in self.series]
        intensity, covered = (torch.stack(part) for part in zip(*sampled, strict=True))
        return {**data, "image": torch.cat([intensity, covered])}

    def _middle(self, stacks: Mapping[SeriesType, list[Volume]], data: Mapping[Hashable, Any]) -> Array:
        for series_type in _ANCHORS:
            if stacks.get(series_type):
                first = stacks[series_type][0]
                return centre(first.affine, first.voxels.shape)
        names = [series_type.value for series_type in self.series]
        raise InvalidVolumeError(f"study {data.get('study_id')}: expected a volume of at least one of {names}")


class SliceChannelsd(MapTransform):
    """Make every sagittal slice of every channel a channel: ``(channels, R, A, S)`` becomes ``(channels * R, A, S)``.

    For two-dimensional networks. 3-D convolutions are slow on CPUs when they have few input channels.
    """

    def __init__(self, keys: KeysCollection = "image") -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Reshape the tensor under each key."""
        return {**data, **{key: data[key].flatten(0, 1) for key in self.key_iterator(dict(data))}}


def sample_series(stacks: Sequence[Volume], affine: Array, size: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Intensity and coverage of a series' stacks on a grid, two float32 tensors of shape ``size``.

    ``affine`` leads from the grid's voxels to RAS mm. Where stacks overlap, their mean is taken.
    """
    total, count = torch.zeros(tuple(size)), torch.zeros(tuple(size))
    for stack in stacks:
        values, inside = sample_stack(stack, affine, size)
        total += values * inside
        count += inside
    return total / count.clamp(min=1), count.clamp(max=1)


def sample_stack(stack: Volume, affine: Array, size: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """One stack on a grid: trilinear values scaled by percentiles, and 1 where the stack covers the voxel."""
    voxels, voxel_affine = _averaged_down(stack, spacing(affine))
    to_voxel = torch.from_numpy(np.linalg.solve(voxel_affine, affine)).float()
    index = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in size), indexing="ij")
    place = torch.stack(index, dim=-1) @ to_voxel[:3, :3].T + to_voxel[:3, 3]
    shape = torch.tensor(voxels.shape, dtype=torch.float32)
    inside = ((place >= -0.5) & (place <= shape - 0.5)).all(dim=-1).float()
    # grid_sample counts from -1 to 1 and in the order z, y, x; a single voxel along an axis would divide by 0.
    unit = 2 * place / (shape - 1).clamp(min=1) - 1
    values = grid_sample(
        voxels[None, None], unit.flip(-1)[None], mode="bilinear", padding_mode="border", align_corners=True
    )
    return _scaled(values[0, 0], voxels) * inside, inside


def _averaged_down(stack: Volume, grid_step: Array) -> tuple[torch.Tensor, Array]:
    """The stack averaged over as many whole voxels as fit into the grid's step, and its new affine."""
    # The grid's step along each axis of the stack, which may be turned against the world axes.
    along = np.abs(stack.affine[:3, :3] / spacing(stack.affine)).T @ grid_step
    factor = np.maximum(1, np.floor(along / spacing(stack.affine) + 0.25).astype(int))
    factor = np.minimum(factor, stack.voxels.shape)
    voxels = torch.from_numpy(np.ascontiguousarray(stack.voxels))
    if (factor == 1).all():
        return voxels, stack.affine
    shift = np.eye(4)
    shift[:3, :3] = np.diag(factor)
    shift[:3, 3] = (factor - 1) / 2  # the centre of a block of voxels, not of its first voxel
    kernel = tuple(int(n) for n in factor)
    return avg_pool3d(voxels[None, None], kernel, kernel)[0, 0], stack.affine @ shift


def _scaled(values: torch.Tensor, voxels: torch.Tensor) -> torch.Tensor:
    flat = voxels.flatten()
    low, high = np.percentile(flat[:: max(1, len(flat) // _WINDOW_SAMPLES)].numpy(), _WINDOW)
    return ((values - low) / max(high - low, 1e-6)).clamp(0, 1)
