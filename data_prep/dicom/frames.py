"""The records that describe one image: `Frame` is a single-frame file, or one frame of a multi-frame object."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

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
    decimals
        How many decimals the position is written with; None where it is stored as binary numbers.
    """

    orientation: Vector
    position: Vector
    spacing: Vector
    decimals: int | None = field(default=None, compare=False)

    @property
    def normal(self) -> npt.NDArray[np.float64]:
        """Unit normal of the slice, row direction × column direction (LPS)."""
        a, b, c, d, e, f = self.orientation
        normal = np.array([b * f - c * e, c * d - a * f, a * e - b * d])  # np.cross takes 50 times as long
        return normal / np.linalg.norm(normal)


@dataclass(frozen=True, slots=True, order=True)
class Patient:
    """Digests of the values that tell patients apart; each is empty where the header has no value.

    Only whether two of them are equal is ever used: no output holds a digest.
    """

    number: str = ""
    name: str = ""
    birth_date: str = ""
    sex: str = ""

    @property
    def is_known(self) -> bool:
        """Whether the header has a PatientID, or a name."""
        return bool(self.number or self.name)

    def differs(self, other: Patient) -> bool:
        """Whether these are two patients: a value that both headers have is not the same."""
        pairs = (
            (self.number, other.number),
            (self.name, other.name),
            (self.birth_date, other.birth_date),
            (self.sex, other.sex),
        )
        return any(own and others and own != others for own, others in pairs)


@dataclass(frozen=True, slots=True)
class Identity:
    """The patient, study and series that a frame belongs to, and the names of its output folder and file.

    ``examination`` is a digest of the study's date, time, number and accession number; empty if it has none of them.
    """

    study: str
    series: str
    study_name: str
    series_name: str
    series_number: int | None
    frame_of_reference: str
    description: str
    patient: Patient
    examination: str = ""

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
        Set when this frame cannot be used, even with other neighbours.
    note
        What ``detail`` of its stack says in any case, such as how the header had to be understood.
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
    note: str = ""

    def noted(self, note: str) -> Frame:
        """The frame with a further note, unless it has that already."""
        return self if note in self.note else replace(self, note="; ".join(filter(None, (self.note, note))))

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
