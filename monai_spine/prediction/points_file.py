"""The file of ``predict --points``: points of one study or of many, that a person marked or corrected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from monai_spine.errors import InvalidOptionError, MissingInputError, counted
from monai_spine.geometry import Array
from monai_spine.levels.marked import key_of, read_markups
from monai_spine.levels.sagittal.points import Key

MarkedPoints = Mapping[str, Mapping[Key, Array]]
"""RAS mm by study and point."""


def read_points_file(path: Path, studies: Sequence[str]) -> MarkedPoints:
    """The points of a file for some of the given studies.

    Parameters
    ----------
    path
        ``points.csv`` of ``locate`` or ``predict``, a table of points as ``data_prep study-table`` takes it, or
        ``points.mrk.json`` of one study: that of the folder it is in, or the only one.

    Raises
    ------
    MissingInputError, InvalidTableError
        If there is no such file, or it breaks its format.
    InvalidOptionError
        If it has points of none of the studies.
    """
    if not path.is_file():
        raise MissingInputError(f"expected a file of points, but there is no {path}")
    if path.suffix == ".json":
        study = path.resolve().parent.name
        if study not in studies:
            if len(studies) != 1:
                raise InvalidOptionError(
                    f"{path} has the points of one study, but {counted(len(studies), 'study')} are "
                    "given, and none is called "
                    f"{study!r} as its folder; use a points.csv, or give the one study"
                )
            study = studies[0]
        return {study: read_markups(path)}
    from data_prep.study_table.table import read_points

    points = {
        study: {key_of(finding): world for finding, world in own.items()} for study, own in read_points(path).items()
    }
    if not set(points) & set(studies):
        raise InvalidOptionError(
            f"{path}: expected points of {', '.join(studies[:3])}, but it has those of {', '.join(list(points)[:3])}"
        )
    return points
