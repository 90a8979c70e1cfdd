"""Views of one size on a stack of sagittal slices, for batches; turned, shifted and exposed by chance in training."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform, Randomizable
from torch.nn.functional import grid_sample

from monai_spine.geometry import Array, spacing


class SagittalViewd(MapTransform):
    """Cut a stack of sagittal slices to one size, about its middle, and pad with 0 what is missing.

    Expects under each key a tensor ``(1, x, y, z)`` as `SagittalGridd` leaves it, and its ``affine`` to RAS mm; both
    are replaced. Slices and voxel sizes stay as they are, so points in RAS mm keep their places.

    Parameters
    ----------
    size
        Voxels of the view along x, y, z.
    """

    def __init__(self, *, size: Sequence[int], keys: str = "image", affine_key: str = "affine") -> None:
        super().__init__(keys)
        x, y, z = (int(n) for n in size)
        self.size, self.affine_key = (x, y, z), affine_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace image and affine."""
        record = dict(data)
        for key in self.key_iterator(record):
            image, affine = torch.as_tensor(record[key]), np.asarray(record[self.affine_key], dtype=np.float64)
            record[key], record[self.affine_key] = sagittal_view(image, affine, self.size)
        return record


class RandSagittalViewd(SagittalViewd, Randomizable):
    """`SagittalViewd`, turned in the plane, shifted, and with other grey values and noise, by chance.

    Parameters
    ----------
    turn
        Standard deviation of the rotation in degrees.
    shift
        Standard deviations of the shift in mm across slices, and in them.
    inverted
        Share of images that become their negative.
    """

    def __init__(
        self,
        *,
        size: Sequence[int],
        turn: float = 8.0,
        shift: Sequence[float] = (4.0, 15.0),
        inverted: float = 0.05,
        keys: str = "image",
        affine_key: str = "affine",
    ) -> None:
        super().__init__(size=size, keys=keys, affine_key=affine_key)
        self.turn, self.shift, self.inverted = float(turn), tuple(float(mm) for mm in shift), float(inverted)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace image and affine."""
        record = dict(data)
        across, inside = self.shift
        for key in self.key_iterator(record):
            image, affine = torch.as_tensor(record[key]), np.asarray(record[self.affine_key], dtype=np.float64)
            angle = float(np.clip(self.R.normal(0.0, self.turn), -30.0, 30.0))
            shift = self.R.normal(0.0, [across, inside, inside]).tolist()
            view, record[self.affine_key] = sagittal_view(image, affine, self.size, angle=angle, shift=shift)
            record[key] = self._exposed(view)
        return record

    def _exposed(self, view: torch.Tensor) -> torch.Tensor:
        """Another curve of grey values, noise, at times the negative; 0 stays 0 where nothing was seen."""
        seen = view > 0
        curve, noise = float(np.exp(self.R.normal(0.0, 0.2))), float(self.R.uniform(0.0, 0.04))
        view = view**curve
        if self.R.random() < self.inverted:
            view = 1.0 - view
        grain = torch.from_numpy(self.R.standard_normal(view.shape).astype(np.float32))
        return (view + noise * grain).clamp(0.0, 1.0) * seen


def sagittal_view(
    image: torch.Tensor, affine: Array, size: tuple[int, int, int], *, angle: float = 0.0, shift: Sequence[float] = ()
) -> tuple[torch.Tensor, Array]:
    """A view ``(1, *size)`` of ``(1, x, y, z)`` and its affine, turned by ``angle`` degrees, its middle moved by mm."""
    moved = np.asarray(shift if len(shift) else (0.0, 0.0, 0.0), dtype=np.float64)
    step = spacing(affine)
    turned = np.radians(angle)
    matrix = np.eye(4)
    matrix[1:3, 1:3] = [[np.cos(turned), -np.sin(turned)], [np.sin(turned), np.cos(turned)]]
    matrix[:3, :3] = np.diag(1.0 / step) @ matrix[:3, :3] @ np.diag(step)
    middle = (np.array(image.shape[1:]) - 1) / 2 + moved / step
    matrix[:3, 3] = middle - matrix[:3, :3] @ ((np.array(size) - 1) / 2)
    matrix[0, 3] = round(matrix[0, 3])  # whole slices
    view = torch.zeros(1, *size, dtype=image.dtype)
    first = int(matrix[0, 3])
    low, high = max(0, first), min(image.shape[1], first + size[0])
    if high > low:
        view[0, low - first : high - first] = _sampled(image[0, low:high], matrix, size[1:])
    return view, np.asarray(affine @ matrix, dtype=np.float64)


def _sampled(slices: torch.Tensor, matrix: Array, size: tuple[int, int]) -> torch.Tensor:
    """Linear interpolation inside each slice ``(slices, y, z)``; 0 outside of it."""
    j, k = np.meshgrid(np.arange(size[0]), np.arange(size[1]), indexing="ij")
    places = np.stack([j, k], axis=-1) @ matrix[1:3, 1:3].T + matrix[1:3, 3]
    scaled = 2.0 * places / (np.array(slices.shape[1:]) - 1) - 1.0
    grid = torch.from_numpy(scaled[..., ::-1].copy()).to(slices.dtype)[None].expand(len(slices), -1, -1, -1)
    return grid_sample(slices[:, None], grid, mode="bilinear", padding_mode="zeros", align_corners=True)[:, 0]
