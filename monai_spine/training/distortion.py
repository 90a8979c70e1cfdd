"""Random distortions of the slices of crops, on whole batches, that never move anything across left and right."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import grid_sample, interpolate

from monai_spine.crops.view import ABSENT, View
from monai_spine.errors import InvalidOptionError
from monai_spine.geometry import Plane

_POINTS = 4
"""Control points of a grid distortion along each axis of a slice."""


@dataclass(frozen=True, kw_only=True)
class Distortions:
    """Limits of grid and optical distortions. A distortion is drawn for each view of a level, for all of its slices.

    A sagittal slice is distorted along both axes. An axial slice is distorted along its rows alone, from front to back:
    its columns run from one side of the patient to the other, and a side's findings are graded by where they are.

    Raises `InvalidOptionError` if a limit is out of its range.
    """

    share: float = 0.0
    """Probability of each of the two; 0 changes nothing."""
    grid: float = 0.06
    """Grid distortion: control points move by up to this share of the slice's side, and what lies between them goes
    along."""
    optical: float = 0.12
    """Barrel and pincushion distortion, as of a lens: a place moves outwards or inwards by up to this share of its
    distance from the middle, times the square of that distance in half sides."""

    def __post_init__(self) -> None:
        # Larger moves could fold a slice: the control points of the grid are a third of a side apart.
        for name, most in (("share", 1.0), ("grid", 0.1), ("optical", 0.15)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
                raise InvalidOptionError(f"distortion: expected {name} from 0 to {most:g}, but found {value!r}")

    def __call__(self, image: torch.Tensor, views: Sequence[View]) -> torch.Tensor:
        """Distort ``(batch, 5, slices, rows, columns)``; slices of `ABSENT` stay as they are.

        ``views``: in the order in which ``image`` holds their slices.
        """
        if self.share <= 0:
            return image
        parts = image.split([view.slices for view in views], dim=2)
        return torch.cat([self._distorted(part, view) for part, view in zip(parts, views, strict=True)], dim=2)

    def _distorted(self, part: torch.Tensor, view: View) -> torch.Tensor:
        stacks = part.flatten(0, 1)
        move = self._moves(len(stacks), *stacks.shape[-2:], device=part.device)
        if view.plane is Plane.AXIAL:
            move[..., 0] = 0.0  # x of grid_sample runs along the columns
        places = _places(*stacks.shape[-2:], device=part.device) + move
        sampled = grid_sample(stacks.float(), places, padding_mode="border", align_corners=False).to(part.dtype)
        absent = part[..., :1, :1] == ABSENT
        return torch.where(absent, part, sampled.view_as(part))

    def _moves(self, count: int, rows: int, columns: int, *, device: torch.device) -> torch.Tensor:
        """Moves ``(count, rows, columns, 2)`` of x and y, in half sides."""
        coarse = 2 * torch.rand(count, 2, _POINTS, _POINTS, device=device) - 1
        # Aligned corners, as these are no pixels: the outermost points lie on the edges, a third of a side apart.
        grid = interpolate(coarse, size=(rows, columns), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
        places = _places(rows, columns, device=device)
        optical = (2 * torch.rand(count, 1, 1, 1, device=device) - 1) * places * places.square().sum(-1, keepdim=True)
        drawn = torch.rand(2, count, 1, 1, 1, device=device) < self.share
        return 2 * self.grid * grid * drawn[0] + self.optical * optical * drawn[1]


def _places(rows: int, columns: int, *, device: torch.device) -> torch.Tensor:
    """Places ``(1, rows, columns, 2)`` of pixels, x and y from -1 to 1, as `grid_sample` takes them."""
    y, x = (2 * (torch.arange(n, device=device) + 0.5) / n - 1 for n in (rows, columns))
    return torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)[None]
