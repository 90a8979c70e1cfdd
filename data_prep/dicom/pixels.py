"""Stored pixel values of frames, before rescaling: uncompressed ones straight from the file, others decoded first.

Bits that are not in use are masked away.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_prep.dicom import decoding
from data_prep.dicom.elements import DEFLATED, inflate, read_meta
from data_prep.dicom.frames import Frame, Pixels
from data_prep.dicom.reasons import Reason, Refused

Stored = npt.NDArray[np.generic]


def read_stored(volumes: Sequence[Sequence[Frame]], max_bytes: int) -> Stored:
    """Stored values of a stack's frames, shape ``(volumes, slices, rows, columns)``, native byte order.

    Frames that are stored as different types share the smallest one that holds them all.

    Raises
    ------
    Refused
        ``TRUNCATED`` or ``UNREADABLE``, naming the slice.
    """
    first = volumes[0][0].pixels
    shape = (len(volumes), len(volumes[0]), first.rows, first.columns)
    types = {_dtype(frame.pixels) for volume in volumes for frame in volume}
    stored = np.empty(shape, np.result_type(*types))
    for t, volume in enumerate(volumes):
        for k, frame in enumerate(volume):
            try:
                if len(types) == 1:
                    _read_frame(frame, stored[t, k], max_bytes)
                else:
                    stored[t, k] = _own_frame(frame, max_bytes)
            except Refused as refusal:
                raise Refused(refusal.reason, f"slice {frame.number}: {refusal.detail}") from refusal
    return stored


def _dtype(pixels: Pixels) -> np.dtype[np.generic]:
    return np.dtype(f"{'i' if pixels.signed else 'u'}{pixels.bits_allocated // 8}")


def _own_frame(frame: Frame, max_bytes: int) -> Stored:
    """A frame's stored values as the type of its own header."""
    own = np.empty((frame.pixels.rows, frame.pixels.columns), _dtype(frame.pixels))
    _read_frame(frame, own, max_bytes)
    return own


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
    return turned[before : before + pixels.frame_bytes].view(_dtype(pixels))


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

    stored = read_stored([[frame]], max_bytes)
    return int(isal_zlib.crc32(np.ascontiguousarray(stored).data))
