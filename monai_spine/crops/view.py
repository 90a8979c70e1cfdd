"""Views: what is cut out of a study at each level, by series, plane, size in mm and number of slices."""

import inspect
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from monai_spine.errors import InvalidOptionError
from monai_spine.geometry import Array, Plane
from monai_spine.spine import Group, SeriesType

ABSENT = -1.0
"""Pixel value of a slice that no stack shows, for networks that do not take masks. Tissue is from 0 to 1, so the
network can tell a missing slice from a dark one."""


class Interpolation(str, Enum):
    """What a plane between two slices of a stack shows."""

    NATIVE = "native"
    """The nearest slice as it was acquired."""
    LINEAR = "linear"
    """Linear interpolation of both."""


@dataclass(frozen=True, kw_only=True)
class View:
    """A block of parallel planes around every level.

    Sagittal planes are normal to the level's left-right axis and run from the patient's left to the right; a plane's
    rows run downwards and its columns backwards, so that the patient looks to the left. Axial planes are normal to the
    canal's axis and run upwards; rows run backwards and columns to the patient's left, as seen from the feet.

    Raises `InvalidOptionError` if a value cannot be used.
    """

    name: str
    """The key of the crops; also that of the mask, ``<name>_mask``."""
    plane: Plane
    """`Plane.SAGITTAL` or `Plane.AXIAL`, or their names."""
    series: tuple[SeriesType, ...]
    """Series types to cut from, the preferred one first. The next is the substitute where no stack shows a level."""
    anchor: Group = Group.SPINAL
    """The point that the view is centred on; see `LevelFrame.anchors`."""
    size_mm: tuple[float, float] = (64.0, 64.0)
    """Height and width of a plane."""
    pixels: tuple[int, int] = (128, 128)
    """Rows and columns of a plane."""
    slices: int = 7
    gap_mm: float = 4.0
    """``slices``, ``gap_mm``: number of planes, and millimetres from one to the next."""
    interpolation: Interpolation = Interpolation.NATIVE
    """``native`` shows each plane by the nearest acquired slice. ``linear`` interpolates; between slices 4 mm apart
    that gives anatomy that does not exist, with less noise and softer edges towards the middle."""

    def __post_init__(self) -> None:
        try:
            converted = {
                "plane": Plane(self.plane),
                "series": tuple(SeriesType(series_type) for series_type in self.series),
                "anchor": Group(self.anchor),
                "interpolation": Interpolation(self.interpolation),
                "size_mm": tuple(float(mm) for mm in self.size_mm),
                "pixels": tuple(int(n) for n in self.pixels),
            }
        except (TypeError, ValueError) as err:
            raise InvalidOptionError(f"view {self.name}: {err}") from err
        # Configs give plain words and lists; the class is frozen, so its fields are replaced in this way.
        for field, value in converted.items():
            object.__setattr__(self, field, value)
        if fault := self._fault():
            raise InvalidOptionError(f"view {self.name}: expected {fault}")

    def _fault(self) -> str | None:
        if self.plane not in DIRECTIONS:
            return f"a plane out of {[plane.value for plane in DIRECTIONS]}, but found {self.plane.value}"
        if not self.name.isidentifier():
            return "a name of letters, digits and underscores"
        if not self.series:
            return "at least one series type"
        if len(self.size_mm) != 2 or len(self.pixels) != 2:
            return "two sizes in mm and two in pixels"
        # One check for all, since a view comes from a config and any of these may be mistyped.
        if min(*self.size_mm, *self.pixels, self.slices, self.gap_mm) <= 0:
            return "sizes, pixels, slices and gap above 0"
        return None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows and columns of a crop."""
        return (self.slices, *self.pixels)

    @property
    def directions(self) -> Array:
        """``(3, 3)``: columns are the directions of a crop's columns, rows and slices in (right, forwards, up)."""
        return DIRECTIONS[self.plane]

    @property
    def flipped_axis(self) -> int:
        """The axis of a crop (slices, rows, columns) along the patient's left-right axis: 0 or 2."""
        return 0 if self.plane is Plane.SAGITTAL else 2


# Columns of each matrix: a crop's columns, rows and slices, in the components (right, forwards, up). Pictures
# look as radiologists see them: sagittal ones from the patient's left, axial ones from the feet.
DIRECTIONS: dict[Plane, Array] = {
    Plane.SAGITTAL: np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]),
    Plane.AXIAL: np.array([[-1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0]]),
}

DEFAULT_VIEWS = (
    View(
        name="canal",
        plane=Plane.SAGITTAL,
        series=(SeriesType.SAGITTAL_T2,),
        anchor=Group.SPINAL,
        slices=7,
    ),
    View(
        name="foramina",
        plane=Plane.SAGITTAL,
        series=(SeriesType.SAGITTAL_T1, SeriesType.SAGITTAL_T2),
        anchor=Group.FORAMINAL,
        slices=15,
    ),
    View(
        name="disc",
        plane=Plane.AXIAL,
        series=(SeriesType.AXIAL_T2,),
        anchor=Group.SUBARTICULAR,
        size_mm=(56.0, 56.0),
        slices=5,
        gap_mm=4.5,
    ),
)
"""Sagittal T2 around the canal, sagittal T1 (or T2 in its place) across both foramina, axial T2 around the disc. Sizes
and numbers of slices after the winners of the RSNA 2024 competition: 40 to 50 mm and a margin, 96 to 128 pixels."""


def grader_view(name: str, **changes: Any) -> View:
    """A view of the shipped grader, ``canal``, ``foramina`` or ``disc``, with other values for some of its fields.

    Raises `InvalidOptionError` if there is no such view, or a value cannot be used.
    """
    if name not in _GRADER_VIEWS:
        raise InvalidOptionError(f"expected a view out of {', '.join(_GRADER_VIEWS)}, but found {name!r}")
    return View(**{"name": name, **_GRADER_VIEWS[name], **changes})


# What a mistyped setting of a view is compared with.
grader_view.__signature__ = inspect.signature(View)  # type: ignore[attr-defined]
_GRADER_VIEWS: dict[str, dict[str, Any]] = {
    view.name: {
        "plane": view.plane,
        "series": view.series,
        "anchor": view.anchor,
        "size_mm": (56.0, 56.0),
        "pixels": (64, 64),
        "slices": slices,
        "gap_mm": 4.5,
    }
    for view, slices in zip(DEFAULT_VIEWS, (5, 11, 3), strict=True)
}
"""Fewer and smaller slices than `DEFAULT_VIEWS`, so that a CPU can train the shipped grader."""
