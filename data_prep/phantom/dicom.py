"""Writing a series as DICOM: classic MR Image Storage, a file per slice, with plain tags."""

from __future__ import annotations

import struct
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from data_prep.phantom.compression import compress
from data_prep.phantom.identity import uid
from data_prep.phantom.scan import Scan
from monai_spine.geometry import LPS_TO_RAS, Array, spacing, to_world

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
"""Elements that differ from slice to slice."""
Values = dict[int, object]


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
    header = series_header(scan, label)
    shared = _stretches(header)
    positions = to_world(scan.affine, [[0.0, 0.0, k] for k in range(len(instances))]) @ LPS_TO_RAS
    heights = positions @ np.cross(*np.reshape(orientation(scan.affine), (2, 3)))
    for k, instance in enumerate(instances):
        own = _slice_values(positions[k].tolist(), float(heights[k]), instance, pixels[k], label)
        path = folder / f"{instance}.dcm"
        if label.syntax == ExplicitVRLittleEndian:
            path.write_bytes(_file_meta(str(own[SOP_INSTANCE])) + _merged(own, shared))
        else:
            _save(header, own, label.syntax, path)


def write_again(folder: Path, instance: int, other: int, label: Label) -> None:
    """Write a slice that is there once more, under another instance number."""
    dataset = dcmread(folder / f"{instance}.dcm")
    dataset.InstanceNumber = other
    dataset.SOPInstanceUID = uid(label.seed, label.study, label.series, other)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(folder / f"{other}.dcm")


def _save(header: Dataset, own: Values, syntax: UID, path: Path) -> None:
    """The ordinary way, for unusual transfer syntaxes."""
    dataset = Dataset()
    dataset.update(header)
    for tag, value in own.items():
        dataset.add_new(tag, SLICE_VRS[tag], value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax.is_encapsulated else syntax
    if syntax.is_encapsulated:
        compress(dataset, syntax)
    elif not syntax.is_little_endian:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    dataset.save_as(path, enforce_file_format=True)


def _stretches(header: Dataset) -> list[bytes]:
    """What the slices share, encoded in pieces between which a slice's own elements stand."""
    own = list(SLICE_VRS)
    pieces = [b""] * (len(own) + 1)
    for element in header:
        pieces[bisect(own, int(element.tag))] += _encoded(element)
    return pieces


def _encoded(element: DataElement) -> bytes:
    """One element as explicit little endian."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_data_element(buffer, element)
    return buffer.getvalue()


def _merged(own: Values, shared: list[bytes]) -> bytes:
    """A slice's elements between those that it shares, all in the order of their tags."""
    parts = [shared[0]]
    for (tag, value), following in zip(own.items(), shared[1:], strict=True):
        parts += [_element(tag, SLICE_VRS[tag], value), following]
    return b"".join(parts)


def _element(tag: int, vr: str, value: object) -> bytes:
    """One element as explicit little endian; several values are joined by backslashes, all padded to even length."""
    if isinstance(value, bytes):
        content = value
    elif vr in {"US", "UL"}:
        content = struct.pack("<H" if vr == "US" else "<L", value)
    else:
        values = value if isinstance(value, list) else [value]
        content = "\\".join(map(str, values)).encode("ascii")
        content += (b"\0" if vr == "UI" else b" ") * (len(content) % 2)
    start = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode("ascii"))
    length = struct.pack("<HL", 0, len(content)) if vr in {"OB", "OW"} else struct.pack("<H", len(content))
    return start + length + content


def orientation(affine: Array) -> list[float]:
    """ImageOrientationPatient of a stack's slices: six LPS cosines."""
    axes = LPS_TO_RAS @ affine[:3, :2] / spacing(affine)[:2]
    return [round(float(value), 8) for value in axes.T.ravel()]


def _slice_values(position: list[float], height: float, instance: int, pixels: Pixels, label: Label) -> Values:
    """Identity, position (LPS), location along the normal, and pixels of one slice, in the order of their tags."""
    values = (
        uid(label.seed, label.study, label.series, instance),
        instance,
        [round(value, 6) for value in position],
        round(height, 4),
        *pixels.shape,
        pixels.tobytes(),
    )
    return dict(zip(SLICE_VRS, values, strict=True))


def _file_meta(instance: str) -> bytes:
    """Preamble and file meta information of an explicit little endian file."""
    elements = (
        _element(0x00020001, "OB", b"\0\1"),
        _element(0x00020002, "UI", MRImageStorage),
        _element(0x00020003, "UI", instance),
        _element(0x00020010, "UI", ExplicitVRLittleEndian),
        _element(0x00020012, "UI", IMPLEMENTATION),
    )
    meta = b"".join(elements)
    return PREAMBLE + _element(0x00020000, "UL", len(meta)) + meta


def series_header(scan: Scan, label: Label) -> Dataset:
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
