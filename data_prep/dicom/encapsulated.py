"""Compressed pixel data: the fragments of encapsulated data are counted before anything is decoded."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from data_prep.dicom.frames import Pixels
from data_prep.dicom.reasons import Reason

_ITEM, _END = 0xFFFEE000, 0xFFFEE0DD


def fragments(file: BinaryIO, offset: int, size: int) -> tuple[list[tuple[int, int]], bool]:
    """Offsets and lengths of the items at ``offset`` (the first is the offset table), and whether they are complete.

    ``size`` is the length of the file in bytes.
    """
    found: list[tuple[int, int]] = []
    while True:
        file.seek(offset)
        head = file.read(8)
        if len(head) < 8:
            return found, False
        group, element, length = struct.unpack("<HHI", head)
        tag = group << 16 | element
        if tag == _END:
            return found, True
        if tag != _ITEM or offset + 8 + length > size:
            return found, False
        found.append((offset + 8, length))
        offset += 8 + length


def check_fragments(location: str, pixels: Pixels, size: int) -> tuple[Reason, str] | None:
    """What is wrong with a file's fragments, None if they are complete."""
    with Path(location).open("rb") as file:
        found, complete = fragments(file, pixels.offset, size)
    if not complete:
        return Reason.TRUNCATED, f"compressed pixel data end within fragment {len(found)}"
    if len(found) <= pixels.frames - 1 or sum(length for _, length in found[1:]) == 0:
        return Reason.TRUNCATED, f"{max(len(found) - 1, 0)} compressed fragments for {pixels.frames} frames"
    return None


def frame_codestreams(location: str, pixels: Pixels) -> list[bytes]:
    """The compressed bytes of each frame, fragments joined.

    Raises
    ------
    ValueError
        If the fragments cannot be told apart into frames.
    """
    from pydicom.encaps import generate_frames

    with Path(location).open("rb") as file:
        file.seek(pixels.offset)
        return list(generate_frames(file, number_of_frames=pixels.frames))
