"""Label points from pixels to patient space, each through the header of its own slice.

In the competition's layout a file is named ``<instance_number>.dcm``. Where a series is named otherwise (``1.DCM``,
``1``, ``IM0001``), the InstanceNumber of its headers finds the slice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pydicom

from data_prep.collection.codes import Code
from data_prep.collection.coverage_table import read_grid
from data_prep.collection.points import contradictions
from data_prep.faults import Fault
from data_prep.rsna2024.labels import LabelPoint
from monai_spine.geometry import Array, dicom_pixel_to_world, to_voxel

TOLERANCE = 0.01
"""Pixels by which a point may miss its own pixel when it is transformed back through the volume's affine."""
_GEOMETRY = (
    ("PlaneOrientationSequence", "ImageOrientationPatient"),
    ("PlanePositionSequence", "ImagePositionPatient"),
    ("PixelMeasuresSequence", "PixelSpacing"),
)
_TAGS = [
    *(keyword for _, keyword in _GEOMETRY),
    *("Rows", "Columns", "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"),
]
SliceKey = tuple[str, int | None]
"""A file by its path, and the 0-based frame in a multi-frame object."""


@dataclass(frozen=True)
class Place:
    """The volume that holds a slice, relative to the output, and the slice's index ``k``; empty if no volume does."""

    nifti: str
    k: int | None


@dataclass(frozen=True)
class PlacedPoint:
    """A label point in RAS mm.

    ``error`` is by how many pixels it misses its pixel when it is transformed back through the volume's affine; None if
    no volume holds its slice.
    """

    mark: LabelPoint
    world: tuple[float, float, float]
    place: Place
    error: float | None

    @property
    def position(self) -> Array:
        """``world`` as an array."""
        return np.array(self.world)


def place(
    marks: Sequence[LabelPoint], images: Path, out: Path, slices: Mapping[SliceKey, Place]
) -> tuple[list[PlacedPoint], list[Fault]]:
    """Transform one study's points to patient space, and find what is wrong with them.

    Parameters
    ----------
    images
        Folder of the studies' DICOM files.
    slices
        Where each slice went under ``out``; paths are relative to ``images``.
    """
    affine = cache(lambda nifti: read_grid(out / nifti).affine)
    header = cache(lambda key: _header(images / key[0], key[1]))
    numbered = cache(lambda folder: _by_instance(images, folder, slices))
    placed: dict[str, PlacedPoint] = {}
    faults: list[Fault] = []
    for mark in marks:
        if mark.finding.name in placed:
            faults.append(_fault(mark, Code.SECOND_POINT, f"instance {mark.instance}"))
            continue
        point, point_faults = _place_one(mark, slices, affine, header, numbered)
        faults += point_faults
        if point is not None:
            placed[mark.finding.name] = point
    points = list(placed.values())
    return points, faults + _contradictions(points)


def _place_one(
    mark: LabelPoint,
    slices: Mapping[SliceKey, Place],
    affine_of: Callable[[str], Array],
    header_of: Callable[[SliceKey], _SliceHeader | None],
    numbered_in: Callable[[str], Mapping[int, str]],
) -> tuple[PlacedPoint | None, list[Fault]]:
    path, frame = _slice_of(mark, slices, numbered_in)
    header = header_of((path, frame))
    if header is None:
        return None, [_fault(mark, Code.NO_SLICE, path)]
    pixel = np.array([mark.x, mark.y])
    faults = []
    if np.any(pixel < -0.5) or np.any(pixel > header.size - 0.5):
        columns, rows = header.size
        faults.append(_fault(mark, Code.OUTSIDE_IMAGE, f"({mark.x:g}, {mark.y:g}) of {columns:g} x {rows:g}"))
    world = dicom_pixel_to_world(header.orientation, header.position, header.spacing, pixel)
    where = slices.get((path, frame), Place("", None))
    if where.k is None:
        faults.append(_fault(mark, Code.NOT_IN_VOLUME, path))
        return PlacedPoint(mark, _triple(world), where, None), faults
    error = float(np.abs(to_voxel(affine_of(where.nifti), world) - [*pixel, where.k]).max())
    if error > TOLERANCE:
        return None, [*faults, _fault(mark, Code.ROUND_TRIP, f"{error:.3f} pixels in {where.nifti}")]
    return PlacedPoint(mark, _triple(world), where, error), faults


def _slice_of(
    mark: LabelPoint, slices: Mapping[SliceKey, Place], numbered_in: Callable[[str], Mapping[int, str]]
) -> SliceKey:
    """The file of a point's instance number; in a series that is one multi-frame object, the frame of that number."""
    folder = f"{mark.study}/{mark.series}/"
    own = f"{folder}{mark.instance}.dcm"
    if (own, None) in slices:
        return own, None
    objects = {path for path, frame in slices if frame is not None and path.startswith(folder)}
    if len(objects) == 1:
        return objects.pop(), int(mark.instance) - 1
    return numbered_in(folder).get(int(mark.instance), own), None


def _by_instance(images: Path, folder: str, slices: Mapping[SliceKey, Place]) -> dict[int, str]:
    """Files of a series folder by their InstanceNumber, where only one has it; empty if names are instance numbers.

    A file ``<n>.dcm`` is slice n whatever its header says, so a missing one is not replaced by another's number.
    """
    paths = [path for path, frame in slices if frame is None and path.startswith(folder)]
    if any(re.fullmatch(r"\d+\.dcm", path.removeprefix(folder)) for path in paths):
        return {}
    found: dict[int, list[str]] = {}
    for path in paths:
        try:
            header = pydicom.dcmread(images / path, stop_before_pixels=True, specific_tags=["InstanceNumber"])
            found.setdefault(int(header["InstanceNumber"].value), []).append(path)
        except (OSError, pydicom.errors.InvalidDicomError, KeyError, TypeError, ValueError):
            continue
    return {number: files[0] for number, files in found.items() if len(files) == 1}


@dataclass(frozen=True)
class _SliceHeader:
    """Geometry of one slice in its own header, LPS mm; ``size`` in columns and rows."""

    orientation: Array
    position: Array
    spacing: Array
    size: Array


def _header(path: Path, frame: int | None) -> _SliceHeader | None:
    """The header of a slice, or None if it is not there or has no position."""
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
        values = [_value(header, frame, sequence, keyword) for sequence, keyword in _GEOMETRY]
        geometry = [np.array(value, dtype=np.float64) for value in values]
    except (OSError, pydicom.errors.InvalidDicomError, IndexError, TypeError, ValueError):
        return None
    if [value.shape for value in geometry] != [(6,), (3,), (2,)]:
        return None
    orientation, position, spacing = geometry
    size = np.array([float(header.get("Columns", np.inf)), float(header.get("Rows", np.inf))])
    return _SliceHeader(orientation, position, spacing, size)


def _value(header: pydicom.Dataset, frame: int | None, sequence: str, keyword: str) -> object:
    """A value of a slice: the header's own, or for a frame that of its functional groups or the shared ones."""
    if frame is None:
        return header.get(keyword)
    own, shared = header.PerFrameFunctionalGroupsSequence[frame], header.get("SharedFunctionalGroupsSequence")
    for groups in (own, *(shared or ())):
        if sequence in groups:
            return groups[sequence].value[0].get(keyword)
    return None


def _triple(world: Array) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in world)
    return x, y, z


def _fault(mark: LabelPoint, code: Code, detail: str) -> Fault:
    return Fault(code, detail, study=mark.study, series=mark.series, targets=(mark.finding.name,))


def _contradictions(points: Sequence[PlacedPoint]) -> list[Fault]:
    """Points that contradict each other."""
    marks = {point.mark.finding: point.mark for point in points}
    positions = {point.mark.finding: point.position for point in points}
    return [_fault(marks[finding], code, detail) for finding, code, detail in contradictions(positions)]
