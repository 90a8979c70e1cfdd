"""Transfer syntaxes that a plain installation can write: pydicom's RLE, SimpleITK's JPEG lossless and JPEG 2000."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its usual name
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGLosslessSV1, RLELossless

COMPRESSED = (RLELossless, JPEGLosslessSV1, JPEG2000Lossless, DeflatedExplicitVRLittleEndian)
"""All without loss. A deflated file is compressed as a whole, its pixel data are not."""
_SITK_NAMES = {JPEGLosslessSV1: "JPEG", JPEG2000Lossless: "JPEG2000"}


def compress(dataset: Dataset, syntax: UID) -> None:
    """Compress the 16-bit pixel data of a single-frame data set, little endian so far, in place."""
    if syntax == RLELossless:
        dataset.compress(syntax, generate_instance_uid=False)
        return
    dataset.PixelData = encapsulate([_codestream(dataset, syntax)])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.BitsStored, dataset.HighBit = 16, 15  # what the codestream says of itself
    dataset.file_meta.TransferSyntaxUID = syntax


def _codestream(dataset: Dataset, syntax: UID) -> bytes:
    """The image as SimpleITK compresses it."""
    pixels = np.frombuffer(dataset.PixelData, "<u2").reshape(1, dataset.Rows, dataset.Columns)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "one.dcm"
        writer = sitk.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.SetFileName(str(path))
        writer.UseCompressionOn()
        writer.SetCompressor(_SITK_NAMES[syntax])
        writer.Execute(sitk.GetImageFromArray(pixels))
        return next(generate_frames(dcmread(path).PixelData, number_of_frames=1))
