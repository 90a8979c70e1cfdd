"""What a compressed frame says of itself: how many bits its values have, and whether they are signed."""

from __future__ import annotations

import struct
from typing import NamedTuple

_START_OF_IMAGE = b"\xff\xd8"
_FRAME_HEADERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
"""Markers SOF0 to SOF15 of JPEG (ITU-T T.81, table B.1) and SOF55 of JPEG-LS (T.87): all but DHT, JPG and DAC."""


class Precision(NamedTuple):
    """``signed`` is None where the format does not say."""

    bits: int
    signed: bool | None


def precision(codestream: bytes) -> Precision | None:
    """The precision of a JPEG, JPEG-LS or JPEG 2000 codestream; None of anything else, RLE for one."""
    if codestream.startswith(_START_OF_IMAGE):
        return _jpeg(codestream)
    return _jpeg_2000(codestream)


def _jpeg(codestream: bytes) -> Precision | None:
    """From the first frame header: a marker, the segment's length, the precision."""
    offset = len(_START_OF_IMAGE)
    while offset + 5 <= len(codestream) and codestream[offset] == 0xFF:
        marker, length = codestream[offset + 1], struct.unpack_from(">H", codestream, offset + 2)[0]
        if marker in _FRAME_HEADERS:
            return Precision(codestream[offset + 4], None)
        offset += 1 if marker == 0xFF else 2 + length  # a marker may be preceded by fill bytes
    return None


def _jpeg_2000(codestream: bytes) -> Precision | None:
    """From the SIZ marker segment (ISO/IEC 15444-1, A.5.1), in a JP2 file or bare: of the first component."""
    start = codestream.find(b"\xff\x4f\xff\x51")
    at = start + 42  # markers, Lsiz, Rsiz, eight sizes and offsets of four bytes, Csiz
    if start < 0 or at >= len(codestream):
        return None
    return Precision((codestream[at] & 0x7F) + 1, bool(codestream[at] & 0x80))
