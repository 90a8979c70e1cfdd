"""The fast way through a plain header: little endian, no sequence of undefined length before the pixel data.

Anything else, and anything odd, is left to pydicom (`elements`); both yield the same bytes, as a test holds.
"""

from __future__ import annotations

import struct
from collections.abc import Collection

_HEAD = struct.Struct("<HH2sH")
_IMPLICIT_HEAD = struct.Struct("<HHI")
_LENGTH = struct.Struct("<I")
_LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_SHORT = frozenset(
    b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split(),
)
_UNDEFINED = 0xFFFFFFFF
PIXEL_DATA = 0x7FE00010
PIXEL_TAGS = frozenset((PIXEL_DATA, 0x7FE00008, 0x7FE00009))
"""Pixel data as integers, floats and doubles."""


class TooDifficult(Exception):  # noqa: N818 - no error: the other parser's turn
    """The header is not plain, or does not end within the buffer."""


def scan(buffer: bytes, start: int, implicit: bool, wanted: Collection[int]) -> tuple[dict[int, bytes], int]:
    """Values of the wanted elements, and the offset of the pixel data's element.

    Parameters
    ----------
    buffer
        The beginning of a file.
    start
        Where its data set starts.

    Raises
    ------
    TooDifficult
        If this parser cannot be sure of the result.
    """
    found: dict[int, bytes] = {}
    offset, before = start, 0
    read = _implicit_element if implicit else _explicit_element
    while True:
        try:
            tag, value, length = read(buffer, offset)
        except struct.error as error:
            raise TooDifficult from error
        if tag in PIXEL_TAGS:
            return found, offset
        if tag <= before or length == _UNDEFINED or value + length > len(buffer):
            raise TooDifficult
        if tag in wanted:
            found[tag] = buffer[value : value + length]
        before, offset = tag, value + length


def _explicit_element(buffer: bytes, offset: int) -> tuple[int, int, int]:
    """Tag, offset of the value, length."""
    group, element, vr, length = _HEAD.unpack_from(buffer, offset)
    if vr in _SHORT:
        return group << 16 | element, offset + 8, length
    if vr in _LONG:
        return group << 16 | element, offset + 12, _LENGTH.unpack_from(buffer, offset + 8)[0]
    raise TooDifficult


def _implicit_element(buffer: bytes, offset: int) -> tuple[int, int, int]:
    group, element, length = _IMPLICIT_HEAD.unpack_from(buffer, offset)
    return group << 16 | element, offset + 8, length
