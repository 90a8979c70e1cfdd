"""The values that a slice must have, by another way than the converter's: the reference of ``--verify full``."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.pixels import get_decoder
from pydicom.uid import UID, ExplicitVRLittleEndian

from data_prep.dicom.elements import GE_BIG_ENDIAN
from data_prep.dicom.frames import Frame
from data_prep.dicom.headers import NATIVE
from data_prep.dicom.pixels import stored_frames
from data_prep.dicom.reasons import Reason, Refused


def reference_values(frame: Frame, max_bytes: int) -> npt.NDArray[np.float64]:
    """Rescaled values of a frame, shape ``(rows, columns)``.

    Uncompressed and RLE pixels are decoded by pydicom, others too where a decoder for it is installed (pylibjpeg with
    its plugins, for one); without one, single-frame files by SimpleITK from the original file, rescaling included.
    None of them shares code with `data_prep.dicom.pixels`. What is left (compressed frames of a multi-frame object, or
    MONOCHROME1, without a decoder for pydicom) is decoded a second time by the converter's own: that holds what was
    written against what was decoded, but cannot find a fault of the decoder.

    Raises
    ------
    Refused
        If they cannot be decoded.
    """
    if _in_reach_of_pydicom(frame):
        stored = _by_pydicom(frame)
    elif frame.index is None and frame.kind.photometric != "MONOCHROME1":
        return _by_simpleitk(frame)
    else:
        (stored,) = stored_frames([frame], max_bytes)
    return np.asarray(stored, np.float64) * frame.slope + frame.intercept


def _in_reach_of_pydicom(frame: Frame) -> bool:
    syntax = frame.pixels.syntax
    if syntax == GE_BIG_ENDIAN:
        return False
    return frame.pixels.length is not None or _has_decoder(syntax)


@lru_cache(maxsize=32)
def _has_decoder(syntax: str) -> bool:
    try:
        return get_decoder(UID(syntax)).is_available
    except NotImplementedError:
        return False


def _by_pydicom(frame: Frame) -> npt.NDArray[np.generic]:
    """Frame by frame: no more than the file's own bytes are in memory."""
    plain = frame.pixels.length is not None and frame.pixels.syntax not in NATIVE
    syntax = ExplicitVRLittleEndian if plain else UID(frame.pixels.syntax)
    try:
        dataset = _dataset(frame.pixels.location, syntax)
        return get_decoder(syntax).as_array(dataset, index=frame.index or 0)[0]
    except Exception as error:  # pydicom raises errors of many kinds on damaged pixels
        raise Refused(Reason.UNREADABLE, f"pixel data do not decode: {type(error).__name__}") from error


@lru_cache(maxsize=1)
def _dataset(location: str, syntax: UID) -> pydicom.Dataset:
    """A file with the transfer syntax that describes its pixels, which may not be the one that it names."""
    dataset = pydicom.dcmread(location, force=True)
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def _by_simpleitk(frame: Frame) -> npt.NDArray[np.float64]:
    import SimpleITK as sitk  # noqa: N813 - its usual name

    try:
        image = sitk.ReadImage(frame.pixels.location, sitk.sitkFloat64, imageIO="GDCMImageIO")
    except RuntimeError as error:
        raise Refused(Reason.UNREADABLE, "pixel data do not decode") from error
    return np.asarray(sitk.GetArrayFromImage(image), np.float64)[0]
