"""The source images of a study: the DICOM frames that show its findings, and whose study they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from pydicom import Dataset

from monai_spine.errors import SpineError, counted
from monai_spine.geometry import LPS_TO_RAS
from monai_spine.prediction.source_frame import SourceFrame
from monai_spine.report.study_result import Point


class NoDicomError(SpineError):
    """No DICOM objects can be made of a study; the message says why, without the patient's identity."""


NIFTI = "the study came as NIfTI; DICOM objects need the DICOM images as inputs of predict"
IDENTITY = ("StudyInstanceUID", "PatientID", "PatientName", "PatientBirthDate")
"""Elements in which all images of a study must agree."""
_MOST_IDENTITIES = 8
"""Notes of one study; more would be a flood in an archive."""
_NEEDED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


@dataclass(frozen=True)
class SourceImage:
    """A frame of a source object.

    Attributes
    ----------
    header
        Of its file.
    frame
        The frame's number from 0 in a multi-frame object; None in an object of one image.
    """

    header: Dataset
    frame: int | None = None

    @cached_property
    def _geometry(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Position, directions along a row and along a column (all LPS), and spacing between rows and columns in mm."""
        plane, pixels, position = self.header, self.header, self.header
        if self.frame is not None:
            position = self._group("PlanePositionSequence")
            plane = self._group("PlaneOrientationSequence")
            pixels = self._group("PixelMeasuresSequence")
        cosines = np.array(plane.ImageOrientationPatient, dtype=np.float64)
        spacing = np.array(pixels.PixelSpacing, dtype=np.float64)
        return np.array(position.ImagePositionPatient, dtype=np.float64), cosines[:3], cosines[3:], spacing

    def _group(self, keyword: str) -> Dataset:
        """A functional group of the frame, else of all frames."""
        own = self.header.PerFrameFunctionalGroupsSequence[self.frame]
        group: Dataset = (own if keyword in own else self.header.SharedFunctionalGroupsSequence[0])[keyword].value[0]
        return group

    def reference(self) -> Dataset:
        """An item that refers to the object, as a sequence of source images or instances holds it."""
        item = Dataset()
        item.ReferencedSOPClassUID = self.header.SOPClassUID
        item.ReferencedSOPInstanceUID = self.header.SOPInstanceUID
        return item

    def image_point(self, point: Point) -> tuple[float, float]:
        """Column and row of a point (RAS mm), projected onto the image.

        In the convention of SCOORD (PS3.3 C.18.6.1.1): 0, 0 is the outer corner of the first pixel, and its centre is
        0.5, 0.5.
        """
        position, along_row, along_column, spacing = self._geometry
        offset = LPS_TO_RAS @ np.asarray(point) - position
        return float(offset @ along_row / spacing[1] + 0.5), float(offset @ along_column / spacing[0] + 0.5)

    @property
    def frame_numbers(self) -> list[int] | None:
        """For references: the frame's number from 1."""
        return None if self.frame is None else [self.frame + 1]


@dataclass
class SourceImages:
    """The source images of a study, each file read once."""

    frames: Mapping[tuple[str, int], SourceFrame]
    _read: dict[SourceFrame, SourceImage] = field(default_factory=dict)

    def image(self, volume: str | None, index: int | None, axis: int | None) -> SourceImage | None:
        """The source of a volume's slice; None if it was not made from a DICOM frame.

        Raises
        ------
        NoDicomError
            If the file cannot be read any more, or lacks what a reference needs.
        """
        # Axis 2 is that of the slices in all volumes of the converter.
        if volume is None or index is None or axis != 2 or (volume, index) not in self.frames:
            return None
        frame = self.frames[volume, index]
        if frame not in self._read:
            header = frame.header()
            lacking = [key for key in _NEEDED if header is None or not header.get(key)]
            if header is None or lacking:
                raise NoDicomError(f"a source image of {volume} cannot be read, or has no {lacking[0]}")
            self._read[frame] = SourceImage(header, int(frame.frame) if frame.frame else None)
        return self._read[frame]

    def add(self, frames: Iterable[SourceFrame], study: str) -> None:
        """Read the images of a study among files that are in no volume; other files are left out."""
        for frame in frames:
            header = frame.header()
            if header is not None and all(header.get(key) for key in _NEEDED) and header.StudyInstanceUID == study:
                self._read[frame] = SourceImage(header)

    @property
    def read(self) -> list[SourceImage]:
        """All images that were read."""
        return list(self._read.values())

    def checked(self) -> list[SourceImage]:
        """All images that were read, which belong to one study of one patient.

        Raises
        ------
        NoDicomError
            If there are none, or they belong to several.
        """
        images = self._some()
        if contradiction := _contradiction(images):
            raise NoDicomError(
                f"expected images of one study of one patient, but they have {contradiction}; objects of two patients "
                "must not be mixed"
            )
        return images

    def by_identity(self) -> list[list[SourceImage]]:
        """All images that were read; if they contradict each other, a list for each identity, of its own images.

        Raises
        ------
        NoDicomError
            If there are none, or they have more than a few identities.
        """
        images = self._some()
        if not (contradiction := _contradiction(images)):
            return [images]
        groups: dict[tuple[str, ...], list[SourceImage]] = {}
        for one in images:
            # As they are: an image that lacks a value may be of any of the patients.
            groups.setdefault(tuple(_value(one, keyword) for keyword in IDENTITY), []).append(one)
        if len(groups) > _MOST_IDENTITIES:
            raise NoDicomError(f"its images have {contradiction}: {len(groups)} notes would be too many")
        return list(groups.values())

    def _some(self) -> list[SourceImage]:
        if not self.read:
            raise NoDicomError(NIFTI if not self.frames else "no source image shows a finding")
        return self.read


def _value(image: SourceImage, keyword: str) -> str:
    return str(image.header.get(keyword) or "")


def _contradiction(images: Iterable[SourceImage]) -> str:
    """How many values of an element of `IDENTITY` images have; empty if they agree."""
    for keyword in IDENTITY:
        values = {_value(one, keyword) for one in images} - {""}
        if len(values) > 1:
            return f"{counted(len(values), 'value')} of {keyword}"
    return ""
