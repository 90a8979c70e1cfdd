"""How a file stores its pixels (DICOM's Image Pixel Module), and whether its pixel data are complete."""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

from pydicom.uid import UID

from data_prep.dicom.frames import Pixels
from data_prep.dicom.headers.elements import (
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    FUNCTIONAL_GROUPS,
    GE_BIG_ENDIAN,
    IMPLICIT,
    PIXEL_DATA,
    Elements,
    Header,
)
from data_prep.dicom.refusals import Reason, Refused
from monai_spine.errors import counted

_START_OF_IMAGE = b"\xff\xd8"
_FRAME_HEADERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
"""Markers SOF0 to SOF15 of JPEG (ITU-T T.81, table B.1; DHT, JPG and DAC are none) and SOF55 of JPEG-LS (T.87)."""


class Precision(NamedTuple):
    """What a codestream declares of its values; ``signed`` is None where the format has no such field."""

    bits: int
    signed: bool | None


def precision(codestream: bytes) -> Precision | None:
    """The precision of a JPEG, JPEG-LS or JPEG 2000 codestream; None for others, such as RLE."""
    if codestream.startswith(_START_OF_IMAGE):
        return _jpeg_precision(codestream)
    return _jpeg_2000_precision(codestream)


def _jpeg_precision(codestream: bytes) -> Precision | None:
    """From the first frame header: a marker, the segment's length, the precision."""
    offset = len(_START_OF_IMAGE)
    while offset + 5 <= len(codestream) and codestream[offset] == 0xFF:
        marker, length = codestream[offset + 1], struct.unpack_from(">H", codestream, offset + 2)[0]
        if marker in _FRAME_HEADERS:
            return Precision(codestream[offset + 4], None)
        offset += 1 if marker == 0xFF else 2 + length  # fill bytes may stand before a marker
    return None


def _jpeg_2000_precision(codestream: bytes) -> Precision | None:
    """Of the first component, from the SIZ marker segment (ISO/IEC 15444-1, A.5.1), in a JP2 file or bare."""
    start = codestream.find(b"\xff\x4f\xff\x51")
    offset = start + 42  # markers, Lsiz, Rsiz, eight sizes and offsets of four bytes, Csiz
    if start < 0 or offset >= len(codestream):
        return None
    return Precision((codestream[offset] & 0x7F) + 1, bool(codestream[offset] & 0x80))


NATIVE = {IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED, GE_BIG_ENDIAN}
"""Transfer syntaxes whose pixel data are not compressed."""

SIMPLEITK_SOP_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.4",  # MR
    "1.2.840.10008.5.1.4.1.1.2",  # CT
    "1.2.840.10008.5.1.4.1.1.128",  # PET
    "1.2.840.10008.5.1.4.1.1.7",  # secondary capture, as of reformatted slices
    "",  # removed by an anonymiser
}
"""Single-frame images whose geometry and rescale GDCM reads. Of others it takes the pixel spacing or the position from
elsewhere, or does not read them at all."""

RLE = "1.2.840.10008.1.2.5"

CODESTREAM_BYTES = 1 << 14
"""How much of a codestream is searched for its precision. If it comes later, our own reader takes the file."""

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
    if header.syntax == GE_BIG_ENDIAN and allocated != 16:
        raise Refused(Reason.UNSUPPORTED, f"pixels of {allocated} bits in GE's private big endian syntax")
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
    )


def _check_grey(elements: Elements) -> None:
    photometric = elements.text(0x00280004)
    if (elements.short(0x00280002) or 1) != 1 or photometric.startswith(("RGB", "YBR", "PALETTE", "HSV", "ARGB")):
        raise Refused(Reason.COLOUR, f"{photometric or 'colour'} with {elements.short(0x00280002)} samples per pixel")
    if elements.has_items(0x00283000):
        raise Refused(Reason.UNSUPPORTED, "a lookup table maps the values")


def own_reader(header: Header, pixels: Pixels) -> str:
    """Why SimpleITK would not read this file, or read it wrongly; empty if it reads it right.

    ``tests/data_prep/dicom/test_two_readers.py`` shows each case. Only files without another problem are asked about.
    """
    elements = header.elements
    if pixels.frames > 1 or FUNCTIONAL_GROUPS in elements:
        return "a multi-frame object"
    if elements.text(0x00280004) == "MONOCHROME1":
        return "MONOCHROME1"
    if pixels.bits_allocated != 16 and pixels.bits_stored < pixels.bits_allocated:
        return f"{pixels.bits_stored} of {pixels.bits_allocated} bits"
    if (elements.text(0x00080016) or header.sop_class) not in SIMPLEITK_SOP_CLASSES:
        return "another SOP class than MR, CT, PET or secondary capture"
    if pixels.length is None and not _codestream_agrees(pixels):
        return "a codestream that contradicts the header"
    return ""


def _codestream_agrees(pixels: Pixels) -> bool:
    """Whether the first codestream declares the header's precision, or is of a format that declares none."""
    if pixels.syntax == RLE:
        return True
    with Path(pixels.location).open("rb") as file:
        file.seek(pixels.offset + 4)
        file.seek(struct.unpack("<I", file.read(4))[0] + 8, os.SEEK_CUR)  # over the offset table
        declared = precision(file.read(CODESTREAM_BYTES))
    return declared is not None and declared.bits == pixels.bits_stored and declared.signed in {None, pixels.signed}


def pixel_data_problem(header: Header, pixels: Pixels) -> tuple[Reason, str] | None:
    """What is wrong with a file's pixel data as a whole; None if they are complete."""
    expected = pixels.frame_bytes * pixels.frames
    if pixels.length is None and not UID(pixels.syntax).is_transfer_syntax:
        named = pixels.syntax if re.fullmatch(r"[0-9.]{1,64}", pixels.syntax) else "its name is no UID"
        return Reason.UNSUPPORTED, f"compressed pixel data in an unknown transfer syntax: {named}"
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
        return Reason.TRUNCATED, f"{len(fragments)} compressed fragments for {counted(pixels.frames, 'frame')}"
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
