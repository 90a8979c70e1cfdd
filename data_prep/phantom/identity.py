"""Names of studies and series: numbers and UIDs that depend on the seed and the study's index alone."""

from __future__ import annotations

import hashlib
import uuid

from pydicom.uid import UID

_SPREAD = 2654435761
_RANGE = 2**32


def study_id(seed: int, index: int) -> str:
    """A number below 2**32, different for every index of a seed; many do not fit an int32, as in the competition."""
    return str((4003253 + seed * 7919 + index * _SPREAD) % _RANGE)


def series_id(seed: int, index: int, number: int) -> str:
    """A number below 2**32, different for every series of a seed (at most 64 a study)."""
    return str((702807833 + seed * 104729 + (64 * index + number) * _SPREAD) % _RANGE)


def uid(*parts: object) -> UID:
    """A DICOM UID under the UUID root 2.25, the same for the same parts."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return UID(f"2.25.{uuid.UUID(bytes=digest[:16], version=4).int}")
