"""Groups of frames that may be one volume, and which of them are a scout.

The frames of a group share their contrast, matrix, pixel spacing, orientation, patient and frame of reference.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from data_prep.dicom.frames import Frame
from data_prep.dicom.stacks import regularity
from data_prep.dicom.stacks.regularity import MIN_SLICES

Key = TypeVar("Key", bound=Hashable)

SAME_CORNER_MM = 0.04
"""Two frames share an orientation and a pixel spacing when no corner moves by more than this. It stays below the
0.05 mm that are promised for the corners of the written volume."""

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


def grouped(frames: Iterable[Frame]) -> list[list[Frame]]:
    """Usable frames of a series in groups; no volume has frames of two groups."""
    return [
        group
        for alike in grouped_by(lambda frame: (settings_of(frame), frame.identity.patient), frames)
        for grid in same_grid(alike)
        for image in _same_contrast(grid)
        for group in _same_frame_of_reference(image)
    ]


def grouped_by(key: Callable[[Frame], Key], frames: Iterable[Frame]) -> list[list[Frame]]:
    """Frames grouped by a key, groups in the order of their first frame."""
    groups: dict[Key, list[Frame]] = defaultdict(list)
    for frame in frames:
        groups[key(frame)].append(frame)
    return list(groups.values())


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
        parts = grouped_by(lambda frame: frame.contrast, near)
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
    for equal in grouped_by(
        lambda frame: frame.geometry and (frame.geometry.orientation, frame.geometry.spacing), frames
    ):
        grid = grid_vectors(equal[0])
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
    groups = grouped_by(lambda frame: frame.identity.frame_of_reference, frames)
    return groups if min(map(len, groups)) >= MIN_SLICES else [frames]


def grid_vectors(frame: Frame) -> npt.NDArray[np.float64]:
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
