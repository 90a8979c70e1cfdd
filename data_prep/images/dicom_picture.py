"""Single-frame DICOM → 16-bit PNG as a radiologist sees it, with nothing of the header in it."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from data_prep.choices import MAX_BYTES
from data_prep.dicom import nifti
from data_prep.dicom.headers.elements import Elements, read_elements
from data_prep.dicom.headers.reader import read_header
from data_prep.dicom.pixels import stored_frames
from data_prep.dicom.refusals import Reason, Refused
from data_prep.dicom.sources import Source

_PATIENT, _CENTRE, _WIDTH, _FUNCTION, _LUT = 0x00100020, 0x00281050, 0x00281051, 0x00281056, 0x00283010
_TAGS = (_PATIENT, _CENTRE, _WIDTH, _FUNCTION, _LUT)
_WITHOUT_PLACE = {Reason.NO_GEOMETRY, Reason.LOCALIZER}
"""Reasons that keep a frame out of a volume, and not from being a picture."""
Grey = npt.NDArray[np.float64]


def write_picture(source: Path, target: Path) -> str:
    """Write a DICOM file's image as a PNG; returns a digest of the patient's number, empty if it has none.

    Stored values are rescaled; the first window of the header, or without one the range of the values, is spread over
    0 to 65535; ``MONOCHROME1`` is inverted.

    Raises
    ------
    Refused
        If it is no DICOM, damaged, in colour, of several frames, or has a look-up table in the place of a number.
    """
    header = read_header(Source(source.name, str(source)))
    if not header.frames:
        raise Refused(header.reason or Reason.NOT_AN_IMAGE, header.detail)
    frame = header.frames[0]
    if len(header.frames) > 1:
        raise Refused(Reason.UNSUPPORTED, f"{len(header.frames)} frames, where one image is expected")
    if frame.reason is not None and frame.reason not in _WITHOUT_PLACE:
        raise Refused(frame.reason, frame.detail)
    elements = read_elements(str(source), _TAGS, MAX_BYTES).elements
    if (elements.has_items(_LUT) or elements.data(_LUT)) and not elements.data(_CENTRE):
        raise Refused(Reason.UNSUPPORTED, "a look-up table in the place of a window")
    (stored,) = stored_frames([frame], MAX_BYTES)
    grey = shown(stored.astype(np.float64) * frame.slope + frame.intercept, elements)
    if frame.contrast.photometric == "MONOCHROME1":
        grey = 1 - grey
    nifti.write(target, [_png(np.rint(grey * 65535).astype(np.uint16))])
    return frame.identity.patient if elements.data(_PATIENT).strip(b" \0") else ""


def shown(values: Grey, elements: Elements) -> Grey:
    """Rescaled values through the header's first window, else through their own range, 0 to 1 (PS3.3 C.11.2.1.2)."""
    centres, widths = elements.numbers(_CENTRE), elements.numbers(_WIDTH)
    centre, width = (centres or (math.nan,))[0], (widths or (math.nan,))[0]
    function = elements.text(_FUNCTION) or "LINEAR"
    least = 1.0 if function == "LINEAR" else 0.0
    if not (math.isfinite(centre) and math.isfinite(width) and (width > least or width == least == 1.0)):
        low, high = values.min(), values.max()
        return (values - low) / (high - low or 1)
    if function == "SIGMOID":
        sigmoid: Grey = 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
        return sigmoid
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0, 1)
    return np.clip((values - (centre - 0.5)) / max(width - 1, 1e-6) + 0.5, 0, 1)


def _png(grey: npt.NDArray[np.uint16]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG", compress_level=1)
    return file.getvalue()
