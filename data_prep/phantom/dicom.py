"""Writing a series as DICOM: classic MR Image Storage, one file per slice."""

from __future__ import annotations

import hashlib
import tempfile
import uuid
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813 - its usual name
from pydicom import dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    MRImageStorage,
    RLELossless,
)

from data_prep.phantom.plan import Scan, Stack
from monai_spine.geometry import LPS_TO_RAS, Array, spacing, to_world
from monai_spine.spine import SeriesType


def uid(*parts: object) -> UID:
    """A DICOM UID under the UUID root 2.25, the same for the same parts."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return UID(f"2.25.{uuid.UUID(bytes=digest[:16], version=4).int}")


Pixels = npt.NDArray[np.uint16]
IMPLEMENTATION = uid("monai_spine phantom")
DATE = "20240101"
PREAMBLE = b"\0" * 128 + b"DICM"
SOP_INSTANCE = 0x00080018
SLICE_VRS = {
    SOP_INSTANCE: "UI",
    0x00200013: "IS",  # InstanceNumber
    0x00200032: "DS",  # ImagePositionPatient
    0x00201041: "DS",  # SliceLocation
    0x00280010: "US",  # Rows
    0x00280011: "US",  # Columns
    0x7FE00010: "OW",  # PixelData
}
"""Elements that differ from slice to slice, in the order of their tags."""
COMPRESSED = (RLELossless, JPEGLosslessSV1, JPEG2000Lossless, DeflatedExplicitVRLittleEndian)
"""Lossless transfer syntaxes that pydicom and SimpleITK write without further packages. A deflated file is compressed
as a whole, not its pixel data."""
_SITK_NAMES = {JPEGLosslessSV1: "JPEG", JPEG2000Lossless: "JPEG2000"}
Values = dict[int, object]


class SpacingTags(Enum):
    """Whether SliceThickness and SpacingBetweenSlices are right."""

    RIGHT = auto()
    MISSING = auto()
    WRONG = auto()


@dataclass(frozen=True)
class SeriesTags:
    """What identifies a series in the files, and how the files are encoded.

    ``study`` and ``series`` are the ids of the folder names, ``number`` is the SeriesNumber.
    """

    study: str
    series: str
    number: int
    seed: int
    manufacturer: str
    spacing: SpacingTags
    syntax: UID


def write_stack(folder: Path, stack: Stack, pixels: list[Pixels], tags: SeriesTags) -> None:
    """Write the ``pixels`` ``(rows, columns)`` of each slice as ``folder/<instance>.dcm``."""
    scan = stack.scan
    folder.mkdir(parents=True, exist_ok=True)
    header = series_header(scan, tags)
    # Once for all slices: with pydicom's `save_as`, which encodes every element of every slice, a cohort takes 1.25
    # times as long.
    shared = {int(element.tag): _encoded(element) for element in header}
    positions = to_world(scan.affine, [[0.0, 0.0, k] for k in range(len(pixels))]) @ LPS_TO_RAS
    heights = positions @ np.cross(*np.reshape(orientation(scan.affine), (2, 3)))
    for k, instance in enumerate(stack.instances):
        own = _slice_values(positions[k].tolist(), float(heights[k]), instance, pixels[k], tags)
        path = folder / f"{instance}.dcm"
        if tags.syntax == ExplicitVRLittleEndian:
            path.write_bytes(_file(own, shared))
        else:
            _save(header, own, tags.syntax, path)


def write_repeated(folder: Path, instance: int, other: int, tags: SeriesTags) -> None:
    """Write the slice ``instance`` a second time, under the instance number ``other``."""
    dataset = dcmread(folder / f"{instance}.dcm")
    dataset.InstanceNumber = other
    dataset.SOPInstanceUID = uid(tags.seed, tags.study, tags.series, other)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(folder / f"{other}.dcm")


def _save(header: Dataset, own: Values, syntax: UID, path: Path) -> None:
    """Write a slice with pydicom, for transfer syntaxes other than explicit little endian."""
    dataset = Dataset()
    dataset.update(header)
    for tag, value in own.items():
        dataset.add_new(tag, SLICE_VRS[tag], value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax.is_encapsulated else syntax
    if syntax.is_encapsulated:
        _compress(dataset, syntax)
    elif not syntax.is_little_endian:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    dataset.save_as(path, enforce_file_format=True)


def _compress(dataset: Dataset, syntax: UID) -> None:
    """Compress the 16-bit little endian pixel data of a single-frame data set in place."""
    if syntax == RLELossless:
        dataset.compress(syntax, generate_instance_uid=False)
        return
    dataset.PixelData = encapsulate([_codestream(dataset, syntax)])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.BitsStored, dataset.HighBit = 16, 15  # as in the codestream
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


def _encoded(element: DataElement) -> bytes:
    """One element as explicit little endian."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_data_element(buffer, element)
    return buffer.getvalue()


def orientation(affine: Array) -> list[float]:
    """ImageOrientationPatient of a stack's slices: six LPS cosines."""
    axes = LPS_TO_RAS @ affine[:3, :2] / spacing(affine)[:2]
    return [round(float(value), 8) for value in axes.T.ravel()]


def _slice_values(position: list[float], height: float, instance: int, pixels: Pixels, tags: SeriesTags) -> Values:
    """Identity, position (LPS), location along the normal, and pixels of one slice, in the order of their tags."""
    values = (
        uid(tags.seed, tags.study, tags.series, instance),
        instance,
        [round(value, 6) for value in position],
        round(height, 4),
        *pixels.shape,
        pixels.tobytes(),
    )
    return dict(zip(SLICE_VRS, values, strict=True))


def _file(own: Values, shared: dict[int, bytes]) -> bytes:
    """An explicit little endian file: file meta information, then a slice's own elements and the shared ones by tag."""
    meta_elements = (
        DataElement(0x00020001, "OB", b"\0\1"),
        DataElement(0x00020002, "UI", MRImageStorage),
        DataElement(0x00020003, "UI", own[SOP_INSTANCE]),
        DataElement(0x00020010, "UI", ExplicitVRLittleEndian),
        DataElement(0x00020012, "UI", IMPLEMENTATION),
    )
    meta = b"".join(map(_encoded, meta_elements))
    elements = {**shared, **{tag: _encoded(DataElement(tag, SLICE_VRS[tag], value)) for tag, value in own.items()}}
    length = _encoded(DataElement(0x00020000, "UL", len(meta)))
    return PREAMBLE + length + meta + b"".join(elements[tag] for tag in sorted(elements))


def series_header(scan: Scan, tags: SeriesTags) -> Dataset:
    """The elements that are the same for all slices of a series."""
    header = _patient_and_study(tags)
    header.Modality = "MR"
    header.SeriesInstanceUID = uid(tags.seed, tags.study, tags.series)
    header.SeriesNumber = tags.number
    header.SeriesDescription = f"{'AX' if scan.series_type is SeriesType.AXIAL_T2 else 'SAG'} {scan.sequence.contrast}"
    header.ProtocolName = "L-SPINE"
    header.FrameOfReferenceUID = uid(tags.seed, tags.study, "frame")
    header.PositionReferenceIndicator = ""
    header.PatientPosition = "HFS"
    header.BodyPartExamined = "LSPINE"
    header.Manufacturer = tags.manufacturer
    header.ManufacturerModelName = "Phantom"
    _timing(header, scan)
    _pixels(header, scan, tags)
    return header


def _patient_and_study(tags: SeriesTags) -> Dataset:
    header = Dataset()
    header.SOPClassUID = MRImageStorage
    header.StudyInstanceUID = uid(tags.seed, tags.study)
    header.StudyID = tags.study
    header.StudyDate = header.SeriesDate = header.AcquisitionDate = header.ContentDate = DATE
    header.StudyTime = header.ContentTime = "120000"
    header.AccessionNumber = header.ReferringPhysicianName = ""
    header.PatientID = tags.study
    header.PatientName = f"Phantom^{tags.study}"
    header.PatientBirthDate = ""
    header.PatientSex = "O"
    return header


def _timing(header: Dataset, scan: Scan) -> None:
    inversion = scan.sequence.inversion
    header.ScanningSequence = "SE" if inversion is None else ["SE", "IR"]
    header.SequenceVariant = "SK"
    header.ScanOptions = "SAT"
    header.MRAcquisitionType = "2D"
    header.MagneticFieldStrength = scan.field
    header.RepetitionTime = scan.sequence.repetition
    header.EchoTime = scan.sequence.echo
    if inversion is not None:
        header.InversionTime = inversion
    header.EchoTrainLength = scan.sequence.echo_train
    header.AcquisitionNumber = 1


def _pixels(header: Dataset, scan: Scan, tags: SeriesTags) -> None:
    header.ImageType = ["ORIGINAL", "PRIMARY", "M", "SE"]
    for keyword, value in spacing_values(scan, tags).items():
        setattr(header, keyword, value)
    header.ImageOrientationPatient = orientation(scan.affine)
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 12, 11, 0


def spacing_values(scan: Scan, tags: SeriesTags) -> dict[str, object]:
    """PixelSpacing, and SliceThickness and SpacingBetweenSlices unless they are missing; wrong ones are doubled."""
    between_columns, between_rows, step = spacing(scan.affine)
    values: dict[str, object] = {"PixelSpacing": [round(float(between_rows), 8), round(float(between_columns), 8)]}
    if tags.spacing is not SpacingTags.MISSING:
        factor = 2.0 if tags.spacing is SpacingTags.WRONG else 1.0
        values |= {"SliceThickness": scan.thickness * factor, "SpacingBetweenSlices": round(float(step) * factor, 6)}
    return values
