"""Writing a series as DICOM: classic MR Image Storage, a file per slice, with plain tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.tag import BaseTag
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from data_prep.phantom.acquisition import Scan
from data_prep.phantom.identity import uid
from monai_spine.geometry import LPS_TO_RAS, Array, spacing, to_world

Pixels = npt.NDArray[np.uint16]
IMPLEMENTATION = uid("monai_spine phantom")
DATE = "20240101"
PREAMBLE = b"\0" * 128 + b"DICM"


class Spacing(Enum):
    """What SliceThickness and SpacingBetweenSlices say."""

    RIGHT = auto()
    MISSING = auto()
    WRONG = auto()


@dataclass(frozen=True)
class Label:
    """What identifies a series in the files: ids as in the folder names, and the scanner; and how they are encoded."""

    study: str
    series: str
    number: int
    seed: int
    manufacturer: str
    spacing: Spacing = Spacing.RIGHT
    syntax: UID = ExplicitVRLittleEndian


def write(folder: Path, scan: Scan, pixels: list[Pixels], instances: Sequence[int], label: Label) -> None:
    """Write each slice's ``pixels`` ``(rows, columns)`` as ``folder/<instance>.dcm``; ``instances`` numbers the slices.

    What the slices share is encoded once, unless the transfer syntax is an unusual one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    header = _series_header(scan, label)
    shared: dict[tuple[int, int], bytes] = {}
    for k, instance in enumerate(instances):
        own = _slice_header(scan.affine, k, instance, label)
        own.Rows, own.Columns = pixels[k].shape
        own.PixelData = pixels[k].tobytes()
        own["PixelData"].VR = "OW"
        path = folder / f"{instance}.dcm"
        if label.syntax != ExplicitVRLittleEndian:
            _save(header, own, label.syntax, path)
            continue
        path.write_bytes(PREAMBLE + _file_meta(own.SOPInstanceUID) + _merged(header, own, shared))


def write_again(folder: Path, instance: int, other: int, label: Label) -> None:
    """Write a slice that is there once more, under another instance number."""
    dataset = dcmread(folder / f"{instance}.dcm")
    dataset.InstanceNumber = other
    dataset.SOPInstanceUID = uid(label.seed, label.study, label.series, other)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(folder / f"{other}.dcm")


def _save(header: Dataset, own: Dataset, syntax: UID, path: Path) -> None:
    """The ordinary way, for implicit VR and for RLE."""
    dataset = Dataset()
    dataset.update(header)
    dataset.update(own)
    dataset.file_meta = FileMetaDataset()
    compressed = syntax.is_compressed
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if compressed else syntax
    if compressed:
        dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(path, enforce_file_format=True)


def _merged(header: Dataset, own: Dataset, shared: dict[tuple[int, int], bytes]) -> bytes:
    """Both datasets in one, elements in the order of their tags; encoded stretches of ``header`` are kept."""
    edges = [0, *own.keys(), 2**32]
    parts = []
    for low, high in pairwise(edges):
        if low:
            parts.append(_encoded(own, low, low + 1))
        if (low, high) not in shared:
            shared[low, high] = _encoded(header, low, high)
        parts.append(shared[low, high])
    return b"".join(parts)


def _encoded(dataset: Dataset, low: int, high: int) -> bytes:
    """The elements with tags from ``low`` up to ``high`` as explicit little endian."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, dataset[BaseTag(low) : BaseTag(min(high, 2**32 - 1))])
    return buffer.getvalue()


def orientation(affine: Array) -> list[float]:
    """ImageOrientationPatient of a stack's slices: six LPS cosines."""
    axes = LPS_TO_RAS @ affine[:3, :2] / spacing(affine)[:2]
    return [round(float(value), 8) for value in axes.T.ravel()]


def _slice_header(affine: Array, k: int, instance: int, label: Label) -> Dataset:
    """Identity and position of one slice."""
    header = Dataset()
    header.SOPInstanceUID = uid(label.seed, label.study, label.series, instance)
    header.InstanceNumber = instance
    position = LPS_TO_RAS @ to_world(affine, np.array([0.0, 0.0, k]))
    header.ImagePositionPatient = [round(float(value), 6) for value in position]
    normal = np.cross(*np.reshape(orientation(affine), (2, 3)))
    header.SliceLocation = round(float(position @ normal), 4)
    return header


def _file_meta(instance: UID) -> bytes:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = instance
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION
    buffer = DicomBytesIO()
    write_file_meta_info(buffer, meta)
    return buffer.getvalue()


def _series_header(scan: Scan, label: Label) -> Dataset:
    """Everything that the slices of a series share."""
    header = _patient_and_study(label)
    header.Modality = "MR"
    header.SeriesInstanceUID = uid(label.seed, label.study, label.series)
    header.SeriesNumber = label.number
    header.SeriesDescription = _description(scan)
    header.ProtocolName = "L-SPINE"
    header.FrameOfReferenceUID = uid(label.seed, label.study, "frame")
    header.PositionReferenceIndicator = ""
    header.PatientPosition = "HFS"
    header.BodyPartExamined = "LSPINE"
    header.Manufacturer = label.manufacturer
    header.ManufacturerModelName = "Phantom"
    _timing(header, scan)
    _pixels(header, scan, label)
    return header


def _patient_and_study(label: Label) -> Dataset:
    header = Dataset()
    header.SOPClassUID = MRImageStorage
    header.StudyInstanceUID = uid(label.seed, label.study)
    header.StudyID = label.study
    header.StudyDate = header.SeriesDate = header.AcquisitionDate = header.ContentDate = DATE
    header.StudyTime = header.ContentTime = "120000"
    header.AccessionNumber = header.ReferringPhysicianName = ""
    header.PatientID = label.study
    header.PatientName = f"Phantom^{label.study}"
    header.PatientBirthDate = ""
    header.PatientSex = "O"
    return header


def _description(scan: Scan) -> str:
    plane = "AX" if scan.kind.value.startswith("axial") else "SAG"
    weighting = "T1" if scan.kind.value.endswith("t1") else "T2"
    return f"{plane} {'STIR' if scan.sequence.inversion else weighting}"


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
    header.EchoTrainLength = 1 if scan.sequence.repetition < 1000 else 16
    header.AcquisitionNumber = 1


def _pixels(header: Dataset, scan: Scan, label: Label) -> None:
    between_columns, between_rows, step = spacing(scan.affine)
    header.ImageType = ["ORIGINAL", "PRIMARY", "M", "SE"]
    if label.spacing is not Spacing.MISSING:
        wrong = 2.0 if label.spacing is Spacing.WRONG else 1.0
        header.SliceThickness = scan.thickness * wrong
        header.SpacingBetweenSlices = round(float(step) * wrong, 6)
    header.ImageOrientationPatient = orientation(scan.affine)
    header.PixelSpacing = [round(float(between_rows), 8), round(float(between_columns), 8)]
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 12, 11, 0
