"""A job's frames → stacks: copies of images removed, each series split, and a stack sent as several series joined.

A copy is an image whose header values and stored pixels are identical to those of another image. Only these are
removed; an image at the same position with other pixels is a slice of a further volume.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

from data_prep.dicom.frames import Frame
from data_prep.dicom.pixels import checksum
from data_prep.dicom.refusals import Reason, Refused
from data_prep.dicom.stacks.regularity import MIN_SLICES
from data_prep.dicom.stacks.splitting import split
from data_prep.dicom.stacks.stack import Stack


def split_job(frames: Sequence[Frame]) -> tuple[list[Stack], list[Frame]]:
    """Split a job's frames into stacks.

    Returns
    -------
    The stacks without copies, and the copies. A stack's detail says how many copies were left out of it.
    """
    kept, copies = drop_copies(frames)
    stacks = stacks_of(kept)
    ambiguous = [frame for stack in stacks if stack.reason is Reason.AMBIGUOUS_VOLUMES for frame in stack.frames]
    resent = _resent(ambiguous)
    if resent:
        removed = {id(frame) for frame in resent}
        stacks = stacks_of([frame for frame in kept if id(frame) not in removed])
    copies += resent
    return [_with_copy_count(stack, copies) for stack in stacks], copies


def _with_copy_count(stack: Stack, copies: list[Frame]) -> Stack:
    places = {(frame.identity.series, frame.contrast, frame.geometry) for frame in stack.frames}
    count = sum((copy.identity.series, copy.contrast, copy.geometry) in places for copy in copies)
    if not count:
        return stack
    note = f"{count} identical {'copy' if count == 1 else 'copies'} left out"
    return replace(stack, detail="; ".join(filter(None, (stack.detail, note))))


def drop_copies(frames: Sequence[Frame]) -> tuple[list[Frame], list[Frame]]:
    """The frames to use, and the copies: those with the SOPInstanceUID, header values and pixels of an earlier one.

    Earlier means first in the order of the paths.
    """
    return _separate(frames, _sop_instance_and_header)


def drop_copies_by_header(frames: Sequence[Frame]) -> list[Frame]:
    """The frames to use. No pixels are read: frames with equal SOPInstanceUID and header values count as copies."""
    first: dict[tuple[object, ...], Frame] = {}
    for frame in _by_path(frames):
        first.setdefault(_sop_instance_and_header(frame), frame)
    return list(first.values())


def _resent(frames: Sequence[Frame]) -> list[Frame]:
    """Copies that were sent again under a SOPInstanceUID of their own; header values and pixels must be equal.

    Only for frames at one position that nothing else separates: two slices of a time series may be equal by chance.
    """
    return _separate(frames, _header_values)[1]


def _separate(frames: Sequence[Frame], key: Callable[[Frame], tuple[object, ...]]) -> tuple[list[Frame], list[Frame]]:
    """The frames to use, and the copies: those with the key and the pixels of a frame before them."""
    alike: dict[tuple[object, ...], list[Frame]] = defaultdict(list)
    for frame in _by_path(frames):
        alike[key(frame)].append(frame)
    kept: list[Frame] = []
    copies: list[Frame] = []
    for group in alike.values():
        checksums: set[int] = set()
        for frame in group:
            pixels = _checksum(frame) if len(group) > 1 else None  # reading pixels is slow
            if pixels in checksums:
                copies.append(frame)
                continue
            kept.append(frame)
            if pixels is not None:
                checksums.add(pixels)
    return kept, copies


def _by_path(frames: Sequence[Frame]) -> list[Frame]:
    return sorted(frames, key=lambda frame: (frame.path, frame.index or 0))


def _sop_instance_and_header(frame: Frame) -> tuple[object, ...]:
    return frame.uid, frame.index, *_header_values(frame)


def _header_values(frame: Frame) -> tuple[object, ...]:
    return frame.identity, frame.contrast, frame.geometry, frame.slope, frame.intercept, frame.hints


def _checksum(frame: Frame) -> int | None:
    """The checksum of a frame's pixels; None if they are damaged, for which its stack is refused later."""
    try:
        return checksum(frame)
    except Refused:
        return None


def stacks_of(frames: Sequence[Frame]) -> list[Stack]:
    """Stacks of all series in a job, sorted by series.

    Two series are joined only if they are proven to be one: they have the same study, series number, frame of reference
    and parameters, their instance numbers together have no gap and no repetition, and together they are one even stack.
    """
    by_series: dict[str, list[Frame]] = defaultdict(list)
    for frame in frames:
        by_series[frame.identity.series].append(frame)
    if len(by_series) > 1:
        joined = _joined(frames)
        if joined is not None:
            return [joined]
    return [stack for series in sorted(by_series) for stack in _stacks_of_series(by_series[series])]


_SEQUENCE = ("RepetitionTime", "EchoTime", "InversionTime", "FlipAngle", "SliceThickness", "ScanningSequence")

_SERIES_KEYS: tuple[tuple[str, Callable[[Frame], Hashable]], ...] = (
    ("SeriesNumber", lambda frame: frame.identity.series_number),
    ("SeriesDescription", lambda frame: frame.identity.description),
    ("SeriesNumber and SeriesDescription", lambda frame: (frame.identity.series_number, frame.identity.description)),
    ("sequence parameters", lambda frame: tuple(str(dict(frame.parameters).get(name)) for name in _SEQUENCE)),
)
"""What tells series apart where an anonymiser gave one SeriesInstanceUID to several, or removed it."""


def _stacks_of_series(frames: list[Frame]) -> list[Stack]:
    """Stacks of the frames of one SeriesInstanceUID.

    Frames that are even stacks as a whole need no other proof. If they are not, and a further element divides them such
    that fewer are refused, or no volumes over time are made of different series, it shows that the UID is of several.
    """
    best = split(frames)
    if not _doubtful(best):
        return best
    for name, key in _SERIES_KEYS:
        parts: dict[Hashable, list[Frame]] = defaultdict(list)
        for frame in frames:
            parts[key(frame)].append(frame)
        if len(parts) < 2 or max(map(len, parts.values())) < MIN_SLICES:
            continue
        uid = "one SeriesInstanceUID" if frames[0].identity.series else "no SeriesInstanceUID"
        note = f"{uid} for {len(parts)} series, told apart by {name}"
        stacks = [_noted(stack, note) for part in parts.values() for stack in split(part)]
        if _doubtful(stacks) < _doubtful(best):
            best = sorted(stacks, key=lambda stack: (min(frame.number for frame in stack.frames), stack.first.path))
    return best


def _doubtful(stacks: Sequence[Stack]) -> int:
    """How many frames are refused for what their neighbours are, or are in volumes over time."""
    return sum(
        len(stack.frames)
        for stack in stacks
        if stack.is_4d or (stack.reason is not None and stack.reason is not stack.first.reason)
    )


def _noted(stack: Stack, note: str) -> Stack:
    return replace(stack, detail="; ".join(filter(None, (note, stack.detail))))


def _joined(frames: Sequence[Frame]) -> Stack | None:
    """All frames as one stack under the first series UID; None if they are not proven to be one."""
    numbers = sorted(frame.instance for frame in frames if frame.instance is not None)
    consecutive = len(numbers) == len(frames) and numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    shared = {
        (frame.identity.study, frame.identity.series_number, frame.identity.frame_of_reference, frame.parameters)
        for frame in frames
    }
    if not consecutive or len(shared) > 1 or not frames[0].identity.frame_of_reference:
        return None
    if any(frame.index is not None or frame.identity.series_number is None for frame in frames):
        return None
    stacks = split(frames)
    if len(stacks) != 1 or stacks[0].reason is not None or stacks[0].is_4d:
        return None
    series = sorted({frame.identity.series for frame in frames})
    first = next(frame.identity for frame in stacks[0].frames if frame.identity.series == series[0])
    volume = tuple(replace(frame, identity=first) for frame in stacks[0].frames)
    detail = "; ".join(filter(None, (f"one stack sent as {len(series)} series", stacks[0].detail)))
    return replace(stacks[0], volumes=(volume,), detail=detail)
