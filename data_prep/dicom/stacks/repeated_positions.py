"""Frames of one grid → volumes. Where positions repeat there are several volumes, and the headers must separate them.

A value (temporal position, gradient direction, …) separates the volumes if no two frames with the same value share a
position. InstanceNumber is used last, if it counts through whole volumes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import combinations

import numpy as np

from data_prep.dicom.frames import Frame
from data_prep.dicom.refusals import Reason, Refused
from data_prep.dicom.stacks.regularity import MIN_SLICES, clusters, coordinates, step
from monai_spine.errors import counted

SAME_POSITION_MM = 0.02
"""Frames closer than this along the normal share a position. No scanner plans two slices so close together."""

Key = Callable[[Frame], Hashable]
Volumes = list[list[Frame]]


def arrange(frames: list[Frame]) -> list[Volumes]:
    """Groups of volumes: the volumes of a group share all their positions. Slices are sorted along the normal.

    Raises
    ------
    Refused
        ``SINGLE_POSITION`` or ``TOO_FEW_SLICES`` if all frames share one position; ``AMBIGUOUS_VOLUMES`` if positions
        repeat and no value of the headers separates the volumes.
    """
    numbers = clusters(coordinates(frames)[:, 0], SAME_POSITION_MM)
    count = int(numbers.max()) + 1
    if count == 1:
        reason = Reason.SINGLE_POSITION if len(frames) > 1 else Reason.TOO_FEW_SLICES
        raise Refused(
            reason, f"{counted(len(frames), 'image')} at one position, at least {MIN_SLICES} positions needed"
        )
    position_of = {id(frame): int(number) for frame, number in zip(frames, numbers, strict=True)}
    if count == len(frames):
        return [[sorted(frames, key=lambda frame: position_of[id(frame)])]]
    partitions = (_partition(frames, position_of, key) for key in _keys(frames, position_of))
    possible = [groups for groups in partitions if groups is not None]
    if possible:  # a key that makes whole volumes of all frames; if there is none, the most reliable key
        return next((groups for groups in possible if len(groups) == 1), possible[0])
    most = int(np.bincount(numbers).max())
    detail = (
        f"{counted(len(frames), 'image')} at {count} positions, up to {most} at one; no value of "
        f"the headers separates them"
    )
    raise Refused(Reason.AMBIGUOUS_VOLUMES, detail)


def moved(frames: list[Frame]) -> list[list[Frame]]:
    """Volumes that are even, but do not share their positions, as after a motion correction.

    Returns
    -------
    The volumes, slices sorted along the normal; empty if no value of the headers yields such volumes. They have equally
    many slices and cover the same region, so that two parts of one stack are not taken for two volumes.
    """
    names = dict.fromkeys(name for name, _ in frames[0].hints if name.startswith(_VOLUME_HINTS))
    for name in names:
        parts: dict[object, list[Frame]] = defaultdict(list)
        for frame in frames:
            parts[dict(frame.hints).get(name)].append(frame)
        candidates = [_along_normal(part) for part in parts.values()]
        if len(candidates) > 1 and _are_volumes(candidates):
            return sorted(candidates, key=lambda volume: min(frame.number for frame in volume))
    return []


_VOLUME_HINTS = ("temporal", "dimension", "diffusion", "acquisition", "trigger")
"""Hints that count volumes. Flip angle, inversion time and repetition time are settings, and not among them."""


def _along_normal(frames: list[Frame]) -> list[Frame]:
    return [frames[n] for n in np.argsort(coordinates(frames)[:, 0], kind="stable")]


def _are_volumes(candidates: list[list[Frame]]) -> bool:
    if len({len(volume) for volume in candidates}) > 1 or len(candidates[0]) < MIN_SLICES:
        return False
    try:
        for volume in candidates:
            step(volume)
    except Refused:
        return False
    ends = np.array([coordinates(volume)[[0, -1], 0] for volume in candidates])
    overlap = ends[:, 1].min() - ends[:, 0].max()
    return bool(overlap > 0.5 * (ends[:, 1] - ends[:, 0]).max())


def _keys(frames: Sequence[Frame], position_of: dict[int, int]) -> Iterator[Key]:
    """Keys to try, the most reliable first: one hint, two hints, all hints, instance numbers, heart phases."""
    names = _separating_hints(frames, position_of)
    for size in (1, 2, len(names)):
        for chosen in combinations(names, size):
            if chosen:
                yield _hint_key(chosen)
    blocks = _instance_blocks(frames, position_of)
    if blocks is not None:
        yield lambda frame: blocks[id(frame)]
    phases = _heart_phases(frames, position_of)
    if phases is not None:
        yield lambda frame: phases[id(frame)]


def _separating_hints(frames: Sequence[Frame], position_of: dict[int, int]) -> list[str]:
    """Hints that all frames have and that differ between frames of one position."""
    in_all = set.intersection(*({name for name, _ in frame.hints} for frame in frames))
    values: dict[str, dict[int, set[object]]] = {name: defaultdict(set) for name in in_all}
    for frame in frames:
        for name, value in frame.hints:
            if name in in_all:
                values[name][position_of[id(frame)]].add(value)
    names = dict.fromkeys(name for name, _ in frames[0].hints if name in in_all)
    return [name for name in names if any(len(at_position) > 1 for at_position in values[name].values())]


def _hint_key(names: tuple[str, ...]) -> Key:
    def key(frame: Frame) -> Hashable:
        hints = dict(frame.hints)
        return tuple(hints[name] for name in names)

    return key


def _instance_blocks(frames: Sequence[Frame], position_of: dict[int, int]) -> dict[int, int] | None:
    """Volume numbers from InstanceNumbers that count volume by volume, or at each position through all volumes."""
    numbers = [frame.number for frame in frames]
    count = len(set(position_of.values()))
    if len(set(numbers)) < len(numbers) or len(frames) % count:
        return None
    ordered = sorted(frames, key=lambda frame: frame.number)
    sequence = [position_of[id(frame)] for frame in ordered]
    repeats = len(frames) // count
    if sequence == sequence[:count] * repeats:
        return {id(frame): n // count for n, frame in enumerate(ordered)}
    if sequence == [position for position in sequence[::repeats] for _ in range(repeats)]:
        return {id(frame): n % repeats for n, frame in enumerate(ordered)}
    return None


def _heart_phases(frames: Sequence[Frame], position_of: dict[int, int]) -> dict[int, int] | None:
    """Volume numbers from the order of TriggerTimes at each position; the heart rate changes their values."""
    times: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for frame in frames:
        time = dict(frame.hints).get("trigger time")
        if not isinstance(time, int | float):
            return None
        times[position_of[id(frame)]].append((time, id(frame)))
    if len({len(phases) for phases in times.values()}) > 1:
        return None
    if any(len({time for time, _ in phases}) < len(phases) for phases in times.values()):
        return None
    return {frame: number for phases in times.values() for number, (_, frame) in enumerate(sorted(phases))}


def _partition(frames: Sequence[Frame], position_of: dict[int, int], key: Key) -> list[Volumes] | None:
    """Volumes by a key, grouped by the positions that they cover; None if the key puts two frames at one position.

    Groups of fewer than three slices are accepted only beside volumes that cover all positions, as when a scan was
    interrupted. Without such a volume the key does not fit either.
    """
    parts: dict[Hashable, list[Frame]] = defaultdict(list)
    for frame in frames:
        parts[key(frame)].append(frame)
    groups: dict[tuple[int, ...], Volumes] = defaultdict(list)
    for part in parts.values():
        part.sort(key=lambda frame: position_of[id(frame)])
        covered = tuple(position_of[id(frame)] for frame in part)
        if len(set(covered)) < len(covered):
            return None
        groups[covered].append(part)
    sizes = [len(covered) for covered in groups]
    if len(groups) > 1 and min(sizes) < MIN_SLICES and max(sizes) < len(set(position_of.values())):
        return None
    return [sorted(volumes, key=lambda volume: _time_order(volume, key)) for volumes in groups.values()]


def _time_order(volume: list[Frame], key: Key) -> tuple[tuple[float, ...], int, str]:
    """By the key if it is numeric, then by the lowest InstanceNumber."""
    value = key(volume[0])
    values = value if isinstance(value, tuple) else (value,)
    numeric = all(isinstance(item, int | float) for item in values)
    first = min(volume, key=lambda frame: (frame.number, frame.path))
    return (tuple(float(item) for item in values) if numeric else ()), first.number, first.path
