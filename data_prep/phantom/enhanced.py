"""Writing a series as one multi-frame Enhanced MR object (PS3.3 A.36.2)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import EnhancedMRImageStorage

from data_prep.phantom.dicom import Pixels, SeriesTags, orientation, series_header, spacing_values, uid
from data_prep.phantom.plan import Scan, Stack
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


def write_enhanced(path: Path, stacks: Sequence[Stack], pixels: Sequence[list[Pixels]], tags: SeriesTags) -> None:
    """Write a series, all of one matrix, as the frames of one object, in the order of their instance numbers.

    ``pixels`` are the slices ``(rows, columns)`` of every stack.
    """
    slices = sorted(
        (instance, number, k) for number, stack in enumerate(stacks) for k, instance in enumerate(stack.instances)
    )
    scan = stacks[0].scan
    header = series_header(scan, tags)
    for keyword in _MOVED:
        header.pop(keyword, None)
    header.SOPClassUID = EnhancedMRImageStorage
    header.SOPInstanceUID = uid(tags.seed, tags.study, tags.series, 1)
    header.InstanceNumber = 1
    header.ImageType = ["ORIGINAL", "PRIMARY", "SPINE", "NONE"]
    header.PixelPresentation, header.VolumetricProperties = "MONOCHROME", "VOLUME"
    header.VolumeBasedCalculationTechnique, header.ComplexImageComponent = "NONE", "MAGNITUDE"
    header.AcquisitionContrast = scan.sequence.contrast
    header.PulseSequenceName = "SE"
    header.EchoPulseSequence, header.InversionRecovery = "SPIN", "YES" if scan.sequence.inversion else "NO"
    header.LossyImageCompression, header.PresentationLUTShape, header.BurnedInAnnotation = "00", "IDENTITY", "NO"
    header.NumberOfFrames = len(slices)
    header.Rows, header.Columns = pixels[0][0].shape
    header.DimensionOrganizationSequence = _item(DimensionOrganizationUID=uid(tags.seed, tags.study, "dimensions"))
    header.DimensionIndexSequence = Items([_dimension(0x00209056, tags), _dimension(0x00209057, tags)])
    header.SharedFunctionalGroupsSequence = Items([_shared(scan, tags)])
    header.PerFrameFunctionalGroupsSequence = Items([_frame(stacks[number].scan, number, k) for _, number, k in slices])
    order = "<u2" if tags.syntax.is_little_endian else ">u2"
    header.PixelData = b"".join(pixels[number][k].astype(order).tobytes() for _, number, k in slices)
    header["PixelData"].VR = "OW"
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = tags.syntax
    path.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(path, enforce_file_format=True)


def _dimension(pointer: int, tags: SeriesTags) -> Dataset:
    """One of the two indices of a frame: its stack (0020,9056), its place in the stack (0020,9057)."""
    organization = uid(tags.seed, tags.study, "dimensions")
    return _dataset(
        DimensionIndexPointer=pointer, FunctionalGroupPointer=0x00209111, DimensionOrganizationUID=organization
    )


def _shared(scan: Scan, tags: SeriesTags) -> Dataset:
    """What all frames have in common: pixel size, timing, frame type."""
    shared, sequence = Dataset(), scan.sequence
    shared.PixelMeasuresSequence = _item(**spacing_values(scan, tags))
    shared.MRTimingAndRelatedParametersSequence = _item(
        RepetitionTime=sequence.repetition, FlipAngle=90.0, EchoTrainLength=sequence.echo_train
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
        AcquisitionContrast=sequence.contrast,
    )
    shared.PixelValueTransformationSequence = _item(RescaleIntercept=0.0, RescaleSlope=1.0, RescaleType="US")
    return shared


def _frame(scan: Scan, number: int, k: int) -> Dataset:
    """Position and orientation of slice ``k`` of a stack."""
    own = Dataset()
    position = LPS_TO_RAS @ to_world(scan.affine, [0.0, 0.0, k])
    own.FrameContentSequence = _item(
        StackID=str(number + 1), InStackPositionNumber=k + 1, DimensionIndexValues=[number + 1, k + 1]
    )
    own.PlanePositionSequence = _item(ImagePositionPatient=[round(float(value), 6) for value in position])
    own.PlaneOrientationSequence = _item(ImageOrientationPatient=orientation(scan.affine))
    return own


def _item(**values: object) -> Items:
    """A sequence of one item."""
    return Items([_dataset(**values)])


def _dataset(**values: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset
