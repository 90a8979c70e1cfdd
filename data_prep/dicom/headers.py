"""One input file → its frames: identity, geometry, kind, place of the pixels; checked, in one pass over the header."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Collection
from dataclasses import replace

from pydicom.uid import UID

from data_prep.choices import MAX_BYTES
from data_prep.dicom import enhanced, parameters, vendors
from data_prep.dicom.elements import (
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    GE_BIG_ENDIAN,
    IMPLICIT,
    Elements,
    Header,
    read_elements,
)
from data_prep.dicom.encapsulated import check_fragments
from data_prep.dicom.frames import FileHeader, Frame, Geometry, Identity, Kind, Pixels
from data_prep.dicom.reasons import Reason, Refused
from data_prep.dicom.sources import Source
from data_prep.dicom.tags import TAGS

logger = logging.getLogger(__name__)

COSINE_TOLERANCE = 2e-3
"""How far direction cosines may be from unit length and from a right angle: what three decimals leave."""

NATIVE = {IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED, GE_BIG_ENDIAN}
"""Transfer syntaxes whose pixel data are not compressed."""

SPECTRA_AND_RAW = ("1.2.840.10008.5.1.4.1.1.4.2", "1.2.840.10008.5.1.4.1.1.66", "1.3.12.2.1107.5.9.1")


def read_header(source: Source, *, max_bytes: int = MAX_BYTES) -> FileHeader:
    """Read one file's header; never raises for what the file holds."""
    if source.reason is not None:
        return FileHeader(source.path, (), source.reason, source.detail)
    try:
        header = read_elements(source.location, TAGS, max_bytes)
        return FileHeader(source.path, _frames(source, header, max_bytes))
    except Refused as refusal:
        return FileHeader(source.path, (), refusal.reason, refusal.detail)
    except OSError as error:
        return FileHeader(source.path, (), Reason.UNREADABLE, error.strerror or type(error).__name__)
    except (Exception, RecursionError) as error:  # the parser raises errors of every kind on rubbish
        # the message of such an error may quote a value of the header, so only its type is passed on
        return FileHeader(source.path, (), Reason.UNREADABLE, f"damaged header ({type(error).__name__})")


def _frames(source: Source, header: Header, max_bytes: int) -> tuple[Frame, ...]:
    elements = header.elements
    _check_is_image(header)
    pixels = _pixels(source.location, header)
    if pixels.frame_bytes * pixels.frames > max_bytes:
        raise Refused(Reason.TOO_LARGE, f"declares {pixels.frame_bytes * pixels.frames} bytes, at most {max_bytes}")
    problem = _problem(source.location, header, pixels)
    if problem and problem[0] is Reason.TRUNCATED and pixels.frames > 1:  # before a frame is made for each of billions
        raise Refused(*problem)
    template = _template(source.path, elements, pixels)
    groups = enhanced.groups(elements.dataset, pixels.frames)
    if groups is not None:
        frames = tuple(enhanced.frame(template, index, group) for index, group in enumerate(groups))
    elif pixels.frames > 1:
        frames = tuple(_positionless(template, index) for index in range(pixels.frames))
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
        raise Refused(Reason.TRUNCATED, "an image's header, but no pixel data")
    if sop_class:
        raise Refused(Reason.NOT_AN_IMAGE, "a DICOM object without an image")
    raise Refused(Reason.UNREADABLE, "no DICOM object can be made out")


def _pixels(location: str, header: Header) -> Pixels:
    """The pixel module, complete and possible.

    Raises
    ------
    Refused
        ``UNREADABLE`` for absent or absurd values, ``COLOUR`` and ``UNSUPPORTED`` for formats that are not handled.
    """
    elements, element = header.elements, header.pixels
    assert element is not None
    rows, columns = elements.short(0x00280010), elements.short(0x00280011)
    if not rows or not columns:
        raise Refused(Reason.UNREADABLE, f"impossible matrix: {rows} rows, {columns} columns")
    frames = elements.integer(0x00280008) if elements.data(0x00280008).strip(b" \0") else 1
    if frames is None or frames < 1:
        raise Refused(Reason.UNREADABLE, "impossible number of frames")
    _check_grey(elements)
    allocated = elements.short(0x00280100) or 0
    stored = elements.short(0x00280101) or allocated
    if allocated not in {8, 16, 32} or stored > allocated or element.tag != 0x7FE00010:
        raise Refused(Reason.UNSUPPORTED, f"pixels of {allocated} bits, {stored} of them used")
    if (high := elements.short(0x00280102)) not in {None, stored - 1}:
        raise Refused(Reason.UNSUPPORTED, f"{stored} bits are in use, but the highest is number {high}")
    return Pixels(
        location=location,
        syntax=header.syntax,
        offset=element.offset,
        length=element.length,
        rows=rows,
        columns=columns,
        frames=frames,
        bits_allocated=allocated,
        bits_stored=stored,
        signed=elements.short(0x00280103) == 1,
        swapped=_swapped(header, allocated),
    )


def _swapped(header: Header, allocated: int) -> int:
    """How many bytes at a time are in the other order: in a word where the element is one of words."""
    element = header.pixels
    assert element is not None
    if header.syntax == GE_BIG_ENDIAN:
        if allocated != 16:
            raise Refused(Reason.UNSUPPORTED, f"pixels of {allocated} bits in GE's private big endian syntax")
        return 2
    return 1 if element.little_endian else max(allocated // 8, 2 if element.vr == "OW" else 1)


def _check_grey(elements: Elements) -> None:
    photometric = elements.text(0x00280004)
    if (elements.short(0x00280002) or 1) != 1 or photometric.startswith(("RGB", "YBR", "PALETTE", "HSV", "ARGB")):
        raise Refused(Reason.COLOUR, f"{photometric or 'colour'} with {elements.short(0x00280002)} samples per pixel")
    if elements.has_items(0x00283000):
        raise Refused(Reason.UNSUPPORTED, "values are mapped by a lookup table")


def _problem(location: str, header: Header, pixels: Pixels) -> tuple[Reason, str] | None:
    """What keeps every frame of the file from being used although its header is sound."""
    elements = header.elements
    image_type = elements.texts(0x00080008)
    if "MOSAIC" in image_type or vendors.tiles(elements) > 1:
        return Reason.MOSAIC, "the slices of a volume are tiled into one image"
    if "LOCALIZER" in image_type[2:]:
        return Reason.LOCALIZER, "ImageType says LOCALIZER"
    return _pixel_problem(location, header, pixels)


def _pixel_problem(location: str, header: Header, pixels: Pixels) -> tuple[Reason, str] | None:
    needed = pixels.frame_bytes * pixels.frames
    if pixels.length is None and pixels.syntax in NATIVE:
        return Reason.UNREADABLE, "compressed pixel data under the transfer syntax of uncompressed ones"
    if pixels.length is None:
        return check_fragments(location, pixels, header.size)
    if pixels.syntax not in NATIVE and pixels.length != needed + needed % 2:  # equal: decompressed, the UID left
        return Reason.UNREADABLE, "compressed pixel data that are not encapsulated"
    available = min(pixels.length, header.size - pixels.offset)
    if available < needed:
        return Reason.TRUNCATED, f"{available} of {needed} bytes of pixel data"
    return None


def _template(path: str, elements: Elements, pixels: Pixels) -> Frame:
    """The frame of a single-frame file, or what the frames of a multi-frame object have in common."""
    return Frame(
        path=path,
        index=None,
        identity=_identity(elements),
        uid=elements.text(0x00080018),
        instance=elements.integer(0x00200013),
        kind=_kind(elements),
        pixels=pixels,
        geometry=_geometry(elements),
        slope=_given(elements, 0x00281053, 1.0),
        intercept=_given(elements, 0x00281052, 0.0),
        hints=_hints(elements),
        parameters=parameters.collect(elements),
    )


def _given(elements: Elements, tag: int, otherwise: float) -> float:
    """A number that is NaN or infinite when the header says so: only an absent one is replaced."""
    return elements.numbers(tag)[0] if elements.data(tag).strip(b" \0") else otherwise


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
        patient=_digest(elements.data(0x00100020)),
    )


def _digest(value: bytes) -> str:
    """Equal for equal values, and nothing else: two patients are told apart without being known."""
    return hashlib.blake2b(value.strip(b" \0"), digest_size=8).hexdigest()


def _kind(elements: Elements) -> Kind:
    echo = elements.number(0x00180081)
    component = "/".join(filter(None, (elements.text(0x00089208), *vendors.component(elements))))
    return Kind(
        image_type=elements.texts(0x00080008),
        component=component,
        photometric=elements.text(0x00280004),
        echo_time=None if echo is None else round(echo, 3),
        echo_number=elements.integer(0x00180086),
        b_value=vendors.b_value(elements),
    )


def _hints(elements: Elements) -> tuple[tuple[str, object], ...]:
    """Values that may tell volumes apart, the most telling first."""
    hints = {
        "temporal position": elements.integer(0x00200100),
        "temporal index": elements.binary(0x00209128, "UL"),
        "diffusion direction": vendors.gradient(elements),
        "inversion time": elements.number(0x00180082),
        "flip angle": elements.number(0x00181314),
        "repetition time": elements.number(0x00180080),
        "acquisition": elements.integer(0x00200012),
        "trigger time": elements.number(0x00181060),
        "acquisition time": _time(elements),
    }
    return tuple((name, value) for name, value in hints.items() if value is not None)


def _time(elements: Elements) -> str | None:
    return elements.text(0x0008002A) or elements.text(0x00080022) + elements.text(0x00080032) or None


def _geometry(elements: Elements) -> Geometry | None:
    values = elements.numbers(0x00200037), elements.numbers(0x00200032), elements.numbers(0x00280030)
    if not all(values):
        return None
    return Geometry(*values)


def _positionless(template: Frame, index: int) -> Frame:
    return replace(template, index=index, geometry=None)


def _checked(frame: Frame, problem: tuple[Reason, str] | None) -> Frame:
    """The frame, with the reason set when it cannot be used."""
    misplaced = _geometry_problem(frame)
    if misplaced is not None:  # nobody after this meets an impossible geometry, whatever else is wrong
        frame = replace(frame, geometry=None)
    problem = problem or misplaced or _rescale_problem(frame)
    return frame if problem is None else replace(frame, reason=problem[0], detail=problem[1])


def _geometry_problem(frame: Frame) -> tuple[Reason, str] | None:
    geometry = frame.geometry
    if geometry is None:
        return Reason.NO_GEOMETRY, "no position, orientation or pixel spacing"
    if (len(geometry.orientation), len(geometry.position), len(geometry.spacing)) != (6, 3, 2):
        return Reason.NO_GEOMETRY, "position, orientation or pixel spacing of a wrong length"
    if not _all_finite((*geometry.orientation, *geometry.position, *geometry.spacing)):
        return Reason.NO_GEOMETRY, "position, orientation or pixel spacing is no finite number"
    if min(geometry.spacing) <= 0:
        return Reason.NO_GEOMETRY, f"pixel spacing {geometry.spacing[0]:g} x {geometry.spacing[1]:g} mm"
    row, column = geometry.orientation[:3], geometry.orientation[3:]
    dot = sum(a * b for a, b in zip(row, column, strict=True))
    error = max(abs(math.hypot(*row) - 1), abs(math.hypot(*column) - 1), abs(dot))
    if error > COSINE_TOLERANCE:
        return Reason.NO_GEOMETRY, f"direction cosines are off unit length or a right angle by {error:.3g}"
    return None


def _rescale_problem(frame: Frame) -> tuple[Reason, str] | None:
    if not (1e-30 < abs(frame.slope) < 1e30 and abs(frame.intercept) < 1e30):  # what NIfTI's 32-bit floats hold
        return Reason.UNSUPPORTED, f"rescale slope {frame.slope:g}, intercept {frame.intercept:g}"
    return None


def _all_finite(values: Collection[float]) -> bool:
    # beyond 1e6 mm nothing is a position, and float32 headers lose the hundredths of a millimetre
    return all(math.isfinite(value) and abs(value) < 1e6 for value in values)
