"""Views of one size of a stack of sagittal slices, so that batches can be made; with random changes in training."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform, Randomizable
from torch.nn.functional import grid_sample

from monai_spine.errors import InvalidOptionError
from monai_spine.geometry import Array, spacing

# Random changes of `RandSagittalViewd`; deviations are standard deviations.
_ROTATION_DEG, _MOST_ROTATION_DEG = 8.0, 30.0
_SHIFT_MM = (4.0, 15.0, 15.0)
"""Deviation across slices, then in them. The field of view differs more in the plane than across."""
_LOG_SCALE = 0.1
"""Deviation of the logarithm of the voxel size in the plane: spines differ in size, and files in the size of pixels."""
_LOG_GAMMA = 0.2
"""Deviation of the logarithm of gamma."""
_MOST_NOISE = 0.04
"""Largest deviation of the noise, in grey values from 0 to 1."""
_INVERTED_SHARE = 0.05
"""Share of images with inverted grey values, so that contrast alone decides nothing."""


class SagittalViewd(MapTransform):
    """Cut a stack of sagittal slices to one size about its middle, and pad it with 0 where it is smaller.

    Expects ``image`` ``(1, x, y, z)`` as `SagittalGridd` makes it, and its ``affine`` to RAS mm; both are replaced.
    Slices and voxel sizes stay as they are, and the affine follows, so that points in RAS mm keep their places.
    ``label``, the numbers of regions in the same shape, follows if it is there; it is -1 beyond the volume.

    ``size``: voxels of the view along x, y, z; None along x keeps all slices.
    """

    def __init__(self, *, size: Sequence[int | None]) -> None:
        super().__init__("image")
        x, y, z = size
        if y is None or z is None:
            raise InvalidOptionError(f"size: expected a number of columns and rows, but given {list(size)}")
        self.size = (None if x is None else int(x), int(y), int(z))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace image and affine."""
        return self._viewed(data)

    def _viewed(self, data: Mapping[Hashable, Any], **placed: Any) -> dict[Hashable, Any]:
        """The view of image and label; for ``placed`` see `sagittal_view`."""
        image, affine = torch.as_tensor(data["image"]), np.asarray(data["affine"], dtype=np.float64)
        size = (self.size[0] or image.shape[1], *self.size[1:])
        view, moved = sagittal_view(image, affine, size, **placed)
        viewed = {**data, "image": view, "affine": moved}
        if "label" in data:
            label = torch.as_tensor(data["label"]).float() + 1.0
            viewed["label"] = sagittal_view(label, affine, size, mode="nearest", **placed)[0] - 1.0
        return viewed


class RandSagittalViewd(SagittalViewd, Randomizable):
    """`SagittalViewd` with random rotation and size in the plane, shift, gamma and noise, at times inverted."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace image and affine."""
        angle = float(np.clip(self.R.normal(0.0, _ROTATION_DEG), -_MOST_ROTATION_DEG, _MOST_ROTATION_DEG))
        shift = self.R.normal(0.0, _SHIFT_MM) * [self.size[0] is not None, 1.0, 1.0]
        scale = float(np.exp(self.R.normal(0.0, _LOG_SCALE)))
        viewed = self._viewed(data, angle=angle, shift=shift.tolist(), scale=scale)
        return {**viewed, "image": self._other_grey_values(viewed["image"])}

    def _other_grey_values(self, view: torch.Tensor) -> torch.Tensor:
        in_image = view > 0  # padding stays 0, since it is 0 in use too
        gamma, noise = float(np.exp(self.R.normal(0.0, _LOG_GAMMA))), float(self.R.uniform(0.0, _MOST_NOISE))
        view = view**gamma
        if self.R.random() < _INVERTED_SHARE:
            view = 1.0 - view
        grain = torch.from_numpy(self.R.standard_normal(view.shape).astype(np.float32))
        return (view + noise * grain).clamp(0.0, 1.0) * in_image


def sagittal_view(
    image: torch.Tensor,
    affine: Array,
    size: tuple[int, int, int],
    *,
    angle: float = 0.0,
    shift: Sequence[float] = (),
    scale: float = 1.0,
    mode: str = "bilinear",
) -> tuple[torch.Tensor, Array]:
    """A view ``(1, *size)`` of an image ``(1, x, y, z)``, and its affine to RAS mm.

    The view is turned by ``angle`` degrees in the plane, its middle is moved by ``shift`` mm along the axes, and its
    voxels are ``scale`` times as large in the plane. ``mode`` is that of `grid_sample`.
    """
    moved = np.asarray(shift if len(shift) else (0.0, 0.0, 0.0), dtype=np.float64)
    step = spacing(affine)
    turned = np.radians(angle)
    matrix = np.eye(4)
    matrix[1:3, 1:3] = [[np.cos(turned), -np.sin(turned)], [np.sin(turned), np.cos(turned)]]
    matrix[:3, :3] = np.diag(1.0 / step) @ matrix[:3, :3] @ np.diag(step * [1.0, scale, scale])
    middle = (np.array(image.shape[1:]) - 1) / 2 + moved / step
    matrix[:3, 3] = middle - matrix[:3, :3] @ ((np.array(size) - 1) / 2)
    matrix[0, 3] = round(matrix[0, 3])  # whole slices, so that none is interpolated
    view = torch.zeros(1, *size, dtype=image.dtype)
    first = int(matrix[0, 3])
    low, high = max(0, first), min(image.shape[1], first + size[0])
    if high > low:
        view[0, low - first : high - first] = _sampled(image[0, low:high], matrix, size[1:], mode)
    return view, np.asarray(affine @ matrix, dtype=np.float64)


def _sampled(slices: torch.Tensor, matrix: Array, size: tuple[int, int], mode: str) -> torch.Tensor:
    """Interpolation inside each slice ``(slices, y, z)``; 0 outside the image."""
    j, k = np.meshgrid(np.arange(size[0]), np.arange(size[1]), indexing="ij")
    places = np.stack([j, k], axis=-1) @ matrix[1:3, 1:3].T + matrix[1:3, 3]
    scaled = (2.0 * places + 1.0) / np.array(slices.shape[1:]) - 1.0
    grid = torch.from_numpy(scaled[..., ::-1].copy()).to(slices.dtype)[None].expand(len(slices), -1, -1, -1)
    return grid_sample(slices[:, None], grid, mode=mode, padding_mode="zeros", align_corners=False)[:, 0]
