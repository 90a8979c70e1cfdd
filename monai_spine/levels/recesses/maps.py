"""Maps of where a recess is: what the network is to answer, and how its answer is read.

A map is a probability distribution over the pixels of a crop, one for the left recess and one for the right. Trained by
cross-entropy against a narrow Gaussian, or against the uniform distribution where there is no recess, its share of mass
near its peak says how sure it is.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform
from torch import nn

from monai_spine.geometry import Array, spacing, to_world
from monai_spine.levels.recesses.planes import Seen
from monai_spine.levels.sagittal.landmark_maps import gaussians, map_affine, map_size
from monai_spine.spine import Side

_DEVIATION = 1.5
"""Of the target's Gaussian in mm."""
_AROUND = 4.5
"""Millimetres around a peak whose mass is the confidence, and whose centre of mass is the place."""
_LEAST_MASS = 1e-3
"""Of a Gaussian's height: a point whose map stays below is out of the crop."""


class RecessMapsd(MapTransform):
    """The points of a record's recesses as maps.

    Expects a crop ``image`` ``(channels, 1, x, y)``, its ``affine``, and ``recess`` ``(2, 3)``, RAS mm, left and right,
    NaN where there is none. Adds ``label``, a float32 tensor ``(2, 1, x / 2, y / 2)``, each map with the sum 1.
    """

    def __init__(self, *, keys: str = "recess", output_key: str = "label") -> None:
        super().__init__(keys)
        self.output_key = output_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add the maps."""
        size = map_size(np.shape(data["image"])[1:])
        affine = map_affine(np.asarray(data["affine"], dtype=np.float64))
        maps = torch.stack([_target(place, affine, size) for place in np.asarray(data[str(self.keys[0])])])
        return {**data, self.output_key: maps}


def _target(place: Array, affine: Array, size: Sequence[int]) -> torch.Tensor:
    """A Gaussian at a point, or the same everywhere where there is none in the crop."""
    if np.isfinite(place).all():
        drawn = gaussians(place[None], affine, size, np.array([1e3, _DEVIATION, _DEVIATION]))
        if float(drawn.max()) > _LEAST_MASS:
            return (drawn / drawn.sum()).float()
    return torch.full(tuple(size), 1.0 / float(np.prod(size)))


def probabilities(logits: torch.Tensor) -> torch.Tensor:
    """A network's logits ``(maps, 1, x, y)`` as distributions over the pixels of each map."""
    return torch.softmax(logits.float().flatten(1), dim=1).view_as(logits)


class PlaceLoss(nn.Module):
    """Cross-entropy between distributions over the pixels of maps."""

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """A scalar, of logits and target distributions ``(batch, maps, 1, x, y)``."""
        logarithms = torch.log_softmax(logits.float().flatten(2), dim=-1)
        return -(target.flatten(2) * logarithms).sum(dim=-1).mean()


def read_recesses(maps: np.ndarray | torch.Tensor, affine: Array) -> dict[Side, Seen]:
    """Where the maps ``(2, 1, x, y)`` of a crop have their peaks, in RAS mm, and how sure that is.

    ``affine`` is the crop's. A place is the centre of mass within `_AROUND` mm of the highest pixel.
    """
    planes = torch.as_tensor(maps).double().cpu().numpy()[:, 0]
    return {side: _read(plane, map_affine(affine)) for side, plane in zip(Side, planes, strict=True)}


def _read(plane: Array, affine: Array) -> Seen:
    i, j = np.indices(plane.shape)
    step = spacing(affine)[1:]
    top = np.unravel_index(int(plane.argmax()), plane.shape)
    near = ((i - top[0]) * step[0]) ** 2 + ((j - top[1]) * step[1]) ** 2 <= _AROUND**2
    mass = plane * near
    total = float(mass.sum())
    place = [0.0, float((mass * i).sum()) / total, float((mass * j).sum()) / total]
    return Seen(to_world(affine, place), total)
