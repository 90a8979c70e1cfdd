"""Copies of one image, told from further images: only what is identical in its bytes is dropped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from data_prep.dicom.frames import Frame
from data_prep.dicom.pixels import checksum
from data_prep.dicom.reasons import Refused


def drop(frames: Sequence[Frame], max_bytes: int) -> tuple[list[Frame], list[Frame]]:
    """Separate frames from their copies.

    A copy has the same SOPInstanceUID, the same header values and the same stored pixels as a frame before it in the
    order of the paths.

    Returns
    -------
    The frames to use, and the copies.
    """
    return _separate(frames, lambda frame: (frame.uid, frame.index, *_likeness(frame)), max_bytes)


def drop_by_header(frames: Sequence[Frame]) -> list[Frame]:
    """The frames to use, copies judged by SOPInstanceUID and header values alone, for when no pixels are read."""
    first: dict[tuple[object, ...], Frame] = {}
    for frame in sorted(frames, key=lambda frame: (frame.path, frame.index or 0)):
        first.setdefault((frame.uid, frame.index, *_likeness(frame)), frame)
    return list(first.values())


def drop_resent(frames: Sequence[Frame], max_bytes: int) -> tuple[list[Frame], list[Frame]]:
    """As `drop`, for copies that were given a SOPInstanceUID of their own: all else must be equal.

    Only for frames that repeat a position without being told apart: in a time series two slices may well be equal.
    """
    return _separate(frames, _likeness, max_bytes)


def _separate(
    frames: Sequence[Frame], key: Callable[[Frame], tuple[object, ...]], max_bytes: int
) -> tuple[list[Frame], list[Frame]]:
    alike: dict[tuple[object, ...], list[Frame]] = defaultdict(list)
    for frame in sorted(frames, key=lambda frame: (frame.path, frame.index or 0)):
        alike[key(frame)].append(frame)
    kept: list[Frame] = []
    copies: list[Frame] = []
    for group in alike.values():
        first, second = _by_pixels(group, max_bytes) if len(group) > 1 else (group, [])
        kept += first
        copies += second
    return kept, copies


def _likeness(frame: Frame) -> tuple[object, ...]:
    return frame.identity, frame.kind, frame.geometry, frame.slope, frame.intercept, frame.hints


def _by_pixels(group: list[Frame], max_bytes: int) -> tuple[list[Frame], list[Frame]]:
    seen: set[int] = set()
    kept: list[Frame] = []
    copies: list[Frame] = []
    for frame in group:
        try:
            mark = checksum(frame, max_bytes)
        except Refused:  # damaged pixels are judged with their stack
            kept.append(frame)
            continue
        (copies if mark in seen else kept).append(frame)
        seen.add(mark)
    return kept, copies
