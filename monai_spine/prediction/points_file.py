"""What ``predict --points`` names: points of one study or of many, that a person marked or corrected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from monai_spine.data.corrections_file import NAME, read_corrections
from monai_spine.errors import InvalidOptionError, MissingInputError, counted
from monai_spine.levels.marked import corrected_points, marked_points, read_markups
from monai_spine.levels.sagittal.points import Key, LevelPoint

MarkedPoints = Mapping[str, Mapping[Key, LevelPoint]]
"""By study and point; RAS mm."""


def read_points_file(path: Path, studies: Sequence[str]) -> MarkedPoints:
    """The points of a file for some of the given studies.

    Parameters
    ----------
    path
        ``points.csv`` of ``locate`` or ``predict``, a table of points as ``data_prep study-table`` takes it,
        ``points.mrk.json`` of one study: that of the folder it is in, or the only one; ``corrections.json`` of
        ``review``, or an output folder that was reviewed, for those of all its studies.

    Raises
    ------
    MissingInputError, InvalidTableError
        If there is no such file, or it breaks its format.
    InvalidOptionError
        If it has points of none of the studies.
    """
    if path.is_dir() or path.name == NAME:
        return _corrected(path, studies)
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
        return {study: marked_points(read_markups(path))}
    from data_prep.study_table.table import read_points

    points = {
        study: marked_points({Key.of(finding): world for finding, world in own.items()})
        for study, own in read_points(path).items()
    }
    return _checked(points, path, studies)


def _corrected(path: Path, studies: Sequence[str]) -> MarkedPoints:
    """The points of all studies that have corrections, also those that nobody touched."""
    files = sorted(path.glob(f"*/{NAME}")) if path.is_dir() else [path]
    if not files:
        raise MissingInputError(f"expected corrections of `monai-spine review` in {path}, but found none")
    corrections = [read_corrections(file) for file in files]
    return _checked({one.study_id: corrected_points(one) for one in corrections if one.version}, path, studies)


def _checked(points: MarkedPoints, path: Path, studies: Sequence[str]) -> MarkedPoints:
    if not set(points) & set(studies):
        raise InvalidOptionError(
            f"{path}: expected points of {', '.join(studies[:3])}, but it has those of {', '.join(list(points)[:3])}"
        )
    return points
