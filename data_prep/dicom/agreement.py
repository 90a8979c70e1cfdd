"""Two readers that must agree: SimpleITK's geometry and values against what the converter reads of the headers.

The converter reads headers with pydicom, and SimpleITK reads DICOM with GDCM; the two share no code. If they differ,
the stack is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from data_prep.dicom.frames import Frame
from data_prep.dicom.refusals import Reason, Refused
from data_prep.dicom.simpleitk import Image
from data_prep.dicom.stacks.placement import CORNER_TOLERANCE_MM

DIRECTION_TOLERANCE = 2e-3
"""How far SimpleITK's cosines may be from the header's: GDCM makes rounded cosines unit vectors again."""

VALUE_TOLERANCE = 1e-6
"""How far a fractional value may be from stored value × slope + intercept, as a share of the slice's largest value.
Whole numbers must be equal."""

Stored = npt.NDArray[np.generic]


def check_geometry(frames: Sequence[Frame], image: Image) -> None:
    """Compare SimpleITK's origin, spacing and direction with the headers of its slices, which are in their order.

    Raises
    ------
    Refused
        ``VERIFY_FAILED``, with both numbers.
    """
    first, last = frames[0].geometry, frames[-1].geometry
    assert first is not None
    assert last is not None
    between_rows, between_columns = first.spacing
    travelled = np.subtract(last.position, first.position)
    axes = np.column_stack([first.orientation[:3], first.orientation[3:], first.normal])
    _compare("origin", image.origin, np.array(first.position), CORNER_TOLERANCE_MM)
    # the last pixel of the first row and of the first column, as the origin has been compared
    extent = np.array([frames[0].pixels.columns, frames[0].pixels.rows]) - 1.0
    expected = np.array([between_columns, between_rows])
    if not np.all(np.abs(image.spacing[:2] - expected) * extent <= CORNER_TOLERANCE_MM):
        _compare("spacing", image.spacing[:2], expected, 0.0)
    _compare("direction", image.direction.T.ravel(), axes.T.ravel(), DIRECTION_TOLERANCE)
    if len(frames) > 1:  # of a single file SimpleITK takes the thickness for the step
        reached = image.direction[:, 2] * image.spacing[2] * (len(frames) - 1)
        along = np.array([float(travelled @ first.normal)])
        _compare("extent along the slices", np.array([float(reached @ first.normal)]), along, CORNER_TOLERANCE_MM)


def _compare(name: str, read: npt.NDArray[np.float64], expected: npt.NDArray[np.float64], allowed: float) -> None:
    if not np.abs(read - expected).max() <= allowed:  # true for NaN too
        numbers = (" ".join(f"{value:.4f}" for value in values) for values in (read, expected))
        raise Refused(Reason.VERIFY_FAILED, "SimpleITK reads {} {}, the header says {}".format(name, *numbers))


def stored_values(frame: Frame, values: Stored) -> Stored:
    """SimpleITK's rescaled values → the stored values that they come from, in the type that the header gives.

    Raises
    ------
    Refused
        ``VERIFY_FAILED`` if they are not stored values under the header's rescale.
    """
    pixels = frame.pixels
    if (frame.slope, frame.intercept) == (1.0, 0.0) and values.dtype.kind in "iu":
        stored = values.astype(pixels.dtype, copy=False)
        if stored.dtype == values.dtype or np.array_equal(stored, values):
            return stored
        raise Refused(Reason.VERIFY_FAILED, f"SimpleITK's values do not fit {pixels.dtype.name}, the header's type")
    rescaled = values.astype(np.float64)
    counted = np.rint((rescaled - frame.intercept) / frame.slope)
    limits = np.iinfo(pixels.dtype.name)
    error = float(np.abs(counted * frame.slope + frame.intercept - rescaled).max())
    allowed = 0.0 if values.dtype.kind in "iu" else VALUE_TOLERANCE * float(np.abs(rescaled).max())
    if not (error <= allowed and counted.min() >= limits.min and counted.max() <= limits.max):
        raise Refused(
            Reason.VERIFY_FAILED,
            f"SimpleITK's values are off by {error:g} from stored values × {frame.slope:g} + {frame.intercept:g}",
        )
    return counted.astype(pixels.dtype)


def _words(values: Stored) -> npt.NDArray[np.int64]:
    """The same bytes, eight at a time: they are compared in half the time of two at a time."""
    return values.reshape(-1).view(np.int64)


def check_values(stored: Stored, expected: Stored) -> None:
    """Compare the stored values of two readers.

    Raises
    ------
    Refused
        ``VERIFY_FAILED``, with the number of pixels that differ and the largest difference.
    """
    if stored.nbytes % 8 == 0 == expected.nbytes % 8 and np.array_equal(_words(stored), _words(expected)):
        return
    difference = np.abs(stored.astype(np.float64) - expected.astype(np.float64))
    count, largest = np.count_nonzero(difference), difference.max()
    if not count:
        return
    raise Refused(Reason.VERIFY_FAILED, f"{count} pixels differ between SimpleITK and the file, by up to {largest:g}")
