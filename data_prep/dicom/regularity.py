"""Is a list of slices one even, unsheared stack? Positions against a tolerance in millimetres.

All functions take frames of one orientation; positions are LPS mm.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from data_prep.dicom.frames import Frame
from data_prep.dicom.reasons import Reason, Refused

Array = npt.NDArray[np.float64]

POSITION_TOLERANCE_MM = 0.04
"""How far a slice may lie from where an even stack would have it; corners are promised to 0.05 mm."""

SHEAR_TOLERANCE = 1e-3
"""In-plane shift per millimetre of slice distance that three decimals of the direction cosines can explain."""

STATION_MM = 5.0
"""Stacks that share slice planes but not their field of view are further apart in the plane than this."""

MIN_SLICES = 3


def positions(frames: Sequence[Frame]) -> Array:
    """ImagePositionPatient of each frame, shape ``(n, 3)``."""
    return np.array([frame.geometry.position for frame in frames if frame.geometry is not None])


def coordinates(frames: Sequence[Frame]) -> Array:
    """Each frame's distance from the origin along the slices' normal and within the plane.

    Returns
    -------
    Shape ``(n, 3)``: along the normal, along a row, along a column; mm.
    """
    geometry = frames[0].geometry
    assert geometry is not None
    row = np.asarray(geometry.orientation[:3])
    normal = geometry.normal
    return positions(frames) @ np.column_stack([normal, row, np.cross(normal, row)])


def coincide(frames: Sequence[Frame], others: Sequence[Frame]) -> bool:
    """Whether two volumes have their slices at the same places."""
    return bool(np.abs(positions(frames) - positions(others)).max() <= POSITION_TOLERANCE_MM)


def stations(frames: list[Frame]) -> list[list[Frame]]:
    """Frames of one orientation, split by their field of view within the plane (two stations of a whole spine).

    A sheared stack also moves within the plane, but slice by slice: it is left whole.
    """
    where = coordinates(frames)[:, 1:]
    labels = np.stack([_clusters(where[:, 0]), _clusters(where[:, 1])], axis=1)
    _, station = np.unique(labels, axis=0, return_inverse=True)
    station = station.reshape(-1)
    counts = np.bincount(station)
    if len(counts) == 1 or counts.min() < MIN_SLICES:
        return [frames]
    return [[frame for frame, label in zip(frames, station, strict=True) if label == n] for n in range(len(counts))]


def _clusters(values: Array) -> npt.NDArray[np.intp]:
    """Number values by the gaps wider than `STATION_MM` between them."""
    order = np.argsort(values, kind="stable")
    labels = np.empty(len(values), dtype=np.intp)
    labels[order] = np.concatenate([[0], np.cumsum(np.diff(values[order]) > STATION_MM)])
    return labels


def slab_cuts(frames: Sequence[Frame]) -> list[int]:
    """Indices at which slices sorted by position are cut into slabs; empty when they are one stack.

    A gap is a cut only where it can be no missing slice: wider than two steps, both sides with the same even step and
    at least three slices, and either no whole number of steps or with no InstanceNumber left out.
    """
    if len(frames) < 2 * MIN_SLICES:
        return []
    gaps = np.diff(coordinates(frames)[:, 0])
    usual = _usual(gaps)
    cuts = [n + 1 for n, gap in enumerate(gaps) if gap > usual + 2 * POSITION_TOLERANCE_MM]
    bounds = [0, *cuts, len(frames)]
    if min(np.diff(bounds)) < MIN_SLICES or not all(_is_slab_gap(frames, cut, gaps[cut - 1], usual) for cut in cuts):
        return []
    return cuts


def _usual(gaps: Array) -> float:
    """The lower median: of two different gaps, the one that no missing slice has doubled."""
    return float(np.sort(gaps)[(len(gaps) - 1) // 2])


def _is_slab_gap(frames: Sequence[Frame], cut: int, gap: float, usual: float) -> bool:
    ratio = gap / usual
    if abs(ratio - round(ratio)) * usual > 2 * POSITION_TOLERANCE_MM:
        return ratio > 1.5
    return ratio > 2.5 and abs(frames[cut].number - frames[cut - 1].number) == 1


def step(frames: Sequence[Frame]) -> Array:
    """The step from slice to slice of frames sorted by position: LPS mm, shape ``(3,)``.

    Raises
    ------
    Refused
        ``TOO_FEW_SLICES``, ``SINGLE_POSITION``, ``MISSING_SLICE``, ``UNEVEN_SPACING`` or ``SHEARED``, with the slice
        numbers and the millimetres.
    """
    if len(frames) < MIN_SLICES:
        raise Refused(Reason.TOO_FEW_SLICES, f"{len(frames)} of at least {MIN_SLICES} slices")
    where = coordinates(frames)
    _check_even(frames, np.diff(where[:, 0]))
    _check_upright(frames, where)
    place = positions(frames)
    return (place[-1] - place[0]) / (len(frames) - 1)


def _check_even(frames: Sequence[Frame], gaps: Array) -> None:
    usual = _usual(gaps)
    even = gaps.sum() / len(gaps)
    drift = np.concatenate([[0], np.cumsum(gaps)]) - even * np.arange(len(frames))
    if np.abs(drift).max() <= POSITION_TOLERANCE_MM:
        return
    worst = int(np.argmax(np.abs(gaps - usual)))
    detail = (
        f"between slices {frames[worst].number} and {frames[worst + 1].number} lie {gaps[worst]:.3f} mm, "
        f"elsewhere {usual:.3f} mm"
    )
    multiples = gaps / usual
    whole = np.abs(multiples - np.round(multiples)) * usual <= max(2 * POSITION_TOLERANCE_MM, 0.02 * usual)
    if whole.all() and multiples.max() > 1.5:
        raise Refused(Reason.MISSING_SLICE, detail)
    raise Refused(Reason.UNEVEN_SPACING, detail)


def _check_upright(frames: Sequence[Frame], where: Array) -> None:
    """The stack's slices lie behind each other along the normal, but for rounding."""
    inside = where[:, 1:] - where[0, 1:]
    fraction = np.linspace(0, 1, len(frames))[:, None]
    off_line = np.linalg.norm(inside - fraction * inside[-1], axis=1)
    drift = float(np.linalg.norm(inside[-1]))
    extent = float(where[-1, 0] - where[0, 0])
    if off_line.max() > POSITION_TOLERANCE_MM or drift > max(POSITION_TOLERANCE_MM, SHEAR_TOLERANCE * extent):
        worst = int(np.argmax(np.linalg.norm(inside, axis=1)))
        shift = float(np.linalg.norm(inside[worst]))
        raise Refused(
            Reason.SHEARED,
            f"slice {frames[worst].number} is shifted by {shift:.3f} mm in its plane against slice {frames[0].number}",
        )
