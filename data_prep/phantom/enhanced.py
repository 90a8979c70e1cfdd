"""Writing a series as one multi-frame Enhanced MR object (PS3.3 A.36.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import EnhancedMRImageStorage

from data_prep.phantom import dicom
from data_prep.phantom.acquisition.plan import Scan
from data_prep.phantom.dicom import Pixels, SeriesTags, uid
from monai_spine.geometry import LPS_TO_RAS, to_world

_MOVED = (
    # elements that the functional groups hold instead, or that belong to classic objects only
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
    """A stack of a series: its scan, its images, and the instance number of each of its slices."""

    scan: Scan
    pixels: Sequence[Pixels]
    instances: Sequence[int]


def write(path: Path, slabs: Sequence[Slab], tags: SeriesTags) -> None:
    """Write the stacks of a series as the frames of one object, in the order of their numbers; all of one matrix."""
    slices = sorted(
        (instance, number, k) for number, slab in enumerate(slabs) for k, instance in enumerate(slab.instances)
    )
    header = dicom.series_header(slabs[0].scan, tags)
    for keyword in _MOVED:
        header.pop(keyword, None)
    header.SOPClassUID = EnhancedMRImageStorage
    header.SOPInstanceUID = uid(tags.seed, tags.study, tags.series, 1)
    header.InstanceNumber = 1
    header.ImageType = ["ORIGINAL", "PRIMARY", "SPINE", "NONE"]
    header.PixelPresentation, header.VolumetricProperties = "MONOCHROME", "VOLUME"
    header.VolumeBasedCalculationTechnique, header.ComplexImageComponent = "NONE", "MAGNITUDE"
    header.AcquisitionContrast = _contrast(slabs[0].scan)
    header.PulseSequenceName = "SE"
    header.EchoPulseSequence, header.InversionRecovery = "SPIN", "YES" if slabs[0].scan.sequence.inversion else "NO"
    header.LossyImageCompression, header.PresentationLUTShape, header.BurnedInAnnotation = "00", "IDENTITY", "NO"
    header.NumberOfFrames = len(slices)
    header.Rows, header.Columns = slabs[0].pixels[0].shape
    header.DimensionOrganizationSequence = _item(DimensionOrganizationUID=uid(tags.seed, tags.study, "dimensions"))
    header.DimensionIndexSequence = Items([_dimension(0x00209056, tags), _dimension(0x00209057, tags)])
    header.SharedFunctionalGroupsSequence = Items([_shared(slabs[0].scan, tags)])
    header.PerFrameFunctionalGroupsSequence = Items([_frame(slabs[number], number, k) for _, number, k in slices])
    order = "<u2" if tags.syntax.is_little_endian else ">u2"
    header.PixelData = b"".join(slabs[number].pixels[k].astype(order).tobytes() for _, number, k in slices)
    header["PixelData"].VR = "OW"
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = tags.syntax
    path.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(path, enforce_file_format=True)


def _contrast(scan: Scan) -> str:
    if scan.sequence.inversion is not None:
        return "STIR"
    return "T1" if scan.sequence.repetition < 1000 else "T2"


def _dimension(pointer: int, tags: SeriesTags) -> Dataset:
    """One of the two indices of a frame: its stack (0020,9056), its place in the stack (0020,9057)."""
    dimension = Dataset()
    dimension.DimensionIndexPointer = pointer
    dimension.FunctionalGroupPointer = 0x00209111
    dimension.DimensionOrganizationUID = uid(tags.seed, tags.study, "dimensions")
    return dimension


def _shared(scan: Scan, tags: SeriesTags) -> Dataset:
    """What all frames have in common: pixel size, timing, frame type."""
    shared, sequence = Dataset(), scan.sequence
    shared.PixelMeasuresSequence = _item(**dicom.spacing_values(scan, tags))
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
    """Position and orientation of one frame."""
    own = Dataset()
    position = LPS_TO_RAS @ to_world(slab.scan.affine, [0.0, 0.0, k])
    own.FrameContentSequence = _item(
        StackID=str(number + 1), InStackPositionNumber=k + 1, DimensionIndexValues=[number + 1, k + 1]
    )
    own.PlanePositionSequence = _item(ImagePositionPatient=[round(float(value), 6) for value in position])
    own.PlaneOrientationSequence = _item(ImageOrientationPatient=dicom.orientation(slab.scan.affine))
    return own


def _item(**values: object) -> Items:
    """A sequence of one item."""
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return Items([item])
