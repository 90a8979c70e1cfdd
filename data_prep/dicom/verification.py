"""The values that a slice must have, by another way than the converter's: the reference of ``--verify full``."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from data_prep.dicom.frames import Frame
from data_prep.dicom.headers import NATIVE
from data_prep.dicom.pixels import read_stored
from data_prep.dicom.reasons import Reason, Refused

RLE = "1.2.840.10008.1.2.5"


def reference_values(frame: Frame, max_bytes: int) -> npt.NDArray[np.float64]:
    """Rescaled values of a frame, shape ``(rows, columns)``.

    Uncompressed and RLE pixels are decoded by pydicom, single-frame files of other syntaxes by SimpleITK from the
    original file, rescaling included: neither shares code with `data_prep.dicom.pixels`.

    Raises
    ------
    Refused
        If they cannot be decoded.
    """
    if frame.pixels.syntax in {*NATIVE, RLE}:
        stored = _by_pydicom(frame)
    elif frame.index is None and frame.kind.photometric != "MONOCHROME1":
        return _by_simpleitk(frame)
    else:
        stored = read_stored([[frame]], max_bytes)[0, 0]
    return np.asarray(stored, np.float64) * frame.slope + frame.intercept


def _by_pydicom(frame: Frame) -> npt.NDArray[np.generic]:
    try:
        stored = _pixel_array(frame.pixels.location, frame.pixels.syntax)
    except Exception as error:  # pydicom raises errors of many kinds on damaged pixels
        raise Refused(Reason.UNREADABLE, f"pixel data do not decode: {type(error).__name__}") from error
    return stored[frame.index or 0] if stored.ndim == 3 else stored


def _by_simpleitk(frame: Frame) -> npt.NDArray[np.float64]:
    import SimpleITK as sitk  # noqa: N813 - its usual name

    try:
        image = sitk.ReadImage(frame.pixels.location, sitk.sitkFloat64, imageIO="GDCMImageIO")
    except RuntimeError as error:
        raise Refused(Reason.UNREADABLE, "pixel data do not decode") from error
    return np.asarray(sitk.GetArrayFromImage(image), np.float64)[0]


@lru_cache(maxsize=1)
def _pixel_array(location: str, syntax: str) -> npt.NDArray[np.generic]:
    import pydicom

    dataset = pydicom.dcmread(location, force=True)
    if "TransferSyntaxUID" not in getattr(dataset, "file_meta", ()):
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    return dataset.pixel_array
