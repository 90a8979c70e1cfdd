"""The values that a slice must have, by another way than the converter's: the reference of ``--verify full``."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from data_prep.frames import Frame
from data_prep.headers import NATIVE
from data_prep.pixels import read_stored
from data_prep.reasons import Reason, Refused

RLE = "1.2.840.10008.1.2.5"


def reference_values(frame: Frame, max_bytes: int) -> npt.NDArray[np.float64]:
    """Rescaled values of a frame, shape ``(rows, columns)``.

    Uncompressed and RLE pixels are decoded by pydicom, which shares no code with `data_prep.pixels`; the other
    syntaxes by SimpleITK.

    Raises
    ------
    Refused
        If they cannot be decoded.
    """
    native = frame.pixels.syntax in {*NATIVE, RLE}
    stored = _by_pydicom(frame) if native else read_stored([[frame]], max_bytes)[0, 0]
    return np.asarray(stored, np.float64) * frame.slope + frame.intercept


def _by_pydicom(frame: Frame) -> npt.NDArray[np.generic]:
    try:
        stored = _pixel_array(frame.pixels.location, frame.pixels.syntax)
    except Exception as error:  # pydicom raises errors of many kinds on damaged pixels
        raise Refused(Reason.UNREADABLE, f"pixel data do not decode: {type(error).__name__}") from error
    return stored[frame.index or 0] if stored.ndim == 3 else stored


@lru_cache(maxsize=1)
def _pixel_array(location: str, syntax: str) -> npt.NDArray[np.generic]:
    import pydicom

    dataset = pydicom.dcmread(location, force=True)
    if "TransferSyntaxUID" not in getattr(dataset, "file_meta", ()):
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    return dataset.pixel_array
