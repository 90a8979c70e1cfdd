"""What a compressed frame declares of its own values: JPEG, JPEG-LS and JPEG 2000 codestreams."""

from __future__ import annotations

import struct
from typing import NamedTuple

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
