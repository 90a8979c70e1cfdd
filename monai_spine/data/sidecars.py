"""The JSON file beside a NIfTI volume, as every command reads it: values by DICOM keyword, times in milliseconds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from monai_spine.data.series_typing import has_agent
from monai_spine.errors import InvalidTableError
from monai_spine.files import read_json

SCHEMA = "monai_spine/volume/1"
"""``Schema`` of the sidecars that ``data_prep`` writes. Their times are in ms; dcm2niix and BIDS write seconds."""

_TIMES = ("RepetitionTime", "EchoTime", "InversionTime")
_CODES = ("ScanningSequence", "SequenceVariant")
_KEPT = ("FlipAngle", "SequenceName", "Plane")
_LONGEST = 256
"""Characters of a description that are read; DICOM allows 64."""
_AGENTS = ("ContrastBolusAgent", "ContrastBolusIngredient")

# Segmentation tools write label maps beside the image, under its name. BIDS entities such as ``label-L4`` restrict an
# image to a region, but ``seg-`` names a segmentation.
_SEGMENTATION = re.compile(
    r"(?<![a-z0-9])([a-z]?seg|segs|segmentations?|[a-z]?masks?|msk|labels?(?!-)|dlabel|labelmap|roi|rois|pred|prediction"
    r"|annotations?|parcellation)(?![a-z0-9])",
    re.IGNORECASE,
)


def stem_of(path: Path) -> str:
    """A file's name without ``.nii`` or ``.nii.gz``, in upper or lower case."""
    return re.sub(r"\.nii(\.gz)?$", "", path.name, flags=re.IGNORECASE)


def is_segmentation(path: Path) -> bool:
    """Whether a file's name says that it is a segmentation, such as ``t2_seg.nii.gz`` or ``mask.nii``."""
    return _SEGMENTATION.search(stem_of(path).replace("_", " ")) is not None


def read_sidecar(path: Path) -> dict[str, Any]:
    """What the sidecar of a volume says about its series; empty without one.

    Returns
    -------
    Values by DICOM keyword, as `monai_spine.data.series_typing.series_type_of` takes them, and the ``Plane`` that our
    own sidecars have.

    Raises
    ------
    InvalidTableError
        If it cannot be read as JSON.
    """
    sidecar = path.with_name(f"{stem_of(path)}.json")
    if not sidecar.is_file():
        return {}
    try:
        content = read_json(sidecar)
    except OSError as err:
        raise InvalidTableError(f"{sidecar} cannot be read: {err}") from err
    return _header(content) if isinstance(content, dict) else {}


def study_of(path: Path) -> str:
    """The study that a volume's sidecar says it is of; empty if it does not say so."""
    try:
        content = read_json(path.with_name(f"{stem_of(path)}.json"))
    except (OSError, InvalidTableError):
        return ""
    known = content if isinstance(content, dict) else {}
    return str(known.get("Study") or known.get("StudyInstanceUID") or "")


def read_header(path: Path) -> dict[str, Any]:
    """`read_sidecar`, with the volume's own name before the description: names of BIDS data sets tell the weighting.

    Raises `InvalidTableError` as `read_sidecar`.
    """
    header = read_sidecar(path)
    return {**header, "SeriesDescription": f"{stem_of(path)} {header.get('SeriesDescription', '')}".strip()}


def _header(content: dict[str, Any]) -> dict[str, Any]:
    factor = 1 if content.get("Schema") == SCHEMA else 1000
    # Others' sidecars hold what they like: an object where a number is expected is as good as nothing.
    header: dict[str, Any] = {key: content[key] for key in _KEPT if isinstance(content.get(key), str | int | float)}
    for key in _TIMES:
        value = content.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            header[key] = value * factor
    for key in _CODES:
        if key in content:
            header[key] = _codes(content[key])
    if any(has_agent(content.get(key)) for key in _AGENTS):
        header["ContrastBolusAgent"] = "YES"
    described = content.get("SeriesDescription")
    return {**header, "SeriesDescription": described[:_LONGEST]} if isinstance(described, str) else header


def _codes(value: object) -> list[str]:
    """Codes of ``ScanningSequence``: from ``SE_IR`` as BIDS has it, or from a list as our sidecars have it."""
    texts = value if isinstance(value, list) else [value]
    return [code for text in texts if isinstance(text, str) for code in text.replace("\\", "_").split("_")]
