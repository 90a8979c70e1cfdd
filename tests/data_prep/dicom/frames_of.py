"""Frames made without files, for tests of what happens after the headers are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from data_prep.dicom.frames import Contrast, Frame, Geometry, Identity, Patient, Pixels

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)

CONTRAST = Contrast(("ORIGINAL", "PRIMARY", "M"), "", "MONOCHROME2", 100.0, 1, None)
IDENTITY = Identity("1.2", "1.2.3", "1.2", "1.2.3", 3, "1.2.4", "T2", Patient("a patient"))
PIXELS = Pixels("", "1.2.840.10008.1.2.1", 0, 240, 12, 10, 1, 16, 12, False)


def oriented(degrees: float, axis: int = 0, orientation: Sequence[float] = AXIAL) -> tuple[float, ...]:
    """An orientation rotated about a patient axis."""
    turn = Rotation.from_euler("xyz"[axis], degrees, degrees=True)
    return tuple(np.concatenate([turn.apply(orientation[:3]), turn.apply(orientation[3:])]))


def frame(number: int, position: Sequence[float], **changes: object) -> Frame:
    """One axial image with this InstanceNumber at a position, LPS mm.

    ``orientation`` and ``spacing`` change its geometry; names of the fields of its contrast, identity and pixels
    change these; other names change the frame.
    """
    geometry = Geometry(
        tuple(changes.pop("orientation", AXIAL)), tuple(map(float, position)), changes.pop("spacing", (0.7, 0.5))
    )
    parts = {"contrast": CONTRAST, "identity": IDENTITY, "pixels": PIXELS}
    for name, part in parts.items():
        own = {key: changes.pop(key) for key in list(changes) if key in type(part).__dataclass_fields__}
        parts[name] = replace(part, **own)
    made = Frame(
        path=f"{number:04d}.dcm",
        index=None,
        uid=f"1.2.3.{number}",
        instance=number,
        geometry=geometry,
        slope=1.0,
        intercept=0.0,
        **parts,
    )
    return replace(made, **changes)


def stack(slices: int | Sequence[float], step: float = 4.0, *, first: int = 1, **changes: object) -> list[Frame]:
    """Images along their normal: at multiples of ``step``, or at these distances; ``origin`` moves them all.

    InstanceNumbers count from ``first``.
    """
    distances = [step * n for n in range(slices)] if isinstance(slices, int) else slices
    orientation = changes.get("orientation", AXIAL)
    normal = np.cross(orientation[:3], orientation[3:])
    origin = np.asarray(changes.pop("origin", (0.0, 0.0, 0.0)), float)
    return [frame(first + n, origin + distance * normal, **dict(changes)) for n, distance in enumerate(distances)]


def moved(one: Frame, offset: Sequence[float]) -> Frame:
    """A frame moved by a vector, LPS mm."""
    position = tuple(float(a + b) for a, b in zip(one.geometry.position, offset, strict=True))
    return replace(one, geometry=replace(one.geometry, position=position))
