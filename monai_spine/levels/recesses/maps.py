"""Training of the recess network: target maps and the loss; `detection` reads its maps.

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

from monai_spine.geometry import Array
from monai_spine.levels.recesses import detection
from monai_spine.levels.sagittal.maps import gaussians, map_affine, map_size

_DEVIATION_MM = 1.5
"""Standard deviation of the target's Gaussian."""
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
        drawn = torch.from_numpy(gaussians(place[None], affine, size, np.array([1e3, _DEVIATION_MM, _DEVIATION_MM])))
        if float(drawn.max()) > _LEAST_HEIGHT:
            return (drawn / drawn.sum()).float()
    return torch.full(tuple(size), 1.0 / float(np.prod(size)))


def distributions(logits: torch.Tensor) -> torch.Tensor:
    """`detection.distributions` of a network's output, for the postprocessing of a bundle."""
    return torch.from_numpy(detection.distributions(logits.detach().float().cpu().numpy())).to(logits.device)


class RecessLoss(nn.Module):
    """Cross-entropy between target and predicted distributions over the pixels of maps."""

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """A scalar from logits and target distributions ``(batch, maps, 1, x, y)``."""
        logarithms = torch.log_softmax(logits.float().flatten(2), dim=-1)
        return -(target.flatten(2) * logarithms).sum(dim=-1).mean()
