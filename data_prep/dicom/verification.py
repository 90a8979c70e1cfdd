"""What was written, read back from the disk and compared with the DICOM headers, and with the pixels if wanted.

The reference values of ``--verify full`` are decoded by other code than the converter's.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_prep.dicom import nifti
from data_prep.dicom.frames import Frame
from data_prep.dicom.headers.elements import GE_BIG_ENDIAN
from data_prep.dicom.pixels import by_pydicom, own_frames
from data_prep.dicom.refusals import Reason, Refused
from data_prep.dicom.stacks.placement import RIGID_TOLERANCE_MM, qform, worst_corner
from data_prep.dicom.stacks.stack import Stack

VALUE_TOLERANCE = 1e-3
"""How far a value may be off, as a share of its slice's range: what rounding to 32-bit floats stays far below."""

ROUNDING_MM = 0.01
"""What 32-bit offsets and voxel sizes may add to an error that was predicted."""

Array = npt.NDArray[np.float64]


def verify(path: Path, expected_crc: int, stack: Stack) -> None:
    """Read a file back from the disk and compare it with the DICOM headers of its slices.

    Checked are the checksum of all stored bytes, the header's shape, and the four corners of every slice of every
    volume: by both affines on the disk, and by each slice's own header.

    Raises
    ------
    Refused
        ``VERIFY_FAILED``, with the slice and the millimetres.
    """
    crc, beginning = nifti.file_checksum(path)
    if crc != expected_crc:
        raise Refused(Reason.VERIFY_FAILED, "the bytes on the disk are not those that were written")
    shape, _, header = nifti.read_header(beginning)
    if shape != stack.shape:
        raise Refused(Reason.VERIFY_FAILED, f"shape {shape} on the disk, expected {stack.shape}")
    assert stack.affine is not None
    # What 32-bit numbers can hold near a turn by 180 degrees, and no more: the sform is the one that must be right.
    by_qform = max(RIGID_TOLERANCE_MM, worst_corner(qform(stack.affine, shape), stack.volumes)[0] + ROUNDING_MM)
    for affine, allowed in ((header.get_sform(), stack.corner_mm), (header.get_qform(), by_qform)):
        error, frame = worst_corner(np.asarray(affine), stack.volumes)
        if not error <= allowed:  # true for NaN too
            raise Refused(Reason.VERIFY_FAILED, f"a corner of slice {frame.number} is off by {error:.3f} mm")


def verify_values(path: Path, stack: Stack) -> None:
    """Compare every stored value with `reference_values`. The file is read once, slice by slice.

    Raises
    ------
    Refused
        ``VERIFY_FAILED`` if a value is off by more than `VALUE_TOLERANCE`, or the reason why a slice does not decode.
    """
    for number, (frame, stored) in enumerate(zip(stack.frames, nifti.slices(path), strict=True)):
        reference = reference_values(frame)
        allowed = VALUE_TOLERANCE * max(float(np.ptp(reference)), 1e-6)
        error = float(np.abs(stored - reference).max())
        if not error <= allowed:
            t, k = divmod(number, len(stack.volumes[0]))
            raise Refused(Reason.VERIFY_FAILED, f"values of slice {k} of volume {t} are off by {error:g}")


def reference_values(frame: Frame) -> Array:
    """Rescaled values of a frame, shape ``(rows, columns)``.

    pydicom decodes uncompressed and RLE pixels, and others if a decoder for them is installed (such as pylibjpeg with
    its plugins). What remains is decoded by SimpleITK a second time. That finds what went wrong after the decoding, but
    no fault of the decoder.

    Raises
    ------
    Refused
        If they cannot be decoded.
    """
    if _pydicom_decodes(frame):
        stored = by_pydicom(frame)
    else:
        (stored,) = own_frames([frame])
    return np.asarray(stored, np.float64) * frame.slope + frame.intercept


def _pydicom_decodes(frame: Frame) -> bool:
    syntax = frame.pixels.syntax
    if syntax == GE_BIG_ENDIAN:
        return False
    return frame.pixels.length is not None or _has_decoder(syntax)


@lru_cache(maxsize=32)
def _has_decoder(syntax: str) -> bool:
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    try:
        return get_decoder(UID(syntax)).is_available
    except NotImplementedError:
        return False
