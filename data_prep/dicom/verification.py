"""What was written, read back from the disk and compared with the DICOM headers, and with the pixels if wanted.

The reference values of ``--verify full`` are decoded by other code than the converter's.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from data_prep.dicom import nifti
from data_prep.dicom.frames import Frame
from data_prep.dicom.headers.elements import GE_BIG_ENDIAN
from data_prep.dicom.headers.pixel_module import NATIVE
from data_prep.dicom.pixels import stored_frames
from data_prep.dicom.refusals import Reason, Refused
from data_prep.dicom.stacks.placement import CORNER_TOLERANCE_MM, RIGID_TOLERANCE_MM, worst_corner
from data_prep.dicom.stacks.splitting import Stack

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.uid import UID

VALUE_TOLERANCE = 1e-3
"""How far a value may be off, as a share of its slice's range: what rounding to 32-bit floats stays far below."""

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
    for affine, allowed in ((header.get_sform(), CORNER_TOLERANCE_MM), (header.get_qform(), RIGID_TOLERANCE_MM)):
        error, frame = worst_corner(np.asarray(affine), stack.volumes)
        if not error <= allowed:  # true for NaN too
            raise Refused(Reason.VERIFY_FAILED, f"a corner of slice {frame.number} is off by {error:.3f} mm")


def verify_values(path: Path, stack: Stack, max_bytes: int) -> None:
    """Compare every stored value with `reference_values`. The file is read once, slice by slice.

    Raises
    ------
    Refused
        ``VERIFY_FAILED`` if a value is off by more than `VALUE_TOLERANCE`, or the reason why a slice does not decode.
    """
    for number, (frame, stored) in enumerate(zip(stack.frames, nifti.slices(path), strict=True)):
        reference = reference_values(frame, max_bytes)
        allowed = VALUE_TOLERANCE * max(float(np.ptp(reference)), 1e-6)
        error = float(np.abs(stored - reference).max())
        if not error <= allowed:
            t, k = divmod(number, len(stack.volumes[0]))
            raise Refused(Reason.VERIFY_FAILED, f"values of slice {k} of volume {t} are off by {error:g}")


def reference_values(frame: Frame, max_bytes: int) -> Array:
    """Rescaled values of a frame, shape ``(rows, columns)``.

    pydicom decodes uncompressed and RLE pixels, and others if a decoder for them is installed (such as pylibjpeg with
    its plugins). If not, SimpleITK reads single-frame files, with the rescale. Neither shares code with
    `data_prep.dicom.pixels`. What remains (compressed frames of a multi-frame object or of MONOCHROME1, without a
    decoder for pydicom) is decoded a second time by the converter's own decoder. That finds what went wrong after the
    decoding, but no fault of the decoder.

    Raises
    ------
    Refused
        If they cannot be decoded.
    """
    if _pydicom_decodes(frame):
        stored = _by_pydicom(frame)
    elif frame.index is None and frame.contrast.photometric != "MONOCHROME1":  # SimpleITK would invert it
        return _by_simpleitk(frame)
    else:
        (stored,) = stored_frames([frame], max_bytes)
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


def _by_pydicom(frame: Frame) -> npt.NDArray[np.generic]:
    """Stored values of one frame. No more than the file's own bytes are in memory."""
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID, ExplicitVRLittleEndian

    decompressed = frame.pixels.length is not None and frame.pixels.syntax not in NATIVE  # the old UID was left
    syntax = ExplicitVRLittleEndian if decompressed else UID(frame.pixels.syntax)
    try:
        dataset = _dataset(frame.pixels.location, syntax)
        return get_decoder(syntax).as_array(dataset, index=frame.index or 0)[0]
    except Exception as error:  # pydicom raises errors of many types on damaged pixels
        raise Refused(Reason.UNREADABLE, f"pixel data do not decode: {type(error).__name__}") from error


@lru_cache(maxsize=1)
def _dataset(location: str, syntax: UID) -> Dataset:
    """A file, with the transfer syntax that its pixels have; the file itself may name another."""
    from pydicom import dcmread
    from pydicom.dataset import FileMetaDataset

    dataset = dcmread(location, force=True)
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def _by_simpleitk(frame: Frame) -> Array:
    import SimpleITK as sitk  # noqa: N813 - its usual name

    try:
        image = sitk.ReadImage(frame.pixels.location, sitk.sitkFloat64, imageIO="GDCMImageIO")
    except RuntimeError as error:
        raise Refused(Reason.UNREADABLE, "pixel data do not decode") from error
    return np.asarray(sitk.GetArrayFromImage(image), np.float64)[0]
