"""A job's frames → stacks: one series at a time, and one stack that was sent as several series put together again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from data_prep.dicom.frames import Frame
from data_prep.dicom.stacks import Stack, split


def stacks_of(frames: Sequence[Frame]) -> list[Stack]:
    """Stacks of all series in a job, sorted by series.

    Two series are joined only where it is proven that they are one: they share study, series number, frame of
    reference, description and kind, their instance numbers interlock without a repetition or a gap, and together,
    but not more so than apart, they are one even stack.
    """
    by_series: dict[str, list[Frame]] = defaultdict(list)
    for frame in frames:
        by_series[frame.identity.series].append(frame)
    if len(by_series) > 1:
        joined = _joined(frames)
        if joined is not None:
            return [joined]
    return [stack for series in sorted(by_series) for stack in split(by_series[series])]


def _joined(frames: Sequence[Frame]) -> Stack | None:
    """All frames as one stack, if it can be proven; the stack bears the first UID."""
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
    if len(stacks) != 1 or stacks[0].reason is not None or len(stacks[0].volumes) > 1:
        return None
    series = sorted({frame.identity.series for frame in frames})
    first = next(frame.identity for frame in stacks[0].frames if frame.identity.series == series[0])
    volume = tuple(replace(frame, identity=first) for frame in stacks[0].frames)
    detail = "; ".join(filter(None, (f"one stack sent as {len(series)} series", stacks[0].detail)))
    return replace(stacks[0], volumes=(volume,), detail=detail)
