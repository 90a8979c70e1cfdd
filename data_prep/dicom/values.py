"""Stored values → the values of a NIfTI file: rescaled in floating point before an output type is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data_prep.dicom.frames import Frame


@dataclass(frozen=True, slots=True)
class Voxels:
    """Stored values, shape ``(volumes, slices, rows, columns)``; value = stored × slope + inter."""

    stored: npt.NDArray[np.generic]
    slope: float = 1.0
    inter: float = 0.0


def to_voxels(stored: npt.NDArray[np.generic], volumes: Sequence[Sequence[Frame]]) -> Voxels:
    """Give a stack its output type.

    One rescale for all slices goes into the NIfTI header beside the stored integers, without loss. Slices that rescale
    differently are computed in double precision and stored as 32-bit floats.
    """
    scales = {(frame.slope, frame.intercept) for volume in volumes for frame in volume}
    if len(scales) > 1:
        return Voxels(_rescaled(stored, volumes))
    slope, inter = scales.pop()
    return Voxels(_signed(stored, volumes), slope, inter)


def _rescaled(stored: npt.NDArray[np.generic], volumes: Sequence[Sequence[Frame]]) -> npt.NDArray[np.float32]:
    values = np.empty(stored.shape, np.float32)
    for t, volume in enumerate(volumes):
        for k, frame in enumerate(volume):
            values[t, k] = stored[t, k].astype(np.float64) * frame.slope + frame.intercept
    return values


def _signed(stored: npt.NDArray[np.generic], volumes: Sequence[Sequence[Frame]]) -> npt.NDArray[np.generic]:
    """The same bytes as signed integers where the sign bit is not in use: the type that every reader knows."""
    size = stored.dtype.itemsize
    used = max(frame.pixels.bits_stored for volume in volumes for frame in volume)
    if stored.dtype.kind == "i" or size == 1 or used == 8 * size:
        return stored
    return stored.view(f"i{size}")
