"""Writing a series as one multi-frame Enhanced MR object (PS3.3 A.36.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import EnhancedMRImageStorage

from data_prep.phantom import dicom
from data_prep.phantom.dicom import Label, Pixels, Spacing
from data_prep.phantom.identity import uid
from data_prep.phantom.scan import Scan
from monai_spine.geometry import LPS_TO_RAS, spacing, to_world

_MOVED = (
    # what the functional groups say instead, and what belongs to classic objects only
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    "RepetitionTime",
    "EchoTime",
    "InversionTime",
    "EchoTrainLength",
    "ScanningSequence",
    "SequenceVariant",
    "ScanOptions",
    "MRAcquisitionType",
)


@dataclass(frozen=True)
class Slab:
    """A stack of a series: its scan, its images, and the number of each of its slices."""

    scan: Scan
    pixels: Sequence[Pixels]
    instances: Sequence[int]


def write(path: Path, slabs: Sequence[Slab], label: Label) -> None:
    """Write the stacks of a series, all of one matrix, as the frames of one object, in the order of their numbers."""
    slices = sorted(
        (instance, number, k) for number, slab in enumerate(slabs) for k, instance in enumerate(slab.instances)
    )
    whole = dicom.series_header(slabs[0].scan, label)
    for keyword in _MOVED:
        whole.pop(keyword, None)
    whole.SOPClassUID = EnhancedMRImageStorage
    whole.SOPInstanceUID = uid(label.seed, label.study, label.series, 1)
    whole.InstanceNumber = 1
    whole.ImageType = ["ORIGINAL", "PRIMARY", "SPINE", "NONE"]
    whole.PixelPresentation, whole.VolumetricProperties = "MONOCHROME", "VOLUME"
    whole.VolumeBasedCalculationTechnique, whole.ComplexImageComponent = "NONE", "MAGNITUDE"
    whole.AcquisitionContrast = _contrast(slabs[0].scan)
    whole.PulseSequenceName = "SE"
    whole.EchoPulseSequence, whole.InversionRecovery = "SPIN", "YES" if slabs[0].scan.sequence.inversion else "NO"
    whole.LossyImageCompression, whole.PresentationLUTShape, whole.BurnedInAnnotation = "00", "IDENTITY", "NO"
    whole.NumberOfFrames = len(slices)
    whole.Rows, whole.Columns = slabs[0].pixels[0].shape
    whole.DimensionOrganizationSequence = _item(DimensionOrganizationUID=uid(label.seed, label.study, "dimensions"))
    whole.DimensionIndexSequence = Items([_dimension(0x00209056, label), _dimension(0x00209057, label)])
    whole.SharedFunctionalGroupsSequence = Items([_shared(slabs[0].scan, label)])
    whole.PerFrameFunctionalGroupsSequence = Items([_frame(slabs[number], number, k) for _, number, k in slices])
    order = "<u2" if label.syntax.is_little_endian else ">u2"
    whole.PixelData = b"".join(slabs[number].pixels[k].astype(order).tobytes() for _, number, k in slices)
    whole["PixelData"].VR = "OW"
    whole.file_meta = FileMetaDataset()
    whole.file_meta.TransferSyntaxUID = label.syntax
    path.parent.mkdir(parents=True, exist_ok=True)
    whole.save_as(path, enforce_file_format=True)


def _contrast(scan: Scan) -> str:
    if scan.sequence.inversion is not None:
        return "STIR"
    return "T1" if scan.sequence.repetition < 1000 else "T2"


def _dimension(pointer: int, label: Label) -> Dataset:
    """One of the two indices of a frame: its stack (0020,9056), its place in the stack (0020,9057)."""
    made = Dataset()
    made.DimensionIndexPointer = pointer
    made.FunctionalGroupPointer = 0x00209111
    made.DimensionOrganizationUID = uid(label.seed, label.study, "dimensions")
    return made


def _shared(scan: Scan, label: Label) -> Dataset:
    """What all frames have in common: pixels, timing, frame type."""
    shared, sequence = Dataset(), scan.sequence
    between_columns, between_rows, step = spacing(scan.affine)
    pixels: dict[str, object] = {"PixelSpacing": [round(float(between_rows), 8), round(float(between_columns), 8)]}
    if label.spacing is not Spacing.MISSING:
        wrong = 2.0 if label.spacing is Spacing.WRONG else 1.0
        pixels |= {"SliceThickness": scan.thickness * wrong, "SpacingBetweenSlices": round(float(step) * wrong, 6)}
    shared.PixelMeasuresSequence = _item(**pixels)
    shared.MRTimingAndRelatedParametersSequence = _item(
        RepetitionTime=sequence.repetition, FlipAngle=90.0, EchoTrainLength=1 if sequence.repetition < 1000 else 16
    )
    shared.MREchoSequence = _item(EffectiveEchoTime=sequence.echo)
    if sequence.inversion is not None:
        shared.MRModifierSequence = _item(InversionRecovery="YES", InversionTimes=[sequence.inversion])
    shared.MRImageFrameTypeSequence = _item(
        FrameType=["ORIGINAL", "PRIMARY", "SPINE", "NONE"],
        PixelPresentation="MONOCHROME",
        VolumetricProperties="VOLUME",
        VolumeBasedCalculationTechnique="NONE",
        ComplexImageComponent="MAGNITUDE",
        AcquisitionContrast=_contrast(scan),
    )
    shared.PixelValueTransformationSequence = _item(RescaleIntercept=0.0, RescaleSlope=1.0, RescaleType="US")
    return shared


def _frame(slab: Slab, number: int, k: int) -> Dataset:
    """Where one frame lies."""
    own = Dataset()
    position = LPS_TO_RAS @ to_world(slab.scan.affine, [0.0, 0.0, k])
    own.FrameContentSequence = _item(
        StackID=str(number + 1), InStackPositionNumber=k + 1, DimensionIndexValues=[number + 1, k + 1]
    )
    own.PlanePositionSequence = _item(ImagePositionPatient=[round(float(value), 6) for value in position])
    own.PlaneOrientationSequence = _item(ImageOrientationPatient=dicom.orientation(slab.scan.affine))
    return own


def _item(**values: object) -> Items:
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return Items([made])
