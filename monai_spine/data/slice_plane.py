"""The plane of a volume's slices, and the one guard that it is the plane of its series type.

A type may be given by a datalist, a table or a file's name, which may be wrong. Thick slices show their plane. Where
voxels are nearly cubes, the sidecar, the header or the odd one of the three spacings may show it; else the volume can
be cut in any plane, and passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Image

from monai_spine.data.series_typing import PLANES, planes_named
from monai_spine.data.sidecars import read_sidecar
from monai_spine.data.volume import affine_of, coarsest_axis, open_volume, slice_geometry
from monai_spine.errors import InvalidVolumeError
from monai_spine.geometry import Array, Plane, plane_of, plane_of_normal, spacing
from monai_spine.spine import SeriesType

_SQUARE = 1.01
"""Spacings of square pixels differ by less than this factor; those of MR images are reconstructed square."""
_ODD = 1.05
"""Slices are along the axis whose spacing is this many times that of square pixels."""
_REMEMBERED = 8192
"""Files whose plane is kept: a training opens each volume in every epoch."""


def check_plane(path: str | Path, series_type: SeriesType) -> None:
    """Check that a volume has the slices of its series type.

    Raises
    ------
    InvalidVolumeError
        If its slices are of another plane.
    """
    state = Path(path).stat()
    plane = _plane_of_file(str(path), state.st_size, state.st_mtime_ns)
    if plane not in (None, PLANES[series_type]):
        raise InvalidVolumeError(
            f"{path}: expected {PLANES[series_type].value} slices for {series_type.title}, but they are {plane.value}"
        )


@lru_cache(_REMEMBERED)
def _plane_of_file(path: str, size: int, modified: int) -> Plane | None:  # noqa: ARG001 - a changed file is read anew
    return known_plane(open_volume(path), read_sidecar(Path(path)))


def known_plane(image: Nifti1Image, header: Mapping[str, Any]) -> Plane | None:
    """The plane of a volume's slices, or None where nothing shows it.

    ``header`` is that of the sidecar, without the words of the file's name.
    """
    affine = affine_of(image)
    if coarsest_axis(affine) is not None:
        return plane_of(slice_geometry(image)[0])
    if stated := stated_plane(header):
        return stated
    axis = image.header.get_dim_info()[2]
    axis = _odd_axis(affine) if axis is None else int(axis)
    return None if axis is None else plane_of_normal(affine[:3, axis])


def stated_plane(header: Mapping[str, Any]) -> Plane | None:
    """The plane that a volume's sidecar or words state; None where they state none, or several."""
    if header.get("Plane") in {plane.value for plane in Plane}:
        return Plane(header["Plane"])
    named = planes_named(str(header.get("SeriesDescription", "")))
    return named[0] if len(named) == 1 else None


def _odd_axis(affine: Array) -> int | None:
    """The axis that is coarser than the two others, which have square pixels."""
    step = spacing(affine)
    axis = int(np.argmax(step))
    pixel = np.delete(step, axis)
    return axis if pixel.max() < _SQUARE * pixel.min() and step[axis] >= _ODD * pixel.max() else None
