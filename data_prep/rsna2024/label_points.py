"""Label points from pixels to patient space, each through the header of its own slice.

In the competition's layout a file is named ``<instance_number>.dcm``. Where a series is named otherwise (``1.DCM``,
``1``, ``IM0001``), the InstanceNumber of its headers finds the slice.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from data_prep.collection.codes import Code
from data_prep.collection.coverage_table import read_grid
from data_prep.collection.points import contradictions
from data_prep.dicom.frames import Frame
from data_prep.dicom.headers.reader import read_header
from data_prep.dicom.sources import Source
from data_prep.faults import Fault
from data_prep.rsna2024.labels import LabelPoint
from monai_spine.geometry import Array, dicom_pixel_to_world, to_voxel

TOLERANCE = 0.01
"""Pixels by which a point may miss its own pixel when it is transformed back through the volume's affine."""
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

    ``error``: the distance in pixels between the label's pixel and the point after it was transformed back through the
    volume's affine; None if no volume holds its slice.
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
    frames = cache(lambda path: read_header(Source(path, str(images / path))).frames)
    numbered = cache(lambda folder: _by_instance(folder, slices, frames))
    placed: dict[str, PlacedPoint] = {}
    faults: list[Fault] = []
    for mark in marks:
        if mark.finding.name in placed:
            faults.append(_fault(mark, Code.SECOND_POINT, f"instance {mark.instance}"))
            continue
        point, point_faults = _place_one(mark, slices, affine, frames, numbered)
        faults += point_faults
        if point is not None:
            placed[mark.finding.name] = point
    points = list(placed.values())
    return points, faults + _contradictions(points)


def _place_one(
    mark: LabelPoint,
    slices: Mapping[SliceKey, Place],
    affine_of: Callable[[str], Array],
    frames_of: Callable[[str], Sequence[Frame]],
    numbered_in: Callable[[str], Mapping[int, str]],
) -> tuple[PlacedPoint | None, list[Fault]]:
    path, frame = _slice_of(mark, slices, numbered_in)
    image = next((one for one in frames_of(path) if one.index == frame), None)
    if image is None or image.geometry is None:
        return None, [_fault(mark, Code.NO_SLICE, path)]
    pixel, columns, rows = np.array([mark.x, mark.y]), image.pixels.columns, image.pixels.rows
    faults = []
    if np.any(pixel < -0.5) or np.any(pixel > np.array([columns, rows]) - 0.5):
        faults.append(_fault(mark, Code.OUTSIDE_IMAGE, f"({mark.x:g}, {mark.y:g}) of {columns} x {rows}"))
    geometry = image.geometry
    world = dicom_pixel_to_world(geometry.orientation, geometry.position, geometry.spacing, pixel)
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


def _by_instance(
    folder: str, slices: Mapping[SliceKey, Place], frames_of: Callable[[str], Sequence[Frame]]
) -> dict[int, str]:
    """Files of a series folder by their InstanceNumber, where only one has it; empty if names are instance numbers.

    A file ``<n>.dcm`` is slice n whatever its header says, so a missing one is not replaced by another's number.
    """
    paths = [path for path, frame in slices if frame is None and path.startswith(folder)]
    if any(re.fullmatch(r"\d+\.dcm", path.removeprefix(folder)) for path in paths):
        return {}
    numbers = {path: frames[0].instance for path in paths if (frames := frames_of(path))}
    counts = Counter(numbers.values())
    return {number: path for path, number in numbers.items() if number is not None and counts[number] == 1}


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
