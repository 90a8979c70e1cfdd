"""A stack: frames that belong together, with the affine of their volume or the reason why they are refused."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data_prep.dicom.frames import Frame
from data_prep.dicom.refusals import Reason
from data_prep.dicom.stacks import placement
from monai_spine.geometry import Plane, plane_of_normal


@dataclass(frozen=True, slots=True)
class Stack:
    """Frames that belong together, converted or refused together.

    Attributes
    ----------
    volumes
        One tuple of frames per volume. The slices of a stack that can be converted are sorted along their normal (row ×
        column direction). A refused stack has all frames in one tuple, by position where they have one.
    affine
        ``(4, 4)`` from ``(column, row, slice)`` to RAS mm; None when refused.
    corner_mm
        How far the affine may put a slice's corner from where the slice's own header puts it, mm.
    """

    volumes: tuple[tuple[Frame, ...], ...]
    affine: npt.NDArray[np.float64] | None = None
    reason: Reason | None = None
    detail: str = ""
    corner_mm: float = placement.CORNER_TOLERANCE_MM

    @property
    def frames(self) -> tuple[Frame, ...]:
        """All frames, volume by volume."""
        return tuple(frame for volume in self.volumes for frame in volume)

    @property
    def is_4d(self) -> bool:
        """Whether it has several volumes."""
        return len(self.volumes) > 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Columns, rows, slices, and volumes where there are several: the shape of the NIfTI file."""
        pixels = self.first.pixels
        return (pixels.columns, pixels.rows, len(self.volumes[0]), *((len(self.volumes),) if self.is_4d else ()))

    @property
    def first(self) -> Frame:
        """The frame whose header describes the stack in the tables and the sidecar."""
        return self.volumes[0][0]

    @property
    def plane(self) -> Plane | None:
        """The anatomical plane that is closest to the slices; None without a geometry."""
        geometry = self.first.geometry
        return None if geometry is None else plane_of_normal(geometry.normal)
