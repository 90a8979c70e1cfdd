"""Private elements of scanner vendors.

The same private tag can belong to several vendors. An element counts only if the header says that its vendor reserved
the block of tags (the private creator), or if an anonymiser removed the creator.
"""

from __future__ import annotations

import math

import numpy as np

from data_prep.dicom.headers.elements import Elements

SIEMENS, GE, PHILIPS = "SIEMENS", "GEMS", "PHILIPS"
"""How the private creators of a vendor begin."""

TAGS = (
    0x0019100A,  # Siemens: NumberOfImagesInMosaic
    0x0019100C,  # Siemens: b value
    0x0019100E,  # Siemens: diffusion direction
    0x001910BB,  # GE: diffusion direction x
    0x001910BC,  # GE: diffusion direction y
    0x001910BD,  # GE: diffusion direction z
    0x20011003,  # Philips: b value
    0x20051011,  # Philips: image type MR
    0x200510B0,  # Philips: diffusion direction R/L
    0x200510B1,  # Philips: diffusion direction A/P
    0x200510B2,  # Philips: diffusion direction F/H
    0x00431039,  # GE: b value
    0x0043102F,  # GE: magnitude, phase, real, imaginary
    0x00651050,  # United Imaging: images in a grid
    *(0x00190010, 0x00430010, 0x20010010, 0x20050010),  # private creators: who reserved the blocks
)


def is_from(elements: Elements, tag: int, vendor: str) -> bool:
    """Whether the private creator of a tag's block is this vendor, or absent."""
    creator = elements.text((tag & 0xFFFF0000) | (tag >> 8 & 0xFF)).upper()
    return not creator or creator.startswith(vendor)


def tiles(elements: Elements) -> float:
    """How many slices are tiled into one image; 0 where no element says so."""
    siemens = elements.short(0x0019100A) if is_from(elements, 0x0019100A, SIEMENS) else None
    return siemens or elements.number(0x00651050) or 0


def component(elements: Elements) -> tuple[str, ...]:
    """Magnitude, phase, real or imaginary, as Philips and GE write it."""
    philips = elements.text(0x20051011) if is_from(elements, 0x20051011, PHILIPS) else ""
    ge = elements.binary(0x0043102F, "SS") if is_from(elements, 0x0043102F, GE) else None
    return tuple(filter(None, (philips, "" if ge is None else f"GE{int(ge)}")))


def b_value(elements: Elements) -> float | None:
    """The diffusion weighting, s/mm². The standard's element goes before those of the vendors."""
    for value in (
        elements.binary(0x00189087, "FD") if len(elements.data(0x00189087)) == 8 else None,
        elements.number(0x0019100C) if is_from(elements, 0x0019100C, SIEMENS) else None,
        elements.binary(0x20011003, "FL") if _is_philips_float(elements, 0x20011003) else None,
    ):
        if value is not None and math.isfinite(value):
            return round(value, 3)
    ge = elements.number(0x00431039) if is_from(elements, 0x00431039, GE) else None
    return None if ge is None else ge % 100000  # GE adds 1e9 where a series has several b values


def gradient(elements: Elements) -> tuple[float, ...] | None:
    """The diffusion direction. Vendors use different coordinates, so it serves only to tell volumes apart."""
    for tag in (0x00189089, 0x0019100E):
        data = elements.data(tag)
        if len(data) == 24 and (tag == 0x00189089 or is_from(elements, tag, SIEMENS)):
            return tuple(np.frombuffer(data, "<f8").round(6).tolist())
    ge = [elements.number(tag) for tag in (0x001910BB, 0x001910BC, 0x001910BD)]
    if is_from(elements, 0x001910BB, GE) and None not in ge:
        return tuple(round(part, 6) for part in ge if part is not None)
    philips = [elements.binary(tag, "FL") for tag in (0x200510B0, 0x200510B1, 0x200510B2)]
    if is_from(elements, 0x200510B0, PHILIPS) and None not in philips:
        return tuple(round(part, 6) for part in philips if part is not None)
    return None


def _is_philips_float(elements: Elements, tag: int) -> bool:
    return len(elements.data(tag)) == 4 and is_from(elements, tag, PHILIPS)
