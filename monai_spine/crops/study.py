"""All crops of a study: its opened stacks, its frames, and the source stack of each view of each level.

The middle of the flow to crops: `stack` opens volumes and `frame` places levels before it; `sampling` fills the crops.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from monai_spine.crops.bilinear import Floats
from monai_spine.crops.frame import LevelFrame, level_frames
from monai_spine.crops.pose import UPRIGHT, CropGrid, Pose, crop_grid
from monai_spine.crops.sampling import find_slices, sample
from monai_spine.crops.stack import Stack, StackCache
from monai_spine.crops.view import View
from monai_spine.data.coverage import Coverage, coverage_of, nearest_showing, why_not_covered
from monai_spine.data.slice_plane import check_plane
from monai_spine.errors import InvalidVolumeError
from monai_spine.geometry import Array
from monai_spine.spine import Level, SeriesType

Crops = tuple[Floats, npt.NDArray[np.bool_]]
"""The crops of a view and their mask; see `StudyCrops.sample`."""
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
        If a volume cannot be used, or its slices are of another plane than its series type.
    """
    stacks: dict[SeriesType, tuple[Stack, ...]] = {}
    refused = []
    for series_type in series_types:
        good = []
        for path in record.get(series_type.value, ()):
            try:
                stack = opened(path)
                check_plane(path, series_type)
                good.append(stack)
            except InvalidVolumeError as error:
                if not leave_out_bad:
                    raise
                refused.append(str(error))
        stacks[series_type] = tuple(good)
    return StudyStacks(stacks, tuple(refused))


@dataclass(frozen=True)
class SourceStack:
    """The stack that a view of a level is cut out of."""

    series: SeriesType | None = None
    index: int | None = None
    stack: Stack | None = None
    """``series``, ``index``, ``stack``: the series type, the stack's index in it, and the stack with its axes along the
    crop's columns, rows and slices; None if no stack shows the view."""
    not_covered: Mapping[SeriesType, str] = field(default_factory=dict)
    """For each series type of the view that was tried before, why it is not the source."""
    reason: str = ""
    """Why the view's first series type is not the source; empty if it is."""


def source_of(
    view: View, level: Level, frame: LevelFrame | None, stacks: Mapping[SeriesType, Sequence[Stack]]
) -> SourceStack:
    """The source of a view: a stack of the first series type that shows the view's anchor.

    Whether a stack shows it is decided by `monai_spine.data.coverage`.
    """
    if frame is None:
        return SourceStack(reason=f"no point says where {level.title} is")
    reasons: dict[SeriesType, str] = {}
    # The first series type that shows the anchor wins, even if a later one has a nearer plane.
    for series_type in view.series:
        turned = [stack.turned(frame.basis @ view.directions) for stack in stacks.get(series_type, ())]
        coverages = [coverage_of(stack.grid, frame.anchors[view.anchor]) for stack in turned]
        best = nearest_showing(coverages)
        if best is not None:
            return SourceStack(series_type, best, turned[best], reasons, "; ".join(reasons.values()))
        reasons[series_type] = why_not_covered(series_type, coverages)
    return SourceStack(not_covered=reasons, reason="; ".join(reasons.values()))


@dataclass(frozen=True)
class ShownSlice:
    """The slice that a plane of a crop without augmentation shows."""

    volume: str
    """The file."""
    axis: int
    index: int
    """``axis``, ``index``: the file's axis along which slices are stacked (2 in the files of `data_prep`), and the
    nearest slice's index."""
    distance: float
    """Millimetres from the plane's middle to that slice."""
    covered: bool
    """Whether the stack shows the plane."""


@dataclass(frozen=True)
class SeenStack:
    """The part of a stack that a model gets to see."""

    series: SeriesType
    stack: Stack
    """Its slices are those of the third axis."""
    slices: tuple[int, ...] = ()
    """Indices of the slices that the model sees; empty for all."""
    grid: CropGrid | None = None
    """The crop whose area it sees of them; None for whole slices."""

    def coverage(self, point: npt.ArrayLike) -> Coverage:
        """How that part covers a point (RAS mm). The margin is to the nearest edge of image and crop."""
        coverage = coverage_of(self.stack.grid, point, self.slices)
        if self.grid is None:
            return coverage
        inside = np.abs((np.asarray(point) - self.grid.centre) @ self.grid.directions[:, :2])
        half = np.array([self.grid.step[0] * self.grid.shape[2], self.grid.step[1] * self.grid.shape[1]]) / 2
        return replace(coverage, margin=min(coverage.margin, float((half - inside).min())))


@dataclass(frozen=True)
class StudyCrops:
    """The crops of a study without their pixels."""

    views: tuple[View, ...]
    """The views that are cut."""
    frames: Mapping[Level, LevelFrame]
    """The frames of the levels that have one."""
    sources: Mapping[str, tuple[SourceStack, ...]]
    """The sources of every view, by the view's name and in the order of `Level`."""

    @classmethod
    def of(cls, stacks: StudyStacks, points: Mapping[str, Any], views: Sequence[View]) -> StudyCrops:
        """Frames from points (RAS mm by the findings' names), and sources from stacks."""
        frames = level_frames(points, stacks.axis)
        sources = {
            view.name: tuple(source_of(view, level, frames.get(level), stacks.stacks) for level in Level)
            for view in views
        }
        return cls(tuple(views), frames, sources)

    def sample(self, view: View, poses: Mapping[Level, Pose] | None = None, *, flipped: bool = False) -> Crops:
        """Crops of a view, float32 ``(5, slices, rows, columns)``, and their mask, bool ``(5, slices)``.

        ``flipped`` exchanges the patient's left and right. Pixels are 0 where the mask is False.
        """
        crops = np.zeros((len(Level), *view.shape), dtype=np.float32)
        masks = np.zeros((len(Level), view.slices), dtype=np.bool_)
        for n, (level, source) in enumerate(zip(Level, self.sources[view.name], strict=True)):
            if source.stack is not None:
                grid = crop_grid(view, self.frames[level], (poses or {}).get(level, UPRIGHT), flipped=flipped)
                crops[n], masks[n] = sample(source.stack, grid, view.interpolation)
        return crops, masks

    def slices(self, view: View, level: Level) -> tuple[ShownSlice, ...]:
        """The slice nearest to each plane of a view of a level; empty if the view has no source."""
        stack = self.source(view, level).stack
        if stack is None:
            return ()
        slices = find_slices(stack, crop_grid(view, self.frames[level]))
        return tuple(
            ShownSlice(stack.name, *stack.stored_slice(int(k)), float(distance), bool(covered))
            for k, distance, covered in zip(slices.nearest, slices.distance, slices.covered, strict=True)
        )

    def source(self, view: View, level: Level) -> SourceStack:
        """The source of a view of a level."""
        return self.sources[view.name][list(Level).index(level)]

    def seen(self, view: View, level: Level) -> SeenStack | None:
        """The part of the source that the crop of a level shows, without augmentation; None if it shows nothing."""
        source = self.source(view, level)
        if source.series is None or source.stack is None:
            return None
        grid = crop_grid(view, self.frames[level])
        slices = find_slices(source.stack, grid)
        shown = tuple(int(k) for k in np.unique(slices.nearest[slices.covered]))
        return SeenStack(source.series, source.stack, shown, grid) if shown else None


STUDY_IMAGES = "study_images"
"""Key of a record."""
_MOST_BYTES = 1024 * 2**20
"""Memory for unpacked volumes. A study of 90 slices of 640 × 640 pixels takes 74 MB; beyond the limit, volumes are read
again."""


class StudyImages(StackCache):
    """The opened volumes and the crops of one study. Drop it after the study: crops are kept as long as it is."""

    def __init__(self) -> None:
        super().__init__(_MOST_BYTES)
        self._crops: dict[Hashable, Crops] = {}
        self._studies: dict[Hashable, StudyCrops] = {}

    def study(self, key: Hashable, make: Callable[[], StudyCrops]) -> StudyCrops:
        """The frames and sources that ``make`` makes, once for each key."""
        if key not in self._studies:
            self._studies[key] = make()
        return self._studies[key]

    def crops(self, key: Hashable, cut: Callable[[], Crops]) -> Crops:
        """The crops that ``cut`` makes: copies, if they were made for this key before.

        ``key`` must differ between crops that may differ.
        """
        if key not in self._crops:
            self._crops[key] = cut()
        crops, mask = self._crops[key]
        # Later transforms may change their crops in place.
        return crops.copy(), mask.copy()
