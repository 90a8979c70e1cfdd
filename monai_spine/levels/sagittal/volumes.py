"""Records for the level bundle: one for each sagittal volume of the studies, with its marked landmarks."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from monai_spine.data.datalist import Record
from monai_spine.data.volume_names import volume_names
from monai_spine.errors import InvalidTableError, counted
from monai_spine.levels.sagittal.points import Structure, marked_positions
from monai_spine.spine import Level, SeriesType

logger = logging.getLogger(__name__)

SAGITTAL = (SeriesType.SAGITTAL_T2, SeriesType.SAGITTAL_T1)
"""Series types in which levels are searched; T2 comes first and is shown in pictures."""


def sagittal_volumes(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Records with ``image`` (a path), ``volume`` (its name), ``series_type``, ``study_id`` and the landmarks.

    ``canal``, ``foramen`` and ``lumbosacral`` are the marked points of the study in RAS mm, ``(n, 3)`` from above.
    """
    volumes = []
    for record in records:
        names = volume_names(record)
        # All volumes of a study share its points, since these are in patient space.
        for series_type in SAGITTAL:
            for path in record.get(series_type.value, ()):
                volumes.append(
                    {
                        "image": str(path),
                        "volume": names[str(path)],
                        "series_type": series_type.value,
                        "study_id": record["study_id"],
                        **_landmarks(record),
                    }
                )
    return volumes


def marked_volumes(records: Sequence[Record]) -> list[dict[str, Any]]:
    """`sagittal_volumes` of the studies with marked points, from which a localizer can learn.

    Raises `InvalidTableError` if no study has marked points.
    """
    volumes = [volume for volume in sagittal_volumes(records) if len(volume["canal"]) or len(volume["foramen"])]
    if not volumes:
        raise InvalidTableError(
            f"expected canal or foraminal points to learn from, but none of {counted(len(records), 'study')} has any"
        )
    return volumes


def _landmarks(record: Record) -> dict[str, np.ndarray]:
    canal = marked_positions(record, Structure.CANAL)
    return {
        "canal": _table(canal.values()),
        "foramen": _table(marked_positions(record, Structure.FORAMEN).values()),
        # The canal at L5/S1 is the lumbosacral landmark, if that level is marked.
        "lumbosacral": _table(point for key, point in canal.items() if key.level is Level.L5_S1),
    }


def _table(points: Iterable[np.ndarray]) -> np.ndarray:
    return np.array(list(points), dtype=np.float64).reshape(-1, 3)
