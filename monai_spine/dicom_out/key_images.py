"""Key images: secondary captures that every viewer shows, of the levels and of the worst level of each condition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from highdicom.sc import SCImage
from PIL import Image, ImageDraw, ImageFont
from pydicom import Dataset

from monai_spine.bundle.provenance import RESEARCH
from monai_spine.crops.stack import open_stack
from monai_spine.crops.study import STUDY_IMAGES
from monai_spine.crops.view import DIRECTIONS
from monai_spine.data.datalist import Record, volumes
from monai_spine.dicom_out.identity import EQUIPMENT, SERIAL_NUMBER, SERIES_PREFIX, ObjectIdentity
from monai_spine.dicom_out.source_image import SourceImage, SourceImages
from monai_spine.geometry import Plane
from monai_spine.report.pdf_page import FONTS, drawable
from monai_spine.report.spine_picture import SpinePicture, slice_picture
from monai_spine.report.study_page import StudyPage
from monai_spine.report.study_result import FindingResult, StudyResult, worst
from monai_spine.report.wording import GRADES, percent, reader_words
from monai_spine.spine import Condition, Grade, SeriesType

SERIES_NUMBER = 9902
_SIDE_MM, _PIXELS_PER_MM = 130.0, 4.0
_COLOURS = {Grade.NORMAL_MILD: (98, 195, 168), Grade.MODERATE: (255, 184, 77), Grade.SEVERE: (255, 123, 142)}
_GREY, _WHITE = (182, 188, 198), (255, 255, 255)
_RING = 26

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class KeyImage:
    """A picture ``(rows, columns, 3)`` with text in it; ``source`` is the image that it shows.

    ``orientation`` is None for a picture of text alone. ``read`` has the grades that are shown if readers changed one;
    else it is empty.
    """

    pixels: Picture
    title: str
    orientation: tuple[str, str] | None
    source: SourceImage | None
    read: str = ""


def key_images(page: StudyPage, record: Record, sources: SourceImages) -> list[KeyImage]:
    """The levels, then for each condition that any image shows the slice of its worst level, marked.

    The worst is that by the reader's grades, where there are any.

    Raises
    ------
    InvalidVolumeError, MissingInputError, NoDicomError
        If a volume or a source image cannot be read.
    """
    return [*_levels(page, sources), *_worst(page.result, record, sources)]


def _levels(page: StudyPage, sources: SourceImages) -> Iterator[KeyImage]:
    spine = page.spine
    if spine is None:
        return
    picture = _canvas(spine.pixels, margin=190)
    draw, font = ImageDraw.Draw(picture), _font(18)
    grades, programs = [], []
    for level, (x, y) in spine.levels.items():
        shown, program = worst(page.result.at(level), read=True), worst(page.result.at(level))
        colour = _COLOURS[shown.read_grade] if shown else _GREY
        draw.line((x - 7, y, x + 7, y), fill=colour, width=2)
        draw.line((x, y - 7, x, y + 7), fill=colour, width=2)
        draw.line((x + 12, y, spine.pixels.shape[1] + 4, y), fill=colour)
        words = GRADES[shown.read_grade] if shown else "not seen"
        words += ", reader" if shown and shown.reader else ""
        grades.append(words)
        programs.append(GRADES[program.grade] if program else "not seen")
        draw.text((spine.pixels.shape[1] + 8, y - 20), f"{level.title}\n{words}", colour, font)
    source = sources.image(_name(spine), spine.slice_index, spine.slice_axis)
    read = "" if grades == programs else "; ".join(grades)
    yield KeyImage(_captioned(picture, "Levels"), "Levels", ("P", "F"), source, read)


def _name(spine: SpinePicture) -> str:
    return spine.volume.replace("\\", "/").rpartition("/")[2]


def _worst(result: StudyResult, record: Record, sources: SourceImages) -> Iterator[KeyImage]:
    opened = record[STUDY_IMAGES].open if STUDY_IMAGES in record else open_stack
    files = {file.replace("\\", "/").rpartition("/")[2]: file for file in volumes(record)}
    for condition in Condition:
        shown_by_slices = [one for one in result.of(condition) if one.covered]
        one = worst(shown_by_slices, read=True)
        if one is None or one.series not in files or one.point is None or one.slice_index is None:
            continue
        axial = one.series_type is SeriesType.AXIAL_T2
        stack = opened(files[one.series]).turned(DIRECTIONS[Plane.AXIAL if axial else Plane.SAGITTAL])
        # The slice is counted as stored; a turned stack may count it from the other end.
        k = next(k for k in range(stack.shape[2]) if stack.stored_slice(k)[1] == one.slice_index)
        shown = slice_picture(stack, k, one.point, (_SIDE_MM, _SIDE_MM), _PIXELS_PER_MM)
        picture = _canvas(shown.pixels)
        x, y = shown.place(one.point)
        box = (x - _RING, y - _RING, x + _RING, y + _RING)
        ImageDraw.Draw(picture).ellipse(box, outline=_COLOURS[one.read_grade], width=3)
        source = sources.image(one.series, one.slice_index, one.slice_axis)
        title = _title(one)
        read = title if one.reader or one is not worst(shown_by_slices) else ""
        yield KeyImage(_captioned(picture, title), title, ("L", "P") if axial else ("P", "F"), source, read)


def _title(one: FindingResult) -> str:
    share = percent(one.natural[one.grade]).replace("\N{NO-BREAK SPACE}", " ")
    reader = f"; reader {reader_words(one.reader.grade, one.reader.by)}" if one.reader else ""
    return f"{one.finding.level.title} {one.finding.condition.title}: {GRADES[one.grade]}, {share}{reader}"


def _canvas(pixels: Picture, margin: int = 0) -> Image.Image:
    rows, columns = pixels.shape
    picture = Image.new("RGB", (columns + margin, rows), "black")
    picture.paste(Image.fromarray(pixels).convert("RGB"), (0, 0))
    return picture


def _captioned(picture: Image.Image, title: str) -> Picture:
    """The picture with its title above and the notice below: a viewer may show it alone."""
    framed = Image.new("RGB", (picture.width, picture.height + 64), "black")
    framed.paste(picture, (0, 34))
    draw = ImageDraw.Draw(framed)
    # Initials of other scripts have no letters in the usual font.
    font = _font(17) if title.isascii() else ImageFont.truetype(FONTS["Sans"], 14)
    draw.text((8, 7), drawable(title), _WHITE, font)
    draw.text((8, framed.height - 23), RESEARCH, _COLOURS[Grade.MODERATE], _font(13))
    return np.asarray(framed)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def secondary_captures(
    images: list[KeyImage], identity: ObjectIdentity, series: str = "key images of graded findings"
) -> list[Dataset]:
    """Objects of one series, which is described by ``series``."""
    objects: list[Dataset] = []
    own = identity.holding("".join(image.title for image in images))
    for number, image in enumerate(images, start=1):
        capture = SCImage(
            pixel_array=image.pixels,
            photometric_interpretation="RGB",
            bits_allocated=8,
            coordinate_system="PATIENT",
            patient_orientation=image.orientation or ("L", "F"),
            study_instance_uid=identity.study,
            series_instance_uid=identity.uid(series),
            series_number=SERIES_NUMBER,
            sop_instance_uid=identity.uid(f"{series} {number}"),
            instance_number=number,
            device_serial_number=SERIAL_NUMBER,
            series_description=f"{SERIES_PREFIX}{series}",
            **EQUIPMENT,
        )
        if image.orientation is None:
            capture.PatientOrientation = []
        capture.ImageType = ["DERIVED", "SECONDARY"]
        capture.ConversionType = "WSD"
        capture.BodyPartExamined = "LSPINE"
        capture.BurnedInAnnotation = "YES"
        capture.ImageComments = image.title
        if image.source is not None:
            capture.SourceImageSequence = [_reference(image.source)]
            capture.DerivationDescription = "A slice of the source image with marks and text drawn in"
        own.apply(capture)
        objects.append(capture)
    return objects


def _reference(source: SourceImage) -> Dataset:
    item = source.reference()
    if source.frame_numbers:
        item.ReferencedFrameNumber = source.frame_numbers[0]
    return item
