"""How a file stores its pixels (DICOM's Image Pixel Module), and whether its pixel data are complete."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from data_prep.dicom.frames import Pixels
from data_prep.dicom.headers.elements import (
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    GE_BIG_ENDIAN,
    IMPLICIT,
    PIXEL_DATA,
    Elements,
    Header,
)
from data_prep.dicom.refusals import Reason, Refused

NATIVE = {IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED, GE_BIG_ENDIAN}
"""Transfer syntaxes whose pixel data are not compressed."""

_ITEM, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD


def pixel_module(location: str, header: Header) -> Pixels:
    """The pixel module of a header that has pixel data.

    Raises
    ------
    Refused
        ``UNREADABLE`` for absent or absurd values, ``COLOUR`` and ``UNSUPPORTED`` for formats that are not handled.
    """
    elements, element = header.elements, header.pixels
    assert element is not None
    rows, columns = elements.short(0x00280010), elements.short(0x00280011)
    if not rows or not columns:
        raise Refused(Reason.UNREADABLE, f"impossible matrix: {rows} rows, {columns} columns")
    frames = elements.integer(0x00280008) if elements.data(0x00280008).strip(b" \0") else 1
    if frames is None or frames < 1:
        raise Refused(Reason.UNREADABLE, "impossible number of frames")
    _check_grey(elements)
    allocated = elements.short(0x00280100) or 0
    stored = elements.short(0x00280101) or allocated
    if allocated not in {8, 16, 32} or stored > allocated or element.tag != PIXEL_DATA:
        raise Refused(Reason.UNSUPPORTED, f"pixels of {allocated} bits, {stored} of them used")
    # a HighBit that contradicts BitsStored was once believed: values came out wrong (found by fuzzing)
    if (high_bit := elements.short(0x00280102)) not in {None, stored - 1}:
        raise Refused(Reason.UNSUPPORTED, f"{stored} bits are used, but HighBit is {high_bit}")
    return Pixels(
        location=location,
        syntax=header.syntax,
        offset=element.offset,
        length=element.length,
        rows=rows,
        columns=columns,
        frames=frames,
        bits_allocated=allocated,
        bits_stored=stored,
        signed=elements.short(0x00280103) == 1,
        swapped=_swapped(header, allocated),
    )


def _check_grey(elements: Elements) -> None:
    photometric = elements.text(0x00280004)
    if (elements.short(0x00280002) or 1) != 1 or photometric.startswith(("RGB", "YBR", "PALETTE", "HSV", "ARGB")):
        raise Refused(Reason.COLOUR, f"{photometric or 'colour'} with {elements.short(0x00280002)} samples per pixel")
    if elements.has_items(0x00283000):
        raise Refused(Reason.UNSUPPORTED, "a lookup table maps the values")


def _swapped(header: Header, allocated: int) -> int:
    """How many bytes form a group in reversed order. Pixels in an OW element are swapped in words of two bytes."""
    element = header.pixels
    assert element is not None
    if header.syntax == GE_BIG_ENDIAN:
        if allocated != 16:
            raise Refused(Reason.UNSUPPORTED, f"pixels of {allocated} bits in GE's private big endian syntax")
        return 2
    return 1 if element.little_endian else max(allocated // 8, 2 if element.vr == "OW" else 1)


def pixel_data_problem(header: Header, pixels: Pixels) -> tuple[Reason, str] | None:
    """What is wrong with a file's pixel data as a whole; None if they are complete."""
    expected = pixels.frame_bytes * pixels.frames
    if pixels.length is None and pixels.syntax in NATIVE:
        return Reason.UNREADABLE, "compressed pixel data under the transfer syntax of uncompressed ones"
    if pixels.length is None:
        return _fragment_problem(pixels, header.size)
    # a length that fits: some archives decompress the pixels and leave the old transfer syntax UID
    if pixels.syntax not in NATIVE and pixels.length != expected + expected % 2:
        return Reason.UNREADABLE, "compressed pixel data that are not encapsulated"
    available = min(pixels.length, header.size - pixels.offset)
    if available < expected:
        return Reason.TRUNCATED, f"{available} of {expected} bytes of pixel data"
    return None


def _fragment_problem(pixels: Pixels, file_size: int) -> tuple[Reason, str] | None:
    """What is wrong with encapsulated pixel data. Fragments are counted before anything is decoded."""
    with Path(pixels.location).open("rb") as file:
        lengths, complete = _item_lengths(file, pixels.offset, file_size)
    if not complete:
        return Reason.TRUNCATED, f"compressed pixel data end within fragment {len(lengths)}"
    fragments = lengths[1:]  # the first item is the offset table
    if len(fragments) < pixels.frames or sum(fragments) == 0:
        return Reason.TRUNCATED, f"{len(fragments)} compressed fragments for {pixels.frames} frames"
    return None


def _item_lengths(file: BinaryIO, offset: int, file_size: int) -> tuple[list[int], bool]:
    """Lengths of the items from ``offset`` on, and whether the sequence ends with its delimiter inside the file."""
    lengths: list[int] = []
    while True:
        file.seek(offset)
        head = file.read(8)
        if len(head) < 8:
            return lengths, False
        group, element, length = struct.unpack("<HHI", head)
        tag = group << 16 | element
        if tag == _SEQUENCE_END:
            return lengths, True
        if tag != _ITEM or offset + 8 + length > file_size:
            return lengths, False
        lengths.append(length)
        offset += 8 + length
