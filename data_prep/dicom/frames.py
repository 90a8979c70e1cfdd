"""The records that describe one image: `Frame` is a single-frame file, or one frame of a multi-frame object."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from data_prep.dicom.refusals import Reason

Vector = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Pixels:
    """How a file stores its pixels; all frames of the file share this record.

    Attributes
    ----------
    offset, length
        Bytes: where the value of the pixel data starts, and how long it is. ``length`` is None for encapsulated
        (compressed) data.
    frames
        NumberOfFrames.
    own_reader
        Why the converter's own reader has to read the pixels; empty if SimpleITK reads them right.
    """

    location: str
    syntax: str
    offset: int
    length: int | None
    rows: int
    columns: int
    frames: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    own_reader: str = ""

    @property
    def frame_bytes(self) -> int:
        """Bytes of one decoded frame."""
        return self.rows * self.columns * self.bits_allocated // 8

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The type of the stored values, in native byte order."""
        return np.dtype(f"{'i' if self.signed else 'u'}{self.bits_allocated // 8}")


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where a frame lies, as its header says: LPS mm (see `monai_spine.geometry.affine_from_dicom`).

    Attributes
    ----------
    orientation
        ImageOrientationPatient, six cosines.
    position
        ImagePositionPatient, mm.
    spacing
        PixelSpacing: mm between rows, then between columns.
    """

    orientation: Vector
    position: Vector
    spacing: Vector

    @property
    def normal(self) -> npt.NDArray[np.float64]:
        """Unit normal of the slice, row direction × column direction (LPS)."""
        a, b, c, d, e, f = self.orientation
        normal = np.array([b * f - c * e, c * d - a * f, a * e - b * d])  # np.cross takes 50 times as long
        return normal / np.linalg.norm(normal)


@dataclass(frozen=True, slots=True)
class Identity:
    """The study and series that a frame belongs to, and the names of its output folder and file.

    ``patient`` is a digest of the PatientID. It separates two patients whose UIDs an anonymiser made equal.
    """

    study: str
    series: str
    study_name: str
    series_name: str
    series_number: int | None
    frame_of_reference: str
    description: str
    patient: str

    @property
    def names(self) -> tuple[str, str]:
        """Names of the output folder and file."""
        return self.study_name, self.series_name


@dataclass(frozen=True, slots=True)
class Contrast:
    """What an image shows. Frames that differ in any of these never share a volume."""

    image_type: tuple[str, ...]
    component: str
    photometric: str
    echo_time: float | None
    echo_number: int | None
    b_value: float | None


@dataclass(frozen=True, slots=True)
class Frame:
    """One image: a single-frame file, or one frame of a multi-frame object.

    Attributes
    ----------
    path, index
        The file's name in the tables, and the 0-based frame number; ``index`` is None for a single-frame file.
    uid, instance
        SOPInstanceUID and InstanceNumber.
    hints
        Values by name that may tell apart volumes at the same positions (temporal position, acquisition, …).
    parameters
        White-listed sequence parameters for the sidecar. Frames with equal parameters share one object.
    reason, detail
        Set when this frame cannot be used, whatever its neighbours are.
    """

    path: str
    index: int | None
    identity: Identity
    uid: str
    instance: int | None
    contrast: Contrast
    pixels: Pixels
    geometry: Geometry | None
    slope: float
    intercept: float
    hints: tuple[tuple[str, object], ...] = ()
    parameters: tuple[tuple[str, object], ...] = field(default=(), compare=False)
    reason: Reason | None = None
    detail: str = ""

    @property
    def number(self) -> int:
        """The slice's number in messages: InstanceNumber, or the frame number counted from 1."""
        if self.index is not None:
            return self.index + 1
        return self.instance or 0


@dataclass(frozen=True, slots=True)
class FileHeader:
    """One input file: its frames, or the reason why it has none."""

    path: str
    frames: tuple[Frame, ...] = ()
    reason: Reason | None = None
    detail: str = ""
