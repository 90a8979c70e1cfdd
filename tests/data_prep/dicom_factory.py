"""Small synthetic DICOM series with known geometry and values, written with pydicom."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
MR = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"


def normal(orientation: Sequence[float]) -> np.ndarray:
    """Unit normal of an ImageOrientationPatient."""
    return np.cross(orientation[:3], orientation[3:])


def series(
    slices: int = 5,
    *,
    orientation: Sequence[float] = SAGITTAL,
    origin: Sequence[float] = (-8.0, -90.0, 120.0),
    step: Sequence[float] | float = 4.0,
    spacing: Sequence[float] = (0.7, 0.5),
    rows: int = 12,
    columns: int = 10,
    seed: int = 0,
    first_instance: int = 1,
    **attributes: object,
) -> list[Dataset]:
    """A stack of MR images; ``step`` is a distance along the normal or a vector, both LPS mm."""
    rng = np.random.default_rng(seed)
    vector = np.asarray(step) if np.ndim(step) else normal(orientation) * step
    shared = {
        "StudyInstanceUID": f"1.2.3.{seed}.1",
        "SeriesInstanceUID": f"1.2.3.{seed}.2",
        "FrameOfReferenceUID": f"1.2.3.{seed}.3",
    }
    made = []
    for number in range(slices):
        image = blank(rows, columns)
        for keyword, value in (shared | attributes).items():
            setattr(image, keyword, value)
        image.InstanceNumber = first_instance + number
        image.ImageOrientationPatient = [f"{value:.10g}"[:16] for value in orientation]
        image.ImagePositionPatient = [f"{value:.10g}"[:16] for value in np.asarray(origin) + number * vector]
        image.PixelSpacing = list(spacing)
        set_pixels(image, rng.integers(0, 4000, (rows, columns)))
        made.append(image)
    return made


def blank(rows: int, columns: int) -> Dataset:
    """An MR image without a place: a pixel module and identifiers."""
    image = Dataset()
    image.SOPClassUID = MR
    image.SOPInstanceUID = generate_uid()
    image.Modality = "MR"
    image.Manufacturer = "Phantom"
    image.SeriesDescription = "T2 sag"
    image.SeriesNumber = 3
    image.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    image.EchoTime = 100
    image.RepetitionTime = 3000
    image.Rows, image.Columns = rows, columns
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0
    return image


def set_pixels(image: Dataset, values: np.ndarray) -> None:
    """Give an image its stored values."""
    kind = "i" if image.PixelRepresentation else "u"
    image.PixelData = np.ascontiguousarray(values).astype(f"<{kind}{image.BitsAllocated // 8}").tobytes()
    image["PixelData"].VR = "OW"


def write(
    folder: Path, images: Iterable[Dataset], syntax: str = ExplicitVRLittleEndian, names: Sequence[str] | None = None
) -> list[Path]:
    """Write images as files, numbered unless named; the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, image in enumerate(images):
        path = folder / (names[number] if names else f"{number:03d}.dcm")
        write_one(path, image, syntax)
        paths.append(path)
    return paths


def write_one(path: Path, image: Dataset, syntax: str = ExplicitVRLittleEndian) -> None:
    """Write one image in a transfer syntax; big endian values are swapped here."""
    image = copy.deepcopy(image)
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    if not pydicom.uid.UID(syntax).is_little_endian:
        image.PixelData = np.frombuffer(image.PixelData, "<u2").astype(">u2").tobytes()
        image["PixelData"].VR = "OW"
    image.save_as(path, enforce_file_format=True)


def compressed(image: Dataset, syntax: str) -> Dataset:
    """A copy with its pixels encapsulated: RLE by pydicom, other syntaxes by SimpleITK."""
    copied = copy.deepcopy(image)
    if syntax == pydicom.uid.RLELossless:
        copied.file_meta = FileMetaDataset()
        copied.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        copied.compress(syntax, generate_instance_uid=False)
        return copied
    copied.PixelData = pydicom.encaps.encapsulate([_codestream(image, syntax)])
    copied["PixelData"].VR = "OB"
    return copied


def _codestream(image: Dataset, syntax: str) -> bytes:
    import SimpleITK as sitk  # noqa: N813 - its usual name

    names = {pydicom.uid.JPEGLosslessSV1: "JPEG", pydicom.uid.JPEG2000Lossless: "JPEG2000"}
    values = np.frombuffer(image.PixelData, "<u2").reshape(1, image.Rows, image.Columns)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "one.dcm"
        writer = sitk.ImageFileWriter()
        writer.SetFileName(str(path))
        writer.UseCompressionOn()
        writer.SetCompressor(names[syntax])
        writer.Execute(sitk.GetImageFromArray(values))
        made = pydicom.dcmread(path)
    assert made.file_meta.TransferSyntaxUID == syntax
    return next(pydicom.encaps.generate_frames(made.PixelData, number_of_frames=1))


def enhanced(images: Sequence[Dataset], **attributes: object) -> Dataset:
    """The images as frames of one Enhanced MR object, functional groups per frame.

    ``TemporalPositionIdentifier`` of the images becomes the frames' TemporalPositionIndex.
    """
    whole = copy.deepcopy(images[0])
    whole.SOPClassUID, whole.SOPInstanceUID = ENHANCED_MR, generate_uid()
    whole.NumberOfFrames = len(images)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "EchoTime", "RepetitionTime"):
        del whole[keyword]
    for keyword in ("RescaleSlope", "RescaleIntercept", "TemporalPositionIdentifier"):
        whole.pop(keyword, None)
    whole.SharedFunctionalGroupsSequence = Items([Dataset()])
    whole.PerFrameFunctionalGroupsSequence = Items([_frame_groups(image, n) for n, image in enumerate(images)])
    whole.PixelData = b"".join(image.PixelData for image in images)
    whole["PixelData"].VR = "OW"
    for keyword, value in attributes.items():
        setattr(whole, keyword, value)
    return whole


def _frame_groups(image: Dataset, number: int) -> Dataset:
    temporal = int(image.get("TemporalPositionIdentifier", 1))
    return _dataset(
        PlanePositionSequence=_item(ImagePositionPatient=image.ImagePositionPatient),
        PlaneOrientationSequence=_item(ImageOrientationPatient=image.ImageOrientationPatient),
        PixelMeasuresSequence=_item(PixelSpacing=image.PixelSpacing, SliceThickness=4),
        PixelValueTransformationSequence=_item(
            RescaleSlope=image.get("RescaleSlope", 1), RescaleIntercept=image.get("RescaleIntercept", 0)
        ),
        MREchoSequence=_item(EffectiveEchoTime=float(image.EchoTime)),
        MRImageFrameTypeSequence=_item(FrameType=image.ImageType),
        FrameContentSequence=_item(TemporalPositionIndex=temporal, DimensionIndexValues=[1, number + 1, temporal]),
    )


def _dataset(**values: object) -> Dataset:
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def _item(**values: object) -> Items:
    return Items([_dataset(**values)])
