"""A series' frames → stacks: split by what must be equal in a volume, then checked slice by slice.

The steps, in the order of the module: group frames by contrast, matrix, pixel spacing and orientation; refuse scouts;
separate stations that share their slice planes; form volumes at repeated positions (`volumes`); cut at gaps between
slabs; check that each result is one even, unsheared stack (`regularity`) that one affine can hold (`placement`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from data_prep.dicom.frames import Frame
from data_prep.dicom.refusals import Reason, Refused
from data_prep.dicom.stacks import parallel_groups, placement, regularity, repeated_positions
from data_prep.dicom.stacks.regularity import MIN_SLICES
from monai_spine.errors import counted
from monai_spine.geometry import Plane, plane_of_normal

Key = TypeVar("Key", bound=Hashable)

SAME_CORNER_MM = 0.04
"""Two frames share an orientation and a pixel spacing when no corner moves by more than this. It stays below the
0.05 mm that are promised for the corners of the written volume."""

NEARLY_PARALLEL_DEGREES = 0.5
"""No two stacks are planned so nearly parallel: slices that differ by less were meant to be one stack."""

SCOUT_DEGREES = 75.0
"""The planes of a scout are at least this far apart, usually 90°."""

BETWEEN_DEGREES = 60.0
"""A slice less than this from two planes lies between them. Stacks angled to the discs fan out from one to the next, so
that a strongly curved spine has planes 75° apart too, but with others between them."""

MEANINGFUL_TYPES = 3
"""The first values of ImageType tell original from derived images, and magnitude from phase. Others may be marks."""

ECHO_JITTER = 0.005
"""Echo times that differ by a smaller share are one: some scanners write what they measured. The echoes of a sequence
with several are further apart."""

OUTNUMBERED = 5
"""A stack with this many times the images of all groups that cross it is a scan; they are its reference images."""

_IRREGULAR = {Reason.UNEVEN_SPACING, Reason.SHEARED, Reason.MISSING_SLICE, Reason.AMBIGUOUS_VOLUMES}


@dataclass(frozen=True, slots=True)
class Stack:
    """Frames that belong together, converted or refused together.

    Attributes
    ----------
    volumes
        One tuple of frames per volume. The slices of a stack that can be converted are sorted along their normal (row ×
        column direction). A refused stack has all frames in one tuple, by position where they have one.
    affine
        ``(4, 4)`` from ``(column, row, slice)`` to RAS mm; None when refused.
    corner_mm
        How far the affine may put a slice's corner from where the slice's own header puts it, mm.
    """

    volumes: tuple[tuple[Frame, ...], ...]
    affine: npt.NDArray[np.float64] | None = None
    reason: Reason | None = None
    detail: str = ""
    corner_mm: float = placement.CORNER_TOLERANCE_MM

    @property
    def frames(self) -> tuple[Frame, ...]:
        """All frames, volume by volume."""
        return tuple(frame for volume in self.volumes for frame in volume)

    @property
    def is_4d(self) -> bool:
        """Whether it has several volumes."""
        return len(self.volumes) > 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Columns, rows, slices, and volumes where there are several: the shape of the NIfTI file."""
        pixels = self.first.pixels
        return (pixels.columns, pixels.rows, len(self.volumes[0]), *((len(self.volumes),) if self.is_4d else ()))

    @property
    def first(self) -> Frame:
        """The frame whose header describes the stack in the tables and the sidecar."""
        return self.volumes[0][0]

    @property
    def plane(self) -> Plane | None:
        """The anatomical plane that is closest to the slices; None without a geometry."""
        geometry = self.first.geometry
        return None if geometry is None else plane_of_normal(geometry.normal)


def split(frames: Sequence[Frame]) -> list[Stack]:
    """Split one series into stacks, each convertible or refused with a reason. Every frame is in exactly one of them.

    The result does not depend on the order of the frames.
    """
    ordered = sorted(frames, key=lambda frame: (frame.path, frame.index or 0))
    unusable = [frame for frame in ordered if _is_unusable(frame)]
    usable = [frame for frame in ordered if not _is_unusable(frame)]
    stacks = [_refused(group, group[0].reason, group[0].detail) for group in _by(lambda frame: frame.reason, unusable)]
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


def _by(key: Callable[[Frame], Key], frames: Iterable[Frame]) -> list[list[Frame]]:
    """Frames grouped by a key, groups in the order of their first frame."""
    groups: dict[Key, list[Frame]] = defaultdict(list)
    for frame in frames:
        groups[key(frame)].append(frame)
    return list(groups.values())


def _split_usable(frames: list[Frame]) -> list[Stack]:
    groups = [
        group
        for alike in _by(lambda frame: (settings_of(frame), frame.identity.patient), frames)
        for grid in same_grid(alike)
        for image in _same_contrast(grid)
        for group in _same_frame_of_reference(image)
    ]
    scout_groups, detail = find_scout(groups)
    stacks = [_refused(group, Reason.LOCALIZER, detail) for group in scout_groups]
    others = [group for group in groups if not any(group is scout for scout in scout_groups)]
    return stacks + [_name_mixture(stack, frames) for group in others for stack in _stacks_of_grid(group)]


def settings_of(frame: Frame) -> tuple[Hashable, ...]:
    """What is equal in all frames of a volume apart from their geometry, whatever marks a scanner or filter left."""
    contrast = replace(frame.contrast, image_type=frame.contrast.image_type[:MEANINGFUL_TYPES], echo_time=None)
    return contrast, frame.pixels.rows, frame.pixels.columns


def _same_contrast(frames: list[Frame]) -> list[list[Frame]]:
    """Frames of equal `settings_of` that share a grid, grouped by the whole contrast.

    They stay together where they differ only in the marks behind the third value of ImageType (a filter's, for some of
    the slices), or by less than `ECHO_JITTER` in their echo times, and position and number prove them to be one stack.
    """
    groups = []
    for near in _near_echoes(frames):
        parts = _by(lambda frame: frame.contrast, near)
        if len(parts) > 1 and regularity.is_one_even_stack(near):
            note = f"{_differing(near)} differ between slices that are one stack by position and number"
            parts = [[frame.noted(note) for frame in near]]
        groups += parts
    return groups


def _near_echoes(frames: list[Frame]) -> list[list[Frame]]:
    times = np.array([-1.0 if frame.contrast.echo_time is None else frame.contrast.echo_time for frame in frames])
    labels = regularity.clusters(times, ECHO_JITTER * float(times.max()) if times.max() > 0 else 0.0)
    return [[frame for frame, own in zip(frames, labels, strict=True) if own == label] for label in np.unique(labels)]


def _differing(frames: Sequence[Frame]) -> str:
    types = len({frame.contrast.image_type for frame in frames}) > 1
    echoes = len({frame.contrast.echo_time for frame in frames}) > 1
    return " and ".join(["the last values of ImageType"] * types + ["echo times"] * echoes)


def same_grid(frames: list[Frame]) -> list[list[Frame]]:
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
    """Frames grouped by frame of reference.

    They stay together if a group would have fewer than three: some anonymisers give every image a UID of its own, which
    then means nothing.
    """
    groups = _by(lambda frame: frame.identity.frame_of_reference, frames)
    return groups if min(map(len, groups)) >= MIN_SLICES else [frames]


def _grid_vectors(frame: Frame) -> npt.NDArray[np.float64]:
    """Vectors from the first pixel to the last of the first row and of the first column, mm; shape ``(6,)``."""
    assert frame.geometry is not None
    cosines = np.asarray(frame.geometry.orientation).reshape(2, 3)
    between_rows, between_columns = frame.geometry.spacing
    along_row = cosines[0] * between_columns * (frame.pixels.columns - 1)
    along_column = cosines[1] * between_rows * (frame.pixels.rows - 1)
    return np.concatenate([along_row, along_column])


def find_scout(groups: list[list[Frame]]) -> tuple[list[list[Frame]], str]:
    """Find a scout (localizer): a few slices in planes that cross, made to plan a scan and not to be stacked.

    Parameters
    ----------
    groups
        Frames of one series, those of one orientation in each group.

    Returns
    -------
    The groups that are a scout, and what shows it. These are all groups if planes cross with no other plane between
    them. If one stack outnumbers the groups that cross it, and they are too few for stacks of their own, it is a scan,
    and the scout is these groups alone.
    """
    normals = np.array([group[0].geometry.normal for group in groups if group[0].geometry is not None]).reshape(-1, 3)
    degrees = np.degrees(np.arccos(np.clip(np.abs(normals @ normals.T), 0.0, 1.0)))
    near = (degrees < BETWEEN_DEGREES).astype(np.float64)
    crossing = (degrees >= SCOUT_DEGREES) & (near @ near == 0)  # near @ near counts the planes near both
    if not crossing.any():
        return [], ""
    planes = len(np.unique(np.round(normals, 3), axis=0))
    detail = f"slices in {planes} planes, up to {degrees[crossing].max():.0f} degrees apart"
    largest = int(np.argmax([len(group) for group in groups]))
    across = [group for group, crosses in zip(groups, crossing[largest], strict=True) if crosses]
    few = all(len(group) < MIN_SLICES for group in across)
    if across and few and len(groups[largest]) >= OUTNUMBERED * sum(map(len, across)):
        return across, detail
    return groups, detail


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
    lengths = np.linalg.norm(_grid_vectors(frame).reshape(2, 3), axis=1)
    turned = apart[np.abs(apart * lengths[:, None]).max(axis=(1, 2)) > SAME_CORNER_MM]
    if not turned.size:
        return 0.0
    nearest = float(np.degrees(np.linalg.norm(turned, axis=2).max(axis=1)).min())
    return nearest if nearest < NEARLY_PARALLEL_DEGREES else 0.0


def _cosines(frame: Frame) -> npt.NDArray[np.float64]:
    assert frame.geometry is not None
    return np.asarray(frame.geometry.orientation)
