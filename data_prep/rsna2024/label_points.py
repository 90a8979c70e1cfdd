"""Label points from pixels to patient space, each through the header of its own slice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom

from data_prep.collection.faults import Fault, FaultKind
from data_prep.collection.point_estimates import off_level
from data_prep.rsna2024.labels import LabelPoint
from monai_spine.geometry import Array, dicom_pixel_to_world, to_voxel
from monai_spine.spine import Condition, Level, Side

TOLERANCE = 0.01
"""Pixels by which a point may miss its own pixel when it comes back through the volume's affine."""
_TAGS = ["ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing", "Rows", "Columns"]


@dataclass(frozen=True)
class Place:
    """Where a slice went: ``nifti`` relative to the output, and its index along the third axis; empty if nowhere."""

    nifti: str
    k: int | None


@dataclass(frozen=True)
class PlacedPoint:
    """A label point in RAS mm. ``error`` is its round trip's miss in pixels, None where no volume holds its slice."""

    mark: LabelPoint
    world: tuple[float, float, float]
    place: Place
    error: float | None

    @property
    def position(self) -> Array:
        """``world`` as an array."""
        return np.array(self.world)


def place(
    marks: Sequence[LabelPoint], images: Path, out: Path, slices: dict[str, Place]
) -> tuple[list[PlacedPoint], list[Fault]]:
    """Carry one study's points to patient space, and say what is wrong with them.

    Parameters
    ----------
    images
        Folder of the studies' DICOM files.
    slices
        Where each file, by its path relative to ``images``, went under ``out``.
    """
    affine = cache(lambda nifti: _affine(out / nifti))
    placed: dict[str, PlacedPoint] = {}
    faults: list[Fault] = []
    for mark in marks:
        if mark.finding.name in placed:
            faults.append(_fault(mark, FaultKind.SECOND_POINT, f"instance {mark.instance}"))
            continue
        point, found = _place_one(mark, images, slices, affine)
        faults += found
        if point is not None:
            placed[mark.finding.name] = point
    points = list(placed.values())
    return points, faults + _swapped(points) + _out_of_order(points) + _off_level(points)


def _affine(path: Path) -> Array:
    image = nib.load(path)
    assert isinstance(image, nib.Nifti1Image)
    return np.asarray(image.affine, dtype=np.float64)


def _place_one(
    mark: LabelPoint, images: Path, slices: dict[str, Place], affine: Callable[[str], Array]
) -> tuple[PlacedPoint | None, list[Fault]]:
    path = f"{mark.study}/{mark.series}/{mark.instance}.dcm"
    header = _header(images / path)
    if header is None:
        return None, [_fault(mark, FaultKind.NO_SLICE, path)]
    pixel = np.array([mark.x, mark.y])
    faults = []
    size = np.array([float(header.get("Columns", np.inf)), float(header.get("Rows", np.inf))])
    if np.any(pixel < -0.5) or np.any(pixel > size - 0.5):
        faults.append(_fault(mark, FaultKind.OUTSIDE_IMAGE, f"({mark.x:g}, {mark.y:g}) of {size[0]:g} x {size[1]:g}"))
    world = dicom_pixel_to_world(
        header.ImageOrientationPatient, header.ImagePositionPatient, header.PixelSpacing, pixel
    )
    where = slices.get(path, Place("", None))
    if where.k is None:
        faults.append(_fault(mark, FaultKind.NOT_IN_VOLUME, path))
        return PlacedPoint(mark, _triple(world), where, None), faults
    error = float(np.abs(to_voxel(affine(where.nifti), world) - [*pixel, where.k]).max())
    if error > TOLERANCE:
        return None, [*faults, _fault(mark, FaultKind.ROUND_TRIP, f"{error:.3f} pixels in {where.nifti}")]
    return PlacedPoint(mark, _triple(world), where, error), faults


def _header(path: Path) -> pydicom.Dataset | None:
    """The header of a slice, or None if it is not there or has no position."""
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
    except (OSError, pydicom.errors.InvalidDicomError):
        return None
    lengths = {"ImageOrientationPatient": 6, "ImagePositionPatient": 3, "PixelSpacing": 2}
    return header if all(len(header.get(tag) or ()) == length for tag, length in lengths.items()) else None


def _triple(world: Array) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in world)
    return x, y, z


def _fault(mark: LabelPoint, kind: FaultKind, detail: str) -> Fault:
    return Fault(mark.study, mark.series, mark.finding.name, kind, detail)


def _swapped(points: Sequence[PlacedPoint]) -> list[Fault]:
    """Left points that lie to the patient's right of their counterpart (RAS x grows to the right)."""
    across = {point.mark.finding: point for point in points}
    faults = []
    for finding, left in across.items():
        right = across.get(finding.mirrored)
        if finding.condition.side is Side.LEFT and right is not None and left.world[0] >= right.world[0]:
            detail = f"left x {left.world[0]:.1f} mm, right x {right.world[0]:.1f} mm"
            faults.append(_fault(left.mark, FaultKind.SIDES_SWAPPED, detail))
    return faults


def _out_of_order(points: Sequence[PlacedPoint]) -> list[Fault]:
    """Points of one condition that do not lie below those of the level above."""
    columns: dict[Condition, list[PlacedPoint]] = defaultdict(list)
    for point in sorted(points, key=lambda point: list(Level).index(point.mark.finding.level)):
        columns[point.mark.finding.condition].append(point)
    return [
        _fault(lower.mark, FaultKind.LEVELS_OUT_OF_ORDER, f"not below {upper.mark.finding.level.title}")
        for column in columns.values()
        for upper, lower in pairwise(column)
        if lower.world[2] >= upper.world[2]
    ]


def _off_level(points: Sequence[PlacedPoint]) -> list[Fault]:
    """Points that lie nearer to another level than to the other points of their own."""
    marks = {point.mark.finding: point.mark for point in points}
    beyond = off_level({point.mark.finding: point.position for point in points})
    return [
        _fault(
            marks[finding], FaultKind.OFF_LEVEL, f"{abs(mm):.0f} mm {'above' if mm > 0 else 'below'} the level's others"
        )
        for finding, mm in beyond.items()
    ]
