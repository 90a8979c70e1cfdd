"""Groups of parallel slices of one angle, each planned on its own disc: found by acquisition or by InstanceNumber.

Groups of different angles differ in their orientation. Those of one angle do not; where they touch or overlap, all
slices together look like one sheared or uneven stack.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from data_prep.dicom.frames import Frame
from data_prep.dicom.stacks.regularity import MIN_SLICES, POSITION_TOLERANCE_MM, coordinates

LEAST_SHIFT_MM = 1.0
"""Groups are planned at least so far apart within the plane. Smaller shifts are faults of a single stack."""

Groups = list[list[Frame]]


def divided(frames: Sequence[Frame]) -> Iterator[tuple[str, Groups]]:
    """Possible divisions into groups, the best proven first, each with what it is proven by.

    Slices of a group are sorted along their normal. A group has at least `MIN_SLICES` slices. Whether the groups are
    even is left to the caller.
    """
    for name, groups in (("acquisition", _by_acquisition(frames)), ("InstanceNumber", _by_number(frames))):
        if len(groups) > 1 and min(map(len, groups)) >= MIN_SLICES and not _any_within(groups):
            yield name, [[group[n] for n in np.argsort(coordinates(group)[:, 0], kind="stable")] for group in groups]


def _any_within(groups: Groups) -> bool:
    """Whether a group lies within the range of another one: as volumes over time do, and groups on discs do not."""
    ranges = [_range(group) for group in groups]
    return any(
        other[0] - POSITION_TOLERANCE_MM <= low and high <= other[1] + POSITION_TOLERANCE_MM
        for n, (low, high) in enumerate(ranges)
        for m, other in enumerate(ranges)
        if m != n
    )


def _range(group: list[Frame]) -> tuple[float, float]:
    along = coordinates(group)[:, 0]
    return float(along.min()), float(along.max())


def _by_acquisition(frames: Sequence[Frame]) -> Groups:
    groups: dict[object, list[Frame]] = defaultdict(list)
    for frame in frames:
        groups[dict(frame.hints).get("acquisition")].append(frame)
    # A gap between acquisitions that lie behind each other may be a missing slice, which is refused.
    return list(groups.values()) if None not in groups and _touch(list(groups.values())) else []


def _touch(groups: Groups) -> bool:
    """Whether every group overlaps another one along the normal, or is shifted against all others within the plane."""
    places, ranges = [coordinates(group) for group in groups], [_range(group) for group in groups]
    return all(
        any(low < other[1] and other[0] < high for m, other in enumerate(ranges) if m != n)
        or all(_shift(places[n][0], place[0]) >= LEAST_SHIFT_MM for m, place in enumerate(places) if m != n)
        for n, (low, high) in enumerate(ranges)
    )


def _shift(place: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(place[1:] - other[1:]))


def _by_number(frames: Sequence[Frame]) -> Groups:
    """Runs of slices with one step, in the order of their numbers.

    A new group begins where the step turns back, or jumps within the plane.
    """
    numbers = [frame.number for frame in frames]
    if len(set(numbers)) < len(numbers) or any(frame.instance is None and frame.index is None for frame in frames):
        return []
    ordered = sorted(frames, key=lambda frame: frame.number)
    steps = np.diff(coordinates(ordered), axis=0)
    usual = np.median(steps, axis=0)
    groups: Groups = [[ordered[0]]]
    for frame, step in zip(ordered[1:], steps, strict=True):
        if np.abs(step - usual).max() <= 2 * POSITION_TOLERANCE_MM:
            groups[-1].append(frame)
        elif step[0] * usual[0] < 0 or np.linalg.norm(step[1:] - usual[1:]) >= LEAST_SHIFT_MM:
            groups.append([frame])
        else:
            return []
    return groups
