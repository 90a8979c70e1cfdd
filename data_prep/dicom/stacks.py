"""A series' frames → stacks: split by what must be equal in a volume, then checked slice by slice.

The order of the steps is that of the module: group by kind, shape, pixel spacing, orientation; refuse scouts; tell
stations apart that share their slice planes; form volumes at repeated positions (`volumes`); cut at slab
gaps; check that what is left is one even, unsheared stack (`regularity`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from data_prep.dicom import placement, regularity, scouts, volumes
from data_prep.dicom.frames import Frame
from data_prep.dicom.reasons import Reason, Refused
from monai_spine.geometry import Plane, plane_of_normal

Key = TypeVar("Key", bound=Hashable)

SAME_CORNER_MM = 0.04
"""Two frames share an orientation and a pixel spacing when no corner moves by more than this."""

NEARLY_PARALLEL_DEGREES = 0.5
"""No two stacks are planned so close to each other: slices that differ by less were meant to be one stack."""

_IRREGULAR = {Reason.UNEVEN_SPACING, Reason.SHEARED, Reason.MISSING_SLICE}


@dataclass(frozen=True, slots=True)
class Stack:
    """Frames that belong together, with the verdict on them.

    Attributes
    ----------
    volumes
        One tuple of frames per volume; converted stacks are sorted along the slice normal (row × column direction).
        A refused stack has its frames in one tuple, in the order of their position where they have one.
    affine
        ``(4, 4)`` from ``(column, row, slice)`` to RAS mm; None when refused.
    """

    volumes: tuple[tuple[Frame, ...], ...]
    affine: npt.NDArray[np.float64] | None = None
    reason: Reason | None = None
    detail: str = ""

    @property
    def frames(self) -> tuple[Frame, ...]:
        """All frames, volume by volume."""
        return tuple(frame for volume in self.volumes for frame in volume)

    @property
    def is_4d(self) -> bool:
        """Whether it is several volumes."""
        return len(self.volumes) > 1

    @property
    def first(self) -> Frame:
        """The frame that stands for the stack in the tables."""
        return self.volumes[0][0]

    @property
    def plane(self) -> Plane | None:
        """The plane that the slices lie closest to, None without a geometry."""
        if self.first.reason is Reason.NO_GEOMETRY or self.first.geometry is None:
            return None
        return plane_of_normal(self.first.geometry.normal)


def split(frames: Sequence[Frame]) -> list[Stack]:
    """Split one series into stacks, each sound or refused with a reason; every frame is in exactly one of them.

    The result does not depend on the order of the frames.
    """
    ordered = sorted(frames, key=lambda frame: (frame.path, frame.index or 0))
    unusable = [frame for frame in ordered if frame.reason is not None and frame.reason is not Reason.TRUNCATED]
    truncated = [frame for frame in ordered if frame.reason is Reason.TRUNCATED and frame.geometry is None]
    lost = {id(frame) for frame in (*unusable, *truncated)}
    sound = [frame for frame in ordered if id(frame) not in lost]
    stacks = [_refused(group, group[0].reason, group[0].detail) for group in _by(lost_reason, (*unusable, *truncated))]
    stacks += _split_sound(sound)
    return sorted(stacks, key=_order)


def lost_reason(frame: Frame) -> Reason | None:
    """The key by which unusable frames are put together."""
    return frame.reason


def _order(stack: Stack) -> tuple[int, str, int]:
    numbers = [frame.number for frame in stack.frames]
    return min(numbers), stack.first.path, stack.first.index or 0


def _refused(frames: Iterable[Frame], reason: Reason | None, detail: str) -> Stack:
    return Stack((tuple(frames),), None, reason, detail)


def _by(key: Callable[[Frame], Key], frames: Iterable[Frame]) -> list[list[Frame]]:
    """Frames grouped by a key, groups in the order of their first frame."""
    groups: dict[Key, list[Frame]] = defaultdict(list)
    for frame in frames:
        groups[key(frame)].append(frame)
    return list(groups.values())


def _split_sound(frames: list[Frame]) -> list[Stack]:
    groups = [
        group for alike in _by(_sort, frames) for grid in _same_grid(alike) for group in _same_frame_of_reference(grid)
    ]
    scout, detail = scouts.find(groups)
    stacks = [_refused(group, Reason.LOCALIZER, detail) for group in scout]
    kept = [group for group in groups if not any(group is other for other in scout)]
    return stacks + [_blame_mixture(stack, frames) for group in kept for stack in _stacks_of_grid(group)]


def _sort(frame: Frame) -> tuple[Hashable, ...]:
    """What is equal in all frames of a volume but for its place."""
    return frame.kind, frame.identity.patient, frame.pixels.rows, frame.pixels.columns


def _same_grid(frames: list[Frame]) -> list[list[Frame]]:
    """Frames of one matrix size grouped by orientation (all six cosines) and pixel spacing, within `SAME_CORNER_MM`."""
    groups: list[list[Frame]] = []
    leaders: list[npt.NDArray[np.float64]] = []
    for equal in _by(lambda frame: frame.geometry and (frame.geometry.orientation, frame.geometry.spacing), frames):
        grid = _grid_vectors(equal[0])
        for leader, group in zip(leaders, groups, strict=True):
            if np.abs(grid - leader).max() <= SAME_CORNER_MM:
                group.extend(equal)
                break
        else:
            leaders.append(grid)
            groups.append(equal)
    return groups


def _same_frame_of_reference(frames: list[Frame]) -> list[list[Frame]]:
    """Frames grouped by frame of reference; left whole where it differs from image to image and says nothing."""
    groups = _by(lambda frame: frame.identity.frame_of_reference, frames)
    return groups if min(map(len, groups)) >= regularity.MIN_SLICES else [frames]


def _grid_vectors(frame: Frame) -> npt.NDArray[np.float64]:
    """Where the last pixel of the first row and of the first column lie from the first pixel, mm; shape ``(6,)``."""
    assert frame.geometry is not None
    cosines = np.asarray(frame.geometry.orientation).reshape(2, 3)
    between_rows, between_columns = frame.geometry.spacing
    along_row = cosines[0] * between_columns * (frame.pixels.columns - 1)
    along_column = cosines[1] * between_rows * (frame.pixels.rows - 1)
    return np.concatenate([along_row, along_column])


def _stacks_of_grid(frames: list[Frame]) -> list[Stack]:
    """Stacks of frames that share kind, matrix, pixel spacing and orientation."""
    return [stack for station in regularity.stations(frames) for stack in _stacks_of_station(station)]


def _stacks_of_station(frames: list[Frame]) -> list[Stack]:
    try:
        series = volumes.arrange(frames)
    except Refused as refusal:
        return [_refused(_by_position(frames), refusal.reason, refusal.detail)]
    stacks = [stack for group in series for stack in _stacks_of_volumes(group)]
    if any(stack.reason in _IRREGULAR for stack in stacks):
        moved = volumes.moved(frames)
        return [_checked([volume]) for volume in moved] or stacks
    return stacks


def _stacks_of_volumes(group: list[list[Frame]]) -> list[Stack]:
    """Stacks of volumes that share all their positions: one, or one per slab; those that moved apart on their own."""
    if not all(regularity.coincide(group[0], volume) for volume in group[1:]):
        return [stack for volume in group for stack in _stacks_of_volumes([volume])]
    cuts = regularity.slab_cuts(group[0])
    bounds = [0, *cuts, len(group[0])]
    return [_checked([volume[start:end] for volume in group]) for start, end in pairwise(bounds)]


def _checked(group: list[list[Frame]]) -> Stack:
    frames = [frame for volume in group for frame in volume]
    damaged = [frame for frame in frames if frame.reason is Reason.TRUNCATED]
    if damaged:
        numbers = ", ".join(str(frame.number) for frame in damaged[:5])
        return _refused(frames, Reason.TRUNCATED, f"slice {numbers}: {damaged[0].detail}")
    try:
        step = regularity.step(group[0])
    except Refused as refusal:
        return _refused(frames, refusal.reason, refusal.detail)
    affine = placement.affine(group, step)
    worst, frame = placement.worst_corner(affine, group)
    if worst > placement.CORNER_TOLERANCE_MM:
        detail = f"one grid for all slices would put a corner of slice {frame.number} {worst:.3f} mm off"
        return _refused(frames, Reason.MIXED_ORIENTATION, detail)
    return _upright(Stack(tuple(tuple(volume) for volume in group), affine))


def _upright(stack: Stack) -> Stack:
    """The stack, if its affine can be written without shear too, or nearly so."""
    assert stack.affine is not None
    pixels = stack.first.pixels
    rigid = placement.rigid(stack.affine, (pixels.columns, pixels.rows, len(stack.volumes[0])))
    worst, frame = placement.worst_corner(rigid, stack.volumes)
    if worst > placement.RIGID_TOLERANCE_MM:
        detail = f"without shear, a corner of slice {frame.number} would lie {worst:.3f} mm off"
        return _refused(stack.frames, Reason.SHEARED, detail)
    if worst > placement.CORNER_TOLERANCE_MM:
        return replace(
            stack, detail=f"cosines of few decimals: the qform, which can hold no shear, is {worst:.3f} mm off"
        )
    return stack


def _by_position(frames: list[Frame]) -> list[Frame]:
    return sorted(frames, key=lambda frame: float(np.dot(frame.geometry.normal, frame.geometry.position)))  # type: ignore[union-attr]


def _blame_mixture(stack: Stack, frames: list[Frame]) -> Stack:
    """Name the mixture where a few images of another size or spacing could make no stack of their own."""
    if stack.reason not in {Reason.TOO_FEW_SLICES, Reason.SINGLE_POSITION}:
        return stack
    shapes = Counter((frame.pixels.rows, frame.pixels.columns) for frame in frames)
    usual = shapes.most_common(1)[0][0]
    shape = (stack.first.pixels.rows, stack.first.pixels.columns)
    if shape != usual:
        detail = (
            f"{len(stack.frames)} of {len(frames)} images are {shape[1]} x {shape[0]}, others {usual[1]} x {usual[0]}"
        )
        return _refused(stack.frames, Reason.MIXED_SHAPE, detail)
    spacings = Counter(frame.geometry.spacing for frame in frames if frame.geometry is not None)
    ordinary = spacings.most_common(1)[0][0]
    geometry = stack.first.geometry
    assert geometry is not None
    if len(spacings) > 1 and max(abs(np.subtract(geometry.spacing, ordinary))) * max(shape) > SAME_CORNER_MM:
        sizes = f"pixels of {geometry.spacing[0]:g} mm, others {ordinary[0]:g}"
        detail = f"{len(stack.frames)} of {len(frames)} images have {sizes}"
        return _refused(stack.frames, Reason.MIXED_SPACING, detail)
    if angle := _turned(stack.first, frames):
        detail = f"turned by {angle:.4f} degrees against the image nearest in orientation"
        return _refused(stack.frames, Reason.MIXED_ORIENTATION, detail)
    return stack


def _turned(frame: Frame, frames: list[Frame]) -> float:
    """Degrees between a frame and the nearest of another orientation, if that is as good as the same; else 0."""
    mine = _cosines(frame)
    others = np.array([_cosines(other) for other in frames if other.kind == frame.kind])
    degrees = np.degrees(np.linalg.norm((others - mine).reshape(-1, 2, 3), axis=2).max(axis=1))
    nearest = degrees[degrees > 0]
    return float(nearest.min()) if nearest.size and nearest.min() < NEARLY_PARALLEL_DEGREES else 0.0


def _cosines(frame: Frame) -> npt.NDArray[np.float64]:
    assert frame.geometry is not None
    return np.asarray(frame.geometry.orientation)
