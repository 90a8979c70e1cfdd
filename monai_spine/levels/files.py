"""Files of points: one CSV for all studies, and for each study JSON and markups for 3D Slicer. End of `locate`."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from monai_spine.errors import InvalidTableError, MissingInputError
from monai_spine.files import csv_text, read_json, write_text
from monai_spine.levels.merged_volumes import LocatedStudy
from monai_spine.levels.sagittal.doubts import Doubt
from monai_spine.levels.sagittal.points import Absent, Key, LevelPoint, Structure
from monai_spine.spine import Level, Side

logger = logging.getLogger(__name__)

SCHEMA = "monai_spine/points/1"
LOCATED = ("points.json", "points.mrk.json", "levels.png")
"""The files of a located study in its folder."""
FINISHED = "located.json"
"""Says that a study is located; see `monai_spine.data.finished_mark`."""
COLUMNS = ("study", "point", "level", "side", "x", "y", "z", "confidence", "flag")
VOLUME_COLUMNS = ("study", "volume", "status")
_MARKUPS_FILE = "points.mrk.json"
_PERSON = "marked"
"""The flag of a point that a person marked (`monai_spine.levels.marked.MARKED`): the file's points were used."""
_MM_DIGITS, _CONFIDENCE_DIGITS = 3, 4
_SAME_MM = 0.01
"""Points that differ by less were not moved: files round them."""
_MARKUPS = "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/markups-schema-v1.0.3.json#"


def write_points(out: Path, studies: Iterable[LocatedStudy]) -> None:
    """Write ``points.csv`` and ``volumes.csv``, sorted by study."""
    studies = sorted(studies, key=lambda one: one.study)
    points = [_row(one.study, point) for one in studies for point in one.points]
    write_text(out / "points.csv", csv_text([COLUMNS, *points]))
    volumes = [(one.study, name, status) for one in studies for name, status in one.volumes.items()]
    write_text(out / "volumes.csv", csv_text([VOLUME_COLUMNS, *volumes]))


def write_study(out: Path, located: LocatedStudy) -> None:
    """Write ``<study>/points.json`` and, if the study has points, ``<study>/points.mrk.json``."""
    folder = out / located.study
    edited = is_edited(folder)
    write_text(folder / "points.json", json.dumps(_content(located), indent=1) + "\n")
    if edited and not any(_PERSON in point.flags for point in located.points):
        logger.warning(
            "%s was edited, and is kept; to grade with its points, name it with --points", folder / _MARKUPS_FILE
        )
    elif located.has_points and not edited:
        write_text(folder / _MARKUPS_FILE, json.dumps(_markups(located), indent=1) + "\n")


def remove_located(folder: Path) -> None:
    """Remove the files of an earlier run from a study's folder, but for markups that a person has edited."""
    edited = is_edited(folder)
    for name in LOCATED:
        if not (edited and name == _MARKUPS_FILE):
            (folder / name).unlink(missing_ok=True)


def is_edited(folder: Path) -> bool:
    """Whether the markups in a study's folder are not those of its ``points.json``.

    A person has moved points, named them otherwise, as one does for levels that are off by one, or taken some away.
    """
    try:
        markups = json.loads((folder / _MARKUPS_FILE).read_text(encoding="utf-8"))["markups"]
        controls = {
            control["label"]: control["position"]
            for markup in markups
            for control in markup["controlPoints"]
            if control.get("positionStatus", "defined") == "defined"
        }
        # Slicer writes LPS when it saves a file that was RAS.
        signs = (1, 1, 1) if all(markup.get("coordinateSystem") == "RAS" for markup in markups) else (-1, -1, 1)
        content = json.loads((folder / "points.json").read_text(encoding="utf-8"))
        own = {_key(one).label: one["position"] for one in content["points"]}
    except FileNotFoundError:
        return (folder / _MARKUPS_FILE).is_file()
    except (ValueError, KeyError, TypeError, AttributeError):
        return True  # not as we wrote it
    if set(own) != set(controls):
        return True
    moved = [np.abs(np.array(controls[label]) * signs - position).max() for label, position in own.items()]
    return max(moved, default=0.0) > _SAME_MM


def read_study(folder: Path) -> LocatedStudy:
    """The study that `write_study` wrote to a folder.

    Raises `MissingInputError` or `InvalidTableError` if ``points.json`` does not exist, or breaks its format.
    """
    path = folder / "points.json"
    if not path.is_file():
        raise MissingInputError(f"expected located points, but there is no file {path}")
    try:
        content = read_json(path)
        # Checked first, so that a file of another version gives a clear message and not a missing key.
        if content["schema"] != SCHEMA:
            raise ValueError(f"its schema is {content['schema']!r}")
        points = tuple(
            LevelPoint(*_key(one), np.array(one["position"], dtype=np.float64), one["confidence"], tuple(one["flags"]))
            for one in content["points"]
        )
        absent = tuple(Absent(*_key(one), one["reason"]) for one in content["absent"])
        planes = {
            Level(level): (one["volume"], one["slice"], one["distance_mm"])
            for level, one in content["axial_planes"].items()
        }
        doubts = tuple(map(Doubt, content.get("doubts", ())))
        return LocatedStudy(content["study"], points, absent, content["volumes"], planes, doubts)
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise InvalidTableError(f"{path}: expected located points of the schema {SCHEMA!r} ({err})") from err


def _key(one: Mapping[str, Any]) -> Key:
    return Key(Structure(one["point"]), Level(one["level"]), Side(one["side"]) if one["side"] else None)


def _named(key: Key) -> dict[str, str | None]:
    """What `_key` reads."""
    return {"point": key.structure.value, "level": key.level.value, "side": key.side.value if key.side else None}


def _row(study: str, point: LevelPoint) -> tuple[str, ...]:
    side = point.side.value if point.side else ""
    # Hundredths of a mm: far finer than the error of any point. First as `points.json` has them, from which other
    # tables are made: to round twice is not the same.
    place = [f"{round(float(value), _MM_DIGITS):.2f}" for value in point.world]
    named = (study, point.structure.value, point.level.value, side)
    return (*named, *place, f"{round(point.confidence, _CONFIDENCE_DIGITS):.3f}", ";".join(point.flags))


def _content(located: LocatedStudy) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "study": located.study,
        "coordinates": "RAS mm",
        "volumes": dict(located.volumes),
        "doubts": [doubt.value for doubt in located.doubts],
        "points": [
            {
                **_named(point.key),
                "position": [round(float(value), _MM_DIGITS) for value in point.world],
                "confidence": round(point.confidence, _CONFIDENCE_DIGITS),
                "flags": list(point.flags),
            }
            for point in located.points
        ],
        "absent": [{**_named(one.key), "reason": one.reason} for one in located.absent],
        "axial_planes": {
            level.value: {"volume": name, "slice": k, "distance_mm": round(distance, 2)}
            for level, (name, k, distance) in located.planes.items()
        },
    }


def _markups(located: LocatedStudy) -> dict[str, object]:
    """A list of fiducials for 3D Slicer, in RAS mm."""
    points = [
        {
            "id": str(n),
            "label": point.key.label,
            "description": f"confidence {point.confidence:.2f} {' '.join(point.flags)}".strip(),
            "position": [round(float(value), 3) for value in point.world],
            "positionStatus": "defined",
        }
        for n, point in enumerate(located.points, start=1)
    ]
    # Slicer assumes LPS unless the file names another coordinate system.
    markup = {"type": "Fiducial", "coordinateSystem": "RAS", "coordinateUnits": "mm", "controlPoints": points}
    return {"@schema": _MARKUPS, "markups": [markup]}
