"""Maps of the recess network: the target of training, the loss, and how points are read from maps.

A map is a probability distribution over the pixels of a crop, one for the left recess and one for the right. The target
is a narrow Gaussian at the recess, or the uniform distribution if there is no recess in the crop. After training by
cross-entropy, the mass near a map's peak is the confidence of the recess.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from monai_spine.geometry import Array, spacing, to_world
from monai_spine.levels.recesses.planes import Detection
from monai_spine.levels.sagittal.landmark_maps import gaussians, map_affine, map_size
from monai_spine.spine import Side

_DEVIATION_MM = 1.5
"""Standard deviation of the target's Gaussian."""
_PEAK_RADIUS_MM = 4.5
"""Radius around a peak: the mass inside is the confidence, its centre of mass is the place. Three deviations."""
_LEAST_HEIGHT = 1e-3
"""Largest value, of a Gaussian of height 1, below which its point is out of the crop."""


class RecessMapsd:
    """Add the target maps of a crop.

    Expects a crop ``image`` ``(channels, 1, x, y)``, its ``affine``, and ``recess`` ``(2, 3)``, RAS mm, left and right,
    NaN where there is none. Adds ``label``, a float32 tensor ``(2, 1, x / 2, y / 2)``, each map with the sum 1.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add the maps."""
        size = map_size(np.shape(data["image"])[1:])
        affine = map_affine(np.asarray(data["affine"], dtype=np.float64))
        maps = torch.stack([_target(place, affine, size) for place in np.asarray(data["recess"])])
        return {**data, "label": maps}


def _target(place: Array, affine: Array, size: Sequence[int]) -> torch.Tensor:
    """A Gaussian at a point, or the uniform distribution if the point is NaN or outside the crop."""
    if np.isfinite(place).all():
        # Across the slice the Gaussian is flat, so that a point a little beside the plane counts in full.
        drawn = gaussians(place[None], affine, size, np.array([1e3, _DEVIATION_MM, _DEVIATION_MM]))
        if float(drawn.max()) > _LEAST_HEIGHT:
            return (drawn / drawn.sum()).float()
    return torch.full(tuple(size), 1.0 / float(np.prod(size)))


def distributions(logits: torch.Tensor) -> torch.Tensor:
    """A network's logits ``(maps, 1, x, y)`` as distributions over the pixels of each map."""
    return torch.softmax(logits.float().flatten(1), dim=1).view_as(logits)


class RecessLoss(nn.Module):
    """Cross-entropy between target and predicted distributions over the pixels of maps."""

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """A scalar from logits and target distributions ``(batch, maps, 1, x, y)``."""
        logarithms = torch.log_softmax(logits.float().flatten(2), dim=-1)
        return -(target.flatten(2) * logarithms).sum(dim=-1).mean()


def read_recesses(maps: np.ndarray | torch.Tensor, affine: Array) -> dict[Side, Detection]:
    """The recesses at the peaks of a crop's maps ``(2, 1, x, y)``.

    ``affine`` is the crop's. A place is the centre of mass within `_PEAK_RADIUS_MM` of the highest pixel.
    """
    planes = torch.as_tensor(maps).double().cpu().numpy()[:, 0]
    return {side: _read(plane, map_affine(affine)) for side, plane in zip(Side, planes, strict=True)}


def _read(plane: Array, affine: Array) -> Detection:
    i, j = np.indices(plane.shape)
    step = spacing(affine)[1:]
    top = np.unravel_index(int(plane.argmax()), plane.shape)
    near = ((i - top[0]) * step[0]) ** 2 + ((j - top[1]) * step[1]) ** 2 <= _PEAK_RADIUS_MM**2
    mass = plane * near
    total = float(mass.sum())
    place = [0.0, float((mass * i).sum()) / total, float((mass * j).sum()) / total]
    return Detection(to_world(affine, place), total)
