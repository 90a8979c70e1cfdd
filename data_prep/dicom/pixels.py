"""Stored pixel values of frames, before rescaling, by two readers. This module is the only one that reads pixels.

SimpleITK reads the files of a stack in groups (`simpleitk`). What it reads is compared with the headers (`agreement`)
and, where the pixels are not compressed, with the converter's own reader, value by value. Files of which
`data_prep.dicom.frames.Pixels.own_reader` says that SimpleITK reads them wrongly are read by that reader alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from data_prep.dicom import agreement, decoding, simpleitk
from data_prep.dicom.frames import Frame, Pixels
from data_prep.dicom.headers.elements import BIG_ENDIAN, DEFLATED, GE_BIG_ENDIAN
from data_prep.dicom.headers.pixel_module import NATIVE
from data_prep.dicom.refusals import Reason, Refused

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.uid import UID

UNREAD_BY_SIMPLEITK = "files that SimpleITK cannot open"
"""Why our own reader alone reads a file, besides the reasons that its header gives."""

FIRST_GROUP = 4
"""Files in the first group of a stack, while whose reading nothing can be written. Each further group may have four
times as many, as a group costs the time of two files beyond that of its own."""

Stored = npt.NDArray[np.generic]


def confirmed_frames(frames: Sequence[Frame], exceptions: set[str]) -> Iterator[Stored]:
    """Stored values of one frame of a stack after the other, ``(rows, columns)``, on which two readers agree.

    An array is valid only until the next one is asked for.

    Parameters
    ----------
    frames
        The slices of a stack in the order of its volumes.
    exceptions
        Why our own reader alone read some of them is added to these.

    Raises
    ------
    Refused
        ``VERIFY_FAILED`` if the readers do not agree; ``TRUNCATED``, ``UNREADABLE`` or ``UNSUPPORTED``.
    """
    groups = list(_groups(frames))
    by_simpleitk = [group for group in groups if not group[0].pixels.own_reader]
    largest = max((frame.pixels.rows * frame.pixels.columns for frame in frames), default=0)
    paths = [[frame.pixels.location for frame in group] for group in by_simpleitk]
    images = simpleitk.read_ahead(paths, largest * simpleitk.VALUE_BYTES)
    for group in groups:
        if group[0].pixels.own_reader:
            exceptions.add(group[0].pixels.own_reader)
            yield from own_frames(group)
        elif (image := next(images)) is not None:
            yield from _agreed(group, image)
        else:
            yield from _one_by_one(group, exceptions)


def _groups(frames: Sequence[Frame]) -> Iterator[list[Frame]]:
    """Neighbouring slices that SimpleITK can read as one series.

    Its series reader takes the type of the values from the first file. So a group has one rescale and one pixel format:
    an integer slope in the first file and a fractional one in a later file wrapped −1.5 to 65535.
    """
    group: list[Frame] = []
    limit = FIRST_GROUP
    for frame in frames:
        if group and not (
            _format(frame) == _format(group[0])
            and len(group) < limit
            and (len(group) + 1) * _size_by_simpleitk(frame) <= simpleitk.SLOT_BYTES
            and _follows(group[-1], frame)
        ):
            yield group
            group = []
            limit *= 4
        group.append(frame)
    if group:
        yield group


def _format(frame: Frame) -> tuple[object, ...]:
    pixels = frame.pixels
    return frame.slope, frame.intercept, pixels.dtype, pixels.bits_stored, pixels.syntax, pixels.own_reader


def _size_by_simpleitk(frame: Frame) -> int:
    """The most bytes that SimpleITK's values of a frame can have: it widens them only to rescale."""
    if (frame.slope, frame.intercept) == (1.0, 0.0):
        return frame.pixels.frame_bytes
    return frame.pixels.rows * frame.pixels.columns * simpleitk.VALUE_BYTES


def _follows(frame: Frame, following: Frame) -> bool:
    """Whether a frame lies further along the normal: if not, it is the first of another volume."""
    assert frame.geometry is not None
    assert following.geometry is not None
    return float(np.subtract(following.geometry.position, frame.geometry.position) @ frame.geometry.normal) > 0


def _one_by_one(group: Sequence[Frame], exceptions: set[str]) -> Iterator[Stored]:
    """The frames of a group that SimpleITK cannot read as a whole. Our own reader takes the files that it cannot open.

    An error of SimpleITK is loud, so that no wrong value can come from it: what is proven of the headers still holds.
    """
    for frame in group:
        try:
            size = frame.pixels.rows * frame.pixels.columns * simpleitk.VALUE_BYTES
            image = simpleitk.read_file(frame.pixels.location, size)
        except simpleitk.CrashedError as error:
            raise Refused(Reason.UNREADABLE, f"slice {frame.number}: the file crashes SimpleITK") from error
        if image is not None:
            yield from _agreed([frame], image)
            continue
        exceptions.add(UNREAD_BY_SIMPLEITK)
        yield from own_frames([frame])


def _agreed(group: Sequence[Frame], image: simpleitk.Image) -> Iterator[Stored]:
    """SimpleITK's values of a group, as stored, if they and its geometry agree with what we read ourselves."""
    pixels = group[0].pixels
    if image.values.shape != (len(group), pixels.rows, pixels.columns):
        detail = f"slice {group[0].number}: pixel data decode to another matrix than the header's"
        raise Refused(Reason.UNREADABLE, detail)
    compressed = pixels.length is None  # our own reader has no decoder of its own
    own = iter([None] * len(group)) if compressed else own_frames(group)
    try:
        agreement.check_geometry(group, image)
    except Refused as refusal:
        numbers = f"slices {group[0].number} to {group[-1].number}" if len(group) > 1 else f"slice {group[0].number}"
        raise Refused(refusal.reason, f"{numbers}: {refusal.detail}") from refusal
    for frame, values, expected in zip(group, image.values, own, strict=True):
        try:
            stored = agreement.stored_values(frame, values)
            if expected is not None:
                agreement.check_values(stored, expected)
        except Refused as refusal:
            raise Refused(refusal.reason, f"slice {frame.number}: {refusal.detail}") from refusal
        yield stored


def own_frames(frames: Iterable[Frame]) -> Iterator[Stored]:
    """Stored values of one frame after the other, by our own reader, in the type that each frame's header gives.

    The byte order is native, and bits that are not in use are cleared. An array is valid only until the next one is
    asked for: all share one buffer, which then stays in the processor's cache.

    Raises
    ------
    Refused
        ``TRUNCATED``, ``UNREADABLE`` or ``UNSUPPORTED``, with the slice's number.
    """
    buffer: Stored = np.empty((0, 0))
    for frame in frames:
        pixels = frame.pixels
        if (buffer.shape, buffer.dtype) != ((pixels.rows, pixels.columns), pixels.dtype):
            buffer = np.empty((pixels.rows, pixels.columns), pixels.dtype)
        try:
            _read_frame(frame, buffer)
        except Refused as refusal:
            raise Refused(refusal.reason, f"slice {frame.number}: {refusal.detail}") from refusal
        except OSError as error:
            detail = f"slice {frame.number}: {error.strerror or type(error).__name__}"
            raise Refused(Reason.UNREADABLE, detail) from error
        yield buffer


def checksum(frame: Frame) -> int:
    """CRC-32 of a frame's stored values. It separates copies from other images."""
    (stored,) = own_frames([frame])
    return int(isal_zlib.crc32(stored.data))


def _read_frame(frame: Frame, into: Stored) -> None:
    pixels = frame.pixels
    if pixels.length is None:
        into[...] = decoding.decode(pixels, frame.index or 0).reshape(into.shape)
    elif pixels.syntax in {BIG_ENDIAN, DEFLATED}:
        into[...] = by_pydicom(frame)
    else:
        _read_native(pixels, frame.index or 0, into)
    _clear_unused_bits(pixels, into)


def _read_native(pixels: Pixels, index: int, into: Stored) -> None:
    with open(pixels.location, "rb", buffering=0) as file:  # noqa: PTH123 - a Path takes longer, for every slice
        file.seek(pixels.offset + index * pixels.frame_bytes)
        count = file.readinto(into.reshape(-1).view(np.uint8).data)
    if count != pixels.frame_bytes:
        raise Refused(Reason.TRUNCATED, f"{count} of {pixels.frame_bytes} bytes of pixel data")
    if pixels.syntax == GE_BIG_ENDIAN:
        into.byteswap(inplace=True)


def _clear_unused_bits(pixels: Pixels, into: Stored) -> None:
    """Keep the lowest BitsStored bits; the others may hold an overlay. The highest of them is the sign, if signed."""
    if pixels.bits_stored == pixels.bits_allocated:
        return
    if pixels.signed:
        unused = pixels.bits_allocated - pixels.bits_stored
        np.left_shift(into, unused, out=into)
        np.right_shift(into, unused, out=into)  # repeats the sign bit
        return
    np.bitwise_and(into, into.dtype.type((1 << pixels.bits_stored) - 1), out=into)


def by_pydicom(frame: Frame) -> Stored:
    """Stored values of one frame as pydicom decodes them. No more than the file's own bytes are in memory.

    Raises
    ------
    Refused
        ``UNREADABLE``.
    """
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID, ExplicitVRLittleEndian

    decompressed = frame.pixels.length is not None and frame.pixels.syntax not in NATIVE  # the old UID was left
    syntax = ExplicitVRLittleEndian if decompressed else UID(frame.pixels.syntax)
    try:
        dataset = _dataset(frame.pixels.location, syntax)
        return get_decoder(syntax).as_array(dataset, index=frame.index or 0)[0]
    except Exception as error:  # pydicom raises errors of many types on damaged pixels
        raise Refused(Reason.UNREADABLE, f"pixel data do not decode: {type(error).__name__}") from error


@lru_cache(maxsize=1)
def _dataset(location: str, syntax: UID) -> Dataset:
    """A file, with the transfer syntax that its pixels have; the file itself may name another."""
    from pydicom import dcmread
    from pydicom.dataset import FileMetaDataset

    dataset = dcmread(location, force=True)
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset
