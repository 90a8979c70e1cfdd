"""The records that everything after the header works with: one `Frame` per image, single or of a multi-frame object."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from data_prep.dicom.reasons import Reason

Vector = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Pixels:
    """How a file's pixels are stored; shared by its frames.

    Attributes
    ----------
    offset, length
        Of the pixel data's value, in bytes; ``length`` is None for encapsulated (compressed) data.
    swapped
        Big endian: 2 for bytes swapped in pairs, 4 in fours, 1 for not swapped.
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
    swapped: int = 1

    @property
    def frame_bytes(self) -> int:
        """Bytes of one decoded frame."""
        return self.rows * self.columns * self.bits_allocated // 8


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where a frame lies: values of its own header, LPS mm (see `monai_spine.geometry.affine_from_dicom`).

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
    """To what a frame belongs; the names are those of its output folder and file.

    ``patient`` is a digest of the PatientID: it tells two patients apart under UIDs that an anonymiser made equal.
    """

    study: str
    series: str
    study_name: str
    series_name: str
    series_number: int | None
    frame_of_reference: str
    description: str
    patient: str = ""

    @property
    def names(self) -> tuple[str, str]:
        """Of the output folder and file."""
        return self.study_name, self.series_name


@dataclass(frozen=True, slots=True)
class Kind:
    """What must be equal for frames to share a volume: never stacked together when any of these differ."""

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
        The file's name in the tables, and the 0-based frame; None for a single-frame file.
    hints
        Values that may tell volumes at the same positions apart (temporal position, acquisition, ...), by name.
    parameters
        White-listed sequence parameters for the sidecar, equal ones shared between frames.
    reason, detail
        Set when this frame cannot be used whatever its neighbours are.
    """

    path: str
    index: int | None
    identity: Identity
    uid: str
    instance: int | None
    kind: Kind
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
        """InstanceNumber, or the frame number counted from 1, as messages name the slice."""
        if self.index is not None:
            return self.index + 1
        return self.instance or 0


@dataclass(frozen=True, slots=True)
class FileHeader:
    """What was learnt of one input file: its frames, or why it has none."""

    path: str
    frames: tuple[Frame, ...] = ()
    reason: Reason | None = None
    detail: str = ""
