"""All crops of a study: its stacks, its frames, and what serves each view of each level."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from monai_spine.crops.frame import LevelFrame, level_frames
from monai_spine.crops.pose import UPRIGHT, Pose, crop_grid
from monai_spine.crops.sampling import find_slices, sample
from monai_spine.crops.source import Service, serve
from monai_spine.crops.stack import Stack
from monai_spine.crops.view import View
from monai_spine.errors import InvalidVolumeError
from monai_spine.geometry import Array
from monai_spine.spine import Level, SeriesType

_SAGITTAL = (SeriesType.SAGITTAL_T2, SeriesType.SAGITTAL_T1)


@dataclass(frozen=True)
class StudyStacks:
    """The opened volumes of a study by series type, and why a volume could not be opened."""

    stacks: Mapping[SeriesType, tuple[Stack, ...]]
    refused: tuple[str, ...] = ()

    @property
    def axis(self) -> Array:
        """Left-right axis of the study, pointing to the right: that of its first sagittal volume, or its first."""
        ordered = [stack for kind in (*_SAGITTAL, SeriesType.AXIAL_T2) for stack in self.stacks.get(kind, ())]
        if not ordered:
            return np.array([1.0, 0.0, 0.0])
        first = ordered[0].affine
        across = np.cross(first[:3, 1], first[:3, 2])
        return np.asarray(across / np.linalg.norm(across), dtype=np.float64)


def open_study(
    record: Mapping[Any, Any],
    kinds: Sequence[SeriesType],
    opened: Callable[[str], Stack],
    *,
    leave_out_bad: bool = False,
) -> StudyStacks:
    """Open the volumes of a record.

    Parameters
    ----------
    record
        Of `monai_spine.data.datalist`.
    kinds
        Series types to open.
    opened
        Opens a volume.
    leave_out_bad
        Whether a volume that cannot be used is left out, with a reason, instead of being an error.

    Raises
    ------
    InvalidVolumeError
        If a volume cannot be used.
    """
    stacks: dict[SeriesType, tuple[Stack, ...]] = {}
    refused = []
    for kind in kinds:
        good = []
        for path in record.get(kind.value, ()):
            try:
                good.append(opened(path))
            except InvalidVolumeError as error:
                if not leave_out_bad:
                    raise
                refused.append(str(error))
        stacks[kind] = tuple(good)
    return StudyStacks(stacks, tuple(refused))


@dataclass(frozen=True)
class ShownSlice:
    """What a plane of a crop shows, augmentation left aside.

    Attributes
    ----------
    volume
        The file.
    axis, index
        The file's axis that the slices lie along (2 in what `data_prep` writes), and the nearest slice along it.
    distance
        Millimetres from the plane's middle to that slice.
    covered
        Whether the plane is shown at all.
    """

    volume: str
    axis: int
    index: int
    distance: float
    covered: bool


@dataclass(frozen=True)
class StudyCrops:
    """What serves every view of every level of a study."""

    frames: Mapping[Level, LevelFrame]
    services: Mapping[str, tuple[Service, ...]]

    @classmethod
    def of(cls, stacks: StudyStacks, points: Mapping[str, Any], views: Sequence[View]) -> StudyCrops:
        """Frames from points (RAS mm by the findings' names), and services from stacks."""
        frames = level_frames(points, stacks.axis)
        services = {
            view.name: tuple(serve(view, level, frames.get(level), stacks.stacks) for level in Level) for view in views
        }
        return cls(frames, services)

    def sample(
        self, view: View, poses: Mapping[Level, Pose] | None = None, *, mirrored: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Crops float32 ``(5, slices, rows, columns)`` of a view and their mask, bool ``(5, slices)``."""
        crops = torch.zeros(len(Level), *view.shape)
        masks = torch.zeros(len(Level), view.slices, dtype=torch.bool)
        for n, (level, service) in enumerate(zip(Level, self.services[view.name], strict=True)):
            if service.stack is not None:
                grid = crop_grid(view, self.frames[level], (poses or {}).get(level, UPRIGHT), mirrored=mirrored)
                crops[n], covered = sample(service.stack, grid, view.between)
                masks[n] = torch.from_numpy(covered)
        return crops, masks

    def slices(self, view: View, level: Level) -> tuple[ShownSlice, ...]:
        """The nearest slice to each plane of a view of a level; none where nothing serves."""
        stack = self.services[view.name][list(Level).index(level)].stack
        if stack is None:
            return ()
        found = find_slices(stack, crop_grid(view, self.frames[level]))
        axis = int(stack.stored[2, 0])
        stored = [int(stack.stored_box((0, 0, k), (1, 1, k + 1))[0, axis]) for k in found.nearest]
        return tuple(
            ShownSlice(stack.name, axis, k, float(distance), bool(covered))
            for k, distance, covered in zip(stored, found.distance, found.covered, strict=True)
        )
