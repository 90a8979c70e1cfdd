"""Whether slices form one even, unsheared stack: their positions are compared with tolerances in millimetres.

All functions take frames of one orientation. Positions are LPS mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data_prep.dicom.frames import Frame
from data_prep.dicom.refusals import Reason, Refused

Array = npt.NDArray[np.float64]

POSITION_TOLERANCE_MM = 0.04
"""How far a slice may lie from its place in an even stack. Positions are often rounded to two or three decimals; the
tolerance stays below the 0.05 mm that are promised for the corners of the written volume."""

SHEAR_TOLERANCE = 1e-3
"""Shift within the plane per millimetre of slice distance that rounding the cosines to three decimals can cause."""

ROUNDED_DECIMALS = 1
"""Positions that are written with so few decimals are rounded, if there is an even grid that they are rounded from. The
grid that fits them best by least squares is then taken. Whole millimetres are too coarse to show whether a stack is
even."""

STATION_MM = 5.0
"""Stations (two scans on the same slice planes with different fields of view, as of a whole spine) are further apart
than this within the plane."""

MIN_SLICES = 3
"""Fewer slices are no stack: two have one gap, which nothing can confirm."""


def positions(frames: Sequence[Frame]) -> Array:
    """ImagePositionPatient of each frame, shape ``(n, 3)``."""
    return np.array([frame.geometry.position for frame in frames if frame.geometry is not None])


def coordinates(frames: Sequence[Frame]) -> Array:
    """Where each frame lies along the slices' normal and within the plane.

    Returns
    -------
    Shape ``(n, 3)``: mm along the normal, along a row, along a column.
    """
    geometry = frames[0].geometry
    assert geometry is not None
    row = np.asarray(geometry.orientation[:3])
    normal = geometry.normal
    return positions(frames) @ np.column_stack([normal, row, np.cross(normal, row)])


def coincide(frames: Sequence[Frame], others: Sequence[Frame]) -> bool:
    """Whether two volumes have their slices at the same positions."""
    return bool(np.abs(positions(frames) - positions(others)).max() <= POSITION_TOLERANCE_MM)


def clusters(values: Array, gap: float) -> npt.NDArray[np.intp]:
    """Number values from 0 in ascending order; a new number starts where neighbours differ by more than ``gap``."""
    order = np.argsort(values, kind="stable")
    labels = np.empty(len(values), dtype=np.intp)
    labels[order] = np.concatenate([[0], np.cumsum(np.diff(values[order]) > gap)])
    return labels


def stations(frames: list[Frame]) -> list[list[Frame]]:
    """Frames of one orientation, split by their field of view within the plane.

    A sheared stack moves within the plane too, but a little with every slice, so that it stays whole here.
    """
    in_plane = coordinates(frames)[:, 1:]
    labels = np.stack([clusters(in_plane[:, 0], STATION_MM), clusters(in_plane[:, 1], STATION_MM)], axis=1)
    _, station = np.unique(labels, axis=0, return_inverse=True)
    station = station.reshape(-1)
    counts = np.bincount(station)
    if len(counts) == 1 or counts.min() < MIN_SLICES:
        return [frames]
    return [[frame for frame, label in zip(frames, station, strict=True) if label == n] for n in range(len(counts))]


def slab_cuts(frames: Sequence[Frame]) -> list[int]:
    """Indices at which slices sorted by position are cut into slabs; empty when they are one stack.

    A wide gap is a cut only if it cannot be a missing slice. Both sides need the same even step and at least three
    slices. The gap must be wider than 1.5 steps and no whole number of steps, or wider than 2.5 steps while the
    InstanceNumbers on both sides follow each other.
    """
    if len(frames) < 2 * MIN_SLICES:
        return []
    gaps = np.diff(coordinates(frames)[:, 0])
    usual = _usual_gap(gaps)
    cuts = [n + 1 for n, gap in enumerate(gaps) if gap > usual + 2 * POSITION_TOLERANCE_MM]
    bounds = [0, *cuts, len(frames)]
    if min(np.diff(bounds)) < MIN_SLICES or not all(_is_slab_gap(frames, cut, gaps[cut - 1], usual) for cut in cuts):
        return []
    return cuts


def _usual_gap(gaps: Array) -> float:
    """The lower median: of two different gaps the smaller one, as a missing slice doubles a gap."""
    return float(np.sort(gaps)[(len(gaps) - 1) // 2])


def _is_slab_gap(frames: Sequence[Frame], cut: int, gap: float, usual: float) -> bool:
    steps = gap / usual
    if abs(steps - round(steps)) * usual > 2 * POSITION_TOLERANCE_MM:
        return steps > 1.5
    return steps > 2.5 and abs(frames[cut].number - frames[cut - 1].number) == 1


@dataclass(frozen=True)
class EvenGrid:
    """The places of the slices of an even stack: ``origin`` + k × ``step``, LPS mm.

    ``tolerance`` is how far from it a slice may lie, mm; ``detail`` says how far one does, where positions are rounded.
    """

    origin: Array
    step: Array
    tolerance: float = POSITION_TOLERANCE_MM
    detail: str = ""


def even_grid(frames: Sequence[Frame]) -> EvenGrid:
    """The grid of frames sorted by position.

    It leads from the first to the last position as they are. Only where positions of `ROUNDED_DECIMALS` do not lie on
    that grid, it is fitted to all of them by least squares.

    Raises
    ------
    Refused
        As `step`.
    """
    try:
        return EvenGrid(positions(frames)[0], step(frames))
    except Refused as refusal:
        fitted = _fitted_grid(frames) if refusal.reason in {Reason.UNEVEN_SPACING, Reason.SHEARED} else None
        if fitted is None:
            raise
        return fitted


def _fitted_grid(frames: Sequence[Frame]) -> EvenGrid | None:
    """The grid that fits rounded positions best; None if rounding does not explain how far they are off it."""
    decimals = max((frame.geometry.decimals or 0) for frame in frames if frame.geometry is not None)
    if decimals != ROUNDED_DECIMALS or any(frame.geometry.decimals is None for frame in frames if frame.geometry):
        return None
    unit = 10.0**-decimals
    places, k = positions(frames), np.arange(len(frames), dtype=np.float64)
    (origin, grid_step), *_ = np.linalg.lstsq(np.column_stack([np.ones_like(k), k]), places, rcond=None)
    off = np.linalg.norm(places - (origin + k[:, None] * grid_step), axis=1)
    normal = frames[0].geometry.normal if frames[0].geometry else np.zeros(3)
    extent = float(grid_step @ normal) * (len(frames) - 1)
    drift = float(np.linalg.norm(grid_step - (grid_step @ normal) * normal)) * (len(frames) - 1)
    if drift > max(unit, SHEAR_TOLERANCE * extent) or not all(_is_rounded_line(axis, unit) for axis in places.T):
        return None
    detail = f"positions are rounded to {unit:g} mm: the even grid that fits them best is up to {off.max():.3f} mm off"
    return EvenGrid(origin, grid_step, float(off.max()) + 1e-3, detail)


def _is_rounded_line(values: Array, unit: float) -> bool:
    """Whether values are those of an even grid, each rounded to a unit: a line passes all within half a unit."""
    from scipy.optimize import linprog

    k, ones = np.arange(len(values), dtype=np.float64), np.ones(len(values))
    above, below = np.column_stack([-ones, -k, -ones]), np.column_stack([ones, k, -ones])
    line = linprog([0, 0, 1], np.vstack([above, below]), np.concatenate([-values, values]), bounds=[(None, None)] * 3)
    return bool(line.success and line.fun < unit / 2)


def is_one_even_stack(frames: Sequence[Frame]) -> bool:
    """Whether frames of one orientation are proven to be one stack: even, and InstanceNumbers follow the positions."""
    ordered = [frames[n] for n in np.argsort(coordinates(frames)[:, 0], kind="stable")]
    if len(ordered) < MIN_SLICES or any(frame.instance is None or frame.index is not None for frame in ordered):
        return False
    counted = np.diff([frame.number for frame in ordered])
    if counted[0] == 0 or np.any(counted != counted[0]):
        return False
    try:
        even_grid(ordered)
    except Refused:
        return False
    return True


def step(frames: Sequence[Frame]) -> Array:
    """The step from slice to slice of frames sorted by position: LPS mm, shape ``(3,)``.

    Raises
    ------
    Refused
        ``TOO_FEW_SLICES``, ``MISSING_SLICE``, ``UNEVEN_SPACING`` or ``SHEARED``, with the slice numbers and the
        millimetres.
    """
    if len(frames) < MIN_SLICES:
        raise Refused(Reason.TOO_FEW_SLICES, f"{len(frames)} of at least {MIN_SLICES} slices")
    places = coordinates(frames)
    _check_even(frames, np.diff(places[:, 0]))
    _check_unsheared(frames, places)
    ends = positions(frames)[[0, -1]]
    return (ends[1] - ends[0]) / (len(frames) - 1)


def _check_even(frames: Sequence[Frame], gaps: Array) -> None:
    # the mean gap over the whole stack, as in the affine: rounding errors of single positions do not add up
    mean = gaps.sum() / len(gaps)
    off_grid = np.concatenate([[0], np.cumsum(gaps)]) - mean * np.arange(len(frames))
    if np.abs(off_grid).max() <= POSITION_TOLERANCE_MM:
        return
    usual = _usual_gap(gaps)
    worst = int(np.argmax(np.abs(gaps - usual)))
    detail = (
        f"between slices {frames[worst].number} and {frames[worst + 1].number} lie {gaps[worst]:.3f} mm, "
        f"elsewhere {usual:.3f} mm"
    )
    steps = gaps / usual
    # 2 %: a gap of n steps is n times as inexact as the usual gap that divides it
    whole = np.abs(steps - np.round(steps)) * usual <= max(2 * POSITION_TOLERANCE_MM, 0.02 * usual)
    if whole.all() and steps.max() > 1.5:
        raise Refused(Reason.MISSING_SLICE, detail)
    raise Refused(Reason.UNEVEN_SPACING, detail)


def _check_unsheared(frames: Sequence[Frame], places: Array) -> None:
    """Check that the slices lie behind each other along the normal, apart from rounding."""
    in_plane = places[:, 1:] - places[0, 1:]
    fraction = np.linspace(0, 1, len(frames))[:, None]
    off_line = np.linalg.norm(in_plane - fraction * in_plane[-1], axis=1)
    drift = float(np.linalg.norm(in_plane[-1]))
    extent = float(places[-1, 0] - places[0, 0])
    if off_line.max() > POSITION_TOLERANCE_MM or drift > max(POSITION_TOLERANCE_MM, SHEAR_TOLERANCE * extent):
        shifts = np.linalg.norm(in_plane, axis=1)
        worst = int(np.argmax(shifts))
        raise Refused(
            Reason.SHEARED,
            f"slice {frames[worst].number} is shifted by {shifts[worst]:.3f} mm in its plane "
            f"against slice {frames[0].number}",
        )
