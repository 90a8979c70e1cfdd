"""The volumes of a study as pictures: where each lies, and its slices as PNG."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from monai_spine.crops.stack import Stack, file_state, open_position, open_stack
from monai_spine.crops.view import DIRECTIONS
from monai_spine.data.corrections import VolumePlace
from monai_spine.data.datalist import Record
from monai_spine.data.volume import affine_of, open_volume
from monai_spine.data.volume_names import volume_names
from monai_spine.errors import SpineError
from monai_spine.geometry import Array, Plane, contains, spacing
from monai_spine.spine import SeriesType

GAMMA = 0.8
"""Lifts the dark discs a little, as the pictures of the reports."""
_LETTERS = (("R", "L"), ("A", "P"), ("S", "I"))
"""Ends of the patient's axes x, y, z in RAS: towards plus, towards minus."""


@dataclass(frozen=True)
class ShownVolume:
    """A volume as the page shows it: sagittal ones from the patient's left, axial ones from the feet.

    Attributes
    ----------
    file, name
        The file, and its name in the outputs.
    affine
        ``(4, 4)`` from the column, row and slice of the pictures to RAS mm.
    shape
        Columns, rows and slices.
    """

    file: Path
    name: str
    series_type: SeriesType
    affine: Array
    shape: tuple[int, int, int]

    @property
    def plane(self) -> Plane:
        """That of its series type."""
        return Plane.AXIAL if self.series_type is SeriesType.AXIAL_T2 else Plane.SAGITTAL

    def letters(self) -> dict[str, str]:
        """Which end of the patient is at each edge of the pictures, and at the first and the last slice."""
        ends = {("left", "right"): 0, ("top", "bottom"): 1, ("first", "last"): 2}
        named = {}
        for (start, end), axis in ends.items():
            named[start], named[end] = letter(-self.affine[:3, axis]), letter(self.affine[:3, axis])
        return named

    def holds(self, point: Any, margin_mm: float) -> bool:
        """Whether a point (RAS mm) is inside, or not farther outside than a margin."""
        return bool(contains(self.affine, self.shape, point, margin_mm))

    def stored_place(self) -> VolumePlace:
        """Shape and affine of the file itself."""
        image = open_volume(self.file)
        i, j, k = image.shape
        affine = tuple(tuple(round(float(value), 6) for value in row) for row in affine_of(image))
        return VolumePlace((i, j, k), affine)

    def content(self) -> dict[str, Any]:
        """For the page."""
        columns, rows, slices = self.shape
        return {
            "name": self.name,
            "title": self.series_type.title,
            "plane": self.plane.value,
            "columns": columns,
            "rows": rows,
            "slices": slices,
            "spacing": spacing(self.affine).round(5).tolist(),
            "to_world": self.affine[:3].round(9).tolist(),
            "to_picture": np.linalg.inv(self.affine)[:3].round(9).tolist(),
            "letters": self.letters(),
        }


def letter(direction: Array) -> str:
    """The letter of the side to which a direction in RAS mainly points: R, L, A, P, S or I."""
    axis = int(np.abs(direction).argmax())
    return _LETTERS[axis][int(direction[axis] < 0)]


def shown_volumes(record: Record) -> list[ShownVolume]:
    """All volumes of a study whose headers can be read; nothing but the headers is read."""
    names, volumes = volume_names(record), []
    for series_type in (SeriesType.SAGITTAL_T2, SeriesType.SAGITTAL_T1, SeriesType.AXIAL_T2):
        for file in record[series_type.value]:
            try:
                stack = _turned(open_position(file), series_type)
            except SpineError:
                continue  # predict has left it out, and its reason is among the volumes of the findings
            volumes.append(ShownVolume(Path(file), names[str(file)], series_type, stack.affine, stack.shape))
    return volumes


def _turned(stack: Stack, series_type: SeriesType) -> Stack:
    plane = Plane.AXIAL if series_type is SeriesType.AXIAL_T2 else Plane.SAGITTAL
    return stack.turned(DIRECTIONS[plane])


@dataclass
class _Slot:
    lock: threading.Lock = field(default_factory=threading.Lock)
    stack: Stack | None = None


class SlicePictures:
    """Slices as PNG, of volumes that stay open: the least recently used ones are dropped beyond a limit of memory.

    Several threads may ask at once. A file that has changed is opened anew.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._slots: OrderedDict[tuple[str | int, ...], _Slot] = OrderedDict()
        self._lock = threading.Lock()

    def png(self, volume: ShownVolume, k: int) -> bytes:
        """Slice ``k`` of a volume: 8-bit grey, windowed as in the crops of the grader.

        Raises
        ------
        InvalidVolumeError, MissingInputError
            If the volume cannot be read.
        IndexError
            If it has no such slice.
        """
        if not 0 <= k < volume.shape[2]:
            raise IndexError(f"{volume.name} has {volume.shape[2]} slices")
        stack = _turned(self._open(volume.file), volume.series_type)
        columns, rows, _ = stack.shape
        grey = (stack.block((0, 0, k), (columns, rows, k + 1))[0] ** GAMMA * 255).astype(np.uint8)
        coded = io.BytesIO()
        # Level 1 takes 3 ms for 512 × 512 pixels, the default 20; the bytes stay on this machine.
        Image.fromarray(grey).save(coded, "PNG", compress_level=1)
        return coded.getvalue()

    def _open(self, file: Path) -> Stack:
        key = (str(file), *file_state(file))
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            self._slots.move_to_end(key)
        with slot.lock:  # of this volume alone: others are served while it is unpacked
            if slot.stack is None:
                slot.stack = open_stack(file)
            stack = slot.stack
        with self._lock:
            while len(self._slots) > 1 and self.used_bytes > self.most_bytes:
                self._slots.popitem(last=False)
        return stack

    @property
    def used_bytes(self) -> int:
        """Bytes that the open volumes take."""
        return sum(slot.stack.voxels.nbytes for slot in list(self._slots.values()) if slot.stack is not None)
