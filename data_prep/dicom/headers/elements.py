"""The header of one DICOM file, read once up to the pixel data by pydicom.

Values are kept as bytes and decoded only when they are asked for: a malformed value affects its own tag alone.
"""

from __future__ import annotations

import io
import math
import struct
import warnings
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO, NamedTuple

from pydicom import config
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag

from data_prep.dicom.refusals import Reason, Refused

DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
GE_BIG_ENDIAN = "1.2.840.113619.5.2"
"""GE's private syntax: an implicit VR little endian header before big endian pixels."""

FUNCTIONAL_GROUPS = 0x52009230
PIXEL_DATA = 0x7FE00010
PIXEL_TAGS = frozenset((PIXEL_DATA, 0x7FE00008, 0x7FE00009))
"""Pixel data as integers, floats and doubles."""

HEADER_BYTES = 1 << 16
"""How much of a file is read at once: few headers are longer."""

_EXPLICIT_ELEMENT = struct.Struct("<HH2sH")
_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
"""Value representations whose length has four bytes, after two reserved ones (PS3.5, 7.1.2)."""
_UNDEFINED = 0xFFFFFFFF
_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d"}
_SIZES = {vr: struct.calcsize(code) for vr, code in _BINARY.items()}

# pydicom's warnings quote values of the header, which may identify a patient
config.settings.reading_validation_mode = config.IGNORE
warnings.filterwarnings("ignore", module="pydicom")


class Elements:
    """The elements of a header by tag. Each value is decoded when it is asked for.

    Parameters
    ----------
    values
        Bytes of the values by tag, as stored; empty for a sequence.
    little_endian
        The byte order of binary values.
    dataset
        The same header as pydicom parsed it. Only its sequences are used.
    """

    def __init__(self, values: dict[int, bytes], little_endian: bool = True, dataset: Dataset | None = None) -> None:
        self._values = values
        self._order = "<" if little_endian else ">"
        self.dataset = dataset

    def __contains__(self, tag: int) -> bool:
        return tag in self._values

    def has_items(self, tag: int) -> bool:
        """Whether a sequence is present and not empty."""
        element = self.dataset.get(tag) if self.dataset is not None else None
        return bool(self._values.get(tag) or (element is not None and element.value))

    def data(self, tag: int) -> bytes:
        """The value's bytes as stored; empty when absent."""
        return self._values.get(tag, b"")

    def texts(self, tag: int) -> tuple[str, ...]:
        """The values of a text element, which backslashes separate, without padding."""
        value = self._values.get(tag)
        return tuple([part.strip(" \0") for part in value.decode("latin-1").split("\\")]) if value else ()

    def text(self, tag: int) -> str:
        """The first value of a text element; empty when absent."""
        if not self._values.get(tag):
            return ""
        return self.texts(tag)[0]

    def numbers(self, tag: int) -> tuple[float, ...]:
        """Decimal or integer strings as floats; NaN for a text that is no number."""
        return tuple([_number(part) for part in self.texts(tag)])

    def number(self, tag: int) -> float | None:
        """The first decimal or integer string; None when absent or no finite number."""
        if not self._values.get(tag):
            return None
        value = _number(self.texts(tag)[0])
        return value if math.isfinite(value) else None

    def integer(self, tag: int) -> int | None:
        """The first integer string; None when absent or no number."""
        value = self.number(tag)
        return int(value) if value is not None else None

    def binary(self, tag: int, vr: str) -> float | None:
        """The first value of a binary element with this value representation; None when absent or too short."""
        value, code = self._values.get(tag, b""), _BINARY[vr]
        if len(value) < _SIZES[vr]:
            return None
        return struct.unpack_from(self._order + code, value)[0]

    def short(self, tag: int) -> int | None:
        """The value of a US element; None when absent or not of two bytes."""
        value = self._values.get(tag, b"")
        return struct.unpack(self._order + "H", value)[0] if len(value) == 2 else None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


@dataclass(frozen=True, slots=True)
class PixelElement:
    """Where the pixel data of a file lie: offset and length of the value, in bytes.

    ``length`` is None for encapsulated data. For a deflated file both count in the inflated bytes.
    """

    tag: int
    vr: str
    offset: int
    length: int | None
    little_endian: bool


class Meta(NamedTuple):
    """SOP class UID and transfer syntax UID of the file meta information; empty when absent."""

    sop_class: str
    syntax: str


@dataclass(frozen=True, slots=True)
class Header:
    """A parsed header.

    Attributes
    ----------
    sop_class
        The SOP class UID in the file meta information.
    syntax
        The transfer syntax UID.
    pixels
        Where the pixel data lie; None if there are none.
    size
        The length of the file in bytes, inflated if it was deflated.
    """

    elements: Elements
    sop_class: str
    syntax: str
    pixels: PixelElement | None
    size: int


def read_elements(location: str, tags: frozenset[int], max_bytes: int) -> Header:
    """Parse a file's header once, up to its pixel data.

    Raises
    ------
    Refused
        ``EMPTY``; ``NOT_AN_IMAGE`` if the file is no DICOM file; ``TOO_LARGE``, ``UNREADABLE`` or ``TRUNCATED`` if a
        deflated data set cannot be inflated.
    """
    with io.BufferedReader(io.FileIO(location), HEADER_BYTES) as file:
        start = file.peek(132)
        if not start:
            raise Refused(Reason.EMPTY, "the file has no bytes")
        has_preamble = start[128:132] == b"DICM"
        if not has_preamble and not _begins_with_element(start):
            raise Refused(Reason.NOT_AN_IMAGE, "not a DICOM file")
        file.seek(132 if has_preamble else 0)
        return _parse(file, read_meta(file), tags, max_bytes)


def _begins_with_element(start: bytes) -> bool:
    """Whether a file without preamble begins with a data set: one of the first elements of group 2 or 8."""
    if len(start) < 16:
        return False
    group, element = struct.unpack_from("<HH", start)
    return (group == 0x0008 and element <= 0x0018) or (group == 0x0002 and element <= 0x0002)


def read_meta(file: BinaryIO) -> Meta:
    """Read the file meta information (group 2, always explicit little endian) and stop behind it."""
    values: dict[int, str] = {}
    while len(head := file.read(8)) == 8:
        group, element, vr, length = _EXPLICIT_ELEMENT.unpack(head)
        if group != 0x0002:
            file.seek(-8, io.SEEK_CUR)
            break
        if vr in _LONG_VRS:
            length = int.from_bytes(file.read(4), "little")
        values[element] = file.read(length).decode("latin-1").strip(" \0")
    return Meta(values.get(0x0002, ""), values.get(0x0010, ""))


@lru_cache(maxsize=4)
def _as_pydicom_has_them(tags: frozenset[int]) -> list[BaseTag | int]:
    """Tags in pydicom's class: to make them takes a third of the time of parsing a header."""
    return [BaseTag(tag) for tag in tags]


def _parse(file: BinaryIO, meta: Meta, tags: frozenset[int], max_bytes: int) -> Header:
    """The header as pydicom parses it."""
    syntax = meta.syntax
    stream: BinaryIO = io.BytesIO(inflate(file.read(), max_bytes)) if syntax == DEFLATED else file
    dataset = read_dataset(
        stream,
        is_implicit_VR=syntax in {IMPLICIT, GE_BIG_ENDIAN, ""},
        is_little_endian=syntax != BIG_ENDIAN,
        stop_when=lambda tag, _vr, _length: tag in PIXEL_TAGS,
        specific_tags=_as_pydicom_has_them(tags),
    )
    implicit, little = (bool(flag) for flag in dataset.original_encoding)
    end = stream.tell()
    pixels = _pixel_element(stream.read(12), end, implicit, little)
    raw = {int(tag): dataset.get_item(tag).value for tag in dataset.keys()}  # noqa: SIM118 - iterating decodes
    values = {tag: value if isinstance(value, bytes) else b"" for tag, value in raw.items()}
    guessed = IMPLICIT if implicit else EXPLICIT
    size = stream.seek(0, io.SEEK_END)
    return Header(Elements(values, little, dataset), meta.sop_class, syntax or guessed, pixels, size)


def inflate(data: bytes, max_bytes: int) -> bytes:
    """Inflate a deflated data set to at most ``max_bytes``.

    Raises
    ------
    Refused
        ``TOO_LARGE`` beyond that, ``UNREADABLE`` when the stream is damaged, ``TRUNCATED`` when it ends early.
    """
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = engine.decompress(data, max_bytes)
    except zlib.error as error:
        raise Refused(Reason.UNREADABLE, "the deflated data set is damaged") from error
    if engine.unconsumed_tail:
        raise Refused(Reason.TOO_LARGE, f"more than {max_bytes} bytes inflated")
    if not engine.eof:
        raise Refused(Reason.TRUNCATED, "the deflated data set ends early")
    return plain


def _pixel_element(head: bytes, start: int, implicit: bool, little: bool) -> PixelElement | None:
    """The element at which a parser stopped, from its first twelve bytes, if it is pixel data."""
    if len(head) < 12:
        return None
    order = "<" if little else ">"
    group, element = struct.unpack_from(f"{order}HH", head)
    tag = group << 16 | element
    if tag not in PIXEL_TAGS:
        return None
    length = struct.unpack_from(f"{order}I", head, 4 if implicit else 8)[0]
    vr = "OW" if implicit else head[4:6].decode("latin-1")
    offset = start + (8 if implicit else 12)
    return PixelElement(tag, vr, offset, None if length == _UNDEFINED else length, little)
