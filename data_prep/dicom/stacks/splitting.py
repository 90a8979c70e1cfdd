"""A series' frames → stacks: split by what must be equal in a volume, then checked slice by slice.

The steps, in the order of the module: group frames that may be one volume, and refuse scouts (`grouping`); separate
stations that share their slice planes; form volumes at repeated positions (`repeated_positions`); cut at gaps between
slabs; check that each result is one even, unsheared stack (`regularity`) that one affine can hold (`placement`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from data_prep.dicom.frames import Frame
from data_prep.dicom.refusals import Reason, Refused
from data_prep.dicom.stacks import parallel_groups, placement, regularity, repeated_positions
from data_prep.dicom.stacks.grouping import SAME_CORNER_MM, find_scout, grid_vectors, grouped, grouped_by
from data_prep.dicom.stacks.stack import Stack
from monai_spine.errors import counted

NEARLY_PARALLEL_DEGREES = 0.5
"""No two stacks are planned so nearly parallel: slices that differ by less were meant to be one stack."""

_IRREGULAR = {Reason.UNEVEN_SPACING, Reason.SHEARED, Reason.MISSING_SLICE, Reason.AMBIGUOUS_VOLUMES}


def split(frames: Sequence[Frame]) -> list[Stack]:
    """Split one series into stacks, each convertible or refused with a reason. Every frame is in exactly one of them.

    The result does not depend on the order of the frames.
    """
    ordered = sorted(frames, key=lambda frame: (frame.path, frame.index or 0))
    unusable = [frame for frame in ordered if _is_unusable(frame)]
    usable = [frame for frame in ordered if not _is_unusable(frame)]
    stacks = [
        _refused(group, group[0].reason, group[0].detail) for group in grouped_by(lambda frame: frame.reason, unusable)
    ]
    return sorted(map(_with_notes, stacks + _split_usable(usable)), key=_order)


def _with_notes(stack: Stack) -> Stack:
    """The stack; its detail says first what the notes of its frames say."""
    notes = dict.fromkeys(frame.note for frame in stack.frames if frame.note)
    return replace(stack, detail="; ".join(filter(None, (*notes, stack.detail)))) if notes else stack


def _is_unusable(frame: Frame) -> bool:
    """Whether a frame cannot take part in any stack. A truncated slice with a position does, and its stack is refused:
    without it the stack would seem to miss a slice."""
    return frame.reason is not None and (frame.reason is not Reason.TRUNCATED or frame.geometry is None)


def _order(stack: Stack) -> tuple[int, str, int]:
    numbers = [frame.number for frame in stack.frames]
    return min(numbers), stack.first.path, stack.first.index or 0


def _refused(frames: Iterable[Frame], reason: Reason | None, detail: str) -> Stack:
    return Stack((tuple(frames),), None, reason, detail)


def _split_usable(frames: list[Frame]) -> list[Stack]:
    groups = grouped(frames)
    scout_groups, detail = find_scout(groups)
    stacks = [_refused(group, Reason.LOCALIZER, detail) for group in scout_groups]
    others = [group for group in groups if not any(group is scout for scout in scout_groups)]
    return stacks + [_name_mixture(stack, frames) for group in others for stack in _stacks_of_grid(group)]


def _stacks_of_grid(frames: list[Frame]) -> list[Stack]:
    """Stacks of frames that share contrast, matrix, pixel spacing and orientation."""
    return [stack for station in regularity.stations(frames) for stack in _stacks_of_station(station)]


def _stacks_of_station(frames: list[Frame]) -> list[Stack]:
    try:
        groups = repeated_positions.arrange(frames)
    except Refused as refusal:
        stacks = [_refused(_by_position(frames), refusal.reason, refusal.detail)]
    else:
        stacks = [stack for group in groups for stack in _stacks_of_volumes(group)]
    if any(stack.reason in _IRREGULAR for stack in stacks):
        moved = repeated_positions.moved(frames)
        return [_checked([volume]) for volume in moved] or _parallel_groups(frames) or stacks
    return stacks


def _parallel_groups(frames: list[Frame]) -> list[Stack]:
    """Stacks of one angle that touch or overlap, as `parallel_groups.divided` finds them; none if one is not even."""
    for name, groups in parallel_groups.divided(frames):
        note = f"one of {len(groups)} parallel groups of slices, told apart by {name}"
        stacks = [_checked([[frame.noted(note) for frame in group]]) for group in groups]
        if not any(stack.reason for stack in stacks):
            return stacks
    return []


def _stacks_of_volumes(group: list[list[Frame]]) -> list[Stack]:
    """Stacks of volumes with the same positions: one, or one per slab. Volumes that moved are stacks themselves."""
    if not all(regularity.coincide(group[0], volume) for volume in group[1:]):
        return [stack for volume in group for stack in _stacks_of_volumes([volume])]
    cuts = regularity.slab_cuts(group[0])
    bounds = [0, *cuts, len(group[0])]
    return [_checked([volume[start:end] for volume in group]) for start, end in pairwise(bounds)]


def _checked(group: list[list[Frame]]) -> Stack:
    """Volumes as one stack with its affine, or refused."""
    frames = [frame for volume in group for frame in volume]
    truncated = [frame for frame in frames if frame.reason is Reason.TRUNCATED]
    if truncated:
        numbers = ", ".join(str(frame.number) for frame in truncated[:5])
        return _refused(frames, Reason.TRUNCATED, f"slice {numbers}: {truncated[0].detail}")
    try:
        grid = regularity.even_grid(group[0])
    except Refused as refusal:
        return _refused(frames, refusal.reason, refusal.detail)
    affine = placement.affine(group, grid.step, grid.origin)
    error, frame = placement.worst_corner(affine, group)
    allowed = max(placement.CORNER_TOLERANCE_MM, grid.tolerance)
    if error > allowed:
        detail = f"one affine for all slices would put a corner of slice {frame.number} {error:.3f} mm off"
        return _refused(frames, Reason.MIXED_ORIENTATION, detail)
    stack = _without_shear(Stack(tuple(tuple(volume) for volume in group), affine, corner_mm=allowed))
    return replace(stack, detail="; ".join(filter(None, (grid.detail, stack.detail))))


def _without_shear(stack: Stack) -> Stack:
    """The stack, refused if a qform, which cannot hold shear, would be too far off; ``detail`` says how far it is."""
    assert stack.affine is not None
    error, frame = placement.worst_corner(placement.rigid(stack.affine, stack.shape), stack.volumes)
    beyond = stack.corner_mm - placement.CORNER_TOLERANCE_MM  # more than 0 where positions are rounded
    noted = placement.CORNER_TOLERANCE_MM + (stack.corner_mm if beyond else 0.0)
    if error > placement.RIGID_TOLERANCE_MM + beyond:
        detail = f"without shear, a corner of slice {frame.number} would lie {error:.3f} mm off"
        return _refused(stack.frames, Reason.SHEARED, detail)
    if error > noted:
        detail = f"cosines of few decimals: the qform, which can hold no shear, is {error:.3f} mm off"
        return replace(stack, detail=detail)
    error, _ = placement.worst_corner(placement.qform(stack.affine, stack.shape), stack.volumes)
    if error > noted:
        detail = f"turned by almost 180 degrees: the qform, of 32-bit numbers, is up to {error:.3f} mm off"
        return replace(stack, detail=detail)
    return stack


def _by_position(frames: list[Frame]) -> list[Frame]:
    return sorted(frames, key=lambda frame: float(np.dot(frame.geometry.normal, frame.geometry.position)))  # type: ignore[union-attr]


def _name_mixture(stack: Stack, frames: list[Frame]) -> Stack:
    """The stack; if it is too small because its images differ a little from the series' others, refused for that."""
    if stack.reason not in {Reason.TOO_FEW_SLICES, Reason.SINGLE_POSITION}:
        return stack
    count = f"{len(stack.frames)} of {counted(len(frames), 'image')}"
    shape = (stack.first.pixels.rows, stack.first.pixels.columns)
    usual_shape = Counter((frame.pixels.rows, frame.pixels.columns) for frame in frames).most_common(1)[0][0]
    if shape != usual_shape:
        detail = f"{count} are {shape[1]} x {shape[0]}, others {usual_shape[1]} x {usual_shape[0]}"
        return _refused(stack.frames, Reason.MIXED_SHAPE, detail)
    spacings = Counter(frame.geometry.spacing for frame in frames if frame.geometry is not None)
    usual_spacing = spacings.most_common(1)[0][0]
    geometry = stack.first.geometry
    assert geometry is not None
    if max(abs(np.subtract(geometry.spacing, usual_spacing))) * max(shape) > SAME_CORNER_MM:
        detail = f"{count} have pixels of {geometry.spacing[0]:g} mm, others {usual_spacing[0]:g}"
        return _refused(stack.frames, Reason.MIXED_SPACING, detail)
    if angle := _small_turn(stack.first, frames):
        detail = f"turned by {angle:.4f} degrees against the image nearest in orientation"
        return _refused(stack.frames, Reason.MIXED_ORIENTATION, detail)
    return stack


def _small_turn(frame: Frame, frames: list[Frame]) -> float:
    """Degrees between a frame and the nearest other orientation, if below `NEARLY_PARALLEL_DEGREES`; else 0.

    What moves no corner by more than `SAME_CORNER_MM` is no turn.
    """
    others = np.array([_cosines(other) for other in frames if other.contrast == frame.contrast])
    apart = (others - _cosines(frame)).reshape(-1, 2, 3)
    lengths = np.linalg.norm(grid_vectors(frame).reshape(2, 3), axis=1)
    turned = apart[np.abs(apart * lengths[:, None]).max(axis=(1, 2)) > SAME_CORNER_MM]
    if not turned.size:
        return 0.0
    nearest = float(np.degrees(np.linalg.norm(turned, axis=2).max(axis=1)).min())
    return nearest if nearest < NEARLY_PARALLEL_DEGREES else 0.0


def _cosines(frame: Frame) -> npt.NDArray[np.float64]:
    assert frame.geometry is not None
    return np.asarray(frame.geometry.orientation)
