"""Frames of one grid → volumes: repeated positions are further volumes, and the headers must say which.

A value (temporal position, gradient direction, ...) tells the volumes apart when, among the frames that carry it,
no position occurs twice. InstanceNumber serves as the last resort, when it counts through whole volumes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from data_prep.dicom.frames import Frame
from data_prep.dicom.reasons import Reason, Refused
from data_prep.dicom.regularity import MIN_SLICES, coordinates, step

SAME_POSITION_MM = 0.02

Key = Callable[[Frame], Hashable]
Volumes = list[list[Frame]]


def arrange(frames: list[Frame]) -> list[Volumes]:
    """Groups of volumes: the volumes of a group share all their positions; slices sorted along the normal.

    Raises
    ------
    Refused
        ``SINGLE_POSITION`` or ``TOO_FEW_SLICES`` when there is nothing to stack; ``AMBIGUOUS_VOLUMES`` when positions
        repeat and no value of the headers tells the volumes apart.
    """
    slots = _slots(frames)
    count = int(slots.max()) + 1
    if count == 1:
        reason = Reason.SINGLE_POSITION if len(frames) > 1 else Reason.TOO_FEW_SLICES
        raise Refused(reason, f"{len(frames)} images at one position, at least {MIN_SLICES} positions needed")
    slot_of = {id(frame): int(slot) for frame, slot in zip(frames, slots, strict=True)}
    if count == len(frames):
        return [[sorted(frames, key=lambda frame: slot_of[id(frame)])]]
    found = [groups for key in _keys(frames, slot_of) if (groups := _partition(frames, slot_of, key)) is not None]
    if found:  # a key that makes whole volumes of all frames, or else the most telling
        return next((groups for groups in found if len(groups) == 1), found[0])
    most = int(np.bincount(slots).max())
    raise Refused(
        Reason.AMBIGUOUS_VOLUMES, f"{len(frames)} images at {count} positions, up to {most} at one, not told apart"
    )


def moved(frames: list[Frame]) -> list[list[Frame]]:
    """Volumes that are each even by themselves, but not at each other's positions, as after a motion correction.

    Returns
    -------
    The volumes, slices sorted along the normal; empty where no value of the headers yields such volumes. They have
    equally many slices and cover the same region, so that parts of one stack are not taken for volumes.
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


def _slots(frames: Sequence[Frame]) -> npt.NDArray[np.intp]:
    """Number the distinct positions along the normal."""
    along = coordinates(frames)[:, 0]
    order = np.argsort(along, kind="stable")
    slots = np.empty(len(frames), dtype=np.intp)
    slots[order] = np.concatenate([[0], np.cumsum(np.diff(along[order]) > SAME_POSITION_MM)])
    return slots


def _keys(frames: Sequence[Frame], slot_of: dict[int, int]) -> Iterator[Key]:
    """Keys to try, the most telling first: single values, pairs, all together, instance numbers, heart phases."""
    names = _telling_hints(frames, slot_of)
    for size in (1, 2, len(names)):
        for chosen in combinations(names, size):
            if chosen:
                yield _hint_key(chosen)
    blocks = _instance_blocks(frames, slot_of)
    if blocks is not None:
        yield lambda frame: blocks[id(frame)]
    phases = _heart_phases(frames, slot_of)
    if phases is not None:
        yield lambda frame: phases[id(frame)]


def _telling_hints(frames: Sequence[Frame], slot_of: dict[int, int]) -> list[str]:
    """Hints that all frames carry and that differ between frames of one position."""
    common = set.intersection(*({name for name, _ in frame.hints} for frame in frames))
    values: dict[str, dict[int, set[object]]] = {name: defaultdict(set) for name in common}
    for frame in frames:
        for name, value in frame.hints:
            if name in common:
                values[name][slot_of[id(frame)]].add(value)
    names = dict.fromkeys(name for name, _ in frames[0].hints if name in common)
    return [name for name in names if any(len(found) > 1 for found in values[name].values())]


def _hint_key(names: tuple[str, ...]) -> Key:
    def key(frame: Frame) -> Hashable:
        hints = dict(frame.hints)
        return tuple(hints[name] for name in names)

    return key


def _instance_blocks(frames: Sequence[Frame], slot_of: dict[int, int]) -> dict[int, int] | None:
    """Volume numbers from InstanceNumbers that run through whole volumes, or through all volumes slice by slice."""
    numbers = [frame.number for frame in frames]
    count = len(set(slot_of.values()))
    if len(set(numbers)) < len(numbers) or len(frames) % count:
        return None
    ordered = sorted(frames, key=lambda frame: frame.number)
    sequence = [slot_of[id(frame)] for frame in ordered]
    repeats = len(frames) // count
    if sequence == sequence[:count] * repeats:
        return {id(frame): n // count for n, frame in enumerate(ordered)}
    if sequence == [slot for slot in sequence[::repeats] for _ in range(repeats)]:
        return {id(frame): n % repeats for n, frame in enumerate(ordered)}
    return None


def _heart_phases(frames: Sequence[Frame], slot_of: dict[int, int]) -> dict[int, int] | None:
    """Volume numbers from TriggerTimes that rise at every position by steps of its own, as heart rates do."""
    times: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for frame in frames:
        time = dict(frame.hints).get("trigger time")
        if not isinstance(time, int | float):
            return None
        times[slot_of[id(frame)]].append((time, id(frame)))
    if len({len(found) for found in times.values()}) > 1:
        return None
    if any(len({time for time, _ in found}) < len(found) for found in times.values()):
        return None
    return {frame: phase for found in times.values() for phase, (_, frame) in enumerate(sorted(found))}


def _partition(frames: Sequence[Frame], slot_of: dict[int, int], key: Key) -> list[Volumes] | None:
    """Volumes by a key, grouped by the positions that they cover; None if the key leaves a position twice in one."""
    parts: dict[Hashable, list[Frame]] = defaultdict(list)
    for frame in frames:
        parts[key(frame)].append(frame)
    groups: dict[tuple[int, ...], Volumes] = defaultdict(list)
    for part in parts.values():
        part.sort(key=lambda frame: slot_of[id(frame)])
        covered = tuple(slot_of[id(frame)] for frame in part)
        if len(set(covered)) < len(covered):
            return None
        groups[covered].append(part)
    sizes = [len(covered) for covered in groups]
    if len(groups) > 1 and min(sizes) < MIN_SLICES and max(sizes) < len(set(slot_of.values())):
        return None
    return [sorted(volumes, key=lambda volume: _time_order(volume, key)) for volumes in groups.values()]


def _time_order(volume: list[Frame], key: Key) -> tuple[tuple[float, ...], int, str]:
    value = key(volume[0])
    values = value if isinstance(value, tuple) else (value,)
    numeric = all(isinstance(item, int | float) for item in values)
    first = min(volume, key=lambda frame: (frame.number, frame.path))
    return (tuple(float(item) for item in values) if numeric else ()), first.number, first.path
