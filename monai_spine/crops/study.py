"""All crops of a study: its opened stacks, its frames, and the source stack of each view of each level.

The middle of the flow to crops: `stack` opens volumes and `frame` places levels before it; `sampling` fills the crops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from monai_spine.crops.frame import LevelFrame, level_frames
from monai_spine.crops.pose import UPRIGHT, Pose, crop_grid
from monai_spine.crops.sampling import find_slices, sample
from monai_spine.crops.stack import Stack
from monai_spine.crops.view import View
from monai_spine.data.coverage import PLANE_LIMIT_MM, Coverage, coverage_of, nearest_showing
from monai_spine.errors import InvalidVolumeError
from monai_spine.geometry import Array
from monai_spine.spine import Level, SeriesType

_AXIS_ORDER = (SeriesType.SAGITTAL_T2, SeriesType.SAGITTAL_T1, SeriesType.AXIAL_T2)
"""Series types whose left-right axis counts for the whole study, the first that exists. In a sagittal series it is the
direction across the slices, which the technician aligns with the patient."""


@dataclass(frozen=True)
class StudyStacks:
    """The opened volumes of a study by series type, and the reasons why others could not be opened."""

    stacks: Mapping[SeriesType, tuple[Stack, ...]]
    refused: tuple[str, ...] = ()

    @property
    def axis(self) -> Array:
        """Unit vector in RAS to the patient's right: the left-right axis of the first volume, sagittal ones first."""
        ordered = [stack for series_type in _AXIS_ORDER for stack in self.stacks.get(series_type, ())]
        if not ordered:
            return np.array([1.0, 0.0, 0.0])
        first = ordered[0].affine
        # Perpendicular to both other axes, which equals the first axis unless the stack is sheared.
        across = np.cross(first[:3, 1], first[:3, 2])
        return np.asarray(across / np.linalg.norm(across), dtype=np.float64)


def open_study(
    record: Mapping[Any, Any],
    series_types: Sequence[SeriesType],
    opened: Callable[[str], Stack],
    *,
    leave_out_bad: bool = False,
) -> StudyStacks:
    """Open the volumes of a record.

    Parameters
    ----------
    record
        Of `monai_spine.data.datalist`.
    series_types
        Series types to open.
    opened
        The function that opens a volume.
    leave_out_bad
        Whether to leave out a volume that cannot be used, with the reason, instead of raising.

    Raises
    ------
    InvalidVolumeError
        If a volume cannot be used.
    """
    stacks: dict[SeriesType, tuple[Stack, ...]] = {}
    refused = []
    for series_type in series_types:
        good = []
        for path in record.get(series_type.value, ()):
            try:
                good.append(opened(path))
            except InvalidVolumeError as error:
                if not leave_out_bad:
                    raise
                refused.append(str(error))
        stacks[series_type] = tuple(good)
    return StudyStacks(stacks, tuple(refused))


@dataclass(frozen=True)
class SourceStack:
    """The stack that a view of a level is cut out of.

    Attributes
    ----------
    series, index, stack
        The series type, the stack's index in it, and the stack with its axes along the crop's columns, rows and slices;
        None if no stack shows the view.
    reason
        Why the view's first series type is not the source; empty if it is.
    """

    series: SeriesType | None = None
    index: int | None = None
    stack: Stack | None = None
    reason: str = ""


def source_of(
    view: View, level: Level, frame: LevelFrame | None, stacks: Mapping[SeriesType, Sequence[Stack]]
) -> SourceStack:
    """The source of a view: a stack of the first series type that shows the view's anchor.

    Whether a stack shows it is decided by `monai_spine.data.coverage`.
    """
    if frame is None:
        return SourceStack(reason=f"no point says where {level.title} is")
    reasons: list[str] = []
    # The first series type that shows the anchor wins, even if a later one has a nearer plane.
    for series_type in view.series:
        turned = [stack.turned(frame.basis @ view.directions) for stack in stacks.get(series_type, ())]
        coverages = [coverage_of(stack.grid, frame.anchors[view.anchor]) for stack in turned]
        best = nearest_showing(coverages)
        if best is not None:
            return SourceStack(series_type, best, turned[best], "; ".join(reasons))
        reasons.append(_why_not(series_type, coverages))
    return SourceStack(reason="; ".join(reasons))


def _why_not(series_type: SeriesType, coverages: Sequence[Coverage]) -> str:
    if not coverages:
        return f"no {series_type.title}"
    # The stack that comes closest to showing the point: one with a near plane, and of those the least far outside.
    nearest = min(coverages, key=lambda one: (one.distance > PLANE_LIMIT_MM, one.distance - min(one.margin, 0.0)))
    if nearest.distance > PLANE_LIMIT_MM:
        return f"{series_type.title}: nearest plane {nearest.distance:.1f} mm away"
    return f"{series_type.title}: {-nearest.margin:.1f} mm outside of the image"


@dataclass(frozen=True)
class ShownSlice:
    """The slice that a plane of a crop without augmentation shows.

    Attributes
    ----------
    volume
        The file.
    axis, index
        The file's axis along which slices are stacked (2 in the files of `data_prep`), and the nearest slice's index.
    distance
        Millimetres from the plane's middle to that slice.
    covered
        Whether the stack shows the plane.
    """

    volume: str
    axis: int
    index: int
    distance: float
    covered: bool


@dataclass(frozen=True)
class StudyCrops:
    """The frames of a study's levels, and the sources of every view by the view's name and in the order of `Level`."""

    frames: Mapping[Level, LevelFrame]
    sources: Mapping[str, tuple[SourceStack, ...]]

    @classmethod
    def of(cls, stacks: StudyStacks, points: Mapping[str, Any], views: Sequence[View]) -> StudyCrops:
        """Frames from points (RAS mm by the findings' names), and sources from stacks."""
        frames = level_frames(points, stacks.axis)
        sources = {
            view.name: tuple(source_of(view, level, frames.get(level), stacks.stacks) for level in Level)
            for view in views
        }
        return cls(frames, sources)

    def sample(
        self, view: View, poses: Mapping[Level, Pose] | None = None, *, flipped: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Crops of a view, float32 ``(5, slices, rows, columns)``, and their mask, bool ``(5, slices)``.

        ``flipped`` exchanges the patient's left and right. Pixels are 0 where the mask is False.
        """
        crops = torch.zeros(len(Level), *view.shape)
        masks = torch.zeros(len(Level), view.slices, dtype=torch.bool)
        for n, (level, source) in enumerate(zip(Level, self.sources[view.name], strict=True)):
            if source.stack is not None:
                grid = crop_grid(view, self.frames[level], (poses or {}).get(level, UPRIGHT), flipped=flipped)
                crops[n], covered = sample(source.stack, grid, view.between)
                masks[n] = torch.from_numpy(covered)
        return crops, masks

    def slices(self, view: View, level: Level) -> tuple[ShownSlice, ...]:
        """The slice nearest to each plane of a view of a level; empty if the view has no source."""
        stack = self.sources[view.name][list(Level).index(level)].stack
        if stack is None:
            return ()
        slices = find_slices(stack, crop_grid(view, self.frames[level]))
        axis = int(stack.stored[2, 0])
        # The stack may run against the file's order; `stored_box` leads back to the file's own index.
        stored = [int(stack.stored_box((0, 0, k), (1, 1, k + 1))[0, axis]) for k in slices.nearest]
        return tuple(
            ShownSlice(stack.name, axis, k, float(distance), bool(covered))
            for k, distance, covered in zip(stored, slices.distance, slices.covered, strict=True)
        )
