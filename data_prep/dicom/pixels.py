"""Stored pixel values of frames, before rescaling. This module is the only one that reads pixels for a conversion.

Uncompressed pixels come straight from the file, compressed ones from `decoding`. Bits that are not in use are cleared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from data_prep.dicom import decoding
from data_prep.dicom.frames import Frame, Pixels
from data_prep.dicom.headers.elements import DEFLATED, inflate, read_meta
from data_prep.dicom.refusals import Reason, Refused

Stored = npt.NDArray[np.generic]


def stored_frames(frames: Iterable[Frame], max_bytes: int) -> Iterator[Stored]:
    """Stored values of one frame after the other, ``(rows, columns)``, in the type that its own header gives.

    The byte order is native. An array is valid only until the next one is asked for: all share one buffer, which then
    stays in the processor's cache.

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
            _read_frame(frame, buffer, max_bytes)
        except Refused as refusal:
            raise Refused(refusal.reason, f"slice {frame.number}: {refusal.detail}") from refusal
        except OSError as error:
            detail = f"slice {frame.number}: {error.strerror or type(error).__name__}"
            raise Refused(Reason.UNREADABLE, detail) from error
        yield buffer


def checksum(frame: Frame, max_bytes: int) -> int:
    """CRC-32 of a frame's stored values. It separates copies from other images."""
    (stored,) = stored_frames([frame], max_bytes)
    return int(isal_zlib.crc32(stored.data))


def _read_frame(frame: Frame, into: Stored, max_bytes: int) -> None:
    pixels = frame.pixels
    index = frame.index or 0
    if pixels.length is None:
        into[...] = decoding.decode(pixels, index).reshape(into.shape)
    elif pixels.syntax == DEFLATED:
        start = pixels.offset + index * pixels.frame_bytes
        data = _inflated(pixels.location, max_bytes)[start : start + pixels.frame_bytes]
        into[...] = np.frombuffer(data, into.dtype).reshape(into.shape)
    else:
        _read_native(pixels, index, into)
    _clear_unused_bits(pixels, into)


def _read_native(pixels: Pixels, index: int, into: Stored) -> None:
    with open(pixels.location, "rb", buffering=0) as file:  # noqa: PTH123 - a Path takes longer, for every slice
        file.seek(pixels.offset + index * pixels.frame_bytes)
        count = file.readinto(into.reshape(-1).view(np.uint8).data)
    if count != pixels.frame_bytes:
        raise Refused(Reason.TRUNCATED, f"{count} of {pixels.frame_bytes} bytes of pixel data")
    if pixels.swapped > into.itemsize:
        into[...] = _from_words(pixels, index).reshape(into.shape)
    elif pixels.swapped > 1:
        into.reshape(-1).view(f"u{pixels.swapped}").byteswap(inplace=True)


def _from_words(pixels: Pixels, index: int) -> Stored:
    """A frame of single bytes that are stored in swapped words; it may share its first and last word with others."""
    start = index * pixels.frame_bytes
    before = start % pixels.swapped
    count = -(-(before + pixels.frame_bytes) // pixels.swapped)
    with open(pixels.location, "rb", buffering=0) as file:  # noqa: PTH123
        file.seek(pixels.offset + start - before)
        words = np.frombuffer(file.read(count * pixels.swapped).ljust(count * pixels.swapped, b"\0"), np.uint8)
    in_order = words.reshape(-1, pixels.swapped)[:, ::-1].reshape(-1)
    return in_order[before : before + pixels.frame_bytes].view(pixels.dtype)


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


@lru_cache(maxsize=1)
def _inflated(location: str, max_bytes: int) -> bytes:
    with Path(location).open("rb") as file:
        file.seek(132)
        read_meta(file)
        return inflate(file.read(), max_bytes)
