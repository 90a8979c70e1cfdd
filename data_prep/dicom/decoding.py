"""Compressed frames of files that SimpleITK would read wrongly as a whole → stored values.

SimpleITK decodes them too, each from a DICOM file that holds its pixels and nothing else: with the original file, it
would apply the first frame's rescale to all, invert MONOCHROME1, or believe a width that the codestream contradicts.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.uid import UID

from data_prep import scratch
from data_prep.dicom import simpleitk
from data_prep.dicom.frames import Pixels
from data_prep.dicom.headers.pixel_module import precision
from data_prep.dicom.refusals import Reason, Refused

Stored = npt.NDArray[np.generic]


def decode(pixels: Pixels, index: int) -> Stored:
    """Stored values of one compressed frame, flat, ``rows × columns`` of them.

    Raises
    ------
    Refused
        ``TRUNCATED``, ``UNREADABLE`` or ``UNSUPPORTED``.
    """
    streams = _codestreams(pixels)
    if index >= len(streams):
        raise Refused(Reason.TRUNCATED, f"{len(streams)} compressed frames of {pixels.frames}")
    bits = _bits(pixels, streams[index])
    with scratch.folder() as folder:
        path = folder / "frame.dcm"
        _write_pixels_alone(path, replace(pixels, bits_stored=bits), streams[index])
        try:
            image = simpleitk.read_file(str(path), pixels.rows * pixels.columns * simpleitk.VALUE_BYTES)
        except simpleitk.CrashedError as error:
            raise Refused(Reason.UNREADABLE, "pixel data crash the decoder") from error
    if image is None:
        raise Refused(Reason.UNREADABLE, f"pixel data of the transfer syntax {UID(pixels.syntax).name} do not decode")
    decoded = image.values.reshape(-1)
    if decoded.size != pixels.rows * pixels.columns:
        raise Refused(Reason.UNREADABLE, "pixel data decode to another matrix than the header's")
    if bits > pixels.bits_stored and not _fit(decoded, pixels):
        raise Refused(Reason.UNSUPPORTED, f"values of {bits} bits, while the header says {pixels.bits_stored}")
    return decoded.astype(pixels.dtype, copy=False)


@lru_cache(maxsize=1)
def _codestreams(pixels: Pixels) -> list[bytes]:
    """The compressed bytes of each frame, its fragments joined."""
    from pydicom.encaps import generate_frames

    try:
        with Path(pixels.location).open("rb") as file:
            file.seek(pixels.offset)
            return list(generate_frames(file, number_of_frames=pixels.frames))
    except Exception as error:  # pydicom raises errors of many types on damaged fragments
        raise Refused(Reason.UNREADABLE, f"compressed fragments: {type(error).__name__}") from error


def _bits(pixels: Pixels, codestream: bytes) -> int:
    """How many bits a codestream's values have: as the codestream declares, or else as the header says.

    JPEG 2000 files whose width contradicts the header are sent by hospitals.

    Raises
    ------
    Refused
        ``UNSUPPORTED`` if codestream and header contradict each other in the sign and in the width. If the width is
        equal, the same bits are read with the header's sign.
    """
    declared = precision(codestream)
    if declared is None or not 1 <= declared.bits <= pixels.bits_allocated:
        return pixels.bits_stored
    bits, signed = declared
    if signed not in {None, pixels.signed} and bits != pixels.bits_stored:
        in_codestream, in_header = ("signed", "unsigned") if signed else ("unsigned", "signed")
        detail = f"the codestream has {bits} bits, {in_codestream}; the header {pixels.bits_stored}, {in_header}"
        raise Refused(Reason.UNSUPPORTED, detail)
    return bits


def _fit(decoded: Stored, pixels: Pixels) -> bool:
    """Whether decoded values are no larger than BitsStored allows."""
    low = -(1 << (pixels.bits_stored - 1)) if pixels.signed else 0
    return bool(decoded.min() >= low and decoded.max() < low + (1 << pixels.bits_stored))


def _write_pixels_alone(path: Path, pixels: Pixels, codestream: bytes) -> None:
    """Write a DICOM file with a pixel module and nothing else."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import MRImageStorage, generate_uid

    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = MRImageStorage, generate_uid()
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.rows, pixels.columns
    dataset.BitsAllocated = pixels.bits_allocated
    dataset.BitsStored, dataset.HighBit = pixels.bits_stored, pixels.bits_stored - 1
    dataset.PixelRepresentation = int(pixels.signed)
    dataset.PixelData = encapsulate([codestream])
    dataset["PixelData"].VR = "OB"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(pixels.syntax)
    dataset.save_as(path, enforce_file_format=True)
