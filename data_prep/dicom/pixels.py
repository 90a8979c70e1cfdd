"""Stored pixel values of frames, before rescaling: uncompressed ones straight from the file, others decoded first.

Bits that are not in use are masked away.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_prep.dicom import decoding
from data_prep.dicom.elements import DEFLATED, inflate, read_meta
from data_prep.dicom.frames import Frame, Pixels
from data_prep.dicom.reasons import Reason, Refused

Stored = npt.NDArray[np.generic]


def stored_frames(frames: Iterable[Frame], max_bytes: int) -> Iterator[Stored]:
    """Stored values of one frame after the other, ``(rows, columns)``, as the type of its own header.

    In native byte order. Each is valid until the next is asked for: they share a buffer, which stays in the cache.

    Raises
    ------
    Refused
        ``TRUNCATED`` or ``UNREADABLE``, naming the slice.
    """
    buffer: Stored = np.empty((0, 0))
    for frame in frames:
        pixels = frame.pixels
        if (buffer.shape, buffer.dtype) != ((pixels.rows, pixels.columns), stored_type(pixels)):
            buffer = np.empty((pixels.rows, pixels.columns), stored_type(pixels))
        try:
            _read_frame(frame, buffer, max_bytes)
        except Refused as refusal:
            raise Refused(refusal.reason, f"slice {frame.number}: {refusal.detail}") from refusal
        except OSError as error:
            detail = f"slice {frame.number}: {error.strerror or type(error).__name__}"
            raise Refused(Reason.UNREADABLE, detail) from error
        yield buffer


def stored_type(pixels: Pixels) -> np.dtype[np.generic]:
    """The type of the stored values, from the header."""
    return np.dtype(f"{'i' if pixels.signed else 'u'}{pixels.bits_allocated // 8}")


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
    _use_stored_bits(pixels, into)


def _read_native(pixels: Pixels, index: int, into: Stored) -> None:
    with open(pixels.location, "rb", buffering=0) as file:  # noqa: PTH123 - the hot path
        file.seek(pixels.offset + index * pixels.frame_bytes)
        read = file.readinto(into.reshape(-1).view(np.uint8).data)
    if read != pixels.frame_bytes:
        raise Refused(Reason.TRUNCATED, f"{read} of {pixels.frame_bytes} bytes of pixel data")
    if pixels.swapped > into.itemsize:
        into[...] = _from_words(pixels, index).reshape(into.shape)
    elif pixels.swapped > 1:
        flat = into.reshape(-1)
        flat.view(f"u{pixels.swapped}").byteswap(inplace=True)


def _from_words(pixels: Pixels, index: int) -> Stored:
    """A frame of bytes out of swapped words, the first and the last of which it may share with its neighbours."""
    start = index * pixels.frame_bytes
    before = start % pixels.swapped
    count = -(-(before + pixels.frame_bytes) // pixels.swapped)
    with open(pixels.location, "rb", buffering=0) as file:  # noqa: PTH123
        file.seek(pixels.offset + start - before)
        words = np.frombuffer(file.read(count * pixels.swapped).ljust(count * pixels.swapped, b"\0"), np.uint8)
    turned = words.reshape(-1, pixels.swapped)[:, ::-1].reshape(-1)
    return turned[before : before + pixels.frame_bytes].view(stored_type(pixels))


def _use_stored_bits(pixels: Pixels, into: Stored) -> None:
    """Keep the lowest BitsStored bits; the rest may hold overlays. Signed values get their sign from the top one."""
    if pixels.bits_stored == pixels.bits_allocated:
        return
    if pixels.signed:
        above = pixels.bits_allocated - pixels.bits_stored
        np.left_shift(into, above, out=into)
        np.right_shift(into, above, out=into)
        return
    np.bitwise_and(into, into.dtype.type((1 << pixels.bits_stored) - 1), out=into)


@lru_cache(maxsize=1)
def _inflated(location: str, max_bytes: int) -> bytes:
    with Path(location).open("rb") as file:
        file.seek(132)
        read_meta(file)
        return inflate(file.read(), max_bytes)


def checksum(frame: Frame, max_bytes: int) -> int:
    """CRC-32 of a frame's decoded, stored values, by which copies are told from other images."""
    from isal import isal_zlib

    (stored,) = stored_frames([frame], max_bytes)
    return int(isal_zlib.crc32(stored.data))
