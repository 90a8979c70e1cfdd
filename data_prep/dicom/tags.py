"""The header elements that are read; the parsers skip all others."""

from __future__ import annotations

from data_prep.dicom import parameters, vendors

_OWN = (
    0x00080005,  # SpecificCharacterSet
    0x00080008,  # ImageType
    0x00080016,  # SOPClassUID
    0x00080018,  # SOPInstanceUID
    0x00080022,  # AcquisitionDate
    0x00080032,  # AcquisitionTime
    0x0008002A,  # AcquisitionDateTime
    0x0008103E,  # SeriesDescription
    0x00089208,  # ComplexImageComponent
    0x00180081,  # EchoTime
    0x00180082,  # InversionTime
    0x00180086,  # EchoNumbers
    0x00181060,  # TriggerTime
    0x00181314,  # FlipAngle
    0x00180080,  # RepetitionTime
    0x00189087,  # DiffusionBValue
    0x00189089,  # DiffusionGradientOrientation
    0x00189117,  # MRDiffusionSequence
    0x0020000D,  # StudyInstanceUID
    0x0020000E,  # SeriesInstanceUID
    0x00200011,  # SeriesNumber
    0x00200012,  # AcquisitionNumber
    0x00200013,  # InstanceNumber
    0x00200032,  # ImagePositionPatient
    0x00200037,  # ImageOrientationPatient
    0x00200052,  # FrameOfReferenceUID
    0x00200100,  # TemporalPositionIdentifier
    0x00209128,  # TemporalPositionIndex
    0x00280002,  # SamplesPerPixel
    0x00280004,  # PhotometricInterpretation
    0x00280008,  # NumberOfFrames
    0x00280010,  # Rows
    0x00280011,  # Columns
    0x00280030,  # PixelSpacing
    0x00280100,  # BitsAllocated
    0x00280101,  # BitsStored
    0x00280102,  # HighBit
    0x00280103,  # PixelRepresentation
    0x00281052,  # RescaleIntercept
    0x00281053,  # RescaleSlope
    0x00283000,  # ModalityLUTSequence
    0x52009229,  # SharedFunctionalGroupsSequence
    0x52009230,  # PerFrameFunctionalGroupsSequence
)

TAGS = frozenset({*_OWN, *vendors.TAGS, *parameters.TAGS, *parameters.IDENTIFYING})
"""Everything that is read of a header."""
