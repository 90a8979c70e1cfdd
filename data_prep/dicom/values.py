"""Stored values → the values of a NIfTI file: rescaled in floating point before an output type is chosen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data_prep.dicom.frames import Frame
from data_prep.dicom.pixels import stored_frames, stored_type

Stored = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a volume's values are stored: value = stored × slope + inter."""

    dtype: np.dtype[np.generic]
    slope: float = 1.0
    inter: float = 0.0


def encoding(frames: Iterable[Frame]) -> Encoding:
    """The output type of a stack, from the headers of all its frames.

    One rescale for all slices goes into the NIfTI header beside the stored integers, without loss; slices of different
    integer types share the smallest one that holds them all. Slices that rescale differently are computed in double
    precision and stored as 32-bit floats.
    """
    scales, types, bits = set(), set(), 0
    for frame in frames:
        scales.add((frame.slope, frame.intercept))
        types.add(stored_type(frame.pixels))
        bits = max(bits, frame.pixels.bits_stored)
    if len(scales) > 1:
        return Encoding(np.dtype(np.float32))
    return Encoding(_signed(np.result_type(*types), bits), *scales.pop())


def _signed(dtype: np.dtype[np.generic], bits: int) -> np.dtype[np.generic]:
    """The signed type where the sign bit is not in use: every reader knows it, and the bytes are the same."""
    if dtype.kind == "i" or dtype.itemsize == 1 or bits == 8 * dtype.itemsize:
        return dtype
    return np.dtype(f"i{dtype.itemsize}")


def encoded(frames: Iterable[Frame], chosen: Encoding, max_bytes: int) -> Iterator[Stored]:
    """Values of one frame after the other as they are stored, ``(rows, columns)``; each valid until the next.

    Raises
    ------
    Refused
        As `data_prep.dicom.pixels.stored_frames`.
    """
    frames = tuple(frames)
    for frame, stored in zip(frames, stored_frames(frames, max_bytes), strict=True):
        if chosen.dtype.kind == "f":
            yield (stored.astype(np.float64) * frame.slope + frame.intercept).astype(np.float32)
        elif stored.dtype.itemsize == chosen.dtype.itemsize:
            yield stored.view(chosen.dtype)
        else:
            yield stored.astype(chosen.dtype)
