"""One input file → its frames: identity, contrast, geometry, pixel module; read and checked in one pass."""

from __future__ import annotations

import functools
import hashlib
import math
import re
from collections.abc import Collection
from dataclasses import replace

from pydicom.uid import UID

from data_prep.choices import MAX_BYTES
from data_prep.dicom.frames import Contrast, FileHeader, Frame, Geometry, Identity, Patient, Pixels
from data_prep.dicom.headers import enhanced, identity, parameters, vendors
from data_prep.dicom.headers.elements import Elements, Header, read_elements
from data_prep.dicom.headers.pixel_module import own_reader, pixel_data_problem, pixel_module
from data_prep.dicom.refusals import Reason, Refused
from data_prep.dicom.sources import Source

COSINE_TOLERANCE = 2e-3
"""How far direction cosines may be from unit length and from a right angle: what rounding to three decimals causes."""

SPECTRA_AND_RAW = ("1.2.840.10008.5.1.4.1.1.4.2", "1.2.840.10008.5.1.4.1.1.66", "1.3.12.2.1107.5.9.1")
"""SOP classes without an image: MR spectroscopy, raw data, Siemens' private CSA objects."""

_STANDARD_TAGS = (
    0x00080005,  # SpecificCharacterSet
    0x00080008,  # ImageType
    0x00080016,  # SOPClassUID
    0x00080018,  # SOPInstanceUID
    0x00080020,  # StudyDate
    0x00080022,  # AcquisitionDate
    0x00080032,  # AcquisitionTime
    0x0008002A,  # AcquisitionDateTime
    0x00080030,  # StudyTime
    0x0008103E,  # SeriesDescription
    0x00089208,  # ComplexImageComponent
    0x00100040,  # PatientSex
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

_EXAMINATION = (0x00080020, 0x00080030, 0x00080050, 0x00200010)
"""StudyDate, StudyTime, AccessionNumber, StudyID: equal in all images of a study."""

TAGS = frozenset({*_STANDARD_TAGS, *vendors.TAGS, *parameters.TAGS, *identity.TAGS})
"""Everything that is read of a header; the parsers skip all other elements."""


_DUMMY = re.compile(
    r"anon\w*(\W\w*)?|unknown|none|null|removed|deleted|de-?identified|no[ _^-]?name|n/?a|x{2,}|0+|-+|patient|subject|",
    re.IGNORECASE,
)
"""What anonymisers write into the PatientID or the name of everybody: it says nothing about who it is."""

_DECIMAL = re.compile(r"[+-]?[0-9]*(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,3}))?")


def read_header(source: Source, *, max_bytes: int = MAX_BYTES) -> FileHeader:
    """Read one file's header. Nothing that the file holds raises an error."""
    if source.reason is not None:
        return FileHeader(source.path, (), source.reason, source.detail)
    try:
        header = read_elements(source.location, TAGS, max_bytes)
        return FileHeader(source.path, _frames(source, header, max_bytes))
    except Refused as refusal:
        return FileHeader(source.path, (), refusal.reason, refusal.detail)
    except OSError as error:
        return FileHeader(source.path, (), Reason.UNREADABLE, error.strerror or type(error).__name__)
    except (Exception, RecursionError) as error:  # the parser raises errors of every type on damaged headers
        # the message of such an error may quote a value of the header, so only its type is shown
        return FileHeader(source.path, (), Reason.UNREADABLE, f"damaged header ({type(error).__name__})")


def _frames(source: Source, header: Header, max_bytes: int) -> tuple[Frame, ...]:
    elements = header.elements
    _check_is_image(header)
    pixels = pixel_module(source.location, header)
    if pixels.frame_bytes * pixels.frames > max_bytes:
        raise Refused(Reason.TOO_LARGE, f"declares {pixels.frame_bytes * pixels.frames} bytes, at most {max_bytes}")
    problem = _whole_file_problem(header, pixels)
    # a damaged NumberOfFrames can be in the billions: no frame is made before the pixel data are known to suffice
    if problem and problem[0] is Reason.TRUNCATED and pixels.frames > 1:
        raise Refused(*problem)
    if problem is None:
        pixels = replace(pixels, own_reader=own_reader(header, pixels))
    template = _template(source.path, elements, pixels)
    groups = enhanced.groups(elements.dataset, pixels.frames)
    if groups is not None:
        frames = tuple(enhanced.frame(template, index, group) for index, group in enumerate(groups))
    elif pixels.frames > 1:  # the header has one position for all frames, which says nothing about each
        frames = tuple(replace(template, index=index, geometry=None) for index in range(pixels.frames))
    else:
        frames = (template,)
    return tuple(_checked(frame, problem) for frame in frames)


def _check_is_image(header: Header) -> None:
    elements = header.elements
    sop_class = elements.text(0x00080016) or header.sop_class
    if sop_class.startswith(SPECTRA_AND_RAW):
        raise Refused(Reason.NOT_AN_IMAGE, "a DICOM object without an image")
    if header.pixels is not None:
        return
    if 0x00280010 in elements or "Image Storage" in UID(sop_class).name:
        raise Refused(Reason.TRUNCATED, "the header of an image, but no pixel data")
    if sop_class:
        raise Refused(Reason.NOT_AN_IMAGE, "a DICOM object without an image")
    raise Refused(Reason.UNREADABLE, "no SOP class and no pixel data")


def _whole_file_problem(header: Header, pixels: Pixels) -> tuple[Reason, str] | None:
    """Why no frame of the file can be used although its header is sound; None if there is no reason."""
    elements = header.elements
    image_type = elements.texts(0x00080008)
    if "MOSAIC" in image_type or vendors.tiles(elements) > 1:
        return Reason.MOSAIC, "the slices of a volume are tiled into one image"
    if "LOCALIZER" in image_type[2:]:
        return Reason.LOCALIZER, "ImageType says LOCALIZER"
    return pixel_data_problem(header, pixels)


def _template(path: str, elements: Elements, pixels: Pixels) -> Frame:
    """The frame of a single-frame file, or what the frames of a multi-frame object have in common."""
    return Frame(
        path=path,
        index=None,
        identity=_identity(elements),
        uid=elements.text(0x00080018),
        instance=elements.integer(0x00200013),
        contrast=_contrast(elements),
        pixels=pixels,
        geometry=_geometry(elements),
        slope=_number_or_default(elements, 0x00281053, 1.0),
        intercept=_number_or_default(elements, 0x00281052, 0.0),
        hints=_hints(elements),
        parameters=parameters.collect(elements),
    )


def _number_or_default(elements: Elements, tag: int, default: float) -> float:
    """A number; the default only if the element is absent or empty. A NaN in the header stays, and is refused later."""
    return elements.numbers(tag)[0] if elements.data(tag).strip(b" \0") else default


def _identity(elements: Elements) -> Identity:
    study, series = elements.text(0x0020000D), elements.text(0x0020000E)
    return Identity(
        study=study,
        series=series,
        study_name=study,
        series_name=series,
        series_number=elements.integer(0x00200011),
        frame_of_reference=elements.text(0x00200052),
        description=parameters.description(elements),
        patient=_patient(elements),
        examination=_digest(*(elements.data(tag) for tag in _EXAMINATION)),
    )


def _patient(elements: Elements) -> Patient:
    # Names are compared by their letters alone: one station writes "Doe^Jane", another one "DOE^JANE^^".
    name = re.sub(r"[^\w]+", "^", identity.decoded(elements.data(0x00100010), elements.texts(0x00080005)).upper())
    number = elements.data(0x00100020)
    return Patient(
        number="" if _DUMMY.fullmatch(number.decode("latin-1").strip(" \0")) else _digest(number),
        name="" if _DUMMY.fullmatch(name.strip("^")) else _digest(name.strip("^").encode()),
        birth_date=_digest(elements.data(0x00100030)),
        sex=_digest(elements.data(0x00100040).upper()),
    )


@functools.lru_cache(maxsize=256)
def _digest(*values: bytes) -> str:
    """A digest that keeps two patients apart without storing who they are; empty if no value is there."""
    plain = [value.strip(b" \0") for value in values]
    return hashlib.blake2b(b"\\".join(plain), digest_size=8).hexdigest() if any(plain) else ""


def _contrast(elements: Elements) -> Contrast:
    echo = elements.number(0x00180081)
    component = "/".join(filter(None, (elements.text(0x00089208), *vendors.component(elements))))
    return Contrast(
        image_type=elements.texts(0x00080008),
        component=component,
        photometric=elements.text(0x00280004),
        echo_time=None if echo is None else round(echo, 3),
        echo_number=elements.integer(0x00180086),
        b_value=vendors.b_value(elements),
    )


def _hints(elements: Elements) -> tuple[tuple[str, object], ...]:
    """Values that may tell volumes apart; the most reliable come first."""
    hints = {
        "temporal position": elements.integer(0x00200100),
        "temporal index": elements.binary(0x00209128, "UL"),
        "diffusion direction": vendors.gradient(elements),
        "inversion time": elements.number(0x00180082),
        "flip angle": elements.number(0x00181314),
        "repetition time": elements.number(0x00180080),
        "acquisition": elements.integer(0x00200012),
        "trigger time": elements.number(0x00181060),
        "acquisition time": _acquisition_time(elements),
    }
    return tuple((name, value) for name, value in hints.items() if value is not None)


def _acquisition_time(elements: Elements) -> str | None:
    return elements.text(0x0008002A) or elements.text(0x00080022) + elements.text(0x00080032) or None


def _geometry(elements: Elements) -> Geometry | None:
    values = elements.numbers(0x00200037), elements.numbers(0x00200032), elements.numbers(0x00280030)
    return Geometry(*values, decimals=_decimals(elements.texts(0x00200032))) if all(values) else None


def _decimals(numbers: tuple[str, ...]) -> int:
    """How many digits the most exact of some decimal strings has behind the point."""
    matches = [_DECIMAL.fullmatch(text) for text in numbers]
    return max((len(match[1] or "") - int(match[2] or 0) for match in matches if match), default=0)


def _checked(frame: Frame, problem: tuple[Reason, str] | None) -> Frame:
    """The frame; with a reason where it cannot be used."""
    geometry_problem = _geometry_problem(frame)
    if geometry_problem is not None:  # later steps never meet an impossible geometry, whatever else is wrong
        frame = replace(frame, geometry=None)
    problem = problem or geometry_problem or _rescale_problem(frame)
    return frame if problem is None else replace(frame, reason=problem[0], detail=problem[1])


def _geometry_problem(frame: Frame) -> tuple[Reason, str] | None:
    geometry = frame.geometry
    if geometry is None:
        return Reason.NO_GEOMETRY, "no position, orientation or pixel spacing"
    if (len(geometry.orientation), len(geometry.position), len(geometry.spacing)) != (6, 3, 2):
        return Reason.NO_GEOMETRY, "position, orientation or pixel spacing has a wrong number of values"
    if not _all_finite((*geometry.orientation, *geometry.position, *geometry.spacing)):
        return Reason.NO_GEOMETRY, "position, orientation or pixel spacing is not a finite number"
    if min(geometry.spacing) <= 0:
        return Reason.NO_GEOMETRY, f"pixel spacing {geometry.spacing[0]:g} x {geometry.spacing[1]:g} mm"
    row, column = geometry.orientation[:3], geometry.orientation[3:]
    dot = sum(a * b for a, b in zip(row, column, strict=True))
    error = max(abs(math.hypot(*row) - 1), abs(math.hypot(*column) - 1), abs(dot))
    if error > COSINE_TOLERANCE:
        return Reason.NO_GEOMETRY, f"direction cosines are off unit length or a right angle by {error:.3g}"
    return None


def _rescale_problem(frame: Frame) -> tuple[Reason, str] | None:
    # NIfTI stores slope and intercept as 32-bit floats, which end near 1e38; a slope of 0 would erase the image
    if not (1e-30 < abs(frame.slope) < 1e30 and abs(frame.intercept) < 1e30):
        return Reason.UNSUPPORTED, f"rescale slope {frame.slope:g}, intercept {frame.intercept:g}"
    return None


def _all_finite(values: Collection[float]) -> bool:
    # no position lies beyond 1e6 mm, and there a 32-bit float no longer resolves hundredths of a millimetre
    return all(math.isfinite(value) and abs(value) < 1e6 for value in values)
